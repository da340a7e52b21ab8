//! Waiting until the remote end takes connections.

use std::net::SocketAddr;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kube::ResourceExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::connection::RETRY;
use super::probe;
use super::tunnel::FromPod;
use super::upstream::Upstream;
use crate::Error;

pub(super) async fn accepts(upstream: &Upstream) -> Result<(), Error> {
    until_ready(upstream, async || {
        let pod = upstream.live.pick(None, upstream.patience).await?;
        let opened = async {
            let shown = probe::shows(&pod, upstream.backend.port_on(&pod, &upstream.remote)?);
            match shown && upstream.warm(&pod).await? {
                true => Ok(None),
                false => upstream.open(&pod).await.map(Some),
            }
        };
        let mut tunnel = match opened.await {
            Ok(Some(tunnel)) => tunnel,
            Ok(None) => return Ok(None),
            Err(e) if e.is_transient() || e.is_gone() => return Ok(Some(e.to_string())),
            Err(e) => return Err(e),
        };
        let mut word = tunnel.settle().await;
        if let Some(Ok(FromPod::End)) = word {
            // containerd ends a refused connection before the kubelet says that it was refused.
            let reason = tokio::time::timeout(upstream.cluster.timeout(), tunnel.incoming.next()).await;
            word = reason.ok();
        }
        Ok(match word {
            Some(Ok(FromPod::Error(message))) => Some(format!("pod {}: {message}", pod.name_any())),
            Some(Err(e)) => Some(format!("pod {}: {e}", pod.name_any())),
            // It spoke, closed without an error, or has nothing to say yet: in each case it has accepted.
            Some(Ok(FromPod::Data(_) | FromPod::End | FromPod::Closed)) | None => None,
        })
    })
    .await
}

pub(super) async fn answers_http(upstream: &Upstream, address: SocketAddr, path: &str) -> Result<(), Error> {
    until_ready(upstream, async || {
        // Through the local port, as the command's own requests will go.
        upstream.live.pick(None, upstream.patience).await?;
        Ok(match tokio::time::timeout(upstream.cluster.timeout(), get(address, path)).await {
            Ok(Ok(status)) if status.is_success() || status.is_redirection() => None,
            Ok(Ok(status)) => Some(format!("GET {path} answered {status}")),
            Ok(Err(e)) => Some(format!("GET {path}: {e}")),
            Err(_) => Some(format!("GET {path} was not answered")),
        })
    })
    .await
}

/// Runs `check` until it finds nothing wrong; its `Err` ends the wait, its `Some` is tried again.
async fn until_ready(
    upstream: &Upstream,
    check: impl AsyncFn() -> Result<Option<String>, Error>,
) -> Result<(), Error> {
    let deadline = Instant::now() + upstream.patience;
    let mut last = None;
    let mut pauses = RETRY;
    loop {
        match tokio::time::timeout_at(deadline, check()).await {
            Ok(Ok(None)) => return Ok(()),
            Ok(Ok(Some(cause))) => last = Some(cause),
            Ok(Err(e)) => return Err(e),
            Err(_) => break,
        }
        tracing::debug!("not ready: {}", last.as_deref().unwrap_or_default());
        if Instant::now() >= deadline {
            break;
        }
        upstream.live.changed(pauses.next_length()).await;
    }
    let cause = last.unwrap_or_else(|| "nothing answered".to_owned());
    Err(Error::NotReady { after: upstream.patience, cause: format!("{}: {cause}", upstream.backend) })
}

async fn get(
    address: SocketAddr,
    path: &str,
) -> Result<hyper::StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = hyper::Request::get(path)
        .header("Host", address.to_string())
        .header("User-Agent", concat!("podcov-test/", env!("CARGO_PKG_VERSION")))
        .header("Connection", "close")
        .body(String::new())?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    driver.abort();
    Ok(answer?.status())
}
