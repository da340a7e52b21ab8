//! What is asked of a container.

use std::time::Duration;

use podcov_control::Ask;

use crate::process::ProcessFilter;

/// What a program is to do, and how long it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// What it is to do.
    pub ask: Ask,
    /// Which of the container's processes get the signal.
    pub processes: ProcessFilter<'a>,
    /// How long it may take to write its counters.
    pub timeout: Duration,
}

/// What is wished of a container's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish<'a> {
    /// That the program writes them, or ends.
    Flush(Request<'a>),
    /// The coverage files, after the program has done this, if anything.
    Archive(Option<Request<'a>>),
}

impl<'a> Wish<'a> {
    /// What the program is to do.
    pub(crate) fn request(&self) -> Option<&Request<'a>> {
        match self {
            Self::Flush(request) => Some(request),
            Self::Archive(request) => request.as_ref(),
        }
    }
}
