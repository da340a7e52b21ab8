//! Starting a cluster's keeper and ending it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::CONTEXT;
use crate::keeper::{READY, REGISTRY};
use crate::{Folder, lock};

/// How a running cluster is reached.
#[derive(Debug)]
pub struct Access {
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
    /// Its context.
    pub context: String,
    /// The registry's host and port, the same on this machine and for the node.
    pub registry: String,
    /// The folder with the manifests of the node's static pods.
    pub static_pods: PathBuf,
}

impl Access {
    fn read(folder: &Folder) -> Result<Self> {
        let registry =
            fs::read_to_string(folder.state().join(REGISTRY)).context("the cluster is not ready yet")?;
        let (kubeconfig, static_pods) = (folder.kubeconfig(), folder.static_pods());
        Ok(Self { kubeconfig, context: CONTEXT.to_owned(), registry, static_pods })
    }

    /// The variables by which the end-to-end tests find a cluster.
    #[must_use]
    pub fn environment(&self) -> [(&'static str, OsString); 4] {
        [
            ("KUBECONFIG", self.kubeconfig.clone().into()),
            ("PODCOV_E2E_CONTEXT", self.context.clone().into()),
            ("PODCOV_E2E_REGISTRY", self.registry.clone().into()),
            ("PODCOV_E2E_STATIC_PODS", self.static_pods.clone().into()),
        ]
    }
}

/// Starts a cluster that stays until [`down`], unless one runs already.
///
/// # Errors
/// Why no cluster could be started.
pub async fn up(folder: &Folder) -> Result<Access> {
    if lock::holder(folder)?.is_none() {
        start(folder, Stdio::null(), true).await?;
    }
    Access::read(folder)
}

/// Ends the cluster and waits until all of it is gone. That there is none is no error.
///
/// # Errors
/// When its keeper may not be signalled.
pub async fn down(folder: &Folder) -> Result<()> {
    let Some(keeper) = lock::holder(folder)? else { return Ok(()) };
    if geteuid().is_root() {
        kill_process(keeper, Signal::TERM)?;
    } else {
        let status = as_root("kill").arg(keeper.as_raw_nonzero().to_string()).status().await?;
        ensure!(status.success(), "cannot end the cluster's keeper, process {keeper}: {status}");
    }
    gone(folder).await
}

/// Runs a command with a cluster there, and ends the cluster after it, however it ends; one that was there before
/// stays. A signal goes on to the command.
///
/// # Errors
/// Why there is no cluster, or why the command could not be run.
pub async fn with(folder: &Folder, command: &[OsString]) -> Result<ExitStatus> {
    let mut signals = Signals::listen()?;
    let kept = match lock::holder(folder)? {
        Some(_) => None,
        None => {
            let (reader, lifeline) = io::pipe()?;
            tokio::select! {
                keeper = start(folder, reader.into(), false) => Some((keeper?, lifeline)),
                // With the lifeline the keeper ends, wherever it was.
                signal = signals.next() => {
                    drop(lifeline);
                    gone(folder).await?;
                    bail!("ended by {signal:?}");
                }
            }
        }
    };
    let ended = run(folder, command, &mut signals).await;
    if let Some((mut keeper, lifeline)) = kept {
        drop(lifeline);
        keeper.wait().await?;
    }
    ended
}

/// Waits until no keeper is there, and so nothing of a cluster.
///
/// # Errors
/// When its lock cannot be looked at.
pub async fn gone(folder: &Folder) -> Result<()> {
    let folder = folder.clone();
    tokio::task::spawn_blocking(move || lock::released(&folder)).await?
}

/// Starts the keeper and waits until its cluster is ready.
async fn start(folder: &Folder, stdin: Stdio, stay: bool) -> Result<Child> {
    let program = std::env::current_exe()?;
    let mut command = if geteuid().is_root() {
        Command::new(program)
    } else {
        // Asked before, so that the one line says what to do.
        let allowed = as_root("true").stderr(Stdio::null()).status().await;
        ensure!(
            allowed.is_ok_and(|status| status.success()),
            "the cluster needs root, for namespaces, mounts and a bridge: run this as root, or `sudo -v` before, or \
             name another cluster in PODCOV_E2E_CONTEXT",
        );
        as_root(program)
    };
    let said = folder.path().join("keeper.log");
    command.arg("--folder").arg(folder.path()).arg("keep");
    if stay {
        command.arg("--stay");
    }
    // A group of its own: Ctrl-C is for the starter, which then ends the cluster in order.
    command
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(fs::File::create(&said)?.into_parts().0)
        .process_group(0);
    let mut keeper = command.spawn().context("cannot start the cluster's keeper")?;
    let mut line = String::new();
    if let Some(out) = keeper.stdout.take() {
        BufReader::new(out).read_line(&mut line).await?;
    }
    if line.trim_end() != READY {
        keeper.wait().await?;
        bail!("{}", fs::read_to_string(&said)?.trim());
    }
    Ok(keeper)
}

/// A command as root, by sudo, which must not ask for a password: it could not be answered.
fn as_root(program: impl Into<OsString>) -> Command {
    let mut command = Command::new("sudo");
    command.arg("--non-interactive").arg(program.into());
    command
}

async fn run(folder: &Folder, command: &[OsString], signals: &mut Signals) -> Result<ExitStatus> {
    let (program, args) = command.split_first().context("no command")?;
    let access = Access::read(folder)?;
    // If this process is killed it can pass nothing on: then the kernel signals the command.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program).args(args).envs(access.environment());
    let mut child = command.spawn().context("cannot run setpriv, of the package util-linux")?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            signal = signals.next() => {
                if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                    kill_process(pid, signal)?;
                }
            }
        }
    }
}

/// The signals that ask for an end.
struct Signals([(Signal, tokio::signal::unix::Signal); 3]);

impl Signals {
    fn listen() -> Result<Self> {
        Ok(Self([
            (Signal::INT, signal(SignalKind::interrupt())?),
            (Signal::TERM, signal(SignalKind::terminate())?),
            (Signal::HUP, signal(SignalKind::hangup())?),
        ]))
    }

    async fn next(&mut self) -> Signal {
        let [(int, a), (term, b), (hup, c)] = &mut self.0;
        tokio::select! {
            _ = a.recv() => *int,
            _ = b.recv() => *term,
            _ = c.recv() => *hup,
        }
    }
}
