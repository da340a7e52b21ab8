//! Who the client is: the `Authorization` of its requests and its certificate, by the fields of a kubeconfig's user.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::{Request, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use kube::config::{AuthInfo, ExecAuthCluster};
use tokio::sync::Mutex;
use tower::{BoxError, Service};

use crate::Error;
use crate::plugin::{self, Plugin};
use crate::tls::ClientCertificate;

/// How long before its end a plugin's credential is renewed.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_secs(10);

/// How long the content of a token file is used, as in client-go.
const TOKEN_FILE_AGE: Duration = Duration::from_secs(60);

/// The credentials of one cluster's client.
pub(crate) struct Credentials {
    source: Source,
    identity: Arc<ClientCertificate>,
    current: Mutex<Current>,
}

enum Source {
    Fixed,
    TokenFile(PathBuf),
    Plugin(Box<Plugin>),
}

#[derive(Default)]
struct Current {
    header: Option<HeaderValue>,
    /// Once this is over the source is asked again.
    until: Until,
    issues_certificates: bool,
}

#[derive(Default)]
enum Until {
    /// Nothing has been asked yet, or the server has refused what came of it.
    #[default]
    Now,
    Instant(Instant),
    Timestamp(Timestamp),
    Forever,
}

impl Until {
    fn is_over(&self) -> bool {
        match self {
            Self::Now => true,
            Self::Instant(at) => Instant::now() >= *at,
            Self::Timestamp(at) => Timestamp::now() + RENEW_BEFORE >= *at,
            Self::Forever => false,
        }
    }
}

impl Credentials {
    /// The credentials of a user, of which nothing has been asked yet: see [`Credentials::renew`]. An `auth-provider`
    /// is kube's to serve. `cluster` is what a credential plugin may be told of the cluster.
    ///
    /// # Errors
    /// [`Error::Config`] names the field that cannot be used.
    pub(crate) fn of(
        user: &AuthInfo,
        cluster: impl FnOnce() -> Result<ExecAuthCluster, Error>,
    ) -> Result<Self, Error> {
        let identity = Arc::new(ClientCertificate::default());
        // kube gives its secrets only in serialized form.
        let written = serde_json::to_value(user).map_err(|e| Error::Config(e.to_string()))?;
        let secret = |field: &str| written[field].as_str().filter(|secret| !secret.is_empty());
        if let Some((certificate, key)) = certificate(user, secret("client-key-data"))? {
            let fields = ["the user's client-certificate", "the user's client-key"];
            identity.set(&certificate, &key, fields).map_err(Error::Config)?;
        }
        let token = secret("token");
        let name = user.username.as_deref().unwrap_or_default();
        let password = secret("password").unwrap_or_default();
        let has_name = !(name.is_empty() && password.is_empty());
        if token.is_some() && has_name {
            return Err(Error::Config(
                "the user has both a token and a username; only one is allowed".into(),
            ));
        }
        let fixed = |header| {
            let current = Current { header: Some(header), until: Until::Forever, ..Current::default() };
            (Source::Fixed, current)
        };
        let (source, current) = if let Some(file) = user.token_file.as_deref().filter(|file| !file.is_empty())
        {
            (Source::TokenFile(file.into()), Current::default())
        } else if let Some(token) = token {
            fixed(bearer(token)?)
        } else if has_name {
            let encoded = STANDARD.encode(format!("{name}:{password}"));
            fixed(header(format!("Basic {encoded}"))?)
        } else if let Some(exec) = &user.exec {
            let plugin = Plugin::new(exec.clone(), cluster, plugin::TIME_LIMIT)?;
            (Source::Plugin(plugin.into()), Current::default())
        } else {
            (Source::Fixed, Current { until: Until::Forever, ..Current::default() })
        };
        Ok(Self { source, identity, current: Mutex::new(current) })
    }

    /// The client's certificate, if it has one, now or later.
    pub(crate) fn identity(&self) -> Arc<ClientCertificate> {
        self.identity.clone()
    }

    /// Whether the client's certificate changes, so that connections made with an earlier one must not be used again.
    pub(crate) async fn issues_certificates(&self) -> bool {
        self.current.lock().await.issues_certificates
    }

    /// Gets credentials from the plugin or the file, unless those of the last time still serve. Callers at the same time
    /// wait for one run.
    ///
    /// # Errors
    /// [`Error::Plugin`], [`Error::Config`].
    pub(crate) async fn renew(&self) -> Result<Option<HeaderValue>, Error> {
        let mut current = self.current.lock().await;
        if current.until.is_over() {
            match &self.source {
                Source::Fixed => {}
                Source::TokenFile(file) => {
                    match fs_err::read_to_string(file) {
                        Ok(token) => current.header = Some(bearer(token.trim())?),
                        // A file that is gone leaves its last content valid.
                        Err(_) if current.header.is_some() => {}
                        Err(e) => {
                            return Err(Error::Config(format!("the user's tokenFile: {e}")));
                        }
                    }
                    current.until = Until::Instant(Instant::now() + TOKEN_FILE_AGE);
                }
                Source::Plugin(plugin) => {
                    let issued = plugin.run().await?;
                    if let Some((certificate, key)) = &issued.certificate {
                        let fields = ["clientCertificateData of its answer", "clientKeyData of its answer"];
                        let set = self.identity.set(certificate.as_bytes(), key.as_bytes(), fields);
                        set.map_err(|why| plugin.failed(&why, &plugin::Tail::default()))?;
                        current.issues_certificates = true;
                    }
                    current.header = issued.token.as_deref().map(bearer).transpose()?;
                    current.until = issued.expires.map_or(Until::Forever, Until::Timestamp);
                }
            }
        }
        Ok(current.header.clone())
    }

    /// Notes that the server has refused a request's credentials: a plugin is asked again before the next.
    async fn refused(&self, used: Option<&HeaderValue>) {
        let mut current = self.current.lock().await;
        if matches!(self.source, Source::Plugin(_)) && current.header.as_ref() == used {
            current.until = Until::Now;
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    header(format!("Bearer {token}"))
}

fn header(value: String) -> Result<HeaderValue, Error> {
    let value = HeaderValue::try_from(value);
    let mut value = value
        .map_err(|_| Error::Config("the user's token has characters that no header may have".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A client certificate and its key, PEM.
type PemPair = (Vec<u8>, Vec<u8>);

/// The client certificate and its key, from the kubeconfig or the files it names.
fn certificate(user: &AuthInfo, key_data: Option<&str>) -> Result<Option<PemPair>, Error> {
    let certificate = load(
        user.client_certificate_data.as_deref(),
        user.client_certificate.as_deref(),
        "client-certificate",
    )?;
    match (certificate, load(key_data, user.client_key.as_deref(), "client-key")?) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err(Error::Config("the user has a client-certificate and no client-key".to_owned()))
        }
        (None, Some(_)) => {
            Err(Error::Config("the user has a client-key and no client-certificate".to_owned()))
        }
    }
}

/// Loads a field that is given as base64 or, without that, as a file.
///
/// # Errors
/// [`Error::Config`] names the field or the file, and nothing that is in it.
pub(crate) fn load(data: Option<&str>, file: Option<&str>, field: &str) -> Result<Option<Vec<u8>>, Error> {
    match (data.filter(|data| !data.is_empty()), file.filter(|file| !file.is_empty())) {
        (Some(data), _) => {
            let data: String = data.split_whitespace().collect();
            let decoded = STANDARD.decode(data);
            decoded.map(Some).map_err(|_| Error::Config(format!("{field}-data is not base64")))
        }
        (None, Some(file)) => {
            let read = fs_err::read(file);
            read.map(Some).map_err(|e| Error::Config(format!("{field}: {e}")))
        }
        (None, None) => Ok(None),
    }
}

/// Adds the credentials to each request.
#[derive(Clone)]
pub(crate) struct Authorized<S> {
    inner: S,
    credentials: Arc<Credentials>,
}

impl<S> Authorized<S> {
    pub(crate) fn new(inner: S, credentials: Arc<Credentials>) -> Self {
        Self { inner, credentials }
    }
}

impl<S, B> Service<Request<Body>> for Authorized<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Send,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // The service that is ready is the one to be called; its clone may not be.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let credentials = self.credentials.clone();
        Box::pin(async move {
            let header = credentials.renew().await?;
            if let Some(header) = &header {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            let response = inner.call(request).await.map_err(Into::into)?;
            if response.status() == StatusCode::UNAUTHORIZED {
                credentials.refused(header.as_ref()).await;
            }
            Ok(response)
        })
    }
}
