//! Why there is no coverage to be read.

use crate::Range;

/// Why a process's coverage cannot be read from its memory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file is not an ELF program.
    #[error("it is no ELF program")]
    NotElf,
    /// A program for a processor that is not supported.
    #[error("it is a program for a processor that is not supported: {0}")]
    Processor(&'static str),
    /// The file has no section headers, so nothing can be found in it. Packers such as UPX remove them.
    #[error("its file has no section headers, so its counters cannot be found; was it packed?")]
    NoSections,
    /// The program was not built by Go.
    #[error("it is no Go program")]
    NotGo,
    /// The program was not built with `-cover`.
    #[error("it was not built with -cover")]
    NotCovered,
    /// The process is between two programs: `execve(2)` has not ended yet.
    #[error("its program is being started")]
    Starting,
    /// The program was built with `-cover`, but no package has told the runtime of its meta-data yet.
    #[error("its packages are not initialized yet")]
    NotStarted,
    /// The program was built with `-cover` by a Go that arranges its data otherwise.
    #[error("{} arranges its data in a way that is not known", go.as_deref().unwrap_or("its release of Go"))]
    Layout {
        /// The release of Go, where the file says it.
        go: Option<String>,
    },
    /// Something in it is larger than is ever read.
    #[error("{what} has {size} bytes, more than the {limit} that are read")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Bytes that must be there could not be read.
    #[error("{0} cannot be read")]
    Unreadable(Range),
    /// Packages were initialized after the meta-data was read: both must be read again.
    #[error("packages were initialized while it was read")]
    NewPackages,
    /// The meta-data or the counters are not valid.
    #[error(transparent)]
    Coverage(#[from] covdata::Error),
}
