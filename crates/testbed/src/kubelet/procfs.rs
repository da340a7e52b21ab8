//! What a container sees in `/proc`: its own processes.
//!
//! There is no process namespace, and all pods share the cgroup of the testbed. So a command that is given `/proc` as an
//! argument of its own gets a folder instead in which only the container's processes are, under their IDs on the host.

use std::{
    io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use super::slot::Target;

/// Makes the folder; it shows the processes of this moment.
pub(crate) fn create(root: &Path, target: &Target) -> io::Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = root.join("proc").join(COUNT.fetch_add(1, Ordering::Relaxed).to_string());
    fs_err::create_dir_all(&folder)?;
    match target.pid {
        Some(leader) if cfg!(target_os = "linux") => link_processes(&folder, leader)?,
        Some(leader) => describe_process(&folder, leader)?,
        // A pod without a process has one to be signalled all the same.
        None => describe_process(&folder, 1)?,
    }
    Ok(folder)
}

/// Links to the processes of a group, which is what a container is here.
fn link_processes(folder: &Path, leader: i32) -> io::Result<()> {
    std::os::unix::fs::symlink("/proc/self", folder.join("self"))?;
    for entry in fs_err::read_dir("/proc")? {
        let entry = entry?;
        // It may have ended by now.
        let Ok(stat) = fs_err::read_to_string(entry.path().join("stat")) else { continue };
        // After the name in parentheses: the state, the parent, the group.
        let group = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(2));
        if group.is_some_and(|group| group == leader.to_string()) {
            std::os::unix::fs::symlink(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// The files of one process, where the host has none.
fn describe_process(folder: &Path, pid: i32) -> io::Result<()> {
    let status = format!("Name:\tapp\nState:\tS (sleeping)\nPPid:\t0\nNSpid:\t{pid}\n");
    let files = [("cgroup", "0::/\n"), ("comm", "app\n"), ("status", status.as_str())];
    for of in [pid.to_string(), "self".to_owned()] {
        let folder = folder.join(of);
        fs_err::create_dir(&folder)?;
        for (name, text) in files {
            fs_err::write(folder.join(name), text)?;
        }
    }
    Ok(())
}
