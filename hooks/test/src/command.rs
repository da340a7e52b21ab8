//! The user's command: started, told to stop when podcov-test is, and not left behind.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use podcov_cli::{Shutdown, say};
use podcov_exit::{Exit, Failure, ResultExt};
use tokio::time::Instant;

use crate::{NAME, guard};

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
pub(crate) struct Ended {
    /// Its exit code, or 128 + n when signal n ended it.
    pub(crate) code: u8,
    /// A signal asked podcov-test to end, so the code says nothing about the tests.
    pub(crate) interrupted: bool,
}

/// Runs the command to its end.
///
/// The first signal that podcov-test gets goes to the command, which is killed when the grace is over. At the second it
/// is killed at once.
pub(crate) async fn run(command: &Command<'_>, shutdown: &Shutdown) -> Result<Ended> {
    if guard::is_needed() { guard::run(command, shutdown).await } else { run_here(command, shutdown).await }
}

/// Runs the command in podcov-test's own process group, which has the terminal.
async fn run_here(command: &Command<'_>, shutdown: &Shutdown) -> Result<Ended> {
    let Command { program, arguments, environment, grace } = command;
    let mut child = tokio::process::Command::new(program);
    let child = child.args(*arguments).envs(*environment).kill_on_drop(true).spawn();
    let mut child = child.map_err(|e| cannot_start(program, &e))?;
    let mut requests = 0;
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            request = shutdown.nth(requests) => {
                requests += 1;
                if requests == 1 {
                    // The terminal has sent its signal to the command, too.
                    if !request.from_terminal {
                        guard::hand_on(&child, request.signal);
                    }
                    kill_at = Some(Instant::now() + *grace);
                    continue;
                }
            }
            () = tokio::time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                say(NAME, killed_late(&program.to_string_lossy(), *grace));
            }
        }
        kill_at = None;
        // It may have ended in the meantime.
        let _ = child.start_kill();
    };
    ended(status, requests > 0)
}

pub(crate) fn ended(status: io::Result<ExitStatus>, interrupted: bool) -> Result<Ended> {
    let status = status.or_exit(Exit::FellShort, "cannot wait for the command")?;
    Ok(Ended { code: code(status), interrupted })
}

/// What is printed when `who` has not ended within the grace.
pub(crate) fn killed_late(who: &str, grace: Duration) -> String {
    format!("killed {who}, which still ran {}s after it was told to stop (--grace)", grace.as_secs_f64())
}

/// The exit code, or 128 + n when signal n ended the process, as shells have it.
pub(crate) fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| guard::ended_by(status).map(|n| 128 + n));
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
