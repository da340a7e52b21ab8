//! What can go wrong between a hook and the cluster, each with its exit code and what to do next.

use std::time::Duration;

use podcov_exit::{Exit, Failure};

/// An error of the cluster or on the way to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kubeconfig cannot be read or used.
    #[error("kubeconfig: {0}")]
    Config(String),
    /// The address of a proxy, in the kubeconfig or the environment, cannot be used.
    #[error("proxy: {0}")]
    Proxy(String),
    /// A credential plugin failed.
    #[error("credential plugin {name}: {message}")]
    Plugin {
        /// The plugin's file name.
        name: String,
        /// What happened, and the last line of what the plugin said.
        message: String,
    },
    /// The kubeconfig has no such context.
    #[error("context {requested:?} is not in the kubeconfig (it has: {known})")]
    NoContext {
        /// The context asked for.
        requested: String,
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
    /// The API server's certificate is not one to believe.
    #[error("the certificate of the cluster at {server} is not accepted: {cause}")]
    Certificate {
        /// The API server's address.
        server: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The API server asks to be left alone for longer than a request may take.
    #[error(
        "the cluster at {server} is busy ({code}): it asks to wait {}s, longer than the {}s that a request may take",
        .after.as_secs_f32(), .limit.as_secs_f32()
    )]
    Busy {
        /// The API server's address.
        server: String,
        /// The HTTP status.
        code: u16,
        /// What it asks for.
        after: Duration,
        /// How long a request may take.
        limit: Duration,
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
    /// The runtime did not start the program. The container or the runtime may be starting again just now, so the same
    /// may succeed soon; the pod's status tells, and the caller's time limit ends it.
    #[error("the program could not be started in the container: {0}")]
    NotStarted(String),
    /// A program in the container failed.
    #[error("exec failed: {0}")]
    ExecFailed(String),
    /// There is no ephemeral container, for this reason.
    #[error("{0}")]
    NoEphemeral(String),
    /// The local port is not available.
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
            kube::Error::Service(e) => match e.downcast::<Self>() {
                Ok(own) => *own,
                Err(e) => Self::unreachable(e.as_ref(), server),
            },
            other => Self::unreachable(&other, server),
        }
    }

    fn unreachable(error: &(dyn std::error::Error + 'static), server: &str) -> Self {
        let (server, cause) = (server.to_owned(), innermost(error));
        match certificate_error(error) {
            Some(rustls::CertificateError::UnknownIssuer) => {
                let cause = "the kubeconfig's certificate-authority has not signed it".to_owned();
                Self::Certificate { server, cause }
            }
            Some(_) => {
                let cause = cause.trim_start_matches("invalid peer certificate: ").to_owned();
                Self::Certificate { server, cause }
            }
            None => Self::Unreachable { server, cause },
        }
    }

    /// Whether the same request may well succeed when it is made again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::NoAnswer { .. }
            | Self::Busy { .. }
            | Self::Broken(_)
            | Self::Stalled(_)
            | Self::NotStarted(_) => true,
            // The kubelet's answer for a container or a pod that it is about to start.
            Self::Refused { message, .. } if message.contains("unable to upgrade connection") => true,
            Self::Refused { code, .. } => *code == 429 || *code >= 500,
            _ => false,
        }
    }

    /// Whether the object asked for is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { code: 404 | 410, .. }) && !self.is_transient()
    }

    /// How the process ends when this is what stopped it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Proxy(_) | Self::NoContext { .. } | Self::NoLocalPort { .. } => {
                Exit::Usage
            }
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
            // Admission's refusals say what to do.
            Self::Refused { code: 403, message, .. }
                if message.contains("violates PodSecurity") || message.contains("admission webhook") =>
            {
                None
            }
            Self::Refused { code: 403, .. } => {
                Some("grant the rules of docs/security.md (RBAC) in the namespaces of the run")
            }
            Self::Proxy(_) => Some(
                "see proxy-url of the cluster in the kubeconfig, HTTPS_PROXY and NO_PROXY; kubectl reads the same",
            ),
            Self::Plugin { .. } => {
                Some("log in to the cluster again, or try the same with `kubectl get pods`")
            }
            Self::Certificate { .. } => Some(
                "compare the cluster's server, certificate-authority and tls-server-name in the kubeconfig with the server",
            ),
            Self::Busy { .. } => Some("give requests longer with --request-timeout"),
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

/// Why rustls refused the server's certificate, if that is in an error's chain.
fn certificate_error<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a rustls::CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(wrapped) = wrapped {
            // An I/O error's source is that of what it wraps.
            if let Some(found) = certificate_error(wrapped) {
                return Some(found);
            }
        }
        if let Some(rustls::Error::InvalidCertificate(found)) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The end of an error's chain: there the operating system or the library says what happened.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let message = innermost.to_string();
    // rustls ends some of its messages with a link to its manual.
    message.split(": https://").next().unwrap_or_default().to_owned()
}
