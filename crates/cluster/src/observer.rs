//! Which pods of a run hold counters, for as long as somebody looks.

use std::collections::HashSet;

use futures_util::future::select_all;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod};
use kube::ResourceExt;

use crate::agent_port::sidecar;
use crate::coverdir::{CoverDir, CoverVolume, cover_volume};
use crate::find::candidates;
use crate::pod::{container_status, has_run, hostname};
use crate::watch::PodWatch;
use crate::{Cluster, Error, Scope};

/// A pod that holds counters, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveredPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: tells a pod from a later one of the same name.
    pub uid: String,
    /// Its host name, unless it has the node's: what podcov-agent takes for the pod's name if nothing gives that.
    pub hostname: Option<String>,
    /// Those of its containers that have run and have a folder for counters.
    pub containers: Vec<String>,
    /// The others that have run, if the scope has all containers: they may count in memory.
    pub others: Vec<String>,
    /// One of them writes to a volume that outlasts the pod.
    pub has_lasting_volume: bool,
}

/// A view of a scope's pods, kept up to date by a watch.
pub struct PodObserver {
    scope: Scope,
    watches: Vec<PodWatch>,
}

impl Cluster {
    /// Lists the scope's pods, to be observed from then on.
    ///
    /// # Errors
    /// As [`Self::find_targets`]. A namespace that cannot be listed, while others can, is left out.
    pub async fn observe_pods(&self, scope: Scope) -> Result<PodObserver, Error> {
        let (watches, unlisted) = self.list(&scope).await?;
        for namespace in unlisted {
            tracing::info!("{namespace}");
        }
        Ok(PodObserver { scope, watches })
    }
}

impl PodObserver {
    /// The pods that hold counters, or may, and are not being deleted.
    pub fn covered(&self) -> impl Iterator<Item = CoveredPod> {
        let pods = self.watches.iter().flat_map(|watch| watch.known().state());
        pods.filter_map(|pod| covered(&pod, &self.scope))
    }

    /// The UIDs of all pods that are there.
    #[must_use]
    pub fn uids(&self) -> HashSet<String> {
        let pods = self.watches.iter().flat_map(|watch| watch.known().state());
        pods.filter_map(|pod| pod.uid()).collect()
    }

    /// Waits until anything about the pods changes. After an error this can be called again: it then pauses, and tries
    /// again. A call can be dropped.
    ///
    /// # Errors
    /// The API server's refusal, or that it could not be reached.
    pub async fn changed(&mut self) -> Result<(), Error> {
        select_all(self.watches.iter_mut().map(|watch| Box::pin(watch.next()))).await.0
    }
}

fn covered(pod: &Pod, scope: &Scope) -> Option<CoveredPod> {
    if pod.metadata.deletion_timestamp.is_some() || !scope.wants_pod(&pod.name_any()) {
        return None;
    }
    let mut candidates = candidates(pod, scope);
    candidates.retain(|(spec, ..)| has_run(container_status(pod, &spec.name)));
    let has_lasting_volume = candidates.iter().any(|(spec, dir, _)| {
        matches!(cover_volume(pod, spec, dir), CoverVolume::HostPath | CoverVolume::Claim)
    });
    let has_sidecar = pod.spec.as_ref().is_some_and(|spec| sidecar(spec).is_some());
    let (others, containers): (Vec<_>, Vec<_>) =
        candidates.iter().partition(|(_, dir, _)| *dir == CoverDir::Unset && !has_sidecar);
    let names = |containers: Vec<&(&ContainerSpec, CoverDir, _)>| {
        containers.into_iter().map(|(spec, ..)| spec.name.clone()).collect()
    };
    (!candidates.is_empty()).then(|| CoveredPod {
        namespace: pod.namespace().unwrap_or_default(),
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        hostname: hostname(pod),
        containers: names(containers),
        others: names(others),
        has_lasting_volume,
    })
}
