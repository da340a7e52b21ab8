//! Ctrl-C and termination. The first signal asks the run to stop; a second one ends the process at once.

use tokio::sync::watch;

use crate::Exit;

/// What asked the process to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C, and what Skaffold sends to a hook when a run is cancelled (2 seconds before it kills).
    Interrupt,
    /// The polite request to end, as `kill` sends it.
    Terminate,
    /// The terminal went away.
    Hangup,
    /// Ctrl-\.
    Quit,
}

impl Signal {
    /// The number that POSIX systems give it.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Hangup => 1,
            Self::Interrupt => 2,
            Self::Quit => 3,
            Self::Terminate => 15,
        }
    }
}

/// Tells a run that it should stop. Clones all see the same signals.
#[derive(Debug, Clone)]
pub struct Shutdown {
    signals: watch::Receiver<Vec<Signal>>,
}

impl Shutdown {
    /// Starts to listen for signals; from now on they no longer end the process by themselves.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let (sender, signals) = watch::channel(Vec::new());
        listen(sender)?;
        Ok(Self { signals })
    }

    /// One whose signals come from `signals`: for tests and for callers that are no process of their own.
    #[must_use]
    pub fn from_channel(signals: watch::Receiver<Vec<Signal>>) -> Self {
        Self { signals }
    }

    /// One that never asks.
    #[must_use]
    pub fn never() -> Self {
        Self { signals: watch::channel(Vec::new()).1 }
    }

    /// The first signal, now or when it comes.
    pub async fn requested(&self) -> Signal {
        self.nth(0).await
    }

    /// The signal number `n`, counted from 0, now or when it comes. It may never come.
    pub async fn nth(&self, n: usize) -> Signal {
        let mut signals = self.signals.clone();
        let wanted = signals.wait_for(|all| all.len() > n).await.ok().and_then(|all| all.get(n).copied());
        match wanted {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// Runs `work` unless the first signal comes before it is done.
    ///
    /// # Errors
    /// [`Exit::Signalled`] when it came; `work` is dropped then.
    pub async fn or_stop<T>(&self, work: impl Future<Output = T>) -> Result<T, Exit> {
        tokio::select! {
            biased;
            signal = self.requested() => Err(Exit::Signalled(signal)),
            done = work => Ok(done),
        }
    }
}

#[cfg(unix)]
fn listen(sender: watch::Sender<Vec<Signal>>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut quit = signal(SignalKind::quit())?;
    tokio::spawn(async move {
        loop {
            let came = tokio::select! {
                Some(()) = interrupt.recv() => Signal::Interrupt,
                Some(()) = terminate.recv() => Signal::Terminate,
                Some(()) = hangup.recv() => Signal::Hangup,
                Some(()) = quit.recv() => Signal::Quit,
                else => return,
            };
            sender.send_modify(|all| all.push(came));
        }
    });
    Ok(())
}

#[cfg(not(unix))]
fn listen(sender: watch::Sender<Vec<Signal>>) -> std::io::Result<()> {
    // Windows has Ctrl-C alone; Skaffold kills hooks there at once.
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            sender.send_modify(|all| all.push(Signal::Interrupt));
        }
    });
    Ok(())
}
