//! What a way to a container would yield.

use covdata::Mode;
use podcov_control::LiveProcess;

/// What a way would yield.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prospect {
    /// The programs that are built with `-cover`.
    pub covered: Vec<CoveredProgram>,
    /// The other processes of the container, as far as the way looks at them.
    pub others: Vec<OtherProcess>,
    /// What it could not tell or read, a sentence each.
    pub missing: Vec<String>,
    /// The version of the podcov-agent that answered.
    pub agent: Option<String>,
    /// The folder of coverage files, where the way looks at it.
    pub folder: Option<FolderState>,
    /// Whether the image has tar, where that is needed.
    pub has_tar: Option<bool>,
    /// An ephemeral container would have to be added first, and was not: nothing is known of the programs.
    pub is_unseen: bool,
}

/// A process of a program that is built with `-cover`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CoveredProgram {
    /// Its ID, as the container counts, and its name.
    pub process: String,
    /// The release of Go, as `go1.26.8`.
    pub go: Option<String>,
    /// The path of the main package's module.
    pub module: Option<String>,
    /// What its counters count.
    pub mode: Option<Mode>,
}

/// A process whose memory was read: its ID and its name.
pub(crate) fn describe_process(process: &LiveProcess) -> String {
    format!("process {} ({})", process.pid, process.name.as_deref().unwrap_or_default())
}

/// A process of another program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherProcess {
    /// Its ID, as the container counts, and its name.
    pub process: String,
    /// Whether the program is one that Go has built, if that is known.
    pub is_go: Option<bool>,
}

/// What is known of a folder of coverage files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FolderState {
    /// It is not there.
    Missing,
    /// The container's user may not write to it.
    ReadOnly,
    /// It may be written to, and no program has written its meta-data there.
    WithoutMetaData,
    /// It has meta-data, which each program writes when it starts.
    HasMetaData,
}
