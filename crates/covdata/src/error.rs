//! What can be wrong with a file's bytes.

use std::borrow::Cow;

use crate::MetaHash;

/// Why bytes, or a name, are not a valid coverage file. Offsets count bytes from the file's
/// start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not one that Go gives to a coverage file.
    #[error("not the name of a coverage file")]
    Name,
    /// The name is that of a write in progress; the file gets its final name when it is whole.
    #[error("a temporary file, its writer has not finished")]
    Temporary,
    /// The file, or a part of it, ends before the end of an item.
    #[error("at byte {offset}: {what} is cut off")]
    Truncated {
        /// Where the item starts.
        offset: usize,
        /// The item.
        what: &'static str,
    },
    /// An item has a value which the format does not allow.
    #[error("at byte {offset}: {what}")]
    Malformed {
        /// Where the item starts.
        offset: usize,
        /// What was expected and what was found.
        what: Cow<'static, str>,
    },
    /// The format's version is one that this crate does not know.
    #[error("format version {found}, only version 1 is known")]
    Version {
        /// The version in the header.
        found: u32,
    },
    /// The header of a meta-data file announces a length that is not the file's.
    #[error("the file has {found} bytes, its header announces {announced}")]
    Length {
        /// The header's length, in bytes.
        announced: u64,
        /// The file's length, in bytes.
        found: u64,
    },
    /// The hash in the header is not the one in the name: the content is that of another file.
    #[error("the name says hash {expected}, the header says {found}")]
    OtherHash {
        /// The name's hash.
        expected: MetaHash,
        /// The header's hash.
        found: MetaHash,
    },
    /// What is to be written does not fit into the format.
    #[error("{what} exceeds 32 bits")]
    TooLarge {
        /// The item.
        what: &'static str,
    },
    /// A text profile that is not whole.
    #[error(transparent)]
    Text(#[from] TextError),
}

impl Error {
    pub(crate) fn malformed(offset: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self::Malformed { offset, what: what.into() }
    }
}

/// Why text is not a valid text profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The first line does not name a mode, so this is no text profile.
    #[error("not a text profile: its first line is not `mode: set`, `mode: count` or `mode: atomic`")]
    NoMode,
    /// Some lines are neither a block nor a mode.
    #[error(transparent)]
    BadLines(#[from] BadLines),
}

/// The lines of a text profile that are neither a block nor a mode: see [`TextProfile::bad_lines`](crate::TextProfile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct BadLines {
    /// The number of the first one, from 1.
    pub first: usize,
    /// How many there are.
    pub lines: usize,
}

impl BadLines {
    fn text(self) -> String {
        let Self { first, lines } = self;
        let more = if lines > 1 { format!(" and {} more", lines - 1) } else { String::new() };
        format!("line {first}{more}: not `file:line.column,line.column statements count`; left out")
    }
}
