//! Carries the bytes of a connection both ways, between its local end and a tunnel to a pod.
//!
//! A client's half-close is passed on only when nothing has come for a while: containerd does not tell the program of
//! it, but cuts the connection a second later (`internal/cri/server/sandbox_portforward_linux.go`), and with it an
//! answer that takes longer. Other runtimes do tell, and a program that waits for it answers then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;

use super::tunnel::{FromPod, Incoming, Outgoing, Tunnel};
use crate::Error;

/// What is read from the local end at a time.
pub(super) const CHUNK: usize = 64 * 1024;

/// How much of what the local end has said is kept until the pod answers, to say it again to another pod.
const REPLAY: usize = 256 * 1024;

/// How long nothing must have come after the local end's half-close before the pod is told.
const PAUSE: Duration = Duration::from_secs(5);

/// How long the pod may be silent after the local end's half-close before the connection counts as abandoned:
/// a client that closed for good looks just the same.
const AFTER_HALF_CLOSE: Duration = Duration::from_secs(60);

/// What is known of a connection from one tunnel to the next.
pub(super) struct Exchange {
    /// What the local end has said, for as long as it may have to be said again.
    said: Vec<u8>,
    /// `said` is all of it.
    complete: bool,
    /// Who has said all may still listen.
    may_half_close: bool,
    flow: Flow,
}

/// What each direction has to know of the other.
#[derive(Default)]
struct Flow {
    /// The local end has closed its side.
    ended: AtomicBool,
    /// The pod has answered: from here on the connection is its own.
    answered: AtomicBool,
    /// More of the answer has come.
    came: Notify,
}

/// How the direction to the pod has ended.
enum LocalEnd {
    /// It is gone, maybe in the middle of something.
    Cut,
    /// It is gone, and has said all.
    Closed,
    /// It may still listen.
    Listens,
}

impl Exchange {
    /// Of a client, of which nothing is known but what it does.
    pub(super) fn of_client() -> Self {
        Self { said: Vec::new(), complete: true, may_half_close: true, flow: Flow::default() }
    }

    /// Of a hook's own connection: it says nothing twice, and it closes both sides at once.
    pub(super) fn of_hook() -> Self {
        Self { complete: false, may_half_close: false, ..Self::of_client() }
    }

    /// Whether the local end has said anything.
    pub(super) fn has_begun(&self) -> bool {
        !(self.complete && self.said.is_empty())
    }

    /// Whether all that the local end has said can be said to another pod.
    pub(super) fn is_repeatable(&self) -> bool {
        self.complete && !self.flow.answered.load(Ordering::Relaxed)
    }
}

/// Carries the bytes until one of both has ended the connection. Gives the kubelet's error, if there is one.
pub(super) async fn pump(
    from_local: &mut (impl AsyncRead + Unpin),
    to_local: &mut (impl AsyncWrite + Unpin),
    tunnel: &mut Tunnel,
    exchange: &mut Exchange,
) -> Result<Option<String>, Error> {
    if !exchange.said.is_empty()
        && tunnel.outgoing.send(Bytes::copy_from_slice(&exchange.said)).await.is_err()
    {
        // Why shows on the way down.
        tracing::debug!("the tunnel closed while the request was sent again");
    }
    let Exchange { said, complete, may_half_close, flow } = exchange;
    let outcome = {
        let up = upwards(from_local, &mut tunnel.outgoing, said, complete, *may_half_close, flow);
        let down = downwards(&mut tunnel.incoming, to_local, flow);
        tokio::pin!(up, down);
        tokio::select! {
            biased;
            outcome = &mut down => outcome,
            end = &mut up => match end {
                LocalEnd::Cut => return Ok(None),
                LocalEnd::Closed => Ok(None),
                LocalEnd::Listens => down.await,
            },
        }
    };
    tunnel.outgoing.finish().await;
    outcome
}

async fn upwards(
    from_local: &mut (impl AsyncRead + Unpin),
    outgoing: &mut Outgoing,
    said: &mut Vec<u8>,
    complete: &mut bool,
    may_half_close: bool,
    flow: &Flow,
) -> LocalEnd {
    let mut chunk = BytesMut::new();
    while !flow.ended.load(Ordering::Relaxed) {
        chunk.reserve(CHUNK);
        let data = match from_local.read_buf(&mut chunk).await {
            Ok(0) if !may_half_close => return LocalEnd::Closed,
            Ok(0) => {
                flow.ended.store(true, Ordering::Relaxed);
                break;
            }
            Ok(_) => chunk.split().freeze(),
            Err(_) => return LocalEnd::Cut,
        };
        // Kept before it is sent: a try that ends in between must find it.
        if flow.answered.load(Ordering::Relaxed) || said.len() + data.len() > REPLAY {
            *said = Vec::new();
            *complete = false;
        } else if *complete {
            said.extend_from_slice(&data);
        }
        if outgoing.send(data).await.is_err() {
            // Why shows on the way down.
            return LocalEnd::Listens;
        }
    }
    while tokio::time::timeout(PAUSE, flow.came.notified()).await.is_ok() {}
    // Why this may fail shows on the way down.
    let _ = outgoing.end();
    LocalEnd::Listens
}

async fn downwards(
    incoming: &mut Incoming,
    to_local: &mut (impl AsyncWrite + Unpin),
    flow: &Flow,
) -> Result<Option<String>, Error> {
    loop {
        let mut next = tokio::time::timeout(AFTER_HALF_CLOSE, incoming.next()).await;
        if matches!(next, Ok(Ok(FromPod::End))) && !flow.answered.load(Ordering::Relaxed) {
            // It may be that of a connection that was refused: the local end must not hear of it then.
            next = Ok(incoming.why_ended().await);
        }
        match next {
            Err(_) if flow.ended.load(Ordering::Relaxed) => return Ok(None),
            Err(_) => {}
            Ok(Ok(FromPod::Data(data))) => {
                flow.answered.store(true, Ordering::Relaxed);
                flow.came.notify_one();
                if to_local.write_all(&data).await.is_err() {
                    return Ok(None);
                }
            }
            // A local end that is gone shows on the way up.
            Ok(Ok(FromPod::End)) => drop(to_local.shutdown().await),
            Ok(Ok(FromPod::Error(message))) => return Ok(Some(message)),
            Ok(Ok(FromPod::Closed)) => return Ok(None),
            Ok(Err(error)) => return Err(error),
        }
    }
}
