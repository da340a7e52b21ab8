//! What can be wrong with a set of files.

use std::path::PathBuf;
use std::sync::Arc;

use covdata::{Error, MetaHash, TextError};

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
