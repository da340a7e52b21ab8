//! Go's coverage data files: the two kinds that a program built with `go build -cover` writes into
//! `GOCOVERDIR`, and the text profiles of `go test -coverprofile`.
//!
//! - `covmeta.<hash>`, the meta-data: which packages, functions and blocks ("units") the binary has. See
//!   [`MetaFile`].
//! - `covcounters.<hash>.<pid>.<nanoseconds>`, the counters of one process, for the functions that ran. See
//!   [`CounterFile`].
//! - Text profiles, by any name. See [`TextProfile`].
//!
//! A [`Builder`] collects any number of these files, of any number of binaries. [`Data`] is their content. A [`Profile`]
//! has the merged count of each block, as `go tool covdata` merges. Bad data are treated differently from Go: a bad file
//! does not prevent the good ones from being read, and each file that is left out is reported as a [`Problem`].
//!
//! The bytes come from other people's machines, so every reader here accepts any input: it gives a value or an
//! [`Error`], in time and memory proportional to the input's length.
//!
//! The formats are defined by Go's source, version 1 of each in `src/internal/coverage/defs.go`; no
//! specification and no public package exists. What the modules' documentation states about Go was read there, and is
//! tested against the `go` command itself.

mod binary;
mod bytes;
mod counters;
mod counts;
mod cursor;
mod data;
mod encode;
mod error;
mod func;
mod identity;
mod index;
mod merge;
mod meta;
mod name;
pub mod parallel;
mod pattern;
mod percent;
mod profile;
mod read;
mod repeat;
mod sets;
mod stream;
mod strip;
mod text;

pub use counters::{CounterFile, Counters, FunctionCounters, FunctionCountersIter, Segment};
pub use data::{Data, NewFile};
pub use error::{Error, Problem, Reason};
pub use func::{FunctionBlocks, FunctionCoverage, Functions};
pub use identity::RenamedFile;
pub use meta::{Function, Granularity, MetaFile, Mode, Package, Unit, Units};
pub use name::{FileName, MetaHash};
pub use pattern::PackagePattern;
pub use percent::{Coverage, PackagePercent, Percent};
pub use profile::{Block, FileProfile, Finding, Findings, PackageProfile, Profile, ProfileFunction};
pub use read::{Builder, Files};
pub use strip::strip_args;
pub use text::{TextError, TextProfile};

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
        FileName::Text { .. } => match TextProfile::parse(bytes)? {
            (_, Some(bad)) => Err(bad.into()),
            (_, None) => Ok(()),
        },
        FileName::TemporaryMeta { .. } | FileName::TemporaryCounters { .. } => Err(Error::Temporary),
    }
}

/// Checks the hash of a file that is parsed already.
fn same_hash(expected: MetaHash, found: MetaHash) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::OtherHash { expected, found }) }
}
