//! Each file by itself. The content of the fixtures is known from the programs' sources.

use covdata::{
    CounterFile, CounterFileBuilder, Error, FileName, Granularity, MetaFile, MetaHash, Mode, Package,
    ProcessArgs, Unit, check, strip_args,
};
use proptest::prelude::*;

use crate::fixtures::{FOLDERS, files, meta};

#[test]
fn every_file_is_whole_and_right() {
    for name in FOLDERS {
        for (name, bytes) in files(name) {
            assert_eq!(check(&name, &bytes), Ok(()), "{name}");
        }
    }
}

#[test]
fn meta_data_of_a_command() {
    let (name, bytes) = meta("count", "two");
    let file = MetaFile::parse(&bytes).unwrap();
    assert_eq!((file.hash, file.mode), (name.hash().unwrap(), Mode::Count));
    assert_eq!(file.granularity, Granularity::PerBlock);
    let [lib, main] = file.packages.as_slice() else { panic!("{:?}", file.packages) };
    assert_eq!((lib.name, lib.path, lib.module), ("lib", "sample/lib", "sample"));
    assert_eq!((main.name, main.path, main.module), ("main", "sample/cmd/two", "sample"));

    let name_file_literal = |package: &covdata::Package<'_>| {
        let functions = package.functions();
        let strings = functions
            .map(|f| (package.string(f.name).to_owned(), package.string(f.file).to_owned(), f.literal));
        strings.collect::<Vec<_>>()
    };
    let lib_file = || "sample/lib/lib.go".to_owned();
    assert_eq!(
        name_file_literal(lib),
        ["Sum", "Apply", "Classify"].map(|name| (name.to_owned(), lib_file(), false))
    );
    let main_file = || "sample/cmd/two/main.go".to_owned();
    assert_eq!(
        name_file_literal(main),
        [("func.L11.C13".to_owned(), main_file(), true), ("main".to_owned(), main_file(), false)]
    );

    let literal: Vec<_> = main.functions().next().unwrap().units().collect();
    // Line 11: var twice = func(n int) int { return 2 * n }
    assert_eq!(
        literal,
        [Unit { start_line: 11, start_column: 29, end_line: 11, end_column: 45, statements: 1 }]
    );
}

/// Go makes a program's hash of its packages' hashes; up to 1.23 by MD5.
#[test]
fn a_programs_hash_is_made_of_its_packages_hashes() {
    for (name, bytes) in ["set", "count", "atomic"].into_iter().flat_map(files) {
        if matches!(name, FileName::Meta { .. }) {
            let MetaFile { packages, mode, granularity, hash, .. } = MetaFile::parse(&bytes).unwrap();
            assert_eq!(MetaHash::of_program(packages.iter().map(Package::hash), mode, granularity), hash);
        }
    }
}

#[test]
fn counters_of_a_run() {
    let (meta, _) = meta("count", "two");
    let files = files("count");
    let of_two = files.iter().find(|(name, _)| name.hash() == meta.hash() && *name != meta);
    let (_, bytes) = of_two.expect("the counter file of command two");
    let file = CounterFile::parse(bytes).unwrap();
    assert_eq!(Some(file.hash()), meta.hash());
    let [segment] = file.segments() else { panic!("Go writes one segment") };
    assert_eq!(segment.command_line(), [b"./two"]);
    assert_eq!((segment.goos(), segment.goarch()), (Some(b"linux".as_slice()), Some(b"amd64".as_slice())));
    let mut counters: Vec<_> = file
        .functions()
        .map(|f| {
            // Go may give a function's blocks in any order; the differential tests compare that order.
            let mut counters: Vec<_> = f.counters().collect();
            counters.sort_unstable();
            (f.package, f.function, counters)
        })
        .collect();
    counters.sort_unstable();
    let expected = [
        // Apply, five times, without a panic.
        (0, 1, vec![0, 0, 5, 5, 5, 5, 5]),
        // Classify of -2, -1, 0, 1, 2.
        (0, 2, vec![1, 2, 2, 3, 5]),
        // The function literal, then main.
        (1, 0, vec![5]),
        (1, 1, vec![1, 5]),
    ];
    assert_eq!(counters, expected);
}

/// An iterator's length is what is left of it.
#[test]
fn counters_and_units_tell_how_many_are_left() {
    fn lengths<T>(mut items: impl ExactSizeIterator<Item = T>) -> Vec<usize> {
        let mut lengths = vec![items.len()];
        while items.next().is_some() {
            lengths.push(items.len());
        }
        lengths
    }
    let (_, bytes) = meta("count", "two");
    let package = &MetaFile::parse(&bytes).unwrap().packages[1];
    let units: Vec<_> = package.functions().map(|function| lengths(function.units())).collect();
    assert_eq!(units, [vec![1, 0], vec![2, 1, 0]]);
    let mut file = CounterFileBuilder::new(MetaHash([0; 16]), &ProcessArgs::default()).unwrap();
    file.function(0, 0, [300, 0, 1]).unwrap();
    let bytes = file.finish();
    let file = CounterFile::parse(&bytes).unwrap();
    let counters: Vec<_> = file.functions().map(|function| lengths(function.counters())).collect();
    assert_eq!(counters, [[3, 2, 1, 0]]);
}

#[test]
fn a_stripped_file_has_no_arguments_and_the_same_counters() {
    for name in FOLDERS {
        for (name, bytes) in files(name) {
            if !matches!(name, FileName::Counters { .. }) {
                continue;
            }
            let stripped = strip_args(&bytes).unwrap();
            assert_eq!(check(&name, &stripped), Ok(()));
            let (before, after) =
                (CounterFile::parse(&bytes).unwrap(), CounterFile::parse(&stripped).unwrap());
            let ([old], [new]) = (before.segments(), after.segments()) else { panic!("one segment each") };
            assert!(!old.command_line().is_empty());
            assert!(new.command_line().is_empty());
            assert_eq!((new.goos(), new.goarch()), (old.goos(), old.goarch()));
            for secret in ["token", "hunter2", "hello", "./one", "./two", "argv"] {
                assert!(!stripped.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret}");
            }
            let counters = |file: &CounterFile<'_>| {
                let functions = file.functions();
                functions
                    .map(|f| (f.package, f.function, f.counters().collect::<Vec<_>>()))
                    .collect::<Vec<_>>()
            };
            assert_eq!(counters(&after), counters(&before));
            assert_eq!(strip_args(&stripped), Ok(stripped));
        }
    }
}

#[test]
fn a_file_under_the_name_of_another_program_is_an_error() {
    for (name, bytes) in files("count") {
        let (found, expected) = (name.hash().unwrap(), MetaHash([0; 16]));
        let other = match name {
            FileName::Counters { pid, nanos, .. } => FileName::Counters { hash: expected, pid, nanos },
            _ => FileName::Meta { hash: expected },
        };
        assert_eq!(check(&other, &bytes), Err(Error::OtherHash { expected, found }), "{name}");
    }
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_name_is_given_back(name in "(tmp\\.)?cov(meta|counters)\\.[0-9a-f]{31,33}(\\.?[0-9]{1,3}){0,3}") {
        if let Ok(parsed) = name.parse::<FileName>() {
            prop_assert_eq!(parsed.to_string(), name);
        }
    }
}
