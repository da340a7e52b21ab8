//! The state of a session's streams, which its two directions share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::Broken;

/// How much may wait to be taken by slow readers, all streams together, in bytes.
const DOWN: usize = 4 << 20;
/// Less than this is copied, in bytes.
const SMALL: usize = 16 * 1024;
/// How much may wait to be written, all streams together, in bytes.
const UP: usize = 1 << 20;

/// A write that takes longer means that the other end does not read.
const STUCK: Duration = Duration::from_millis(200);

/// An event on a stream.
#[derive(Debug)]
pub(crate) enum Event {
    /// The permit stands for the bytes' share of the limit.
    Data(Bytes, OwnedSemaphorePermit),
    End,
    Broken(Broken),
}

pub(crate) struct Registry {
    streams: Mutex<Streams>,
    down: Arc<Semaphore>,
    up: Arc<Semaphore>,
    /// Whether anything has arrived since the last question.
    heard: AtomicBool,
    /// Since when the connection has not taken what is to be written.
    writing: Mutex<Option<Instant>>,
    next_ping: AtomicU32,
}

#[derive(Default)]
struct Streams {
    open: HashMap<u32, mpsc::UnboundedSender<Event>>,
    /// The waiters for answers to pings.
    pings: HashMap<u32, oneshot::Sender<()>>,
    /// Why there can be no more streams.
    closed: Option<Broken>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            streams: Mutex::default(),
            down: Arc::new(Semaphore::new(DOWN)),
            up: Arc::new(Semaphore::new(UP)),
            heard: AtomicBool::new(true),
            writing: Mutex::default(),
            next_ping: AtomicU32::new(1),
        }
    }

    /// Registers a stream.
    pub(crate) fn add(&self, id: u32) -> Result<mpsc::UnboundedReceiver<Event>, Broken> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut streams = self.lock();
        if let Some(why) = &streams.closed {
            return Err(why.clone());
        }
        streams.open.insert(id, sender);
        Ok(receiver)
    }

    pub(crate) fn remove(&self, id: u32) {
        self.lock().open.remove(&id);
    }

    /// Sends an event to a stream, which may be gone.
    pub(crate) fn tell(&self, id: u32, event: Event) {
        if let Some(stream) = self.lock().open.get(&id) {
            let _ = stream.send(event);
        }
    }

    /// Sends data to a stream, once there is room.
    pub(crate) async fn data(&self, id: u32, data: Bytes) {
        if data.is_empty() {
            return;
        }
        // A small piece would hold all that it was read with, which the limit does not count.
        let data = if data.len() < SMALL { Bytes::copy_from_slice(&data) } else { data };
        let share = data.len().min(DOWN) as u32;
        if let Ok(permit) = Arc::clone(&self.down).acquire_many_owned(share).await {
            self.tell(id, Event::Data(data, permit));
        }
    }

    /// Waits for room to write that many bytes.
    pub(crate) async fn room(&self, length: usize) -> Result<OwnedSemaphorePermit, Broken> {
        let permit = Arc::clone(&self.up).acquire_many_owned(length.min(UP) as u32).await;
        permit.map_err(|_| self.why_closed())
    }

    /// Accepts no more streams. An earlier reason is kept.
    pub(crate) fn refuse(&self, why: Broken) {
        self.lock().closed.get_or_insert(why);
    }

    /// Ends everything.
    pub(crate) fn close(&self, why: Broken) {
        let mut streams = self.lock();
        let why = streams.closed.get_or_insert(why).clone();
        for (_, stream) in streams.open.drain() {
            let _ = stream.send(Event::Broken(why.clone()));
        }
        streams.pings.clear();
        self.up.close();
        self.down.close();
    }

    /// The number of the next ping. A client's are odd.
    pub(crate) fn next_ping(&self) -> u32 {
        self.next_ping.fetch_add(2, Ordering::Relaxed)
    }

    /// Registers a waiter for the answer to this ping.
    pub(crate) fn expect_pong(&self, ping: u32) -> Result<oneshot::Receiver<()>, Broken> {
        let (sender, receiver) = oneshot::channel();
        let mut streams = self.lock();
        if let Some(why) = &streams.closed {
            return Err(why.clone());
        }
        streams.pings.insert(ping, sender);
        Ok(receiver)
    }

    /// The answer to a ping has come.
    pub(crate) fn pong(&self, ping: u32) {
        if let Some(waiting) = self.lock().pings.remove(&ping) {
            let _ = waiting.send(());
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    pub(crate) fn why_closed(&self) -> Broken {
        self.lock().closed.clone().unwrap_or_else(|| Broken("the connection has ended".to_owned()))
    }

    /// A slow reader, or a slow connection, is about to stop the others.
    pub(crate) fn is_held_up(&self) -> bool {
        let stuck = self.writing().is_some_and(|since| since.elapsed() > STUCK);
        self.down.available_permits() < DOWN / 2 || self.up.available_permits() == 0 || stuck
    }

    /// A write begins.
    pub(crate) fn begin_write(&self) {
        *self.writing() = Some(Instant::now());
    }

    /// It is done.
    pub(crate) fn end_write(&self) {
        *self.writing() = None;
    }

    fn writing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn hear(&self) {
        self.heard.store(true, Ordering::Relaxed);
    }

    /// Whether anything has come since this was last asked, or could not come because nobody read it.
    pub(crate) fn has_heard(&self) -> bool {
        self.heard.swap(false, Ordering::Relaxed) || self.is_held_up()
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
