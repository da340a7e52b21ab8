//! Which folders are podcov-collect's own. Nothing else is ever replaced or removed.
//!
//! A folder is ours if its `manifest.json` has podcov's marks and a known version, and if everything else in it is a
//! file that the manifest lists. Whatever a user has put there (a note, a repository, a link, a mount) makes it the
//! user's.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use covdata::FileName;
use fs_err as fs;
use serde::Deserialize;

use crate::manifest::{FILE_NAME, VERSION};

/// What a folder of ours holds. It is removed file by file, so that nothing else can go with it.
#[derive(Debug)]
pub(crate) struct OwnFolder {
    /// Paths of the files from the folder, the manifest last.
    files: Vec<PathBuf>,
    /// Paths of the folders in it, each after those that it contains.
    folders: Vec<PathBuf>,
}

/// What is at a path where podcov-collect wants to put a folder.
#[derive(Debug)]
pub(crate) enum Ownership {
    /// Nothing, or an empty folder.
    Nothing,
    /// A folder of ours.
    Ours(OwnFolder),
    /// Something else, for this reason.
    Foreign(String),
}

/// The part of the manifest that marks a folder as ours. All versions have it.
#[derive(Deserialize)]
struct Marks {
    version: u32,
    #[serde(rename = "podcov")]
    _podcov: String,
    containers: Vec<ListedContainer>,
}

#[derive(Deserialize)]
struct ListedContainer {
    folder: String,
    files: Vec<ListedFile>,
}

#[derive(Deserialize)]
struct ListedFile {
    name: String,
}

/// Whether a path from the folder is one that podcov-collect made; of a folder if `true`, else of a file.
type IsOurs<'a> = &'a dyn Fn(&Path, bool) -> bool;

/// Looks at a reports' folder: the files that its manifest lists are ours.
pub(crate) fn inspect_report(folder: &Path) -> Ownership {
    inspect(folder, |marks, own| {
        let listed = marks.containers.iter().flat_map(|container| {
            container.files.iter().map(|file| Path::new(&container.folder).join(&file.name))
        });
        let files: BTreeSet<PathBuf> = listed.collect();
        let folders: BTreeSet<&Path> = files.iter().flat_map(|file| file.ancestors().skip(1)).collect();
        own.add(folder, Path::new(""), &|path, is_folder| {
            if is_folder { folders.contains(path) } else { files.contains(path) }
        })
    })
}

/// Looks at a staging folder whose run was killed. Its manifest lists nothing yet, so files with the names of coverage
/// files are ours, where podcov-collect puts them.
pub(crate) fn inspect_staging(folder: &Path) -> Ownership {
    inspect(folder, |_, own| {
        own.add(folder, Path::new(""), &|path, is_folder| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let depth = path.components().count();
            if is_folder { depth <= 3 } else { depth == 4 && name.parse::<FileName>().is_ok() }
        })
    })
}

fn inspect(folder: &Path, add_all: impl FnOnce(&Marks, &mut OwnFolder) -> Result<(), String>) -> Ownership {
    match fs::symlink_metadata(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ownership::Nothing,
        Err(e) => return Ownership::Foreign(e.to_string()),
        Ok(metadata) if !metadata.is_dir() => return Ownership::Foreign("it is not a folder".to_owned()),
        Ok(_) => {}
    }
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Err(e) => return Ownership::Foreign(e.to_string()),
        Ok(true) => return Ownership::Nothing,
        Ok(false) => {}
    }
    let marks = match read_marks(folder) {
        Ok(marks) => marks,
        Err(why) => return Ownership::Foreign(why),
    };
    let mut own = OwnFolder { files: Vec::new(), folders: Vec::new() };
    match add_all(&marks, &mut own) {
        Ok(()) => {
            own.files.push(FILE_NAME.into());
            Ownership::Ours(own)
        }
        Err(why) => Ownership::Foreign(why),
    }
}

fn read_marks(folder: &Path) -> Result<Marks, String> {
    let path = folder.join(FILE_NAME);
    // Neither a link nor a pipe is followed.
    if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
        return Err(format!("it has no {FILE_NAME}"));
    }
    let text = fs::read(&path).map_err(|e| e.to_string())?;
    let marks: Marks = serde_json::from_slice(&text)
        .map_err(|_| format!("its {FILE_NAME} is not a manifest of podcov-collect"))?;
    if !(1..=VERSION).contains(&marks.version) {
        let version = marks.version;
        return Err(format!("its {FILE_NAME} has version {version}, and only 1 to {VERSION} are known"));
    }
    Ok(marks)
}

impl OwnFolder {
    /// Adds what is in `below`, a folder in `root`. The error names the first thing that is not ours.
    fn add(&mut self, root: &Path, below: &Path, is_ours: IsOurs<'_>) -> Result<(), String> {
        let folder = root.join(below);
        let entries = fs::read_dir(&folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(|e| e.to_string())?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = below.join(entry.file_name());
            let kind = entry.file_type().map_err(|e| e.to_string())?;
            if kind.is_dir() && is_ours(&path, true) && !is_mounted(&entry.path(), &folder) {
                self.add(root, &path, is_ours)?;
                self.folders.push(path);
            } else if kind.is_file() && path == Path::new(FILE_NAME) {
                // Removed last: without it the rest could not be told from a user's.
            } else if kind.is_file() && is_ours(&path, false) {
                self.files.push(path);
            } else {
                return Err(format!("{} in it was not made by podcov-collect", path.display()));
            }
        }
        Ok(())
    }

    /// Removes the files, then the folders, which by then are at `folder`. What has come into it since stays, and is
    /// the error.
    pub(crate) fn remove(&self, folder: &Path) -> io::Result<()> {
        for file in &self.files {
            match fs::remove_file(folder.join(file)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        self.folders.iter().try_for_each(|path| fs::remove_dir(folder.join(path)))?;
        fs::remove_dir(folder)
    }
}

/// Whether a folder is on another file system than the one that it is in.
#[cfg(unix)]
pub(crate) fn is_mounted(folder: &Path, parent: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::symlink_metadata(path).ok().map(|metadata| metadata.dev());
    device(folder).is_some_and(|own| device(parent) != Some(own))
}

/// What cannot be replaced there is only known when it fails.
#[cfg(not(unix))]
pub(crate) fn is_mounted(_folder: &Path, _parent: &Path) -> bool {
    false
}

#[cfg(test)]
#[path = "ownership_tests.rs"]
mod tests;
