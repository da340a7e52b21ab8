//! port-forward, in the two forms that API servers have: streams of SPDY (see [`streams`]), and over a WebSocket.
//!
//! There channel 2i carries the data of the i-th port, channel 2i + 1 its error. Each channel begins with the port,
//! two bytes, the low one first. There is no half-close: the connection ends when the pod has closed every port's
//! connection, or when the client goes.

mod pod_port;
mod streams;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        FromRequestParts, Request,
        ws::{Message, WebSocket, WebSocketUpgrade},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt, future,
    stream::{SplitSink, SplitStream},
};
use k8s_openapi::api::core::v1::Pod;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::Mutex,
    time,
};

use self::pod_port::{CHUNK, connect, refusal};
use crate::{
    api::{request::Info, status::Failure},
    cluster::Cluster,
    exec::NORMAL,
    kubelet,
};

/// How long a client may take to answer the closing of its connection.
const GOODBYE: Duration = Duration::from_secs(5);

type Sink = Mutex<SplitSink<WebSocket, Message>>;

/// Answers a port-forward request; connections are made once it is upgraded.
pub(crate) async fn handle(
    cluster: &Arc<Cluster>,
    info: &Info,
    request: Request,
) -> Result<Response, Failure> {
    let pod = kubelet::pod(cluster, &info.namespace, &info.name)?;
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty()) {
        return Err(Failure::bad_request(format!("pod {} does not have a host assigned", info.name)));
    }
    if streams::are_asked_for(request.headers()) {
        check_running(&pod, info)?;
        return Ok(streams::handle(cluster, info, request));
    }
    let ports: Result<Vec<u16>, _> =
        info.query_all("ports").flat_map(|ports| ports.split(',')).map(str::parse).collect();
    let ports = match ports {
        Ok(ports) if !ports.is_empty() && ports.len() < 128 => ports,
        _ => return Err(Failure::bad_request("query parameter \"ports\" is required")),
    };
    let (mut parts, _) = request.into_parts();
    // The kubelet knows no other name for this protocol.
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, cluster)
        .await
        .map_err(|_| Failure::bad_request("Upgrade request required"))?
        .protocols(["v4.channel.k8s.io"]);
    if upgrade.selected_protocol().is_none() {
        return Err(Failure::bad_request("unable to negotiate a subprotocol"));
    }
    check_running(&pod, info)?;
    let local = |port: &u16| (*port, cluster.kubelet.local_port(&info.namespace, &info.name, *port));
    let ports: Vec<_> = ports.iter().map(local).collect();
    let (cluster, pod) = (cluster.clone(), info.name.clone());
    Ok(upgrade.on_upgrade(move |socket| async move {
        cluster.closing.run_until_cancelled(forward(socket, &pod, &ports)).await;
    }))
}

fn check_running(pod: &Pod, info: &Info) -> Result<(), Failure> {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default();
    if phase == "Running" {
        return Ok(());
    }
    Err(Failure::internal(&format!("pod not found ({:?})", format!("{}_{}", info.name, info.namespace))))
}

async fn forward(socket: WebSocket, pod: &str, ports: &[(u16, Option<u16>)]) {
    let (sink, incoming) = socket.split();
    let sink = Mutex::new(sink);
    for (channel, (port, _)) in (0..).step_by(2).zip(ports) {
        let [low, high] = port.to_le_bytes();
        for channel in [channel, channel + 1] {
            if send(&sink, &[channel, low, high]).await.is_err() {
                return;
            }
        }
    }
    let connections = future::join_all(ports.iter().map(|(_, local)| connect(*local))).await;
    let mut writers = Vec::new();
    let mut from_pod = Vec::new();
    for ((channel, (port, _)), connection) in (0..).step_by(2).zip(ports).zip(connections) {
        match connection {
            Ok(connection) => {
                let (reader, writer) = connection.into_split();
                writers.push(Some(writer));
                from_pod.push(to_client(&sink, channel, reader));
            }
            Err(why) => {
                writers.push(None);
                let message = refusal(pod, *port, &why);
                let message: Vec<u8> = std::iter::once(channel + 1).chain(message.into_bytes()).collect();
                if send(&sink, &message).await.is_err() {
                    return;
                }
            }
        }
    }
    let mut to_pod = std::pin::pin!(to_pod(incoming, writers));
    tokio::select! {
        _ = future::join_all(from_pod) => {}
        () = &mut to_pod => return,
    }
    // The client may have gone.
    let _ = sink.lock().await.send(Message::Close(Some(NORMAL))).await;
    // Until the client has closed too: ending with data unread would reset the connection.
    let _ = time::timeout(GOODBYE, to_pod).await;
}

/// Copies what a pod's connection brings, until it is closed.
async fn to_client(sink: &Sink, channel: u8, mut from: OwnedReadHalf) {
    let mut buffer = vec![0; CHUNK];
    buffer[0] = channel;
    loop {
        // A connection that was reset has ended as well: the protocol knows no difference.
        match from.read(&mut buffer[1..]).await {
            Ok(length @ 1..) => {
                if send(sink, &buffer[..=length]).await.is_err() {
                    return;
                }
            }
            _ => return,
        }
    }
}

/// Copies what the client sends to each port's connection, until the client goes.
async fn to_pod(mut incoming: SplitStream<WebSocket>, mut writers: Vec<Option<OwnedWriteHalf>>) {
    while let Some(Ok(message)) = incoming.next().await {
        let Message::Binary(message) = message else { continue };
        let Some((channel, data)) = message.split_first() else { continue };
        let slot = if channel % 2 == 0 { writers.get_mut(usize::from(channel / 2)) } else { None };
        if let Some(slot) = slot
            && let Some(writer) = slot
            && writer.write_all(data).await.is_err()
        {
            *slot = None;
        }
    }
}

async fn send(sink: &Sink, message: &[u8]) -> Result<(), axum::Error> {
    sink.lock().await.send(Message::Binary(Bytes::copy_from_slice(message))).await
}
