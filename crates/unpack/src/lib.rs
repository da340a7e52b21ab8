//! From a pod's tar stream to verified coverage files in a folder.
//!
//! Nothing that comes from a pod is trusted. Only regular files with the names that Go gives to coverage files are
//! taken, each once, within limits, and only after their content has been checked. All other entries are refused by
//! name. The headers are read one by one ("raw"), without the extensions of the tar format (long names, pax
//! attributes): no coverage file's name needs them.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use covdata::FileName;
use flate2::read::MultiGzDecoder;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tar::EntryType;

/// A block of a tar archive.
const BLOCK: usize = 512;

/// What one container may send, and what is done with it.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Bytes of its whole archive, unpacked.
    pub archive: u64,
    /// Bytes of one file: as much as is held in memory to check it.
    pub file: u64,
    /// Entries of its archive.
    pub entries: usize,
    /// Write counter files without the program's command line.
    pub sanitize: bool,
}

/// A file that has been taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TakenFile {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// The result of reading a stream. Also after an error the files in `files` are complete and in the folder.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// The files, in the order they came.
    pub files: Vec<TakenFile>,
    /// Entries that a container's tar never sends by itself. Another try would not help.
    pub refused: Vec<String>,
    /// Coverage files whose content is not complete.
    pub corrupt: Vec<String>,
    /// The number of other entries, which were ignored.
    pub other: usize,
    /// Why the stream is not a complete archive, if it is not.
    pub cut: Option<String>,
    /// Whether it came compressed.
    pub gzip: bool,
}

/// Reads a tar archive, gzipped or not, and writes its coverage files to `folder`, which is made for the first of them.
/// More archives may follow in the same stream: a container may have more files than one command line of tar can name.
///
/// `all_asked_for`: the container was asked for coverage files only, so other entries are refused, not ignored.
///
/// # Errors
/// When `folder` cannot be written. A stream that breaks is no error: see [`Unpacked::cut`].
pub fn unpack(
    mut stream: impl Read,
    folder: &Path,
    rules: Rules,
    all_asked_for: bool,
) -> io::Result<Unpacked> {
    let mut start = Vec::new();
    if let Err(e) = stream.by_ref().take(2).read_to_end(&mut start) {
        return Ok(Unpacked { cut: Some(e.to_string()), ..Unpacked::default() });
    }
    let gzip = start == [0x1f, 0x8b];
    let stream = io::Cursor::new(start).chain(stream);
    let mut unpacked = Unpacked { gzip, ..Unpacked::default() };
    let outcome = if gzip {
        entries(MultiGzDecoder::new(stream), folder, rules, all_asked_for, &mut unpacked)
    } else {
        entries(stream, folder, rules, all_asked_for, &mut unpacked)
    };
    match outcome {
        Ok(()) => Ok(unpacked),
        Err(Stop::Cut(why)) => {
            unpacked.cut = Some(why);
            Ok(unpacked)
        }
        Err(Stop::Refused(what)) => {
            unpacked.refused.push(what);
            Ok(unpacked)
        }
        Err(Stop::Disk(e)) => Err(e),
    }
}

/// Takes one file, by its name and content, into a folder, which is made if it is missing.
///
/// # Errors
/// Why it is not taken: it is not a complete coverage file, or the folder cannot be written.
pub fn take(folder: &Path, name: &str, bytes: Vec<u8>, sanitize: bool) -> Result<TakenFile, String> {
    let shown = name.escape_default();
    let parsed = name.parse::<FileName>().map_err(|_| format!("{shown} is no name of a coverage file"))?;
    covdata::check(&parsed, &bytes).map_err(|e| format!("{shown} is not whole: {e}"))?;
    store(folder, name, &parsed, bytes, sanitize).map_err(|e| e.to_string())
}

/// Why reading ended before the archive's end.
enum Stop {
    /// The stream broke or is no archive.
    Cut(String),
    /// Going on would break a limit.
    Refused(String),
    /// The folder cannot be written.
    Disk(io::Error),
}

fn cut(error: &io::Error) -> Stop {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => Stop::Refused(error.to_string()),
        _ => Stop::Cut(error.to_string()),
    }
}

fn entries(
    stream: impl Read,
    folder: &Path,
    rules: Rules,
    all_asked_for: bool,
    unpacked: &mut Unpacked,
) -> Result<(), Stop> {
    let mut stream = Watched { stream, most: rules.archive, taken: 0, ended: false };
    let mut seen = Seen::default();
    let mut start = Vec::new();
    loop {
        let archive = io::Cursor::new(start).chain(&mut stream);
        one_archive(archive, folder, rules, all_asked_for, unpacked, &mut seen)?;
        match read_end(&mut stream)? {
            Some(block) => start = block,
            None => return Ok(()),
        }
    }
}

/// The counts over all archives of a stream.
#[derive(Default)]
struct Seen {
    names: BTreeSet<String>,
    entries: usize,
}

fn one_archive(
    stream: impl Read,
    folder: &Path,
    rules: Rules,
    all_asked_for: bool,
    unpacked: &mut Unpacked,
    seen: &mut Seen,
) -> Result<(), Stop> {
    let mut archive = tar::Archive::new(stream);
    for entry in archive.entries().map_err(|e| cut(&e))?.raw(true) {
        let mut entry = entry.map_err(|e| cut(&e))?;
        seen.entries += 1;
        if seen.entries > rules.entries {
            return Err(Stop::Refused(format!("an archive of over {} entries", rules.entries)));
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let shown = name.escape_default();
        let plain = name.strip_prefix("./").unwrap_or(&name);
        match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {}
            EntryType::Directory if matches!(plain, "" | ".") => continue,
            EntryType::XHeader | EntryType::XGlobalHeader => continue,
            EntryType::Directory if !all_asked_for => {
                unpacked.other += 1;
                continue;
            }
            kind => {
                unpacked.refused.push(format!("{shown} is no regular file ({kind:?})"));
                continue;
            }
        }
        let parsed = match plain.parse::<FileName>() {
            Ok(parsed) if parsed.is_temporary() => {
                // The program is writing it now; it gets its final name when it is complete.
                unpacked.other += 1;
                continue;
            }
            Ok(parsed) => parsed,
            Err(_) if !all_asked_for && !name.contains("..") && !name.starts_with('/') => {
                unpacked.other += 1;
                continue;
            }
            Err(_) => {
                unpacked.refused.push(format!("{shown} is no name of a coverage file"));
                continue;
            }
        };
        if !seen.names.insert(plain.to_owned()) {
            unpacked.refused.push(format!("{shown} comes twice"));
            continue;
        }
        if entry.size() > rules.file {
            return Err(Stop::Refused(format!("{shown} of {} MiB", entry.size() >> 20)));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(|e| cut(&e))?;
        if bytes.len() as u64 != entry.size() {
            return Err(Stop::Cut(format!("{shown} has {} of its {} bytes", bytes.len(), entry.size())));
        }
        match covdata::check(&parsed, &bytes) {
            Ok(()) => {
                unpacked
                    .files
                    .push(store(folder, plain, &parsed, bytes, rules.sanitize).map_err(Stop::Disk)?);
            }
            Err(e) => unpacked.corrupt.push(format!("{shown} is not whole: {e}")),
        }
    }
    Ok(())
}

/// An archive ends with two blocks of zeros. The reader has just read the first, or the end of the stream. More zeros
/// may follow (tar writes whole records). Reading to the very end also checks gzip's checksum. Gives the
/// first block of another archive that follows.
fn read_end(stream: &mut Watched<impl Read>) -> Result<Option<Vec<u8>>, Stop> {
    if stream.ended {
        return Err(Stop::Cut("the archive has no end".to_owned()));
    }
    let mut whole = false;
    loop {
        let mut block = Vec::new();
        stream.by_ref().take(BLOCK as u64).read_to_end(&mut block).map_err(|e| cut(&e))?;
        let zeros = block.iter().all(|&b| b == 0);
        match (block.len(), zeros) {
            (BLOCK, true) => whole = true,
            (1.., false) if whole => return Ok(Some(block)),
            (0, _) if whole => return Ok(None),
            _ => return Err(Stop::Cut("the archive's end is not whole".to_owned())),
        }
    }
}

/// Writes a file that has been checked. The folder is a staging folder, so the file may appear bit by bit.
fn store(
    folder: &Path,
    name: &str,
    kind: &FileName,
    bytes: Vec<u8>,
    sanitize: bool,
) -> io::Result<TakenFile> {
    let bytes = match kind {
        FileName::Counters { .. } if sanitize => covdata::strip_args(&bytes).map_err(io::Error::other)?,
        _ => bytes,
    };
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), &bytes)?;
    let sha256 = format!("{:x}", Sha256::digest(&bytes));
    Ok(TakenFile { name: name.to_owned(), size: bytes.len() as u64, sha256 })
}

/// A reader with a limit of bytes, which remembers whether it has reached the end.
struct Watched<R> {
    stream: R,
    most: u64,
    taken: u64,
    ended: bool,
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.taken += n as u64;
        self.ended |= n == 0 && !buffer.is_empty();
        if self.taken > self.most {
            let message = format!("an archive of over {} MiB", self.most >> 20);
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        Ok(n)
    }
}

#[cfg(test)]
mod tests;
