//! The reports' folder, replaced as a whole: filled beside its place, then renamed into it.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err::{self as fs, File};
use podcov_cli::{Exit, Failure};
use tempfile::TempDir;

use crate::manifest::FILE_NAME;

/// A folder beside the reports' folder that will take its place. Dropping it leaves things as they were.
pub(crate) struct Staging {
    folder: TempDir,
    out: PathBuf,
    /// Locked as long as this process lives, so that a later run can tell a staging folder in use from one that
    /// was left by a run that was killed (as Skaffold does when it is cancelled).
    _in_use: Option<File>,
}

impl Staging {
    /// Makes the staging folder.
    ///
    /// # Errors
    /// When the parent of `out` cannot be written.
    pub(crate) fn beside(out: &Path) -> Result<Self> {
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
        remove_left(parent, &prefix);
        let folder = builder.tempdir_in(parent).with_context(|| unwritable(&out))?;
        let in_use = lock(folder.path());
        Ok(Self { folder, out, _in_use: in_use })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Puts the staging folder into the reports' folder's place; what was there is removed.
    pub(crate) fn publish(self) -> Result<()> {
        // It may have come to be while we were collecting.
        check_ours(&self.out)?;
        let staged = self.folder.path();
        let outcome =
            if self.out.exists() { replace(staged, &self.out) } else { fs::rename(staged, &self.out) };
        outcome.with_context(|| unwritable(&self.out))
        // What is now at the staging folder's path, if anything, goes with it.
    }

    /// Adds the staging folder's files to those in the reports' folder.
    pub(crate) fn add(self) -> Result<()> {
        if !self.out.exists() {
            return self.publish();
        }
        move_into(self.folder.path(), &self.out).with_context(|| unwritable(&self.out))
    }
}

/// Removes staging folders that nobody fills any more.
fn remove_left(parent: &Path, prefix: &str) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Nobody else's, and no last report that waits beside.
        let random = name
            .strip_prefix(prefix)
            .is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if random && let Some(_lock) = lock(&entry.path()) {
            tracing::info!("removing {}, which an earlier run left", entry.path().display());
            // The next run may have more luck, and this one does not depend on it.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether a folder is on another file system than the one that it is in.
#[cfg(unix)]
fn is_mounted(folder: &Path, parent: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    device(folder).is_some_and(|own| device(parent) != Some(own))
}

/// What cannot be replaced there is only known when it fails.
#[cfg(not(unix))]
fn is_mounted(_folder: &Path, _parent: &Path) -> bool {
    false
}

/// A lock on a folder, unless somebody else has it or the operating system locks no folders.
fn lock(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    folder.file().try_lock().ok()?;
    Some(folder)
}

/// Refuses to replace a folder that has anything in it but no manifest of ours.
///
/// # Errors
/// A [`Failure`] with exit code 2 when it has.
pub(crate) fn check_ours(out: &Path) -> Result<()> {
    if out.join(FILE_NAME).is_file() {
        return Ok(());
    }
    let empty = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(e) => e.kind() == io::ErrorKind::NotFound,
    };
    if empty {
        return Ok(());
    }
    let message =
        format!("{} is there and was not made by podcov-collect, so it is not replaced", out.display());
    Err(Failure::new(Exit::Usage, message)
        .with_hint("name another folder with --out, or remove this one")
        .into())
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn replace(staged: &Path, out: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    // In one step, so that an interrupted run leaves either the last report or this one.
    renameat_with(CWD, staged, CWD, out, RenameFlags::EXCHANGE).or_else(|_| replace_in_two(staged, out))
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn replace(staged: &Path, out: &Path) -> io::Result<()> {
    replace_in_two(staged, out)
}

/// Where the file system cannot exchange: for an instant there is no folder, and the last report waits beside.
fn replace_in_two(staged: &Path, out: &Path) -> io::Result<()> {
    let mut aside = staged.as_os_str().to_owned();
    aside.push(".last");
    fs::rename(out, &aside)?;
    if let Err(e) = fs::rename(staged, out) {
        fs::rename(&aside, out)?;
        return Err(e);
    }
    fs::remove_dir_all(aside)
}

fn move_into(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() && target.is_dir() {
            move_into(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), target)?;
        }
    }
    Ok(())
}

fn unwritable(out: &Path) -> Failure {
    Failure::new(Exit::Usage, format!("the reports' folder {} cannot be written", out.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }

    fn stage(out: &Path, file: &str) -> Staging {
        let staging = Staging::beside(out).unwrap();
        fs::create_dir_all(staging.path().join("ns/pod")).unwrap();
        fs::write(staging.path().join("ns/pod").join(file), file).unwrap();
        fs::write(staging.path().join(FILE_NAME), "{}").unwrap();
        staging
    }

    #[test]
    fn a_report_replaces_the_last_one_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("reports/coverage");
        stage(&out, "a").publish().unwrap();
        assert_eq!(names(&out.join("ns/pod")), ["a"]);
        stage(&out, "b").publish().unwrap();
        assert_eq!(names(&out.join("ns/pod")), ["b"]);
        assert_eq!(names(&dir.path().join("reports")), ["coverage"]);
    }

    #[test]
    fn two_renames_do_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (staged, out) = (dir.path().join("staged"), dir.path().join("out"));
        for (folder, file) in [(&staged, "new"), (&out, "old")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(file), "").unwrap();
        }
        replace_in_two(&staged, &out).unwrap();
        assert_eq!(names(&out), ["new"]);
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn what_is_not_published_leaves_the_last_report() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("coverage");
        stage(&out, "a").publish().unwrap();
        drop(stage(&out, "b"));
        assert_eq!(names(&out.join("ns/pod")), ["a"]);
        assert_eq!(names(dir.path()), ["coverage"]);
    }

    #[test]
    fn what_a_killed_run_left_goes_and_what_is_in_use_stays() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("coverage");
        // Somebody's own, and the last report of a run that was killed between two renames.
        let others = [".coverage.mine", ".coverage.podcov-a1B2c3.last"];
        for name in others.into_iter().chain([".coverage.podcov-killed"]) {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let in_use = stage(&out, "a");
        let other = stage(&out, "b");
        assert_eq!(names(dir.path()).len(), 4);
        drop(other);
        in_use.publish().unwrap();
        assert_eq!(names(dir.path()), [others[0], others[1], "coverage"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("coverage"));
        fs::create_dir(&real).unwrap();
        fs::os::unix::fs::symlink("real", &link).unwrap();
        stage(&link, "a").publish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(names(&real.join("ns/pod")), ["a"]);
        fs::remove_dir_all(&real).unwrap();
        assert!(Staging::beside(&link).is_err(), "it leads nowhere");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_point_cannot_be_replaced() {
        // The one that is everywhere.
        let Err(error) = Staging::beside(Path::new("/proc")) else { panic!("it would be replaced") };
        assert!(error.to_string().contains("/proc is a mount point"), "{error:#}");
    }

    #[test]
    fn accumulated_files_stand_side_by_side() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("coverage");
        stage(&out, "a").add().unwrap();
        stage(&out, "b").add().unwrap();
        assert_eq!(names(&out.join("ns/pod")), ["a", "b"]);
        assert_eq!(names(dir.path()), ["coverage"]);
    }

    #[test]
    fn nobody_elses_folder_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("thesis.txt"), "").unwrap();
        let error = check_ours(dir.path()).unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit(), Exit::Usage);
        assert_eq!(names(dir.path()), ["thesis.txt"]);
    }
}
