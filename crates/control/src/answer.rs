//! What podcov-agent answers, in JSON.

use serde::{Deserialize, Serialize};

use crate::EndedProcesses;

/// The program has written its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// The names of the new files, which have been read back and are whole.
    pub files: Vec<String>,
}

/// The program has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// Its exit code, 128 + n where signal n ended it.
    pub exit_code: u8,
    /// Whether it wrote its counters then.
    pub counters_written: bool,
}

/// What had been counted is removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasReset {
    /// How many files.
    pub removed: usize,
}

/// What was asked could not be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why.
    pub error: String,
}

/// How the program and its agent are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// The agent's version.
    pub podcov: String,
    /// Whether the program runs.
    pub state: ProgramState,
    /// The program's process, while it runs.
    pub pid: Option<i32>,
    /// The exit code of the process that ended last, while none runs.
    pub exit_code: Option<u8>,
    /// How often the program was started.
    pub starts: u32,
    /// Its processes that have ended.
    pub lives: EndedProcesses,
    /// The folder of coverage files.
    pub coverdir: String,
    /// Where they are uploaded to.
    pub storage: Option<String>,
    /// Which run they belong to.
    pub run: String,
    /// The pod's namespace in storage.
    pub namespace: String,
    /// The pod's name in storage.
    pub pod: String,
    /// The container's name in storage.
    pub container: String,
    /// When the agent started, in nanoseconds since 1970-01-01 UTC: a text, for not every reader of JSON has such numbers.
    pub start: String,
}

/// Whether a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramState {
    /// It runs.
    Running,
    /// It has ended, and may be started again.
    Down,
    /// It has ended for good.
    Over,
    /// There is none: the agent reads the programs of other containers.
    Watching,
}
