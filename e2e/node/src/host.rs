//! What outlives processes and must be removed explicitly: the bridge, control groups, folders.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::Folder;

/// How often to poll for state that cannot be watched.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The bridge that pods are on, and that has the node's address, for the node's may not be of loopback.
pub(crate) const BRIDGE: &str = "podcov0";
/// The node's address.
pub(crate) const NODE: &str = "198.18.0.1";
/// The pods' network; all on one bridge, so that nothing is routed and no setting of the kernel changed.
pub(crate) const NETWORK: &str = "198.18.0.0/16";
/// The bridge's hardware address, from the locally administered ones. Without a fixed one the bridge takes the lowest of
/// its ports', which changes as pods come and go; then pods that cached the old one cannot reach the node for seconds.
const HARDWARE: &str = "02:00:00:00:00:01";
/// The first address of a pod.
pub(crate) const FIRST_POD: &str = "198.18.1.1";
/// The control group above those of the pods.
pub(crate) const CGROUP: &str = "podcov-e2e";

/// How long processes may take to end that have been killed.
const ENDING: Duration = Duration::from_secs(30);

/// Makes the bridge.
pub(crate) fn prepare(folder: &Folder) -> Result<()> {
    ensure!(
        !Path::new("/sys/class/net").join(BRIDGE).exists(),
        "there is a bridge {BRIDGE}: does another cluster of this kind run on this machine? If none does, it was \
         left behind: ip link del {BRIDGE}",
    );
    // What is left when the keeper is killed is this folder's to remove, and no other's.
    fs::write(folder.state().join(BRIDGE), "")?;
    ip(folder, &["link", "add", BRIDGE, "type", "bridge"])?;
    ip(folder, &["link", "set", BRIDGE, "address", HARDWARE])?;
    ip(folder, &["addr", "add", &format!("{NODE}/16"), "dev", BRIDGE])?;
    ip(folder, &["link", "set", BRIDGE, "up"])
}

/// Takes everything away that a cluster in this folder has left outside of its processes, which have ended.
pub(crate) fn clean(folder: &Folder) -> Result<()> {
    if folder.state().join(BRIDGE).exists() && Path::new("/sys/class/net").join(BRIDGE).exists() {
        ip(folder, &["link", "del", BRIDGE])?;
    }
    for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten() {
        remove_cgroup(&controller?.path().join(CGROUP))?;
    }
    remove_cgroup(&Path::new("/sys/fs/cgroup").join(CGROUP))?;
    match fs::remove_dir_all(folder.state()) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e.into()),
        _ => Ok(()),
    }
}

/// Removes a control group and those below it. Its files are the kernel's and go with it.
fn remove_cgroup(path: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    // The processes of a cluster whose keeper was killed may still be ending.
    let begun = Instant::now();
    loop {
        match fs::remove_dir(path) {
            Err(e) if e.kind() == ErrorKind::ResourceBusy && begun.elapsed() < ENDING => {
                std::thread::park_timeout(LOOK_AGAIN);
            }
            removed => return Ok(removed?),
        }
    }
}

/// Busybox's, which is there for the images anyway.
fn ip(folder: &Folder, args: &[&str]) -> Result<()> {
    let output = Command::new(folder.debian().join("bin/busybox")).arg("ip").args(args).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", args.join(" "), said.trim());
    Ok(())
}
