//! What is done at each interval of `--flush-every`: a snapshot of each process, or, where there can be none, a signal.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use livecov::process::scan::descendants;
use podcov_cli::say;
use rustix::process::Pid;

use crate::NAME;
use crate::control::Agent;
use crate::live_files::Round;
use crate::program::State;

/// Takes what there is at each interval.
#[derive(Default)]
pub(crate) struct Interval {
    /// What was printed why the program cannot be read. It may become another one, as a script does.
    told_unread: Mutex<BTreeSet<String>>,
    /// Whether it was printed why another process cannot.
    told_missing: AtomicBool,
}

impl Interval {
    /// Takes the counters once. `by_signal`: from a program that cannot be read, by a signal.
    pub(crate) async fn take(&self, agent: &Arc<Agent>, by_signal: bool) {
        let Round { unread, missing, .. } = match take_live(agent).await {
            Ok(round) => round,
            Err(error) => {
                say(NAME, format_args!("error: no snapshot was taken: {error}"));
                return;
            }
        };
        if let Some(why) = missing
            && !self.told_missing.swap(true, Ordering::Relaxed)
        {
            say(NAME, format_args!("warning: --flush-every: a snapshot is not complete: {why}"));
        }
        let Some(why) = unread else { return };
        if self.told_unread.lock().is_ok_and(|mut told| told.insert(why.clone())) {
            let instead = if by_signal {
                "the program is signalled instead"
            } else {
                "without --storage nothing else is done before the program ends"
            };
            say(NAME, format_args!("warning: --flush-every: no snapshot could be taken: {why}; {instead}"));
        }
        if by_signal && let Err(why) = agent.flush.flush(&agent.program, None).await {
            say(NAME, format_args!("error: not flushed: {why}"));
        }
    }
}

/// Takes snapshots of all processes that have been started here. In a thread of its own, for a program may have many
/// megabytes of counters.
pub(crate) async fn take_live(agent: &Arc<Agent>) -> io::Result<Round> {
    let program = match agent.program.state() {
        State::Running(pid) => Some(number(pid)),
        State::Down(_) | State::Over(_) => None,
    };
    let live = Arc::clone(&agent.live);
    tokio::task::spawn_blocking(move || live.take(&descendants()?, program))
        .await
        .map_err(io::Error::other)?
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}
