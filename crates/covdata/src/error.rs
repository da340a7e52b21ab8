//! What can be wrong with a file's bytes ([`Error`]), and with a set of files ([`Problem`]).

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{MetaHash, TextError};

/// Why bytes, or a name, are not a valid coverage file. Offsets count bytes from the file's
/// start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not one that Go gives to a coverage file.
    #[error("not the name of a coverage file")]
    Name,
    /// The name is that of a write in progress; the file gets its final name when it is whole.
    #[error("a temporary file, its writer has not finished")]
    Temporary,
    /// The file, or a part of it, ends before the end of an item.
    #[error("at byte {offset}: {what} is cut off")]
    Truncated {
        /// Where the item starts.
        offset: usize,
        /// The item.
        what: &'static str,
    },
    /// An item has a value which the format does not allow.
    #[error("at byte {offset}: {what}")]
    Malformed {
        /// Where the item starts.
        offset: usize,
        /// What was expected and what was found.
        what: Cow<'static, str>,
    },
    /// The format's version is one that this crate does not know.
    #[error("format version {found}, only version 1 is known")]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// The header of a meta-data file announces a length that is not the file's.
    #[error("the file has {found} bytes, its header announces {announced}")]
    Length {
        /// The header's length, in bytes.
        announced: u64,
        /// The file's length, in bytes.
        found: u64,
    },
    /// The hash in the header is not the one in the name: the content is that of another file.
    #[error("the name says hash {expected}, the header says {found}")]
    OtherHash {
        /// The name's hash.
        expected: MetaHash,
        /// The header's hash.
        found: MetaHash,
    },
    /// A text profile that is not whole.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl Error {
    pub(crate) fn malformed(offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { offset, what: what.into() }
    }
}

/// Why a file or a folder is not in [`Data`](crate::Data), or why its numbers are doubtful.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", self.text())]
pub struct Problem {
    /// The file or folder.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub reason: Reason,
}

impl Problem {
    pub(crate) fn new(path: impl Into<PathBuf>, reason: impl Into<Reason>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }

    /// The message. That of an I/O error names the file already.
    fn text(&self) -> String {
        match &self.reason {
            Reason::Io(error) => error.to_string(),
            reason => format!("{}: {reason}", self.path.display()),
        }
    }
}

/// The kinds of [`Problem`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The file or folder could not be read; its content is not in the profile.
    #[error(transparent)]
    Io(Arc<std::io::Error>),
    /// The file is truncated or malformed; its content is not in the profile.
    #[error(transparent)]
    Invalid(#[from] Error),
    /// The file is not a text profile, or has malformed lines; its other lines are in the profile.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A counter file without the meta-data file of its binary in any folder; it is not in the profile.
    #[error("no meta-data file covmeta.{hash} for these counters")]
    NoMeta {
        /// The binary's hash.
        hash: MetaHash,
    },
    /// A meta-data file without a counter file of its binary in the same folder: the process was killed, or
    /// panicked, before it wrote, or is still running. As in Go, its statements count as not covered.
    #[error("no counters were written")]
    NoCounters,
    /// A meta-data file which differs from an earlier one of the same hash; the earlier one is in the
    /// profile.
    #[error("differs from {}, which has the same hash", first.display())]
    OtherMeta {
        /// The earlier file.
        first: PathBuf,
    },
    /// A counter file with counters of a function which the meta-data does not have, or which has another number of units
    /// there; nothing of the file is in the profile.
    #[error(
        "{counters} counters for function {function} of package {package}, which the meta-data does not have"
    )]
    OtherShape {
        /// The package's index in the meta-data file.
        package: u32,
        /// The function's index in the package.
        function: u32,
        /// How many counters the entry has.
        counters: u32,
    },
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}
