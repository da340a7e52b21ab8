//! The pods behind a target that can take a connection now, kept up to date by a watch.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::runtime::reflector::Store;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::backend::Backend;
use crate::watch::PodWatch;
use crate::{Cluster, Error, Pods};

/// A live view of a backend's pods.
pub(super) struct LivePods {
    pods: Store<Pod>,
    /// Why the pods are not known, where they are not; marked changed with every event.
    refused: watch::Receiver<Option<String>>,
    /// Ready pods alone are live.
    ready_only: bool,
    watcher: AbortHandle,
}

impl LivePods {
    pub(super) fn watch(cluster: &Cluster, backend: &Backend) -> Self {
        let doing = format!("watching the pods of {backend}");
        let (sender, refused) = watch::channel(Some(format!("{doing}: no answer yet")));
        let mut events = PodWatch::new(cluster, &backend.pod_set(), doing);
        let pods = events.known();
        let watcher = tokio::spawn(async move {
            loop {
                let refusal = events.next().await.err();
                sender.send_replace(refusal.map(|error| error.to_string()));
            }
        });
        let ready_only = matches!(backend.pods, Pods::Labelled(_));
        Self { pods, refused, ready_only, watcher: watcher.abort_handle() }
    }

    /// A live pod, now or as soon as there is one; any other goes before the `avoided` one.
    pub(super) async fn pick(&self, avoided: Option<&str>, patience: Duration) -> Result<Arc<Pod>, Error> {
        let mut events = self.refused.clone();
        let found = tokio::time::timeout(patience, async {
            loop {
                events.mark_unchanged();
                if let Some(pod) = self.best(avoided) {
                    return Some(pod);
                }
                events.changed().await.ok()?;
            }
        });
        match found.await {
            Ok(Some(pod)) => Ok(pod),
            _ => Err(Error::NotReady { after: patience, cause: self.describe() }),
        }
    }

    /// Waits until anything about the pods changes, `at_most` so long.
    pub(super) async fn changed(&self, at_most: Duration) {
        let mut events = self.refused.clone();
        events.mark_unchanged();
        let _ = tokio::time::timeout(at_most, events.changed()).await;
    }

    fn best(&self, avoided: Option<&str>) -> Option<Arc<Pod>> {
        let live = self.pods.state().into_iter().filter(|pod| is_running(pod));
        let live = live.filter(|pod| is_ready(pod) || !self.ready_only);
        // The newest: in a rollout it is the one that stays.
        live.max_by_key(|pod| {
            let created = pod.creation_timestamp().map(|t| t.0);
            (pod.uid().as_deref() != avoided, is_ready(pod), created, pod.name_any())
        })
    }

    /// Why there is no live pod.
    fn describe(&self) -> String {
        if let Some(refusal) = self.refused.borrow().as_ref() {
            return refusal.clone();
        }
        let mut states: Vec<String> = self.pods.state().iter().map(|pod| state(pod)).collect();
        states.sort();
        if states.is_empty() { "there are no pods".to_owned() } else { states.join(", ") }
    }
}

impl Drop for LivePods {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    phase == Some("Running") && pod.metadata.deletion_timestamp.is_none()
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn state(pod: &Pod) -> String {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("unknown");
    let waiting = pod.status.iter().flat_map(|s| s.container_statuses.iter().flatten()).find_map(|c| {
        let reason = c.state.as_ref()?.waiting.as_ref()?.reason.clone()?;
        Some(format!("container {} is waiting: {reason}", c.name))
    });
    let state = match waiting {
        _ if pod.metadata.deletion_timestamp.is_some() => "is terminating".to_owned(),
        Some(waiting) => waiting,
        None if phase == "Running" => "is running, not ready".to_owned(),
        None => format!("is {}", phase.to_lowercase()),
    };
    format!("pod {} {state}", pod.name_any())
}
