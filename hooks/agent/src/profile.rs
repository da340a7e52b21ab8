//! The text profile of a test binary: `-test.coverprofile`.
//!
//! Go: `coverReport` in `testing`. The test binary writes it when its tests have ended, always under the
//! same name, so it is moved among the other coverage files under a name of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use covdata::FileName;
use fs_err as fs;

use crate::files;
use crate::identity::nanos;

/// Where a program's text profile appears.
pub(crate) struct Profile {
    path: PathBuf,
    /// What was there before the program started.
    before: Option<Stamp>,
}

impl std::fmt::Display for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.display().fmt(f)
    }
}

type Stamp = (SystemTime, u64);

impl Profile {
    /// Of a program, if it is a test binary that is to write one.
    pub(crate) fn of(command: &[OsString]) -> Option<Self> {
        let args = command.get(1..)?;
        // Unlike other profiles it does not go to -test.outputdir.
        let path = flag(args, "test.coverprofile")?;
        let before = stamp(&path);
        Some(Self { path, before })
    }

    /// Moves what the program has written, if it has, to the other coverage files.
    ///
    /// # Errors
    /// When it is not whole, or cannot be moved. It stays where it is then.
    pub(crate) fn take(&mut self, pid: u32, folder: &Path) -> io::Result<bool> {
        let now = stamp(&self.path);
        if now.is_none() || now == self.before {
            return Ok(false);
        }
        self.before = now;
        let name = FileName::Text { pid, nanos: nanos() };
        let bytes = fs::read(&self.path)?;
        covdata::check(&name, &bytes)
            .map_err(|e| io::Error::other(format!("{} is not whole: {e}", self.path.display())))?;
        // It may be on another file system, and nobody must see half of it.
        files::write_whole(folder, &name, &bytes)?;
        // Where it cannot be removed, the next one will have another time.
        let _ = fs::remove_file(&self.path);
        Ok(true)
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The last value of a flag as Go's `flag` reads it: with one dash or two, and `=` or the next argument; up to `--`.
fn flag(args: &[OsString], name: &str) -> Option<PathBuf> {
    let mut value = None;
    let mut args = args.iter().take_while(|arg| *arg != "--");
    while let Some(arg) = args.next() {
        let bytes = arg.as_bytes();
        let Some(rest) = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-")) else { continue };
        match rest.strip_prefix(name.as_bytes()) {
            Some([]) => value = args.next().map(PathBuf::from),
            Some([b'=', text @ ..]) => value = Some(PathBuf::from(std::ffi::OsStr::from_bytes(text))),
            _ => {}
        }
    }
    value.filter(|value| !value.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(args: &[&str]) -> Option<PathBuf> {
        let command: Vec<_> = args.iter().map(OsString::from).collect();
        Profile::of(&command).map(|profile| profile.path)
    }

    #[test]
    fn where_the_profile_is() {
        for (args, expected) in [
            (&["svc.test", "-test.coverprofile=cover.out"][..], Some("cover.out")),
            (&["svc.test", "--test.coverprofile", "/a/c.out", "-test.run=TestRun"], Some("/a/c.out")),
            (&["svc.test", "-test.outputdir=/out", "-test.coverprofile=c.out"], Some("c.out")),
            (&["svc.test", "-test.coverprofile=a", "-test.coverprofile=b"], Some("b")),
            (&["svc.test", "-test.coverprofiles=a"], None),
            (&["svc.test", "--", "-test.coverprofile=a"], None),
            (&["svc.test", "-test.coverprofile"], None),
            (&["-test.coverprofile=a"], None),
        ] {
            assert_eq!(path(args), expected.map(PathBuf::from), "{args:?}");
        }
    }
}
