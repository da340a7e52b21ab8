//! One connection: from a local client to a port of a live pod and back.
//!
//! A client's half-close is passed on only when nothing has come for a while: containerd does not tell the program of
//! it, but cuts the connection a second later (`internal/cri/server/sandbox_portforward_linux.go`), and with it an
//! answer that takes longer. Other runtimes do tell, and a program that waits for it answers then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Route;
use super::tunnel::{FromPod, Incoming, Outgoing, Tunnel};
use crate::Error;

/// What is read from the client at a time.
const CHUNK: usize = 64 * 1024;

/// How much of what the client has said is kept until the pod answers, to say it again to another pod.
const REPLAY: usize = 256 * 1024;

/// How long nothing must have come after the client's half-close before the pod is told.
const PAUSE: Duration = Duration::from_secs(5);

/// How long the pod may be silent after the client's half-close before the connection counts as abandoned:
/// a client that closed for good looks just the same.
const AFTER_HALF_CLOSE: Duration = Duration::from_secs(60);

/// How a try at a connection ended.
enum Ended {
    /// As connections end.
    Over,
    /// The pod's port took nothing; all that the client said can be said again elsewhere.
    Refused(String),
}

/// Carries a client's connection to a live pod, trying until one takes it or the route's patience ends.
pub(super) async fn serve(client: TcpStream, route: &Route) -> Result<(), Error> {
    let _ = client.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let outcome = serve_halves(&mut from_client, &mut to_client, route).await;
    if outcome.is_err()
        && let Ok(client) = from_client.reunite(to_client)
    {
        // A reset, so that no client takes a broken answer for a whole one.
        let _ = client.set_zero_linger();
    }
    outcome
}

async fn serve_halves(
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    route: &Route,
) -> Result<(), Error> {
    let deadline = Instant::now() + route.patience;
    let mut said = Answer::default();
    let mut avoided: Option<String> = None;
    let mut tries = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let pod = route.live.pick(avoided.as_deref(), left).await?;
        let refusal = match try_pod(route, &pod, from_client, to_client, &mut said).await {
            Ok(Ended::Over) => return Ok(()),
            Ok(Ended::Refused(message)) => message,
            Err(e) => return Err(e),
        };
        tracing::debug!("pod {} did not take the connection: {refusal}", pod.name_any());
        if Instant::now() >= deadline {
            return Err(Error::NotReady { after: route.patience, cause: refusal });
        }
        avoided = pod.uid();
        route.live.changed(retry_after(tries)).await;
        tries += 1;
    }
}

/// How long to wait for news of the pods before another try: a port that opens late tells nobody. 10 ms, then
/// twice as long each time, up to half a second.
pub(super) fn retry_after(tries: u32) -> Duration {
    Duration::from_millis(10 << tries.min(6)).min(Duration::from_millis(500))
}

/// What the client has said, as long as it may have to be said again.
struct Answer {
    bytes: Vec<u8>,
    /// `bytes` is all of it.
    complete: bool,
    flow: Flow,
}

/// What each direction has to know of the other.
#[derive(Default)]
struct Flow {
    /// The client has closed its side.
    ended: AtomicBool,
    /// The pod has answered: from here on the connection is its own.
    answered: AtomicBool,
    /// More of the answer has come.
    came: Notify,
}

impl Default for Answer {
    fn default() -> Self {
        Self { bytes: Vec::new(), complete: true, flow: Flow::default() }
    }
}

async fn try_pod(
    route: &Route,
    pod: &Pod,
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    said: &mut Answer,
) -> Result<Ended, Error> {
    let mut tunnel = match Tunnel::open(route, pod).await {
        Ok(tunnel) => tunnel,
        Err(e) if e.is_transient() || e.is_gone() => return Ok(Ended::Refused(e.to_string())),
        Err(e) => return Err(e),
    };
    if !said.bytes.is_empty() && tunnel.outgoing.send(Bytes::copy_from_slice(&said.bytes)).await.is_err() {
        // Why shows on the way down.
        tracing::debug!("the tunnel closed while the request was sent again");
    }
    let Answer { bytes, complete, flow } = said;
    let outcome = {
        let up = upwards(from_client, &mut tunnel.outgoing, bytes, complete, flow);
        let down = downwards(&mut tunnel.incoming, to_client, flow);
        tokio::pin!(up, down);
        tokio::select! {
            biased;
            outcome = &mut down => outcome,
            gone = &mut up => match gone {
                ClientGone(true) => return Ok(Ended::Over),
                ClientGone(false) => down.await,
            },
        }
    };
    tunnel.outgoing.finish().await;
    if matches!(outcome, Ok(FromPod::Error(_))) && !(*complete && bytes.is_empty()) {
        // A kubelet that cannot pass on what was sent no longer reads the connection, and all that share it hang.
        Tunnel::retire(route, pod).await;
    }
    let replayable = *complete && !flow.answered.load(Ordering::Relaxed);
    match outcome {
        Ok(FromPod::Error(message)) if replayable && took_nothing(&message) => Ok(Ended::Refused(message)),
        Ok(FromPod::Error(message)) => Err(Error::Broken(message)),
        Ok(_) => Ok(Ended::Over),
        Err(e) => Err(e),
    }
}

/// Whether the client is gone for good, not just done with sending.
struct ClientGone(bool);

async fn upwards(
    from_client: &mut OwnedReadHalf,
    outgoing: &mut Outgoing,
    bytes: &mut Vec<u8>,
    complete: &mut bool,
    flow: &Flow,
) -> ClientGone {
    let mut chunk = BytesMut::new();
    while !flow.ended.load(Ordering::Relaxed) {
        chunk.reserve(CHUNK);
        let data = match from_client.read_buf(&mut chunk).await {
            Ok(0) => {
                flow.ended.store(true, Ordering::Relaxed);
                break;
            }
            Ok(_) => chunk.split().freeze(),
            Err(_) => return ClientGone(true),
        };
        // Kept before it is sent: a try that ends in between must find it.
        if flow.answered.load(Ordering::Relaxed) || bytes.len() + data.len() > REPLAY {
            *bytes = Vec::new();
            *complete = false;
        } else if *complete {
            bytes.extend_from_slice(&data);
        }
        if outgoing.send(data).await.is_err() {
            return ClientGone(false);
        }
    }
    while tokio::time::timeout(PAUSE, flow.came.notified()).await.is_ok() {}
    // Why this may fail shows on the way down.
    let _ = outgoing.end();
    ClientGone(false)
}

async fn downwards(
    incoming: &mut Incoming,
    to_client: &mut OwnedWriteHalf,
    flow: &Flow,
) -> Result<FromPod, Error> {
    loop {
        let mut next = tokio::time::timeout(AFTER_HALF_CLOSE, incoming.next()).await;
        if matches!(next, Ok(Ok(FromPod::End))) && !flow.answered.load(Ordering::Relaxed) {
            // It may be that of a connection that was refused: the client must not hear of it then.
            next = Ok(incoming.why_ended().await);
        }
        match next {
            Err(_) if flow.ended.load(Ordering::Relaxed) => return Ok(FromPod::Closed),
            Err(_) => {}
            Ok(Ok(FromPod::Data(data))) => {
                flow.answered.store(true, Ordering::Relaxed);
                flow.came.notify_one();
                if to_client.write_all(&data).await.is_err() {
                    return Ok(FromPod::Closed);
                }
            }
            // A client that is gone shows on the way up.
            Ok(Ok(FromPod::End)) => drop(to_client.shutdown().await),
            Ok(other) => return other,
        }
    }
}

/// Whether a kubelet's error says that nothing reached the program, in containerd's, CRI-O's and the kubelet's
/// words: only then may a request be made again.
pub(super) fn took_nothing(message: &str) -> bool {
    let message = message.to_lowercase();
    ["connection refused", "failed to connect", "failed to dial", "dial tcp", "not found", "not running"]
        .iter()
        .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_is_tried_elsewhere() {
        for words in [
            "error forwarding port 8080 to pod 1a, uid : failed to execute portforward in network namespace \
             \"/var/run/netns/cni-1\": failed to connect to localhost:8080 inside namespace \"1a\", IPv4: dial tcp4 \
             127.0.0.1:8080: connect: connection refused",
            "exit status 1: socat[1] E connect(5, AF=2 127.0.0.1:80, 16): Connection refused",
        ] {
            assert!(took_nothing(words), "{words}");
        }
        assert!(!took_nothing("error copying from remote stream: read: connection reset by peer"));
    }

    #[test]
    fn tries_come_less_and_less_often() {
        let waits = [0, 1, 2, 9, 40].map(|n| retry_after(n).as_millis());
        assert_eq!(waits, [10, 20, 40, 500, 500]);
    }
}
