//! Files with the coverage of an earlier time.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use podcov_exit::{Exit, ResultExt};

/// What a file has of the coverage of an earlier time.
pub(crate) enum Earlier {
    /// A text profile.
    Profile(Vec<u8>),
    /// Anything else: it should be what `podcov-report json` writes.
    Json(Vec<u8>),
}

impl Earlier {
    /// Reads it. `cannot` is the error if the file cannot be read.
    pub(crate) fn read(file: &Path, cannot: &'static str) -> Result<Self> {
        let mut bytes = fs::read(file).or_exit(Exit::Usage, cannot)?;
        // Some editors write a byte order mark at the start.
        if bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(.."\u{feff}".len());
        }
        Ok(if bytes.starts_with(b"mode:") { Self::Profile(bytes) } else { Self::Json(bytes) })
    }
}
