//! Whether a file is whole.

use crate::{CounterFile, Error, FileName, MetaFile, MetaHash, TextError, TextProfile};

/// Checks that `bytes` are the complete content of the file with this `name`.
///
/// Complete: a meta-data file has the length that it announces and every offset in range; a counter file ends in
/// its footer and holds exactly the entries that it announces; a text profile has no malformed line.
/// The hash in the header must be the one in the name. Neither counter files nor text profiles have a checksum, so a changed
/// counter, or a whole line that is missing, cannot be seen.
///
/// No thread is started: podcov-agent calls this in containers whose limit on processes may be reached.
///
/// # Errors
///
/// [`Error::Temporary`] for the name of a write in progress, [`Error::OtherHash`] for another file's content,
/// otherwise what the parser found.
pub fn check(name: &FileName, bytes: &[u8]) -> Result<(), Error> {
    match *name {
        FileName::Meta { hash } => same_hash(hash, MetaFile::parse(bytes)?.hash),
        FileName::Counters { hash, .. } => same_hash(hash, CounterFile::parse(bytes)?.hash()),
        FileName::Text { .. } => match TextProfile::parse(bytes)?.bad_lines {
            Some(bad) => Err(TextError::from(bad).into()),
            None => Ok(()),
        },
        FileName::TemporaryMeta { .. } | FileName::TemporaryCounters { .. } => Err(Error::Temporary),
    }
}

/// Checks the hash of a file that is parsed already.
fn same_hash(expected: MetaHash, found: MetaHash) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::OtherHash { expected, found }) }
}
