//! Makes a Go program in a container write its counters by a signal, and gives the evidence that it has: new counter
//! files.
//!
//! [`flush`] reads those back and checks them. [`flush_and_take`] goes on in the same exec and has everything in the
//! folder sent, for an exec costs the node far more than what it does.

mod flush;
mod session;

pub use flush::{Flushed, Request, flush, flush_and_take, signal_name};
pub use session::{ALL, Taking};
