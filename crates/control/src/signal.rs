//! The names of signals, for hooks and agent alike.
//!
//! The numbers are those of Linux on the usual processors, for the programs run in Linux containers, also where the
//! hooks run on another operating system. `RTMIN` is 34, as the C library and Go have it: they keep 32 and 33.

use std::fmt;
use std::str::FromStr;

/// Named signals, by number from 1.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names that `kill -l` or `signal(7)` know.
const ALIASES: [(&str, i32); 4] = [("CLD", 17), ("IOT", 6), ("POLL", 29), ("UNUSED", 31)];

const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

/// A signal of Linux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// The text names no signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a signal's name")]
pub struct NotASignal;

impl Signal {
    /// The signal on which a program writes its counters, where none is named.
    pub const FLUSH: Self = Self(10);

    /// The signal of a number from 1 to 64.
    #[must_use]
    pub fn of(number: i32) -> Option<Self> {
        (1..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Its name without `SIG`, `USR1` or `RTMIN+1` for example. A signal that has no name is its number.
    #[must_use]
    pub fn name(self) -> String {
        let named = usize::try_from(self.0 - 1).ok().and_then(|index| NAMES.get(index));
        match (named, self.0) {
            (Some(name), _) => (*name).to_owned(),
            (None, RTMIN) => "RTMIN".to_owned(),
            (None, number @ RTMIN..) => format!("RTMIN+{}", number - RTMIN),
            (None, number) => number.to_string(),
        }
    }

    /// Whether a program that does nothing about it ends: by habit, these ask a program to end or end it.
    #[must_use]
    pub fn ends_programs(self) -> bool {
        matches!(self.0, 1 | 2 | 3 | 6 | 9 | 15)
    }

    /// The signal as any shell's `kill -s` takes it: not every shell knows the names of real-time signals.
    #[must_use]
    pub fn for_kill(self) -> String {
        if self.0 >= RTMIN { self.0.to_string() } else { self.name() }
    }
}

/// `SIGUSR1`, `SIGRTMIN+1`, or `signal 32`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        let prefix = if name.starts_with(|c: char| c.is_ascii_digit()) { "signal " } else { "SIG" };
        write!(f, "{prefix}{name}")
    }
}

/// `USR1`, `SIGUSR1`, `usr1`, `RTMIN+1`, `RTMAX-1` or a number.
impl FromStr for Signal {
    type Err = NotASignal;

    fn from_str(text: &str) -> Result<Self, NotASignal> {
        let upper = text.to_ascii_uppercase();
        // A sign belongs to no number: `kill -s -1` and `kill -s +1` mean something else, or nothing.
        if upper.bytes().all(|byte| byte.is_ascii_digit()) {
            return upper.parse().ok().and_then(Self::of).ok_or(NotASignal);
        }
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let named = NAMES.iter().zip(1..).map(|(name, number)| (*name, number));
        let mut known = named.chain(ALIASES).chain([("RTMIN", RTMIN), ("RTMAX", RTMAX)]);
        if let Some((_, number)) = known.find(|(known, _)| *known == name) {
            return Ok(Self(number));
        }
        let offset = |text: &str| -> Option<i32> {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|offset| digits && *offset <= RTMAX - RTMIN)
        };
        let above = name.strip_prefix("RTMIN+").and_then(offset).map(|offset| RTMIN + offset);
        let below = name.strip_prefix("RTMAX-").and_then(offset).map(|offset| RTMAX - offset);
        above.or(below).map(Self).ok_or(NotASignal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number, name) in [
            ("USR1", 10, "USR1"),
            ("SIGTERM", 15, "TERM"),
            ("sigint", 2, "INT"),
            ("10", 10, "USR1"),
            ("SYS", 31, "SYS"),
            ("CLD", 17, "CHLD"),
            ("RTMIN", 34, "RTMIN"),
            ("RTMIN+0", 34, "RTMIN"),
            ("RTMIN+1", 35, "RTMIN+1"),
            ("SIGRTMAX-29", 35, "RTMIN+1"),
            ("RTMAX", 64, "RTMIN+30"),
            ("40", 40, "RTMIN+6"),
            ("32", 32, "32"),
        ] {
            let signal: Signal = text.parse().unwrap();
            assert_eq!((signal.number(), signal.name().as_str()), (number, name), "{text}");
            assert_eq!(signal.name().parse(), Ok(signal), "{text}");
        }
    }

    #[test]
    fn signals_that_end_programs() {
        let ends = ["HUP", "INT", "QUIT", "ABRT", "KILL", "TERM"].map(|name| name.parse().unwrap());
        let all: Vec<_> = (1..=64).filter_map(Signal::of).filter(|signal| signal.ends_programs()).collect();
        assert_eq!(all, ends);
        assert_eq!(Signal::FLUSH, "USR1".parse().unwrap());
    }

    #[test]
    fn what_is_no_signal() {
        for wrong in [
            "",
            "SIG",
            "0",
            "00",
            "65",
            "-9",
            "+9",
            "USR3",
            "RTMIN+31",
            "RTMAX-31",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+-1",
            "USR1; reboot",
            "USR1 USR2",
            "SIGSIGINT",
            "99999999999999999999",
        ] {
            assert_eq!(wrong.parse::<Signal>(), Err(NotASignal), "{wrong}");
        }
    }

    #[test]
    fn what_people_and_shells_read() {
        let both = |text: &str| {
            let signal: Signal = text.parse().unwrap();
            (signal.to_string(), signal.for_kill())
        };
        assert_eq!(both("usr1"), ("SIGUSR1".to_owned(), "USR1".to_owned()));
        assert_eq!(both("RTMIN+1"), ("SIGRTMIN+1".to_owned(), "35".to_owned()));
        assert_eq!(both("32"), ("signal 32".to_owned(), "32".to_owned()));
    }
}
