//! The folder of coverage files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use covdata::FileName;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_storage::Origin;

use crate::args::SharedArgs;
use crate::program::GOCOVERDIR;

/// The default folder.
const DEFAULT: &str = "/tmp/podcov";
/// The parent of the default folder's substitute, where that cannot be made. Every container has it, also one whose image
/// has no folder to write to, and all containers of a pod share it.
const SHARED: &str = "/dev/shm/podcov";

/// Chooses the folder for this start of this container, and makes it.
///
/// # Errors
/// When it cannot be made.
pub(crate) fn folder(args: &SharedArgs, Origin { container, start, .. }: &Origin) -> Result<CoverFolder> {
    let variable = || std::env::var_os(GOCOVERDIR).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    if let Some(dir) = args.coverdir.clone().or_else(variable) {
        let dir = make(&dir).or_exit(Exit::Usage, "the folder for coverage files cannot be made")?;
        return Ok(CoverFolder::open(dir));
    }
    if let Ok(dir) = make(Path::new(DEFAULT)) {
        return Ok(CoverFolder::open(dir));
    }
    let shared = Path::new(SHARED);
    if fs::create_dir(shared).is_ok() {
        // Other containers' users make their folders beside it.
        let _ = fs::set_permissions(shared, PermissionsExt::from_mode(0o1777));
    }
    // Another container may use the same default name.
    let alone = make(&shared.join(container)).map(CoverFolder::open).ok().filter(CoverFolder::is_alone);
    let own =
        alone.map_or_else(|| make(&shared.join(format!("{container}-{start}"))).map(CoverFolder::open), Ok);
    own.map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("neither {DEFAULT} nor a folder in {SHARED} can be made and written: {error}"),
        )
        .with_hint("set GOCOVERDIR to a folder that can be written, an emptyDir volume's for example")
        .into()
    })
}

/// Absolute, for a program may change its working directory.
pub(crate) fn make(dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    fs::create_dir_all(&dir)?;
    // A folder that exists may belong to another user.
    rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).map_err(|e| {
        io::Error::new(io::Error::from(e).kind(), format!("{} cannot be written", dir.display()))
    })?;
    Ok(dir)
}

/// The folder of coverage files, and what in it may be removed: only files that have come since the agent started,
/// and only while no other agent uses the folder. All others may be somebody else's, or an earlier run's.
pub(crate) struct CoverFolder {
    path: PathBuf,
    /// What was there before. `None` where that is not known.
    earlier: Option<BTreeSet<String>>,
    /// Locked, shared, by each agent that uses the folder, for as long as it lives.
    lock: Option<fs::File>,
}

impl CoverFolder {
    pub(crate) fn open(path: PathBuf) -> Self {
        let lock = fs::File::open(&path).ok().filter(|folder| folder.file().lock_shared().is_ok());
        let earlier = list(&path).ok().map(|listed| listed.into_keys().collect());
        Self { path, earlier, lock }
    }

    /// A folder that no other container's podcov-agent has, though an earlier one of this container may have had it.
    pub(crate) fn of_container(path: PathBuf) -> Self {
        Self { earlier: Some(BTreeSet::new()), ..Self::open(path) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether no other agent uses the folder now.
    fn is_alone(&self) -> bool {
        let Some(folder) = &self.lock else { return false };
        let alone = folder.file().try_lock().is_ok();
        // This agent goes on using it. Another one holds the lock for itself only as briefly as this one.
        let _ = folder.file().lock_shared();
        alone
    }

    /// Removes files, but for those that may not be this agent's. Gives how many it has removed.
    ///
    /// # Errors
    /// When another agent uses the folder, or the first failure to remove a file.
    pub(crate) fn remove(&self, names: impl IntoIterator<Item = String>) -> io::Result<usize> {
        let earlier = self.earlier.as_ref();
        let own = |name: &String| earlier.is_some_and(|earlier| !earlier.contains(name));
        let names: Vec<_> = names.into_iter().filter(own).collect();
        if !names.is_empty() && !self.is_alone() {
            let folder = self.path.display();
            return Err(io::Error::other(format!(
                "another podcov-agent uses {folder}, or may use it, so no counters are removed from it; give each \
                 container a folder of its own"
            )));
        }
        for name in &names {
            fs::remove_file(self.path.join(name))?;
        }
        Ok(names.len())
    }
}

/// The complete coverage files of the folder, with their parsed names.
pub(crate) fn list(folder: &Path) -> io::Result<BTreeMap<String, FileName>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let parsed = name.parse::<FileName>().ok().filter(|parsed| !parsed.is_temporary());
        if let Some(parsed) = parsed
            && entry.file_type()?.is_file()
        {
            files.insert(name, parsed);
        }
    }
    Ok(files)
}

/// Writes a coverage file, whole or not at all.
pub(crate) fn write_whole(folder: &Path, name: &FileName, bytes: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    // As any program makes files: the user's mask decides.
    let mut staged = builder.prefix(".").permissions(Permissions::from_mode(0o666)).tempfile_in(folder)?;
    staged.write_all(bytes)?;
    staged.persist(folder.join(name.to_string()))?;
    Ok(())
}

/// Whether a file has counters, or a profile, of a run of the program: not its meta-data.
pub(crate) fn has_counts(name: &FileName) -> bool {
    matches!(name, FileName::Counters { .. } | FileName::Text { .. })
}

/// Whether it was written by that process.
pub(crate) fn written_by(name: &FileName, process: u32) -> bool {
    match name {
        FileName::Counters { pid, .. } | FileName::Text { pid, .. } => *pid == process,
        _ => false,
    }
}
