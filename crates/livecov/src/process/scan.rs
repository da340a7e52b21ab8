//! Reads all processes of this machine, of this container, or that one has started, which have coverage.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use fs_err as fs;

use super::{Process, ProcessError};
use crate::{Error, Program, Snapshot, Stat, boot_time};

/// What a node allows: see "ptrace_scope" in `ptrace(2)`.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// How often a process is tried that runs another program each time.
const TRIES: usize = 3;

/// A process's coverage, and what the process is.
#[derive(Debug, Clone)]
pub struct ProcessSnapshot {
    /// Its number.
    pub pid: u32,
    /// What the kernel tells of it.
    pub stat: Option<Stat>,
    /// When it was started, in nanoseconds since 1970-01-01 UTC: see [`Stat::started`].
    pub started: Option<u64>,
    /// Its program, with the meta-data.
    pub program: Arc<Program>,
    /// Its counters.
    pub counters: Snapshot,
}

/// The coverage of some processes.
#[derive(Debug, Default)]
pub struct Scan {
    /// What was read.
    pub snapshots: Vec<ProcessSnapshot>,
    /// Why processes that were asked for, or have coverage, are not there, or not all of their coverage: a sentence each.
    pub failures: Vec<String>,
    /// Processes of which it is not known whether they have coverage, each with the reason.
    unknown: Vec<String>,
    /// Processes that must not be read, each with its command.
    refused: Vec<String>,
    /// What each process is known by.
    taken: BTreeSet<Vec<u8>>,
}

impl Scan {
    /// Reads each of these processes. One that has no coverage is a failure.
    #[must_use]
    pub fn of(pids: &[u32]) -> Self {
        let mut scan = Self::default();
        for pid in BTreeSet::from_iter(pids) {
            if let Err(error) = scan.add(*pid) {
                let hint = if error.is_refused() { format!("; {}", reading_rights()) } else { String::new() };
                scan.failures.push(format!("process {pid}: {error}{hint}"));
            }
        }
        scan
    }

    /// Reads each process of this container that has coverage. Where there are no containers, these are all.
    ///
    /// # Errors
    ///
    /// When the processes cannot be listed.
    pub fn of_container() -> io::Result<Self> {
        Ok(Self::of_covered(processes()?.into_keys().filter(|pid| !is_elsewhere(*pid))))
    }

    /// Reads each process that has coverage among those which this one has started, and those which they have started.
    ///
    /// # Errors
    ///
    /// When the processes cannot be listed.
    pub fn of_descendants() -> io::Result<Self> {
        let processes = processes()?;
        let mut found = BTreeSet::from([std::process::id()]);
        loop {
            let children: Vec<u32> = processes
                .iter()
                .filter(|(pid, stat)| found.contains(&stat.parent) && !found.contains(pid))
                .map(|(pid, _)| *pid)
                .collect();
            if children.is_empty() {
                return Ok(Self::of_covered(found.into_iter().filter(|pid| *pid != std::process::id())));
            }
            found.extend(children);
        }
    }

    /// Reads those of these processes that have coverage.
    pub fn of_covered(pids: impl IntoIterator<Item = u32>) -> Self {
        let mut scan = Self::default();
        for pid in pids {
            match scan.add(pid) {
                Ok(()) | Err(ProcessError::Ended) => {}
                Err(ProcessError::Coverage(Error::NotElf | Error::NotGo | Error::NotCovered)) => {}
                Err(ProcessError::Coverage(error @ (Error::NoSections | Error::Processor(_)))) => {
                    scan.unknown.push(format!("process {pid} ({}): {error}", command(pid)));
                }
                // It has ended, or is a thread of the kernel, which has no program.
                Err(ProcessError::Io(error))
                    if error.kind() == ErrorKind::NotFound || command(pid).is_empty() => {}
                Err(error) if error.is_refused() => scan.refused.push(format!("{pid} ({})", command(pid))),
                Err(error) => scan.failures.push(format!("process {pid}: {error}")),
            }
        }
        scan
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
        let counters = process.snapshot(&mut program)?;
        // A process that is being started is for a moment a copy of its parent, counters and all.
        if !self.taken.insert(process.auxv().to_vec()) {
            return Ok(());
        }
        let Some(program) = program.map(Arc::new) else { return Ok(()) };
        match counters.unknown_functions {
            0 => {}
            1 => self.failures.push(format!(
                "process {pid}: 1 function ran before its package was initialized, and is left out"
            )),
            functions => self.failures.push(format!(
                "process {pid}: {functions} functions ran before their package was initialized, and are left out"
            )),
        }
        let stat = process.stat().cloned();
        let started =
            stat.as_ref().and_then(|stat| Some(stat.started(boot_time(&fs::read("/proc/stat").ok()?)?)));
        self.snapshots.push(ProcessSnapshot { pid, stat, started, program, counters });
        Ok(())
    }

    /// The coverage files, by name: each program's meta-data once.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, &[u8]> {
        let mut files = BTreeMap::new();
        for ProcessSnapshot { program, counters, .. } in &self.snapshots {
            files.insert(program.meta_name().to_string(), program.meta());
            files.insert(counters.name.to_string(), counters.bytes.as_slice());
        }
        files
    }

    /// What is not known, a sentence each: processes that cannot or must not be read, and may have coverage.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts = self.unknown.clone();
        if !self.refused.is_empty() {
            let noun = if self.refused.len() == 1 { "process" } else { "processes" };
            doubts.push(format!(
                "{} {noun} must not be read: {}",
                self.refused.len(),
                self.refused.join(", ")
            ));
        }
        doubts
    }

    /// Whether there are processes that must not be read. See [`reading_rights`].
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }
}

/// All processes that this one sees, by their numbers.
///
/// # Errors
///
/// When they cannot be listed.
pub fn processes() -> io::Result<BTreeMap<u32, Stat>> {
    let mut processes = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile is no process any more.
        let Ok(stat) = fs::read(format!("/proc/{pid}/stat")) else { continue };
        processes.extend(Stat::parse(&stat).map(|stat| (pid, stat)));
    }
    Ok(processes)
}

/// Who may read a process's memory on this node, as a sentence without its end.
#[must_use]
pub fn reading_rights() -> String {
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
