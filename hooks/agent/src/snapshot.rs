//! The coverage of running programs, read from their memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use fs_err as fs;
use livecov::Error;
use livecov::process::{Process, ProcessError};
use podcov_cli::{count_of, say};
use podcov_exit::{Exit, Failure, ResultExt};

use crate::args::SnapshotArgs;
use crate::{NAME, tarball};

/// What a node allows: see "ptrace_scope" in `ptrace(2)`.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

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
    let snapshots = match args.pid.as_slice() {
        [] => Snapshots::of_all().or_exit(Exit::Usage, "the processes cannot be listed")?,
        pids => Snapshots::of(pids),
    };
    let is_whole = snapshots.failures.is_empty();
    for (name, bytes) in snapshots.files()? {
        out.write_all(&tarball::entry(&name, bytes)?)?;
    }
    out.write_all(&tarball::END)?;
    out.flush()?;
    Ok(if is_whole { Exit::Done.code() } else { Exit::Incomplete.code() })
}

/// The coverage of some processes.
#[derive(Default)]
pub(crate) struct Snapshots {
    /// The bytes of the coverage files, by name.
    files: BTreeMap<String, Vec<u8>>,
    /// Why processes that were asked for, or have coverage, are not there.
    failures: Vec<String>,
    /// The processes that this one must not read, so that it is not known whether they have coverage.
    refused: Vec<String>,
}

impl Snapshots {
    /// Of each of these processes.
    fn of(pids: &[u32]) -> Self {
        let mut snapshots = Self::default();
        for &pid in pids {
            if let Err(error) = snapshots.add(pid) {
                let hint = if is_refused(&error) { format!("; {}", rights()) } else { String::new() };
                snapshots.failures.push(format!("process {pid}: {error}{hint}"));
            }
        }
        snapshots
    }

    /// Of each process of this container that has coverage. Where containers share their processes, or the node's are seen,
    /// others have another root.
    fn of_all() -> io::Result<Self> {
        Ok(Self::of_covered(processes()?.into_keys().filter(|pid| !has_other_root(*pid))))
    }

    /// Of each process that has coverage among those which this one has started, and those which they have started.
    pub(crate) fn of_descendants() -> io::Result<Self> {
        let parents = processes()?;
        let mut found = BTreeSet::from([std::process::id()]);
        loop {
            let children: Vec<u32> = parents
                .iter()
                .filter(|(pid, parent)| found.contains(parent) && !found.contains(pid))
                .map(|(pid, _)| *pid)
                .collect();
            if children.is_empty() {
                return Ok(Self::of_covered(found.into_iter().filter(|pid| *pid != std::process::id())));
            }
            found.extend(children);
        }
    }

    /// Of those of these processes that have coverage.
    fn of_covered(pids: impl Iterator<Item = u32>) -> Self {
        let mut snapshots = Self::default();
        for pid in pids {
            match snapshots.add(pid) {
                Ok(())
                | Err(ProcessError::Coverage(
                    Error::NotElf
                    | Error::NotGo
                    | Error::NotCovered
                    | Error::NoSections
                    | Error::Processor(_),
                )) => {}
                // It has ended, or is a thread of the kernel, which has no program.
                Err(ProcessError::Io(error))
                    if error.kind() == ErrorKind::NotFound || command(pid).is_empty() => {}
                Err(error) if is_refused(&error) => {
                    snapshots.refused.push(format!("{pid} ({})", command(pid)));
                }
                Err(error) => snapshots.failures.push(format!("process {pid}: {error}")),
            }
        }
        snapshots
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

    /// The bytes of the files by name, after a line for each process that is not among them.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn files(self) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        for failure in &self.failures {
            say(NAME, format_args!("error: {failure}"));
        }
        if !self.refused.is_empty() {
            let processes = count_of(self.refused.len(), "process", "processes");
            say(NAME, format_args!("warning: {processes} must not be read: {}", self.refused.join(", ")));
        }
        if !self.files.is_empty() {
            return Ok(self.files);
        }
        if !self.failures.is_empty() {
            return Err(Failure::new(Exit::Incomplete, "no snapshot could be taken"));
        }
        let nothing = Failure::new(Exit::Incomplete, "no process here is a Go program built with -cover");
        Err(if self.refused.is_empty() {
            nothing.with_hint("build it with go build -cover; in a pod, run this in its container")
        } else {
            nothing.with_hint(rights())
        })
    }
}

/// All processes, and the parent of each. See `proc_pid_stat(5)`.
fn processes() -> io::Result<BTreeMap<u32, u32>> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is no process any more.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        // The command's name is in parentheses and may contain some.
        let stat = String::from_utf8_lossy(&stat);
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.insert(pid, parent.unwrap_or_default());
    }
    Ok(parents)
}

/// Whether it is certain that a process has another root than this one.
fn has_other_root(pid: u32) -> bool {
    let root = |pid: &str| fs::metadata(format!("/proc/{pid}/root/")).map(|root| (root.dev(), root.ino()));
    matches!((root("self"), root(&pid.to_string())), (Ok(own), Ok(other)) if own != other)
}

/// The first word of a process's command line; empty for threads of the kernel and processes that have ended.
fn command(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let first = line.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(first).into_owned()
}

fn is_refused(error: &ProcessError) -> bool {
    matches!(error, ProcessError::Io(error) if error.kind() == ErrorKind::PermissionDenied)
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
