//! The process that makes a cluster, holds it, and takes all of it away again.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fs_err as fs;
use kube::Client;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::config::{self, Ports};
use crate::lock::Lock;
use crate::{Folder, Image, client, host, names};

/// What it prints when the cluster is ready.
pub(crate) const READY: &str = "ready";
/// The file of the state that holds the registry's address, there once the cluster is ready.
pub(crate) const REGISTRY: &str = "registry-address";
/// The messages of process 1.
const INIT_LOG: &str = "init.log";

/// How long the cluster may take to start.
const HUNG: Duration = Duration::from_secs(180);

/// Makes a cluster and keeps it until a signal, or, if `stay` is false, until its standard input ends.
///
/// # Errors
/// What went wrong. Whatever it is, nothing stays behind but the logs.
pub async fn keep(folder: &Folder, stay: bool) -> Result<()> {
    let lock = Lock::take(folder)?;
    // What a keeper has left that was killed.
    host::clean(folder)?;
    fs::create_dir_all(folder.logs())?;
    let mut init = None;
    let kept = tokio::select! {
        kept = hold(folder, &mut init) => kept,
        ended = told_to_end(stay) => ended,
    };
    if let Some(Init { mut process, lifeline }) = init {
        drop(lifeline);
        process.wait().await?;
    }
    let cleaned = host::clean(folder).and_then(|()| give_to_owner(folder, &folder.logs()));
    lock.release()?;
    kept.and(cleaned)
}

/// The process that everything of the cluster ends with.
struct Init {
    process: Child,
    /// It ends when this does.
    lifeline: io::PipeWriter,
}

/// Brings the cluster up and returns only if it ends by itself.
async fn hold(folder: &Folder, init: &mut Option<Init>) -> Result<()> {
    let ports = config::write(folder)?;
    give_to_owner(folder, &folder.kubeconfig())?;
    give_to_owner(folder, &folder.static_pods())?;
    host::prepare(folder)?;
    let names = names::listen().await?;
    let client = client::connect(&folder.kubeconfig()).await?;
    let Init { process, .. } = init.insert(start_init(folder)?);
    let get_ready = async {
        let ready = tokio::time::timeout(HUNG, ready(folder, &ports, &client)).await;
        ready.context("the node does not get ready")?
    };
    tokio::select! {
        status = process.wait() => bail!(why_ended(folder, status?)),
        failed = async { tokio::try_join!(get_ready, names::serve(&names, &client)) } => failed.map(|_| ()),
    }
}

fn start_init(folder: &Folder) -> Result<Init> {
    let (reader, lifeline) = io::pipe()?;
    let log = fs::File::create(folder.logs().join(INIT_LOG))?.into_parts().0;
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.arg(std::env::current_exe()?).arg("--folder").arg(folder.path()).arg("init");
    command.stdin(reader).stdout(Stdio::null()).stderr(log);
    let process = command.spawn().context("cannot run unshare, of the package util-linux")?;
    Ok(Init { process, lifeline })
}

/// Waits until pods can run, and says so.
async fn ready(folder: &Folder, ports: &Ports, client: &Client) -> Result<()> {
    client::node_ready(client).await?;
    let registry = format!("localhost:{}", ports.registry);
    pause(folder).push(&format!("{registry}/pause"), &folder.bin())?;
    fs::write(folder.state().join(REGISTRY), registry)?;
    Ok(writeln!(io::stdout(), "{READY}")?)
}

/// What holds a pod's namespaces: it has only to be there.
fn pause(folder: &Folder) -> Image {
    let busybox = folder.debian().join("bin/busybox");
    Image::new().file("bin/busybox", busybox).entrypoint(&["/bin/busybox", "sleep", "2147483647"])
}

fn why_ended(folder: &Folder, status: ExitStatus) -> String {
    let said = fs::read_to_string(folder.logs().join(INIT_LOG)).unwrap_or_default();
    let said = if said.is_empty() { status.to_string() } else { said.trim().to_owned() };
    format!("{said}; the programs' logs are in {}", folder.logs().display())
}

/// A signal; or, if not `stay`, the end of standard input, whose other end the starter holds.
async fn told_to_end(stay: bool) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let starter_is_gone = async {
        if stay {
            std::future::pending::<()>().await;
        }
        let (gone, is_gone) = oneshot::channel();
        // Not one of the runtime's own threads: it waits for those when it ends, and a read has no end.
        std::thread::spawn(move || gone.send(io::stdin().read_to_end(&mut Vec::new())));
        let _ = is_gone.await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        () = starter_is_gone => {}
    }
    Ok(())
}

/// Not only root, but the owner of the cluster's folder can read the kubeconfig, add static pods and remove the logs.
fn give_to_owner(folder: &Folder, path: &Path) -> Result<()> {
    let owner = fs::metadata(folder.path())?;
    chown(path, Some(owner.uid()), Some(owner.gid()))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give_to_owner(folder, &entry?.path())?;
        }
    }
    Ok(())
}
