//! Runs the command without a guard: at a terminal, and on systems without process groups.

use anyhow::Result;
use podcov_cli::{Shutdown, say};
use tokio::time::Instant;

use crate::args::NAME;
use crate::command::{Command, CommandEnd, cannot_start, ended, killed_late};
use crate::process::pass_on;

/// Runs the command in podcov-test's own process group, which has the terminal.
pub(crate) async fn run(command: &Command<'_>, shutdown: &Shutdown) -> Result<CommandEnd> {
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
                        pass_on(&child, request.signal);
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
