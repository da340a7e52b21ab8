//! The counters of processes that run, in the folder of coverage files: what `--flush-every` and `watch` take.
//!
//! Each process has one counter file there, of a snapshot of its memory. The next snapshot takes its place, under the same
//! name, which has the time of the first one: so a reader finds a whole file at any time, and one that was copied earlier is
//! not added to the next. A process that is killed leaves its last.
//!
//! Nothing may count twice. Counters only grow, until a program clears them. So when a process has written a counter file
//! itself, whose counters are at least those of the snapshot before it, that file has all that the snapshot has, and
//! the snapshot is removed. If a counter is smaller, the program has cleared its counters in between, and both count. In
//! the same way a snapshot does not take the place of one before it that had more.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use covdata::FileName;
use fs_err as fs;
use livecov::process::has_ended;
use livecov::process::scan::{ProcessSnapshot, Scanner, reading_rights};
use podcov_cli::{count_of, say};
use podcov_control::LiveProcess;

use crate::files::CoverFolder;
use crate::snapshot::live_process;
use crate::{NAME, files};

/// How much earlier than a process its start may seem to be, in nanoseconds.
const EARLY: u64 = 1_000_000_000;

/// How exactly Linux tells when a process was started, in nanoseconds.
const TICK: u64 = 10_000_000;

/// A number of nanoseconds below a tick, by what tells a process from others. The pods of a Deployment may start processes of the
/// same ID in one tick; with the same name, two files would be taken for one.
fn within_tick(auxv: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(auxv);
    hasher.finish() % TICK
}

/// The snapshots of some processes.
pub(crate) struct LiveFiles {
    folder: Arc<CoverFolder>,
    /// A process's first file is named by its start: a podcov-agent that is started again goes on with the same file.
    named_by_start: bool,
    state: Mutex<State>,
    /// What became of each file that was made here. It is never locked for long.
    made: Mutex<BTreeMap<String, Made>>,
    /// Whether a message about a snapshot that could not be removed was printed.
    warned: AtomicBool,
}

#[derive(Default)]
struct State {
    scanner: Scanner,
    files: Vec<LiveFile>,
    /// Those that are complete, and in no need of being compared any more.
    complete: Vec<LiveProcess>,
    /// How many processes have ended and have not written what they had counted, and how long before its end one of them was
    /// read, at most.
    lost: (usize, Duration),
}

/// A process's file.
struct LiveFile {
    pid: u32,
    auxv: Vec<u8>,
    name: String,
    parsed: FileName,
    /// What the process had written itself when it was read.
    own: BTreeSet<String>,
    /// When it was read last.
    read: Instant,
    /// What the process is.
    process: LiveProcess,
    /// Nothing is added to it any more: the process has ended, or has cleared its counters.
    closed: bool,
}

/// A file that was made here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// How often it was written.
    pub(crate) version: u64,
    pub(crate) kind: Kind,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The next snapshot will take its place.
    Live,
    /// It stays as it is.
    Final,
    /// It is removed: this file of its process has what it had.
    Superseded { by: String },
}

/// What a round of snapshots has read.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// Why the program's counters could not be read: it may write them on a signal.
    pub(crate) unread: Option<String>,
    /// Why those of other processes could not be read, or not all.
    pub(crate) missing: Option<String>,
    /// The processes that could not be read, each with the reason.
    pub(crate) by_process: BTreeMap<u32, String>,
}

impl LiveFiles {
    pub(crate) fn new(folder: Arc<CoverFolder>) -> Self {
        let (state, made) = (Mutex::default(), Mutex::default());
        Self { folder, named_by_start: false, state, made, warned: AtomicBool::new(false) }
    }

    /// The same for processes that outlive this one.
    pub(crate) fn of_others(folder: Arc<CoverFolder>) -> Self {
        Self { named_by_start: true, ..Self::new(folder) }
    }

    /// What the snapshots in the folder are of.
    pub(crate) fn processes(&self) -> Vec<LiveProcess> {
        let state = self.lock();
        state.complete.iter().chain(state.files.iter().map(|file| &file.process)).cloned().collect()
    }

    /// Whether a process runs whose snapshot is in the folder.
    pub(crate) fn has_running(&self) -> bool {
        self.lock().files.iter().any(|file| !file.closed)
    }

    /// What is lost of processes that have ended, as a sentence without its end.
    pub(crate) fn loss(&self) -> Option<String> {
        let state = self.lock();
        let ended = state.files.iter().filter_map(|file| file.process.unread);
        let ended = ended.map(|unread| (1, Duration::from_millis(unread)));
        let (processes, longest) = ended.fold(state.lost, |a, b| (a.0 + b.0, a.1.max(b.1)));
        let what = if processes == 1 { "what it had counted in its" } else { "what each had counted in its" };
        (processes > 0).then(|| {
            format!(
                "{} ended without writing counters to {}; at most {what} last {:.2}s is lost",
                count_of(processes, "process", "processes"),
                self.folder.path().display(),
                longest.as_secs_f32()
            )
        })
    }

    /// What became of a file, if it was made here.
    pub(crate) fn made(&self, name: &str) -> Option<Made> {
        self.lock_made().get(name).cloned()
    }

    #[cfg(test)]
    pub(crate) fn set_made(&self, name: &str, made: Made) {
        self.lock_made().insert(name.to_owned(), made);
    }

    /// As if this process had been read.
    #[cfg(test)]
    pub(crate) fn set_read(&self, name: &str) {
        let pid = std::process::id();
        let auxv = fs::read("/proc/self/auxv").expect("this process");
        let (parsed, name) = (name.parse().expect("a name"), name.to_owned());
        self.set_made(&name, Made { version: 0, kind: Kind::Live });
        let (own, read) = (BTreeSet::new(), Instant::now());
        let process = LiveProcess {
            pid,
            started: None,
            name: None,
            unread: None,
            counters: name.clone(),
            go: None,
            module: None,
            revision: None,
        };
        self.lock().files.push(LiveFile { pid, auxv, name, parsed, own, read, process, closed: false });
    }

    /// Whether a file stays as it is, and of what was made here, whether this version is its last.
    pub(crate) fn is_final(&self, name: &str, version: Option<u64>) -> bool {
        self.made(name).is_none_or(|made| made.kind == Kind::Final && version == Some(made.version))
    }

    /// The files that are removed, each with the one that has what it had.
    pub(crate) fn superseded(&self) -> Vec<(String, String)> {
        let made = self.lock_made();
        let superseded = made.iter().filter_map(|(name, made)| match &made.kind {
            Kind::Superseded { by } => Some((name.clone(), by.clone())),
            Kind::Live | Kind::Final => None,
        });
        superseded.collect()
    }

    /// Forgets a file that is removed everywhere.
    pub(crate) fn forget(&self, name: &str) {
        self.lock_made().remove(name);
    }

    /// How long ago a process was read that has ended since the last round; `None` if it was never read.
    pub(crate) fn unread_for(&self, pid: u32) -> Option<Duration> {
        let state = self.lock();
        state.files.iter().filter(|file| file.pid == pid).map(|file| file.read.elapsed()).min()
    }

    /// Removes the snapshots whose counts are in files that their processes have written since. It reads files.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.files.is_empty() { Ok(()) } else { self.settle_listed(&mut state).map(drop) }
    }

    /// The files in the folder. Each has been compared with the snapshots: what is superseded is removed. It reads files.
    pub(crate) fn settled(&self) -> io::Result<BTreeMap<String, FileName>> {
        let mut state = self.lock();
        if state.files.is_empty() { files::list(self.folder.path()) } else { self.settle_listed(&mut state) }
    }

    /// Takes a snapshot of each of these processes that has coverage. `program` is the one that the agent has started
    /// itself.
    ///
    /// # Errors
    /// When the processes or the files cannot be listed, or a file cannot be written.
    pub(crate) fn take(&self, pids: &[u32], program: Option<u32>) -> io::Result<Round> {
        let mut state = self.lock();
        // Those of the round before have been compared with all that their processes wrote, once this has settled.
        let earlier: BTreeSet<String> =
            state.files.iter().filter(|file| file.closed).map(|file| file.name.clone()).collect();
        let listed = self.settle_listed(&mut state)?;
        let state = &mut *state;
        state.complete.retain(|process| listed.contains_key(&process.counters));
        for file in state.files.extract_if(.., |file| earlier.contains(&file.name)) {
            if let Some(unread) = file.process.unread {
                let (processes, longest) = state.lost;
                state.lost = (processes + 1, longest.max(Duration::from_millis(unread)));
            }
            state.complete.extend(listed.contains_key(&file.name).then_some(file.process));
        }
        // What is counted while they are read may be missing.
        let read = Instant::now();
        let scan = state.scanner.scan(pids.iter().copied());
        let mut outcome = Ok(());
        for snapshot in &scan.snapshots {
            outcome = outcome.and(self.keep(&mut state.files, snapshot, &listed, read));
        }
        outcome?;
        let rights = if scan.is_refused() { format!("; {}", reading_rights()) } else { String::new() };
        let doubt = || scan.doubts().into_iter().next().map(|doubt| format!("{doubt}{rights}"));
        let why = scan.failures.first().cloned().or_else(doubt);
        // One that has ended meanwhile need not be there.
        let running = program.filter(|program| !has_ended(*program, None));
        let is_starting = scan.is_starting() || running.is_some_and(is_this_program);
        let is_unread = |program| scan.is_unread(program) || scan.snapshots.is_empty() && !is_starting;
        if running.is_some_and(is_unread) {
            let none = || "no process here is a Go program built with -cover".to_owned();
            return Ok(Round { unread: Some(why.unwrap_or_else(none)), ..Round::default() });
        }
        let by_process = scan.unread().clone();
        Ok(Round { unread: None, missing: why.filter(|_| !is_starting), by_process })
    }

    /// Removes what is superseded. Gives what is in the folder then.
    fn settle_listed(&self, state: &mut State) -> io::Result<BTreeMap<String, FileName>> {
        for file in state.files.iter_mut().filter(|file| !file.closed) {
            // This first: what a process that has ended wrote is in the list.
            if has_ended(file.pid, Some(&file.auxv)) {
                file.closed = true;
                let unread = u64::try_from(file.read.elapsed().as_millis()).unwrap_or(u64::MAX);
                file.process.unread = Some(unread);
                self.note(&file.name, |made| made.kind = Kind::Final);
            }
        }
        let mut listed = files::list(self.folder.path())?;
        let mut superseded = BTreeMap::new();
        for file in &state.files {
            let new =
                self.own(&listed, file.pid, &file.parsed).into_iter().filter(|name| !file.own.contains(name));
            if let Some(by) = self.first_with_all(file, new)? {
                superseded.insert(file.name.clone(), by);
            }
        }
        for (name, by) in superseded {
            match self.folder.remove([name.clone()]) {
                // It may be somebody else's.
                Ok(0) => {}
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    if !self.warned.swap(true, Ordering::Relaxed) {
                        say(NAME, format_args!("warning: what is in other files too stays: {error}"));
                    }
                }
                Ok(_) | Err(_) => {
                    listed.remove(&name);
                    state.files.retain(|file| file.name != name);
                    self.note(&name, |made| made.kind = Kind::Superseded { by });
                }
            }
        }
        Ok(listed)
    }

    /// The files that a process has written itself.
    fn own(&self, listed: &BTreeMap<String, FileName>, pid: u32, snapshot: &FileName) -> BTreeSet<String> {
        let made = self.lock_made();
        let is_own = |(name, parsed): &(&String, &FileName)| {
            files::written_by(parsed, pid)
                && (parsed.hash().is_none() || parsed.hash() == snapshot.hash())
                && !made.contains_key(*name)
        };
        listed.iter().filter(is_own).map(|(name, _)| name.clone()).collect()
    }

    /// The first of these files that has all that a snapshot has.
    fn first_with_all(
        &self,
        file: &LiveFile,
        own: impl Iterator<Item = String>,
    ) -> io::Result<Option<String>> {
        for name in own {
            // A test binary writes its profile once, at its end, with all that it has counted.
            if matches!(name.parse(), Ok(FileName::Text { .. })) {
                return Ok(Some(name));
            }
            let read = |name: &str| match fs::read(self.folder.path().join(name)) {
                // It was removed, or was uploaded and removed.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                read => read.map(Some),
            };
            if let (Some(snapshot), Some(own)) = (read(&file.name)?, read(&name)?)
                && livecov::is_within(&snapshot, &own) == Ok(true)
            {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    /// Puts a process's snapshot into the folder. `listed` is what was there before it was taken.
    fn keep(
        &self,
        files: &mut Vec<LiveFile>,
        snapshot: &ProcessSnapshot,
        listed: &BTreeMap<String, FileName>,
        read: Instant,
    ) -> io::Result<()> {
        let ProcessSnapshot { pid, auxv, program, counters, .. } = snapshot;
        let mut own = self.own(listed, *pid, &counters.name);
        let meta = program.meta_name();
        if !self.folder.path().join(meta.to_string()).exists() {
            files::write_whole(self.folder.path(), &meta, program.meta())?;
        }
        if let Some(file) = files.iter_mut().find(|file| file.auxv == *auxv && !file.closed) {
            let before = fs::read(self.folder.path().join(&file.name)).ok();
            let is_same = before.as_ref() == Some(&counters.bytes);
            // One that was removed (POST /reset) or cannot be read holds nothing back.
            if is_same
                || before.is_none_or(|before| livecov::is_within(&before, &counters.bytes) != Ok(false))
            {
                if !is_same {
                    files::write_whole(self.folder.path(), &file.parsed, &counters.bytes)?;
                    self.note(&file.name, |made| made.version += 1);
                }
                (file.own, file.read) = (own, read);
                return Ok(());
            }
            file.closed = true;
            self.note(&file.name, |made| made.kind = Kind::Final);
            // What it wrote before it cleared its counters may have come since the list was made. What it has written since
            // it was read is compared with the snapshot.
            let later = self.own(&files::list(self.folder.path())?, *pid, &counters.name);
            own.extend(later.into_iter().filter(|name| is_earlier(name, &counters.name)));
        }
        let parsed = self.first_name(snapshot)?;
        let name = parsed.to_string();
        // Before it is there: it is no evidence that the program has written something.
        self.lock_made().insert(name.clone(), Made { version: 0, kind: Kind::Live });
        files::write_whole(self.folder.path(), &parsed, &counters.bytes)?;
        let process = LiveProcess { counters: name.clone(), ..live_process(snapshot) };
        files.push(LiveFile {
            pid: *pid,
            auxv: auxv.clone(),
            name,
            parsed,
            own,
            read,
            process,
            closed: false,
        });
        Ok(())
    }

    /// The name for the first snapshot of a process, or for the first since it has cleared its counters.
    fn first_name(&self, snapshot: &ProcessSnapshot) -> io::Result<FileName> {
        let ProcessSnapshot { started, auxv, counters, .. } = snapshot;
        let (FileName::Counters { hash, pid, .. }, Some(started)) = (counters.name, started) else {
            return Ok(counters.name);
        };
        if !self.named_by_start {
            return Ok(counters.name);
        }
        // A file that is as old as the process counts as its own.
        let nanos = started.saturating_add(EARLY).saturating_add(within_tick(auxv));
        let by_start = FileName::Counters { hash, pid, nanos };
        let is_free = match fs::read(self.folder.path().join(by_start.to_string())) {
            // An earlier podcov-agent has read it.
            Ok(before) => livecov::is_within(&before, &counters.bytes) != Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => self.made(&by_start.to_string()).is_none(),
            Err(error) => return Err(error),
        };
        Ok(if is_free { by_start } else { counters.name })
    }

    fn note(&self, name: &str, change: impl FnOnce(&mut Made)) {
        if let Some(made) = self.lock_made().get_mut(name) {
            change(made);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_made(&self) -> MutexGuard<'_, BTreeMap<String, Made>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a process still runs this program, which it does until it has become the one that it was started for.
fn is_this_program(pid: u32) -> bool {
    let program = |pid: &str| {
        let program = fs::metadata(format!("/proc/{pid}/exe")).ok()?;
        Some((program.dev(), program.ino()))
    };
    program("self").is_some_and(|this| program(&pid.to_string()) == Some(this))
}

/// Whether a counter file was written before another was.
fn is_earlier(name: &str, than: &FileName) -> bool {
    let nanos = |name: &FileName| match name {
        FileName::Counters { nanos, .. } => Some(*nanos),
        _ => None,
    };
    name.parse().is_ok_and(|name| nanos(&name).zip(nanos(than)).is_some_and(|(name, than)| name < than))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_are_started_in_one_tick_have_files_of_their_own() {
        let (one, other) = (within_tick(b"one"), within_tick(b"other"));
        assert!(one != other && one < TICK && other < TICK);
        assert_eq!(one, within_tick(b"one"), "an agent that is started again goes on with the same file");
    }
}
