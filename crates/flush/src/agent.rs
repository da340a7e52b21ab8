//! The conversation with a podcov-agent in the container: HTTP over a port-forward. No exec, which costs the node far
//! more, and nothing is needed in the image but the agent.

use bytes::Bytes;
use http_body_util::{BodyExt, Collected, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use podcov_cluster::forward::{Dialled, Failure};
use podcov_cluster::{AgentPort, Cluster, Container, Error, Target};
use serde::Deserialize;

use crate::flush::Ask;

/// The variable with the token for agents that want one, the same on both sides.
const TOKEN: &str = "PODCOV_TOKEN";

/// The largest answer that is no coverage.
const MOST: usize = 16 << 20;

/// A connection to an agent.
pub(crate) struct Agent {
    sender: SendRequest<Empty<Bytes>>,
    failure: Failure,
    container: Container,
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
        let mut agent = Self { sender, failure, container: target.container.clone() };
        if !sure {
            agent.check_container().await?;
        }
        Ok(agent)
    }

    /// That it is this container's, for containers of a pod share their addresses.
    async fn check_container(&mut self) -> Result<(), Failed> {
        #[derive(Deserialize)]
        struct Health {
            container: String,
        }
        let health: Health = self.json(Method::GET, "/health").await?;
        if health.container == self.container.container {
            return Ok(());
        }
        Err(Failed::NoAgent(format!(
            "what answers is the podcov-agent of {}; each needs PODCOV_CONTAINER, its container's name, and a \
             PODCOV_CONTROL of its own",
            health.container
        )))
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

    /// Has the program end in good order.
    pub(crate) async fn stop(&mut self) -> Result<(), Failed> {
        self.json::<serde::de::IgnoredAny>(Method::POST, "/stop").await.map(drop)
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
        Ok(Coverage { body: response.into_body(), failure: self.failure, _sender: self.sender })
    }

    async fn json<T: for<'de> Deserialize<'de>>(&mut self, method: Method, path: &str) -> Result<T, Failed> {
        let body = whole(self.ask(method, path).await?).await?;
        serde_json::from_slice(&body).map_err(|_| not_ours("its answer is none of podcov-agent's"))
    }

    async fn ask(&mut self, method: Method, path: &str) -> Result<Response<Incoming>, Failed> {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "localhost");
        if let Ok(token) = std::env::var(TOKEN) {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.trim()));
        }
        let request = request.body(Empty::new()).map_err(|e| Failed::Said(format!("{TOKEN}: {e}")))?;
        let response = match self.sender.send_request(request).await {
            Ok(response) => response,
            Err(_) if self.failure.is_refusal() => return Err(not_ours("nothing listens there")),
            Err(e) => return Err(broken(&self.failure, &e).into()),
        };
        let status = response.status();
        let ours = response.headers().get(CONTENT_TYPE).is_some_and(|value| {
            value.as_bytes() == b"application/json" || value.as_bytes() == b"application/x-tar"
        });
        if !ours {
            return Err(not_ours("what answers is something else"));
        }
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
