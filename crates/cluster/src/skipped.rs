//! The pods and containers of a run that are skipped.

use std::collections::BTreeMap;
use std::fmt;

use crate::History;
use crate::target::Container;

/// Why a pod or container of the run was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The pod is being deleted: it belongs to what the run replaced.
    Terminating,
    /// Nothing of it has started yet.
    Pending,
    /// No container of the pod sets GOCOVERDIR or mentions podcov-agent.
    NoCoverDir,
    /// No container of the pod has a name that is selected.
    NoContainer,
    /// It does not run, and has no GOCOVERDIR: whether it has counted anything cannot be told.
    NoProcess,
    /// The pod has run to its end: its files can no longer be read through exec.
    Completed,
    /// The container has GOCOVERDIR and is not running, for this reason.
    NotRunning(String),
    /// The container has GOCOVERDIR and has just ended; the kubelet is about to start it again.
    Restarting(String),
}

impl Why {
    /// Whether counters that this run wrote can no longer be copied.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Completed | Self::NotRunning(_) | Self::Restarting(_))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminating => f.write_str("it is terminating"),
            Self::Pending => f.write_str("it has not started"),
            Self::NoCoverDir => f.write_str(
                "no container sets GOCOVERDIR or runs podcov-agent; podcov-collect --live reads counters from memory",
            ),
            Self::NoContainer => f.write_str("no container has the name that --container selects"),
            Self::NoProcess => f.write_str("it does not run and has no GOCOVERDIR; there is no memory to read"),
            Self::Completed => f.write_str(
                "it has completed; its files can no longer be copied. podcov-agent can upload them before it ends",
            ),
            Self::NotRunning(reason) | Self::Restarting(reason) => {
                write!(f, "it is not running ({reason}); its files cannot be copied")
            }
        }
    }
}

/// A pod, or a container of it, that was skipped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID.
    pub uid: String,
    /// The container, where the rest of the pod was not skipped.
    pub container: Option<String>,
    /// Why.
    pub why: Why,
    /// Which container it is and which processes it has had, if it has ever run.
    pub history: Option<(Container, History)>,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "skipped pod {}/{}", self.namespace, self.pod)?;
        if let Some(container) = &self.container {
            write!(f, " container {container}")?;
        }
        write!(f, ": {}", self.why)
    }
}

impl Skipped {
    /// A line for a person about each loss, and one for each reason why others were skipped.
    #[must_use]
    pub fn lines(skipped: &[Self]) -> Vec<String> {
        let (losses, harmless): (Vec<_>, Vec<_>) = skipped.iter().partition(|s| s.why.is_loss());
        let mut lines: Vec<String> = losses.into_iter().map(|s| format!("error: {s}")).collect();
        let mut by_reason: BTreeMap<String, Vec<&Self>> = BTreeMap::new();
        for one in harmless {
            by_reason.entry(one.why.to_string()).or_default().push(one);
        }
        for (why, pods) in by_reason {
            match pods[..] {
                [one] => lines.push(one.to_string()),
                [first, ..] => lines.push(format!(
                    "skipped {} pods, {}/{} the first of them: {why}",
                    pods.len(),
                    first.namespace,
                    first.pod
                )),
                [] => {}
            }
        }
        lines
    }
}
