//! Memory of real programs on arm64, recorded while an emulator ran them: tests/fixtures/arm64 has how.

use std::collections::HashMap;
use std::path::Path;

use livecov::{Facts, Range, Reader, Readings, Source, Step};

use crate::programs::{content, written};

/// What was recorded, and in which order.
struct Recording {
    order: Vec<Range>,
    bytes: HashMap<Range, Vec<u8>>,
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).expect("a hexadecimal number")
}

impl Recording {
    fn read(path: &Path) -> Self {
        let mut recording = Self { order: Vec::new(), bytes: HashMap::new() };
        for line in fs_err::read_to_string(path).expect("a recording").lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [source, start, length, read] => {
                    let source = if source == "File" { Source::File } else { Source::Memory };
                    let range = Range { source, start: number(start), length: number(length) };
                    recording.order.push(range);
                    recording.bytes.insert(range, vec![0; number(read) as usize]);
                }
                [offset, piece] => {
                    let range = recording.order.last().expect("a range comes before its bytes");
                    let bytes = recording.bytes.get_mut(range).expect("it was just added");
                    let piece = piece.as_bytes().chunks(2).map(|digits| {
                        let digits = str::from_utf8(digits).expect("digits");
                        u8::from_str_radix(digits, 16).expect("a byte")
                    });
                    for (byte, new) in bytes[number(offset) as usize..].iter_mut().zip(piece) {
                        *byte = new;
                    }
                }
                _ => panic!("{line}"),
            }
        }
        recording
    }
}

#[test]
fn a_snapshot_on_arm64_is_what_the_program_writes() {
    // One of them is a program that can be anywhere in memory; its mode is set.
    for mode in ["set", "atomic", "pie"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/arm64").join(mode);
        let auxv = if mode == "pie" {
            fs_err::read(folder.join("auxv")).expect("an auxiliary vector")
        } else {
            Vec::new()
        };
        let recording = Recording::read(&folder.join("memory.txt"));
        let mut reader = Reader::new(&auxv);
        let mut asked = Vec::new();
        let program = loop {
            match reader.step().unwrap_or_else(|error| panic!("{mode}: {error}")) {
                Step::Read { ranges, .. } => {
                    for range in ranges {
                        let bytes = recording.bytes.get(&range);
                        let bytes = bytes.unwrap_or_else(|| panic!("{mode}: {range} was not recorded"));
                        assert!(!asked.contains(&range), "{mode}: {range} is asked for again");
                        reader.give(range, bytes.clone());
                        asked.push(range);
                    }
                }
                Step::Done(program) => break program,
            }
        };
        let [meta, own] = written(&folder.join("written"));
        assert_eq!((program.meta_name(), program.meta()), (meta.0, meta.1.as_slice()), "{mode}");
        assert_eq!(program.build.go.as_deref(), Some("go1.26.8"), "{mode}");
        let [counters, length] =
            [program.counters(), program.length()].map(|range| recording.bytes[&range].as_slice());
        let facts = Facts { pid: 7, nanos: 5, command_line: vec![b"./quiet".to_vec()] };
        let snapshot = program.snapshot(&Readings { counters, later: counters, length }, &facts);
        let snapshot = snapshot.unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_eq!(content(&snapshot.bytes), content(&own.1), "{mode}");
        assert_eq!(snapshot.unknown_functions, 0);
    }
}
