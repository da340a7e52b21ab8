//! What every way to a container's counters offers.

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use podcov_cluster::{Cluster, Fate, Target};
use serde::Serialize;

use crate::archive::ArchiveStream;
use crate::fault::Fault;
use crate::goal::Goal;
use crate::process::Process;
use crate::prospect::Prospect;

/// A kind of way to containers' counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WayKind {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// Makes the way to one container, for one goal.
    pub(crate) create: for<'a> fn(&'a Cluster, &'a Target, Goal<'a>) -> Box<dyn Way + 'a>,
}

/// A way to one container, for one goal. It is opened again for every try, and may remember what it has done before: a
/// signal is sent once.
pub(crate) trait Way: Send {
    /// Its name in reports.
    fn name(&self) -> &'static str;

    /// Connects to the container.
    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>>;

    /// Has the program write its counters, or end, and gives what tells that it has. Most ways only read.
    fn flush(&mut self) -> BoxFuture<'_, Result<WrittenCounters, Fault>> {
        ready(Err(Fault::Absent(format!("{} cannot have a program write its counters", self.name())))).boxed()
    }

    /// What it would yield, by a look that changes nothing in the container. An ephemeral container is added only if `may_add`.
    fn examine(&mut self, _may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        ready(Err(Fault::Absent(format!("{} is not looked into", self.name())))).boxed()
    }

    /// The coverage files, after the program has done what the goal says. `None` if it has and this way cannot send them.
    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>>;

    /// The message for the last fault, of a container that has had this fate.
    fn explain(&self, fault: &Fault, fate: &Fate) -> String {
        explain(fault, fate)
    }
}

/// The message for the last fault, of a container that has had this fate.
pub(crate) fn explain(fault: &Fault, fate: &Fate) -> String {
    match fault {
        Fault::Final(why) => why.clone(),
        Fault::Absent(why) | Fault::Passing(why) => format!("{fate} ({why})"),
    }
}

/// That a program has written its counters.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct WrittenCounters {
    /// The processes that were signalled, where that was done by a shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// The new counter files.
    pub files: Vec<String>,
    /// They were read back and are whole. Without tar in the image they could not be; Go renames a file to its final
    /// name only when it is whole.
    pub verified: bool,
}
