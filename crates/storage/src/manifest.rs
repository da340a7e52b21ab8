//! The manifest: the agent's list of the files that it has uploaded for one start.

use serde::{Deserialize, Serialize};

use crate::Origin;

/// The manifest's own name.
pub const MANIFEST: &str = "manifest.json";

/// `manifest.json`, version 1: what has been uploaded of one start. It is written again after each upload, once all
/// files in it are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the format; it changes when a field changes its meaning or is removed.
    pub version: u32,
    /// The podcov that wrote it.
    pub podcov: String,
    /// Whose files they are.
    #[serde(flatten)]
    pub origin: Origin,
    /// How the program ended, for good: its exit code, or 128 + the signal. `None` while it may still write more.
    pub exit_code: Option<u8>,
    /// Ordered by name.
    pub files: Vec<StoredFile>,
    /// What was there and could not be uploaded, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
}

/// A file that has been uploaded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl Manifest {
    /// The version that is written.
    pub const VERSION: u32 = 1;
}
