//! The processes whose counters a podcov-agent has read from their memory.

use serde::{Deserialize, Serialize};

/// A process of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveProcess {
    /// Its number, as the container counts.
    pub pid: u32,
    /// When it was started, in nanoseconds since 1970-01-01 UTC; up to a second early. With the number it tells
    /// a process from all others of its container: of several snapshots of one process, only the last counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// Its name: the first 15 bytes of the program's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of one that has ended: how long before its end it was read, at most, in milliseconds. What it counted in that time is
    /// lost, unless it wrote its counters itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
    /// The name of the file with its counters. It has the time of the snapshot.
    pub counters: String,
    /// The release of Go that built the program, as `go1.26.8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go: Option<String>,
    /// The path of the main package's module.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The commit that the program was built from, if the `go` command noted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}
