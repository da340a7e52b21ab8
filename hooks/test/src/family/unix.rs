//! Process groups, and a guard over them.
//!
//! A hook can be killed at any moment: Skaffold's cancel comes as SIGKILL, with next to no warning. What the
//! command had started would live on, and Skaffold would wait for it, for it holds the hook's output open. So the
//! command runs in a process group of its own under a guard, which is this same program: the guard holds one end
//! of a pipe whose other end dies with podcov-test, and then kills the group.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use fs_err as fs;
use podcov_cli::Signal;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{self, Pid};
use tokio::process::{Child, Command};

/// The first argument of a guard. No target looks like this, and no user need know.
pub(crate) const GUARD: &str = "--guard-command-while-open";

/// The command and all that it starts.
pub(crate) struct Family {
    child: Child,
    /// The process group, where the command has one of its own.
    ///
    /// Not so at a terminal: a background group could not read from it, and Ctrl-C reaches every process of the
    /// foreground group anyway.
    group: Option<Pid>,
    /// As long as this is open podcov-test lives.
    _alive: Option<OwnedFd>,
}

impl Family {
    pub(crate) fn start(
        program: &OsStr,
        arguments: &[OsString],
        environment: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        if io::stdin().is_terminal() {
            let child = Command::new(program).args(arguments).envs(environment).kill_on_drop(true).spawn()?;
            return Ok(Self { child, group: None, _alive: None });
        }
        let (dies_with_us, alive) = rustix::pipe::pipe()?;
        fcntl_setfd(&alive, FdFlags::CLOEXEC)?;
        let mut guard = Command::new(std::env::current_exe()?);
        guard.arg(GUARD).arg(dies_with_us.as_raw_fd().to_string()).arg(program).args(arguments);
        let child = guard.envs(environment).process_group(0).kill_on_drop(true).spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group, _alive: Some(alive) })
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    pub(crate) fn hand_on(&self, signal: Signal) {
        let signal = match signal {
            Signal::Interrupt => process::Signal::INT,
            Signal::Terminate => process::Signal::TERM,
            Signal::Hangup => process::Signal::HUP,
            Signal::Quit => process::Signal::QUIT,
        };
        // That nobody is left to get it is just what was wanted, here and below.
        let _ = match (self.group, self.child.id().and_then(|id| Pid::from_raw(id.cast_signed()))) {
            (Some(group), _) => process::kill_process_group(group, signal),
            // The terminal has sent these two to the command already.
            (None, _) if matches!(signal, process::Signal::INT | process::Signal::QUIT) => Ok(()),
            (None, Some(pid)) => process::kill_process(pid, signal),
            (None, None) => Ok(()),
        };
    }

    pub(crate) fn kill(&mut self) {
        let _ = match self.group {
            Some(group) => process::kill_process_group(group, process::Signal::KILL).map_err(io::Error::from),
            None => self.child.start_kill(),
        };
    }
}

pub(crate) fn ended_by(status: ExitStatus) -> Option<i32> {
    status.signal()
}

/// Starts the command as its guard, whose own arguments these are, and kills the group when podcov-test is gone.
///
/// The guard outlives every signal but SIGKILL: it is the command that they are meant for.
///
/// # Errors
/// When the command cannot be started.
pub(crate) fn start_guarded(arguments: &[OsString]) -> io::Result<Child> {
    let [pipe, program, rest @ ..] = arguments else { return Err(io::ErrorKind::InvalidInput.into()) };
    // A file of the guard's own, so that the command does not inherit it. The end it was given stays open in
    // both, which is no harm: it is the reading end.
    let mut dies_with_parent = fs::File::open(format!("/dev/fd/{}", pipe.to_string_lossy()))?;
    std::thread::Builder::new().spawn(move || {
        // Nobody ever writes: this ends when the other end closes.
        let _ = dies_with_parent.read(&mut [0]);
        let _ = process::kill_process_group(process::getpgrp(), process::Signal::KILL);
    })?;
    Command::new(program).args(rest).spawn()
}
