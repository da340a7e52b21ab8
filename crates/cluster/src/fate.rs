//! What happened to a container since it was found.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt};

use crate::Cluster;
use crate::pod::{container_status, is_waiting, long_running, not_running, restarts};
use crate::target::Container;

/// What happened to a container since it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It does not run any more, for this reason, and will not run again.
    Over(String),
    /// It does not run, for this reason; the kubelet starts it again.
    Restarting(String),
    /// It runs again.
    Restarted,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(what) | Self::Restarting(what) => f.write_str(what),
            Self::Restarted => f.write_str("the container was restarted"),
        }
    }
}

impl Cluster {
    /// What happened to a container since it was found, if anything did: for explaining a failure, and for telling
    /// whether another try may succeed.
    pub async fn what_became_of(&self, container: &Container) -> Option<Fate> {
        let pods: Api<Pod> = self.api(&container.namespace);
        let Ok(found) = self.ask("reading the pod", pods.get_opt(&container.pod)).await else { return None };
        let Some(pod) = found.filter(|pod| pod.uid().as_deref() == Some(&container.uid)) else {
            return Some(Fate::Over("the pod is gone".to_owned()));
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return Some(Fate::Over("the pod is being deleted".to_owned()));
        }
        let status = container_status(&pod, &container.container);
        if let Some(reason) = not_running(status) {
            let what = format!("the container stopped running ({reason})");
            let spec =
                pod.spec.as_ref().and_then(|s| long_running(s).find(|c| c.name == container.container));
            let again = spec.is_some_and(|spec| restarts(&pod, spec, status) || is_waiting(status));
            return Some(if again { Fate::Restarting(what) } else { Fate::Over(what) });
        }
        (status?.restart_count > container.restarts).then_some(Fate::Restarted)
    }
}
