//! When to start the program again.

use std::time::Duration;

use crate::args::Restart;
use crate::program::End;

/// The pause after a program that ended soon after its start; each next one is twice as long, up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// A program that ran for this long counts as healthy.
const WELL: Duration = Duration::from_secs(10);

/// Decides on restarts, with a growing pause for a program that keeps failing.
#[derive(Debug)]
pub(crate) struct Policy {
    when: Restart,
    pause: Duration,
}

impl Policy {
    pub(crate) fn new(when: Restart) -> Self {
        Self { when, pause: FIRST }
    }

    /// The pause before the next start, if there is to be one. `asked`: the program was asked to end.
    pub(crate) fn next(&mut self, end: End, ran: Duration, asked: bool) -> Option<Duration> {
        let again = match self.when {
            Restart::Always => true,
            Restart::OnFailure => end.code() != 0,
            Restart::Never => false,
        };
        if !again {
            return None;
        }
        if asked || ran >= WELL {
            self.pause = FIRST;
            return Some(Duration::ZERO);
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(1);

    #[test]
    fn each_kind() {
        for (when, after_0, after_1) in
            [(Restart::Always, true, true), (Restart::OnFailure, false, true), (Restart::Never, false, false)]
        {
            let next = |end| Policy::new(when).next(end, SOON, false).is_some();
            assert_eq!(
                (next(End::Exit(0)), next(End::Exit(1)), next(End::Signal(9))),
                (after_0, after_1, after_1)
            );
        }
    }

    #[test]
    fn what_keeps_failing_waits_longer() {
        let mut policy = Policy::new(Restart::Always);
        let mut next = |ran, asked| policy.next(End::Exit(1), ran, asked).unwrap_or_default().as_millis();
        let pauses: Vec<_> = (0..12).map(|_| next(SOON, false)).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000, 30_000]);
        assert_eq!(
            [next(WELL, false), next(SOON, false), next(SOON, true), next(SOON, false)],
            [0, 100, 0, 100]
        );
    }
}
