//! Where the connections of a forward go: shared by the acceptor and the checks.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::RemotePort;
use super::backend::Backend;
use super::live::LivePods;
use super::tunnel::{PodId, Tunnel, Tunnels};
use crate::{Cluster, Error};

/// A port of any live pod of a backend.
pub(super) struct Upstream {
    pub(super) cluster: Cluster,
    pub(super) backend: Backend,
    pub(super) remote: RemotePort,
    pub(super) live: LivePods,
    pub(super) tunnels: Tunnels,
    pub(super) patience: Duration,
}

impl Upstream {
    /// Opens a tunnel to the port on a pod.
    pub(super) async fn open(&self, pod: &Pod) -> Result<Tunnel, Error> {
        let port = self.backend.port_on(pod, &self.remote)?;
        self.tunnels.open(&self.cluster, &PodId::of(pod, &self.backend.namespace), port).await
    }

    /// Opens the shared connection to a pod before its first tunnel needs it. False where connections cannot be shared.
    pub(super) async fn warm(&self, pod: &Pod) -> Result<bool, Error> {
        self.tunnels.warm(&self.cluster, &PodId::of(pod, &self.backend.namespace)).await
    }

    /// Has later tunnels to a pod use another connection than those that are there now.
    pub(super) async fn retire(&self, pod: &Pod) {
        self.tunnels.retire(&PodId::of(pod, &self.backend.namespace)).await;
    }
}
