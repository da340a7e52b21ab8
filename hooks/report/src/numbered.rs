//! Writes a result as several numbered files.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};

use crate::output::{self, Format};

/// Writes documents to NAME-1.xml, NAME-2.xml and so on, where the path is NAME.xml. Further files of the same kind, which an
/// earlier run has written, are removed: they would be read with these.
pub(crate) fn write(path: &Path, format: Format, documents: &[Vec<u8>]) -> Result<()> {
    if output::is_stdout(path) {
        let failure =
            Failure::new(Exit::Usage, "the result is several files, which cannot be written to stdout");
        return Err(failure.with_hint("give the name of a file with -o").into());
    }
    let new: Vec<PathBuf> = (1..=documents.len()).map(|number| numbered(path, number)).collect();
    let old = further(path, documents.len()).or_exit(Exit::Usage, "cannot look for older parts")?;
    // Nothing is written if one of them is refused.
    new.iter().chain(&old).try_for_each(|file| output::check(file, format))?;
    for (file, document) in new.iter().zip(documents) {
        output::write(Some(file), format, |out| out.write_all(document))?;
    }
    old.iter().try_for_each(|file| fs::remove_file(file).or_exit(Exit::Usage, "cannot remove an older part"))
}

/// The files with higher numbers than the last one's, the highest first: if one cannot be removed, no gap hides it from people.
fn further(path: &Path, last: usize) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        let stem = name.file_stem().unwrap_or_default().to_string_lossy();
        let number = stem.rsplit('-').next().and_then(|number| number.parse::<usize>().ok());
        let is_further =
            |number: &usize| *number > last && numbered(path, *number).file_name() == Some(name.as_os_str());
        numbers.extend(number.filter(is_further));
    }
    numbers.sort_unstable();
    Ok(numbers.into_iter().rev().map(|number| numbered(path, number)).collect())
}

/// The name with the number before its extension.
fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{number}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}
