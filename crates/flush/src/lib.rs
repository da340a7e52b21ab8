//! Makes a Go program in a container write its counters, and gives the evidence that it has: new counter files.
//!
//! There are two ways. A podcov-agent in the container does it when it is asked over a port-forward, and can make the
//! program shut down gracefully too. Else a shell in the container sends a signal and lists files. [`flush`] has the new
//! files checked. [`flush_and_take`] goes on, on the same connection, and has everything in the folder sent, for an exec
//! costs the node far more than what it does.
//!
//! Only the container's own processes are ever signalled: `session.sh` says how they are told from others.

mod agent;
mod archive_stream;
mod flush;
mod pause;
mod process;
mod session;
mod shell;

pub use agent::Coverage;
pub use archive_stream::{ArchiveStream, NoArchive};
pub use flush::{Ask, Flushed, Request, Way, flush, flush_and_take, signal_name};
pub use process::{Process, ProcessFilter};
pub use session::with_tar_script;
