//! A program that works when it is told to: while it waits, its counters are what it writes at its end.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;

use covdata::{FileName, MetaFile};
use livecov::Error;
use livecov::process::scan::{Scan, Scanner};
use livecov::process::{Process, ProcessError, has_ended};

use crate::programs::{
    Build, EXTERNAL, EXTERNAL_PIE, LOCAL, PIE, PLAIN, Running, STRIPPED, content, counters, module, written,
};

fn same_as_written(build: &Build, mode: &str) {
    let what = format!("{} {mode} cgo {} {:?}", build.toolchain, build.cgo, build.flags);
    let dir = tempfile::tempdir().expect("a folder");
    let program = build.build(&module("quiet"), &["-cover", &format!("-covermode={mode}")], dir.path());
    let data = dir.path().join("data");
    fs_err::create_dir(&data).expect("a folder");
    let mut running = Running::start(&program, Some(&data));
    let (_, before) = running.snapshot().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(running.work("one two"), "words 3");
    assert_eq!(running.work("# one"), "a comment 3");
    let (read, snapshot) = running.snapshot().unwrap_or_else(|error| panic!("{what}: {error}"));
    let pid = running.child.id();
    running.end();
    let [meta, own] = written(&data);
    assert_eq!((read.meta_name(), read.meta()), (meta.0, meta.1.as_slice()), "{what}");
    // Go numbers the strings of its arguments in no fixed order.
    assert_eq!(content(&snapshot.bytes), content(&own.1), "{what}");
    assert_eq!(snapshot.bytes.len(), own.1.len(), "{what}");
    let (FileName::Counters { hash, pid: of, .. }, FileName::Counters { hash: own_hash, .. }) =
        (snapshot.name, own.0)
    else {
        panic!("{:?} {:?}", snapshot.name, own.0)
    };
    assert_eq!((hash, of), (own_hash, pid), "{what}");
    assert!(counters(&before.bytes).len() < counters(&snapshot.bytes).len(), "{what}");
    assert!(read.build.go.as_deref().is_some_and(|go| go.starts_with("go1.")), "{what}: {:?}", read.build);
    assert_eq!(read.build.module.as_deref(), Some("quiet"), "{what}");
}

#[test]
fn a_snapshot_is_what_the_program_writes() {
    for (toolchain, mode, cgo, flags) in [
        ("go1.20.14", "set", false, STRIPPED),
        ("go1.20.14", "atomic", true, EXTERNAL_PIE),
        ("go1.22.12", "count", false, STRIPPED),
        ("go1.22.12", "set", true, EXTERNAL),
        ("go1.24.0", "atomic", false, PIE),
        (LOCAL, "set", false, STRIPPED),
        (LOCAL, "count", false, PIE),
        (LOCAL, "atomic", true, EXTERNAL_PIE),
        (LOCAL, "set", true, EXTERNAL),
        (LOCAL, "count", true, PLAIN),
        ("go1.27.3", "set", false, STRIPPED),
        ("go1.27.3", "count", false, PIE),
        ("go1.27.3", "atomic", true, EXTERNAL_PIE),
    ] {
        same_as_written(&Build { toolchain, cgo, flags }, mode);
    }
}

#[test]
fn programs_without_counters_say_so() {
    let dir = tempfile::tempdir().expect("a folder");
    for flags in [PLAIN, PIE] {
        let program = Build { toolchain: LOCAL, cgo: false, flags }.build(&module("quiet"), &[], dir.path());
        let running = Running::start(&program, None);
        let error = running.snapshot().expect_err("it was built without -cover");
        assert!(matches!(error, ProcessError::Coverage(Error::NotCovered)), "{error}");
        running.end();
    }
    // `cat` waits for its input.
    let mut cat = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cat");
    let (mut input, output) = (cat.stdin.take().expect("a pipe"), cat.stdout.take().expect("a pipe"));
    writeln!(input, "x").expect("it reads");
    // Once it has answered, it is no fork of this process any more.
    BufReader::new(output).read_line(&mut String::new()).expect("an answer");
    let error = Process::open(cat.id()).expect("a process").program().expect_err("it is no Go program");
    assert!(matches!(error, ProcessError::Coverage(Error::NotGo)), "{error}");
    drop(input);
    assert!(cat.wait().expect("a child").success());
}

/// Go writes nothing then.
#[test]
fn a_program_whose_main_has_no_coverage_is_read_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let build = Build { toolchain: LOCAL, cgo: false, flags: STRIPPED };
    let program = build.build(&module("quiet"), &["-cover", "-coverpkg=quiet/work"], dir.path());
    let mut running = Running::start(&program, None);
    assert_eq!(running.work("one"), "a word 3");
    let (program, snapshot) = running.snapshot().expect("a snapshot");
    running.end();
    let meta = MetaFile::parse(program.meta()).expect("a meta-data file");
    assert_eq!(meta.packages.iter().map(|package| package.path).collect::<Vec<_>>(), ["quiet/work"]);
    let [(package, function, counters)] = &counters(&snapshot.bytes)[..] else { panic!("one function ran") };
    // All but `nothing`, `a comment` with its literal, and `words`.
    assert_eq!((*package, *function, counters.iter().filter(|count| **count == 0).count()), (0, 0, 4));
}

#[test]
fn where_the_counters_are_is_found_once_for_each_process() {
    let dir = tempfile::tempdir().expect("a folder");
    let build = Build { toolchain: LOCAL, cgo: false, flags: STRIPPED };
    let program = build.build(&module("quiet"), &["-cover"], dir.path());
    let [mut first, second] = [(); 2].map(|()| Running::start(&program, None));
    let pids = [first.child.id(), second.child.id()];
    let mut scanner = Scanner::default();
    let before = scanner.scan(pids);
    assert_eq!(before.snapshots.iter().map(|snapshot| snapshot.pid).collect::<Vec<_>>(), pids);
    assert_eq!(first.work("one"), "a word 3");
    let after = scanner.scan(pids);
    let same = |n: usize| Arc::ptr_eq(&before.snapshots[n].program, &after.snapshots[n].program);
    assert!(same(0) && same(1));
    let bytes = |scan: &Scan, n: usize| counters(&scan.snapshots[n].counters.bytes);
    assert!(bytes(&before, 0).len() < bytes(&after, 0).len());
    assert_eq!(bytes(&before, 1), bytes(&after, 1));
    for running in [first, second] {
        running.end();
    }
    assert!(scanner.scan(pids).snapshots.is_empty());
}

#[test]
fn a_process_that_its_parent_has_not_waited_for_has_ended() {
    // `cat` closes its output itself; a shell leaves that to the kernel.
    let mut child = Command::new("sh");
    let child = child.args(["-c", "read -r line"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = child.spawn().expect("a shell");
    let pid = child.id();
    let input = child.stdin.take().expect("a pipe");
    assert!(!has_ended(pid, None));
    drop(input);
    // A process gives up its memory before it closes its files.
    let mut output = child.stdout.take().expect("a pipe");
    assert_eq!(output.read_to_end(&mut Vec::new()).expect("nothing"), 0);
    let scan = Scan::of(&[pid]);
    let opened = Process::open(pid);
    let ended = has_ended(pid, None);
    child.wait().expect("a child");
    let is_true = match &opened {
        Err(ProcessError::Ended) => true,
        // Before Linux 6.16 its memory is empty, and its program is not there.
        Err(ProcessError::Io(error)) => error.kind() == ErrorKind::NotFound,
        _ => false,
    };
    assert!(is_true && ended, "{opened:?} {ended}");
    assert!(scan.snapshots.is_empty() && scan.failures.len() == 1, "{:?}", scan.failures);
    assert!(has_ended(pid, None));
}
