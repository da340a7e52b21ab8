//! Any bytes give a value or an error. A panic, or an allocation that ends the process, fails a test.

use covdata::{Builder, CounterFile, FileName, MetaFile, TextProfile, check, strip_args};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fixtures::{FOLDERS, files, folder};

/// Reads bytes in every way there is, to the end.
fn devour(bytes: &[u8]) {
    let mut builder = Builder::new();
    if let Ok(file) = MetaFile::parse(bytes) {
        for package in &file.packages {
            for function in &package.functions {
                assert_eq!(function.units().len(), function.units().count());
                assert!((function.name as usize) < package.strings.len());
                assert!((function.file as usize) < package.strings.len());
            }
        }
        builder.add_file(FileName::Meta { hash: file.hash }.to_string(), bytes);
    }
    if TextProfile::parse(bytes).is_ok() {
        builder.add_text_bytes("cover.out", bytes);
        let written = |bytes: &[u8]| {
            let mut builder = Builder::new();
            builder.add_text_bytes("cover.out", bytes);
            let mut text = Vec::new();
            builder.load().read().0.profile().write_text(&mut text).expect("memory takes everything");
            text
        };
        assert_eq!(written(&written(bytes)), written(bytes));
    }
    if let Ok(file) = CounterFile::parse(bytes) {
        for segment in file.segments() {
            assert_eq!(segment.functions().count() as u64, segment.function_count());
            segment.functions().for_each(|f| assert_eq!(f.counters().len(), f.counters().count()));
            assert!(segment.command_line().len() <= bytes.len());
        }
        let stripped = strip_args(bytes).expect("what parses can be stripped");
        let stripped = CounterFile::parse(&stripped).expect("what is stripped parses");
        assert!(stripped.segments().iter().all(|segment| segment.command_line().is_empty()));
        assert_eq!(stripped.segments().len(), file.segments().len());
        builder.add_file(FileName::Counters { hash: file.hash(), pid: 1, nanos: 1 }.to_string(), bytes);
    }
    // The other file of the pair, so that changed counters meet whole meta-data and the reverse.
    for (name, bytes) in files("count") {
        builder.add_file(name.to_string(), bytes);
    }
    let files = builder.load();
    let (mut data, _) = files.read();
    let profile = data.profile();
    let total = profile.percent().total();
    assert!(total.covered <= total.total);
    assert_eq!(profile.functions().total(), total);
    // What is written is right.
    for (name, bytes) in [data.files(), data.combined_files(|_| true), data.selected_files(|_| true)]
        .into_iter()
        .flat_map(|files| files.expect("nothing is that large"))
    {
        assert_eq!(check(&name, &bytes), Ok(()));
    }
    data.subtract(&[data.clone()]);
    assert_eq!(data.profile().percent().total().covered, 0);
}

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
                devour(&bytes);
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
        devour(&bytes);
    }

    #[test]
    fn arbitrary_bytes_behind_a_real_start(start in fixture(), len: Index, rest: Vec<u8>) {
        let len = len.index(start.len());
        devour(&[&start[..len], &rest].concat());
    }

    #[test]
    fn real_files_with_changes(mut bytes in fixture(), changes: Vec<(Index, u8)>) {
        for (offset, value) in changes {
            let offset = offset.index(bytes.len());
            bytes[offset] = value;
        }
        devour(&bytes);
    }

    #[test]
    fn real_files_with_a_part_gone_or_twice(bytes in fixture(), a: Index, b: Index) {
        let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
        devour(&[&bytes[..a], &bytes[b..]].concat());
    }

    #[test]
    fn text_profiles_with_changes(changes: Vec<(Index, u8)>) {
        let mut bytes = fs_err::read(folder("count").join("textfmt.txt")).unwrap();
        for (offset, value) in changes {
            let offset = offset.index(bytes.len());
            bytes[offset] = value;
        }
        devour(&bytes);
    }

    #[test]
    fn a_name_is_given_back(name in "(tmp\\.)?cov(meta|counters)\\.[0-9a-f]{31,33}(\\.?[0-9]{1,3}){0,3}") {
        if let Ok(parsed) = name.parse::<FileName>() {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}
