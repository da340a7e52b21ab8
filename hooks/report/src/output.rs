//! Where results go: stdout, or a file that gets its name when it is whole.

use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process;

use anyhow::Result;
use covdata::NewFile;
use fs_err as fs;
use podcov_cli::{Exit, ResultExt};

/// Writes to a file, or to stdout where there is none. A file is not there before it is whole, and one that was
/// there stays if the writing fails.
pub(crate) fn write(path: Option<&Path>, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let Some(path) = path.filter(|path| *path != Path::new("-")) else {
        let mut out = BufWriter::with_capacity(BUFFER, io::stdout().lock());
        fill(&mut out)?;
        return Ok(out.flush()?);
    };
    to_file(path, fill).or_exit(Exit::Usage, format!("cannot write {}", path.display()))
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
    if path.exists() && !path.is_file() {
        // A device or a pipe, which is not replaced.
        let mut out = BufWriter::with_capacity(BUFFER, fs::OpenOptions::new().write(true).open(path)?);
        fill(&mut out)?;
        return Ok(out.flush()?);
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", process::id()));
    let written = (|| {
        let mut out = BufWriter::with_capacity(BUFFER, fs::File::create(&temporary)?);
        fill(&mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    Ok(written?)
}

/// Small, so that what comes in large pieces is not copied into it.
const BUFFER: usize = 32 << 10;
