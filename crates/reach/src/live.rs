//! Reading the coverage of a container's Go programs from their memory, through a shell.
//!
//! All processes are read side by side: one round trip serves each of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use livecov::{Error, Facts, Program, Range, Reader, Readings, Snapshot, Source, Stat, Step};
use podcov_control::LiveProcess;
use tokio::time::Instant;

use crate::builds::Builds;
use crate::memory::{Batch, Listed, Memory, MemoryError, Overview, Pages, STALL, bytes_of, pages_of};
use crate::prospect::OtherProcess;

/// How often a process is read that changes while it is read.
const TRIES: usize = 5;

/// How many pages of a file are taken that is not large: `auxv`, `cmdline`.
const SMALL: u64 = 64;

/// The coverage of a container's processes.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The bytes of the coverage files, by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// What each counter file is of.
    pub(crate) processes: Vec<LiveProcess>,
    /// What is missing of programs that have coverage, or may have, a sentence each.
    pub(crate) missing: Vec<String>,
    /// Those which the shell's user must not read, and which may be Go programs.
    pub(crate) refused: Vec<Listed>,
    /// Those which have no coverage.
    pub(crate) others: Vec<OtherProcess>,
}

/// A process that is being read.
struct Case<'o> {
    listed: &'o Listed,
    builds: &'o Arc<livecov::Builds>,
    /// What tells it from other processes.
    auxv: Vec<u8>,
    command_line: Vec<Vec<u8>>,
    tries: usize,
    state: State,
    /// Whether Go has built its program, if that is known and it has no coverage.
    is_go: Option<bool>,
    /// It was the same process still when its state was known.
    confirmed: bool,
}

enum State {
    /// Its program is being found.
    Finding(Box<Reader>),
    /// It is found.
    Found(Box<Program>),
    Read(Box<Program>, Snapshot),
    /// It must not be read.
    Refused,
    /// Whether it has coverage is not known, for this reason.
    Unknown(Error),
    /// It has coverage that could not be read, for this reason.
    Failed(Error),
    /// It has no coverage, or has ended.
    Nothing,
}

/// Reads the coverage of all processes that the shell has listed.
pub(crate) async fn read(
    memory: &mut Memory,
    overview: &Overview,
    builds: &Builds,
) -> Result<Live, MemoryError> {
    let begun = Instant::now();
    let mut cases = begin(memory, &overview.processes, &builds.known).await?;
    loop {
        find(memory, &mut cases, builds).await?;
        count(memory, &mut cases, overview.now(begun)).await?;
        confirm(memory, &mut cases).await?;
        if cases.iter().all(|case| !matches!(case.state, State::Finding(_))) {
            return Ok(settle(cases, overview));
        }
    }
}

/// A small file of a process.
fn small(pid: u32, name: &str) -> Pages {
    Pages { file: format!("{pid}/{name}"), first: 0, count: SMALL }
}

/// Learns what the processes are.
async fn begin<'o>(
    memory: &mut Memory,
    processes: &'o [Listed],
    builds: &'o Arc<livecov::Builds>,
) -> Result<Vec<Case<'o>>, MemoryError> {
    let requested = processes.iter().flat_map(|one| [small(one.pid, "auxv"), small(one.pid, "cmdline")]);
    let answers = memory.pages(&requested.collect::<Vec<_>>()).await?;
    let cases = processes.iter().zip(answers.as_chunks::<2>().0).map(|(listed, [auxv, line])| {
        let mut command_line: Vec<Vec<u8>> = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        command_line.pop();
        let state = match (auxv.is_empty(), line.is_empty()) {
            (false, _) => State::Finding(Box::new(Reader::sharing(auxv, Arc::clone(builds)))),
            (true, false) => State::Refused,
            // A thread of the kernel, or a process that has ended.
            (true, true) => State::Nothing,
        };
        Case {
            listed,
            builds,
            auxv: auxv.clone(),
            command_line,
            tries: 0,
            state,
            is_go: None,
            confirmed: false,
        }
    });
    Ok(cases.collect())
}

/// Goes on until each program is found, or is known to be none.
async fn find(memory: &mut Memory, cases: &mut [Case<'_>], builds: &Builds) -> Result<(), MemoryError> {
    loop {
        let mut batch = Batch::default();
        let mut first = None;
        for (number, case) in cases.iter_mut().enumerate() {
            let Some((ranges, build)) = case.step() else { continue };
            match build {
                Some(build) => {
                    first.get_or_insert((number, build));
                }
                None => batch.add(number, case.listed.pid, ranges),
            }
        }
        match first {
            // The others go on first.
            _ if !batch.pages.is_empty() => {
                let answers = memory.pages(&batch.pages).await?;
                batch.ranges(&answers).for_each(|(number, range, bytes)| cases[number].give(range, bytes));
            }
            Some((number, build)) => find_first(memory, &mut cases[number], builds, build).await?,
            None => return Ok(()),
        }
    }
}

/// Goes on with a reader for as long as it finds what is the same for all processes of its build. Those of other containers
/// wait for that, so that one of them alone sends it; but no longer than a shell may take for an answer.
async fn find_first(
    memory: &mut Memory,
    case: &mut Case<'_>,
    builds: &Builds,
    build: u64,
) -> Result<(), MemoryError> {
    let _turn = builds.turn(build, STALL).await;
    // Another one may have found it by now.
    while let Some((ranges, Some(_))) = case.step() {
        let mut batch = Batch::default();
        batch.add(0, case.listed.pid, ranges);
        let answers = memory.pages(&batch.pages).await?;
        batch.ranges(&answers).for_each(|(_, range, bytes)| case.give(range, bytes));
    }
    Ok(())
}

/// Reads the counters of programs that are found.
async fn count(memory: &mut Memory, cases: &mut [Case<'_>], now: u64) -> Result<(), MemoryError> {
    let found = cases.iter_mut().zip(now..).filter_map(|(case, now)| {
        let State::Found(program) = &case.state else { return None };
        // The counters twice, then how many packages there are.
        let ranges = [program.counters(), program.counters(), program.length()];
        let pages = ranges.map(|range| pages_of(case.listed.pid, range));
        Some((program.clone(), case, ranges, pages, now))
    });
    let found: Vec<_> = found.collect();
    let requested =
        found.iter().flat_map(|(_, case, _, pages, _)| pages.iter().cloned().chain([case.auxv_again()]));
    let answers = memory.pages(&requested.collect::<Vec<_>>()).await?;
    // Each at a time of its own: two processes may have the same number for themselves.
    for ((program, case, ranges, pages, now), answers) in found.into_iter().zip(answers.as_chunks::<4>().0) {
        if !case.is_still(&answers[3]) {
            continue;
        }
        let [counters, later, length] = [0, 1, 2].map(|at| bytes_of(ranges[at], &pages[at], &answers[at]));
        let readings = Readings { counters: &counters, later: &later, length: &length };
        let facts = Facts { pid: case.listed.seen, nanos: now, command_line: case.command_line.clone() };
        match program.snapshot(&readings, &facts) {
            Ok(snapshot) => (case.state, case.confirmed) = (State::Read(program, snapshot), true),
            Err(error) => case.fail(error),
        }
    }
    Ok(())
}

/// Looks whether those that could not be read are the same processes still: what ends, or becomes another program, cannot
/// be read for a moment.
async fn confirm(memory: &mut Memory, cases: &mut [Case<'_>]) -> Result<(), MemoryError> {
    let unsure = cases.iter_mut().filter(|case| {
        !case.confirmed && matches!(case.state, State::Refused | State::Unknown(_) | State::Failed(_))
    });
    let unsure: Vec<&mut Case<'_>> = unsure.collect();
    let requested: Vec<Pages> = unsure.iter().map(|case| case.auxv_again()).collect();
    let answers = memory.pages(&requested).await?;
    for (case, auxv) in unsure.into_iter().zip(answers) {
        case.confirmed = case.is_still(&auxv);
    }
    Ok(())
}

impl Case<'_> {
    /// Lets its reader go on, if its program is yet to be found. Gives what that needs, and the number of its build if that
    /// is the same for all processes of the build.
    fn step(&mut self) -> Option<(Vec<Range>, Option<u64>)> {
        let State::Finding(reader) = &self.state else { return None };
        match reader.step() {
            Ok(Step::Read { ranges, build }) => return Some((ranges, build)),
            Ok(Step::Done(program)) => self.state = State::Found(program),
            Err(error) => self.fail(error),
        }
        None
    }

    fn give(&mut self, range: Range, bytes: Vec<u8>) {
        let State::Finding(reader) = &mut self.state else { return };
        if bytes.is_empty() && range.source == Source::File && range.start == 0 {
            self.state = State::Refused;
        } else {
            reader.give(range, bytes);
        }
    }

    /// What an error means for it.
    fn fail(&mut self, error: Error) {
        self.tries += 1;
        self.is_go = match error {
            Error::NotElf | Error::NotGo => Some(false),
            Error::NotCovered => Some(true),
            _ => None,
        };
        self.state = match error {
            Error::NotElf | Error::NotGo | Error::NotCovered => State::Nothing,
            // What its file says is in it is not.
            Error::Unreadable(Range { source: Source::File, .. }) => State::Unknown(error),
            // Its memory must not be read, though what the kernel tells of it may be.
            Error::Unreadable(_) => State::Refused,
            // While a program starts, its packages are initialized one after the other.
            Error::NewPackages | Error::Layout { .. } | Error::Starting | Error::NotStarted
                if self.tries < TRIES =>
            {
                State::Finding(self.reader())
            }
            Error::NoSections | Error::Processor(_) => State::Unknown(error),
            error => State::Failed(error),
        };
    }

    fn reader(&self) -> Box<Reader> {
        Box::new(Reader::sharing(&self.auxv, Arc::clone(self.builds)))
    }

    fn auxv_again(&self) -> Pages {
        small(self.listed.pid, "auxv")
    }

    /// Whether it runs the same program still. If it runs another one, that is to be found; if it has ended, there is
    /// nothing.
    fn is_still(&mut self, auxv: &[u8]) -> bool {
        if auxv == self.auxv {
            return true;
        }
        self.tries += 1;
        self.auxv = auxv.to_vec();
        self.state = if auxv.is_empty() || self.tries >= TRIES {
            State::Nothing
        } else {
            State::Finding(self.reader())
        };
        false
    }

    fn name(&self) -> String {
        let Listed { pid, .. } = self.listed;
        let first = self.command_line.first().map(|word| String::from_utf8_lossy(word).into_owned());
        format!("process {pid} ({})", first.unwrap_or_default().escape_debug())
    }
}

/// What a process is whose memory was read.
#[must_use]
pub fn describe(
    pid: u32,
    started: Option<u64>,
    stat: Option<&Stat>,
    program: &Program,
    snapshot: &Snapshot,
) -> LiveProcess {
    LiveProcess {
        pid,
        started,
        name: stat.map(|stat| stat.name.clone()),
        unread: None,
        counters: snapshot.name.to_string(),
        go: program.build.go.clone(),
        module: program.build.module.clone(),
        revision: program.build.revision.clone(),
    }
}

fn settle(cases: Vec<Case<'_>>, overview: &Overview) -> Live {
    let mut live = Live::default();
    let mut known = BTreeSet::new();
    for case in cases {
        let name = case.name();
        match case.state {
            State::Nothing => {
                let is_program = case.is_go.is_some();
                live.others.extend(is_program.then_some(OtherProcess { process: name, is_go: case.is_go }));
            }
            // A process that is being started is for a moment a copy of its parent, counters and all.
            State::Read(_, ref snapshot) if !known.insert((case.auxv, snapshot.bytes.clone())) => {}
            State::Refused | State::Unknown(_) if !case.listed.may_be_go => {}
            State::Read(program, snapshot) => {
                if snapshot.unknown_functions > 0 {
                    live.missing.push(format!(
                        "{name}: functions that ran before their package was initialized are left out: {}",
                        snapshot.unknown_functions
                    ));
                }
                let stat = Stat::parse(case.listed.stat.as_bytes());
                let started = stat.as_ref().zip(overview.btime).map(|(stat, btime)| stat.started(btime));
                live.processes.push(describe(case.listed.seen, started, stat.as_ref(), &program, &snapshot));
                live.files.insert(program.meta_name().to_string(), program.meta().to_vec());
                live.files.insert(snapshot.name.to_string(), snapshot.bytes);
            }
            State::Refused => live.refused.push(case.listed.clone()),
            State::Unknown(error) | State::Failed(error) => live.missing.push(format!("{name}: {error}")),
            State::Finding(_) | State::Found(_) => unreachable!("each was read to its end"),
        }
    }
    live
}
