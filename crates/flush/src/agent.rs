//! The conversation with a podcov-agent in the container: HTTP over a port-forward. No exec, which costs the node far
//! more, and nothing is needed in the image but the agent.
//!
//! What listens on the port may be anything, so it is asked who it is before it is asked or told anything else: see
//! [`podcov_control`].

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use podcov_cluster::forward::{Dialled, Failure};
use podcov_cluster::{AgentPort, Cluster, Container, Error, Target};
use podcov_control::{AGENT, IDENTITY, Introduction, LIVES, Lives, NONCE, Nonce, Place, TOKEN, Token};
use serde::Deserialize;

use crate::flush::Ask;

/// The largest answer that is no coverage.
const MOST: usize = 16 << 20;

/// The largest answer of what is yet unknown.
const MOST_OF_A_STRANGER: usize = 64 << 10;

/// How long what listens on the port may take to say who it is.
const IDENTITY_TIMEOUT: Duration = Duration::from_secs(15);

/// A connection to an agent.
pub(crate) struct Agent {
    sender: SendRequest<Empty<Bytes>>,
    failure: Failure,
    /// What proves to the agent that the next request is from who has the token.
    proof: Option<(Token, Nonce)>,
}

/// Why something asked of an agent did not come about.
pub(crate) enum Failed {
    /// There is none, or it is another container's.
    NoAgent(String),
    /// It could not be reached, or the connection broke.
    Cluster(Error),
    /// It has answered, and that is that.
    Said(String),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAgent(why) => write!(f, "no podcov-agent: {why}"),
            Self::Cluster(error) => error.fmt(f),
            Self::Said(what) => f.write_str(what),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Cluster(error)
    }
}

/// A tar stream from an agent.
pub struct Coverage {
    /// The processes of its program that have ended.
    pub lives: Lives,
    body: Incoming,
    failure: Failure,
    /// The connection ends with it.
    _sender: SendRequest<Empty<Bytes>>,
}

impl Agent {
    /// Connects to a target's agent.
    pub(crate) async fn connect(cluster: &Cluster, target: &Target) -> Result<Self, Failed> {
        let Some(AgentPort { port, sure, .. }) = target.agent else {
            return Err(Failed::NoAgent("its podcov-agent is told to listen nowhere".to_owned()));
        };
        let Dialled { stream, failure } = cluster.dial(&target.container, port).await?;
        let handshake = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(|e| broken(&failure, &e))?;
        // It ends with its last user, and what it fails with shows there.
        tokio::spawn(connection);
        let mut agent = Self { sender, failure, proof: None };
        let Container { namespace, pod, uid, container, .. } = &target.container;
        let place = Place {
            namespace,
            pod,
            pod_uid: uid,
            hostname: target.hostname.as_deref(),
            container,
            only_container: sure,
        };
        match tokio::time::timeout(IDENTITY_TIMEOUT, agent.meet(port, &place)).await {
            Ok(met) => met.map(|()| agent),
            Err(_) => {
                let seconds = IDENTITY_TIMEOUT.as_secs();
                Err(Failed::NoAgent(format!(
                    "what listens on port {port} did not say who it is within {seconds}s"
                )))
            }
        }
    }

    /// Asks who answers, and checks that it is the agent that is meant. Nothing that only that agent may know is sent.
    async fn meet(&mut self, port: u16, place: &Place<'_>) -> Result<(), Failed> {
        let token = std::env::var(TOKEN).ok().and_then(|text| Token::new(&text));
        let nonce = Nonce::random();
        let response = self.send(Method::GET, &format!("{IDENTITY}?{NONCE}={nonce}")).await?;
        let status = response.status();
        let body = match Limited::new(response.into_body(), MOST_OF_A_STRANGER).collect().await {
            Ok(body) => body.to_bytes(),
            // So much is no introduction.
            Err(e) if e.is::<LengthLimitError>() => Bytes::new(),
            Err(e) => return Err(Error::Broken(e.to_string()).into()),
        };
        let introduction = serde_json::from_slice::<Introduction>(&body).ok();
        let Some(introduction) =
            introduction.filter(|met| status == StatusCode::OK && met.identity.agent == AGENT)
        else {
            return Err(Failed::NoAgent(format!(
                "what listens on port {port} is no podcov-agent, or an older one: it answered GET {IDENTITY} with \
                 {status}"
            )));
        };
        introduction
            .check(place, token.as_ref(), &nonce)
            .map_err(|why| Failed::NoAgent(format!("the podcov-agent on port {port} {why}")))?;
        self.proof = match (token, introduction.challenge) {
            (None, Some(_)) => {
                return Err(Failed::Said(format!(
                    "its podcov-agent wants a token; set {TOKEN} to that token"
                )));
            }
            (token, challenge) => token.zip(challenge),
        };
        Ok(())
    }

    /// Has the program write its counters; gives the new files' names.
    pub(crate) async fn flush(&mut self, signal: Option<&str>) -> Result<Vec<String>, Failed> {
        #[derive(Deserialize)]
        struct Flushed {
            files: Vec<String>,
        }
        let signal = signal.map(|signal| format!("?signal={signal}")).unwrap_or_default();
        let flushed: Flushed = self.json(Method::POST, &format!("/flush{signal}")).await?;
        Ok(flushed.files)
    }

    /// Has the program end, and so write its counters.
    pub(crate) async fn stop(&mut self) -> Result<(), Failed> {
        #[derive(Deserialize)]
        struct Stopped {
            #[serde(default)]
            exit_code: Option<u8>,
            #[serde(default = "yes")]
            counters_written: bool,
        }
        fn yes() -> bool {
            true
        }
        let stopped: Stopped = self.json(Method::POST, "/stop").await?;
        match stopped {
            Stopped { counters_written: true, .. } => Ok(()),
            Stopped { exit_code, .. } => {
                let code = exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
                Err(Failed::Said(format!(
                    "the program has ended{code} and wrote no counters then; does it handle the stop signal?"
                )))
            }
        }
    }

    /// Asks for the coverage, maybe after the program has done something.
    pub(crate) async fn coverage(mut self, after: Option<Ask<'_>>) -> Result<Coverage, Failed> {
        let (method, path) = match after {
            None => (Method::GET, "/coverage".to_owned()),
            Some(Ask::Stop) => (Method::POST, "/coverage?after=stop".to_owned()),
            Some(Ask::Flush { signal: None }) => (Method::POST, "/coverage?after=flush".to_owned()),
            Some(Ask::Flush { signal: Some(signal) }) => {
                (Method::POST, format!("/coverage?after=flush&signal={signal}"))
            }
        };
        let response = self.ask(method, &path).await?;
        let lives =
            response.headers().get(LIVES).and_then(|lives| serde_json::from_slice(lives.as_bytes()).ok());
        Ok(Coverage {
            lives: lives.unwrap_or_default(),
            body: response.into_body(),
            failure: self.failure,
            _sender: self.sender,
        })
    }

    async fn json<T: for<'de> Deserialize<'de>>(&mut self, method: Method, path: &str) -> Result<T, Failed> {
        let body = whole(self.ask(method, path).await?).await?;
        serde_json::from_slice(&body).map_err(|_| not_ours("its answer is none of podcov-agent's"))
    }

    /// Asks something of the agent, once it is known.
    async fn ask(&mut self, method: Method, path: &str) -> Result<Response<Incoming>, Failed> {
        let response = self.send(method, path).await?;
        let status = response.status();
        if status == StatusCode::OK {
            return Ok(response);
        }
        #[derive(Deserialize)]
        struct Refused {
            error: String,
        }
        let said = serde_json::from_slice::<Refused>(&whole(response).await?);
        let said = said.map_or_else(|_| status.to_string(), |refused| refused.error);
        Err(Failed::Said(match status {
            StatusCode::UNAUTHORIZED => format!("podcov-agent: {said}; set {TOKEN} to its token"),
            _ => said,
        }))
    }

    /// Sends a request, with the proof of the token if the agent wants one.
    async fn send(&mut self, method: Method, path: &str) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::builder().method(&method).uri(path).header(HOST, "localhost");
        if let Some((token, challenge)) = self.proof.take() {
            request = request.header(AUTHORIZATION, token.sign(&challenge, method.as_str(), path));
        }
        let request = request.body(Empty::new()).map_err(|e| Failed::Said(e.to_string()))?;
        match self.sender.send_request(request).await {
            Ok(response) => Ok(response),
            Err(_) if self.failure.is_refusal() => Err(not_ours("nothing listens there")),
            Err(e) if e.is_parse() => Err(not_ours("what listens there does not speak HTTP")),
            Err(e) => Err(broken(&self.failure, &e).into()),
        }
    }
}

impl Coverage {
    /// The next piece of the archive; `None` at its end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            match self.body.frame().await {
                None => return Ok(None),
                Some(Err(e)) => return Err(broken(&self.failure, &e)),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }
}

/// All of an answer that is no coverage.
async fn whole(response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), MOST).collect().await;
    body.map(Collected::to_bytes).map_err(|e| Error::Broken(e.to_string()))
}

fn not_ours(why: &str) -> Failed {
    Failed::NoAgent(why.to_owned())
}

/// The kubelet's words say more than HTTP's.
fn broken(failure: &Failure, error: &hyper::Error) -> Error {
    Error::Broken(failure.message().unwrap_or_else(|| error.to_string()))
}
