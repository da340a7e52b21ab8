//! Paths that lead to one place.

use std::path::{Path, PathBuf};

/// A path without links, as far as it exists.
pub(crate) fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    match there {
        Some((there, real)) => real.join(path.strip_prefix(there).unwrap_or(Path::new(""))),
        None => path,
    }
}

/// Whether two paths lead to the same file or folder.
#[cfg(unix)]
pub(crate) fn is_same_file(path: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| fs_err::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    place(path).is_some_and(|file| place(other) == Some(file))
}

/// Whether two paths lead to the same file or folder. Other systems do not tell of links beside each other.
#[cfg(not(unix))]
pub(crate) fn is_same_file(path: &Path, other: &Path) -> bool {
    path.exists() && other.exists() && real(path) == real(other)
}
