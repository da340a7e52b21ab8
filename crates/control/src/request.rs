//! What may be asked of a control endpoint, as requests of HTTP: written by the hooks, read by podcov-agent.

use std::fmt;

use crate::{Nonce, Signal};

const GET: &str = "GET";
const POST: &str = "POST";

const IDENTITY: &str = "/identity";
const HEALTH: &str = "/health";
const FLUSH: &str = "/flush";
const STOP: &str = "/stop";
const RESET: &str = "/reset";
const COVERAGE: &str = "/coverage";
const SNAPSHOT: &str = "/snapshot";

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Who answers? Everybody may ask that; the answer is an [`Introduction`](crate::Introduction) for this nonce.
    Identity(Nonce),
    /// How is the program? The answer is [`Health`](crate::Health).
    Health,
    /// Have the program do this; the answer is [`Flushed`](crate::Flushed) or [`Stopped`](crate::Stopped).
    Do(Action),
    /// Remove what has been counted; the answer is [`WasReset`](crate::WasReset).
    Reset,
    /// Send the coverage files, maybe after the program has done something. The answer is a tar archive.
    Coverage(Option<Action>),
    /// Read the counters in the memory of the program and of all processes that it has started. The answer is a tar archive.
    Snapshot {
        /// The container whose programs are meant, for an agent that reads those of other containers. `None`: all.
        container: Option<String>,
    },
}

/// What a program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Write its counters.
    Flush {
        /// The signal that makes it. `None`: the one that its podcov-agent was told, else [`Signal::FLUSH`].
        signal: Option<Signal>,
    },
    /// Shut down gracefully, which takes a podcov-agent.
    Stop,
}

/// Why something is no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotARequest {
    /// There is no such path.
    #[error("there are /identity, /health, /flush, /stop, /reset, /coverage and /snapshot")]
    Path,
    /// The path takes another method.
    #[error("that takes a {0}")]
    Method(&'static str),
    /// What follows the path's `?` is not what it takes.
    #[error("{0}")]
    Query(String),
}

impl Request {
    /// The method of HTTP.
    #[must_use]
    pub fn method(&self) -> &'static str {
        match self {
            Self::Identity(_) | Self::Health | Self::Coverage(None) | Self::Snapshot { .. } => GET,
            Self::Do(_) | Self::Reset | Self::Coverage(Some(_)) => POST,
        }
    }

    /// The request that has this method, path and query (what follows the `?`; empty where none does).
    ///
    /// # Errors
    /// Why there is none.
    pub fn parse(method: &str, path: &str, query: &str) -> Result<Self, NotARequest> {
        let takes = |expected: &'static str| {
            if method == expected { Ok(()) } else { Err(NotARequest::Method(expected)) }
        };
        let nothing = || {
            if query.is_empty() {
                Ok(())
            } else {
                Err(NotARequest::Query("that takes no parameters".to_owned()))
            }
        };
        match path {
            IDENTITY => {
                takes(GET)?;
                let nonce = query.strip_prefix("nonce=").and_then(|nonce| nonce.parse().ok());
                let why = || NotARequest::Query("that takes ?nonce= and 64 hexadecimal digits".to_owned());
                nonce.map(Self::Identity).ok_or_else(why)
            }
            HEALTH => takes(GET).and_then(|()| nothing()).map(|()| Self::Health),
            FLUSH => {
                takes(POST)?;
                let signal = if query.is_empty() { None } else { Some(signal(query)?) };
                Ok(Self::Do(Action::Flush { signal }))
            }
            STOP => takes(POST).and_then(|()| nothing()).map(|()| Self::Do(Action::Stop)),
            RESET => takes(POST).and_then(|()| nothing()).map(|()| Self::Reset),
            COVERAGE if method == GET => nothing().map(|()| Self::Coverage(None)),
            COVERAGE if method == POST => after(query).map(|action| Self::Coverage(Some(action))),
            COVERAGE => Err(NotARequest::Method("GET, or a POST with ?after=")),
            SNAPSHOT => {
                takes(GET)?;
                let container = if query.is_empty() { None } else { Some(container(query)?) };
                Ok(Self::Snapshot { container })
            }
            _ => Err(NotARequest::Path),
        }
    }

    /// Whether a path is that of [`Request::Identity`], which takes no token.
    #[must_use]
    pub fn is_identity(path: &str) -> bool {
        path == IDENTITY
    }
}

/// `after=stop`, `after=flush` or `after=flush&signal=NAME`.
fn after(query: &str) -> Result<Action, NotARequest> {
    match query.split_once('&') {
        None if query == "after=stop" => Ok(Action::Stop),
        None if query == "after=flush" => Ok(Action::Flush { signal: None }),
        Some(("after=flush", rest)) => Ok(Action::Flush { signal: Some(signal(rest)?) }),
        _ => Err(NotARequest::Query(
            "after what: ?after=stop, ?after=flush, or ?after=flush&signal= and a signal's name".to_owned(),
        )),
    }
}

fn signal(query: &str) -> Result<Signal, NotARequest> {
    let Some(name) = query.strip_prefix("signal=") else {
        return Err(NotARequest::Query("that takes no parameter but signal=NAME".to_owned()));
    };
    // `+` needs no escape here: the text is no form's.
    name.parse().map_err(|e| NotARequest::Query(format!("{name:?}: {e}")))
}

/// `container=NAME`, with a name as Kubernetes takes it.
fn container(query: &str) -> Result<String, NotARequest> {
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let name = query.strip_prefix("container=").filter(is_name);
    let why = || NotARequest::Query("that takes no parameter but container=NAME".to_owned());
    name.map(str::to_owned).ok_or_else(why)
}

/// The path with its query, as a request of HTTP has it.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(nonce) => write!(f, "{IDENTITY}?nonce={nonce}"),
            Self::Health => f.write_str(HEALTH),
            Self::Do(Action::Flush { signal: None }) => f.write_str(FLUSH),
            Self::Do(Action::Flush { signal: Some(signal) }) => write!(f, "{FLUSH}?signal={}", signal.name()),
            Self::Do(Action::Stop) => f.write_str(STOP),
            Self::Reset => f.write_str(RESET),
            Self::Coverage(None) => f.write_str(COVERAGE),
            Self::Coverage(Some(Action::Stop)) => write!(f, "{COVERAGE}?after=stop"),
            Self::Coverage(Some(Action::Flush { signal: None })) => write!(f, "{COVERAGE}?after=flush"),
            Self::Coverage(Some(Action::Flush { signal: Some(signal) })) => {
                write!(f, "{COVERAGE}?after=flush&signal={}", signal.name())
            }
            Self::Snapshot { container: None } => f.write_str(SNAPSHOT),
            Self::Snapshot { container: Some(name) } => write!(f, "{SNAPSHOT}?container={name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, path_and_query: &str) -> Result<Request, NotARequest> {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        Request::parse(method, path, query)
    }

    #[test]
    fn a_hooks_request_is_what_the_agent_reads() {
        let signal = Some("RTMIN+1".parse().unwrap());
        let nonce = Nonce::random();
        for (request, text) in [
            (Request::Identity(nonce.clone()), format!("GET /identity?nonce={nonce}")),
            (Request::Health, "GET /health".into()),
            (Request::Do(Action::Flush { signal: None }), "POST /flush".into()),
            (Request::Do(Action::Flush { signal }), "POST /flush?signal=RTMIN+1".into()),
            (Request::Do(Action::Stop), "POST /stop".into()),
            (Request::Reset, "POST /reset".into()),
            (Request::Coverage(None), "GET /coverage".into()),
            (Request::Coverage(Some(Action::Stop)), "POST /coverage?after=stop".into()),
            (Request::Coverage(Some(Action::Flush { signal: None })), "POST /coverage?after=flush".into()),
            (
                Request::Coverage(Some(Action::Flush { signal })),
                "POST /coverage?after=flush&signal=RTMIN+1".into(),
            ),
            (Request::Snapshot { container: None }, "GET /snapshot".into()),
            (Request::Snapshot { container: Some("cart-1".into()) }, "GET /snapshot?container=cart-1".into()),
        ] {
            assert_eq!(format!("{} {request}", request.method()), text);
            assert_eq!(parse(request.method(), &request.to_string()), Ok(request));
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for path in ["", "/", "/coverage/", "//coverage", "/coverage/../../etc/passwd", "/Stop", "stop"] {
            assert_eq!(parse("GET", path), Err(NotARequest::Path), "{path}");
        }
        for (method, path) in [
            ("POST", "/identity"),
            ("POST", "/health"),
            ("GET", "/stop"),
            ("PUT", "/coverage"),
            ("POST", "/snapshot"),
            ("get", "/health"),
        ] {
            assert!(matches!(parse(method, path), Err(NotARequest::Method(_))), "{method} {path}");
        }
        for (method, path) in [
            ("GET", "/identity"),
            ("GET", "/identity?nonce=0"),
            ("GET", "/health?x"),
            ("GET", "/coverage?after=stop"),
            ("GET", "/snapshot?pid=1"),
            ("GET", "/snapshot?container="),
            ("GET", "/snapshot?container=../app"),
            ("POST", "/coverage"),
            ("POST", "/coverage?after=reset"),
            ("POST", "/coverage?after=stop&signal=USR1"),
            ("POST", "/coverage?after=flush&signal=USR1&signal=USR2"),
            ("POST", "/flush?signal="),
            ("POST", "/flush?signal=USR3"),
            ("POST", "/flush?after=stop"),
            ("POST", "/stop?signal=USR1"),
            ("POST", "/reset?all"),
        ] {
            assert!(matches!(parse(method, path), Err(NotARequest::Query(_))), "{method} {path}");
        }
    }
}
