//! An agent's endpoint: HTTP for podcov's hooks, and for others that can reach the pod.
//!
//! [`podcov_control::Request`] lists what may be asked. Everybody may ask who answers. All else takes the token, if there
//! is one: `Authorization: Bearer TOKEN`, or a signature of the challenge that `/identity` gave on the same connection
//! ([`podcov_control::Token::sign`]). No name of a file is taken from a request.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use podcov_cli::say;
use podcov_control::{
    Action, ControlAddress, Identity, Introduction, LiveProcess, MISSING, Nonce, NotARequest, PROCESSES,
    Refused, Request, TOKEN, Token,
};
use podcov_exit::{Exit, Failure, ResultExt};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{OwnedMutexGuard, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::args::SharedArgs;
use crate::write_timeout::WriteTimeout;
use crate::{NAME, tarball};

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

/// How long answers may take to reach their callers when the agent ends; coverage as long as its caller takes a piece of
/// it within that time.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What the connections of an agent share.
pub(crate) struct Endpoint {
    identity: Identity,
    /// Whether the agent is about to end: no more is answered.
    over: watch::Sender<bool>,
    /// How many pieces of archives callers have taken.
    sent: AtomicU64,
}

impl Endpoint {
    pub(crate) fn new(identity: Identity) -> Self {
        Self { identity, over: watch::Sender::new(false), sent: AtomicU64::new(0) }
    }

    /// Answers are finished, and no others begun.
    pub(crate) fn close(&self) {
        self.over.send_replace(true);
    }

    /// Returns when it is closed.
    fn closed(&self) -> impl Future<Output = ()> + use<> {
        let mut over = self.over.subscribe();
        async move { drop(over.wait_for(|over| *over).await) }
    }
}

/// Who answers what callers ask.
pub(crate) trait Handler: Send + Sync + 'static {
    fn endpoint(&self) -> &Endpoint;

    /// The answer to a request of somebody who may ask it.
    async fn answer(self: &Arc<Self>, request: Request) -> Response<Body>;
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

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// What the next request on a connection must sign. It serves once, so a recorded signature is worthless.
type Challenge = Rc<Cell<Option<Nonce>>>;

/// Opens the ports that the arguments ask for, and the kill switch.
///
/// # Errors
/// When an address is not available, or lacks the token that it needs.
pub(crate) async fn open(args: &SharedArgs, kill_switch: Option<SocketAddr>) -> Result<Vec<Port>> {
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
    if let Some(address) = kill_switch {
        ports.push(Port { listener: listen(address).await?, kind: Kind::KillSwitch });
    }
    Ok(ports)
}

fn token(args: &SharedArgs) -> Result<Option<Token>> {
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

/// Serves the ports until the endpoint is closed, and then for as long as answers are under way.
pub(crate) async fn serve(ports: Vec<Port>, handler: Arc<impl Handler>) {
    let mut served = JoinSet::new();
    for port in ports {
        served.spawn_local(serve_port(port, Arc::clone(&handler)));
    }
    served.join_all().await;
}

async fn serve_port(port: Port, handler: Arc<impl Handler>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::select! {
        () = handler.endpoint().closed() => {}
        () = async {
            loop {
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
                // An accept fails because of the caller, or for want of descriptors, which closed connections free.
                let Ok((stream, _)) = port.listener.accept().await else {
                    tokio::time::sleep(NO_ROOM).await;
                    continue;
                };
                while connections.try_join_next().is_some() {}
                let (handler, kind) = (Arc::clone(&handler), port.kind.clone());
                connections.spawn_local(async move {
                    serve_connection(stream, handler, kind).await;
                    drop(permit);
                });
            }
        } => {}
    }
    loop {
        let sent = handler.endpoint().sent.load(Ordering::Relaxed);
        let all = async { while connections.join_next().await.is_some() {} };
        let all_ended = tokio::time::timeout(LAST_WORDS, all).await.is_ok();
        if all_ended || handler.endpoint().sent.load(Ordering::Relaxed) == sent {
            return;
        }
    }
}

async fn serve_connection(stream: tokio::net::TcpStream, handler: Arc<impl Handler>, kind: Kind) {
    let closed = handler.endpoint().closed();
    let challenge = Challenge::default();
    let service = service_fn(|request| {
        let (handler, kind, challenge) = (Arc::clone(&handler), kind.clone(), challenge.clone());
        async move { Ok::<_, Infallible>(answer(request, &handler, &kind, &challenge).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .serve_connection(TokioIo::new(WriteTimeout::new(stream, UNREAD)), service);
    let mut connection = std::pin::pin!(connection);
    // A caller that disconnects is no error of the agent.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = closed => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(
    request: hyper::Request<Incoming>,
    handler: &Arc<impl Handler>,
    kind: &Kind,
    challenge: &Challenge,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let request = Request::parse(head.method.as_str(), head.uri.path(), head.uri.query().unwrap_or_default());
    match kind {
        Kind::KillSwitch if head.method == Method::GET => {
            return handler.answer(Request::Do(Action::Stop)).await;
        }
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
        Ok(Request::Identity(nonce)) => introduce(&nonce, handler.endpoint(), kind, challenge),
        Ok(request) => handler.answer(request).await,
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

/// Says whose agent this is, with a proof that it has the token, and a challenge for the next request.
fn introduce(nonce: &Nonce, endpoint: &Endpoint, kind: &Kind, challenge: &Challenge) -> Response<Body> {
    let token = match kind {
        Kind::Control { token } => token.as_ref(),
        Kind::KillSwitch => None,
    };
    let next = Nonce::random();
    let introduction = Introduction::new(endpoint.identity.clone(), token, nonce, &next);
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

/// A value in JSON, as a header. `None` if it is larger than callers read.
pub(crate) fn header(value: &impl Serialize) -> Option<HeaderValue> {
    // JSON leaves only this control character as it is, which no header may have. A process may have any name.
    let json = serde_json::to_string(value).ok()?.replace('\x7f', "\\u007f");
    HeaderValue::try_from(json).ok().filter(|value| value.len() <= HEADER)
}

/// An answer with the pieces of an archive.
pub(crate) fn archive(
    handler: &Arc<impl Handler>,
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> Response<Body> {
    let start = (receiver, Bytes::new(), Arc::clone(handler));
    let pieces = futures_util::stream::unfold(start, |(mut receiver, mut file, handler)| async {
        if file.is_empty() {
            match receiver.recv().await? {
                Ok(next) => file = next,
                Err(error) => return Some((Err(error), (receiver, file, handler))),
            }
        }
        handler.endpoint().sent.fetch_add(1, Ordering::Relaxed);
        let piece = file.split_to(file.len().min(PIECE));
        Some((Ok(Frame::data(piece)), (receiver, file, handler)))
    });
    respond(StatusCode::OK, "application/x-tar", StreamBody::new(pieces.boxed()).boxed_unsync())
}

/// An answer with the coverage of processes whose memory was read: its files by name, what they are of, and what is
/// missing. `turn` is held until all is sent.
pub(crate) fn snapshot_archive(
    handler: &Arc<impl Handler>,
    files: BTreeMap<String, Bytes>,
    processes: &[LiveProcess],
    missing: &[String],
    turn: OwnedMutexGuard<impl Send + 'static>,
) -> Response<Body> {
    let Some(list) = header(&processes) else {
        // Without the list nobody could tell a snapshot from what its process wrote itself, and both would count.
        let why = format!(
            "the list of {} processes does not fit into an answer; --storage takes what they have counted",
            processes.len()
        );
        return refuse(StatusCode::INTERNAL_SERVER_ERROR, &why);
    };
    let (sender, receiver) = mpsc::channel(1);
    tokio::task::spawn_local(async move {
        tarball::send_bytes(files, sender).await;
        drop(turn);
    });
    let mut response = archive(handler, receiver);
    response.headers_mut().insert(PROCESSES, list);
    if !missing.is_empty() {
        for missing in missing {
            say(NAME, format_args!("warning: a snapshot is not complete: {missing}"));
        }
        let json = header(&missing)
            .unwrap_or(HeaderValue::from_static("[\"more than fits into a header: see the log\"]"));
        response.headers_mut().insert(MISSING, json);
    }
    response
}

pub(crate) fn refuse(status: StatusCode, why: &str) -> Response<Body> {
    answer_json(status, &Refused { error: why.to_owned() })
}

pub(crate) fn answer_json(status: StatusCode, answer: &impl Serialize) -> Response<Body> {
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

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody(Endpoint);

    impl Handler for Nobody {
        fn endpoint(&self) -> &Endpoint {
            &self.0
        }

        async fn answer(self: &Arc<Self>, _: Request) -> Response<Body> {
            unreachable!("nobody asks")
        }
    }

    /// Without the list, what a process wrote itself would count beside its snapshot.
    #[tokio::test]
    async fn a_snapshot_is_not_sent_without_its_list() {
        let process = |pid| LiveProcess {
            pid,
            started: Some(1),
            name: None,
            unread: None,
            counters: "covcounters.62ff98db792937fd37f18adced298d04.19644.1795224885693041480".to_owned(),
            go: None,
            module: None,
            revision: None,
        };
        let identity = Identity {
            agent: String::new(),
            version: String::new(),
            namespace: None,
            pod: None,
            pod_uid: None,
            hostname: String::new(),
            container: None,
            program: String::new(),
        };
        let handler = Arc::new(Nobody(Endpoint::new(identity)));
        let answer = async |processes: u32| {
            let turn = Arc::<tokio::sync::Mutex<()>>::default().lock_owned().await;
            let processes: Vec<_> = (0..processes).map(process).collect();
            let local = tokio::task::LocalSet::new();
            let answer = async { snapshot_archive(&handler, BTreeMap::new(), &processes, &[], turn) };
            local.run_until(answer).await
        };
        let few = answer(3).await;
        assert!(few.status() == StatusCode::OK && few.headers().contains_key(PROCESSES));
        let many = answer(1000).await;
        assert_eq!(many.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = many.into_body().collect().await.unwrap().to_bytes();
        let why = String::from_utf8_lossy(&body).into_owned();
        assert!(why.contains("the list of 1000 processes does not fit"), "{why}");
    }
}
