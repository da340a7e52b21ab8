//! The coverage of a running Go program, read from its memory.
//!
//! A program built with `go build -cover` counts in its own memory, whether or not it ever writes a coverage file.
//! [`Reader`] finds the counters and the meta-data there, and [`Program::snapshot`] makes of them the two files that the
//! program would write itself. The program is not stopped, and needs no handler, no `GOCOVERDIR` and no symbols.
//!
//! Nothing here does input or output. A reader names the [`Range`]s that it needs next and is given their bytes, from
//! `/proc/PID/mem`, through an exec, or out of a core file. Only [`process`] opens files: it reads a process of this
//! machine.
//!
//! All bytes come from other people's programs, which may change while they are read. Whatever they are, a reader gives
//! a value or an [`Error`], in time and memory proportional to what it was given.
//!
//! Supported are Linux programs by Go 1.20 to 1.27 for 64-bit little-endian processors: position-independent or not,
//! stripped or not, linked by Go or by the system's linker.

mod build;
mod builds;
mod elf;
mod error;
mod known;
mod metalist;
mod module;
mod overlap;
#[cfg(target_os = "linux")]
pub mod process;
mod range;
mod reader;
mod snapshot;
mod stat;

pub use build::BuildInfo;
pub use builds::Builds;
pub use error::Error;
pub use overlap::{difference, is_within};
pub use range::{Range, Source};
pub use reader::{Program, Reader, Step};
pub use snapshot::{Facts, Readings, Snapshot};
pub use stat::{Stat, boot_time};
