//! Where results go: stdout, or a file that gets its name when it is whole.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process;

use anyhow::Result;
use covdata::NewFile;
use fs_err as fs;
use podcov_cli::{Exit, ResultExt, print};

/// Writes to a file, or to stdout where there is none. A file is not there before it is whole, and one that was
/// there stays if the writing fails.
pub(crate) fn write(path: Option<&Path>, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    match path.filter(|path| *path != Path::new("-") && !is_stdout(path)) {
        Some(path) => to_file(path, fill).or_exit(Exit::Usage, format!("cannot write {}", path.display())),
        None => print(fill).or_exit(Exit::Usage, "cannot write to stdout"),
    }
}

/// Whether a path leads to where stdout does, as /dev/stdout.
#[cfg(unix)]
fn is_stdout(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let place = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
    place(path).is_some_and(|file| place(Path::new("/dev/fd/1")) == Some(file))
}

/// There is no such path elsewhere.
#[cfg(not(unix))]
fn is_stdout(_path: &Path) -> bool {
    false
}

/// Writes files into a folder, each as a whole. What else is in the folder stays.
pub(crate) fn write_folder(dir: &Path, files: &[NewFile<'_>]) -> Result<()> {
    fs::create_dir_all(dir)?;
    for (name, bytes) in files {
        to_file(&dir.join(name.to_string()), |out| out.write_all(bytes))?;
    }
    Ok(())
}

/// Writes to a file, as a whole.
fn to_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    // A link stays: what it leads to is written.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let before = fs::metadata(path).ok();
    if before.as_ref().is_some_and(|file| !file.is_file()) {
        // A device or a pipe, which is not replaced.
        let mut out = BufWriter::with_capacity(BUFFER, fs::OpenOptions::new().write(true).open(path)?);
        fill(&mut out)?;
        return Ok(out.flush()?);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", process::id()));
    let written = (|| {
        let file = fs::File::create(&temporary)?;
        if let Some(before) = before {
            // What only some may read stays so.
            file.set_permissions(before.permissions())?;
        }
        let mut out = BufWriter::with_capacity(BUFFER, file);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        match fs::rename(&temporary, path) {
            // A file that is mounted, as into a container, cannot be replaced.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                fs::copy(&temporary, path)?;
                fs::remove_file(&temporary)
            }
            renamed => renamed,
        }
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

/// Small, so that what comes in large pieces is not copied into it.
const BUFFER: usize = 32 << 10;
