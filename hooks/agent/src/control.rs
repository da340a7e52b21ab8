//! The control endpoint: HTTP for podcov's hooks, and for others that can reach the pod.
//!
//! [`podcov_control::Request`] lists what may be asked. Everybody may ask who answers. All else takes the token, if there
//! is one: `Authorization: Bearer TOKEN`, or a signature of the challenge that `/identity` gave on the same connection
//! ([`podcov_control::Token::sign`]). No name of a file is taken from a request.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use fs_err as fs;
use futures_util::StreamExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::http::request;
use hyper::http::uri::PathAndQuery;
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use livecov::process::scan::Scan;
use podcov_cli::say;
use podcov_control::{
    Action, ControlAddress, EndedProcess, EndedProcesses, Flushed, Health, Identity, Introduction, LIVES,
    LiveProcess, MISSING, Nonce, NotARequest, PROCESSES, ProgramState, Refused, Request, Signal, Stopped,
    TOKEN, Token, WasReset,
};
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_storage::Origin;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::RunArgs;
use crate::files::CoverFolder;
use crate::flush::Flush;
use crate::live_files::LiveFiles;
use crate::program::{Program, State};
use crate::snapshot::{live_process, nothing};
use crate::write_timeout::WriteTimeout;
use crate::{NAME, files, tarball};

/// How many connections are served at a time; others wait.
const CONNECTIONS: usize = 32;

/// How long a caller may take nothing of its answer until it loses its place.
const UNREAD: Duration = Duration::from_secs(10);

/// How much of the coverage is sent at a time, in bytes: the slowest caller takes as much within [`LAST_WORDS`].
const PIECE: usize = 64 << 10;

/// How long to wait after an accept that failed.
const NO_ROOM: Duration = Duration::from_millis(50);

/// How long a caller may take to send its request.
const HEADERS: Duration = Duration::from_secs(5);

/// The most bytes of a request's body, which has no meaning.
const BODY: usize = 4096;

/// The most bytes of a header's value: hyper reads some 400 kB of headers, other callers less.
const HEADER: usize = 64 << 10;

/// How long the program may take to end when it is asked to, before the caller is told that it has not.
const STOP: Duration = Duration::from_secs(60);

/// How long answers may take to reach their callers when the agent ends; coverage as long as its caller takes a piece of
/// it within that time.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the handlers of requests share.
pub(crate) struct Agent {
    pub(crate) program: Program,
    pub(crate) flush: Flush,
    pub(crate) live: Arc<LiveFiles>,
    pub(crate) folder: Arc<CoverFolder>,
    pub(crate) identity: Identity,
    pub(crate) origin: Origin,
    pub(crate) storage: Option<String>,
    pub(crate) stop_signal: Signal,
    /// When a request asked the program to end, since it was started.
    pub(crate) stop_asked: watch::Sender<Option<Instant>>,
    /// Who waits for the end of the process that runs now.
    pub(crate) waiting: Mutex<Vec<oneshot::Sender<Stopped>>>,
    pub(crate) starts: AtomicU32,
    /// How many pieces of coverage callers have taken.
    pub(crate) sent: AtomicU64,
    /// One snapshot at a time.
    pub(crate) snapshots: Arc<tokio::sync::Mutex<()>>,
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

/// An open port.
pub(crate) struct Port {
    listener: TcpListener,
    kind: Kind,
}

#[derive(Clone)]
enum Kind {
    /// Everything, for callers with the token, if there is one.
    Control {
        token: Option<Token>,
    },
    KillSwitch,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What the next request on a connection must sign. It serves once, so a recorded signature is worthless.
type Challenge = Rc<Cell<Option<Nonce>>>;

/// Opens the ports that the arguments ask for.
///
/// # Errors
/// When an address is not available, or lacks the token that it needs.
pub(crate) async fn open(args: &RunArgs) -> Result<Vec<Port>> {
    let mut ports = Vec::new();
    if let ControlAddress::At(address) = args.control {
        let token = token(args)?;
        if token.is_none() && !address.ip().is_loopback() {
            return Err(Failure::new(
                Exit::Usage,
                format!("the control endpoint at {address} needs a token"),
            )
            .with_hint("give --token-file or set PODCOV_TOKEN; without one only loopback addresses serve")
            .into());
        }
        ports.push(Port { listener: listen(address).await?, kind: Kind::Control { token } });
    }
    if let Some(address) = args.kill_switch {
        ports.push(Port { listener: listen(address).await?, kind: Kind::KillSwitch });
    }
    Ok(ports)
}

fn token(args: &RunArgs) -> Result<Option<Token>> {
    let text = match &args.token_file {
        Some(path) => fs::read_to_string(path).or_exit(Exit::Usage, "the token cannot be read")?,
        None => std::env::var(TOKEN).unwrap_or_default(),
    };
    let token = Token::new(&text);
    if token.is_none() && args.token_file.is_some() {
        return Err(Failure::new(Exit::Usage, "the token's file is empty").into());
    }
    Ok(token)
}

async fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await.map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot listen on {address}: {e}"))
            .with_hint("each container of a pod needs an address of its own: --control or PODCOV_CONTROL")
    })?;
    if address.port() == 0 {
        say(NAME, format_args!("listening on {}", listener.local_addr()?));
    }
    Ok(listener)
}

/// Serves the ports until the program is over, and then for as long as answers are under way.
pub(crate) async fn serve(ports: Vec<Port>, agent: Arc<Agent>) {
    let mut served = JoinSet::new();
    for port in ports {
        served.spawn_local(serve_port(port, Arc::clone(&agent)));
    }
    served.join_all().await;
}

async fn serve_port(port: Port, agent: Arc<Agent>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut state = agent.program.watch();
    tokio::select! {
        _ = state.wait_for(|state| matches!(state, State::Over(_))) => {}
        () = async {
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                // An accept fails because of the caller, or for want of descriptors, which closed connections free.
                let Ok((stream, _)) = port.listener.accept().await else {
                    tokio::time::sleep(NO_ROOM).await;
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let (agent, kind) = (Arc::clone(&agent), port.kind.clone());
                connections.spawn_local(async move {
                    serve_connection(stream, agent, kind).await;
                    drop(permit);
                });
            }
        } => {}
    }
    loop {
        let sent = agent.sent.load(Ordering::Relaxed);
        let all = async { while connections.join_next().await.is_some() {} };
        let all_ended = tokio::time::timeout(LAST_WORDS, all).await.is_ok();
        if all_ended || agent.sent.load(Ordering::Relaxed) == sent {
            return;
        }
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, agent: Arc<Agent>, kind: Kind) {
    let mut over = agent.program.watch();
    let challenge = Challenge::default();
    let service = service_fn(|request| {
        let (agent, kind, challenge) = (Arc::clone(&agent), kind.clone(), challenge.clone());
        async move { Ok::<_, Infallible>(answer(request, &agent, &kind, &challenge).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, UNREAD)), service);
    let mut connection = std::pin::pin!(connection);
    // A caller that disconnects is no error of the agent.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = over.wait_for(|state| matches!(state, State::Over(_))) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    agent: &Arc<Agent>,
    kind: &Kind,
    challenge: &Challenge,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let request = Request::parse(head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default());
    match kind {
        Kind::KillSwitch if head.method == Method::GET => return stop(agent).await.into(),
        Kind::KillSwitch => return refuse(StatusCode::METHOD_NOT_ALLOWED, "GET stops the program"),
        Kind::Control { .. } if Request::is_identity(head.uri.path()) => {}
        Kind::Control { token: Some(token) } if !is_authorized(&head, token, challenge.take()) => {
            return refuse(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
        }
        Kind::Control { .. } => {}
    }
    let body = tokio::time::timeout(HEADERS, Limited::new(body, BODY).collect());
    if !matches!(body.await, Ok(Ok(_))) {
        return refuse(StatusCode::PAYLOAD_TOO_LARGE, "a request needs no body");
    }
    match request {
        Ok(Request::Identity(nonce)) => introduce(&nonce, agent, kind, challenge),
        Ok(Request::Health) => answer_json(StatusCode::OK, &health(agent)),
        Ok(Request::Do(Action::Flush { signal })) => flush(agent, signal).await.into(),
        Ok(Request::Do(Action::Stop)) => stop(agent).await.into(),
        Ok(Request::Reset) => match reset(agent) {
            Ok(removed) => answer_json(StatusCode::OK, &WasReset { removed }),
            Err(e) => refuse(StatusCode::CONFLICT, &e.to_string()),
        },
        Ok(Request::Coverage(None)) => coverage(agent).await,
        Ok(Request::Coverage(Some(Action::Flush { signal }))) => match flush(agent, signal).await {
            Outcome::Done(_) => coverage(agent).await,
            failed @ Outcome::Failed(..) => failed.into(),
        },
        Ok(Request::Coverage(Some(Action::Stop))) => match stop(agent).await {
            Outcome::Done(_) => coverage(agent).await,
            failed @ Outcome::Failed(..) => failed.into(),
        },
        Ok(Request::Snapshot) => snapshot(agent).await,
        Err(error) => {
            let status = match error {
                NotARequest::Path => StatusCode::NOT_FOUND,
                NotARequest::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
                NotARequest::Query(_) => StatusCode::BAD_REQUEST,
            };
            refuse(status, &error.to_string())
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

/// Says whose agent this is, with a proof that it has the token, and a challenge for the next request.
fn introduce(nonce: &Nonce, agent: &Agent, kind: &Kind, challenge: &Challenge) -> Response<Body> {
    let token = match kind {
        Kind::Control { token } => token.as_ref(),
        Kind::KillSwitch => None,
    };
    let next = Nonce::random();
    let introduction = Introduction::new(agent.identity.clone(), token, nonce, &next);
    challenge.set(Some(next));
    answer_json(StatusCode::OK, &introduction)
}

/// Whether a request carries the token, or the signature of the connection's challenge by who has it.
fn is_authorized(head: &request::Parts, token: &Token, challenge: Option<Nonce>) -> bool {
    let Some(header) = head.headers.get(AUTHORIZATION).map(HeaderValue::as_bytes) else { return false };
    if let Some(given) = header.strip_prefix(b"Bearer ") {
        return token.is(given);
    }
    let path = head.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
    challenge.is_some_and(|challenge| token.has_signed(header, &challenge, head.method.as_str(), path))
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
    tokio::task::spawn_local(tarball::send(agent.folder.path().to_owned(), sender));
    archive(agent, receiver)
}

/// The coverage in the memory of the program, and of what it has started.
async fn snapshot(agent: &Arc<Agent>) -> Response<Body> {
    // One at a time, for each is held as a whole until it is sent, in the container's memory.
    let turn = Arc::clone(&agent.snapshots).lock_owned().await;
    // In a thread of its own, for a program may have many megabytes of counters.
    let scan = match tokio::task::spawn_blocking(Scan::of_descendants).await {
        Ok(Ok(scan)) => scan,
        Ok(Err(error)) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        Err(error) => return refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    };
    // Without any covered process there is nothing that could be missing.
    let is_certain = scan.failures.is_empty() && scan.doubts().is_empty();
    if scan.snapshots.is_empty() && !is_certain {
        return refuse(StatusCode::CONFLICT, &nothing(&scan).to_string());
    }
    let files = scan.files().into_iter().map(|(name, bytes)| (name, bytes.to_vec())).collect();
    let processes: Vec<LiveProcess> = scan.snapshots.iter().map(live_process).collect();
    let mut missing: Vec<String> = [scan.doubts(), scan.failures].concat();
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        tarball::send_bytes(files, sender).await;
        drop(turn);
    });
    let mut response = archive(agent, receiver);
    match header(&processes) {
        Some(processes) => drop(response.headers_mut().insert(PROCESSES, processes)),
        None => {
            missing.push(format!("the list of {} processes does not fit into a header", processes.len()));
        }
    }
    if !missing.is_empty() {
        for missing in &missing {
            say(NAME, format_args!("warning: a snapshot is not complete: {missing}"));
        }
        let json = header(&missing)
            .unwrap_or(HeaderValue::from_static("[\"more than fits into a header: see the log\"]"));
        response.headers_mut().insert(MISSING, json);
    }
    response
}

/// A value in JSON, as a header. `None` if it is larger than callers read.
fn header(value: &impl Serialize) -> Option<HeaderValue> {
    // JSON leaves only this control character as it is, which no header may have. A process may have any name.
    let json = serde_json::to_string(value).ok()?.replace('\x7f', "\\u007f");
    HeaderValue::try_from(json).ok().filter(|value| value.len() <= HEADER)
}

/// An answer with the pieces of an archive.
fn archive(agent: &Arc<Agent>, receiver: mpsc::Receiver<io::Result<Bytes>>) -> Response<Body> {
    let start = (receiver, Bytes::new(), Arc::clone(agent));
    let pieces = futures_util::stream::unfold(start, |(mut receiver, mut file, agent)| async {
        if file.is_empty() {
            match receiver.recv().await? {
                Ok(next) => file = next,
                Err(error) => return Some((Err(error), (receiver, file, agent))),
            }
        }
        agent.sent.fetch_add(1, Ordering::Relaxed);
        let piece = file.split_to(file.len().min(PIECE));
        Some((Ok(Frame::data(piece)), (receiver, file, agent)))
    });
    let body = StreamBody::new(pieces.boxed()).boxed_unsync();
    let mut response = respond(StatusCode::OK, "application/x-tar", body);
    if let Some(lives) = header(&agent.lives()) {
        response.headers_mut().insert(LIVES, lives);
    }
    response
}

fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    answer_json(status, &Refused { error: why.to_owned() })
}

fn answer_json(status: StatusCode, answer: &impl Serialize) -> Response<Body> {
    let (status, mut text) = match serde_json::to_vec(answer) {
        Ok(text) => (status, text),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string().into_bytes()),
    };
    text.push(b'\n');
    let text = Full::from(text).map_err(|never: Infallible| match never {});
    respond(status, "application/json", text.boxed_unsync())
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
