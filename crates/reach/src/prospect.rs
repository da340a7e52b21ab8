//! What a way to a container would yield.

use std::fmt;

use covdata::{FileName, Mode};
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
    /// The coverage files that are there, where the way looks for them.
    pub files: Option<CoverageFiles>,
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

impl fmt::Display for CoveredProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, go, module, mode } = self;
        write!(f, "{process} is built with -cover")?;
        mode.iter().try_for_each(|mode| write!(f, ", -covermode={mode}"))?;
        go.iter().try_for_each(|go| write!(f, ", {go}"))?;
        module.iter().try_for_each(|module| write!(f, ", module {module}"))
    }
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

/// How many coverage files there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CoverageFiles {
    /// Meta-data files.
    pub meta: usize,
    /// Counter files.
    pub counters: usize,
    /// Text profiles that podcov-agent keeps.
    pub profiles: usize,
}

impl CoverageFiles {
    /// Counts a file if it has a name that is collected.
    pub(crate) fn add(&mut self, name: &str) {
        match name.parse() {
            Ok(FileName::Meta { .. }) => self.meta += 1,
            Ok(FileName::Counters { .. }) => self.counters += 1,
            Ok(FileName::Text { .. }) => self.profiles += 1,
            Ok(_) | Err(_) => {}
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
