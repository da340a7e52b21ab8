//! One connection to a port of a pod, for a hook's own use.

use std::sync::{Arc, OnceLock};

use tokio::io::DuplexStream;

use super::pump::{CHUNK, Exchange, pump};
use super::tunnel::{PodId, Tunnel, Tunnels, took_nothing};
use crate::{Cluster, Container, Error};

/// A connection to a pod. It may turn out later that nothing took it: see [`Dialled::failure`].
pub struct Dialled {
    /// What is written goes to the pod, what is read comes from it.
    pub stream: DuplexStream,
    /// Why it ended.
    pub failure: DialFailure,
}

/// Why a connection to a pod ended, if it failed. Known once nothing more comes.
#[derive(Debug, Clone, Default)]
pub struct DialFailure(Arc<OnceLock<String>>);

impl DialFailure {
    /// The kubelet's words.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        self.0.get().cloned()
    }

    /// Whether nothing listens there.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.message().is_some_and(|message| took_nothing(&message))
    }
}

impl Cluster {
    /// Connects to a port of a container's pod, on the pod's loopback interface.
    ///
    /// # Errors
    /// What the API server says. That nothing listens there shows in [`Dialled::failure`].
    pub async fn dial(&self, container: &Container, port: u16) -> Result<Dialled, Error> {
        let pod = PodId {
            namespace: &container.namespace,
            name: container.pod.as_str().into(),
            uid: container.uid.as_str().into(),
        };
        let tunnel = Tunnels::default().open(self, &pod, port).await?;
        let (stream, far) = tokio::io::duplex(CHUNK);
        let failure = DialFailure::default();
        tokio::spawn(carry(tunnel, far, failure.clone()));
        Ok(Dialled { stream, failure })
    }
}

async fn carry(mut tunnel: Tunnel, far: DuplexStream, failure: DialFailure) {
    let (mut from_hook, mut to_hook) = tokio::io::split(far);
    let outcome = pump(&mut from_hook, &mut to_hook, &mut tunnel, &mut Exchange::of_hook()).await;
    if let Some(message) = outcome.unwrap_or_else(|error| Some(error.to_string())) {
        failure.0.set(message).expect("a connection ends once");
    }
}
