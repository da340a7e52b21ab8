//! The channels that Kubernetes multiplexes over one WebSocket: a message's first byte is its channel
//! (`k8s.io/apimachinery/pkg/util/remotecommand`, `k8s.io/apiserver/pkg/util/wsstream`).

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::client::Connection;
use tokio::sync::Notify;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::Error;

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// What comes from the pod.
pub(crate) struct Incoming {
    messages: SplitStream<Socket>,
    ponged: Arc<Notify>,
}

/// What goes to the pod.
pub(crate) struct Outgoing {
    messages: SplitSink<Socket, Message>,
    ponged: Arc<Notify>,
}

/// The two directions of an upgraded connection.
pub(crate) fn split(connection: Connection) -> (Incoming, Outgoing) {
    let (sink, stream) = connection.into_stream().split();
    let ponged = Arc::new(Notify::new());
    (Incoming { messages: stream, ponged: Arc::clone(&ponged) }, Outgoing { messages: sink, ponged })
}

impl Incoming {
    /// The next message of any channel; `None` when the other end has closed in due form.
    pub(crate) async fn next(&mut self) -> Result<Option<(u8, Bytes)>, Error> {
        loop {
            let message = match self.messages.next().await {
                Some(Ok(message)) => message,
                Some(Err(e)) => return Err(Error::Broken(e.to_string())),
                None => return Ok(None),
            };
            match message {
                Message::Binary(mut data) if !data.is_empty() => {
                    let channel = data.get_u8();
                    return Ok(Some((channel, data)));
                }
                Message::Close(_) => return Ok(None),
                Message::Pong(_) => self.ponged.notify_one(),
                // Pings are answered by the library; an empty or textual message means nothing here.
                _ => {}
            }
        }
    }
}

impl Outgoing {
    pub(crate) async fn send(&mut self, channel: u8, data: &[u8]) -> Result<(), Error> {
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel);
        message.put_slice(data);
        self.write(Message::Binary(message.freeze())).await
    }

    /// Sends a ping and waits for its answer, which comes while [`Incoming::next`] is waited for. By then that has given
    /// what the other end had sent before.
    pub(crate) async fn round_trip(&mut self) -> Result<(), Error> {
        self.write(Message::Ping(Bytes::new())).await?;
        self.ponged.notified().await;
        Ok(())
    }

    async fn write(&mut self, message: Message) -> Result<(), Error> {
        self.messages.send(message).await.map_err(|e| Error::Broken(e.to_string()))
    }

    /// Ends the connection in due form; that the other end is gone already is no error.
    pub(crate) async fn finish(&mut self) {
        let _ = self.messages.close().await;
    }
}
