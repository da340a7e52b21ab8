//! The control endpoint: HTTP for podcov's hooks, and for others that can reach the pod.
//!
//! `GET /identity?nonce=NONCE` returns whose agent this is, to everybody. All other requests need the token, if there is one:
//! `Authorization: Bearer TOKEN`, or a signature of the challenge that `/identity` gave on the same connection
//! ([`podcov_control::Token::sign`]).
//!
//! `GET /health`, `POST /flush`, `POST /stop`, `POST /reset`, `GET /coverage`, `POST /coverage?after=flush` or `stop`.
//! Responses are JSON, those of the last two tar streams; an error is `{"error": …}`. Flushing takes `?signal=NAME`.
//! No file name is taken from a request.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
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
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use podcov_cli::say;
use podcov_control::{
    ControlAddress, IDENTITY, Identity, Introduction, LIVES, Lives, NONCE, Nonce, TOKEN, Token,
};
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_storage::Place;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::args::RunArgs;
use crate::files::CoverFolder;
use crate::flush::Flush;
use crate::program::{Program, State};
use crate::{NAME, files, signals, tarball};

/// How many connections are served at a time; others wait.
const CONNECTIONS: usize = 32;

/// How much of the coverage is sent at a time, in bytes: the slowest caller takes as much within [`LAST_WORDS`].
const PIECE: usize = 64 << 10;

/// How long to wait after an accept that failed.
const NO_ROOM: Duration = Duration::from_millis(50);

/// How long a caller may take to send its request.
const HEADERS: Duration = Duration::from_secs(5);

/// The most bytes of a request's body, which has no meaning.
const BODY: usize = 4096;

/// How long the program may take to end when it is asked to, before the caller is told that it has not.
const STOP: Duration = Duration::from_secs(60);

/// How long answers may take to reach their callers when the agent ends; coverage as long as its caller takes a piece of
/// it within that time.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the handlers of requests share.
pub(crate) struct Agent {
    pub(crate) program: Program,
    pub(crate) flush: Flush,
    pub(crate) folder: Arc<CoverFolder>,
    pub(crate) identity: Identity,
    pub(crate) place: Place,
    pub(crate) storage: Option<String>,
    pub(crate) stop_signal: i32,
    /// When a request asked the program to end, since it was started.
    pub(crate) stop_asked: watch::Sender<Option<Instant>>,
    pub(crate) starts: AtomicU32,
    /// How many pieces of coverage callers have taken.
    pub(crate) sent: AtomicU64,
    /// The program's processes that have ended.
    pub(crate) lives: Mutex<Lives>,
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
        .serve_connection(TokioIo::new(stream), service);
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
    request: Request<Incoming>,
    agent: &Arc<Agent>,
    kind: &Kind,
    challenge: &Challenge,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    match kind {
        Kind::KillSwitch if head.method == Method::GET => return stop(agent).await,
        Kind::KillSwitch => return error(StatusCode::METHOD_NOT_ALLOWED, "GET stops the program"),
        Kind::Control { token } if head.uri.path() == IDENTITY => {
            return introduce(&head, agent, token.as_ref(), challenge);
        }
        Kind::Control { token: Some(token) } if !is_authorized(&head, token, challenge.take()) => {
            return error(StatusCode::UNAUTHORIZED, "the token is missing or wrong");
        }
        Kind::Control { .. } => {}
    }
    let body = tokio::time::timeout(HEADERS, Limited::new(body, BODY).collect());
    if !matches!(body.await, Ok(Ok(_))) {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "a request needs no body");
    }
    let query = match Query::of(head.uri.query().unwrap_or_default()) {
        Ok(query) => query,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why),
    };
    match (head.uri.path(), &head.method) {
        ("/health", &Method::GET) => answer_json(StatusCode::OK, &health(agent)),
        ("/flush", &Method::POST) => match agent.flush.flush(&agent.program, query.signal).await {
            Ok(files) => answer_json(StatusCode::OK, &json!({ "files": files })),
            Err(why) => error(StatusCode::CONFLICT, &why),
        },
        ("/stop", &Method::POST) => stop(agent).await,
        ("/reset", &Method::POST) => match reset(agent) {
            Ok(removed) => answer_json(StatusCode::OK, &json!({ "removed": removed })),
            Err(e) => error(StatusCode::CONFLICT, &e.to_string()),
        },
        ("/coverage", &Method::GET) => coverage(agent),
        ("/coverage", &Method::POST) => match query.after {
            None => error(StatusCode::BAD_REQUEST, "after what: ?after=flush or ?after=stop"),
            Some(After::Flush) => match agent.flush.flush(&agent.program, query.signal).await {
                Ok(_) => coverage(agent),
                Err(why) => error(StatusCode::CONFLICT, &why),
            },
            Some(After::Stop) => match stop(agent).await {
                stopped if stopped.status() == StatusCode::OK => coverage(agent),
                failed => failed,
            },
        },
        ("/health", _) => error(StatusCode::METHOD_NOT_ALLOWED, "that takes a GET"),
        ("/coverage", _) => error(StatusCode::METHOD_NOT_ALLOWED, "that takes a GET, or a POST with ?after="),
        ("/flush" | "/stop" | "/reset", _) => error(StatusCode::METHOD_NOT_ALLOWED, "that takes a POST"),
        _ => {
            error(StatusCode::NOT_FOUND, "there are /identity, /health, /flush, /stop, /reset and /coverage")
        }
    }
}

/// Says whose agent this is, with a proof that it has the token, and a challenge for the next request.
fn introduce(
    head: &request::Parts,
    agent: &Agent,
    token: Option<&Token>,
    challenge: &Challenge,
) -> Response<Body> {
    if head.method != Method::GET {
        return error(StatusCode::METHOD_NOT_ALLOWED, "that takes a GET");
    }
    let nonce = head.uri.query().and_then(|query| query.strip_prefix(NONCE)?.strip_prefix('=')?.parse().ok());
    let Some(nonce) = nonce else {
        return error(StatusCode::BAD_REQUEST, "that takes ?nonce= and 64 hexadecimal digits");
    };
    let next = Nonce::random();
    let introduction = Introduction::new(agent.identity.clone(), token, &nonce, &next);
    challenge.set(Some(next));
    answer_json(StatusCode::OK, &json!(introduction))
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

/// The query of a request.
#[derive(Default)]
struct Query {
    after: Option<After>,
    signal: Option<i32>,
}

/// What to do before the coverage is sent.
enum After {
    Flush,
    Stop,
}

impl Query {
    fn of(text: &str) -> Result<Self, String> {
        let mut query = Self::default();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("after", "flush")) => query.after = Some(After::Flush),
                Some(("after", "stop")) => query.after = Some(After::Stop),
                Some(("signal", name)) => {
                    query.signal = Some(signals::parse(name).map_err(|e| format!("{name:?}: {e}"))?);
                }
                _ => return Err("only after=flush, after=stop and signal=NAME are known".to_owned()),
            }
        }
        Ok(query)
    }
}

fn lives(agent: &Agent) -> Lives {
    agent.lives.lock().map(|lives| lives.clone()).unwrap_or_default()
}

fn health(agent: &Agent) -> Value {
    let (state, pid, exit_code) = match agent.program.state() {
        State::Running(pid) => ("running", Some(pid.as_raw_nonzero().get()), None),
        State::Down(end) => ("down", None, Some(end.code())),
        State::Over(end) => ("over", None, Some(end.code())),
    };
    json!({
        "podcov": env!("CARGO_PKG_VERSION"),
        "state": state,
        "pid": pid,
        "exit_code": exit_code,
        "starts": agent.starts.load(Ordering::Relaxed),
        "lives": lives(agent),
        "coverdir": agent.folder.path(),
        "storage": agent.storage,
        "run": agent.place.run,
        "namespace": agent.place.namespace,
        "pod": agent.place.pod,
        "container": agent.place.container,
        "start": agent.place.start.to_string(),
    })
}

async fn stop(agent: &Agent) -> Response<Body> {
    let State::Running(pid) = agent.program.state() else {
        return error(StatusCode::CONFLICT, "the program does not run");
    };
    agent.stop_asked.send_replace(Some(Instant::now()));
    let mut state = agent.program.watch();
    if let Err(e) = agent.program.signal(agent.stop_signal) {
        return error(StatusCode::INTERNAL_SERVER_ERROR, &e.to_string());
    }
    let ended = state.wait_for(|state| *state != State::Running(pid));
    let ended = match tokio::time::timeout(STOP, ended).await {
        Ok(Ok(state)) => *state,
        _ => {
            let message = format!("the program has not ended within {}s", STOP.as_secs());
            return error(StatusCode::GATEWAY_TIMEOUT, &message);
        }
    };
    match ended {
        State::Down(end) | State::Over(end) => {
            let written = lives(agent).last.back().is_none_or(|life| life.counters_written);
            answer_json(StatusCode::OK, &json!({ "exit_code": end.code(), "counters_written": written }))
        }
        // The program has been started again in the meantime.
        State::Running(_) => answer_json(StatusCode::OK, &json!({})),
    }
}

/// Removes the counter files that have come since the agent started, and keeps the meta-data.
fn reset(agent: &Agent) -> io::Result<usize> {
    let listed = files::list(agent.folder.path())?;
    let counts = listed.into_iter().filter(|(_, parsed)| files::has_counts(parsed));
    agent.folder.remove(counts.map(|(name, _)| name))
}

fn coverage(agent: &Arc<Agent>) -> Response<Body> {
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(tarball::send(agent.folder.path().to_owned(), sender));
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
    if let Ok(lives) = json!(lives(agent)).to_string().parse() {
        response.headers_mut().insert(LIVES, lives);
    }
    response
}

fn error(status: StatusCode, message: &str) -> Response<Body> {
    answer_json(status, &json!({ "error": message }))
}

fn answer_json(status: StatusCode, value: &Value) -> Response<Body> {
    let text = Full::from(format!("{value}\n")).map_err(|never: Infallible| match never {});
    respond(status, "application/json", text.boxed_unsync())
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
