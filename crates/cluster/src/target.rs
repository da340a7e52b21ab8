//! A container that may hold counters.

use std::fmt;

use crate::History;
use crate::agent_port::{AgentPort, Sidecar};
use crate::coverdir::{CoverDir, CoverVolume};

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Container {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID: tells a pod from a later one of the same name.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// The image as the manifest names it.
    pub image: String,
    /// The image as the node resolved it, with its digest.
    pub image_id: String,
    /// How often the kubelet has restarted the container.
    pub restarts: i32,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{} container {}", self.namespace, self.pod, self.container)
    }
}

/// A running container that may hold counters, or one of which a sidecar may have some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which container.
    pub container: Container,
    /// Its folder of counter files.
    pub dir: CoverDir,
    /// What that folder lies on.
    pub volume: CoverVolume,
    /// Other containers of the pod, or the node itself, share its process IDs: its shell sees their processes too.
    pub shares_process_ids: bool,
    /// Where its podcov-agent would answer, unless the container says that none does.
    pub agent: Option<AgentPort>,
    /// The container beside it whose podcov-agent reads its programs from their memory, unless it has a podcov-agent of its
    /// own.
    pub sidecar: Option<Sidecar>,
    /// It runs. If it does not, its sidecar alone has something of it.
    pub runs: bool,
    /// Which processes it has had.
    pub history: History,
    /// The pod's UID as its containers have it. That of a static pod differs from the one that the API server has.
    pub uid_inside: String,
    /// The host's name in the pod. `None` for a pod on the host's network: it has the node's.
    pub hostname: Option<String>,
}

impl Target {
    /// Whether the container's spec mentions podcov-agent.
    #[must_use]
    pub fn expects_agent(&self) -> bool {
        self.agent.is_some_and(|agent| agent.expected)
    }
}
