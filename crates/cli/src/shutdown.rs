//! Requests to stop: Ctrl-C and other signals. A [`Shutdown`] gives them in order. Most programs stop at the first;
//! podcov-test also acts on the second.

use podcov_exit::Exit;
use tokio::sync::watch;

/// The number of SIGINT.
pub const INTERRUPT: u8 = 2;

/// A request to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The number of the signal that was sent: SIGINT, SIGTERM, SIGHUP or SIGQUIT.
    pub signal: u8,
    /// Whether the terminal sent it, so that every process of its foreground group has got it.
    pub from_terminal: bool,
}

/// Tells a run that it should stop. All clones give the same requests.
#[derive(Debug, Clone)]
pub struct Shutdown {
    requests: watch::Receiver<Vec<Request>>,
}

impl Shutdown {
    /// Starts to listen for signals. From now on they do not end the process by themselves.
    ///
    /// # Errors
    /// When the operating system refuses a handler.
    pub fn on_signals() -> std::io::Result<Self> {
        let (sender, requests) = watch::channel(Vec::new());
        listen(sender)?;
        Ok(Self { requests })
    }

    /// The number of the first request's signal, now or when it comes.
    pub async fn requested(&self) -> u8 {
        self.nth(0).await.signal
    }

    /// The request number `n`, counted from 0, now or when it comes. It may never come.
    pub async fn nth(&self, n: usize) -> Request {
        let mut requests = self.requests.clone();
        let request = requests.wait_for(|all| all.len() > n).await.ok().and_then(|all| all.get(n).copied());
        match request {
            Some(request) => request,
            None => std::future::pending().await,
        }
    }

    /// Runs `work` unless the first request comes before it is done.
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

/// Who sent a signal.
#[cfg(unix)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Terminal,
    Parent,
    Other,
}

/// Tells which signals are requests of their own.
///
/// One Ctrl-C may come twice. The terminal sends SIGINT to all processes of its foreground group, and a parent process
/// among them may pass its own on, as SIGINT or as another signal. So as many signals of the parent as the terminal has
/// sent, and the other way round, are no further requests.
#[cfg(unix)]
#[derive(Debug, Default)]
struct Counts {
    terminal: usize,
    parent: usize,
}

#[cfg(unix)]
impl Counts {
    fn is_request(&mut self, sender: Sender) -> bool {
        let before = self.terminal.max(self.parent);
        match sender {
            Sender::Terminal => self.terminal += 1,
            Sender::Parent => self.parent += 1,
            Sender::Other => return true,
        }
        self.terminal.max(self.parent) > before
    }
}

#[cfg(unix)]
fn listen(sender: watch::Sender<Vec<Request>>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    use signal_hook::iterator::SignalsInfo;
    use signal_hook::iterator::exfiltrator::WithOrigin;

    let mut signals = SignalsInfo::<WithOrigin>::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let mut counts = Counts::default();
        for origin in signals.forever() {
            let signal = u8::try_from(origin.signal).expect("the number of one of these signals");
            let from = match origin.process {
                // Without a sending process the signal comes from the kernel, that is, from the terminal.
                None => Sender::Terminal,
                Some(process) if u32::try_from(process.pid) == Ok(std::os::unix::process::parent_id()) => {
                    Sender::Parent
                }
                Some(_) => Sender::Other,
            };
            if counts.is_request(from) {
                let request = Request { signal, from_terminal: from == Sender::Terminal };
                sender.send_modify(|all| all.push(request));
            }
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn listen(sender: watch::Sender<Vec<Request>>) -> std::io::Result<()> {
    // Windows has only Ctrl-C, which goes to every process of the console.
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            let request = Request { signal: INTERRUPT, from_terminal: true };
            sender.send_modify(|all| all.push(request));
        }
    });
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// For each signal, whether it is a request of its own.
    fn requests(senders: &[Sender]) -> Vec<bool> {
        let mut counts = Counts::default();
        senders.iter().map(|&sender| counts.is_request(sender)).collect()
    }

    #[test]
    fn one_ctrl_c_is_one_request() {
        use Sender::{Other, Parent, Terminal};
        assert_eq!(requests(&[Terminal, Parent]), [true, false]);
        assert_eq!(requests(&[Parent, Terminal]), [true, false]);
        // Two are two, however they are mixed.
        assert_eq!(requests(&[Terminal, Terminal]), [true, true]);
        assert_eq!(requests(&[Parent, Parent]), [true, true]);
        assert_eq!(requests(&[Terminal, Parent, Terminal, Parent]), [true, false, true, false]);
        assert_eq!(requests(&[Terminal, Terminal, Parent, Parent]), [true, true, false, false]);
        // Nobody else passes the terminal's on.
        assert_eq!(requests(&[Terminal, Other, Other]), [true, true, true]);
    }
}
