//! Every reader of outside bytes, each as a function that reads any bytes in every way there is, to the end.
//!
//! A panic is a failure, and so is an allocation far beyond the input's size. Whatever can be asserted of the result
//! is.

#![forbid(unsafe_code)]

use covdata::{CounterFile, FileName, MetaFile, TextProfile, Unit, check, strip_args};
use livecov::{Facts, Range, Reader, Readings, Source, Step};
use podcov_profile::{Block, Builder, FileProfile};
use podcov_unpack::{Rules, unpack};
use report::changes::Changes;
use report::{GoMod, functions, is_generated, line_counts};

/// The files of a real program, so that changed counters meet whole meta-data and the reverse.
const REAL: [(&str, &[u8]); 2] = [
    (
        "covmeta.f947a66cccabc27837954e22853b1648",
        include_bytes!(
            "../../../crates/covdata/tests/fixtures/count/covmeta.f947a66cccabc27837954e22853b1648"
        ),
    ),
    (
        "covcounters.f947a66cccabc27837954e22853b1648.19562.1795224885120263464",
        include_bytes!(
            "../../../crates/covdata/tests/fixtures/count/covcounters.f947a66cccabc27837954e22853b1648.19562.1795224885120263464"
        ),
    ),
];

/// Meta-data and counter files.
pub fn coverage(bytes: &[u8]) {
    let mut builder = Builder::new();
    if let Ok(file) = MetaFile::parse(bytes) {
        for package in &file.packages {
            for function in package.functions() {
                assert_eq!(function.units().len(), function.units().count());
                assert!((function.name as usize) < package.strings.len());
                assert!((function.file as usize) < package.strings.len());
            }
        }
        builder.add_file(FileName::Meta { hash: file.hash }.to_string(), bytes);
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
    for (name, bytes) in REAL {
        builder.add_file(name, bytes);
    }
    let files = builder.load();
    let (mut data, _) = files.read();
    let profile = data.profile();
    let total = profile.percent().total();
    assert!(total.covered <= total.total);
    assert_eq!(profile.functions().total(), total);
    // Package by package it is the same.
    assert_eq!(data.percent(|_| true).0, profile.percent());
    let mut functions = Vec::new();
    data.write_functions(|_| true, &mut functions).expect("memory takes everything");
    assert_eq!(String::from_utf8_lossy(&functions), profile.functions().to_string());
    let (mut streamed, mut whole) = (Vec::new(), Vec::new());
    data.write_text(|_| true, &mut streamed).expect("memory takes everything");
    profile.write_text(&mut whole).expect("memory takes everything");
    assert_eq!(streamed, whole);
    // What is written is right.
    let written =
        [data.files(), data.combined_files(|_| true).map(|(files, _)| files), data.selected_files(|_| true)];
    for (name, bytes) in written.into_iter().flat_map(|files| files.expect("nothing is that large")) {
        assert_eq!(check(&name, &bytes), Ok(()));
    }
    let same = data.clone();
    data.subtract(&same);
    assert_eq!(data.profile().percent().total().covered, 0);
}

/// Text profiles.
pub fn text(bytes: &[u8]) {
    let written = |bytes: &[u8]| {
        let mut builder = Builder::new();
        builder.add_text_bytes("cover.out", bytes);
        let mut text = Vec::new();
        builder.load().read().0.profile().write_text(&mut text).expect("memory takes everything");
        text
    };
    let once = written(bytes);
    assert_eq!(once.is_empty(), TextProfile::parse(bytes).is_err());
    // Written and read again it is the same, and whole.
    if let Ok(profile) = TextProfile::parse(&once) {
        assert_eq!(profile.bad_lines, None);
        assert_eq!(written(&once), once);
    }
    let _ = report::gate::baseline(bytes);
}

/// `go.mod` and `go.work`.
pub fn gomod(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let parsed = GoMod::parse(&text);
    let words = parsed.uses.len() + parsed.requires.len() + parsed.replaces.len();
    assert!(words <= text.len());
}

/// Go source.
pub fn source(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = is_generated(&text);
    let functions = functions(&text);
    assert!(functions.iter().all(|function| function.start < function.end));
    assert!(functions.is_sorted_by_key(|function| function.start));
    assert!(functions.windows(2).all(|two| two[0].end <= two[1].start));
    // All of it as one block.
    let lines = text.split('\n').count() as u32;
    let unit = Unit { start_line: 1, start_column: 1, end_line: lines + 1, end_column: 1, statements: 1 };
    let file = FileProfile {
        name: "a.go",
        blocks: vec![Block { unit, count: 1, function: None }],
        finding: None,
        suites: Vec::new(),
    };
    assert!(line_counts(&file, Some(&text)).keys().all(|line| (1..=lines).contains(line)));
}

/// What git prints about changes.
pub fn diff(bytes: &[u8]) {
    let _ = Changes::parse(&String::from_utf8_lossy(bytes));
}

/// A pod's tar stream, into a folder of its own.
pub fn tar(bytes: &[u8]) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("folder");
    let rules =
        Rules { archive: 1 << 20, file: 1 << 16, entries: 100, sanitize: bytes.len().is_multiple_of(2) };
    let unpacked = unpack(bytes, &folder, rules, true).expect("the folder can be written");
    let names = |folder| {
        let entries = fs_err::read_dir(folder).into_iter().flatten();
        entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect::<Vec<_>>()
    };
    assert!(names(dir.path()).iter().all(|name| name == "folder"));
    let (mut written, mut said) = (names(&folder), unpacked.files);
    written.sort();
    said.sort();
    assert_eq!(written, said.iter().map(|file| file.name.clone()).collect::<Vec<_>>());
    for name in written {
        let bytes = fs_err::read(folder.join(&name)).expect("a file that was just written");
        let name: FileName = name.parse().expect("only such names are taken");
        assert_eq!(check(&name, &bytes), Ok(()));
    }
}

/// Where a program's file is in memory, in the corpus of [`memory`].
const BASE: u64 = 0x40_0000;

/// The memory of a process: its program's file, byte for byte, from [`BASE`] on.
pub fn memory(bytes: &[u8]) {
    let read = |range: Range| {
        let start = match range.source {
            Source::File => range.start,
            Source::Memory => range.start.wrapping_sub(BASE),
        };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
        let length = usize::try_from(range.length).unwrap_or(usize::MAX).min(bytes.len() - start);
        bytes[start..start + length].to_vec()
    };
    // The end of the bytes is where the program's headers are in memory, too.
    let mut reader = Reader::new(&bytes[bytes.len().saturating_sub(16)..]);
    let mut steps = 0;
    let program = loop {
        match reader.step() {
            Ok(Step::Read { ranges, .. }) => {
                steps += 1;
                assert!(steps < 100, "it goes on and on");
                ranges.into_iter().for_each(|range| reader.give(range, read(range)));
            }
            Ok(Step::Done(program)) => break program,
            Err(_) => return,
        }
    };
    assert_eq!(check(&program.meta_name(), program.meta()), Ok(()));
    let counters = read(program.counters());
    let readings = Readings { counters: &counters, later: &counters, length: &read(program.length()) };
    if let Ok(snapshot) = program.snapshot(&readings, &Facts::default()) {
        assert_eq!(check(&snapshot.name, &snapshot.bytes), Ok(()));
    }
}
