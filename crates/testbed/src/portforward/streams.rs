//! port-forward by streams: two for each connection, which have its number in their headers, one for the data, one
//! for an error (`k8s.io/kubelet/pkg/cri/streaming/portforward/httpstream.go`).

use std::{collections::HashMap, io, sync::Arc};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use hyper_util::rt::TokioIo;
use podcov_spdy::{Accepted, Incoming, Outgoing};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use super::pod_port::{CHUNK, connect, refusal};
use crate::{api::request::Info, cluster::Cluster};

const PROTOCOL: HeaderValue = HeaderValue::from_static("SPDY/3.1");

pub(super) fn are_asked_for(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE) == Some(&PROTOCOL)
}

/// Answers the request; streams are taken once it is upgraded.
pub(super) fn handle(cluster: &Arc<Cluster>, info: &Info, mut request: Request) -> Response {
    let upgraded = hyper::upgrade::on(&mut request);
    let (namespace, name) = (info.namespace.clone(), info.name.clone());
    let of = Arc::clone(cluster);
    cluster.spawn(async move {
        let serving = async {
            let Ok(mut streams) = podcov_spdy::server(TokioIo::new(upgraded.await.ok()?)) else {
                return None;
            };
            let mut halves = HashMap::new();
            while let Some(stream) = streams.recv().await {
                let request = value(&stream, "requestid");
                let Some(other) = halves.remove(&request) else {
                    halves.insert(request, stream);
                    continue;
                };
                let (data, error) =
                    if value(&stream, "streamtype") == "data" { (stream, other) } else { (other, stream) };
                let port = value(&data, "port").parse().unwrap_or_default();
                let local = of.kubelet.local_port(&namespace, &name, port);
                of.spawn(serve(name.clone(), port, local, data, error));
            }
            Some(())
        };
        of.closing.run_until_cancelled(serving).await;
    });
    let headers = [
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, PROTOCOL),
        (
            header::HeaderName::from_static("x-stream-protocol-version"),
            HeaderValue::from_static("portforward.k8s.io"),
        ),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

fn value(stream: &Accepted, name: &str) -> String {
    let header = stream.headers.iter().find(|(of, _)| of == name);
    header.map(|(_, value)| value.clone()).unwrap_or_default()
}

async fn serve(pod: String, port: u16, local: Option<u16>, mut data: Accepted, mut error: Accepted) {
    let failed = match connect(local).await {
        Ok(connection) => {
            let (from, to) = connection.into_split();
            let copied =
                tokio::try_join!(to_pod(&mut data.incoming, to), to_client(from, &mut data.outgoing));
            let why = copied.err().and_then(|Gone(why)| why);
            why.map(|why| format!("error forwarding port {port} to pod {pod}, uid : {why}"))
        }
        Err(why) => {
            // Before the kubelet says why, as containerd does it.
            let _ = data.outgoing.end();
            Some(refusal(&pod, port, &why))
        }
    };
    if let Some(why) = failed {
        // The client may have gone.
        let _ = error.outgoing.send(Bytes::from(why)).await;
    }
    let _ = error.outgoing.end();
    // It ended its direction as it opened the stream. Seen, that makes an end of it and not an abort.
    let _ = error.incoming.next().await;
}

/// The connection has gone before its end, and why if that was not the client's doing.
struct Gone(Option<String>);

impl From<podcov_spdy::Broken> for Gone {
    fn from(_: podcov_spdy::Broken) -> Self {
        Self(None)
    }
}

impl From<io::Error> for Gone {
    fn from(why: io::Error) -> Self {
        Self(Some(why.to_string()))
    }
}

/// Copies what the client sends, and its half-close.
async fn to_pod(incoming: &mut Incoming, mut to: OwnedWriteHalf) -> Result<(), Gone> {
    while let Some(data) = incoming.next().await? {
        to.write_all(&data).await?;
    }
    // A pod that has ended the connection need not be told.
    let _ = to.shutdown().await;
    Ok(())
}

/// Copies what the pod sends, and its end.
async fn to_client(mut from: OwnedReadHalf, outgoing: &mut Outgoing) -> Result<(), Gone> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(outgoing.end()?);
        }
        outgoing.send(buffer.split().freeze()).await?;
    }
}
