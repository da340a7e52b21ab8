//! podcov-inject on a real Kubernetes: what it makes of manifests is admitted, and coverage comes of it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use podcov_e2e::{Service, Space, start};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::live::{STOCK, ask_each};

/// Writes to handlers of signals as a user of its own: the folder takes no fsGroup.
const WRITES: Service = Service { user: "65532", ..Service::WRITES };

/// Deploys manifests after podcov-inject, and waits until their deployment is ready.
async fn deploy(space: &Space, args: &[&str], deployment: &Value, name: &str) -> Result<()> {
    let mut deployment = deployment.clone();
    deployment["apiVersion"] = "apps/v1".into();
    deployment["kind"] = "Deployment".into();
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 70, "name": "tcp", "targetPort": "main"}]}
    });
    let (deployment, service) = (serde_saphyr::to_string(&deployment)?, serde_saphyr::to_string(&service)?);
    let mut command = space.command("podcov", ["inject"].iter().chain(args));
    command.stdin(Stdio::piped());
    let mut inject = start(command)?;
    let mut stdin = inject.stdin().context("a pipe")?;
    stdin.write_all(format!("---\n{service}---\n{deployment}").as_bytes()).await?;
    drop(stdin);
    let injected = inject.end().await?;
    ensure!(injected.code == 0 && injected.stderr.is_empty(), "{injected:?}");
    ensure!(injected.stdout.starts_with(&format!("---\n{service}---\n")), "{}", injected.stdout);

    let mut kubectl = space.kubectl();
    kubectl.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut apply = start(kubectl)?;
    let mut stdin = apply.stdin().context("a pipe")?;
    stdin.write_all(injected.stdout.as_bytes()).await?;
    drop(stdin);
    let applied = apply.end().await?;
    ensure!(applied.code == 0, "{applied:?}\n{}", injected.stdout);
    space.rolled_out(name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_of_a_manifest_that_names_no_folder() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &["deployment/writes"], &space.without_coverdir(&WRITES)?, "writes").await?;
    ask_each(&space, "writes").await?;
    let collected = space.run("podcov-collect", "--signal USR1").await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    assert!(collected.stdout.contains("2 files of 1 container"), "{collected:?}");
    assert_eq!(space.manifest()?["containers"][0]["way"], "exec-sh-tar");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reads_a_program_that_nobody_has_changed() -> Result<()> {
    let space = Space::new().await?;
    let image = space.agent_image()?;
    let args = ["--sidecar", "--image", &image, "-l", "app=stock"];
    deploy(&space, &args, &space.without_coverdir(&STOCK)?, "stock").await?;
    ask_each(&space, "stock").await?;
    let collected = space.run("podcov-collect", "").await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    let container = &space.manifest()?["containers"][0];
    assert_eq!((&container["container"], &container["live_way"]), (&"app".into(), &"sidecar".into()));
    Ok(())
}
