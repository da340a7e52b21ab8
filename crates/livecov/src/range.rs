//! Which bytes of a process a reader asks for.

use std::fmt;

/// Where bytes of a process are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// In the program's file, `/proc/PID/exe`. Positions are offsets in the file.
    File,
    /// In the process's memory, `/proc/PID/mem`. Positions are addresses.
    Memory,
}

/// Bytes of a process that a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// Where they are.
    pub source: Source,
    /// The position of the first one.
    pub start: u64,
    /// How many there are.
    pub length: u64,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, start, length } = self;
        match source {
            Source::File => write!(f, "{length} bytes of its file, from {start}"),
            Source::Memory => write!(f, "{length} bytes of its memory, from {start:#x}"),
        }
    }
}

impl Range {
    pub(crate) fn file(start: u64, length: u64) -> Self {
        Self { source: Source::File, start, length }
    }

    pub(crate) fn memory(start: u64, length: u64) -> Self {
        Self { source: Source::Memory, start, length }
    }

    /// The position after its last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}
