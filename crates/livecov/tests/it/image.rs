//! Programs made by hand: what a reader does with each part, and with bytes that are wrong.

use std::sync::Arc;

use covdata::{CounterFile, FileName, MetaFile, check};
use livecov::{Builds, Error, Facts, Program, Range, Reader, Readings, Snapshot, Source, Step};

/// The meta-data file of a real program, whose packages are used here.
const META: &[u8] =
    include_bytes!("../../../covdata/tests/fixtures/count/covmeta.f947a66cccabc27837954e22853b1648");

/// Where the file is in memory. Each byte of it is at its offset from here.
const BASE: u64 = 0x40_0000;

const AMD64: u16 = 62;
const ARM64: u16 = 183;

/// A program: a file that is in memory as it is.
struct Image {
    bytes: Vec<u8>,
    /// Where the counters are in it.
    counters: std::ops::Range<usize>,
}

/// The bytes of each package in the meta-data file.
fn packages() -> Vec<&'static [u8]> {
    let word = |at: usize| META[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes) as usize);
    let count = word(16);
    (0..count)
        .map(|number| (56 + 8 * number, 56 + 8 * (count + number)))
        .map(|(at, length)| &META[word(at)..][..word(length)])
        .collect()
}

impl Image {
    /// A program for a processor, with these numbers in the memory of counters. `numbers` are the numbers that
    /// the compiler uses for the packages.
    fn new(machine: u16, counters: &[u32], numbers: &[i64]) -> Self {
        Self::of_build(b"", machine, counters, numbers)
    }

    /// The same with a build ID.
    fn of_build(id: &[u8], machine: u16, counters: &[u32], numbers: &[i64]) -> Self {
        let mut image = Self { bytes: vec![0; 64], counters: 0..0 };
        let packages = packages();
        let blobs: Vec<u64> = packages.iter().map(|package| image.add(package).0).collect();
        let mut elements = Vec::new();
        for (number, (package, address)) in packages.iter().zip(&blobs).enumerate() {
            elements.extend(address.to_le_bytes());
            elements.extend((package.len() as u32).to_le_bytes());
            elements.extend(&package[16..32]);
            elements.resize(elements.len().next_multiple_of(8) + 16, 0);
            elements.extend(numbers.get(number).unwrap_or(&-1).to_le_bytes());
            // Mode count, a counter for each block.
            elements.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        }
        let list = image.add(&elements).0;
        let length = packages.len() as u64;
        let bss = image.add(&words(&[0, 7, list, length, length + 3, 0]));
        let area = image.add(&counters.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>());
        image.counters = (area.0 - BASE) as usize..(area.0 + area.1 - BASE) as usize;
        let module = image.add(&words(&[3, area.0, area.0 + area.1, area.0, area.0 + area.1, 9]));
        let mut build = b"\xff Go buildinf:\x08\x02".to_vec();
        build.resize(32, 0);
        build.extend(b"\x08go1.27.3\x00");
        let build = image.add(&build);
        let note =
            image.add(&[&[4, 0, 0, 0, id.len() as u8, 0, 0, 0, 4, 0, 0, 0], &b"Go\0\0"[..], id].concat());
        let names = b"\0.noptrbss\0.bss\0.go.module\0.go.buildinfo\0.shstrtab\0.note.go.buildid\0";
        let names_at = image.add(names);
        let sections = [(1, area), (11, bss), (16, module), (27, build), (51, note), (41, names_at)];
        let mut headers = Vec::new();
        for (name, (address, size)) in sections {
            headers.extend(u32::to_le_bytes(name));
            headers.extend([0; 12]);
            headers.extend(words(&[address, address - BASE, size, 0, 0, 0]));
        }
        let (headers, _) = image.add(&headers);
        let header = &mut image.bytes[..64];
        header[..6].copy_from_slice(b"\x7fELF\x02\x01");
        header[16..18].copy_from_slice(&2u16.to_le_bytes());
        header[18..20].copy_from_slice(&machine.to_le_bytes());
        header[40..48].copy_from_slice(&(headers - BASE).to_le_bytes());
        header[58..60].copy_from_slice(&64u16.to_le_bytes());
        header[60..62].copy_from_slice(&(sections.len() as u16).to_le_bytes());
        header[62..64].copy_from_slice(&(sections.len() as u16 - 1).to_le_bytes());
        image
    }

    /// Adds bytes, and gives their address and how many they are.
    fn add(&mut self, bytes: &[u8]) -> (u64, u64) {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let address = BASE + self.bytes.len() as u64;
        self.bytes.extend(bytes);
        (address, bytes.len() as u64)
    }

    /// The bytes of a range, as far as there are any.
    fn read(&self, range: Range) -> Vec<u8> {
        let start = match range.source {
            Source::File => range.start,
            Source::Memory => range.start.wrapping_sub(BASE),
        };
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(self.bytes.len());
        let length = usize::try_from(range.length).unwrap_or(usize::MAX).min(self.bytes.len() - start);
        self.bytes[start..start + length].to_vec()
    }

    fn program(&self) -> Result<Program, Error> {
        self.program_sharing(&Arc::default()).map(|(program, _)| program)
    }

    /// With the meta-data of other readers. Gives also whether it was asked for that of a package.
    fn program_sharing(&self, builds: &Arc<Builds>) -> Result<(Program, bool), Error> {
        let mut reader = Reader::sharing(&[], Arc::clone(builds));
        let (mut steps, mut asked) = (0, false);
        let is_package =
            |range: &Range| packages().iter().any(|package| package.len() as u64 == range.length);
        loop {
            match reader.step()? {
                Step::Read { ranges, .. } => {
                    steps += 1;
                    assert!(steps < 20, "it asks for ever");
                    asked |= ranges.iter().any(is_package);
                    ranges.iter().for_each(|range| reader.give(*range, self.read(*range)));
                }
                Step::Done(program) => return Ok((*program, asked)),
            }
        }
    }

    /// A snapshot of which both readings are the same.
    fn snapshot(&self) -> Result<Snapshot, Error> {
        let counters = &self.bytes[self.counters.clone()];
        taken(&self.program()?, counters, counters)
    }
}

/// A snapshot of two readings, after which there are as many packages as before.
fn taken(program: &Program, counters: &[u8], later: &[u8]) -> Result<Snapshot, Error> {
    let length = (program.packages() as u64).to_le_bytes();
    program.snapshot(&Readings { counters, later, length: &length }, &facts())
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn bytes(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn facts() -> Facts {
    Facts { pid: 7, nanos: 5, command_line: vec![b"/app".to_vec()] }
}

/// A function's numbers in memory: how many counters it has, its package's number, its own, and the same count for each.
fn function(package: u32, function: u32, count: u32) -> Vec<u32> {
    let meta = MetaFile::parse(META).expect("a meta-data file");
    let index = package.checked_sub(1).map_or(0, |index| (index as usize).min(meta.packages.len() - 1));
    let units = meta.packages[index].functions().nth(function as usize).expect("a function").units().len();
    let mut numbers = vec![units as u32, package, function];
    numbers.resize(3 + units, count);
    numbers
}

fn counts(snapshot: &Snapshot) -> Vec<(u32, u32, u32)> {
    let file = CounterFile::parse(&snapshot.bytes).expect("a counter file");
    let first = |mut counters: covdata::Counters<'_>| counters.next().expect("a counter");
    file.functions()
        .map(|function| (function.package, function.function, first(function.counters())))
        .collect()
}

#[test]
fn counters_of_both_processors() {
    let numbers = [&[0][..], &function(1, 0, 4), &[0, 0, 0], &function(2, 1, 9), &[0]].concat();
    for (machine, name) in [(AMD64, "amd64"), (ARM64, "arm64")] {
        let image = Image::new(machine, &numbers, &[]);
        let program = image.program().unwrap();
        assert_eq!(program.packages(), packages().len());
        assert_eq!(program.build.go.as_deref(), Some("go1.27.3"));
        let meta = MetaFile::parse(program.meta()).unwrap();
        let expected = MetaFile::parse(META).unwrap();
        assert_eq!(meta.mode, expected.mode);
        let snapshot = image.snapshot().unwrap();
        assert_eq!(counts(&snapshot), [(0, 0, 4), (1, 1, 9)]);
        assert_eq!(snapshot.name, FileName::Counters { hash: meta.hash, pid: 7, nanos: 5 });
        assert_eq!(check(&snapshot.name, &snapshot.bytes), Ok(()));
        let file = CounterFile::parse(&snapshot.bytes).unwrap();
        assert_eq!(file.segments()[0].goarch(), Some(name.as_bytes()));
        assert_eq!(file.segments()[0].command_line(), [b"/app"]);
    }
}

/// What `/proc/PID/auxv` has while `execve(2)` runs, when the file is in its place already.
#[test]
fn a_program_that_is_being_started_has_no_memory_yet() {
    let mut reader = Reader::new(&[0; 16]);
    assert_eq!(reader.step().unwrap_err(), Error::Starting);
    // Whatever its file is.
    reader.give(Range { source: Source::File, start: 0, length: 64 }, b"#!/bin/sh".to_vec());
    assert_eq!(reader.step().unwrap_err(), Error::Starting);
}

/// The meta-data of a build is read once. It is of no other build, of no other list, and of none without an ID.
#[test]
fn readers_of_one_build_share_its_meta_data() {
    let numbers = function(1, 0, 4);
    let with = |id: &[u8], list: &[i64]| Image::of_build(id, AMD64, &numbers, list);
    let builds = Arc::default();
    let asked = |image: &Image| {
        image.program_sharing(&builds).map(|(program, asked)| {
            assert_eq!(program.meta(), image.program().unwrap().meta());
            asked
        })
    };
    let first = with(b"id-1", &[]);
    assert_eq!([asked(&first), asked(&first)], [Ok(true), Ok(false)]);
    assert_eq!(asked(&with(b"id-2", &[])), Ok(true));
    assert_eq!(asked(&with(b"id-1", &[-1, -3])), Ok(true));
    assert_eq!([asked(&with(b"", &[])), asked(&with(b"", &[]))], [Ok(true), Ok(true)]);
    // One whose meta-data is not as its list says leaves nothing for others.
    let mut broken = with(b"id-3", &[]);
    let at = broken.bytes.windows(packages()[1].len()).position(|bytes| bytes == packages()[1]).unwrap();
    broken.bytes[at + 20] ^= 1;
    assert!(asked(&broken).is_err());
    assert_eq!([asked(&with(b"id-3", &[])), asked(&with(b"id-3", &[]))], [Ok(true), Ok(false)]);
}

#[test]
fn packages_that_run_before_they_are_initialized() {
    let mut numbers = function(2, 0, 4);
    numbers[1] = (-3_i32).cast_unsigned();
    assert_eq!(
        Image::new(AMD64, &numbers, &[-1, -3]).snapshot().map(|snapshot| counts(&snapshot)),
        Ok(vec![(1, 0, 4)])
    );
}

#[test]
fn what_is_not_known_is_no_other_package() {
    let layout = Error::Layout { go: Some("go1.27.3".to_owned()) };
    let with = |change: &dyn Fn(&mut Vec<u32>)| {
        let mut numbers = function(1, 0, 4);
        change(&mut numbers);
        Image::new(AMD64, &numbers, &[]).snapshot().unwrap_err()
    };
    let count = packages().len() as u32;
    assert_eq!(with(&|numbers| numbers[1] = count + 1), Error::NewPackages);
    assert_eq!(with(&|numbers| numbers[1] = (-3_i32).cast_unsigned()), Error::NewPackages);
    assert_eq!(with(&|numbers| numbers[2] = 1000), layout);
    assert_eq!(with(&|numbers| numbers[0] = u32::MAX), layout);
    assert_eq!(with(&|numbers| numbers.truncate(2)), layout);
    // One counter more than the function has.
    let one_more = |numbers: &mut Vec<u32>| {
        numbers[0] += 1;
        numbers.push(4);
    };
    assert_eq!(with(&one_more), layout);
}

/// A package's functions have the number 0 until it is initialized.
#[test]
fn functions_that_ran_before_their_package_had_a_number_are_counted() {
    let numbers = [&function(1, 0, 4)[..], &[2, 0, 1, 5, 5], &function(2, 1, 9)].concat();
    let snapshot = Image::new(AMD64, &numbers, &[]).snapshot().unwrap();
    assert_eq!((counts(&snapshot), snapshot.unknown_functions), (vec![(0, 0, 4), (1, 1, 9)], 1));
}

#[test]
fn packages_that_are_initialized_meanwhile_are_noticed() {
    let image = Image::new(AMD64, &function(1, 0, 4), &[]);
    let program = image.program().unwrap();
    assert_eq!(image.read(program.length()), (packages().len() as u64).to_le_bytes());
    let counters = image.read(program.counters());
    let length = (packages().len() as u64 + 1).to_le_bytes();
    let readings = Readings { counters: &counters, later: &counters, length: &length };
    assert_eq!(program.snapshot(&readings, &facts()), Err(Error::NewPackages));
}

/// The program runs while it is read.
#[test]
fn a_function_that_begins_is_not_taken_for_another() {
    let (known, runs) = (function(1, 0, 4), function(2, 1, 5));
    let whole = [function(1, 0, 0), function(2, 1, 0), function(1, 1, 0)].concat();
    let program = Image::new(AMD64, &whole, &[]).program().unwrap();
    // Three functions, the second of which begins.
    let last = function(1, 1, 6);
    let with = |second: &[u32]| bytes(&[&known[..], second, &last].concat());
    let taken = |first: &[u32], later: &[u32]| {
        taken(&program, &with(first), &with(later))
            .map(|snapshot| (counts(&snapshot), snapshot.unknown_functions))
    };
    let (without, also) =
        (Ok((vec![(0, 0, 4), (0, 1, 6)], 0)), Ok((vec![(0, 0, 4), (1, 1, 5), (0, 1, 6)], 0)));
    let nothing = vec![0; runs.len()];
    // How far its numbers are written: all of them before the first counter.
    let begins = [1, 2, 3].map(|written| [&runs[..written], &nothing[written..]].concat());
    for first in begins.iter().chain([&nothing]) {
        for later in begins.iter().chain([&nothing, &runs]) {
            assert_eq!(taken(first, later), without, "{first:?} {later:?}");
        }
    }
    assert_eq!(taken(&runs, &runs), also);
    assert_eq!(taken(&runs, &function(2, 1, 8)), also, "as it was at the first reading");
    // A reading goes upwards: it may come before the numbers are written, and after a counter is.
    for counter in 3..runs.len() {
        let torn = [&nothing[..counter], &runs[counter..]].concat();
        assert_eq!(taken(&nothing, &torn), without, "counter {counter} in the second reading");
        assert!(matches!(taken(&torn, &runs), Ok((_, 0))), "counter {counter} in the first reading");
    }
    let short = &with(&runs)[4..];
    let error = program.snapshot(&Readings { counters: short, later: short, length: &[0; 8] }, &facts());
    assert_eq!(error, Err(Error::Unreadable(program.counters())));
}

#[test]
fn other_files_say_what_they_are() {
    let with = |at: usize, byte: u8| {
        let mut image = Image::new(AMD64, &function(1, 0, 4), &[]);
        image.bytes[at] = byte;
        image.program().unwrap_err()
    };
    assert_eq!(with(0, 0), Error::NotElf);
    assert_eq!(with(4, 1), Error::Processor("32 bits"));
    assert_eq!(with(5, 2), Error::Processor("big-endian"));
    assert_eq!(with(18, 8), Error::Processor("neither amd64 nor arm64"));
    assert_eq!(with(60, 0), Error::NoSections);
    assert_eq!(Image::new(AMD64, &[], &[]).program().unwrap_err(), Error::NotCovered);
}

#[test]
fn every_beginning_gives_a_value_or_an_error() {
    let mut image = Image::new(AMD64, &function(1, 0, 4), &[]);
    assert!(image.snapshot().is_ok());
    while image.bytes.pop().is_some() {
        assert!(image.program().is_err(), "{} bytes", image.bytes.len());
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 2000, ..Default::default() })]

    /// What is read of changed bytes is a whole counter file, if anything is.
    #[test]
    fn any_change_gives_a_value_or_an_error(changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 0_u8..=255), 1..8)) {
        let mut image = Image::new(AMD64, &[function(1, 0, 4), function(2, 1, 9)].concat(), &[]);
        for (at, byte) in changes {
            *at.get_mut(&mut image.bytes) = byte;
        }
        if let Ok(program) = image.program() {
            proptest::prop_assert_eq!(check(&program.meta_name(), program.meta()), Ok(()));
            let counters = image.read(program.counters());
            if let Ok(snapshot) = taken(&program, &counters, &counters) {
                proptest::prop_assert_eq!(check(&snapshot.name, &snapshot.bytes), Ok(()));
            }
        }
    }
}
