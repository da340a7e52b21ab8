//! The processes of a container, and which of them get the signal.

use std::collections::BTreeSet;
use std::fmt;

use covdata::FileName;
use serde::Serialize;

use crate::prospect::OtherProcess;

/// Which processes of a container get the signal. Those of other containers and of the node never do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessFilter<'a> {
    /// The Go programs that are built with `-cover`.
    Covered,
    /// The process with this ID, as the container counts.
    Id(u32),
    /// The processes with this name.
    Name(&'a str),
}

impl<'a> ProcessFilter<'a> {
    /// What the flags `--pid` and `--process` select, of which at most one is given.
    #[must_use]
    pub fn from_flags(pid: Option<u32>, process: Option<&'a str>) -> Self {
        match (pid, process) {
            (Some(pid), _) => Self::Id(pid),
            (None, Some(name)) => Self::Name(name),
            (None, None) => Self::Covered,
        }
    }
}

/// A process that was signalled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Its ID, as the container counts.
    pub pid: u32,
    /// Its name: the first 15 bytes of the program's.
    pub name: String,
    /// Its ID as it sees that itself, which is in the names of its counter files.
    #[serde(skip)]
    pub(crate) own_pid: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// A process of the container as its shell sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    process: Process,
    parent: u32,
    kind: Kind,
    /// It has the name that was asked for.
    named: bool,
}

/// What program a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A Go program built with `-cover`.
    Covered,
    /// Perhaps such a program: it could not be searched, and is a Go program as far as can be told.
    Maybe,
    /// Another one.
    Other,
}

impl Candidate {
    /// Parses the shell's line: ID, parent's ID, ID as the process sees it, kind, `named` or `-`, name.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let mut number = || words.next()?.parse().ok();
        let (pid, parent, own_pid) = (number()?, number()?, number()?);
        let kind = match words.next()? {
            "covered" => Kind::Covered,
            "maybe" => Kind::Maybe,
            "other" => Kind::Other,
            _ => return None,
        };
        let named = words.next()? == "named";
        let name = words.next().unwrap_or_default().to_owned();
        Some(Self { process: Process { pid, name, own_pid }, parent, kind, named })
    }
}

/// Selects the processes that get the signal.
///
/// # Errors
/// Why none is to get it.
pub(crate) fn select(candidates: &[Candidate], filter: ProcessFilter<'_>) -> Result<Vec<Process>, String> {
    if candidates.is_empty() {
        return Err("none of the processes that are seen in the container is known to be its own, so none was \
                    signalled; if its pod shares process IDs (hostPID, shareProcessNamespace), run the program \
                    under podcov-agent, or have the exec's user be the program's"
            .to_owned());
    }
    let those = |keep: &dyn Fn(&Candidate) -> bool| -> Vec<&Candidate> {
        candidates.iter().filter(|candidate| keep(candidate)).collect()
    };
    let (found, missing) = match filter {
        ProcessFilter::Id(pid) => {
            (those(&|c| c.process.pid == pid), format!("the container has no process {pid}"))
        }
        ProcessFilter::Name(name) => {
            (those(&|c| c.named), format!("the container has no process with the name {name}"))
        }
        ProcessFilter::Covered => {
            let missing = "the container runs no Go program that is built with -cover";
            (covered(candidates)?, missing.to_owned())
        }
    };
    if found.is_empty() {
        let all = list(candidates.iter().map(|candidate| &candidate.process));
        return Err(format!("{missing}, so none was signalled; its processes: {all}"));
    }
    Ok(found.into_iter().map(|candidate| candidate.process.clone()).collect())
}

/// The processes that certainly run no program that is built with `-cover`.
pub(crate) fn without_coverage(candidates: &[Candidate]) -> Vec<OtherProcess> {
    let others = candidates.iter().filter(|candidate| candidate.kind == Kind::Other);
    others.map(|one| OtherProcess { process: format!("process {}", one.process), is_go: None }).collect()
}

/// All programs that are known to be built with `-cover`, for each has counters of its own. Without any, the only one
/// that may be, or the only one of these that was not started by another process of the container.
fn covered(candidates: &[Candidate]) -> Result<Vec<&Candidate>, String> {
    let of_kind = |kind| candidates.iter().filter(move |candidate| candidate.kind == kind);
    let covered: Vec<_> = of_kind(Kind::Covered).collect();
    if !covered.is_empty() {
        return Ok(covered);
    }
    let maybe: Vec<_> = of_kind(Kind::Maybe).collect();
    if maybe.len() < 2 {
        return Ok(maybe);
    }
    let pids: BTreeSet<u32> = candidates.iter().map(|candidate| candidate.process.pid).collect();
    let roots: Vec<_> = maybe.iter().copied().filter(|candidate| !pids.contains(&candidate.parent)).collect();
    match roots.len() {
        1 => Ok(roots),
        _ => Err(format!(
            "each of the processes {} may be the program, and none could be searched for what -cover adds (by the \
             image's grep, as the program's user), so none was signalled: name one with --process",
            list(maybe.iter().map(|candidate| &candidate.process))
        )),
    }
}

/// Leaves those of the processes that must write: each got the signal. A process that had ended by itself before the
/// signal, as a probe does, is not waited for if another process of the same program got it. Gives the others.
pub(crate) fn settle(
    processes: &mut Vec<Process>,
    sent: &BTreeSet<u32>,
    ended: &BTreeSet<u32>,
) -> Vec<Process> {
    let (signalled, mut others): (Vec<_>, Vec<_>) =
        std::mem::take(processes).into_iter().partition(|process| sent.contains(&process.pid));
    others.retain(|other| !ended.contains(&other.pid) || signalled.iter().all(|one| one.name != other.name));
    *processes = signalled;
    others
}

/// The processes that have written none of these files.
pub(crate) fn without_file(processes: &[Process], files: &BTreeSet<String>) -> Vec<Process> {
    let writers: BTreeSet<u32> = files
        .iter()
        .filter_map(|file| match file.parse() {
            Ok(FileName::Counters { pid, .. }) => Some(pid),
            _ => None,
        })
        .collect();
    processes.iter().filter(|process| !writers.contains(&process.own_pid)).cloned().collect()
}

/// Processes for a message: `7 (app), 12 (worker)`.
pub(crate) fn list<'a>(processes: impl IntoIterator<Item = &'a Process>) -> String {
    processes.into_iter().map(Process::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(lines: &[&str]) -> Vec<Candidate> {
        lines.iter().map(|line| Candidate::parse(line).expect("a line of the shell's")).collect()
    }

    fn selected(lines: &[&str], filter: ProcessFilter<'_>) -> Result<Vec<u32>, String> {
        select(&candidates(lines), filter).map(|found| found.iter().map(|process| process.pid).collect())
    }

    #[test]
    fn every_covered_program_is_selected_and_no_other() {
        let lines = ["1 0 1 other - sh", "7 1 7 covered - app", "8 7 8 maybe - x", "9 1 9 covered - worker"];
        assert_eq!(selected(&lines, ProcessFilter::Covered), Ok(vec![7, 9]));
    }

    #[test]
    fn what_cannot_be_searched_must_be_the_only_one_or_the_root() {
        let only = ["1 0 1 other - sh", "7 1 7 maybe - app"];
        assert_eq!(selected(&only, ProcessFilter::Covered), Ok(vec![7]));
        let root = ["1 0 1 maybe - app", "7 1 7 maybe - app", "30 0 30 other - sh"];
        assert_eq!(selected(&root, ProcessFilter::Covered), Ok(vec![1]));
        let doubtful = ["1 0 1 other - sh", "7 1 7 maybe - a", "8 1 8 maybe - b"];
        let why = selected(&doubtful, ProcessFilter::Covered).unwrap_err();
        assert!(why.starts_with("each of the processes 7 (a), 8 (b) may be the program"), "{why}");
        let two_roots = ["7 0 7 maybe - a", "8 0 8 maybe - b"];
        assert!(selected(&two_roots, ProcessFilter::Covered).is_err());
    }

    #[test]
    fn none_is_selected_where_none_is_meant() {
        let lines = ["1 0 1 other - sh", "7 1 7 other named node js"];
        let why = selected(&lines, ProcessFilter::Covered).unwrap_err();
        let words = "the container runs no Go program that is built with -cover, so none was signalled; its \
                     processes: 1 (sh), 7 (node js)";
        assert_eq!(why, words);
        assert_eq!(selected(&lines, ProcessFilter::Id(7)), Ok(vec![7]));
        assert!(
            selected(&lines, ProcessFilter::Id(2)).unwrap_err().contains("has no process 2, so none was")
        );
        assert_eq!(selected(&lines, ProcessFilter::Name("node js")), Ok(vec![7]));
        let unnamed = selected(&lines[..1], ProcessFilter::Name("node")).unwrap_err();
        assert!(unnamed.starts_with("the container has no process with the name node, so none"), "{unnamed}");
        for filter in [ProcessFilter::Covered, ProcessFilter::Id(1), ProcessFilter::Name("sh")] {
            assert!(selected(&[], filter).unwrap_err().contains("so none was signalled"));
        }
    }

    #[test]
    fn a_probe_that_ended_before_the_signal_is_no_failure() {
        let lines = ["7 1 7 covered - app", "30 0 30 covered - app", "31 0 31 covered - tool"];
        let settled = |sent: &[u32], ended: &[u32]| {
            let mut processes: Vec<_> = candidates(&lines).into_iter().map(|one| one.process).collect();
            let set = |pids: &[u32]| pids.iter().copied().collect();
            let others = settle(&mut processes, &set(sent), &set(ended));
            (list(&processes), list(&others))
        };
        let pair = |left: &str, others: &str| (left.to_owned(), others.to_owned());
        assert_eq!(settled(&[7, 31], &[30]), pair("7 (app), 31 (tool)", ""));
        assert_eq!(settled(&[7, 31], &[]), pair("7 (app), 31 (tool)", "30 (app)"), "it may not be signalled");
        assert_eq!(settled(&[7, 30], &[31]), pair("7 (app), 30 (app)", "31 (tool)"), "the only one");
        assert_eq!(settled(&[], &[7, 30, 31]), pair("", "7 (app), 30 (app), 31 (tool)"));
    }

    #[test]
    fn lines_that_are_no_process_are_none() {
        for line in ["", "1", "1 0 1 covered", "x 0 1 covered - a", "1 0 1 sure - a", "-1 0 1 other - a"] {
            assert_eq!(Candidate::parse(line), None, "{line}");
        }
        assert!(Candidate::parse("1 0 1 other -").is_some(), "a process without a name");
    }

    #[test]
    fn each_process_has_a_file_of_its_own() {
        let file =
            |pid: u32| format!("covcounters.f947a66cccabc27837954e22853b1648.{pid}.1795224885120263464");
        let files = |files: &[String]| files.iter().cloned().collect::<BTreeSet<_>>();
        // The second has its own process namespace.
        let both: Vec<_> = candidates(&["7 1 7 covered - a", "12 1 3 covered - b"])
            .into_iter()
            .map(|candidate| candidate.process)
            .collect();
        assert_eq!(without_file(&both, &files(&[file(3)])), both[..1]);
        assert_eq!(without_file(&both, &files(&[file(12), "covcounters.7".to_owned()])), both);
        assert!(without_file(&both, &files(&[file(3), file(7)])).is_empty());
        assert_eq!(list(&both), "7 (a), 12 (b)");
    }
}
