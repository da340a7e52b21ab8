//! Looking into the ways to a container, by the steps by which they are gone, and changing nothing.

use std::time::Duration;

use podcov_cluster::{Cluster, Target};

use crate::builds::Builds;
use crate::fault::Fault;
use crate::goal::{Goal, Instruction};
use crate::prospect::Prospect;
use crate::shell::no_files;
use crate::ways;

/// What the programs of a container would be reached for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Their counters, written on an instruction and copied.
    Written(Instruction<'a>),
    /// The coverage files that are there.
    Files {
        /// That there are none is no fault.
        maybe_none: bool,
        /// An ephemeral container that is beside the container may be used.
        beside: bool,
    },
    /// Their memory.
    Memory {
        /// The image of an ephemeral container. Without it the target's sidecar alone is asked.
        image: Option<&'a str>,
        /// An ephemeral container may be added. Without it the API server is asked whether it would admit one.
        may_add: bool,
    },
}

/// A way that was looked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExaminedWay {
    /// Its name in reports.
    pub name: &'static str,
    /// What it would yield, or why it does not serve.
    pub result: Result<Prospect, Fault>,
}

impl ExaminedWay {
    /// The name of the first way that serves, and what it would yield.
    #[must_use]
    pub fn serving(ways: &[Self]) -> Option<(&'static str, &Prospect)> {
        ways.iter().find_map(|way| Some((way.name, way.result.as_ref().ok()?)))
    }

    /// Why no way serves, or those before the one that does: each reason once.
    #[must_use]
    pub fn reasons(ways: &[Self]) -> String {
        let mut reasons: Vec<String> = Vec::new();
        for fault in ways.iter().filter_map(|way| way.result.as_ref().err()) {
            let reason = fault.to_string();
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons.join("; ")
    }
}

/// Looks into the ways to a container in the order in which they would be tried, up to the first that serves. Each is tried
/// once. No signal is sent, and nothing is written in the container.
pub async fn examine(
    cluster: &Cluster,
    target: &Target,
    purpose: Purpose<'_>,
    timeout: Duration,
) -> Vec<ExaminedWay> {
    let builds = Builds::default();
    let (goal, may_add) = match purpose {
        Purpose::Written(instruction) => (Goal::Archive(instruction), false),
        Purpose::Files { maybe_none, beside } => {
            (Goal::Files { maybe_none, beside, names_alone: true }, false)
        }
        Purpose::Memory { image, may_add } => (Goal::Snapshot { image, builds: &builds }, may_add),
    };
    let mut examined = Vec::new();
    for mut way in ways(cluster, target, goal) {
        let looking = async {
            way.open().await?;
            way.examine(may_add).await
        };
        let result = tokio::time::timeout(timeout, looking).await.unwrap_or_else(|_| {
            Err(Fault::Passing(format!("it did not answer within {}s", timeout.as_secs_f32())))
        });
        let result = match result {
            Ok(Prospect { files: Some(files), .. })
                if matches!(goal, Goal::Files { maybe_none: false, .. }) && files.is_empty() =>
            {
                Err(Fault::Final(no_files(target)))
            }
            result => result,
        };
        // What may pass is tried again by the hooks, and by the next way if it does not.
        let is_last = matches!(result, Ok(_) | Err(Fault::Final(_)));
        examined.push(ExaminedWay { name: way.name(), result });
        if is_last {
            break;
        }
    }
    examined
}
