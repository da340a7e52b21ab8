//! Makes a Go program in a container write its counters, and gives the evidence that it has: new counter files.
//!
//! There are two ways. A podcov-agent in the container does it when it is asked over a port-forward, and can make the
//! program end in good order too. Else a shell in the container sends a signal and lists files. [`flush`] has the new
//! files checked. [`flush_and_take`] goes on, on the same connection, and has everything in the folder sent, for an exec
//! costs the node far more than what it does.

mod agent;
mod flush;
mod session;
mod taking;

pub use agent::Coverage;
pub use flush::{Ask, Flushed, Request, Way, flush, flush_and_take, signal_name};
pub use session::ALL;
pub use taking::{NoArchive, Taking};
