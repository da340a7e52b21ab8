//! What can go wrong between a hook and the cluster, each with its exit code and what to do next.

use std::time::Duration;

use podcov_cli::{Exit, Failure};

/// An error of the cluster or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read or used.
    #[error("kubeconfig: {0}")]
    Config(String),
    /// The kubeconfig has no such context.
    #[error("context {wanted:?} is not in the kubeconfig (it has: {known})")]
    NoContext {
        /// The context asked for.
        wanted: String,
        /// The contexts there are, comma separated.
        known: String,
    },
    /// The API server, or a proxy before it, could not be reached.
    #[error("cannot reach the cluster at {server}: {cause}")]
    Unreachable {
        /// The API server's address.
        server: String,
        /// The innermost cause.
        cause: String,
    },
    /// The API server took the request and did not answer in time.
    #[error("the cluster at {server} did not answer within {}s ({doing})", .after.as_secs_f32())]
    NoAnswer {
        /// The API server's address.
        server: String,
        /// What was asked.
        doing: String,
        /// How long it was given.
        after: Duration,
    },
    /// The API server refused the request; its own words.
    #[error("{doing}: {message} ({code})")]
    Refused {
        /// What was asked.
        doing: String,
        /// The HTTP status.
        code: u16,
        /// The server's message.
        message: String,
    },
    /// A connection to a pod ended before what was asked of it was complete.
    #[error("the connection to the pod broke: {0}")]
    Broken(String),
    /// A connection to a pod gave nothing for too long.
    #[error("nothing came from the pod for {}s", .0.as_secs_f32())]
    Stalled(Duration),
    /// The container's image lacks the program.
    #[error("the image has no {program:?}: {message}")]
    NoProgram {
        /// The program that could not be started.
        program: String,
        /// The runtime's words.
        message: String,
    },
    /// The runtime could not run a program in the container.
    #[error("exec failed: {0}")]
    ExecFailed(String),
    /// The local port cannot be had.
    #[error("cannot listen on {address}: {cause}")]
    NoLocalPort {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// The operating system's words.
        cause: String,
    },
    /// No pod took a connection in time.
    #[error("no pod took a connection within {}s: {cause}", .after.as_secs_f32())]
    NotReady {
        /// How long was waited.
        after: Duration,
        /// What was wrong last.
        cause: String,
    },
    /// The thing named on the command line is not there, or not usable.
    #[error("{0}")]
    NotFound(String),
}

impl Error {
    /// Wraps an error of kube's that came while `doing` something.
    #[must_use]
    pub fn from_kube(error: kube::Error, server: &str, doing: &str) -> Self {
        match error {
            kube::Error::Api(status) => {
                Self::Refused { doing: doing.to_owned(), code: status.code, message: status.message }
            }
            kube::Error::Auth(e) => Self::Config(format!("credentials: {}", innermost(&e))),
            kube::Error::UpgradeConnection(e) => Self::Broken(e.to_string()),
            other => Self::Unreachable { server: server.to_owned(), cause: innermost(&other) },
        }
    }

    /// Whether the same request may well succeed when it is made again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::NoAnswer { .. } | Self::Broken(_) | Self::Stalled(_) => true,
            Self::Refused { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }

    /// Whether the object asked for is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code: 404 | 410, .. })
    }

    /// How the process ends when this is what stopped it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::NoContext { .. } | Self::NoLocalPort { .. } => Exit::Usage,
            Self::NoProgram { .. } => Exit::Incomplete,
            _ => Exit::Unreachable,
        }
    }

    /// What the user could do next.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Config(_) => Some("check KUBECONFIG, or try the same with `kubectl get pods`"),
            Self::NoContext { .. } => {
                Some("name one with --context; `skaffold --kube-context` decides it under Skaffold")
            }
            Self::Refused { code: 401, .. } => {
                Some("the credentials are wrong or expired: log in to the cluster again")
            }
            Self::Refused { code: 403, .. } => {
                Some("grant the rules of README's section RBAC in the namespaces of the run")
            }
            Self::Unreachable { .. } | Self::NoAnswer { .. } => {
                Some("is the cluster up, and is this the right --context? try `kubectl version`")
            }
            Self::NoLocalPort { .. } => Some("leave the local port out to get a free one"),
            Self::NotReady { .. } => {
                Some("look at the pods with `kubectl describe pod`; --timeout gives them longer")
            }
            _ => None,
        }
    }

    /// The error as the binaries end with it.
    #[must_use]
    pub fn into_failure(self) -> anyhow::Error {
        let failure = Failure::new(self.exit(), self.to_string());
        match self.hint() {
            Some(hint) => failure.with_hint(hint).into(),
            None => failure.into(),
        }
    }
}

/// The end of an error's chain: there the operating system or the library says what happened.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let message = innermost.to_string();
    // rustls puts a link to its manual behind some of its messages.
    message.split(": https://").next().unwrap_or_default().to_owned()
}
