//! How a podcov program ends: exit codes, the same in all programs, and the error that carries one and a hint.
//!
//! Libraries use this crate; what only programs need is in podcov-cli.

mod text;

pub use text::is_printable;

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

/// How a podcov binary ends.
///
/// podcov-test ends with its command's own code instead wherever the command ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, nothing lost.
    Done,
    /// 1: tests failed, or a gate failed.
    FellShort,
    /// 2: wrong use: an argument, a file or the environment is not as it must be.
    Usage,
    /// 3: the cluster or a pod could not be reached.
    Unreachable,
    /// 4: incomplete data: something was lost, missing or corrupt.
    Incomplete,
    /// 128 + n: the signal with the number n ended the run.
    Signalled(u8),
    /// The code of a command that was run on the user's behalf.
    Command(u8),
}

impl Exit {
    /// The code as the parent process sees it.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::FellShort => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Incomplete => 4,
            Self::Signalled(signal) => 128 + signal,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error with the exit code of the process and, perhaps, a hint at what the user can do.
///
/// It goes into an [`anyhow::Error`] as context, so that `{:#}` prints the chain as usual.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
}

impl Failure {
    /// A failure with its message: lower case, no trailing dot, naming the thing that failed.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// Adds what the user could do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit code of the process.
    #[must_use]
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What the user could do next.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Gives an error its exit code.
pub trait ResultExt<T> {
    /// Adds what was being done when it failed, and the exit code of the process.
    ///
    /// # Errors
    /// The error itself, with the context added.
    fn or_exit(self, exit: Exit, doing: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> ResultExt<T> for Result<T, E> {
    fn or_exit(self, exit: Exit, doing: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|e| e.into().context(Failure::new(exit, doing)))
    }
}

/// Reads a positive number of seconds, fractions allowed: for clap's `value_parser`.
///
/// # Errors
/// When it is no positive number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let value: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    // Less than a nanosecond becomes zero.
    let duration =
        if value <= 1e9 { Duration::try_from_secs_f64(value).unwrap_or_default() } else { Duration::ZERO };
    if duration.is_zero() { Err("must be above 0, and no more than a billion".into()) } else { Ok(duration) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_failure_keeps_its_code_and_hint_under_more_context() {
        let error = std::io::Error::other("no such file");
        let error: anyhow::Result<()> = Err(error).or_exit(Exit::Incomplete, "cannot read a.out");
        let error = error.context("collecting").unwrap_err();
        assert_eq!(format!("{error:#}"), "collecting: cannot read a.out: no such file");
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit().code(), 4);
    }

    #[test]
    fn codes_are_as_documented() {
        let codes = [Exit::Done, Exit::FellShort, Exit::Usage, Exit::Unreachable, Exit::Incomplete];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4]);
        assert_eq!(Exit::Signalled(2).code(), 130);
        assert_eq!(Exit::Signalled(15).code(), 143);
        assert_eq!(Exit::Command(17).code(), 17);
    }

    #[test]
    fn seconds_are_positive_numbers() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["0", "-1", "x", "inf", "NaN", "", "1e-10", "1e10"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
