//! Readiness and startup probes.

use std::{net::Ipv4Addr, time::Duration};

use axum::{
    body::Body,
    http::{Request, header},
};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::{net::TcpStream, time};

use super::runtime::PodRuntime;
use crate::store::Store;

/// Until it first succeeds a probe is tried this often, not at its own period: tests should not wait for it.
const FAST: Duration = Duration::from_millis(15);

/// Keeps a running container's `started` and `ready` as its probes say, for ever.
///
/// After a success the probe's own period counts again, as each probe is a request that the program counts too.
/// Probes by command or gRPC count as successful; liveness probes are not run.
pub(crate) async fn run(store: &Store, runtime: &PodRuntime, container: &Container) {
    if let Some(probe) = &container.startup_probe {
        until(probe, runtime, container, true).await;
    }
    let ready = container.readiness_probe.is_none();
    runtime.edit(&container.name, |slot| {
        slot.status.started = Some(true);
        slot.status.ready = ready;
    });
    runtime.publish(store);
    let Some(probe) = &container.readiness_probe else { return std::future::pending().await };
    loop {
        for ready in [true, false] {
            until(probe, runtime, container, ready).await;
            runtime.edit(&container.name, |slot| slot.status.ready = ready);
            runtime.publish(store);
        }
    }
}

/// Returns when the probe succeeds or, after enough failures, when it fails.
async fn until(probe: &Probe, runtime: &PodRuntime, container: &Container, success: bool) {
    let period = Duration::from_secs(u64::try_from(probe.period_seconds.unwrap_or(10)).unwrap_or(10));
    let threshold = if success { 1 } else { probe.failure_threshold.unwrap_or(3) };
    let mut count = 0;
    while count < threshold {
        if !success {
            time::sleep(period).await;
        }
        if once(probe, runtime, container).await == success {
            count += 1;
        } else {
            count = 0;
            if success {
                time::sleep(FAST).await;
            }
        }
    }
}

async fn once(probe: &Probe, runtime: &PodRuntime, container: &Container) -> bool {
    let timeout = Duration::from_secs(u64::try_from(probe.timeout_seconds.unwrap_or(1)).unwrap_or(1));
    let outcome = async {
        if let Some(http) = &probe.http_get {
            get(http, local_port(&http.port, runtime, container)?).await.ok()
        } else if let Some(tcp) = &probe.tcp_socket {
            let port = local_port(&tcp.port, runtime, container)?;
            Some(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok())
        } else {
            Some(true)
        }
    };
    time::timeout(timeout, outcome).await.ok().flatten().unwrap_or(false)
}

async fn get(http: &HTTPGetAction, port: u16) -> anyhow::Result<bool> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::get(http.path.as_deref().unwrap_or("/"))
        .header(header::HOST, format!("127.0.0.1:{port}"))
        .header(header::USER_AGENT, "kube-probe/1.34")
        .header(header::CONNECTION, "close");
    for header in http.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Body::empty())?;
    let mut response = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut response => response,
        // It ends with the answer given, or it failed and so has the request.
        _ = connection => response.await,
    };
    let status = response?.status();
    Ok(status.is_success() || status.is_redirection())
}

fn local_port(port: &IntOrString, runtime: &PodRuntime, container: &Container) -> Option<u16> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named?.container_port
        }
    };
    runtime.port(u16::try_from(number).ok()?)
}
