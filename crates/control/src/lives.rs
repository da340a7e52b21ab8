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
        let how = match self.last.iter().rfind(|life| !life.counters_written) {
            Some(life) => match life.signal.and_then(Signal::of) {
                Some(signal) => format!(", the last time by {signal}"),
                None => format!(", the last time with exit code {}", life.exit_code),
            },
            None => String::new(),
        };
        let Self { ended, lost, .. } = self;
        Some(format!(
            "its program ended without writing its counters {lost} of {ended} times{how}; what it had counted since it \
             last wrote them is lost"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(exit_code: u8, signal: Option<i32>, counters_written: bool) -> EndedProcess {
        EndedProcess { started: 1, ended: 2, exit_code, signal, counters_written }
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
}
