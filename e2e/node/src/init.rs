//! Process 1 of the cluster's namespaces: hides what the cluster must not touch, starts its programs in order,
//! and ends, so that everything ends, when one of them does or its keeper is gone.

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use fs_err as fs;
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Pid, WaitOptions, wait};
use tokio::net::{TcpStream, UnixStream};
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{connect, server_ready};
use crate::config::{PROGRAMS, Program, Until};
use crate::host::LOOK_AGAIN;
use crate::{Folder, folder::INSIDE};

/// How long a program may take to start.
const HUNG: Duration = Duration::from_secs(120);

/// The programs that run, with their names.
type Running = RefCell<Vec<(Pid, String)>>;

/// Runs as process 1, until its standard input ends or a program does.
///
/// # Errors
/// What could not be hidden or started, or which program has ended.
pub async fn init(folder: &Folder) -> Result<()> {
    std::thread::spawn(until_keeper_is_gone);
    hide(folder).context("cannot mount")?;
    let running = Running::default();
    let (ended, brought_up) = (one_ends(&running), bring_up(&running));
    tokio::pin!(ended);
    tokio::select! {
        how = &mut ended => bail!(how?),
        done = brought_up => done?,
    }
    bail!(ended.await?)
}

/// The keeper holds the other end of standard input.
fn until_keeper_is_gone() {
    let _ = io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(0);
}

/// Puts empty folders over those that the programs write to whatever they are told, for this namespace alone,
/// and the cluster's own folder where they look for it.
fn hide(folder: &Folder) -> Result<()> {
    // Held open, as it may lie in one of those.
    let held = fs::File::open(folder.path())?;
    for path in ["/run", "/var/lib", "/var/log"] {
        mount("tmpfs", path, "tmpfs", MountFlags::empty(), None)?;
    }
    fs::create_dir(INSIDE)?;
    mount_bind(format!("/proc/self/fd/{}", held.as_raw_fd()), INSIDE)?;
    Ok(())
}

async fn bring_up(running: &Running) -> Result<()> {
    let folder = Folder::inside();
    let programs: Vec<Program> = serde_json::from_slice(&fs::read(folder.state().join(PROGRAMS))?)?;
    for Program { name, args, until } in programs {
        let pid = start(&folder, &name, &args)?;
        running.borrow_mut().push((pid, name.clone()));
        if let Some(until) = &until {
            let there = tokio::time::timeout(HUNG, wait_until(&folder, until)).await;
            there.map_err(|_| anyhow!("{name} does not come up"))??;
        }
    }
    Ok(())
}

fn start(folder: &Folder, name: &str, args: &[String]) -> Result<Pid> {
    let log = fs::File::create(folder.logs().join(format!("{name}.log")))?.into_parts().0;
    let debian = folder.debian();
    let own = [folder.bin(), debian.join("usr/bin"), debian.join("usr/sbin")];
    let systems = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(own.iter().cloned().chain(std::env::split_paths(&systems)))?;
    let program = own.iter().map(|folder| folder.join(name)).find(|program| program.is_file());
    let program = program.with_context(|| format!("{name} is missing; `make cluster-up` builds it"))?;
    let mut command = Command::new(program);
    command.args(args).env("PATH", path).env("HOME", folder.state()).current_dir(folder.state());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().with_context(|| name.to_owned())?;
    Pid::from_raw(child.id().cast_signed()).context("a process without an id")
}

async fn wait_until(folder: &Folder, until: &Until) -> Result<()> {
    match until {
        Until::ApiServer => return server_ready(&connect(&folder.kubeconfig()).await?).await,
        Until::Port(port) => {
            while TcpStream::connect(("127.0.0.1", *port)).await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
        Until::Socket(path) => {
            while UnixStream::connect(path).await.is_err() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
    Ok(())
}

/// How the first program ended that does. All other children are waited for too, since processes that outlive
/// the programs become children of process 1.
async fn one_ends(running: &Running) -> Result<String> {
    let mut children = signal(SignalKind::child())?;
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if let Some((_, name)) = running.borrow().iter().find(|(of, _)| *of == pid) {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => format!("{name} ended with exit code {code}"),
                    (None, signal) => format!("{name} was ended by signal {}", signal.unwrap_or_default()),
                });
            }
        }
        children.recv().await;
    }
}
