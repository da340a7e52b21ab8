//! The user's command: started, sent the signals that podcov-test gets, and not left behind.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use podcov_cli::{Exit, Failure, Shutdown};
use tokio::process::Command;
use tokio::time::Instant;

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
    let mut command = Command::new(program);
    command.args(arguments).envs(environment).kill_on_drop(true);
    let family = os::Family::prepare(&mut command);
    let mut child = command.spawn().map_err(|e| cannot_start(program, &e))?;
    let family = family.of(&child);

    let mut signals = 0;
    let mut kill_at: Option<Instant> = None;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            signal = shutdown.nth(signals) => {
                signals += 1;
                if signals > 1 {
                    family.kill(&mut child);
                } else {
                    family.hand_on(signal);
                    kill_at = Some(Instant::now() + grace);
                }
            }
            () = tokio::time::sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => {
                family.kill(&mut child);
                kill_at = None;
            }
        }
    };
    let interrupted = signals > 0;
    if interrupted {
        // The command is gone, but what it started may have outlived it.
        family.kill_the_rest();
    }
    let status = status.map_err(|e| Failure::new(Exit::FellShort, format!("cannot wait for the command: {e}")))?;
    Ok(Ended { code: os::code(status), interrupted })
}

/// 127 where there is no such program, 126 where it cannot be run, as shells have it.
fn cannot_start(program: &OsStr, error: &io::Error) -> anyhow::Error {
    let program = program.to_string_lossy();
    if error.kind() == io::ErrorKind::NotFound {
        return Failure::new(Exit::Command(127), format!("{program}: command not found"))
            .with_hint("the command after -- is run as it is, without a shell: is it on PATH?")
            .into();
    }
    Failure::new(Exit::Command(126), format!("{program}: cannot be run: {error}")).into()
}

/// What differs between operating systems.
#[cfg(unix)]
mod os {
    use std::io::IsTerminal;
    use std::os::unix::process::ExitStatusExt;

    use podcov_cli::Signal;
    use rustix::process::{self, Pid};
    use tokio::process::{Child, Command};

    use super::ExitStatus;

    /// The command and all that it starts.
    pub(super) struct Family {
        pid: Option<Pid>,
        /// The command leads a process group of its own.
        ///
        /// Not so at a terminal: a background group could not read from it, and Ctrl-C reaches every process of
        /// the foreground group anyway.
        own_group: bool,
    }

    impl Family {
        pub(super) fn prepare(command: &mut Command) -> Self {
            let own_group = !std::io::stdin().is_terminal();
            if own_group {
                command.process_group(0);
            }
            Self { pid: None, own_group }
        }

        pub(super) fn of(self, child: &Child) -> Self {
            let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            Self { pid, ..self }
        }

        pub(super) fn hand_on(&self, signal: Signal) {
            // The terminal has sent these two to the command already.
            if self.own_group || !matches!(signal, Signal::Interrupt | Signal::Quit) {
                self.send(match signal {
                    Signal::Interrupt => process::Signal::INT,
                    Signal::Terminate => process::Signal::TERM,
                    Signal::Hangup => process::Signal::HUP,
                    Signal::Quit => process::Signal::QUIT,
                });
            }
        }

        pub(super) fn kill(&self, child: &mut Child) {
            // That nobody is left to get it is just what was wanted, here and below.
            let _ = child.start_kill();
            self.kill_the_rest();
        }

        pub(super) fn kill_the_rest(&self) {
            if self.own_group {
                self.send(process::Signal::KILL);
            }
        }

        fn send(&self, signal: process::Signal) {
            let Some(pid) = self.pid else { return };
            let _ = if self.own_group {
                process::kill_process_group(pid, signal)
            } else {
                process::kill_process(pid, signal)
            };
        }
    }

    pub(super) fn code(status: ExitStatus) -> u8 {
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
        code.and_then(|c| u8::try_from(c).ok()).unwrap_or(1)
    }
}

/// Elsewhere a command cannot be sent signals: it is left to end by itself, and killed when its grace is over.
#[cfg(not(unix))]
mod os {
    use podcov_cli::Signal;
    use tokio::process::{Child, Command};

    use super::ExitStatus;

    pub(super) struct Family;

    impl Family {
        pub(super) fn prepare(_command: &mut Command) -> Self {
            Self
        }

        pub(super) fn of(self, _child: &Child) -> Self {
            self
        }

        pub(super) fn hand_on(&self, _signal: Signal) {}

        pub(super) fn kill(&self, child: &mut Child) {
            let _ = child.start_kill();
        }

        pub(super) fn kill_the_rest(&self) {}
    }

    pub(super) fn code(status: ExitStatus) -> u8 {
        status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)
    }
}
