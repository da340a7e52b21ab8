//! Coverage of any number of binaries and runs: the blocks of all inputs, each once, and how often they ran.
//!
//! A [`Builder`] collects any number of coverage files and text profiles, of any number of binaries. [`Data`] is their
//! content. A [`Profile`] has the merged count of each block, as `go tool covdata` merges. Bad data are treated differently
//! from Go: a bad file does not prevent the good ones from being read, and each file that is left out is reported as a
//! [`Problem`].
//!
//! - `read`: reads files, on all processors, and adds up their counters by binary.
//! - `index`: the blocks of a source file in all inputs, each once, whichever releases of Go cut it into blocks.
//! - `groups`: what each input has of a package.
//! - `counts` and `merge`: how often these blocks ran; `suites`: in each of several parts of the input.
//! - `programs` and `identity`: which binaries are one program, and one name for one source file.
//! - `go`: output that equals that of `go tool covdata`.
//!
//! The files themselves are read by the crate [`covdata`].

mod binary;
mod bytes;
mod counts;
mod data;
mod go;
mod groups;
mod identity;
mod index;
mod merge;
pub mod parallel;
mod problem;
mod profile;
mod programs;
mod read;
mod repeat;
mod suites;
mod texts;

pub use data::{Data, RenamedFile};
pub use go::files::NewFile;
pub use go::func::{FunctionBlocks, FunctionCoverage, Functions};
pub use go::pattern::PackagePattern;
pub use go::percent::{Coverage, PackagePercent, Percent};
pub use identity::Undecided;
pub use index::Repetition;
pub use problem::{Problem, Reason};
pub use profile::{Block, FileProfile, Finding, Findings, PackageProfile, Profile, ProfileFunction};
pub use read::{Builder, Files};
pub use suites::{PackageSuites, SuiteCoverage};
