//! What the agent of a program answers on its control endpoint.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::{Response, StatusCode};
use livecov::process::scan::{Scanner, descendants};
use podcov_control::{
    Action, EndedProcess, EndedProcesses, Flushed, Health, LIVES, LiveProcess, ProgramState, Request, Signal,
    Stopped, WasReset,
};
use podcov_storage::Origin;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::endpoint::{self, Body, Endpoint, Handler, answer_json, header, refuse, snapshot_archive};
use crate::files::CoverFolder;
use crate::flush::Flush;
use crate::live_files::LiveFiles;
use crate::program::{Program, State};
use crate::snapshot::{files_of, live_process, nothing};
use crate::{files, tarball};

/// How long the program may take to end when it is asked to, before the caller is told that it has not.
const STOP: Duration = Duration::from_secs(60);

/// The agent of a program.
pub(crate) struct Agent {
    pub(crate) endpoint: Endpoint,
    pub(crate) program: Program,
    pub(crate) flush: Flush,
    pub(crate) live: Arc<LiveFiles>,
    pub(crate) folder: Arc<CoverFolder>,
    pub(crate) origin: Origin,
    pub(crate) storage: Option<String>,
    pub(crate) stop_signal: Signal,
    /// When a request asked the program to end, since it was started.
    pub(crate) stop_asked: watch::Sender<Option<Instant>>,
    /// Who waits for the end of the process that runs now.
    pub(crate) waiting: Mutex<Vec<oneshot::Sender<Stopped>>>,
    pub(crate) starts: AtomicU32,
    /// What takes snapshots that are asked for, one at a time. It knows the programs that it has read, so that only their
    /// counters are read again.
    pub(crate) scanner: Arc<tokio::sync::Mutex<Scanner>>,
    /// The program's processes that have ended.
    pub(crate) lives: Mutex<EndedProcesses>,
}

impl Agent {
    /// Notes how a process of the program ended, and tells who waits for that.
    pub(crate) fn add_life(&self, life: EndedProcess) {
        let stopped = Stopped { exit_code: life.exit_code, counters_written: life.counters_written };
        for waiting in self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that has gone meanwhile needs no answer.
            let _ = waiting.send(stopped.clone());
        }
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).add(life);
    }

    pub(crate) fn lives(&self) -> EndedProcesses {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Handler for Agent {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn answer(self: &Arc<Self>, request: Request) -> Response<Body> {
        match request {
            Request::Health => answer_json(StatusCode::OK, &health(self)),
            Request::Do(Action::Flush { signal }) => flush(self, signal).await.into(),
            Request::Do(Action::Stop) => stop(self).await.into(),
            Request::Reset => match reset(self) {
                Ok(removed) => answer_json(StatusCode::OK, &WasReset { removed }),
                Err(e) => refuse(StatusCode::CONFLICT, &e.to_string()),
            },
            Request::Coverage(None) => coverage(self).await,
            Request::Coverage(Some(Action::Flush { signal })) => match flush(self, signal).await {
                Outcome::Done(_) => coverage(self).await,
                failed @ Outcome::Failed(..) => failed.into(),
            },
            Request::Coverage(Some(Action::Stop)) => match stop(self).await {
                Outcome::Done(_) => coverage(self).await,
                failed @ Outcome::Failed(..) => failed.into(),
            },
            Request::Snapshot { container: None } => snapshot(self).await,
            Request::Snapshot { container: Some(_) } => {
                let why = "this podcov-agent reads no other containers' programs: it does not run as `watch`";
                refuse(StatusCode::CONFLICT, why)
            }
            Request::Identity(_) => unreachable!("the endpoint answers that"),
        }
    }
}

/// What came of something that the program was to do.
enum Outcome<T> {
    Done(T),
    Failed(StatusCode, String),
}

impl<T: Serialize> From<Outcome<T>> for Response<Body> {
    fn from(outcome: Outcome<T>) -> Self {
        match outcome {
            Outcome::Done(answer) => answer_json(StatusCode::OK, &answer),
            Outcome::Failed(status, why) => refuse(status, &why),
        }
    }
}

fn health(agent: &Agent) -> Health {
    let (state, pid, exit_code) = match agent.program.state() {
        State::Running(pid) => (ProgramState::Running, Some(pid.as_raw_nonzero().get()), None),
        State::Down(end) => (ProgramState::Down, None, Some(end.code())),
        State::Over(end) => (ProgramState::Over, None, Some(end.code())),
    };
    Health {
        podcov: env!("CARGO_PKG_VERSION").to_owned(),
        state,
        pid,
        exit_code,
        starts: agent.starts.load(Ordering::Relaxed),
        lives: agent.lives(),
        coverdir: agent.folder.path().display().to_string(),
        storage: agent.storage.clone(),
        run: agent.origin.run.clone(),
        namespace: agent.origin.namespace.clone(),
        pod: agent.origin.pod.clone(),
        container: agent.origin.container.clone(),
        start: agent.origin.start.to_string(),
    }
}

async fn flush(agent: &Agent, signal: Option<Signal>) -> Outcome<Flushed> {
    match agent.flush.flush(&agent.program, signal).await {
        Ok(files) => Outcome::Done(Flushed { files }),
        Err(why) => Outcome::Failed(StatusCode::CONFLICT, why),
    }
}

/// Asks the program to end, and waits until the process that runs now has. That it has been started again meanwhile does
/// not matter: its end is told to who waits for it.
async fn stop(agent: &Agent) -> Outcome<Stopped> {
    if !matches!(agent.program.state(), State::Running(_)) {
        return Outcome::Failed(StatusCode::CONFLICT, "the program does not run".to_owned());
    }
    let (sender, ended) = oneshot::channel();
    agent.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    agent.stop_asked.send_replace(Some(Instant::now()));
    if let Err(e) = agent.program.signal(agent.stop_signal.number()) {
        return Outcome::Failed(StatusCode::INTERNAL_SERVER_ERROR, e.to_string());
    }
    match tokio::time::timeout(STOP, ended).await {
        Ok(Ok(stopped)) => Outcome::Done(stopped),
        _ => {
            let why = format!("the program has not ended within {}s", STOP.as_secs());
            Outcome::Failed(StatusCode::GATEWAY_TIMEOUT, why)
        }
    }
}

/// Removes the counter files that have come since the agent started, and keeps the meta-data.
fn reset(agent: &Agent) -> io::Result<usize> {
    let listed = files::list(agent.folder.path())?;
    let counts = listed.into_iter().filter(|(_, parsed)| files::has_counts(parsed));
    agent.folder.remove(counts.map(|(name, _)| name))
}

async fn coverage(agent: &Arc<Agent>) -> Response<Body> {
    // What the program has just written may have all that the last snapshot has.
    let live = Arc::clone(&agent.live);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(move || live.settle()).await {
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string());
    }
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(tarball::send(vec![agent.folder.path().to_owned()], sender));
    with_lives(endpoint::archive(agent, receiver), agent)
}

/// The coverage in the memory of the program, and of what it has started.
async fn snapshot(agent: &Arc<Agent>) -> Response<Body> {
    // One at a time, for each is held as a whole until it is sent, in the container's memory.
    let mut scanner = Arc::clone(&agent.scanner).lock_owned().await;
    // In a thread of its own, for a program may have many megabytes of counters.
    let scan = move || descendants().map(|processes| (scanner.scan(processes), scanner));
    let (scan, turn) = match tokio::task::spawn_blocking(scan).await.map_err(io::Error::other).flatten() {
        Ok(scanned) => scanned,
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    // Without any covered process there is nothing that could be missing.
    let is_certain = scan.failures.is_empty() && scan.doubts().is_empty();
    if scan.snapshots.is_empty() && !is_certain {
        return refuse(StatusCode::CONFLICT, &nothing(&scan).to_string());
    }
    let processes: Vec<LiveProcess> = scan.snapshots.iter().map(live_process).collect();
    let missing = [scan.doubts(), scan.failures.clone()].concat();
    with_lives(snapshot_archive(agent, files_of(scan), &processes, &missing, turn), agent)
}

/// Adds how the program's processes have ended to an answer.
fn with_lives(mut response: Response<Body>, agent: &Agent) -> Response<Body> {
    if let Some(lives) = header(&agent.lives()) {
        response.headers_mut().insert(LIVES, lives);
    }
    response
}
