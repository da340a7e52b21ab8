//! Go's coverage data files, read and written: the two kinds that a program built with `go build -cover` writes into
//! `GOCOVERDIR`, and the text profiles of `go test -coverprofile`.
//!
//! - `covmeta.<hash>`, the meta-data: which packages, functions and blocks ("units") the binary has. See [`MetaFile`], and
//!   to write one, [`PackageBuilder`] and [`meta_file`].
//! - `covcounters.<hash>.<pid>.<nanoseconds>`, the counters of one process, for the functions that ran. See
//!   [`CounterFile`], and to write one, [`CounterFileBuilder`]. [`strip_args`] removes the command line.
//! - Text profiles, by any name. See [`TextProfile`] and [`TextBlock::write`].
//!
//! This crate turns bytes into values and values into bytes. It reads no files, starts no threads and asks no clock.
//!
//! ```
//! use covdata::{CounterFile, CounterFileBuilder, Granularity, MetaFile, Mode, PackageBuilder, Unit, meta_file};
//!
//! # fn main() -> Result<(), covdata::Error> {
//! // A package with a function that has one block.
//! let unit = Unit { start_line: 5, start_column: 13, end_line: 7, end_column: 2, statements: 1 };
//! let mut package = PackageBuilder::new("main", "example.com/shop", "example.com/shop");
//! package.add("main", "example.com/shop/main.go", false, [unit].into_iter());
//! let package = package.finish()?;
//! let (hash, meta) = meta_file(&[&package], Mode::Count, Granularity::PerBlock);
//!
//! let file = MetaFile::parse(&meta)?;
//! assert_eq!(file.packages[0].path, "example.com/shop");
//! let function = file.packages[0].functions().next().expect("there is one");
//! assert_eq!(file.packages[0].string(function.name), "main");
//! assert_eq!(function.units().collect::<Vec<_>>(), [unit]);
//!
//! // The block ran twice.
//! let mut counters = CounterFileBuilder::new(hash, &Default::default())?;
//! counters.function(0, 0, [2])?;
//! let counters = counters.finish();
//!
//! let file = CounterFile::parse(&counters)?;
//! assert_eq!(file.hash(), hash);
//! let function = file.functions().next().expect("there is one");
//! assert_eq!(function.counters().collect::<Vec<_>>(), [2]);
//! # Ok(())
//! # }
//! ```
//!
//! The bytes may come from anywhere, so every reader here accepts any input: it gives a value or an [`Error`], in time and
//! memory proportional to the input's length.
//!
//! The formats are defined by Go's source, version 1 of each in `src/internal/coverage/defs.go`; no specification and no
//! public package exists. What the modules' documentation states about Go was read there, and is tested against the `go`
//! command itself.

mod check;
mod counters;
mod cursor;
mod encode;
mod error;
mod hash;
mod meta;
mod name;
mod strip;
mod text;

pub use check::check;
pub use counters::{
    CounterFile, CounterSink, Counters, FunctionCounters, FunctionCountersIter, ProcessArgs, Segment,
};
pub use encode::{CounterFileBuilder, PackageBuilder, meta_file, meta_file_with_hash};
pub use error::{BadLines, Error, TextError};
pub use hash::MetaHash;
pub use meta::{Function, Granularity, MetaFile, Mode, Package, PackageBytes, Unit, Units};
pub use name::FileName;
pub use strip::strip_args;
pub use text::{TextBlock, TextFile, TextProfile};

/// The examples in the README are tests too.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
