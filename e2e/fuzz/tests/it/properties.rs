//! Any bytes give a value or an error. A panic, or an allocation that ends the process, fails a test.

use std::path::{Path, PathBuf};

use covdata::FileName;
use podcov_fuzz::{coverage, text};
use proptest::prelude::*;
use proptest::sample::Index;

/// The coverage files of real programs.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../crates/covdata/tests/fixtures");

/// The coverage files of one of their folders.
fn files(folder: &str) -> Vec<Vec<u8>> {
    let entries = fs_err::read_dir(Path::new(FIXTURES).join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let is_coverage =
        |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().parse::<FileName>().is_ok();
    let files: Vec<Vec<u8>> = paths.filter(is_coverage).map(|path| fs_err::read(path).unwrap()).collect();
    assert!(!files.is_empty(), "{folder}");
    files
}

#[test]
fn any_byte_may_be_any_of_the_telling_values() {
    for bytes in files("count") {
        for offset in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                bytes[offset] = value;
                coverage(&bytes);
            }
        }
    }
}

/// One of the fixtures.
fn fixture() -> impl Strategy<Value = Vec<u8>> {
    let folders = ["set", "count", "atomic", "go1.20"];
    proptest::sample::select(folders.into_iter().flat_map(files).collect::<Vec<_>>())
}

proptest! {
    #[test]
    fn arbitrary_bytes(bytes: Vec<u8>) {
        coverage(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_real_start(start in fixture(), len: Index, rest: Vec<u8>) {
        let len = len.index(start.len());
        coverage(&[&start[..len], &rest].concat());
    }

    #[test]
    fn real_files_with_changes(mut bytes in fixture(), changes: Vec<(Index, u8)>) {
        for (offset, value) in changes {
            let offset = offset.index(bytes.len());
            bytes[offset] = value;
        }
        coverage(&bytes);
    }

    #[test]
    fn real_files_with_a_part_gone_or_twice(bytes in fixture(), a: Index, b: Index) {
        let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
        coverage(&[&bytes[..a], &bytes[b..]].concat());
    }

    #[test]
    fn text_profiles_with_changes(changes: Vec<(Index, u8)>) {
        let mut bytes = fs_err::read(Path::new(FIXTURES).join("count/textfmt.txt")).unwrap();
        for (offset, value) in changes {
            let offset = offset.index(bytes.len());
            bytes[offset] = value;
        }
        text(&bytes);
    }
}
