//! The coverage of running programs, read from their memory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use fs_err as fs;
use livecov::Error;
use livecov::process::{Process, ProcessError};
use podcov_cli::{count, count_of, say};
use podcov_exit::{Exit, Failure, ResultExt};

use crate::args::SnapshotArgs;
use crate::{NAME, tarball};

/// What a node allows: see "ptrace_scope" in `ptrace(2)`.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// How often a process is tried that runs another program each time.
const TRIES: usize = 3;

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
    // The first is part of the error if there is nothing.
    for failure in snapshots.failures.iter().skip(usize::from(snapshots.files.is_empty())) {
        say(NAME, format_args!("error: {failure}"));
    }
    for doubt in &snapshots.doubts() {
        say(NAME, format_args!("warning: {doubt}"));
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
pub(crate) struct Snapshots {
    /// The bytes of the coverage files, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Why processes that were asked for, or have coverage, are not there, or not all of their coverage.
    pub(crate) failures: Vec<String>,
    /// Processes of which it is not known whether they have coverage, each with the reason.
    unknown: Vec<String>,
    /// Those which this one must not read.
    refused: Vec<String>,
    /// What each process is known by.
    taken: BTreeSet<Vec<u8>>,
}

impl Snapshots {
    /// Of each of these processes.
    fn of(pids: &[u32]) -> Self {
        let mut snapshots = Self::default();
        for pid in BTreeSet::from_iter(pids) {
            if let Err(error) = snapshots.add(*pid) {
                let hint = if is_refused(&error) { format!("; {}", rights()) } else { String::new() };
                snapshots.failures.push(format!("process {pid}: {error}{hint}"));
            }
        }
        snapshots
    }

    /// Of each process of this container that has coverage.
    fn of_all() -> io::Result<Self> {
        Ok(Self::of_covered(processes()?.into_keys().filter(|pid| !is_elsewhere(*pid))))
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
                Ok(()) | Err(ProcessError::Ended) => {}
                Err(ProcessError::Coverage(Error::NotElf | Error::NotGo | Error::NotCovered)) => {}
                Err(ProcessError::Coverage(error @ (Error::NoSections | Error::Processor(_)))) => {
                    snapshots.unknown.push(format!("process {pid} ({}): {error}", command(pid)));
                }
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
        let mut tries = 1;
        loop {
            match self.try_add(pid) {
                Err(ProcessError::Ended) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn try_add(&mut self, pid: u32) -> Result<(), ProcessError> {
        let process = Process::open(pid)?;
        let mut program = None;
        let snapshot = process.snapshot(&mut program)?;
        // A process that is being started is for a moment a copy of its parent, counters and all.
        if !self.taken.insert(process.auxv().to_vec()) {
            return Ok(());
        }
        if let Some(program) = program {
            self.files.insert(program.meta_name().to_string(), program.meta().to_vec());
        }
        self.files.insert(snapshot.name.to_string(), snapshot.bytes);
        if snapshot.unknown_functions > 0 {
            let functions = count(snapshot.unknown_functions, "function");
            let why = "ran before their package was initialized, and are left out";
            self.failures.push(format!("process {pid}: {functions} {why}"));
        }
        Ok(())
    }

    /// What is not known, a sentence each.
    pub(crate) fn doubts(&self) -> Vec<String> {
        let mut doubts = self.unknown.clone();
        if !self.refused.is_empty() {
            let processes = count_of(self.refused.len(), "process", "processes");
            doubts.push(format!("{processes} must not be read: {}", self.refused.join(", ")));
        }
        doubts
    }

    /// The error if there is no coverage at all.
    pub(crate) fn nothing(&self) -> Failure {
        if let Some(first) = self.failures.first() {
            return Failure::new(Exit::Incomplete, format!("no snapshot could be taken: {first}"));
        }
        let nothing = Failure::new(Exit::Incomplete, "no process here is a Go program built with -cover");
        if self.refused.is_empty() {
            nothing.with_hint("build it with go build -cover; in a pod, run this in its container")
        } else {
            nothing.with_hint(rights())
        }
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

/// Whether a process is certainly of another container, where containers share their processes or the node's are seen:
/// it has another root or, if that must not be read, another control group.
fn is_elsewhere(pid: u32) -> bool {
    let root = |pid: &str| fs::metadata(format!("/proc/{pid}/root/")).map(|root| (root.dev(), root.ino()));
    let group = |pid: &str| fs::read(format!("/proc/{pid}/cgroup"));
    let pid = pid.to_string();
    match (root("self"), root(&pid)) {
        (Ok(own), Ok(other)) => own != other,
        _ => matches!((group("self"), group(&pid)), (Ok(own), Ok(other)) if own != other),
    }
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
