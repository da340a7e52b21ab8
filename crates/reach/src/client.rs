//! The conversation with a podcov-agent in the container: HTTP over a port-forward. No exec, which costs the node far
//! more, and nothing is needed in the image but the agent.
//!
//! What listens on the port may be anything, so it is asked who it is before it is asked or told anything else: see
//! [`podcov_control`].

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{Stream, try_unfold};
use http_body_util::{BodyExt, Collected, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderMap};
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use podcov_cluster::forward::{DialFailure, Dialled};
use podcov_cluster::{AgentPort, Cluster, Container, Error, Sidecar, Target};
use podcov_control::{
    AGENT, EndedProcesses, ExpectedIdentity, Introduction, LIVES, MISSING, Nonce, PROCESSES, Refused,
    Request, TOKEN, Token,
};
use serde::de::DeserializeOwned;

use crate::archive::{LiveFacts, cut};
use crate::fault::Fault;

/// The largest answer that is no coverage.
const MOST: usize = 16 << 20;

/// The largest answer of what is yet unknown.
const MOST_OF_A_STRANGER: usize = 64 << 10;

/// How long what listens on the port may take to say who it is.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection to the agent that is meant.
pub(crate) struct Client {
    sender: SendRequest<Empty<Bytes>>,
    failure: DialFailure,
    /// The agent's version, once it has said who it is.
    pub(crate) version: String,
    /// What proves to the agent that the next request is from who has the token.
    proof: Option<(Token, Nonce)>,
}

/// Why there is no connection to the agent.
pub(crate) enum ConnectError {
    /// Nothing listens on its port.
    NothingListens,
    Other(Fault),
}

impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        Self::Other(fault)
    }
}

/// What the agent tells with an archive.
pub(crate) struct ArchiveFacts {
    /// How its program's processes ended.
    pub(crate) lives: Option<EndedProcesses>,
    /// What a snapshot is of.
    pub(crate) live: Option<LiveFacts>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum RequestError {
    /// It was never sent.
    Unsent(String),
    /// It may have been.
    Unanswered(String),
    /// The agent has refused it.
    Refused(String),
}

impl Client {
    /// Connects to a target's agent.
    pub(crate) async fn connect(cluster: &Cluster, target: &Target) -> Result<Self, ConnectError> {
        let Some(AgentPort { port, sure, .. }) = target.agent else {
            return Err(no_agent("it is told to listen nowhere").into());
        };
        Self::connect_to(cluster, target, &target.container.container, port, sure).await
    }

    /// Connects to the agent of a target's sidecar.
    pub(crate) async fn connect_beside(cluster: &Cluster, target: &Target) -> Result<Self, ConnectError> {
        let Some(Sidecar { container, port }) = &target.sidecar else {
            return Err(no_agent("the pod has no sidecar").into());
        };
        Self::connect_to(cluster, target, container, *port, false).await
    }

    /// `container` is the agent's; `sure` that no other container of the pod has its agent on this port.
    async fn connect_to(
        cluster: &Cluster,
        target: &Target,
        container: &str,
        port: u16,
        sure: bool,
    ) -> Result<Self, ConnectError> {
        let dialled = cluster.dial(&target.container, port).await;
        let Dialled { stream, failure } = dialled.map_err(|error| Fault::of(&error))?;
        let handshake = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|e| Fault::Passing(broken(&failure, &e)))?;
        // It ends with its last user, and what it fails with shows there.
        tokio::spawn(connection);
        let mut client = Self { sender, failure, version: String::new(), proof: None };
        let Container { namespace, pod, .. } = &target.container;
        let expected = ExpectedIdentity {
            namespace,
            pod,
            pod_uid: &target.uid_inside,
            hostname: target.hostname.as_deref(),
            container,
            only_container: sure,
        };
        match tokio::time::timeout(IDENTITY_TIMEOUT, client.meet(port, &expected)).await {
            Ok(met) => met.map(|()| client),
            Err(_) => {
                let seconds = IDENTITY_TIMEOUT.as_secs();
                let why = format!("what listens on port {port} did not say who it is within {seconds}s");
                Err(no_agent(&why).into())
            }
        }
    }

    /// Asks who answers, and checks that it is the agent that is meant. Nothing that only that agent may know is sent.
    async fn meet(&mut self, port: u16, expected: &ExpectedIdentity<'_>) -> Result<(), ConnectError> {
        let token = std::env::var(TOKEN).ok().and_then(|text| Token::new(&text));
        let nonce = Nonce::random();
        let request = Request::Identity(nonce.clone());
        let response = match self.send(&request).await {
            Ok(response) => response,
            Err(_) if self.failure.is_refusal() => return Err(ConnectError::NothingListens),
            Err(e) if e.is_parse() => return Err(no_agent("what listens there does not speak HTTP").into()),
            Err(e) => return Err(Fault::Passing(broken(&self.failure, &e)).into()),
        };
        let status = response.status();
        let body = match Limited::new(response.into_body(), MOST_OF_A_STRANGER).collect().await {
            Ok(body) => body.to_bytes(),
            // So much is no introduction.
            Err(e) if e.is::<LengthLimitError>() => Bytes::new(),
            Err(e) => return Err(Fault::Passing(e.to_string()).into()),
        };
        let introduction = serde_json::from_slice::<Introduction>(&body).ok();
        let Some(introduction) =
            introduction.filter(|met| status == StatusCode::OK && met.identity.agent == AGENT)
        else {
            return Err(no_agent(&format!(
                "what listens on port {port} is no podcov-agent, or an older one: it answered GET /identity with \
                 {status}"
            ))
            .into());
        };
        introduction
            .check(expected, token.as_ref(), &nonce)
            .map_err(|why| no_agent(&format!("the podcov-agent on port {port} {why}")))?;
        self.version = introduction.identity.version;
        self.proof = match (token, introduction.challenge) {
            (None, Some(_)) => {
                let why = format!("its podcov-agent wants a token; set {TOKEN} to that token");
                return Err(Fault::Final(why).into());
            }
            (token, challenge) => token.zip(challenge),
        };
        Ok(())
    }

    /// Asks something whose answer is JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T, RequestError> {
        let body = whole(self.ask(request).await?).await?;
        serde_json::from_slice(&body).map_err(|e| {
            RequestError::Refused(format!("podcov-agent's answer to {request} is not readable: {e}"))
        })
    }

    /// Asks for an archive: what the agent tells with it, and the pieces.
    pub(crate) async fn archive(
        mut self,
        request: &Request,
    ) -> Result<(ArchiveFacts, impl Stream<Item = Result<Bytes, Fault>> + Send + 'static), RequestError> {
        let response = self.ask(request).await?;
        let headers = response.headers();
        let facts = if let Request::Snapshot { .. } = request {
            let processes = header(headers, PROCESSES).unwrap_or_default();
            let missing = header(headers, MISSING).unwrap_or_default();
            let live = LiveFacts { processes, missing };
            ArchiveFacts { lives: None, live: Some(live) }
        } else {
            ArchiveFacts { lives: Some(header(headers, LIVES).unwrap_or_default()), live: None }
        };
        // The connection ends with the client.
        let pieces = try_unfold((self, response.into_body()), |(client, mut body)| async move {
            loop {
                match body.frame().await {
                    None => return Ok(None),
                    Some(Err(e)) => return Err(cut(broken(&client.failure, &e))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Ok(Some((data, (client, body))));
                        }
                    }
                }
            }
        });
        Ok((facts, pieces))
    }

    /// Asks something of the agent, once it is known.
    async fn ask(&mut self, request: &Request) -> Result<Response<Incoming>, RequestError> {
        // The connection takes a request once it has noted the end of the answer before it, which may be after that was read.
        let sent = match self.sender.ready().await {
            Ok(()) => self.send(request).await,
            Err(error) => Err(error),
        };
        let response = sent.map_err(|e| {
            let why = broken(&self.failure, &e);
            // Of a request that was handed to the connection nobody knows whether it arrived.
            let is_unsent = e.is_canceled() || e.is_closed();
            if is_unsent { RequestError::Unsent(why) } else { RequestError::Unanswered(why) }
        })?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        let refused = serde_json::from_slice::<Refused>(&whole(response).await?);
        let why = refused.map_or_else(|_| status.to_string(), |refused| refused.error);
        Err(RequestError::Refused(match status {
            StatusCode::UNAUTHORIZED => format!("podcov-agent: {why}; set {TOKEN} to its token"),
            _ => why,
        }))
    }

    /// Sends a request, with the proof of the token if the agent wants one.
    async fn send(&mut self, request: &Request) -> hyper::Result<Response<Incoming>> {
        let (method, path) = (request.method(), request.to_string());
        let proof = self.proof.take().map(|(token, challenge)| token.sign(&challenge, method, &path));
        let builder = hyper::Request::builder().method(method).uri(path).header(HOST, "localhost");
        let builder = proof.into_iter().fold(builder, |builder, proof| builder.header(AUTHORIZATION, proof));
        let request = builder.body(Empty::new()).expect("a method, a path and headers of podcov-control's");
        self.sender.send_request(request).await
    }
}

/// A header that has JSON.
fn header<T: DeserializeOwned>(headers: &HeaderMap, name: &str) -> Option<T> {
    serde_json::from_slice(headers.get(name)?.as_bytes()).ok()
}

/// All of an answer that is no archive.
async fn whole(response: Response<Incoming>) -> Result<Bytes, RequestError> {
    let body = Limited::new(response.into_body(), MOST).collect().await;
    body.map(Collected::to_bytes)
        .map_err(|e| RequestError::Unanswered(Error::Broken(e.to_string()).to_string()))
}

fn no_agent(why: &str) -> Fault {
    Fault::Absent(format!("no podcov-agent: {why}"))
}

/// The kubelet's words say more than HTTP's.
fn broken(failure: &DialFailure, error: &hyper::Error) -> String {
    Error::Broken(failure.message().unwrap_or_else(|| error.to_string())).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};

    use super::*;

    /// Answers each request with an empty object.
    async fn answer(stream: DuplexStream) -> std::io::Result<()> {
        let (requests, mut answers) = tokio::io::split(stream);
        let mut lines = BufReader::new(requests).lines();
        while let Some(line) = lines.next_line().await? {
            if line.is_empty() {
                answers.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await?;
            }
        }
        Ok(())
    }

    /// The connection is served by another thread than this one, as in the hooks. It notes an answer's end at any time after
    /// the caller has read it.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_request_may_follow_an_answer_at_once() {
        let (near, far) = tokio::io::duplex(256);
        tokio::spawn(answer(far));
        let (sender, connection) = handshake(TokioIo::new(near)).await.expect("a connection");
        tokio::spawn(connection);
        let failure = DialFailure::default();
        let mut client = Client { sender, failure, version: String::new(), proof: None };
        for _ in 0..5000 {
            client.json::<Value>(&Request::Health).await.expect("an answer");
        }
    }
}
