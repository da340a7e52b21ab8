//! What is missing of a container: of the processes that could not be read, which run or have ended since.

use std::collections::BTreeMap;

use crate::live_files::Round;

/// How many processes that have ended are named.
const NAMED: usize = 16;

/// What could not be read.
#[derive(Debug, Default)]
pub(crate) struct Unread {
    /// Why not all was read in the last round in which there were processes.
    last: Option<String>,
    /// Those that could not be read then, and why.
    running: BTreeMap<u32, String>,
    /// Those that ended before they could be read, and why.
    ended: Vec<String>,
    /// How many more there were.
    more: usize,
}

impl Unread {
    /// Notes what a round has read of these processes.
    pub(crate) fn note(&mut self, pids: &[u32], round: Round) {
        let before = std::mem::replace(&mut self.running, round.by_process);
        if !pids.is_empty() || !before.is_empty() {
            self.last = round.missing;
        }
        for why in before.into_iter().filter(|(pid, _)| !pids.contains(pid)).map(|(_, why)| why) {
            if self.ended.len() < NAMED {
                self.ended.push(format!("{why}; it has ended unread"));
            } else {
                self.more += 1;
            }
        }
    }

    /// A sentence for each that is missing, without its end.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("{} more processes have ended unread", self.more));
        self.last.iter().chain(&self.ended).cloned().chain(more).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(unread: &[u32]) -> Round {
        let why = |pid: &u32| format!("process {pid}: no");
        let by_process = unread.iter().map(|pid| (*pid, why(pid))).collect();
        Round { missing: unread.first().map(why), by_process, ..Round::default() }
    }

    #[test]
    fn a_process_that_ends_unread_stays_missing() {
        let mut unread = Unread::default();
        unread.note(&[1, 2, 3], round(&[1, 2]));
        assert_eq!(unread.sentences(), ["process 1: no"]);
        // One was read after all, the other has ended.
        unread.note(&[2, 3], round(&[]));
        assert_eq!(unread.sentences(), ["process 1: no; it has ended unread"]);
        unread.note(&[], round(&[]));
        assert_eq!(unread.sentences().len(), 1);
        let many: Vec<u32> = (10..50).collect();
        unread.note(&many, round(&many));
        unread.note(&[], round(&[]));
        let sentences = unread.sentences();
        assert_eq!((sentences.len(), &*sentences[NAMED]), (NAMED + 1, "25 more processes have ended unread"));
    }
}
