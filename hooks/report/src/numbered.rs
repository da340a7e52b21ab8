//! Writes a result as several numbered files.

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
    let last = (1..).find(|&number| number > documents.len() && !numbered(path, number).exists());
    let all = (1..last.unwrap_or(usize::MAX)).map(|number| numbered(path, number));
    let all: Vec<PathBuf> = all.collect();
    // Nothing is written if one of them is refused.
    all.iter().try_for_each(|file| output::check(file, format))?;
    let (new, old) = all.split_at(documents.len());
    for (file, document) in new.iter().zip(documents) {
        output::write(Some(file), format, |out| out.write_all(document))?;
    }
    old.iter().try_for_each(|file| fs::remove_file(file).or_exit(Exit::Usage, "cannot remove an older part"))
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
