//! Why a try has failed, and so what may help.

use podcov_cluster::Error;

/// Why a way to a container did not lead to its counters this time. The text is what a person reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The container does not have this way: the next one may be there.
    #[error("{0}")]
    Absent(String),
    /// Another try may succeed.
    #[error("{0}")]
    Passing(String),
    /// No other try helps, by whichever way.
    #[error("{0}")]
    Final(String),
}

impl Fault {
    /// Of an error on the way to a container or back. One that would come again closes the way: another one may be open,
    /// as exec is to users who may not forward ports.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        if error.is_transient() {
            return Self::Passing(error.to_string());
        }
        Self::Absent(match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        })
    }
}
