//! Records what a reader asks for of a program that an emulator runs: how the fixtures of another processor are made.
//!
//! `record PID PROGRAM BASE AUXV OUT`: the emulator's process, the program's file, where the emulator has the program's
//! address 0 (hexadecimal), a file with the auxiliary vector that the program sees, and where to write.
//!
//! The file has, for each range, a line with its source, its start, its length, and how much could be read; and below it a line for each piece that
//! is not zero, with its offset and its bytes; all in hexadecimal. The last two are the counters and the number of packages.

use std::error::Error;
use std::fmt::Write;
use std::os::unix::fs::FileExt;

use livecov::{Range, Reader, Source, Step};

/// How many bytes a line has.
const PIECE: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let [pid, program, base, auxv, out] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("record PID PROGRAM BASE AUXV OUT".into());
    };
    let open = |path: &str| fs_err::File::open(path).map(|file| file.into_parts().0);
    let (memory, file) = (open(&format!("/proc/{pid}/mem"))?, open(program)?);
    let base = u64::from_str_radix(base, 16)?;
    let auxv = fs_err::read(auxv)?;
    let mut recorded = String::new();
    let mut read = |range: Range| -> Result<Vec<u8>, Box<dyn Error>> {
        let (from, start) = match range.source {
            Source::File => (&file, range.start),
            Source::Memory => (&memory, range.start + base),
        };
        let mut bytes = vec![0; usize::try_from(range.length)?];
        // What looks like an address need not be one.
        let length = if from.read_exact_at(&mut bytes, start).is_ok() { bytes.len() } else { 0 };
        bytes.truncate(length);
        writeln!(recorded, "{:?} {:x} {:x} {length:x}", range.source, range.start, range.length)?;
        for (number, piece) in
            bytes.chunks(PIECE).enumerate().filter(|(_, piece)| piece.iter().any(|byte| *byte != 0))
        {
            write!(recorded, "{:x} ", number * PIECE)?;
            piece.iter().try_for_each(|byte| write!(recorded, "{byte:02x}"))?;
            writeln!(recorded)?;
        }
        Ok(bytes)
    };
    let mut reader = Reader::new(&auxv);
    let program = loop {
        match reader.step()? {
            Step::Read { ranges, .. } => {
                for range in ranges {
                    reader.give(range, read(range)?);
                }
            }
            Step::Done(program) => break program,
        }
    };
    read(program.counters())?;
    read(program.length())?;
    Ok(fs_err::write(out, recorded)?)
}
