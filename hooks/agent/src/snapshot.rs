//! The coverage of running programs, read from their memory: a tar archive on standard output.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Result;
use fs_err as fs;
use livecov::Error;
use livecov::process::{Process, ProcessError};
use podcov_cli::{count, say};
use podcov_exit::{Exit, Failure, ResultExt};

use crate::args::SnapshotArgs;
use crate::{NAME, tarball};

/// What a node allows: see "ptrace_scope" in `ptrace(2)`.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// Writes an archive of the coverage of the given processes, or of all that are Go programs built with `-cover`.
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
    let snapshots = match args.pid.as_slice() {
        [] => Snapshots::of_all().or_exit(Exit::Usage, "the processes cannot be listed")?,
        pids => Snapshots::of(pids),
    };
    for failure in &snapshots.failures {
        say(NAME, format_args!("error: {failure}"));
    }
    if !snapshots.refused.is_empty() {
        let names: Vec<&str> = snapshots.refused.iter().map(String::as_str).collect();
        let processes = count(names.len(), "process");
        say(NAME, format_args!("warning: {processes} must not be read: {}", names.join(", ")));
    }
    if snapshots.files.is_empty() {
        return Err(snapshots.nothing().into());
    }
    for (name, bytes) in snapshots.files {
        out.write_all(&tarball::entry(&name, bytes)?)?;
    }
    out.write_all(&tarball::END)?;
    out.flush()?;
    Ok(if snapshots.failures.is_empty() { Exit::Done.code() } else { Exit::Incomplete.code() })
}

/// The coverage of some processes.
#[derive(Default)]
struct Snapshots {
    /// The bytes of the coverage files, by name.
    files: BTreeMap<String, Vec<u8>>,
    /// Why processes that were asked for, or have coverage, are not there.
    failures: Vec<String>,
    /// The processes that this one must not read, so that it is not known whether they have coverage.
    refused: BTreeSet<String>,
}

impl Snapshots {
    /// Of each of these processes.
    fn of(pids: &[u32]) -> Self {
        let mut snapshots = Self::default();
        for &pid in pids {
            if let Err(error) = snapshots.add(pid) {
                let why = why(&error).unwrap_or_default();
                snapshots.failures.push(format!("process {pid}: {error}{why}"));
            }
        }
        snapshots
    }

    /// Of each process that has coverage.
    fn of_all() -> io::Result<Self> {
        let mut snapshots = Self::default();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            match snapshots.add(pid) {
                Ok(()) => {}
                Err(ProcessError::Coverage(
                    Error::NotElf
                    | Error::NotGo
                    | Error::NotCovered
                    | Error::NoSections
                    | Error::Processor(_),
                )) => {}
                // It has ended, or is a thread of the kernel, which has no program.
                Err(ProcessError::Io(error))
                    if error.kind() == ErrorKind::NotFound || command_line(pid).is_empty() => {}
                Err(ProcessError::Io(error)) if error.kind() == ErrorKind::PermissionDenied => {
                    snapshots.refused.insert(format!("{pid} ({})", command_line(pid)));
                }
                Err(error) => snapshots.failures.push(format!("process {pid}: {error}")),
            }
        }
        Ok(snapshots)
    }

    fn add(&mut self, pid: u32) -> Result<(), ProcessError> {
        let mut program = None;
        let snapshot = Process::open(pid)?.snapshot(&mut program)?;
        if let Some(program) = program {
            self.files.insert(program.meta_name().to_string(), program.meta().to_vec());
        }
        self.files.insert(snapshot.name.to_string(), snapshot.bytes);
        Ok(())
    }

    /// The error if there is no coverage at all.
    fn nothing(&self) -> Failure {
        if !self.failures.is_empty() {
            return Failure::new(Exit::Incomplete, "no snapshot could be taken");
        }
        let none = Failure::new(Exit::Incomplete, "no process here is a Go program built with -cover");
        match self.refused.is_empty() {
            true => none.with_hint("build it with go build -cover; in a pod, run this in its container"),
            false => none.with_hint(rights()),
        }
    }
}

/// The first word of a process's command line; empty for threads of the kernel and processes that have ended.
fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

/// What may be done about an error.
fn why(error: &ProcessError) -> Option<String> {
    match error {
        ProcessError::Io(error) if error.kind() == ErrorKind::PermissionDenied => {
            Some(format!("; {}", rights()))
        }
        _ => None,
    }
}

/// Who may read a process's memory on this node.
fn rights() -> String {
    let scope = fs::read_to_string(PTRACE_SCOPE).unwrap_or_default();
    match scope.trim() {
        "" | "0" => "only the same user with no fewer capabilities may read a process's memory".to_owned(),
        "1" => format!(
            "on this node ({PTRACE_SCOPE} is 1) only a process's parent may read its memory, or one with SYS_PTRACE"
        ),
        "2" => format!(
            "on this node ({PTRACE_SCOPE} is 2) only processes with SYS_PTRACE may read others' memory"
        ),
        _ => format!("on this node ({PTRACE_SCOPE} is 3) nobody may read a process's memory"),
    }
}
