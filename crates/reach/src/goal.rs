//! What a container is reached for.

use std::time::Duration;

use podcov_control::Action;

use crate::builds::Builds;
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
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal<'a> {
    /// New counter files: the program writes its counters, or ends.
    Flush(Instruction<'a>),
    /// The coverage files, after the program has done this.
    Archive(Instruction<'a>),
    /// The coverage files that are there.
    Files {
        /// That there are none is no fault.
        maybe_none: bool,
        /// An ephemeral container that is beside the container may be used.
        beside: bool,
        /// Their names are enough.
        names_alone: bool,
    },
    /// The coverage of its running programs, out of their memory.
    Snapshot {
        /// The image of an ephemeral container, where every way may be tried. Without it a sidecar alone is asked.
        image: Option<&'a str>,
        /// What was read before of the same builds.
        builds: &'a Builds,
    },
}

impl<'a> Goal<'a> {
    /// What the program is to do.
    pub(crate) fn instruction(&self) -> Option<&Instruction<'a>> {
        match self {
            Self::Flush(instruction) | Self::Archive(instruction) => Some(instruction),
            Self::Files { .. } | Self::Snapshot { .. } => None,
        }
    }

    /// That there are no coverage files is no fault.
    pub(crate) fn maybe_none(&self) -> bool {
        matches!(self, Self::Files { maybe_none: true, .. })
    }
}
