//! The user's command: started, sent the signals that podcov-test gets, and not left behind.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use podcov_cli::{Exit, Failure, Shutdown};
use tokio::time::Instant;

use crate::family::{self, Family};

/// How the command ended.
pub(crate) struct Ended {
    /// Its exit code, or 128 + n when signal n ended it.
    pub(crate) code: u8,
    /// A signal asked podcov-test to end, so the code says nothing about the tests.
    pub(crate) interrupted: bool,
}

/// Runs the command to its end.
pub(crate) async fn run(
    program: &OsStr,
    arguments: &[OsString],
    environment: &BTreeMap<String, String>,
    grace: Duration,
    shutdown: &Shutdown,
) -> Result<Ended> {
    let mut family = Family::start(program, arguments, environment).map_err(|e| cannot_start(program, &e))?;
    let mut signals = 0;
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        tokio::select! {
            status = family.wait() => break status,
            signal = shutdown.nth(signals) => {
                signals += 1;
                if signals > 1 {
                    family.kill();
                } else {
                    family.hand_on(signal);
                    kill_at = Some(Instant::now() + grace);
                }
            }
            () = tokio::time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                family.kill();
                kill_at = None;
            }
        }
    };
    if signals > 0 {
        // The command is gone, but what it started may have outlived it.
        family.kill();
    }
    let status =
        status.map_err(|e| Failure::new(Exit::FellShort, format!("cannot wait for the command: {e}")))?;
    Ok(Ended { code: code(status), interrupted: signals > 0 })
}

/// What the guard does: runs the command, and passes on how it ended.
#[cfg(unix)]
pub(crate) async fn run_guarded(arguments: &[OsString]) -> Result<Exit> {
    let program = arguments.get(1).map(OsString::as_os_str).unwrap_or_default();
    let mut child = family::start_guarded(arguments).map_err(|e| cannot_start(program, &e))?;
    Ok(Exit::Command(code(child.wait().await?)))
}

/// The exit code, or 128 + n when signal n ended the process, as shells have it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| family::ended_by(status).map(|n| 128 + n));
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
