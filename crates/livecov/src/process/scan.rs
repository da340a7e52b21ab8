//! Reads all processes of this machine, of this container, or that one has started, which have coverage.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// What tells it from all other processes: see [`Process::auxv`].
    pub auxv: Vec<u8>,
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
    /// A process has coverage, or may have it, and has not begun to count.
    starting: bool,
    /// Processes that have coverage or may have it, and are not in `snapshots`: why, a sentence each.
    unread: BTreeMap<u32, String>,
    /// What each process is known by.
    taken: BTreeSet<Vec<u8>>,
}

/// How many scans search a process that seems to arrange its data in an unknown way: it may only be starting.
const SEARCHES: usize = 3;

/// Reads the same processes again and again. Whether a process has coverage, and where, is found once.
#[derive(Debug, Default)]
pub struct Scanner {
    known: HashMap<u32, Known>,
}

/// What is known of a process.
#[derive(Debug)]
struct Known {
    /// It has this as long as it runs the same program.
    auxv: Vec<u8>,
    found: Found,
}

/// What was found in a process.
#[derive(Debug)]
enum Found {
    Program(Arc<Program>),
    /// Why there is nothing to be read, and in how many scans that was so.
    Nothing(Error, usize),
}

impl Scan {
    /// Reads each of these processes. One that has no coverage is a failure.
    #[must_use]
    pub fn of(pids: &[u32]) -> Self {
        let (mut scan, mut scanner) = (Self::default(), Scanner::default());
        for pid in BTreeSet::from_iter(pids) {
            if let Err(error) = scanner.read(*pid, &mut scan) {
                let hint = if error.is_refused() { format!("; {}", reading_rights()) } else { String::new() };
                let why = format!("process {pid}: {error}{hint}");
                scan.failures.push(why.clone());
                scan.unread.insert(*pid, why);
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
        let pids = processes()?.into_keys().filter(|pid| !is_elsewhere(*pid));
        Ok(Scanner::default().scan(pids))
    }

    fn add(&mut self, process: &Process, program: Arc<Program>, counters: Snapshot) {
        let pid = process.pid();
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
        self.snapshots.push(ProcessSnapshot {
            pid,
            auxv: process.auxv().to_vec(),
            stat,
            started,
            program,
            counters,
        });
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

    /// Whether a process that was to be read has coverage, or may have it, and could not be read.
    #[must_use]
    pub fn is_unread(&self, pid: u32) -> bool {
        self.unread.contains_key(&pid)
    }

    /// The processes that have coverage, or may have it, and could not be read: why, a sentence each.
    #[must_use]
    pub fn unread(&self) -> &BTreeMap<u32, String> {
        &self.unread
    }

    /// Whether a process is being started that has coverage, or may have it, and has counted nothing yet.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        self.starting
    }

    /// Whether there are processes that must not be read. See [`reading_rights`].
    #[must_use]
    pub fn is_refused(&self) -> bool {
        !self.refused.is_empty()
    }
}

impl Scanner {
    /// Reads those of these processes that have coverage. Of a process that is the copy of another, as one is for a moment
    /// while it is being started, the first is read.
    pub fn scan(&mut self, pids: impl IntoIterator<Item = u32>) -> Scan {
        let mut scan = Scan::default();
        let mut scanned = BTreeSet::new();
        for pid in pids {
            scanned.insert(pid);
            let Err(error) = self.read(pid, &mut scan) else { continue };
            let why = || format!("process {pid} ({}): {error}", command(pid));
            match &error {
                ProcessError::Ended => continue,
                ProcessError::Coverage(Error::NotElf | Error::NotGo | Error::NotCovered) => continue,
                ProcessError::Coverage(Error::NoSections | Error::Processor(_)) => scan.unknown.push(why()),
                // It has ended, or is a thread of the kernel, which has no program.
                ProcessError::Io(error) if error.kind() == ErrorKind::NotFound || command(pid).is_empty() => {
                    continue;
                }
                // They have counted nothing yet.
                ProcessError::Coverage(Error::Starting) => {
                    scan.starting = true;
                    continue;
                }
                ProcessError::Coverage(Error::NotStarted) => {
                    scan.failures.push(format!("process {pid}: {error}"));
                    scan.starting = true;
                    continue;
                }
                error if error.is_refused() => scan.refused.push(format!("{pid} ({})", command(pid))),
                error => scan.failures.push(format!("process {pid}: {error}")),
            }
            scan.unread.insert(pid, why());
        }
        self.known.retain(|pid, _| scanned.contains(pid));
        scan
    }

    fn read(&mut self, pid: u32, scan: &mut Scan) -> Result<(), ProcessError> {
        let mut tries = 1;
        loop {
            match self.try_read(pid, scan) {
                Err(ProcessError::Ended) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn try_read(&mut self, pid: u32, scan: &mut Scan) -> Result<(), ProcessError> {
        let process = Process::open(pid)?;
        let auxv = process.auxv().to_vec();
        let known = self.known.remove(&pid).filter(|known| known.auxv == auxv).map(|known| known.found);
        let (mut program, searches) = match known {
            Some(Found::Nothing(error, searches)) if searches >= most_searches(&error) => {
                self.known.insert(pid, Known { auxv, found: Found::Nothing(error.clone(), searches) });
                return Err(error.into());
            }
            Some(Found::Nothing(_, searches)) => (None, searches),
            Some(Found::Program(program)) => (Some(program), 0),
            None => (None, 0),
        };
        let counters = process.snapshot(&mut program);
        let found = match &counters {
            Err(ProcessError::Coverage(error)) if most_searches(error) < usize::MAX => {
                Some(Found::Nothing(error.clone(), searches + 1))
            }
            _ => program.clone().map(Found::Program),
        };
        if let Some(found) = found {
            self.known.insert(pid, Known { auxv: auxv.clone(), found });
        }
        let counters = counters?;
        if let Some(program) = program
            && scan.taken.insert(auxv)
        {
            scan.add(&process, program, counters);
        }
        Ok(())
    }
}

/// In how many scans a process is searched in vain until this is taken to be so for good.
fn most_searches(error: &Error) -> usize {
    match error {
        Error::NotElf | Error::NotGo | Error::NotCovered | Error::NoSections | Error::Processor(_) => 1,
        Error::Layout { .. } => SEARCHES,
        _ => usize::MAX,
    }
}

/// The processes that this one has started, and those which they have started: each after its parent.
///
/// # Errors
///
/// When the processes cannot be listed.
pub fn descendants() -> io::Result<Vec<u32>> {
    let processes = processes()?;
    let mut found = vec![std::process::id()];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let children = processes.iter().filter(|(pid, stat)| stat.parent == parent && !found.contains(pid));
        found.extend(children.map(|(pid, _)| *pid).collect::<Vec<_>>());
    }
    found.remove(0);
    Ok(found)
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
    rights_where(fs::read_to_string(PTRACE_SCOPE).unwrap_or_default().trim())
}

/// The same where `ptrace_scope` is this; it is empty where the kernel has none.
fn rights_where(scope: &str) -> String {
    match scope {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_read_is_told_by_the_nodes_setting() {
        let of_node = |number: u32| format!("on this node (/proc/sys/kernel/yama/ptrace_scope is {number})");
        for (scope, expected) in [
            ("", "only the same user with no fewer capabilities may read a process's memory".to_owned()),
            ("0", "only the same user with no fewer capabilities may read a process's memory".to_owned()),
            (
                "1",
                format!("{} only a process's parent may read its memory, or one with SYS_PTRACE", of_node(1)),
            ),
            ("2", format!("{} only processes with SYS_PTRACE may read others' memory", of_node(2))),
            ("3", format!("{} nobody may read a process's memory", of_node(3))),
        ] {
            assert_eq!(rights_where(scope), expected);
        }
    }
}
