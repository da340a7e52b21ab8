//! The ways to a pod's port: streams of a connection shared by all, or a WebSocket each.
//!
//! kubectl's own protocol multiplexes: SPDY/3.1 in the API server's upgraded connection, two streams for each
//! connection, one of them for an error (`k8s.io/client-go/tools/portforward`). What is between podcov and the
//! cluster may not let that through; then each connection is a WebSocket with the port's two channels
//! (`k8s.io/kubelet/pkg/cri/streaming/portforward/websocket.go`), which takes longer to open and knows no half-close.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::client::Body;
use kube::core::Request;
use podcov_spdy::{Headers, Session};

use crate::channels;
use crate::{Cluster, Error};

const DATA: u8 = 0;
const ERROR: u8 = 1;

/// The connections to pods that streams are opened on.
#[derive(Default)]
pub(super) struct Tunnels {
    /// By the pod's UID. A lock of its own for each, so that one caller connects and the others wait for that.
    sessions: Mutex<HashMap<String, Sessions>>,
    /// The multiplexed way is barred.
    barred: AtomicBool,
    requests: AtomicU64,
}

type Sessions = Arc<tokio::sync::Mutex<Vec<Session>>>;

/// A way to one port of one pod.
pub(super) struct Tunnel {
    pub(super) incoming: Incoming,
    pub(super) outgoing: Outgoing,
}

/// What comes from the pod.
pub(super) enum Incoming {
    Streams { data: podcov_spdy::Incoming, error: podcov_spdy::Incoming, ended: EndedStreams },
    Channels { channels: channels::Incoming, seen: [bool; 2] },
}

/// Which of the two streams has ended.
#[derive(Default)]
pub(super) struct EndedStreams {
    data: bool,
    error: bool,
}

/// What goes to the pod.
pub(super) enum Outgoing {
    Stream(podcov_spdy::Outgoing),
    Channel(channels::Outgoing),
}

/// How long a kubelet may take to find out, and to say, that a port refuses a connection. It connects within the node,
/// so this does not hold the time on the way to the cluster.
const REFUSAL_TAKES: Duration = Duration::from_millis(250);

/// What comes out of a tunnel.
pub(super) enum FromPod {
    Data(Bytes),
    /// The pod has nothing more to say; what goes up may go on.
    End,
    /// The kubelet's words when it could not connect, or lost the connection.
    Error(String),
    Closed,
}

impl Tunnel {
    /// Waits until the pod's port has refused the connection or, as far as can be told, taken it. Gives what came from the
    /// pod in that time: `None` is a connection on which nothing was said.
    ///
    /// No protocol of port-forwards says that a connection was made, only that it was not. So the time for that begins
    /// when the far end has answered a ping, which shows that it has the request, and after that time another answer shows
    /// that all it had said has come: however slow the way there is.
    pub(super) async fn settle(&mut self) -> Option<Result<FromPod, Error>> {
        let Self { incoming, outgoing } = self;
        if let Some(word) = incoming.before(outgoing.round_trip()).await {
            return Some(word);
        }
        if let Some(word) = incoming.before(refusal_takes()).await {
            return Some(word);
        }
        incoming.before(outgoing.round_trip()).await
    }
}

/// Which pod.
pub(super) struct PodId<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: Cow<'a, str>,
    pub(super) uid: Cow<'a, str>,
}

impl<'a> PodId<'a> {
    pub(super) fn of(pod: &'a Pod, namespace: &'a str) -> Self {
        let [name, uid] =
            [&pod.metadata.name, &pod.metadata.uid].map(|text| text.as_deref().unwrap_or_default().into());
        Self { namespace, name, uid }
    }
}

impl Tunnels {
    pub(super) async fn open(&self, cluster: &Cluster, pod: &PodId<'_>, port: u16) -> Result<Tunnel, Error> {
        let mut refused = None;
        if !self.barred.load(Ordering::Relaxed) {
            match self.session(cluster, pod).await? {
                Ok(session) => return self.streams(&session, port),
                Err(status) => refused = Some(status),
            }
        }
        let tunnel = by_channels(cluster, pod.namespace, &pod.name, port).await?;
        // A server that is only not well, or had no such pod just then, may do better the next time.
        let for_good =
            |status: StatusCode| !(status.is_server_error() || [404, 410, 429].contains(&status.as_u16()));
        if refused.is_some_and(for_good) {
            tracing::info!("the multiplexed way to pods is barred; each connection gets a WebSocket");
            self.barred.store(true, Ordering::Relaxed);
        }
        Ok(tunnel)
    }

    /// Opens the shared connection to a pod. False where connections cannot be shared.
    pub(super) async fn warm(&self, cluster: &Cluster, pod: &PodId<'_>) -> Result<bool, Error> {
        Ok(!self.barred.load(Ordering::Relaxed) && self.session(cluster, pod).await?.is_ok())
    }

    /// Has later tunnels to a pod use another connection than those that are there now.
    pub(super) async fn retire(&self, pod: &PodId<'_>) {
        // A connection ends with its last stream.
        self.of(&pod.uid).lock().await.clear();
    }

    /// A connection that is not held up, opened if there is none; or the status that this was answered with.
    async fn session(
        &self,
        cluster: &Cluster,
        pod: &PodId<'_>,
    ) -> Result<Result<Session, StatusCode>, Error> {
        let sessions = self.of(&pod.uid);
        let mut sessions = sessions.lock().await;
        sessions.retain(|session| !session.is_closed());
        if let Some(session) = sessions.iter().find(|session| !session.is_held_up()) {
            return Ok(Ok(session.clone()));
        }
        let opened = upgrade(cluster, pod.namespace, &pod.name).await?;
        sessions.extend(opened.clone());
        Ok(opened)
    }

    fn of(&self, uid: &str) -> Sessions {
        let mut all = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        // Pods that are gone have taken their connections with them.
        all.retain(|of, sessions| {
            of == uid || sessions.try_lock().map_or(true, |sessions| sessions.iter().any(|s| !s.is_closed()))
        });
        Arc::clone(all.entry(uid.to_owned()).or_default())
    }

    /// Both streams at once, and none is waited for: what is sent follows them.
    fn streams(&self, session: &Session, port: u16) -> Result<Tunnel, Error> {
        let request = self.requests.fetch_add(1, Ordering::Relaxed);
        let headers = |kind: &str| -> Headers {
            let pairs =
                [("streamtype", kind), ("port", &port.to_string()), ("requestid", &request.to_string())];
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
        };
        let (error, _) = session.open(headers("error"), true).map_err(broken)?;
        let (data, outgoing) = session.open(headers("data"), false).map_err(broken)?;
        let incoming = Incoming::Streams { data, error, ended: EndedStreams::default() };
        Ok(Tunnel { incoming, outgoing: Outgoing::Stream(outgoing) })
    }
}

fn broken(why: podcov_spdy::Broken) -> Error {
    Error::Broken(why.0)
}

/// Asks the API server for a connection to the pod's kubelet; or the status if it, or what is before it, gives
/// another answer than that. Why shows when the other way is tried.
async fn upgrade(
    cluster: &Cluster,
    namespace: &str,
    pod: &str,
) -> Result<Result<Session, StatusCode>, Error> {
    let doing = format!("port-forward to pod {namespace}/{pod}");
    let request = hyper::Request::get(format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward"))
        .header("Connection", "Upgrade")
        .header("Upgrade", "SPDY/3.1")
        .header("X-Stream-Protocol-Version", "portforward.k8s.io")
        .body(Body::from(Vec::new()))
        .map_err(|e| Error::Broken(e.to_string()))?;
    let response = cluster.ask(&doing, cluster.client().send(request)).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        tracing::debug!("{doing}: answered {} to an upgrade to SPDY", response.status());
        return Ok(Err(response.status()));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(|e| Error::Broken(e.to_string()))?;
    podcov_spdy::client(TokioIo::new(upgraded)).map(Ok).map_err(broken)
}

async fn by_channels(cluster: &Cluster, namespace: &str, pod: &str, port: u16) -> Result<Tunnel, Error> {
    let doing = format!("port-forward to pod {namespace}/{pod}");
    let request = Request::new(format!("/api/v1/namespaces/{namespace}/pods"))
        .portforward(pod, &[port])
        .map_err(|e| cluster.error(kube::Error::BuildRequest(e), &doing))?;
    let (channels, outgoing) = channels::split(cluster.ask(&doing, cluster.client().connect(request)).await?);
    let incoming = Incoming::Channels { channels, seen: [false; 2] };
    Ok(Tunnel { incoming, outgoing: Outgoing::Channel(outgoing) })
}

impl Incoming {
    /// After the end of a pod's data that it sent nothing before: the kubelet's reason, which comes after that end under
    /// containerd; [`FromPod::End`] if there is none, so that the program itself has ended its direction.
    pub(super) async fn why_ended(&mut self) -> Result<FromPod, Error> {
        if let Some(word) = self.before(refusal_takes()).await {
            return word;
        }
        // Channels have no end of their own.
        let Self::Streams { data, .. } = &*self else { return Ok(FromPod::End) };
        let session = data.session().clone();
        let round_trip = async move { session.round_trip().await.map_err(broken) };
        self.before(round_trip).await.unwrap_or(Ok(FromPod::End))
    }

    /// What comes before `event`, or why that cannot come; `None` when it has come first.
    async fn before(
        &mut self,
        event: impl Future<Output = Result<(), Error>>,
    ) -> Option<Result<FromPod, Error>> {
        tokio::select! {
            biased;
            word = self.next() => Some(word),
            came = event => came.err().map(Err),
        }
    }

    pub(super) async fn next(&mut self) -> Result<FromPod, Error> {
        match self {
            Self::Streams { data, error, ended } => from_streams(data, error, ended).await,
            Self::Channels { channels, seen } => from_channels(channels, seen).await,
        }
    }
}

async fn refusal_takes() -> Result<(), Error> {
    tokio::time::sleep(REFUSAL_TAKES).await;
    Ok(())
}

async fn from_streams(
    data: &mut podcov_spdy::Incoming,
    error: &mut podcov_spdy::Incoming,
    ended: &mut EndedStreams,
) -> Result<FromPod, Error> {
    while !(ended.data && ended.error) {
        tokio::select! {
            // An error comes before the end that it is the reason of.
            biased;
            words = error.next(), if !ended.error => match words {
                Ok(Some(words)) => return Ok(FromPod::Error(String::from_utf8_lossy(&words).trim().to_owned())),
                Ok(None) => ended.error = true,
                Err(why) => return Err(broken(why)),
            },
            piece = data.next(), if !ended.data => match piece {
                Ok(Some(piece)) => return Ok(FromPod::Data(piece)),
                Ok(None) => {
                    ended.data = true;
                    return Ok(FromPod::End);
                }
                Err(why) => return Err(broken(why)),
            },
        }
    }
    Ok(FromPod::Closed)
}

async fn from_channels(channels: &mut channels::Incoming, seen: &mut [bool; 2]) -> Result<FromPod, Error> {
    loop {
        match channels.next().await? {
            None => return Ok(FromPod::Closed),
            Some((channel @ (DATA | ERROR), data)) => {
                // Each channel's first message only repeats the port.
                let first = !std::mem::replace(&mut seen[usize::from(channel)], true);
                if first || data.is_empty() {
                    continue;
                }
                if channel == ERROR {
                    return Ok(FromPod::Error(String::from_utf8_lossy(&data).trim().to_owned()));
                }
                return Ok(FromPod::Data(data));
            }
            Some(_) => {}
        }
    }
}

impl Outgoing {
    pub(super) async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        match self {
            Self::Stream(stream) => stream.send(data).await.map_err(broken),
            Self::Channel(channel) => channel.send(DATA, &data).await,
        }
    }

    /// Sends a ping and waits for its answer; see [`Session::round_trip`].
    async fn round_trip(&mut self) -> Result<(), Error> {
        match self {
            Self::Stream(stream) => stream.session().round_trip().await.map_err(broken),
            Self::Channel(channel) => channel.round_trip().await,
        }
    }

    /// Says that nothing more will be sent, where that can be said.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self {
            Self::Stream(stream) => stream.end().map_err(broken),
            // To close it would be to lose the answer.
            Self::Channel(_) => Ok(()),
        }
    }

    /// Ends the connection; that the other end is gone already is no error. Without it a stream that is dropped is cut,
    /// so that a program does not take the half of something for the whole.
    pub(super) async fn finish(&mut self) {
        match self {
            Self::Stream(stream) => drop(stream.end()),
            Self::Channel(channel) => channel.finish().await,
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
}
