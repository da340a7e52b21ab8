//! Signals: kept from acting on the agent, read one by one, and passed on by number.

use std::io;

use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd, siginfo};
use podcov_control::Signal as Named;
use rustix::fd::AsFd;
use rustix::process::{Pid, Signal, getpid, kill_process};
use rustix_libc_wrappers::libc;
use rustix_libc_wrappers::process::SignalExt;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::signal::unix::SignalKind;

/// `si_code` of a signal from the kernel (`sigaction(2)`).
const SI_KERNEL: i32 = 0x80;

/// Proof that every signal that can be blocked is blocked.
pub(crate) struct Blocked(SignalFd);

/// The signals of this process, from a signalfd, which is read like a pipe.
pub(crate) struct Signals(pipe::Receiver);

/// A signal that has arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalEvent {
    /// SIGCHLD: a child has ended or stopped. `forward`: another process sent it, so the program gets it too. Two at once
    /// may arrive as one.
    Child { forward: bool },
    /// A signal for the program, by number.
    Forward(i32),
    /// A signal that the program must not get from the agent, by number: the kernel sent it to this process alone, or to
    /// a terminal's foreground group, to which the program belongs; or it is the agent's own SIGPIPE, whose reader has
    /// gone.
    Ignore(i32),
}

/// Blocks all signals, in this thread and in all threads and processes that it starts.
pub(crate) fn block() -> nix::Result<Blocked> {
    let all = SigSet::all();
    all.thread_block()?;
    SignalFd::with_flags(&all, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).map(Blocked)
}

/// Unblocks them again.
pub(crate) fn unblock() -> nix::Result<()> {
    SigSet::all().thread_unblock()
}

impl Signals {
    /// Must be called in the async runtime.
    pub(crate) fn new(blocked: &Blocked) -> io::Result<Self> {
        // The parent may have set SIGCHLD to be ignored: then the kernel would reap the children silently. This handler
        // is never called, because the signal is blocked.
        drop(tokio::signal::unix::signal(SignalKind::child())?);
        pipe::Receiver::from_owned_fd_unchecked(blocked.0.as_fd().try_clone_to_owned()?).map(Self)
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> io::Result<SignalEvent> {
        // A read gives one `struct signalfd_siginfo` or more, always whole ones.
        let mut info = [0; size_of::<siginfo>()];
        self.0.read_exact(&mut info).await?;
        // Its first fields are ssi_signo, ssi_errno, ssi_code and ssi_pid.
        let [signo, _, code, sender, ..] = info.as_chunks::<4>().0 else { return Ok(SignalEvent::Ignore(0)) };
        let [signo, code, sender] = [signo, code, sender].map(|field| i32::from_ne_bytes(*field));
        Ok(event(signo, code, sender == getpid().as_raw_nonzero().get()))
    }
}

/// What a signal means for the program. `own`: this process sent it (for SIGCHLD the field names the child).
fn event(number: i32, code: i32, own: bool) -> SignalEvent {
    let by_kernel = code == SI_KERNEL;
    match number {
        _ if own && code <= 0 => SignalEvent::Ignore(number),
        libc::SIGCHLD => SignalEvent::Child { forward: code <= 0 },
        // A terminal that closes signals only the session's first process.
        libc::SIGHUP | libc::SIGCONT => SignalEvent::Forward(number),
        _ if by_kernel => SignalEvent::Ignore(number),
        _ => SignalEvent::Forward(number),
    }
}

/// Sends a signal by its number, real-time ones included.
pub(crate) fn send(pid: Pid, number: i32) -> io::Result<()> {
    let signal = Signal::from_named_raw(number).or_else(|| Signal::rt(number - libc::SIGRTMIN()));
    let signal = signal.ok_or_else(|| io::Error::other(format!("signal {number} cannot be sent")))?;
    Ok(kill_process(pid, signal)?)
}

/// Whether a signal asks the program to end: then it is not restarted, and the deadline starts.
pub(crate) fn is_stop(number: i32) -> bool {
    matches!(number, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
}

/// Whether a program may well handle a signal, write its counters, and then end by the same signal.
pub(crate) fn is_request_to_end(number: i32) -> bool {
    matches!(number, libc::SIGHUP | libc::SIGINT | libc::SIGTERM)
}

/// The name of a signal, for people.
pub(crate) fn name(number: i32) -> String {
    Named::of(number).map_or_else(|| format!("signal {number}"), |signal| signal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_agent_raised_itself_is_not_for_the_program() {
        // As the kernel sends it to the writer of a pipe without a reader: SI_USER, from the process itself.
        assert_eq!(event(libc::SIGPIPE, 0, true), SignalEvent::Ignore(libc::SIGPIPE));
        assert_eq!(event(libc::SIGPIPE, 0, false), SignalEvent::Forward(libc::SIGPIPE));
        assert_eq!(event(libc::SIGXFSZ, 0, true), SignalEvent::Ignore(libc::SIGXFSZ));
        assert_eq!(event(libc::SIGCHLD, 1, false), SignalEvent::Child { forward: false });
    }

    #[test]
    fn the_numbers_are_this_systems() {
        for (name, number) in [
            ("TERM", libc::SIGTERM),
            ("USR1", libc::SIGUSR1),
            ("SYS", libc::SIGSYS),
            ("RTMIN", libc::SIGRTMIN()),
            ("RTMAX", libc::SIGRTMAX()),
        ] {
            assert_eq!(name.parse().map(Named::number), Ok(number));
        }
        assert_eq!(name(libc::SIGTERM), "SIGTERM");
    }
}
