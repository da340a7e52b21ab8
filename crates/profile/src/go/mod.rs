//! Output that equals that of `go tool covdata` to the character, and the coverage files that it writes.

pub(crate) mod files;
pub(crate) mod func;
pub(crate) mod pattern;
pub(crate) mod percent;
mod sets;
mod stream;
pub(crate) mod text;
