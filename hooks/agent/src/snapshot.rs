//! `podcov-agent snapshot`: the coverage of running programs, read from their memory.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use livecov::Program;
use livecov::process::scan::{ProcessSnapshot, Scan, reading_rights};
use podcov_cli::say;
use podcov_control::LiveProcess;
use podcov_exit::{Exit, Failure, ResultExt};

use crate::args::SnapshotArgs;
use crate::{NAME, tarball};

/// Writes an archive of the coverage of the given processes, or of all that are Go programs built with `-cover`, to
/// standard output.
///
/// # Errors
/// When there is no such process, or none of them can be read.
pub(crate) fn main(args: &SnapshotArgs) -> Result<u8> {
    let mut out = io::stdout();
    if out.is_terminal() {
        return Err(Failure::new(Exit::Usage, "the snapshot is a tar archive, which is not for a terminal")
            .with_hint("write it to a file: podcov-agent snapshot > coverage.tar")
            .into());
    }
    let scan = match args.pid.as_slice() {
        [] => Scan::of_container().or_exit(Exit::Usage, "the processes cannot be listed")?,
        pids => Scan::of(pids),
    };
    // The first is part of the error if there is nothing.
    for failure in scan.failures.iter().skip(usize::from(scan.snapshots.is_empty())) {
        say(NAME, format_args!("error: {failure}"));
    }
    for doubt in &scan.doubts() {
        say(NAME, format_args!("warning: {doubt}"));
    }
    if scan.snapshots.is_empty() {
        return Err(nothing(&scan).into());
    }
    let is_complete = scan.failures.is_empty();
    for (name, bytes) in files_of(scan) {
        for part in tarball::entry(&name, bytes)? {
            out.write_all(&part)?;
        }
    }
    out.write_all(&tarball::END)?;
    out.flush()?;
    Ok(if is_complete { Exit::Done.code() } else { Exit::Incomplete.code() })
}

/// The error if there is no coverage at all.
pub(crate) fn nothing(scan: &Scan) -> Failure {
    if let Some(first) = scan.failures.first() {
        return Failure::new(Exit::Incomplete, format!("no snapshot could be taken: {first}"));
    }
    let nothing = Failure::new(Exit::Incomplete, "no process here is a Go program built with -cover");
    if scan.is_refused() {
        nothing.with_hint(reading_rights())
    } else {
        nothing.with_hint("build it with go build -cover; in a pod, run this in its container")
    }
}

/// The coverage files, by name: each program's meta-data once. It may be megabytes, so it is not copied.
pub(crate) fn files_of(scan: Scan) -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    for ProcessSnapshot { program, counters, .. } in scan.snapshots {
        files.insert(counters.name.to_string(), counters.bytes.into());
        files.insert(program.meta_name().to_string(), Bytes::from_owner(Meta(program)));
    }
    files
}

/// The bytes of a program's meta-data file.
struct Meta(Arc<Program>);

impl AsRef<[u8]> for Meta {
    fn as_ref(&self) -> &[u8] {
        self.0.meta()
    }
}

/// What a process is, for those who ask for its snapshot.
pub(crate) fn live_process(snapshot: &ProcessSnapshot) -> LiveProcess {
    let ProcessSnapshot { pid, stat, started, program, counters, .. } = snapshot;
    LiveProcess {
        pid: *pid,
        started: *started,
        name: stat.as_ref().map(|stat| stat.name.clone()),
        unread: None,
        counters: counters.name.to_string(),
        go: program.build.go.clone(),
        module: program.build.module.clone(),
        revision: program.build.revision.clone(),
    }
}
