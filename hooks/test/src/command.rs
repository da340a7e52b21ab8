//! The user's command, and how it ended.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use podcov_exit::{Exit, Failure, ResultExt};

use crate::process::ended_by;

/// The command to run.
pub(crate) struct Command<'a> {
    pub(crate) program: &'a OsStr,
    pub(crate) arguments: &'a [OsString],
    /// Variables in addition to podcov-test's own environment.
    pub(crate) environment: &'a BTreeMap<String, String>,
    /// How long the command may take to end after a signal.
    pub(crate) grace: Duration,
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandEnd {
    /// Its exit code, or 128 + n when signal n ended it.
    pub code: u8,
    /// A signal asked this process to end, so the code says nothing about the tests.
    pub interrupted: bool,
}

impl CommandEnd {
    /// Whether the code is that of tests which ran to their end.
    #[must_use]
    pub fn has_tested(self) -> bool {
        // As in a shell, these tell that the command was not found or cannot be run: no test has failed.
        !self.interrupted && !matches!(self.code, 126 | 127)
    }
}

pub(crate) fn ended(status: io::Result<ExitStatus>, interrupted: bool) -> Result<CommandEnd> {
    let status = status.or_exit(Exit::FellShort, "cannot wait for the command")?;
    Ok(CommandEnd { code: code(status), interrupted })
}

/// What is printed when `who` has not ended within the grace.
pub(crate) fn killed_late(who: &str, grace: Duration) -> String {
    format!("killed {who}, which still ran {}s after it was told to stop (--grace)", grace.as_secs_f64())
}

/// The exit code, or 128 + n when signal n ended the process, as shells have it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| ended_by(status).map(|n| 128 + n));
    code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1)
}

/// 127 where there is no such program, 126 where it cannot be run, as shells have it.
pub(crate) fn cannot_start(program: &OsStr, error: &io::Error) -> anyhow::Error {
    let program = program.to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::new(Exit::Command(127), format!("{program}: command not found"))
            .with_hint("the command after -- is run as it is, without a shell: is it on PATH?")
            .into();
    }
    Failure::new(Exit::Command(126), format!("{program}: cannot be run: {error}")).into()
}
