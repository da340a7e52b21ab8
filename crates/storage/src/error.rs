//! What can go wrong with storage, in words.

use object_store::Error as StoreError;
use podcov_cli::{Exit, Failure};

/// Why something could not be written to storage, or read from it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is none, or what it needs is not set. Another try changes nothing.
    #[error("{0}")]
    Address(String),
    /// The server refuses, or has no such bucket. Another try changes nothing.
    #[error("{0}")]
    Refused(String),
    /// The server could not be reached, or failed. Another try may succeed.
    #[error("{0}")]
    Passing(String),
    /// What came back is not what was put there. It may have been on the way.
    #[error("{0}")]
    Corrupt(String),
}

impl Error {
    /// The same with the exit code that it ends a program with.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        let exit = if matches!(self, Self::Address(_)) { Exit::Usage } else { Exit::Unreachable };
        Failure::new(exit, self.to_string())
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let cause = cause(&error);
        match error {
            StoreError::Unauthenticated { .. } => {
                Self::Refused(format!("the credentials are not accepted: {cause}"))
            }
            StoreError::PermissionDenied { .. } => {
                Self::Refused(format!("the credentials do not suffice: {cause}"))
            }
            StoreError::NotFound { .. } => Self::Refused(format!("not found: {cause}")),
            StoreError::InvalidPath { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::UnknownConfigurationKey { .. } => Self::Refused(cause),
            _ => Self::Passing(cause),
        }
    }
}

/// The innermost errors say what happened; those around them repeat each other.
fn cause(error: &StoreError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
