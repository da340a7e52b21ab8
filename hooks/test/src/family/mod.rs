//! The command with all that it starts: how to signal it and how to be rid of it, by operating system.

#[cfg(unix)]
mod unix;
#[cfg(unix)]
pub(crate) use unix::{Family, GUARD, ended_by, start_guarded};

#[cfg(not(unix))]
mod other;
#[cfg(not(unix))]
pub(crate) use other::{Family, ended_by};
