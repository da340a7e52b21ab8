//! The task of a session, which reads and writes its connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use crate::frame::{self, Frame};
use crate::headers::{Deflater, Inflater};
use crate::queue::{Queued, Session, Shared};
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
