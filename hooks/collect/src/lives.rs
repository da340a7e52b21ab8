//! The processes that a container had before the one that runs now, and whether their counters are in the report.
//!
//! A Go program built with `-cover` writes its counters when it returns from main and on `os.Exit`, whatever the exit
//! code. It writes none on a panic (exit code 2) and none when a signal ends it. The name of a counter file holds the
//! time when it was written, by the same clock as the times in a pod's status.

use covdata::{FileName, Mode};
use jiff::{SignedDuration, Timestamp};
use podcov_cluster::{History, Termination};
use serde::{Deserialize, Serialize};

/// How long before its end a process that a signal ended may have begun to write its last counter file.
const LAST_WRITE: SignedDuration = SignedDuration::from_secs(5);

/// The exit code of a process that the last of Linux's 64 signals ended. What is above, `os.Exit(-1)` for one, a program
/// gives itself.
const SIGNALLED: i32 = 128 + 64;

/// What has happened to a process that another one has followed.
const RESTARTED: &str = "it was restarted during the run";

/// A process of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Life {
    /// When it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) started: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<Timestamp>,
    /// How it ended, 128 + n where signal n ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended it, where the container runtime says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<i32>,
    /// The kubelet's word for its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What became of the counters that it had when it ended. Nothing while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) counters: Option<FinalCounters>,
}

/// What became of the counters that a process had when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FinalCounters {
    /// They are in a counter file.
    Written,
    /// They are lost.
    Lost,
    /// Nothing tells.
    Unknown,
    /// The container runtime could not start it: there were none.
    NeverRan,
}

/// The counter files of a container, as evidence of what its processes wrote.
#[derive(Debug, Clone, Default)]
pub(crate) struct Written {
    /// When each was written, in nanoseconds since 1970-01-01 UTC.
    times: Vec<u64>,
    /// The program can write while it runs, so that a file need not be the last of its process.
    while_running: bool,
    /// When processes were started, up to a second early, that have ended and whose memory was read before, in nanoseconds
    /// since 1970-01-01 UTC. What is lost of these is named otherwise.
    pub(crate) read: Vec<u64>,
}

/// A container's processes, and what is lost of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lives {
    /// In the order of their time.
    pub(crate) lives: Vec<Life>,
    /// What is lost, each as the end of a sentence about the container.
    pub(crate) losses: Vec<String>,
    /// How many of these, the first ones, are of processes that an earlier report knows.
    pub(crate) known_losses: usize,
}

impl Written {
    /// Of the files with these names, of programs in these modes.
    pub(crate) fn new<'a>(
        names: impl IntoIterator<Item = &'a str>,
        modes: impl IntoIterator<Item = Mode>,
    ) -> Self {
        let time = |name: &str| match name.parse() {
            Ok(FileName::Counters { nanos, .. } | FileName::Text { nanos, .. }) => Some(nanos),
            _ => None,
        };
        let mut modes = modes.into_iter().peekable();
        // Without meta-data nothing is known of the program.
        let while_running =
            modes.peek().is_none() || modes.any(|mode| !matches!(mode, Mode::Set | Mode::Count));
        Self { times: names.into_iter().filter_map(time).collect(), while_running, read: Vec::new() }
    }

    /// How many processes that were started in a time have been read.
    fn read_between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> usize {
        // Their starts may be a second early.
        let [from, to] =
            [from, to].map(|time| time.and_then(|time| time.checked_sub(SignedDuration::from_secs(1)).ok()));
        count_between(&self.read, from, to)
    }

    /// How many files were written from one time on and before another.
    fn between(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> usize {
        count_between(&self.times, from, to)
    }
}

fn count_between(times: &[u64], from: Option<Timestamp>, to: Option<Timestamp>) -> usize {
    let nanos = |time: Timestamp| u64::try_from(time.as_nanosecond()).unwrap_or_default();
    let from = from.map_or(0, nanos);
    let to = to.map_or(u64::MAX, nanos);
    times.iter().filter(|time| (from..to).contains(*time)).count()
}

/// What became of a container's processes.
///
/// `known` are those of them that an earlier report of the same container knows: the pod's status has the last one alone.
pub(crate) fn judge(history: &History, written: &Written, known: &[Life]) -> Lives {
    let mut found = Lives::default();
    let ended = history.ended as usize;
    let known: Vec<&Life> = known.iter().filter(|life| life.counters.is_some()).take(ended).collect();
    for life in &known {
        found.losses.extend(life.loss(RESTARTED, written));
        found.lives.push((*life).clone());
    }
    found.known_losses = found.losses.len();
    if ended > known.len() {
        let last_started = history.last.as_ref().and_then(|last| last.started);
        let unknown = ended - known.len() - usize::from(history.last.is_some());
        let since = known.last().and_then(|life| life.ended).or(history.pod_started);
        // Of those that were read, what is lost is named otherwise.
        let read = written.read_between(since, last_started);
        let (counters, loss) =
            judge_unknown(unknown.saturating_sub(read), written, written.between(since, last_started));
        found.losses.extend(loss);
        let one = Life { counters: Some(counters), ..Life::running(None) };
        found.lives.extend(std::iter::repeat_n(one, unknown));
        if let Some(last) = &history.last {
            let life = Life::of(last, written);
            let how = if history.is_over { "it ended during the run" } else { RESTARTED };
            found.losses.extend(life.loss(how, written));
            found.lives.push(life);
        }
    }
    if history.running_since.is_some() {
        found.lives.push(Life::running(history.running_since));
    }
    found
}

/// Processes of whose end the status says nothing, and the counter files of their time.
fn judge_unknown(unknown: usize, written: &Written, files: usize) -> (FinalCounters, Option<String>) {
    let processes = match unknown {
        0 => return (FinalCounters::Written, None),
        1 => "one process".to_owned(),
        n => format!("{n} processes"),
    };
    if files < unknown {
        let loss = format!(
            "it was restarted, and {processes} of it left {files} counter files; what the others had counted is lost"
        );
        return (FinalCounters::Unknown, Some(loss));
    }
    // Such a program writes but once, at its end.
    if !written.while_running {
        return (FinalCounters::Written, None);
    }
    (FinalCounters::Unknown, Some(unknown_ends(&processes)))
}

fn unknown_ends(processes: &str) -> String {
    format!(
        "it was restarted, and how {processes} of it ended is not known; \
         what they had counted since their last counter files may be lost"
    )
}

impl Life {
    /// Of a process that runs.
    fn running(started: Option<Timestamp>) -> Self {
        Self { started, ended: None, exit_code: None, signal: None, reason: None, counters: None }
    }

    /// Of one that has ended.
    fn of(end: &Termination, written: &Written) -> Self {
        Self {
            started: end.started,
            ended: end.finished,
            exit_code: Some(end.exit_code),
            signal: end.signal,
            reason: end.reason.clone(),
            counters: Some(final_counters(end, written)),
        }
    }

    /// What is lost of it. `how` begins the sentence.
    fn loss(&self, how: &str, written: &Written) -> Option<String> {
        let Some(exit_code) = self.exit_code else {
            // Of this one an earlier report knew no more either.
            return (self.counters == Some(FinalCounters::Unknown)).then(|| unknown_ends("one process"));
        };
        let end = Termination {
            started: self.started,
            finished: self.ended,
            exit_code,
            signal: self.signal,
            reason: self.reason.clone(),
        };
        let what = match self.counters? {
            FinalCounters::Written | FinalCounters::NeverRan => return None,
            _ if written.read_between(end.started, after(end.finished)) > 0 => return None,
            FinalCounters::Lost if written.between(end.started, after(end.finished)) == 0 => {
                "what it had counted until then is lost"
            }
            FinalCounters::Lost => "what it had counted since its last counter file is lost",
            FinalCounters::Unknown => "what it had counted since its last counter file may be lost",
        };
        Some(format!("{how} ({end}); {what}"))
    }
}

/// A second later, for the status cuts off what is less.
fn after(finished: Option<Timestamp>) -> Option<Timestamp> {
    finished.and_then(|time| time.checked_add(SignedDuration::from_secs(1)).ok())
}

fn final_counters(end: &Termination, written: &Written) -> FinalCounters {
    let shortly_before = end.finished.and_then(|time| time.checked_sub(LAST_WRITE).ok());
    let files = written.between(end.started, after(end.finished)) > 0;
    let files_at_end = written.between(shortly_before.max(end.started), after(end.finished)) > 0;
    let code = match end.signal {
        Some(signal) => 128 + signal,
        None => end.exit_code,
    };
    match (end.reason.as_deref(), code) {
        (Some("StartError" | "ContainerCannotRun" | "RunContainerError"), _) => FinalCounters::NeverRan,
        (Some("ContainerStatusUnknown"), _) => FinalCounters::Unknown,
        (Some("OOMKilled"), _) => FinalCounters::Lost,
        // After a panic nothing is written; a program may also end with this code by itself, and then has.
        (_, 2) if files_at_end => FinalCounters::Unknown,
        (_, 2) => FinalCounters::Lost,
        // HUP, INT and TERM: a program that handles them may end with such a code, and then writes.
        (_, 129 | 130 | 143) if files_at_end => FinalCounters::Written,
        (_, 128..=SIGNALLED) => FinalCounters::Lost,
        _ if files => FinalCounters::Written,
        _ => FinalCounters::Lost,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_795_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(START + second).unwrap()
    }

    /// Files of process 1 that were written at these seconds.
    fn files(seconds: &[f64], mode: Mode) -> Written {
        let hash = "62ff98db792937fd37f18adced298d04";
        let nanos = |s: f64| START as u64 * 1_000_000_000 + (s * 1e9) as u64;
        let names: Vec<String> =
            seconds.iter().map(|s| format!("covcounters.{hash}.1.{}", nanos(*s))).collect();
        Written::new(names.iter().map(String::as_str), [mode])
    }

    fn ended(code: i32, reason: &str) -> Termination {
        Termination {
            started: Some(at(10)),
            finished: Some(at(20)),
            exit_code: code,
            signal: None,
            reason: Some(reason.to_owned()),
        }
    }

    fn history(ended: u32, last: Termination) -> History {
        History {
            pod_started: Some(at(0)),
            ended,
            last: Some(last),
            running_since: Some(at(21)),
            is_over: false,
        }
    }

    fn losses(history: &History, written: &Written) -> Vec<String> {
        judge(history, written, &[]).losses
    }

    #[test]
    fn a_container_that_was_not_restarted_has_lost_nothing() {
        let history = History { running_since: Some(at(1)), ..History::default() };
        let found = judge(&history, &files(&[], Mode::Atomic), &[]);
        assert_eq!(found.losses, [""; 0]);
        assert_eq!(found.lives, [Life::running(Some(at(1)))]);
    }

    #[test]
    fn how_the_last_process_ended_and_what_it_wrote() {
        let until_then = "what it had counted until then is lost";
        let since = "what it had counted since its last counter file is lost";
        let may = "what it had counted since its last counter file may be lost";
        let killed = "exit code 137, killed";
        let panic = "exit code 2, as after a panic";
        for (code, reason, written, said) in [
            // Killed: nothing can be written then, whatever was written shortly before.
            (137, "OOMKilled", &[][..], Some(("OOMKilled", until_then))),
            (137, "OOMKilled", &[20.5], Some(("OOMKilled", since))),
            (137, "Error", &[], Some((killed, until_then))),
            (137, "Error", &[12.0, 20.9], Some((killed, since))),
            (139, "Error", &[20.1], Some(("exit code 139", since))),
            // A panic.
            (2, "Error", &[], Some((panic, until_then))),
            (2, "Error", &[11.0], Some((panic, since))),
            (2, "Error", &[20.2], Some((panic, may))),
            // An end of its own, with the file that it writes then.
            (0, "Completed", &[20.7], None),
            (0, "Completed", &[14.0], None),
            (1, "Error", &[20.0], None),
            // os.Exit(-1): no signal has such a number.
            (255, "Error", &[20.0], None),
            (255, "Error", &[], Some(("exit code 255", until_then))),
            (143, "Error", &[19.9], None),
            (130, "Error", &[20.9], None),
            // The same without it.
            (0, "Completed", &[], Some(("exit code 0", until_then))),
            (1, "Error", &[], Some(("exit code 1", until_then))),
            (143, "Error", &[12.0], Some(("exit code 143", since))),
            // Files of other processes are no evidence.
            (0, "Completed", &[9.9, 21.0], Some(("exit code 0", until_then))),
        ] {
            let found = losses(&history(1, ended(code, reason)), &files(written, Mode::Atomic));
            let expected: Vec<String> = said
                .iter()
                .map(|(how, what)| format!("it was restarted during the run ({how}); {what}"))
                .collect();
            assert_eq!(found, expected, "{code} {reason} {written:?}");
        }
    }

    #[test]
    fn a_process_that_could_not_be_started_counted_nothing() {
        let found = judge(&history(1, ended(128, "StartError")), &files(&[], Mode::Atomic), &[]);
        assert_eq!((found.losses.len(), found.lives.len()), (0, 2));
    }

    #[test]
    fn of_earlier_processes_the_number_of_files_tells() {
        let clean = || ended(0, "Completed");
        // Three processes have ended, the last one at 20: of two nothing is known but what they wrote before 10.
        for (mode, written, expected) in [
            (Mode::Set, &[3.0, 7.0, 20.0][..], None),
            (Mode::Count, &[3.0, 7.0, 20.0], None),
            (Mode::Set, &[3.0, 20.0], Some("2 processes of it left 1 counter files; what the others")),
            (Mode::Atomic, &[3.0, 20.0], Some("2 processes of it left 1 counter files; what the others")),
            // They may be two of one process.
            (Mode::Atomic, &[3.0, 7.0, 20.0], Some("how 2 processes of it ended is not known")),
        ] {
            let found = losses(&history(3, clean()), &files(written, mode));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{mode:?} {written:?} {found:?}");
            assert!(found.iter().all(|loss| loss.contains(expected.unwrap_or_default())), "{found:?}");
        }
    }

    #[test]
    fn what_an_earlier_report_knows_need_not_be_guessed() {
        let written = files(&[3.0, 20.0], Mode::Atomic);
        let life = |counters| Life {
            counters: Some(counters),
            ended: Some(at(4)),
            exit_code: Some(0),
            ..Life::running(Some(at(1)))
        };
        let known = [life(FinalCounters::Written), Life::running(Some(at(5)))];
        let found = judge(&history(2, ended(0, "Completed")), &written, &known);
        assert_eq!(found.losses, [""; 0]);
        let counters: Vec<_> = found.lives.iter().map(|life| life.counters).collect();
        assert_eq!(counters, [Some(FinalCounters::Written), Some(FinalCounters::Written), None]);
        // What was lost then is lost still.
        let known = [life(FinalCounters::Lost)];
        let found = judge(&history(2, ended(0, "Completed")), &written, &known);
        assert_eq!((found.losses.len(), found.known_losses), (1, 1));
    }

    /// Its last snapshot is in the report, and what that lacks is named there.
    #[test]
    fn of_a_process_that_was_read_no_more_is_lost_than_what_came_after() {
        let killed = |ended| history(ended, ended_by_kill());
        let mut written = files(&[], Mode::Atomic);
        assert_eq!(losses(&killed(1), &written).len(), 1);
        // Up to a second before the kubelet says.
        written.read = vec![(START as u64 + 9) * 1_000_000_000 + 500_000_000];
        assert_eq!(losses(&killed(1), &written), [""; 0]);
        // Of the one before it nothing is known.
        written.read = vec![(START as u64 + 9) * 1_000_000_000];
        assert_eq!(losses(&killed(2), &written).len(), 1);
        written.read.push((START as u64 + 3) * 1_000_000_000);
        assert_eq!(losses(&killed(2), &written), [""; 0]);
        let over = History { running_since: None, is_over: true, ..killed(1) };
        let said = losses(&over, &files(&[], Mode::Atomic));
        assert!(said[0].starts_with("it ended during the run (exit code 137, killed); "), "{said:?}");
    }

    fn ended_by_kill() -> Termination {
        ended(137, "Error")
    }

    #[test]
    fn what_was_not_known_is_named_each_time() {
        let written = files(&[3.0, 20.0], Mode::Atomic);
        let history = history(2, ended(0, "Completed"));
        let first = judge(&history, &written, &[]);
        assert_eq!(first.losses.len(), 1);
        let second = judge(&history, &written, &first.lives);
        assert_eq!(second.losses, first.losses);
        assert_eq!((first.known_losses, second.known_losses), (0, 1));
    }

    #[test]
    fn a_life_in_the_manifest() {
        let found = judge(&history(1, ended(137, "OOMKilled")), &files(&[], Mode::Atomic), &[]);
        let expected = serde_json::json!([
            {"started": "2026-11-18T11:06:50Z", "ended": "2026-11-18T11:07:00Z", "exit_code": 137,
             "reason": "OOMKilled", "counters": "lost"},
            {"started": "2026-11-18T11:07:01Z"}]);
        assert_eq!(serde_json::to_value(found.lives).unwrap(), expected);
    }
}
