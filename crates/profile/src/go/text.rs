//! The lines of `go tool covdata textfmt`.
//!
//! Go: `EmitTextual` in `internal/coverage/cformat`.

use std::io::{self, Write};

use covdata::TextBlock;

use crate::{FileProfile, Profile};

impl Profile<'_> {
    /// Writes a text profile, in Go's order.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write_text(&self, out: &mut impl Write) -> io::Result<()> {
        let Some(mode) = self.mode() else { return Ok(()) };
        writeln!(out, "mode: {mode}")?;
        let mut text = Vec::new();
        for file in self.files() {
            text.clear();
            write_blocks(file, &mut text);
            out.write_all(&text)?;
        }
        Ok(())
    }
}

/// Writes a file's blocks, a line each.
pub(crate) fn write_blocks(file: &FileProfile<'_>, out: &mut Vec<u8>) {
    for block in &file.blocks {
        TextBlock { unit: block.unit, count: block.count }.write(file.name, out);
    }
}
