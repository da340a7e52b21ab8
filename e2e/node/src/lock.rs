//! Whether a cluster's keeper runs: it holds a lock, which the kernel releases when it ends.

use std::io::{Read as _, Seek as _, Write as _};

use anyhow::{Context as _, Result, bail};
use fs_err::{File, OpenOptions};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::Folder;

/// The keeper's hold on the folder.
pub(crate) struct Lock(File);

impl Lock {
    /// Takes the folder for this process.
    pub(crate) fn take(folder: &Folder) -> Result<Self> {
        let mut file = open(folder)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => bail!("another cluster runs in {}", folder.path().display()),
            Err(e) => return Err(e).context(folder.lock().display().to_string()),
        }
        file.set_len(0)?;
        write!(file, "{}", std::process::id())?;
        Ok(Self(file))
    }

    /// Lets go; the file says no longer who held it.
    pub(crate) fn release(self) -> Result<()> {
        Ok(self.0.set_len(0)?)
    }
}

/// The keeper of the folder, if one is there.
pub(crate) fn holder(folder: &Folder) -> Result<Option<Pid>> {
    let Ok(mut file) = File::open(folder.lock()) else { return Ok(None) };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => return Ok(None),
        Err(Errno::WOULDBLOCK) => {}
        Err(e) => return Err(e).context(folder.lock().display().to_string()),
    }
    let mut pid = String::new();
    file.rewind()?;
    file.read_to_string(&mut pid)?;
    let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
    pid.map(Some).with_context(|| format!("{} is locked and names no process", folder.lock().display()))
}

/// Waits until no keeper holds the folder.
pub(crate) fn released(folder: &Folder) -> Result<()> {
    let Ok(file) = File::open(folder.lock()) else { return Ok(()) };
    Ok(flock(&file, FlockOperation::LockShared)?)
}

fn open(folder: &Folder) -> Result<File> {
    Ok(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(folder.lock())?)
}
