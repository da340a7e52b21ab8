//! What only Unix can do with a process. Elsewhere it gets no signal, so it has `--grace` to end by itself and is then
//! killed.

use std::process::ExitStatus;

use tokio::process::Child;

/// Sends a process a signal, by its number.
#[cfg(unix)]
pub(crate) fn pass_on(child: &Child, signal: u8) {
    use rustix::process::{Pid, Signal, kill_process};
    let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(signal.into())) {
        // It may have ended in the meantime.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(not(unix))]
pub(crate) fn pass_on(_child: &Child, _signal: u8) {}

/// The signal that ended a process.
#[cfg(unix)]
pub(crate) fn ended_by(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
pub(crate) fn ended_by(_status: ExitStatus) -> Option<i32> {
    None
}
