//! Waiting until the cluster is ready, by asking it.

use std::path::Path;

use anyhow::Result;
use hyper::Request;
use k8s_openapi::api::core::v1::Node;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use crate::config::NODE_NAME;
use crate::host::LOOK_AGAIN;

pub(crate) async fn connect(kubeconfig: &Path) -> Result<Client> {
    // A second call finds it installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)?)
}

/// Completes when the API server says that it is ready.
pub(crate) async fn server_ready(client: &Client) -> Result<()> {
    loop {
        let readyz = Request::get("/readyz").body(Vec::new())?;
        if client.request_text(readyz).await.is_ok_and(|said| said == "ok") {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Completes when pods can be placed on the node.
pub(crate) async fn node_ready(client: &Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    loop {
        if nodes.get(NODE_NAME).await.is_ok_and(|node| is_ready(&node)) {
            return Ok(());
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    // Until the node controller has seen that it is ready it keeps a taint on it.
    let untainted = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).is_none_or(Vec::is_empty);
    untainted && conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}
