//! What a session and its streams share: the queue of what is to be written, and the state of the connection.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::registry::Registry;
use crate::{Broken, Headers};

/// One end of a connection that carries streams. It ends when all clones and all streams are dropped.
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) queue: mpsc::UnboundedSender<Queued>,
    /// The next stream's number. It is held while that stream is queued, as numbers may only rise.
    pub(crate) next: Mutex<u32>,
}

/// A frame that waits to be written.
pub(crate) enum Queued {
    Open { stream: u32, fin: bool, headers: Headers },
    Reply(u32),
    Data { stream: u32, fin: bool, data: Bytes, room: Option<OwnedSemaphorePermit> },
    Cancel(u32),
    Ping(u32),
}

impl Session {
    /// Whether it can open no more streams.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.registry.is_closed()
            || *self.0.next.lock().unwrap_or_else(PoisonError::into_inner) > i32::MAX as u32
    }

    /// Whether a reader or the connection is too slow, so that new streams should use another session.
    #[must_use]
    pub fn is_held_up(&self) -> bool {
        self.0.registry.is_held_up()
    }

    /// Sends a ping and waits for its answer. By then the other end has read what was sent before, and what it had
    /// written before it read the ping has been handed to its streams.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn round_trip(&self) -> Result<(), Broken> {
        let ping = self.0.registry.next_ping();
        let pong = self.0.registry.expect_pong(ping)?;
        self.queue(Queued::Ping(ping))?;
        pong.await.map_err(|_| self.why_closed())
    }

    pub(crate) fn queue(&self, queued: Queued) -> Result<(), Broken> {
        self.0.queue.send(queued).map_err(|_| self.why_closed())
    }

    pub(crate) async fn room(&self, length: usize) -> Result<OwnedSemaphorePermit, Broken> {
        self.0.registry.room(length).await
    }

    pub(crate) fn forget(&self, stream: u32) {
        self.0.registry.remove(stream);
    }

    pub(crate) fn why_closed(&self) -> Broken {
        self.0.registry.why_closed()
    }
}
