//! Signals that do not go straight to a process: those a fault delays or drops, and those for pods without one.
//!
//! The `kill` of such a command writes a line to a FIFO that the testbed reads.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
    time,
};

use crate::cluster::Cluster;

/// A signal that reached a pod's process by way of the testbed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalRecord {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// The signal's name, without `SIG`.
    pub signal: String,
}

/// Where an exec's signals go.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) delivery: Delivery,
}

#[derive(Clone, Debug)]
pub(crate) enum Delivery {
    After(Duration),
    Never,
}

#[derive(Debug)]
pub(crate) struct Signals {
    fifo: PathBuf,
    routes: Mutex<Vec<Route>>,
    log: Mutex<Vec<SignalRecord>>,
}

impl Signals {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let fifo = root.join("signals");
        // The program, as not every Unix has the call in rustix.
        let made = Command::new("mkfifo").arg(&fifo).status()?;
        if !made.success() {
            return Err(io::Error::other(format!("mkfifo {} failed: {made}", fifo.display())));
        }
        Ok(Self { fifo, routes: Mutex::default(), log: Mutex::default() })
    }

    /// The environment that sends an exec's signals on this route.
    pub(crate) fn route(&self, route: Route) -> [(String, String); 2] {
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.push(route);
        let id = routes.len() - 1;
        [
            ("TESTBED_SIGNALS".to_owned(), self.fifo.to_string_lossy().into_owned()),
            ("TESTBED_EXEC".to_owned(), id.to_string()),
        ]
    }

    pub(crate) fn log(&self) -> Vec<SignalRecord> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look_up(&self, id: &str) -> Option<Route> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.get(id.parse::<usize>().ok()?).cloned()
    }
}

/// Reads and delivers signals until the testbed ends.
pub(crate) async fn run(cluster: Arc<Cluster>) -> io::Result<()> {
    let reader = pipe::OpenOptions::new().open_receiver(&cluster.signals.fifo)?;
    // Held open: else the FIFO is at its end whenever no exec has it open.
    let _writer = pipe::OpenOptions::new().open_sender(&cluster.signals.fifo)?;
    let mut lines = BufReader::new(reader).lines();
    while let Some(line) = lines.next_line().await? {
        let Some((id, signal)) = line.split_once(' ') else { continue };
        let (Some(route), Some((name, signal))) = (cluster.signals.look_up(id), parse(signal)) else {
            tracing::warn!("a signal that makes no sense: {line}");
            continue;
        };
        let Delivery::After(delay) = route.delivery else { continue };
        let delivery = deliver(cluster.clone(), route, name, signal);
        cluster.spawn(async move {
            time::sleep(delay).await;
            delivery.await;
        });
    }
    Ok(())
}

async fn deliver(cluster: Arc<Cluster>, route: Route, name: String, signal: Option<Signal>) {
    let Route { namespace, pod, container, .. } = route;
    let record = SignalRecord { namespace, pod, container, signal: name };
    cluster.kubelet.deliver(&record, signal);
    cluster.signals.log.lock().unwrap_or_else(PoisonError::into_inner).push(record);
}

/// A signal as `kill` takes it: `USR1`, `SIGUSR1` or `10`; 0 is no signal.
fn parse(text: &str) -> Option<(String, Option<Signal>)> {
    const NAMES: [(&str, Signal); 12] = [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("ABRT", Signal::ABORT),
        ("KILL", Signal::KILL),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("CONT", Signal::CONT),
        ("STOP", Signal::STOP),
        ("WINCH", Signal::WINCH),
        ("ALRM", Signal::ALARM),
    ];
    if text == "0" {
        return Some(("0".to_owned(), None));
    }
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_prefix("SIG").unwrap_or(&upper);
    let number = upper.parse().ok().and_then(Signal::from_named_raw);
    let found = NAMES.iter().find(|(name, signal)| *name == upper || Some(*signal) == number);
    found.map(|(name, signal)| ((*name).to_owned(), Some(*signal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_names() {
        for text in ["USR1", "SIGUSR1", "sigusr1", &Signal::USR1.as_raw().to_string()] {
            assert_eq!(parse(text), Some(("USR1".to_owned(), Some(Signal::USR1))), "{text}");
        }
        assert_eq!(parse("0"), Some(("0".to_owned(), None)));
        assert_eq!(parse("nonsense"), None);
    }
}
