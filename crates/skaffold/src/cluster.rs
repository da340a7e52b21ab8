//! Deploying to a cluster by the programs that Skaffold uses: ko as a library there, kubectl as here.

use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use crate::label::documents;
use crate::run::say;
use crate::{Artifact, Builder, Deployer, Ko};

/// A cluster, by way of kubectl and ko, both on PATH.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The kubeconfig's context.
    pub context: String,
    /// The namespace of objects that name none; empty for the context's.
    pub namespace: String,
    /// The registry, and path there, that images are pushed to.
    pub repository: String,
}

impl Deployer for Cluster {
    /// Builds the image and pushes it. Gives its name with its digest, or with a tag of this run where a command of the
    /// user's has built it.
    async fn build(&self, artifact: &Artifact, run_id: &str) -> Result<String> {
        let repository = repository(&self.repository, &artifact.image)?;
        let ko_artifact = match &artifact.builder {
            Builder::Ko(ko) => ko,
            Builder::Custom { command, dir } => {
                return custom(command, dir, format!("{repository}:{run_id}"))
                    .await
                    .with_context(|| format!("artifact {}", artifact.image));
            }
        };
        let work = tempfile::tempdir()?;
        let config = work.path().join(".ko.yaml");
        fs::write(&config, serde_json::to_vec(&ko_config(&artifact.image, ko_artifact))?)?;
        let mut ko = Command::new("ko");
        ko.args(["build", "--bare", "--sbom=none", "--tags", run_id, &ko_artifact.main])
            .current_dir(&ko_artifact.dir);
        ko.env("KO_DOCKER_REPO", repository).env("KO_CONFIG_PATH", &config);
        let output =
            run("ko build", &mut ko, "").await.with_context(|| format!("artifact {}", artifact.image))?;
        Ok(output.trim().to_owned())
    }

    /// Applies the manifests and waits, as Skaffold's status check, until their workloads are rolled out.
    async fn deploy(&self, manifests: &str) -> Result<()> {
        let mut apply = self.kubectl();
        say(run("kubectl apply", apply.args(["apply", "-f", "-"]), manifests).await?.trim_end())?;
        for object in documents(manifests)? {
            let kind = object["kind"].as_str().unwrap_or_default();
            if !matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet") {
                continue;
            }
            let name = format!("{kind}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
            let mut status = self.kubectl();
            if let Some(namespace) = object["metadata"]["namespace"].as_str() {
                status.args(["--namespace", namespace]);
            }
            // Skaffold's own time limit.
            status.args(["rollout", "status", "--timeout=10m", &name]);
            say(run("kubectl rollout status", &mut status, "").await?.lines().last().unwrap_or_default())?;
        }
        Ok(())
    }
}

impl Cluster {
    fn kubectl(&self) -> Command {
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["--context", &self.context]);
        if !self.namespace.is_empty() {
            kubectl.args(["--namespace", &self.namespace]);
        }
        kubectl
    }
}

/// What Skaffold tells ko of an artifact (`pkg/skaffold/build/ko/builder.go`), as the file that tells the program
/// the same. JSON is YAML.
fn ko_config(image: &str, artifact: &Ko) -> serde_json::Value {
    let mut config = json!({"builds": [{
        "id": image,
        "dir": ".",
        "main": artifact.main,
        "flags": artifact.flags,
    }]});
    if let Some(base) = &artifact.base {
        config["defaultBaseImage"] = base.as_str().into();
    }
    config
}

/// Runs a command of the user's with the environment that Skaffold gives one (`pkg/skaffold/build/custom/script.go`).
async fn custom(command: &str, dir: &Path, image: String) -> Result<String> {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(dir);
    shell.env("IMAGE", &image).env("PUSH_IMAGE", "true").env("BUILD_CONTEXT", dir).env("PLATFORMS", "");
    run(command, &mut shell, "").await?;
    Ok(image)
}

/// Where an image goes that the file names without a registry.
fn repository(default: &str, image: &str) -> Result<String> {
    let host = image.split_once('/').map_or("", |(host, _)| host);
    if host.contains(['.', ':']) {
        bail!(
            "artifact {image}: Skaffold would make another name of it in {default}, which is not done here"
        );
    }
    Ok(format!("{default}/{image}"))
}

/// Runs a command to its end and gives what it printed.
async fn run(name: &str, command: &mut Command, input: &str) -> Result<String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| format!("cannot run {name}"))?;
    let stdin = child.stdin.take();
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that ends without reading says why itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), write);
    let Output { status, stdout, stderr } = output?;
    ensure!(status.success(), "{name}: {status}\n{}", String::from_utf8_lossy(&stderr).trim());
    String::from_utf8(stdout).with_context(|| name.to_owned())
}
