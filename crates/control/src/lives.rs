//! The processes that a podcov-agent has started one after the other, and what was lost of them.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::Signal;

/// How many of the last processes an agent remembers.
const REMEMBERED: usize = 16;

/// The processes of an agent's program that have ended while the agent went on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedProcesses {
    /// How many have ended.
    pub ended: u64,
    /// How many of them wrote no counters at their end.
    pub lost: u64,
    /// The last of them, the latest last.
    pub last: VecDeque<EndedProcess>,
}

/// A process that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedProcess {
    /// When it was started, in seconds since 1970-01-01 UTC.
    pub started: u64,
    /// When it ended, in seconds since 1970-01-01 UTC.
    pub ended: u64,
    /// Its exit code, 128 + n where signal n ended it.
    pub exit_code: u8,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// Whether it wrote its counters at its end.
    pub counters_written: bool,
    /// How long before its end its counters were read from its memory, in milliseconds: of one that did not write them,
    /// no more is lost than what it counted in that time. `None` if they were never read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
}

impl EndedProcesses {
    /// Adds one that has ended.
    pub fn add(&mut self, life: EndedProcess) {
        self.ended += 1;
        self.lost += u64::from(!life.counters_written);
        self.last.push_back(life);
        if self.last.len() > REMEMBERED {
            self.last.pop_front();
        }
    }

    /// What is lost of them, as the end of a sentence about the container.
    #[must_use]
    pub fn loss(&self) -> Option<String> {
        if self.lost == 0 {
            return None;
        }
        let last: Vec<_> = self.last.iter().filter(|life| !life.counters_written).collect();
        let how = match last.last() {
            Some(life) => match life.signal.and_then(Signal::of) {
                Some(signal) => format!(", the last time by {signal}"),
                None => format!(", the last time with exit code {}", life.exit_code),
            },
            None => String::new(),
        };
        let Self { ended, lost, .. } = self;
        // Nothing is known of those that are not remembered.
        let are_remembered = last.len() as u64 == *lost;
        let unread =
            last.iter().map(|life| life.unread).collect::<Option<Vec<_>>>().filter(|_| are_remembered);
        let what = match unread.and_then(|unread| unread.into_iter().max()) {
            Some(longest) => {
                let each = if *lost > 1 { " each time" } else { "" };
                format!(
                    "at most what it had counted in its last {:.2}s{each} is lost",
                    longest as f64 / 1000.0
                )
            }
            None => "what it had counted since it last wrote them is lost".to_owned(),
        };
        Some(format!("its program ended without writing its counters {lost} of {ended} times{how}; {what}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(exit_code: u8, signal: Option<i32>, counters_written: bool) -> EndedProcess {
        EndedProcess { started: 1, ended: 2, exit_code, signal, counters_written, unread: None }
    }

    #[test]
    fn what_is_lost_is_told_however_many_are_remembered() {
        let mut lives = EndedProcesses::default();
        assert_eq!(lives.loss(), None);
        lives.add(life(0, None, true));
        assert_eq!(lives.loss(), None);
        lives.add(life(2, None, false));
        lives.add(life(137, Some(9), false));
        lives.add(life(0, None, true));
        let said = |how: &str, ended: u64| {
            Some(format!(
                "its program ended without writing its counters 2 of {ended} times{how}; what it had counted since \
                 it last wrote them is lost"
            ))
        };
        assert_eq!(lives.loss(), said(", the last time by SIGKILL", 4));
        for _ in 0..20 {
            lives.add(life(0, None, true));
        }
        assert_eq!((lives.last.len(), lives.loss()), (16, said("", 24)));
    }

    #[test]
    fn of_processes_whose_memory_was_read_no_more_is_lost_than_what_came_after() {
        let mut lives = EndedProcesses::default();
        let read = |unread| EndedProcess { unread: Some(unread), ..life(137, Some(9), false) };
        lives.add(life(0, None, true));
        lives.add(read(430));
        let said = lives.loss().unwrap_or_default();
        assert!(
            said.ends_with("by SIGKILL; at most what it had counted in its last 0.43s is lost"),
            "{said}"
        );
        lives.add(read(1200));
        lives.add(read(80));
        let said = lives.loss().unwrap_or_default();
        assert!(said.ends_with("at most what it had counted in its last 1.20s each time is lost"), "{said}");
        // One was never read.
        lives.add(life(2, None, false));
        let said = lives.loss().unwrap_or_default();
        assert!(said.ends_with("; what it had counted since it last wrote them is lost"), "{said}");
        // Those that are not remembered may have been like that.
        let mut lives = EndedProcesses::default();
        (0..17).for_each(|_| lives.add(read(80)));
        let said = lives.loss().unwrap_or_default();
        assert!(said.ends_with("; what it had counted since it last wrote them is lost"), "{said}");
    }
}
