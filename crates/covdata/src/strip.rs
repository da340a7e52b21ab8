//! Counter files without the command line of the process that wrote them.
//!
//! Go's runtime stores `os.Args`, and with it every password given as a flag, in each counter file
//! (`captureOsArgs` in `internal/coverage/cfile/emit.go`), and has no switch against it.

use crate::counters::MAGIC;
use crate::{CounterFile, Error, Segment};

/// Writes a counter file anew without the process's command line, for Go's tools to read as before.
///
/// The system and the architecture stay, an argument count of 0 takes the place of the arguments, and any
/// other key is dropped. Counters are copied as they are.
///
/// # Errors
///
/// As [`CounterFile::parse`].
pub fn strip_args(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let file = CounterFile::parse(bytes)?;
    let mut out = Vec::with_capacity(bytes.len());
    out.extend_from_slice(file.header);
    for (number, segment) in (1u32..).zip(file.segments()) {
        write_preamble(&mut out, segment)?;
        out.extend_from_slice(segment.payload);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&number.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
    }
    Ok(out)
}

/// Writes a segment's header, string table and arguments as `internal/coverage/encodecounter` does: the
/// string with index 0 is empty, keys are sorted, and the padding counts as part of the arguments.
fn write_preamble(out: &mut Vec<u8>, segment: &Segment<'_>) -> Result<(), Error> {
    let mut strings: Vec<&[u8]> = vec![b""];
    for (key, value) in
        [("GOARCH", segment.goarch()), ("GOOS", segment.goos()), ("argc", Some(b"0".as_slice()))]
    {
        if let Some(value) = value {
            strings.extend([key.as_bytes(), value]);
        }
    }
    let mut table = Vec::new();
    write_uleb(&mut table, strings.len());
    for string in &strings {
        write_uleb(&mut table, string.len());
        table.extend_from_slice(string);
    }
    let mut args = Vec::new();
    write_uleb(&mut args, strings.len() / 2);
    for index in 1..strings.len() {
        write_uleb(&mut args, index);
    }
    while !(table.len() + args.len()).is_multiple_of(4) {
        args.push(0);
    }
    out.extend_from_slice(&segment.function_count().to_le_bytes());
    out.extend_from_slice(&length(&table)?);
    out.extend_from_slice(&length(&args)?);
    out.extend_from_slice(&table);
    out.extend_from_slice(&args);
    Ok(())
}

/// The length as a header has it. Two names for one string of gigabytes could exceed it.
fn length(bytes: &[u8]) -> Result<[u8; 4], Error> {
    let length = u32::try_from(bytes.len());
    length.map(u32::to_le_bytes).map_err(|_| Error::malformed(0, "arguments exceed 32 bits"))
}

fn write_uleb(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
