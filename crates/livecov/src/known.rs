//! The bytes that a reader knows so far.

use std::collections::{HashMap, HashSet};

use crate::{Error, Range};

/// The most bytes that are asked for at a time. The largest known programs have some 10 MB of meta-data.
const LIMIT: u64 = 256 << 20;

/// Checks that no more than the limit is read for these ranges together.
pub(crate) fn limited(ranges: &[Range], what: &'static str) -> Result<(), Error> {
    let size = ranges.iter().fold(0_u64, |size, range| size.saturating_add(range.length));
    if size > LIMIT { Err(Error::TooLarge { what, size, limit: LIMIT }) } else { Ok(()) }
}

/// Why a reader cannot go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// It needs these bytes first.
    Need(Vec<Range>),
    /// It needs these, by which others will find what is the same for all processes of the build with this number.
    NeedShared(u64, Vec<Range>),
    /// There is nothing to be read.
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The bytes that a reader was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Known {
    ranges: HashMap<Range, Vec<u8>>,
}

impl Known {
    /// Adds the bytes of a range; fewer than it has if the rest cannot be read.
    pub(crate) fn add(&mut self, range: Range, bytes: Vec<u8>) {
        self.ranges.insert(range, bytes);
    }

    /// The bytes of a range.
    pub(crate) fn get(&self, range: Range) -> Result<&[u8], Stop> {
        Ok(self.all(&[range])?[0])
    }

    /// The bytes of each of several ranges.
    pub(crate) fn all(&self, ranges: &[Range]) -> Result<Vec<&[u8]>, Stop> {
        let parts = self.parts(ranges)?;
        match ranges.iter().zip(&parts).find(|(range, bytes)| (bytes.len() as u64) < range.length) {
            Some((range, _)) => Err(Error::Unreadable(*range).into()),
            None => Ok(parts),
        }
    }

    /// The bytes of a range that can be read, maybe none.
    pub(crate) fn part(&self, range: Range) -> Result<&[u8], Stop> {
        Ok(self.parts(&[range])?[0])
    }

    /// The bytes of each of several ranges, as far as they can be read. All that is missing is asked for at once.
    pub(crate) fn parts(&self, ranges: &[Range]) -> Result<Vec<&[u8]>, Stop> {
        limited(ranges, "what is read at a time")?;
        let known = ranges.iter().map(|range| self.ranges.get(range).map(Vec::as_slice));
        if let Some(known) = known.collect() {
            return Ok(known);
        }
        let mut asked = HashSet::new();
        let is_missing = |range: &&Range| !self.ranges.contains_key(range) && asked.insert(**range);
        Err(Stop::Need(ranges.iter().filter(is_missing).copied().collect()))
    }
}
