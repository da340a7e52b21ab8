//! The ways to the counters of a Go program in a container: which to try in what order, and trying them.
//!
//! A way can make the program write its counters, and tells that it has: new counter files are there. And it can send
//! the coverage files. There is one module for each: a podcov-agent in the container, asked over a port-forward; a shell
//! in the container; tar alone. What a way offers is the trait in `way.rs`. `plan.rs` lists the ways for a container and a
//! goal. `try_ways.rs` tries them, and knows none of them. So a further way is one module, and one line in the plan.

mod agent;
mod archive;
mod beside_files;
mod builds;
mod client;
mod examine;
mod fault;
mod goal;
mod live;
mod live_shell;
mod memory;
mod names;
mod plan;
mod process;
mod prospect;
mod session;
mod shell;
mod tar;
mod try_ways;
mod way;

use std::time::Duration;

use podcov_cluster::{Cluster, Container, Target};

pub use archive::{ArchiveStream, LiveFacts};
pub use builds::Builds;
pub use examine::{ExaminedWay, Purpose, examine};
pub use fault::Fault;
pub use goal::Instruction;
pub use live::describe;
pub use process::{Process, ProcessFilter};
pub use prospect::{CoverageFiles, CoveredProgram, FolderState, OtherProcess, Prospect};
pub use shell::no_files;
pub use try_ways::Outcome;
pub use way::WrittenCounters;

use goal::Goal;
use plan::plan;
use try_ways::{Limits, try_ways};
use way::Way;

/// How long a container that has just ended may take to run again.
const RESTART_LIMIT: Duration = Duration::from_secs(30);

/// The first pause between two tries. Four tries take some 3 seconds, which a kubelet or an API server needs to be back
/// after a restart.
const PAUSE: Duration = Duration::from_millis(250);

/// How to transfer a container's coverage files.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// What the program is to do first.
    pub first: Option<Instruction<'a>>,
    /// That there are no coverage files is no loss: nothing then comes.
    pub maybe_none: bool,
    /// An ephemeral container that [`snapshot`] has added may be used.
    pub beside: bool,
    /// How many tries may fail.
    pub tries: u32,
    /// How long a try may take.
    pub timeout: Duration,
}

/// The result of a transfer.
#[derive(Debug)]
pub struct Transferred<T> {
    /// The name of the way on which an archive came, else of the one that was tried last.
    pub way: &'static str,
    /// How many tries it took.
    pub tries: u32,
    /// What was made of the archive; `None` if none came whole.
    pub taken: Option<T>,
    /// What is missing, as the end of a sentence about the container.
    pub loss: Option<String>,
}

/// Has a container's program write its counters, or end, and returns when its new counter files are there and have been
/// checked.
pub async fn flush(
    cluster: &Cluster,
    target: &Target,
    instruction: Instruction<'_>,
) -> Outcome<WrittenCounters> {
    let ways = ways(cluster, target, Goal::Flush(instruction));
    let limits = flush_limits(&instruction);
    try_ways(&target.container, ways, limits, fate(cluster, target), async |way| {
        way.open().await?;
        way.flush().await
    })
    .await
}

/// Transfers a container's coverage files, maybe after its program has done something. If it has not, what was written
/// before is transferred all the same. `take` is given each archive that comes, and may take files of one that is not
/// whole.
pub async fn transfer<T>(
    cluster: &Cluster,
    target: &Target,
    transfer: Transfer<'_>,
    mut take: impl AsyncFnMut(ArchiveStream) -> Result<T, Fault>,
) -> Transferred<T> {
    let fate = fate(cluster, target);
    let (mut begun, mut unflushed) = (None, None);
    if let Some(instruction) = transfer.first {
        let ways = ways(cluster, target, Goal::Archive(instruction));
        let limits = flush_limits(&instruction);
        let opened = try_ways(&target.container, ways, limits, &fate, async |way| {
            way.open().await?;
            way.archive().await
        })
        .await;
        match opened.result {
            // One that has written and cannot send is no loss: another way may send it.
            Ok(stream) => begun = stream,
            Err(why) => unflushed = Some(why),
        }
    }
    // A stream that breaks is asked for again, and the program is not.
    let Outcome { way, tries, result } = fetch(
        cluster,
        target,
        Goal::Files { maybe_none: transfer.maybe_none, beside: transfer.beside, names_alone: false },
        &transfer,
        begun,
        &mut take,
    )
    .await;
    let (taken, failed) = match result {
        Ok(taken) => (Some(taken), None),
        Err(why) => (None, Some(why)),
    };
    Transferred { way, tries, taken, loss: one_loss(unflushed, failed) }
}

/// Reads the coverage of a container's running programs from their memory: of all that are built with `-cover`, maybe none.
/// `take` is given each archive that comes, which says what it is of. `image` is that of an ephemeral container, which is added to
/// the pod where nothing else serves; without it the target's sidecar alone is asked. `builds` has
/// what was read before of the same builds.
pub async fn snapshot<T>(
    cluster: &Cluster,
    target: &Target,
    image: Option<&str>,
    builds: &Builds,
    transfer: Transfer<'_>,
    mut take: impl AsyncFnMut(ArchiveStream) -> Result<T, Fault>,
) -> Transferred<T> {
    let goal = Goal::Snapshot { image, builds };
    let Outcome { way, tries, result } = fetch(cluster, target, goal, &transfer, None, &mut take).await;
    match result {
        Ok(taken) => Transferred { way, tries, taken: Some(taken), loss: None },
        Err(why) => Transferred { way, tries, taken: None, loss: Some(why) },
    }
}

/// Fetches an archive, and gives it to `take`. `begun` is one that is on its way. The outcome's way is the one on which an
/// archive came, else the one that was tried last.
async fn fetch<T>(
    cluster: &Cluster,
    target: &Target,
    goal: Goal<'_>,
    transfer: &Transfer<'_>,
    mut begun: Option<ArchiveStream>,
    take: &mut impl AsyncFnMut(ArchiveStream) -> Result<T, Fault>,
) -> Outcome<T> {
    let limits = Limits {
        tries: transfer.tries,
        patience: Duration::MAX,
        restart: RESTART_LIMIT,
        attempt: transfer.timeout,
        pause: PAUSE,
    };
    let mut came_by = None;
    let ways = ways(cluster, target, goal);
    let mut outcome = try_ways(&target.container, ways, limits, fate(cluster, target), async |way| {
        let stream = match begun.take() {
            Some(stream) => stream,
            None => {
                way.open().await?;
                let stream = way.archive().await?;
                stream.expect("a program that was asked for nothing leaves nothing unsent")
            }
        };
        came_by = Some(stream.way);
        take(stream).await
    })
    .await;
    outcome.way = came_by.unwrap_or(outcome.way);
    outcome
}

/// One event is one loss: a container that did not write and whose files could not be copied either.
fn one_loss(unflushed: Option<String>, failed: Option<String>) -> Option<String> {
    match (unflushed, failed) {
        (Some(unflushed), Some(failed)) if unflushed != failed => {
            Some(format!("{unflushed}; and its files could not be copied: {failed}"))
        }
        (unflushed, failed) => unflushed.or(failed),
    }
}

fn ways<'a>(cluster: &'a Cluster, target: &'a Target, goal: Goal<'a>) -> Vec<Box<dyn Way + 'a>> {
    plan(target, &goal).into_iter().map(|kind| (kind.create)(cluster, target, goal)).collect()
}

fn flush_limits(instruction: &Instruction<'_>) -> Limits {
    Limits {
        tries: u32::MAX,
        patience: instruction.timeout,
        restart: instruction.timeout,
        attempt: Duration::MAX,
        pause: PAUSE,
    }
}

fn fate(cluster: &Cluster, target: &Target) -> impl AsyncFn() -> Option<podcov_cluster::Fate> {
    let mut container = target.container.clone();
    if let Some(sidecar) = target.sidecar.as_ref().filter(|_| !target.runs) {
        // It alone is asked. How often it had been restarted when the target was found is not known.
        container = Container { container: sidecar.container.clone(), restarts: i32::MAX, ..container };
    }
    async move || cluster.what_became_of(&container).await
}
