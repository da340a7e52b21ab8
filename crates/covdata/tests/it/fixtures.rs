//! Committed files. Their content is known from the programs' sources, the expected results from Go's tool.

use std::path::{Path, PathBuf};

use covdata::{CounterFile, FileName, Granularity, MetaFile, Mode, Unit, check, strip_args};

use crate::go;

pub(crate) const FOLDERS: [&str; 4] = ["set", "count", "atomic", "go1.20"];

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The coverage files of a fixture folder, by name.
pub(crate) fn files(name: &str) -> Vec<(FileName, Vec<u8>)> {
    let entries = fs_err::read_dir(folder(name)).expect("a fixture folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.parse().ok()?;
            Some((name, fs_err::read(path).expect("a fixture")))
        })
        .collect();
    files.sort();
    assert_eq!(files.len(), 5, "{name}: two binaries, three runs");
    files
}

/// The meta-data file of a fixture folder's command, by the name of its main package's folder.
pub(crate) fn meta(name: &str, command: &str) -> (FileName, Vec<u8>) {
    let path = format!("sample/cmd/{command}");
    let has =
        |bytes: &[u8]| MetaFile::parse(bytes).is_ok_and(|file| file.packages.iter().any(|p| p.path == path));
    files(name).into_iter().find(|(_, bytes)| has(bytes)).expect("the command's meta-data")
}

#[test]
fn percentages_and_counts_are_gos() {
    for name in FOLDERS {
        let (profile, problems) = go::read_dirs([folder(name)]);
        assert!(problems.is_empty(), "{name}: {problems:?}");
        let percent = fs_err::read_to_string(folder(name).join("percent.txt")).unwrap();
        assert_eq!(profile.percent().to_string(), percent, "{name}");
        let textfmt = fs_err::read_to_string(folder(name).join("textfmt.txt")).unwrap();
        assert_eq!(go::text(&profile), textfmt, "{name}");
    }
}

#[test]
fn the_total_is_over_all_packages() {
    // One: 7 of 9 statements. Two: 3 of 3. Lib: 16 of 18. Empty and types: none.
    let (profile, _) = go::read_dirs([folder("count")]);
    let total = profile.percent().total();
    assert_eq!((total.covered, total.total), (26, 30));
    assert_eq!(total.to_string(), "coverage: 86.7% of statements");
}

#[test]
fn functions_of_a_profile() {
    let (profile, _) = go::read_dirs([folder("count")]);
    let functions = profile.functions();
    let of_two = functions.functions.iter().filter(|function| function.package == "sample/cmd/two");
    let of_two: Vec<_> = of_two.map(|f| (f.file, f.line, &*f.name, f.literal, f.coverage.covered)).collect();
    let file = "sample/cmd/two/main.go";
    assert_eq!(of_two, [(file, 11, "func.L11.C13", true, 1), (file, 13, "main", false, 2)]);
    assert_eq!(functions.total(), profile.percent().total());
}

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
