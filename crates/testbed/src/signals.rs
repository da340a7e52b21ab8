//! Signals that a fault delays or drops.
//!
//! The `kill` of such a command writes a line to a FIFO that the testbed reads.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::unix::pipe,
};

/// Where an exec's signals go.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    /// When they arrive, if they do.
    pub(crate) after: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Signals {
    fifo: PathBuf,
    routes: Mutex<Vec<Route>>,
}

impl Signals {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let fifo = root.join("signals");
        // The program, as not every Unix has the call in rustix.
        let made = Command::new("mkfifo").arg(&fifo).status()?;
        if !made.success() {
            return Err(io::Error::other(format!("mkfifo {} failed: {made}", fifo.display())));
        }
        Ok(Self { fifo, routes: Mutex::default() })
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

    /// Reads signals until the testbed ends. `deliver` is given each that arrives, and when.
    pub(crate) async fn run(&self, deliver: impl Fn(Route, Duration, Signal)) -> io::Result<()> {
        let reader = pipe::OpenOptions::new().open_receiver(&self.fifo)?;
        // Held open: else the FIFO is at its end whenever no exec has it open.
        let _writer = pipe::OpenOptions::new().open_sender(&self.fifo)?;
        let mut lines = BufReader::new(reader).lines();
        while let Some(line) = lines.next_line().await? {
            let Some((id, signal)) = line.split_once(' ') else { continue };
            let Some(route) = self.look_up(id) else {
                tracing::warn!("a signal that makes no sense: {line}");
                continue;
            };
            if let (Some(after), Some(signal)) = (route.after, parse(signal)) {
                deliver(route, after, signal);
            }
        }
        Ok(())
    }

    fn look_up(&self, id: &str) -> Option<Route> {
        let routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        routes.get(id.parse::<usize>().ok()?).cloned()
    }
}

/// A signal as `kill` takes it: `USR1`, `SIGUSR1` or `10`; 0 is none.
fn parse(text: &str) -> Option<Signal> {
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
    let upper = text.to_ascii_uppercase();
    let upper = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(name, _)| *name == upper).map(|(_, signal)| *signal);
    named.or_else(|| upper.parse().ok().and_then(Signal::from_named_raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signal_names() {
        for text in ["USR1", "SIGUSR1", "sigusr1", &Signal::USR1.as_raw().to_string()] {
            assert_eq!(parse(text), Some(Signal::USR1), "{text}");
        }
        assert_eq!(parse("0"), None);
        assert_eq!(parse("nonsense"), None);
    }
}
