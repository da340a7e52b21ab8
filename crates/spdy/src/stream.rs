//! The two directions of a stream, and how one is opened.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::queue::{Queued, Session};
use crate::registry::Event;
use crate::{Broken, Headers};

/// The incoming direction of a stream.
pub struct Incoming {
    events: mpsc::UnboundedReceiver<Event>,
    /// What the last piece takes of the limit, until the next one is asked for.
    taken: Option<OwnedSemaphorePermit>,
    life: Arc<Life>,
}

/// The outgoing direction of a stream.
pub struct Outgoing {
    life: Arc<Life>,
}

/// As long as either direction is held. A stream that goes before it has ended both ways is cancelled.
struct Life {
    id: u32,
    session: Session,
    sent_end: AtomicBool,
    seen_end: AtomicBool,
}

pub(crate) fn new(
    id: u32,
    session: Session,
    events: mpsc::UnboundedReceiver<Event>,
    sent_end: bool,
) -> (Incoming, Outgoing) {
    let life = Life { id, session, sent_end: sent_end.into(), seen_end: false.into() };
    let life = Arc::new(life);
    (Incoming { events, taken: None, life: Arc::clone(&life) }, Outgoing { life })
}

impl Session {
    /// Opens a stream without waiting for the other end: data may be sent at once, and a refusal shows as the stream's
    /// end. With `fin` nothing will be sent on it.
    ///
    /// # Errors
    /// When the session has ended, or takes no more streams.
    pub fn open(&self, headers: Headers, fin: bool) -> Result<(Incoming, Outgoing), Broken> {
        let mut next = self.0.next.lock().unwrap_or_else(PoisonError::into_inner);
        let id = *next;
        let events = self.0.registry.add(id)?;
        *next = id + 2;
        self.queue(Queued::Open { stream: id, fin, headers })?;
        Ok(new(id, self.clone(), events, fin))
    }
}

impl Incoming {
    /// The session that the stream belongs to.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.life.session
    }

    /// The next piece of data; `None` when the other end has ended its direction.
    ///
    /// # Errors
    /// When the stream was cut, or the whole session.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        self.taken = None;
        match self.events.recv().await {
            Some(Event::Data(data, permit)) => {
                self.taken = Some(permit);
                Ok(Some(data))
            }
            Some(Event::End) => {
                self.life.seen_end.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Some(Event::Broken(why)) => Err(why),
            None => Err(self.life.session.why_closed()),
        }
    }
}

impl Outgoing {
    /// The session that the stream belongs to.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.life.session
    }

    /// Sends data, once there is room for it in the queue.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn send(&mut self, data: Bytes) -> Result<(), Broken> {
        let room = self.life.session.room(data.len()).await?;
        self.life.session.queue(Queued::Data { stream: self.life.id, data, room: Some(room), fin: false })
    }

    /// Ends this direction; the other goes on.
    ///
    /// # Errors
    /// When the session has ended.
    pub fn end(&mut self) -> Result<(), Broken> {
        if self.life.sent_end.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        self.life.session.queue(Queued::Data {
            stream: self.life.id,
            data: Bytes::new(),
            room: None,
            fin: true,
        })
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.session.forget(self.id);
        if !(self.sent_end.load(Ordering::Relaxed) && self.seen_end.load(Ordering::Relaxed)) {
            // A session that has ended has no streams to cancel.
            let _ = self.session.queue(Queued::Cancel(self.id));
        }
    }
}
