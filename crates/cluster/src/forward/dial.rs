//! One connection to a port of a pod, for a hook's own use.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf};

use super::connection::took_nothing;
use super::tunnel::{FromPod, Incoming, Outgoing, PodId, Tunnel, Tunnels};
use crate::{Cluster, Container, Error};

/// What is on its way in each direction at a time.
const CHUNK: usize = 64 * 1024;

/// A connection to a pod. It may turn out later that nothing took it: see [`Dialled::failure`].
pub struct Dialled {
    /// What is written goes to the pod, what is read comes from it.
    pub stream: DuplexStream,
    /// Why it ended.
    pub failure: Failure,
}

/// Why a connection to a pod ended, if it failed. Known once nothing more comes.
#[derive(Debug, Clone, Default)]
pub struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    /// The kubelet's words.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether nothing listens there.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.message().is_some_and(|message| took_nothing(&message))
    }

    fn set(&self, message: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
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
        let Tunnel { incoming, outgoing } = Tunnels::default().open(self, &pod, port).await?;
        let (stream, far) = tokio::io::duplex(CHUNK);
        let failure = Failure::default();
        tokio::spawn(carry(incoming, outgoing, far, failure.clone()));
        Ok(Dialled { stream, failure })
    }
}

async fn carry(mut incoming: Incoming, mut outgoing: Outgoing, far: DuplexStream, failure: Failure) {
    let (mut from_hook, mut to_hook) = tokio::io::split(far);
    {
        let up = upwards(&mut from_hook, &mut outgoing);
        let down = downwards(&mut incoming, &mut to_hook, &failure);
        tokio::pin!(up, down);
        tokio::select! {
            () = &mut down => {}
            gone = &mut up => if !gone { down.await },
        }
    }
    outgoing.finish().await;
}

/// Whether the hook is gone.
async fn upwards(from_hook: &mut ReadHalf<DuplexStream>, outgoing: &mut Outgoing) -> bool {
    let mut chunk = vec![0; CHUNK];
    loop {
        match from_hook.read(&mut chunk).await {
            Ok(0) | Err(_) => return true,
            // Why it cannot be sent shows on the way down.
            Ok(n) if outgoing.send(Bytes::copy_from_slice(&chunk[..n])).await.is_err() => return false,
            Ok(_) => {}
        }
    }
}

async fn downwards(incoming: &mut Incoming, to_hook: &mut WriteHalf<DuplexStream>, failure: &Failure) {
    let mut answered = false;
    loop {
        let mut next = incoming.next().await;
        if matches!(next, Ok(FromPod::End)) && !answered {
            next = incoming.why_ended().await;
        }
        match next {
            Ok(FromPod::Data(data)) => {
                answered = true;
                if to_hook.write_all(&data).await.is_err() {
                    return;
                }
            }
            Ok(FromPod::Error(message)) => return failure.set(message),
            Err(error) => return failure.set(error.to_string()),
            // A reader that waits for more must be told.
            Ok(FromPod::End) => drop(to_hook.shutdown().await),
            Ok(FromPod::Closed) => return,
        }
    }
}
