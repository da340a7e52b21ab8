//! Any bytes give a value or an error. A panic, or an allocation that ends the process, fails a test.

use covdata::{FileName, check};
use podcov_fuzz::{coverage, text};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixtures::{FOLDERS, files, folder};

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    for (name, bytes) in FOLDERS.into_iter().flat_map(files) {
        for len in 0..bytes.len() {
            assert!(check(&name, &bytes[..len]).is_err(), "{name} cut off at {len}");
        }
    }
}

#[test]
fn a_file_with_more_behind_it_is_an_error() {
    for (name, bytes) in files("set") {
        assert!(check(&name, &[bytes.as_slice(), b"\0"].concat()).is_err(), "{name}");
        assert!(check(&name, &[bytes.as_slice(), &bytes].concat()).is_err(), "{name}");
    }
}

#[test]
fn any_byte_may_be_any_of_the_telling_values() {
    for (_, bytes) in files("count") {
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
    let all: Vec<Vec<u8>> = FOLDERS.into_iter().flat_map(files).map(|(_, bytes)| bytes).collect();
    proptest::sample::select(all)
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
        let mut bytes = fs_err::read(folder("count").join("textfmt.txt")).unwrap();
        for (offset, value) in changes {
            let offset = offset.index(bytes.len());
            bytes[offset] = value;
        }
        text(&bytes);
    }

    #[test]
    fn a_name_is_given_back(name in "(tmp\\.)?cov(meta|counters)\\.[0-9a-f]{31,33}(\\.?[0-9]{1,3}){0,3}") {
        if let Ok(parsed) = name.parse::<FileName>() {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}
