//! The examples with podcov-agent, as their users run them: `skaffold run --profile coverage` in their folders.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, Service as PodService};
use kube::api::ListParams;
use podcov_e2e::{Ended, Space, as_go_says, go_percent, program, run};
use serde_json::json;

use crate::skaffold::{copy_examples, runner};

/// A copy of an example whose hooks find the programs built already.
fn copy(space: &Space, example: &str) -> Result<PathBuf> {
    copy_examples(space)?;
    let folder = space.dir().join("examples").join(example);
    let config = folder.join("skaffold.yaml");
    let text = fs::read_to_string(&config)?;
    let build = "                  - cargo\n                  - build\n";
    ensure!(text.contains(build), "no hook that builds");
    fs::write(config, text.replace(build, "                  - \"true\"\n"))?;
    Ok(folder)
}

/// Runs it, behind a command if one is given.
async fn skaffold_run(
    space: &Space,
    example: &str,
    behind: &[&str],
    variables: &[(&str, &str)],
) -> Result<Ended> {
    let folder = copy(space, example)?;
    let runner = runner();
    let words = behind.iter().map(PathBuf::from).chain([runner]).collect::<Vec<_>>();
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]).args(["run", "--profile", "coverage", "--namespace", &space.name]);
    command.args(["--kube-context", &space.context, "--default-repo", &space.registry]);
    command
        .current_dir(folder)
        .env("PODCOV_AGENT_IMAGE", space.agent_image()?)
        .envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    run(command).await
}

/// The files of an image, but for folders.
fn files_of(image: &str) -> Result<Vec<String>> {
    let crane = Command::new("crane").args(["export", image, "-"]).output()?;
    ensure!(crane.status.success(), "crane export {image}: {}", String::from_utf8_lossy(&crane.stderr));
    let mut archive = tar::Archive::new(&crane.stdout[..]);
    let mut files = Vec::new();
    for entry in archive.entries()? {
        let entry = entry?;
        if !entry.header().entry_type().is_dir() {
            files.push(entry.path()?.display().to_string());
        }
    }
    files.sort();
    Ok(files)
}

/// Row S4: a wrapper that uploads when its program has ended.
#[tokio::test(flavor = "multi_thread")]
async fn scaled_to_zero_and_read_from_the_bucket() -> Result<()> {
    let space = Space::new().await?;
    // The bucket, in the cluster.
    space
        .create::<Deployment>(json!({
            "metadata": {"name": "storage"},
            "spec": {"selector": {"matchLabels": {"app": "storage"}}, "template": {
                "metadata": {"labels": {"app": "storage"}},
                "spec": {"containers": [{
                    "name": "gcs", "image": space.gcs()?, "args": ["-listen", ":8080", "-bucket", "coverage"],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
                }]}
            }}
        }))
        .await?;
    space
        .create::<PodService>(json!({
            "metadata": {"name": "storage"},
            "spec": {"selector": {"app": "storage"}, "ports": [{"port": 80, "targetPort": 8080}]}
        }))
        .await?;
    space.rolled_out("storage").await?;
    // By the pod's address: nothing resolves services' names in the tests' cluster.
    let pods = space.pods("storage").await?;
    let address = pods[0].status.as_ref().and_then(|status| status.pod_ip.clone()).context("no address")?;
    let host = format!("http://{address}:8080");
    space
        .create::<Secret>(
            json!({"metadata": {"name": "storage"}, "stringData": {"STORAGE_EMULATOR_HOST": host}}),
        )
        .await?;

    // The last hook reads the bucket from here, so through a port-forward.
    let test = program("podcov-test").display().to_string();
    let behind = [
        &test,
        "--context",
        &space.context,
        "--namespace",
        &space.name,
        "service/storage",
        "80",
        "--",
        "sh",
        "-c",
        "STORAGE_EMULATOR_HOST=http://$PODCOV_ADDR exec \"$@\"",
        "sh",
    ];
    let ended = skaffold_run(&space, "wrapper", &behind, &[("PODCOV_STORAGE", "gs://coverage/e2e")]).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);

    let image = format!("{}/wrapper", space.registry);
    let tags = Command::new("crane").args(["ls", &image]).output()?;
    let tags = String::from_utf8(tags.stdout)?;
    let tag = tags.lines().next_back().context("no tag")?;
    assert_eq!(files_of(&format!("{image}:{tag}"))?, ["podcov-agent", "wrapper"]);

    let left =
        space.api::<Pod>().list(&ListParams::default().labels("app.kubernetes.io/name=wrapper")).await?;
    assert_eq!(left.items.len(), 0);
    let reports = space.dir().join("examples/wrapper/reports/coverage");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(reports.join("manifest.json"))?)?;
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    let containers = manifest["containers"].as_array().context("containers")?;
    assert_eq!(containers.len(), 2);
    assert!(containers.iter().all(|container| container["way"] == "storage"));
    let folders = containers.iter().filter_map(|container| container["folder"].as_str());
    as_go_says(&ended.stdout, &go_percent(folders.map(|folder| reports.join(folder)))?)
}

/// Row S3: a test binary's profile and that of unit tests in one report.
#[tokio::test(flavor = "multi_thread")]
async fn system_and_unit_tests_in_one_report() -> Result<()> {
    let space = Space::new().await?;
    let ended = skaffold_run(&space, "system", &[], &[]).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    let reports = space.dir().join("examples/system/reports");
    assert!(fs::read_to_string(reports.join("coverage.html"))?.starts_with("<!DOCTYPE html>"));
    // What goes to Codecov is what Go's own tool reads, with the same total as podcov-report gives the inputs.
    let total = |text: &str| -> Option<String> {
        let line = text.lines().next_back()?;
        Some(line.split_whitespace().find(|word| word.ends_with('%'))?.to_owned())
    };
    let go = Command::new("go")
        .args(["tool", "cover", "-func=reports/coverage.txt"])
        .current_dir(space.dir().join("examples/system"))
        .output()?;
    let report = Command::new(program("podcov-report"))
        .args(["func", "coverage", "unit.out"])
        .current_dir(&reports)
        .output()?;
    let [go, report] = [go, report].map(|output| total(&String::from_utf8_lossy(&output.stdout)));
    assert!(go.is_some());
    assert_eq!(go, report);
    Ok(())
}
