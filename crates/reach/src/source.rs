//! What every way to a container's counters offers.

use futures_util::future::BoxFuture;
use podcov_cluster::{Cluster, Fate, Target};
use serde::Serialize;

use crate::archive::ArchiveStream;
use crate::fault::Fault;
use crate::process::Process;
use crate::wish::Wish;

/// A way to containers' counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// The way to one container, for one wish.
    pub(crate) source: for<'a> fn(&'a Cluster, &'a Target, Wish<'a>) -> Box<dyn Source + 'a>,
}

/// A way to one container, for one wish. It is opened again for every try, and may remember what it has done before: a
/// signal is sent once.
pub(crate) trait Source: Send {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Connects to the container.
    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Has the program write its counters, or end, and gives the evidence that it has.
    fn flush(&mut self) -> BoxFuture<'_, Result<Evidence, Fault>>;

    /// The coverage files, after the program has done what the wish says. `None` if it has and this way cannot send them.
    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>>;

    /// The message for the last fault, of a container that has had this fate.
    fn explain(&self, fault: &Fault, fate: &Fate) -> String {
        match fault {
            Fault::Final(why) => why.clone(),
            Fault::Absent(why) | Fault::Passing(why) => format!("{fate} ({why})"),
        }
    }
}

/// That a program has written its counters.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The processes that were signalled, where that was done by a shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// The new counter files.
    pub files: Vec<String>,
    /// They were read back and are whole. Without tar in the image they could not be; Go renames a file to its final
    /// name only when it is whole.
    pub verified: bool,
}
