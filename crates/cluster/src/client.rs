//! Which cluster, and a client for it.

use std::time::Duration;

use hyper_util::client::legacy::{Client as HyperClient, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::NamespaceResourceScope;
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use tower::retry::RetryLayer;
use tower::{BoxError, ServiceBuilder};

use crate::Error;

/// Which cluster, and how long it may take to answer.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct ClusterArgs {
    /// The kubeconfig's context [default: its current one]
    #[arg(long, env = "SKAFFOLD_KUBE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,

    /// How long the API server may take to answer a request
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = podcov_cli::seconds)]
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
}

impl Cluster {
    /// Reads the kubeconfig (`KUBECONFIG`, `~/.kube/config`, or the in-cluster service account) and makes a
    /// client. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// [`Error::Config`] and [`Error::NoContext`].
    pub async fn connect(args: &ClusterArgs) -> Result<Self, Error> {
        // The one rustls provider of the whole binary; a second call finds it installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wanted = args.context.clone().filter(|name| !name.is_empty());
        let (config, context) = read_config(wanted).await?;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let namespace = config.default_namespace.clone();
        let client = build_client(config, args.request_timeout).map_err(|e| Error::Config(e.to_string()))?;
        Ok(Self { client, server, context, namespace, timeout: args.request_timeout })
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

async fn read_config(wanted: Option<String>) -> Result<(Config, String), Error> {
    let kubeconfig = match Kubeconfig::read() {
        Ok(kubeconfig) => kubeconfig,
        Err(unread) => {
            return match (wanted, Config::incluster()) {
                (None, Ok(config)) => Ok((config, "in-cluster".to_owned())),
                _ => Err(Error::Config(unread.to_string())),
            };
        }
    };
    let context = wanted.or_else(|| kubeconfig.current_context.clone()).unwrap_or_default();
    if !kubeconfig.contexts.iter().any(|c| c.name == context) {
        let known: Vec<_> = kubeconfig.contexts.iter().map(|c| c.name.as_str()).collect();
        return Err(Error::NoContext { wanted: context, known: known.join(", ") });
    }
    let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map(|c| (c, context)).map_err(|e| Error::Config(e.to_string()))
}

/// kube's own stack but for TCP_NODELAY, which it does not set: without it every new port-forward waits some
/// 40 ms for a delayed acknowledgement. Busy answers (429, 503, 504) are asked again, a few times. Behind a proxy kube's own stack serves.
fn build_client(config: Config, connect_timeout: Duration) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        return Client::try_from(config);
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    let https = config.rustls_https_connector_with_connector(tcp)?;
    let hyper: HyperClient<_, Body> = HyperClient::builder(TokioExecutor::new()).build(https);
    let retries = RetryPolicy::new(Duration::from_millis(50), Duration::from_secs(2), 4, true)
        .map_err(|e| kube::Error::Service(e.into()))?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(RetryLayer::new(retries))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(hyper);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}
