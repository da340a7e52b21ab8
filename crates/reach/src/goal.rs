//! What a container is reached for.

use std::time::Duration;

use podcov_control::Action;

use crate::process::ProcessFilter;

/// What a program is to do, and how long it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction<'a> {
    /// What it is to do.
    pub action: Action,
    /// Which of the container's processes get the signal.
    pub processes: ProcessFilter<'a>,
    /// How long it may take to write its counters.
    pub timeout: Duration,
}

/// What a container is reached for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal<'a> {
    /// New counter files: the program writes its counters, or ends.
    Flush(Instruction<'a>),
    /// The coverage files, after the program has done this, if anything.
    Archive(Option<Instruction<'a>>),
}

impl<'a> Goal<'a> {
    /// What the program is to do.
    pub(crate) fn instruction(&self) -> Option<&Instruction<'a>> {
        match self {
            Self::Flush(instruction) => Some(instruction),
            Self::Archive(instruction) => instruction.as_ref(),
        }
    }
}
