//! A static pod: one that a kubelet makes of a file, and of which the API server has a copy.

use std::path::PathBuf;

use anyhow::{Context, Result};
use fs_err as fs;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::{Service, Space, is_ready};

/// The variable that names the folder of static pods' manifests.
const FOLDER: &str = "PODCOV_E2E_STATIC_PODS";

/// The file of a static pod. The pod goes with it.
#[derive(Debug)]
pub struct StaticPod {
    manifest: PathBuf,
    /// What the API server calls the pod.
    pub name: String,
}

impl StaticPod {
    /// Whether this machine can make some for the cluster.
    pub fn can_be_made() -> bool {
        std::env::var_os(FOLDER).is_some()
    }

    /// Makes a static pod of a service, after a change of its spec, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(space: &Space, service: &Service, change: impl FnOnce(&mut Value)) -> Result<Self> {
        let folder = std::env::var_os(FOLDER).with_context(|| format!("{FOLDER} is not set"))?;
        let mut pod = space.without_coverdir(service)?["spec"]["template"].take();
        pod["apiVersion"] = json!("v1");
        pod["kind"] = json!("Pod");
        pod["metadata"]["name"] = json!(service.name);
        pod["metadata"]["namespace"] = json!(space.name);
        change(&mut pod["spec"]);
        let node = space.node().await?;
        let file = format!("{}-{}.json", space.name, service.name);
        let folder = PathBuf::from(folder);
        let started = Self { manifest: folder.join(&file), name: format!("{}-{node}", service.name) };
        // The kubelet reads no file whose name starts so, and so none that is half written.
        let draft = folder.join(format!(".{file}"));
        fs::write(&draft, serde_json::to_vec(&pod)?)?;
        fs::rename(draft, &started.manifest)?;
        let ready = |pod: Option<&Pod>| pod.is_some_and(is_ready);
        space.until::<Pod>(&started.name, "the static pod", ready).await?;
        Ok(started)
    }
}

impl Drop for StaticPod {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.manifest) {
            eprintln!("a static pod is left behind: {error}");
        }
    }
}
