//! The reports' folder, replaced as a whole: filled beside its place, then renamed into it.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err::{self as fs, File};
use podcov_exit::{Exit, Failure};
use tempfile::TempDir;

use crate::manifest::Manifest;
use crate::ownership::{OwnFolder, Ownership, inspect_report, inspect_staging, is_mounted};

/// What the name of a report's folder gets while another takes its place.
const LAST: &str = ".last";

/// A folder beside the reports' folder that will take its place. Dropping it leaves things as they were.
pub(crate) struct Staging {
    folder: TempDir,
    out: PathBuf,
    /// Locked as long as this process lives, so that a later run can tell a staging folder in use from one that
    /// was left by a run that was killed (as Skaffold does when it is cancelled).
    _in_use: Option<File>,
}

impl Staging {
    /// Makes the staging folder, with `manifest` in it, which marks it as ours. Finishes or removes what killed runs
    /// have left.
    ///
    /// # Errors
    /// When the parent of `out` cannot be written, or `out` cannot be replaced.
    pub(crate) fn beside(out: &Path, manifest: &Manifest) -> Result<Self> {
        let out = std::path::absolute(out).with_context(|| unwritable(out))?;
        // A link stays: what it leads to is replaced.
        let out =
            if out.is_symlink() { fs::canonicalize(&out).with_context(|| unwritable(&out))? } else { out };
        let (Some(parent), Some(name)) = (out.parent(), out.file_name()) else {
            return Err(
                Failure::new(Exit::Usage, format!("{} cannot be a reports' folder", out.display())).into()
            );
        };
        fs::create_dir_all(parent).with_context(|| unwritable(&out))?;
        if is_mounted(&out, parent) {
            let message =
                format!("the reports' folder {} is a mount point, which cannot be replaced", out.display());
            let hint = "name a folder in it with --out";
            return Err(Failure::new(Exit::Usage, message).with_hint(hint).into());
        }
        let prefix = format!(".{}.podcov-", name.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix);
        // What CI publishes must be readable by others than who collected it: as the umask has it.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        clean_up(parent, &prefix, &out);
        let folder = builder.tempdir_in(parent).with_context(|| unwritable(&out))?;
        let in_use = lock(folder.path());
        manifest.write(folder.path()).with_context(|| unwritable(&out))?;
        Ok(Self { folder, out, _in_use: in_use })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes a file of the report that will be replaced over into the staging folder: a link to it where the file
    /// system has such, else a copy.
    ///
    /// # Errors
    /// When it is gone, or the staging folder cannot be written.
    pub(crate) fn take_over(&self, from: &Path, to: &Path) -> Result<()> {
        let (from, to) = (self.out.join(from), self.path().join(to));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| unwritable(&self.out))?;
        }
        if fs::hard_link(&from, &to).is_err() {
            fs::copy(&from, &to).with_context(|| unwritable(&self.out))?;
        }
        Ok(())
    }

    /// Puts the staging folder into the reports' folder's place; what was there is removed.
    pub(crate) fn publish(self) -> Result<()> {
        // It may have appeared while we were collecting.
        let old = check_ours(&self.out)?;
        let staged = self.folder.path();
        let aside = if self.out.exists() {
            replace(staged, &self.out).map(Some)
        } else {
            fs::rename(staged, &self.out).map(|()| None)
        };
        let aside = aside.with_context(|| unwritable(&self.out))?;
        // What is at its path now is the old report, not the staging folder.
        let _ = self.folder.keep();
        if let Some(aside) = aside
            && let Err(error) = remove(old.as_ref(), &aside)
        {
            let out = self.out.display();
            tracing::warn!(
                "what was in {out} before could not be removed whole: {error}; the rest is in {}",
                aside.display()
            );
        }
        Ok(())
    }
}

fn remove(old: Option<&OwnFolder>, folder: &Path) -> io::Result<()> {
    match old {
        Some(own) => own.remove(folder),
        None => fs::remove_dir(folder),
    }
}

/// Removes what runs that were killed have left: staging folders, and reports that were replaced. A report that was
/// about to be replaced gets its place back. Only what is provably ours, and used by nobody.
fn clean_up(parent: &Path, prefix: &str, out: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix(prefix) else { continue };
        let (random, last) = match rest.strip_suffix(LAST) {
            Some(random) => (random, true),
            None => (rest, false),
        };
        if random.is_empty() || !random.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            continue;
        }
        // The lock is on the staging folder, also for the report that waits beside it.
        let staging = parent.join(format!("{prefix}{random}"));
        let lock = lock(&staging);
        if lock.is_none() && (!last || staging.exists()) {
            continue;
        }
        let path = entry.path();
        let own = match (inspect_report(&path), inspect_staging(&path)) {
            (Ownership::Ours(own), _) | (_, Ownership::Ours(own)) => own,
            (Ownership::Foreign(why), _) => {
                tracing::info!("{} stays: {why}", path.display());
                continue;
            }
            // Somebody may be about to fill it.
            (Ownership::Nothing, _) => continue,
        };
        tracing::info!("{} was left by an earlier run", path.display());
        // Where this fails the next run may have more luck, and this one does not depend on it.
        let _ = if last && !out.exists() { fs::rename(&path, out) } else { own.remove(&path) };
    }
}

/// A lock on a folder, unless somebody else has it or the operating system locks no folders.
fn lock(folder: &Path) -> Option<File> {
    if !fs::symlink_metadata(folder).ok()?.is_dir() {
        return None;
    }
    let folder = File::open(folder).ok()?;
    folder.file().try_lock().ok()?;
    Some(folder)
}

/// What is in the reports' folder, if anything. Refuses a folder that is not ours.
///
/// # Errors
/// A [`Failure`] with exit code 2 when it is not.
pub(crate) fn check_ours(out: &Path) -> Result<Option<OwnFolder>> {
    // A link stays, and what it leads to is looked at.
    let target = if out.is_symlink() {
        fs::canonicalize(out).with_context(|| unwritable(out))?
    } else {
        out.to_owned()
    };
    match inspect_report(&target) {
        Ownership::Nothing => Ok(None),
        Ownership::Ours(own) => Ok(Some(own)),
        Ownership::Foreign(why) => {
            let message = format!(
                "{} is not a reports' folder of podcov-collect, so it is not replaced: {why}",
                out.display()
            );
            Err(Failure::new(Exit::Usage, message)
                .with_hint("name another folder with --out, or move what is yours out of this one")
                .into())
        }
    }
}

/// Puts `staged` where `out` is; gives the path where the old folder is now.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn replace(staged: &Path, out: &Path) -> io::Result<PathBuf> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    // In one step, so that an interrupted run leaves either the last report or this one.
    match renameat_with(CWD, staged, CWD, out, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(staged.to_owned()),
        Err(_) => replace_in_two(staged, out),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn replace(staged: &Path, out: &Path) -> io::Result<PathBuf> {
    replace_in_two(staged, out)
}

/// Where the file system cannot exchange: for an instant there is no folder, and the last report waits beside.
fn replace_in_two(staged: &Path, out: &Path) -> io::Result<PathBuf> {
    let mut aside = staged.as_os_str().to_owned();
    aside.push(LAST);
    let aside = PathBuf::from(aside);
    fs::rename(out, &aside)?;
    if let Err(e) = fs::rename(staged, out) {
        fs::rename(&aside, out)?;
        return Err(e);
    }
    Ok(aside)
}

fn unwritable(out: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("the reports' folder {} cannot be written", out.display()))
}

#[cfg(test)]
#[path = "staging_tests.rs"]
mod tests;
