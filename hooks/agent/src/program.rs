//! The program: starting it, signalling it, and how it ended.
//!
//! A child inherits which signals are blocked, and the agent blocks all. If it unblocked them to start a child, a signal
//! that came just then would be lost. So the child is this program once more, which unblocks them and then becomes
//! the program ([`become_program`]): signals that came in between are delivered at that moment.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use podcov_cli::say;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, set_parent_process_death_signal, wait,
};
use rustix_libc_wrappers::libc;
use tokio::sync::watch;

use crate::{NAME, signals};

/// The variable that names the folder to a program built with `-cover`.
pub(crate) const GOCOVERDIR: &str = "GOCOVERDIR";

/// Exit codes for a program that was never started, as shells have them.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
pub(crate) const NOT_FOUND: u8 = 127;

/// The state of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It runs, as this process.
    Running(Pid),
    /// It has ended, and may be started again.
    Down(End),
    /// It has ended for good.
    Over(End),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By itself.
    Exit(u8),
    /// By a signal.
    Signal(i32),
}

impl End {
    /// The exit code for it, as in shells.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Exit(code) => code,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(number) => write!(f, "was ended by {}", signals::name(*number)),
        }
    }
}

/// What all parts of the agent that deal with the program share.
pub(crate) struct Program {
    state: watch::Sender<State>,
}

impl Program {
    /// Starts it.
    pub(crate) fn start(command: &[OsString], coverdir: &Path) -> io::Result<(Self, Pid)> {
        let pid = spawn(command, coverdir)?;
        Ok((Self { state: watch::Sender::new(State::Running(pid)) }, pid))
    }

    /// Starts it again.
    pub(crate) fn restart(&self, command: &[OsString], coverdir: &Path) -> io::Result<Pid> {
        let pid = spawn(command, coverdir)?;
        self.state.send_replace(State::Running(pid));
        Ok(pid)
    }

    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// To wait for changes.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Sends it a signal, if it runs.
    pub(crate) fn signal(&self, number: i32) -> io::Result<()> {
        match self.state() {
            State::Running(pid) => signals::send(pid, number),
            State::Down(_) | State::Over(_) => Ok(()),
        }
    }

    /// Whether the program catches or ignores a signal, by number, as the kernel reports it; else the signal would kill it.
    /// A Go program catches all signals once its runtime has started.
    pub(crate) fn handles(&self, number: i32) -> bool {
        let State::Running(pid) = self.state() else { return false };
        let status =
            fs_err::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).unwrap_or_default();
        let masks =
            status.lines().filter_map(|line| line.strip_prefix("SigIgn:").or(line.strip_prefix("SigCgt:")));
        let mut masks = masks.filter_map(|mask| u64::from_str_radix(mask.trim(), 16).ok()).peekable();
        // Where there is no /proc nothing is known.
        masks.peek().is_none() || masks.any(|mask| mask >> (number - 1) & 1 == 1)
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

fn spawn(command: &[OsString], coverdir: &Path) -> io::Result<Pid> {
    let mut own = Command::new("/proc/self/exe");
    // This handle does not wait for it: `reap` does, for all children.
    let agent = getpid().as_raw_nonzero().to_string();
    let child =
        own.args(["exec", "--agent", &agent, "--"]).args(command).env(GOCOVERDIR, coverdir).spawn()?;
    Ok(Pid::from_child(&child))
}

/// Turns this process into the program of the agent with this ID, with no signal blocked. Gives the exit code to end with where
/// that fails: 127 for a program that is not there and 126 for one that cannot be run, as shells have it.
pub(crate) fn become_program(agent: i32, command: &[OsString]) -> u8 {
    let (program, args) =
        command.split_first().map_or((OsStr::new(""), command), |(p, args)| (p.as_os_str(), args));
    // If the agent is killed, its program gets SIGTERM. A container's first process takes all others with it anyway.
    let _ = set_parent_process_death_signal(Some(Signal::TERM));
    if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(agent) {
        // It was killed before that: nobody else would tell. What is blocked is delivered below.
        let _ = signals::send(getpid(), libc::SIGTERM);
    }
    let error = match signals::unblock() {
        Ok(()) => Command::new(program).args(args).exec(),
        Err(error) => error.into(),
    };
    say(NAME, format_args!("error: {} cannot be started: {error}", program.display()));
    if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

/// The new state of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Ended(End),
    /// Stopped, by this signal.
    Stopped(i32),
}

/// Reaps all children that have ended, orphans of the program included, and returns the state of `program`.
pub(crate) fn reap(program: Option<Pid>) -> Option<Fate> {
    let mut fate = None;
    // The only error is that there are no children.
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG | WaitOptions::UNTRACED) {
        if Some(pid) == program {
            fate = fate_of(status).or(fate);
        }
    }
    fate
}

fn fate_of(status: WaitStatus) -> Option<Fate> {
    let number = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    if let Some(code) = status.exit_status() {
        Some(Fate::Ended(End::Exit(number(code))))
    } else if let Some(signal) = status.terminating_signal() {
        Some(Fate::Ended(End::Signal(signal)))
    } else {
        status.stopping_signal().map(Fate::Stopped)
    }
}

/// Stops this process when the terminal has stopped the program, as the shell that waits for it expects, until both are
/// continued. A container's first process cannot be stopped.
pub(crate) fn stop_too(signal: i32) {
    let by_terminal = matches!(signal, libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
    if by_terminal && getpid() != Pid::INIT {
        // It cannot fail: the process is its own.
        let _ = signals::send(getpid(), libc::SIGSTOP);
    }
}
