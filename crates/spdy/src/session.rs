//! A session: the task that reads and writes its connection, and what streams see of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use crate::frame::{self, Frame};
use crate::headers::{Deflater, Inflater};
use crate::registry::{Event, Registry};
use crate::stream;
use crate::{Broken, Headers, Incoming, Outgoing};

/// How often a ping goes out, so that nothing on the way takes the session for abandoned; and how long the other
/// end may be silent after one.
const PING_EVERY: Duration = Duration::from_secs(20);
/// As much is written in one go, in bytes; a piece of data comes on top.
const BATCH: usize = 64 * 1024;
/// As much is read in one go, in bytes.
const CHUNK: usize = 128 * 1024;

/// One end of a connection that carries streams. It ends when all clones and all streams are dropped.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    registry: Arc<Registry>,
    queue: mpsc::UnboundedSender<Queued>,
    /// The next stream's number. It is held while that stream is queued, as numbers may only rise.
    next: Mutex<u32>,
}

/// A frame that waits to be written.
pub(crate) enum Queued {
    Open { stream: u32, fin: bool, headers: Headers },
    Reply(u32),
    Data { stream: u32, fin: bool, data: Bytes, room: Option<OwnedSemaphorePermit> },
    Cancel(u32),
    Ping(u32),
}

/// A stream that the other end has opened.
pub struct Accepted {
    /// What it is for.
    pub headers: Headers,
    /// Its incoming direction.
    pub incoming: Incoming,
    /// Its outgoing direction.
    pub outgoing: Outgoing,
}

/// Starts the session of a client, which opens streams. It runs on the current runtime.
///
/// # Errors
/// When the compression cannot be set up.
pub fn client<C>(connection: C) -> Result<Session, Broken>
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    start(connection, None)
}

/// Starts the session of a server, which takes streams, as long as the receiver is read. It runs on the current
/// runtime.
///
/// # Errors
/// When the compression cannot be set up.
pub fn server<C>(connection: C) -> Result<mpsc::UnboundedReceiver<Accepted>, Broken>
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (sender, receiver) = mpsc::unbounded_channel();
    start(connection, Some(sender))?;
    Ok(receiver)
}

fn start<C>(connection: C, accepted: Option<mpsc::UnboundedSender<Accepted>>) -> Result<Session, Broken>
where
    C: AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = tokio::io::split(connection);
    let (queue, queued) = mpsc::unbounded_channel();
    let registry = Arc::new(Registry::new());
    let shared = Arc::new(Shared { registry: Arc::clone(&registry), queue, next: Mutex::new(1) });
    let deflater = Deflater::new()?;
    let reading = Reading {
        registry: Arc::clone(&registry),
        role: match accepted {
            // A server lives as long as its connection, whatever streams there are.
            Some(accepted) => Role::Server(Session(Arc::clone(&shared)), accepted),
            None => Role::Client(shared.queue.downgrade()),
        },
        inflater: Inflater::new(),
    };
    tokio::spawn(async move {
        let writing = write(writer, queued, deflater, &registry);
        // Whichever ends first ends the other, and with it the connection.
        let ended = tokio::select! {
            why = reading.run(reader) => Err(why),
            written = writing => written,
        };
        if let Err(why) = ended {
            registry.close(why);
        }
    });
    Ok(Session(shared))
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
        Ok(stream::new(id, self.clone(), events, fin))
    }

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

/// The reading half.
struct Reading {
    registry: Arc<Registry>,
    role: Role,
    inflater: Inflater,
}

enum Role {
    /// With a queue for answers that does not keep the session alive.
    Client(mpsc::WeakUnboundedSender<Queued>),
    Server(Session, mpsc::UnboundedSender<Accepted>),
}

impl Reading {
    /// Reads until the connection ends, and returns why.
    async fn run(mut self, mut reader: impl AsyncRead + Unpin) -> Broken {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match reader.read_buf(&mut buffer).await {
                Ok(0) => return Broken("the connection was closed".to_owned()),
                Ok(_) => self.registry.hear(),
                Err(e) => return Broken(e.to_string()),
            }
            loop {
                match frame::take(&mut buffer) {
                    Ok(Some(frame)) => {
                        if let Err(why) = self.take(frame).await {
                            return why;
                        }
                    }
                    Ok(None) => break,
                    Err(why) => return why,
                }
            }
        }
    }

    async fn take(&mut self, frame: Frame) -> Result<(), Broken> {
        match frame {
            Frame::Data { stream, fin, data } => {
                self.registry.data(stream, data).await;
                if fin {
                    self.registry.tell(stream, Event::End);
                }
            }
            Frame::Reply { stream, fin: true } => self.registry.tell(stream, Event::End),
            Frame::Reset { stream, status } => {
                let why = Broken(format!("the other end reset the stream (status {status})"));
                self.registry.tell(stream, Event::Broken(why));
            }
            Frame::Open { stream, fin, headers } => {
                // Also where the stream is refused: the blocks are one compressed whole.
                let headers = self.inflater.block(&headers)?;
                self.opened(stream, fin, headers)?;
            }
            Frame::Ping(id) if (id % 2 == 1) == matches!(self.role, Role::Server(..)) => {
                self.answer(Queued::Ping(id));
            }
            // One with another's number answers a ping of ours.
            Frame::Ping(id) => self.registry.pong(id),
            Frame::GoAway => self.registry.refuse(Broken("the other end takes no more streams".to_owned())),
            Frame::Reply { .. } | Frame::Other => {}
        }
        Ok(())
    }

    fn opened(&self, stream: u32, fin: bool, headers: Headers) -> Result<(), Broken> {
        let Role::Server(session, accepted) = &self.role else {
            self.answer(Queued::Cancel(stream));
            return Ok(());
        };
        let events = self.registry.add(stream)?;
        session.queue(Queued::Reply(stream))?;
        let (incoming, outgoing) = stream::new(stream, session.clone(), events, false);
        if fin {
            self.registry.tell(stream, Event::End);
        }
        let accepted = accepted.send(Accepted { headers, incoming, outgoing });
        accepted.map_err(|_| Broken("nobody takes streams any more".to_owned()))
    }

    fn answer(&self, queued: Queued) {
        let queue = match &self.role {
            Role::Client(queue) => queue.upgrade(),
            Role::Server(session, _) => Some(session.0.queue.clone()),
        };
        if let Some(queue) = queue {
            // Without one that writes the session is at its end.
            let _ = queue.send(queued);
        }
    }
}

/// Writes what is queued until nobody is left to queue anything.
async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queued: mpsc::UnboundedReceiver<Queued>,
    mut deflater: Deflater,
    registry: &Registry,
) -> Result<(), Broken> {
    let broken = |e: std::io::Error| Broken(e.to_string());
    let mut ticks = interval(PING_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    let mut batch = BytesMut::with_capacity(2 * BATCH);
    // Bytes free their room in the queue only once they have been written to the connection.
    let mut rooms = Vec::new();
    loop {
        let mut next = tokio::select! {
            next = queued.recv() => match next {
                Some(next) => Some(next),
                None => break,
            },
            _ = ticks.tick() => {
                if !registry.has_heard() {
                    return Err(Broken(format!("nothing has come for {} s", PING_EVERY.as_secs())));
                }
                Some(Queued::Ping(registry.next_ping()))
            }
        };
        while let Some(queued_now) = next {
            rooms.extend(put(&mut batch, &mut deflater, queued_now)?);
            next = if batch.len() < BATCH { queued.try_recv().ok() } else { None };
        }
        registry.begin_write();
        writer.write_all(&batch).await.map_err(broken)?;
        writer.flush().await.map_err(broken)?;
        registry.end_write();
        batch.clear();
        rooms.clear();
    }
    // The other end may be gone already.
    let _ = writer.shutdown().await;
    Ok(())
}

/// Adds a frame to what is written next; gives the room that it takes in the queue.
fn put(
    out: &mut BytesMut,
    deflater: &mut Deflater,
    queued: Queued,
) -> Result<Option<OwnedSemaphorePermit>, Broken> {
    match queued {
        Queued::Open { stream, fin, headers } => {
            frame::put_open(out, stream, fin, &deflater.block(&headers)?);
        }
        Queued::Reply(stream) => frame::put_reply(out, stream, &deflater.block(&Headers::new())?),
        Queued::Cancel(stream) => frame::put_cancel(out, stream),
        Queued::Ping(id) => frame::put_ping(out, id),
        Queued::Data { stream, fin, data, room } => {
            frame::put_data(out, stream, fin, &data);
            return Ok(room);
        }
    }
    Ok(None)
}
