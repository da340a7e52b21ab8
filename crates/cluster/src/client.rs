//! Which cluster, and a client for it.

use std::sync::Arc;
use std::time::Duration;

use hyper::Uri;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::NamespaceResourceScope;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{AuthInfo, ExecAuthCluster};
use kube::{Api, Client, Config};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};
use url::Url;

use crate::Error;
use crate::credentials::{Authorized, Credentials, load};
use crate::error::innermost;
use crate::kubeconfig::{self, Context, Source};
use crate::proxy::{Protocol, Proxy, proxy_for};
use crate::retry::Busy;
use crate::tls::{self, Trust};

/// Which cluster, and how long it may take to answer.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "clap", derive(clap::Args), command(next_help_heading = "Cluster"))]
pub struct ClusterArgs {
    /// The kubeconfig's context [default: its current one]
    #[cfg_attr(feature = "clap", arg(long, env = "SKAFFOLD_KUBE_CONTEXT", value_name = "NAME"))]
    pub context: Option<String>,

    /// How long the API server may take to answer a request
    #[cfg_attr(feature = "clap", arg(long, value_name = "SECONDS", default_value = "15", value_parser = podcov_exit::seconds))]
    pub request_timeout: Duration,
}

/// A connection to one cluster. Clones share its connections.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    server: String,
    context: String,
    namespace: String,
    timeout: Duration,
    credentials: Arc<Credentials>,
}

impl Cluster {
    /// Reads the kubeconfig (the files of `KUBECONFIG`, else `~/.kube/config`, else the in-cluster service account),
    /// runs its credential plugin, if it has one, and makes a client. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::NoContext`], [`Error::Proxy`] and [`Error::Plugin`].
    pub async fn connect(args: &ClusterArgs) -> Result<Self, Error> {
        // The one rustls provider of the whole binary; a second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let requested = args.context.clone().filter(|name| !name.is_empty());
        let access = match kubeconfig::find(
            requested,
            kubeconfig::variable().as_deref(),
            std::env::home_dir().as_deref(),
        )? {
            Source::InCluster => Access::in_cluster()?,
            Source::Context(context) => Access::of_context(*context)?,
        };
        access.connect(args.request_timeout).await
    }

    /// The context's name, `in-cluster` for a service account.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.context
    }

    /// The namespace that the context names, else `default`.
    #[must_use]
    pub fn default_namespace(&self) -> &str {
        &self.namespace
    }

    /// How long a request may take to be answered.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The API server's address, with the proxy's if there is one.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Awaits a request's answer within the time limit and words its error; `doing` says what was asked.
    pub(crate) async fn ask<T>(
        &self,
        doing: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        tracing::debug!(doing, "request");
        self.within(doing, request).await
    }

    /// [`Self::ask`] without its line in the log.
    pub(crate) async fn within<T>(
        &self,
        doing: &str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        // A plugin has a time limit of its own.
        self.credentials.renew().await?;
        match tokio::time::timeout(self.timeout, request).await {
            Ok(answer) => answer.map_err(|e| self.error(e, doing)),
            Err(_) => Err(Error::NoAnswer {
                server: self.server.clone(),
                doing: doing.to_owned(),
                after: self.timeout,
            }),
        }
    }

    pub(crate) fn error(&self, error: kube::Error, doing: &str) -> Error {
        Error::from_kube(error, &self.server, doing)
    }
}

/// All that is needed to talk to a cluster.
struct Access {
    context: String,
    server: Url,
    /// For kube: the address, the namespace, impersonation and an `auth-provider`.
    config: Config,
    trust: Trust,
    credentials: Credentials,
    server_name: Option<ServerName<'static>>,
    proxy: Option<Proxy>,
}

impl Access {
    fn in_cluster() -> Result<Self, Error> {
        let mut config = Config::incluster().map_err(|e| {
            Error::Config(format!(
                "there is none: KUBECONFIG is not set, ~/.kube/config does not exist, and this is no pod with a service \
                 account ({e})"
            ))
        })?;
        let user = std::mem::take(&mut config.auth_info);
        let credentials = Credentials::of(&user, || Ok(ExecAuthCluster::default()))?;
        let server = address(&config.cluster_url.to_string(), true)?;
        let proxy = proxy_for(&server, None, &variable)?;
        let trust = Trust::AsKube(Box::new(config.clone()));
        Ok(Self {
            context: "in-cluster".to_owned(),
            server,
            config,
            trust,
            credentials,
            server_name: None,
            proxy,
        })
    }

    fn of_context(context: Context) -> Result<Self, Error> {
        let (files, name) = (context.files.clone(), context.name.clone());
        Self::read_context(context).map_err(|error| match error {
            Error::Config(why) => Error::Config(format!("{files}: context {name:?}: {why}")),
            other => other,
        })
    }

    fn read_context(context: Context) -> Result<Self, Error> {
        let Context { name, namespace, cluster, mut user, .. } = context;
        let authorities = load(
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
            "certificate-authority",
        )?;
        let anybody = cluster.insecure_skip_tls_verify == Some(true);
        if anybody && authorities.is_some() {
            let why = "its cluster has both insecure-skip-tls-verify and certificate-authority; only one is allowed";
            return Err(Error::Config(why.to_owned()));
        }
        let secure = anybody || authorities.is_some() || user.client_certificate.is_some();
        let server = cluster.server.as_deref().filter(|server| !server.is_empty());
        let mut server =
            address(server.ok_or_else(|| Error::Config("its cluster has no server".into()))?, secure)?;
        if user.username.is_none() && !server.username().is_empty() {
            user.username = Some(server.username().to_owned());
            user.password = server.password().map(|password| password.to_owned().into());
        }
        // Whatever has a user and a password in it would be printed.
        let _ = (server.set_username(""), server.set_password(None));

        let proxy = proxy_for(&server, cluster.proxy_url.as_deref(), &variable)?;
        let of_plugin = || {
            // The authorities have been read.
            let mut of_plugin = ExecAuthCluster::try_from(&cluster).map_err(|_| {
                Error::Config("its cluster cannot be handed to the credential plugin".to_owned())
            })?;
            of_plugin.server = Some(server.to_string().trim_end_matches('/').to_owned());
            Ok(of_plugin)
        };
        let credentials = Credentials::of(&user, of_plugin)?;
        let server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
        let server_name = server_name.map(ServerName::try_from).transpose();
        let server_name =
            server_name.map_err(|e| Error::Config(format!("its cluster's tls-server-name: {e}")))?;

        let mut config = Config::new(uri(&server)?);
        config.default_namespace = namespace.unwrap_or_else(|| "default".to_owned());
        config.auth_info = AuthInfo {
            impersonate: user.impersonate,
            impersonate_uid: user.impersonate_uid,
            impersonate_groups: user.impersonate_groups,
            impersonate_user_extra: user.impersonate_user_extra,
            auth_provider: user.auth_provider,
            ..AuthInfo::default()
        };
        if let Some(provider) = config.auth_info.auth_provider.as_ref().filter(|one| one.name != "oidc") {
            return Err(Error::Config(format!(
                "auth-provider {:?} is not supported, as it is not by kubectl; use a credential plugin (exec) instead",
                provider.name
            )));
        }
        let trust = match authorities {
            _ if anybody => Trust::Anybody,
            Some(authorities) => Trust::Authorities(authorities),
            None => Trust::AsKube(Box::new(Config::new(uri(&server)?))),
        };
        Ok(Self { context: name, server, config, trust, credentials, server_name, proxy })
    }

    async fn connect(self, timeout: Duration) -> Result<Cluster, Error> {
        let Self { context, server, config, trust, credentials, server_name, proxy } = self;
        credentials.renew().await?;
        let credentials = Arc::new(credentials);
        let tls = tls::client_config(trust, credentials.identity()).map_err(Error::Config)?;
        let server = server.to_string().trim_end_matches('/').to_owned();
        let server = match &proxy {
            Some(proxy) => format!("{server} (through the proxy {proxy})"),
            None => server,
        };
        let namespace = config.default_namespace.clone();
        let stack = Stack { server: &server, timeout, credentials: credentials.clone(), config: &config };
        let client = stack.client(tls, server_name, proxy).await?;
        Ok(Cluster { client, server, context, namespace, timeout, credentials })
    }
}

/// A cluster's address. Without a scheme it is https if the kubeconfig has anything about TLS, else http, as for kubectl.
fn address(server: &str, secure: bool) -> Result<Url, Error> {
    let with_scheme = match server.contains("://") {
        true => server.to_owned(),
        false if secure => format!("https://{server}"),
        false => format!("http://{server}"),
    };
    let url = Url::parse(&with_scheme)
        .ok()
        .filter(|url| url.has_host() && ["http", "https"].contains(&url.scheme()));
    url.ok_or_else(|| {
        Error::Config("its cluster's server is not an address such as https://host:6443".to_owned())
    })
}

fn uri(server: &Url) -> Result<Uri, Error> {
    server.as_str().parse().map_err(|_| Error::Config("its cluster's server is no usable address".to_owned()))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What lies between kube's client and the network. kube's own stack will not do: it sets no TCP_NODELAY, without which
/// every new port-forward waits some 40 ms for a delayed acknowledgement; it runs credential plugins on the calling
/// thread and prints what they print; it holds NO_PROXY against the proxy's address.
struct Stack<'a> {
    server: &'a str,
    timeout: Duration,
    credentials: Arc<Credentials>,
    config: &'a Config,
}

impl Stack<'_> {
    async fn client(
        &self,
        tls: ClientConfig,
        server_name: Option<ServerName<'static>>,
        proxy: Option<Proxy>,
    ) -> Result<Client, Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.timeout));
        let Some(proxy) = proxy else { return self.over(secured(tcp, tls, server_name)).await };
        let address = proxy.address.clone();
        match proxy.protocol {
            Protocol::Socks5 => {
                let mut socks = SocksV5::new(address, tcp);
                if let Some((user, password)) = proxy.credentials() {
                    socks = socks.with_auth(user, password);
                }
                self.over(secured(socks, tls, server_name)).await
            }
            Protocol::Http => {
                let tunnel = tunnel(&proxy, tcp);
                self.over(secured(tunnel, tls, server_name)).await
            }
            Protocol::Https => {
                // As with kubectl, the proxy is held to the same certificates as the cluster.
                let tunnel = tunnel(&proxy, secured(tcp, tls.clone(), None));
                self.over(secured(tunnel, tls, server_name)).await
            }
        }
    }

    async fn over<C>(&self, connector: HttpsConnector<C>) -> Result<Client, Error>
    where
        HttpsConnector<C>: Connect + Clone + Send + Sync + 'static,
    {
        let mut builder = HyperClient::builder(TokioExecutor::new());
        if self.credentials.issues_certificates().await {
            // A connection keeps the certificate that it was made with.
            builder.pool_max_idle_per_host(0);
        }
        let http: HyperClient<_, Body> = builder.build(connector);
        let wrong = |e: kube::Error| Error::Config(innermost(&e));
        let service = ServiceBuilder::new()
            .layer(self.config.base_uri_layer())
            .layer(RetryLayer::new(Busy::new(self.server, self.timeout)))
            .option_layer(self.config.auth_layer().map_err(wrong)?)
            .layer(self.config.extra_headers_layer().map_err(wrong)?)
            .map_err(BoxError::from)
            .service(Authorized::new(http, self.credentials.clone()));
        Ok(ClientBuilder::new(service, self.config.default_namespace.clone()).build())
    }
}

fn tunnel<C>(proxy: &Proxy, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.address.clone(), connector);
    match proxy.authorization() {
        Some(authorization) => tunnel.with_auth(authorization),
        None => tunnel,
    }
}

fn secured<C>(connector: C, tls: ClientConfig, name: Option<ServerName<'static>>) -> HttpsConnector<C> {
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = name {
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    builder.enable_http1().wrap_connector(connector)
}
