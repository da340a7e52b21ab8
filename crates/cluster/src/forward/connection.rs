//! One connection: from a local client to a port of a live pod and back.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::Instant;

use super::pump::{Exchange, pump};
use super::tunnel::took_nothing;
use super::upstream::Upstream;
use crate::{Error, Pauses};

/// How long to wait for news of the pods before another try: a port that opens late tells nobody.
pub(super) const RETRY: Pauses = Pauses::new(Duration::from_millis(10), 2, Duration::from_millis(500));

/// How a try at a connection ended.
enum TryEnd {
    /// As connections end.
    Over,
    /// The pod's port took nothing; all that the client said can be said again elsewhere.
    Refused(String),
}

/// Carries a client's connection to a live pod, trying until one takes it or the upstream's patience ends.
pub(super) async fn serve(client: TcpStream, upstream: &Upstream) -> Result<(), Error> {
    let _ = client.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let outcome = serve_halves(&mut from_client, &mut to_client, upstream).await;
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
    upstream: &Upstream,
) -> Result<(), Error> {
    let deadline = Instant::now() + upstream.patience;
    let mut exchange = Exchange::of_client();
    let mut avoided: Option<String> = None;
    let mut pauses = RETRY;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let pod = upstream.live.pick(avoided.as_deref(), left).await?;
        let refusal = match try_pod(upstream, &pod, from_client, to_client, &mut exchange).await {
            Ok(TryEnd::Over) => return Ok(()),
            Ok(TryEnd::Refused(message)) => message,
            Err(e) => return Err(e),
        };
        tracing::debug!("pod {} did not take the connection: {refusal}", pod.name_any());
        if Instant::now() >= deadline {
            return Err(Error::NotReady { after: upstream.patience, cause: refusal });
        }
        avoided = pod.uid();
        upstream.live.changed(pauses.next_length()).await;
    }
}

async fn try_pod(
    upstream: &Upstream,
    pod: &Pod,
    from_client: &mut OwnedReadHalf,
    to_client: &mut OwnedWriteHalf,
    exchange: &mut Exchange,
) -> Result<TryEnd, Error> {
    let mut tunnel = match upstream.open(pod).await {
        Ok(tunnel) => tunnel,
        Err(e) if e.is_transient() || e.is_gone() => return Ok(TryEnd::Refused(e.to_string())),
        Err(e) => return Err(e),
    };
    let Some(message) = pump(from_client, to_client, &mut tunnel, exchange).await? else {
        return Ok(TryEnd::Over);
    };
    if exchange.has_begun() {
        // A kubelet that cannot pass on what was sent no longer reads the connection, and all that share it hang.
        upstream.retire(pod).await;
    }
    if exchange.is_repeatable() && took_nothing(&message) {
        Ok(TryEnd::Refused(message))
    } else {
        Err(Error::Broken(message))
    }
}
