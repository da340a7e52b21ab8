//! Bad data: each kind is named, and never costs the good data.

use std::path::{Path, PathBuf};

use covdata::{BadLines, CounterFile, Error, FileName, TextError, check};
use podcov_profile::{Builder, Problem, Profile, Reason};

use crate::fixtures::{files, folder, meta};
use crate::go::{read, read_dirs};

/// The fixture of mode count, with further files.
fn with(extra: &[(&str, &[u8])]) -> (Profile<'static>, Vec<Problem>) {
    let mut builder = Builder::new();
    for (path, bytes) in extra {
        builder.add_file(path, *bytes);
    }
    builder.add_dir(folder("count"));
    read(builder)
}

/// Whether a profile has the fixture's data, and nothing more.
fn is_fixture(profile: &Profile<'_>) -> bool {
    let (expected, problems) = read_dirs([folder("count")]);
    assert!(problems.is_empty() && expected.packages().len() == 5);
    *profile == expected
}

fn counters() -> (FileName, Vec<u8>) {
    files("count")
        .into_iter()
        .find(|(name, _)| matches!(name, FileName::Counters { .. }))
        .expect("a counter file")
}

#[test]
fn a_bad_file_does_not_cost_the_good_ones() {
    let (counters, bytes) = counters();
    let (meta, meta_bytes) = meta("count", "one");
    let other = "covcounters.00000000000000000000000000000000.1.1";
    let cases: [(&str, &[u8], &str); 8] = [
        (&counters.to_string(), &bytes[..bytes.len() - 1], "the file does not end in a footer"),
        (&counters.to_string(), b"", "at byte 0: the header is cut off"),
        (&counters.to_string(), &meta_bytes, "not the first bytes of a counter file"),
        (&meta.to_string(), &meta_bytes[..600], "the file has 600 bytes, its header announces 670"),
        (other, &bytes, "the name says hash 0000000000"),
        (&format!("tmp.{counters}"), &bytes, "a temporary file, its writer has not finished"),
        (&format!("{counters}.gz"), &bytes, "not the name of a coverage file"),
        ("covmeta.", b"", "not the name of a coverage file"),
    ];
    for (name, bytes, message) in cases {
        let path = format!("elsewhere/{name}");
        let (profile, problems) = with(&[(&path, bytes)]);
        assert!(is_fixture(&profile), "{path}");
        let [problem] = problems.as_slice() else { panic!("{path}: {problems:?}") };
        assert_eq!(problem.path, Path::new(&path));
        let text = problem.to_string();
        assert!(text.starts_with(&format!("{path}: ")) && text.contains(message), "{text}");
    }
}

#[test]
fn other_files_are_passed_over() {
    let (profile, problems) =
        with(&[("percent.txt", b"x"), ("metafiles.txt", b"x"), ("covmeta", b"x"), ("..", b"x")]);
    assert!(is_fixture(&profile) && problems.is_empty());
}

#[test]
fn counters_without_meta_data() {
    let (name, bytes) = counters();
    let mut builder = Builder::new();
    builder.add_file(format!("a/{name}"), bytes);
    let (profile, problems) = read(builder);
    assert_eq!((profile.packages().len(), profile.mode()), (0, None));
    let [Problem { path, reason: Reason::NoMeta { hash } }] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert_eq!((path, Some(*hash)), (&PathBuf::from(format!("a/{name}")), name.hash()));
}

#[test]
fn meta_data_may_come_after_its_counters_and_from_another_folder() {
    let mut builder = Builder::new();
    for (name, bytes) in files("count").iter().rev() {
        builder.add_file(format!("a/{name}"), bytes);
    }
    let (profile, problems) = read(builder);
    assert!(is_fixture(&profile) && problems.is_empty(), "{problems:?}");

    // files() has the meta-data first.
    let (name, bytes) = meta("count", "one");
    let mut builder = Builder::new();
    for (other, bytes) in files("count").iter().filter(|(other, _)| *other != name) {
        builder.add_file(format!("a/{other}"), bytes);
    }
    builder.add_file(format!("b/{name}"), &bytes);
    let (profile, problems) = read(builder);
    assert!(is_fixture(&profile));
    // Nothing was written where the meta-data is; what wrote the other folder's counters is not known.
    let [Problem { path, reason: Reason::NoCounters }] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(*path, PathBuf::from(format!("b/{name}")));
}

#[test]
fn a_container_without_counters_is_told_from_one_with() {
    let (name, bytes) = meta("count", "one");
    let path = format!("killed/{name}");
    let (profile, problems) = with(&[(&path, &bytes)]);
    assert!(is_fixture(&profile));
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(problem.to_string(), format!("{path}: no counters were written"));
}

#[test]
fn two_meta_data_files_of_one_hash() {
    let (name, mut bytes) = meta("count", "one");
    *bytes.last_mut().unwrap() ^= 1; // the literal flag of the last function
    assert_eq!(check(&name, &bytes), Ok(()));
    let mut builder = Builder::new();
    builder.add_dir(folder("count"));
    builder.add_file(format!("b/{name}"), &bytes);
    let (profile, problems) = read(builder);
    assert!(is_fixture(&profile));
    let [Problem { reason: Reason::OtherMeta { first }, .. }] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    assert_eq!(*first, folder("count").join(name.to_string()));
}

#[test]
fn counters_of_functions_that_are_not_there() {
    // Command one's counters under command two's hash: the first functions may fit, and must not count.
    let (one, two) = (meta("count", "one").0.hash().unwrap(), meta("count", "two").0.hash().unwrap());
    for (name, mut bytes) in files("count") {
        let FileName::Counters { hash, pid, nanos } = name else { continue };
        if hash != one {
            continue;
        }
        bytes[8..24].copy_from_slice(&two.0);
        let path = format!("a/{}", FileName::Counters { hash: two, pid, nanos });
        let (profile, problems) = with(&[(&path, &bytes)]);
        assert!(is_fixture(&profile));
        assert!(
            matches!(problems.as_slice(), [Problem { reason: Reason::OtherShape { .. }, .. }]),
            "{problems:?}"
        );
    }
}

#[test]
fn a_counter_too_few() {
    // The first function's number of counters is one less, and its last counter is gone.
    let (name, bytes) = counters();
    let whole = CounterFile::parse(&bytes).unwrap();
    let first = whole.functions().next().unwrap();
    let count = first.counters().len() as u8;
    assert!(first.counters().all(|counter| counter < 0x80), "each counter is one byte");
    let entry = [count, first.package as u8, first.function as u8];
    let at = bytes.windows(3).rposition(|bytes| bytes == entry).unwrap();
    let mut bytes = bytes.clone();
    bytes[at] -= 1;
    bytes.remove(at + 3);
    assert_eq!(check(&name, &bytes), Ok(()));

    let path = format!("a/{name}");
    let (profile, problems) = with(&[(&path, &bytes)]);
    assert!(is_fixture(&profile));
    let [Problem { reason: Reason::OtherShape { package, function, counters }, .. }] = problems.as_slice()
    else {
        panic!("{problems:?}")
    };
    let expected = (first.package, first.function, u32::from(count) - 1);
    assert_eq!((*package, *function, *counters), expected);
}

#[test]
fn folders_and_files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, folder_as_file) = (dir.path().join("missing"), dir.path().join(counters().0.to_string()));
    fs_err::os::unix::fs::symlink(folder("count"), &folder_as_file).unwrap();
    let (profile, problems) = read_dirs([dir.path(), &missing, &folder("count")]);
    assert!(is_fixture(&profile));
    let [file, folder] = problems.as_slice() else { panic!("{problems:?}") };
    assert_eq!(file.to_string(), format!("{}: not a regular file", folder_as_file.display()));
    assert!(matches!(&folder.reason, Reason::Io(error) if error.kind() == std::io::ErrorKind::NotFound));
    assert_eq!(folder.path, missing);
}

#[test]
fn check_refuses_temporary_names() {
    let (name, bytes) = counters();
    let FileName::Counters { hash, pid, nanos } = name else { panic!("{name}") };
    assert_eq!(check(&FileName::TemporaryCounters { hash, pid, nanos }, &bytes), Err(Error::Temporary));
}

#[test]
fn text_profiles() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad, other) = (dir.path().join("a.out"), dir.path().join("b.out"), dir.path().join("c.out"));
    fs_err::write(&good, "mode: count\nm/a.go:1.1,2.2 3 4\n").unwrap();
    fs_err::write(&bad, "mode: count\nm/a.go:1.1,2.2 3 4\nm/a.go:7.1,8.\n").unwrap();
    fs_err::write(&other, "<html>").unwrap();
    let mut builder = Builder::new();
    [&good, &bad, &other, &dir.path().join("missing")].into_iter().for_each(|path| builder.add_text(path));
    let (profile, problems) = read(builder);
    // The good line of the bad file counts.
    assert_eq!(crate::go::text(&profile), "mode: count\nm/a.go:1.1,2.2 3 8\n");
    let [lines, html, missing] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(
        matches!(lines.reason, Reason::Text(TextError::BadLines(BadLines { first: 3, lines: 1 }))),
        "{lines}"
    );
    assert_eq!(html.to_string(), format!("{}: {}", other.display(), TextError::NoMode));
    assert!(matches!(&missing.reason, Reason::Io(error) if error.kind() == std::io::ErrorKind::NotFound));
}

#[test]
fn blocks_of_different_versions_are_recognised() {
    let mixed = |texts: &[&str]| {
        let mut builder = Builder::new();
        for (number, text) in texts.iter().enumerate() {
            builder.add_text_bytes(format!("{number}.out"), format!("mode: set\n{text}").as_bytes());
        }
        let (profile, problems) = read(builder);
        assert!(problems.is_empty(), "{problems:?}");
        profile
            .files()
            .filter(|file| file.finding == Some(podcov_profile::Finding::Mixed))
            .map(|file| file.name.to_owned())
            .collect::<Vec<_>>()
    };
    let (old, new) = ("a.go:1.1,3.2 1 1\na.go:3.2,9.1 2 0\n", "a.go:1.1,4.2 1 1\na.go:4.2,10.1 2 0\n");
    assert_eq!(mixed(&[old, old]), [""; 0]);
    assert_eq!(mixed(&[old, "b.go:1.1,4.2 1 1\n"]), [""; 0]);
    assert_eq!(mixed(&[old, "a.go:9.1,12.2 1 1\n"]), [""; 0], "a part of the same file");
    assert_eq!(mixed(&[old, new]), ["a.go"]);
    let more = "a.go:1.1,3.2 2 1\n";
    assert_eq!(mixed(&[old, more]), ["a.go"], "the same place with more statements");
    assert_eq!(mixed(&[&format!("{old}{more}")]), ["a.go"], "in one profile");
    // Blocks overlap in each version: code that was generated from another file.
    let generated = "a.y:1.1,5.2 1 1\na.y:2.1,3.2 1 0\n";
    assert_eq!(mixed(&[generated]), [""; 0]);
    assert_eq!(mixed(&[generated, generated]), [""; 0]);
    assert_eq!(mixed(&[generated, "a.y:1.1,5.2 1 1\n"]), [""; 0], "a part of it");
    assert_eq!(mixed(&[generated, "a.y:1.1,5.2 1 1\na.y:2.1,4.2 1 0\n"]), ["a.y"]);
}

#[test]
fn equal_meta_data_of_many_folders() {
    let with_copies = |change: fn(&mut Vec<u8>)| {
        let mut builder = Builder::new();
        for folder in ["a", "b", "c"] {
            for (name, mut bytes) in files("count") {
                if matches!(name, FileName::Meta { .. }) {
                    change(&mut bytes);
                }
                builder.add_file(format!("{folder}/{name}"), bytes);
            }
        }
        read(builder)
    };
    let (profile, problems) = with_copies(|_| ());
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(profile.percent(), read_dirs([folder("count")]).0.percent());
    // A problem is reported for each file: in each folder two meta-data files and, because of these, three counter files.
    let (profile, problems) = with_copies(|bytes| bytes[4] = 2);
    assert!(profile.packages().is_empty());
    let versions =
        problems.iter().filter(|p| matches!(p.reason, Reason::Invalid(Error::Version { found: 2 })));
    let orphans = problems.iter().filter(|p| matches!(p.reason, Reason::NoMeta { .. }));
    assert_eq!((versions.count(), orphans.count(), problems.len()), (6, 9, 15));
}
