//! The examples with podcov-agent, as their users run them: `skaffold run --profile coverage` in their folders.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret, Service as PodService};
use kube::api::ListParams;
use podcov_e2e::{Ended, Space, as_go_says, go_percent, program, run};
use serde_json::json;

use crate::skaffold::{copy_examples, skaffold_command};

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

/// Runs the copy, under a wrapper command if one is given.
async fn skaffold_run(
    space: &Space,
    folder: &Path,
    wrapper: &[&str],
    variables: &[(&str, &str)],
) -> Result<Ended> {
    let mut command = skaffold_command(space, folder, wrapper);
    command.env("PODCOV_AGENT_IMAGE", space.agent_image()?).envs(variables.iter().copied());
    run(command).await
}

/// The folders that a whole report has of its two containers, which all came the same way.
fn collected(example: &Path, way: &str) -> Result<Vec<PathBuf>> {
    let reports = example.join("reports/coverage");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(reports.join("manifest.json"))?)?;
    assert_eq!(manifest["complete"], true, "{manifest:#}");
    let containers = manifest["containers"].as_array().context("containers")?;
    assert_eq!(containers.len(), 2);
    assert!(containers.iter().all(|container| container["way"] == way), "{manifest:#}");
    Ok(containers
        .iter()
        .filter_map(|one| one["folder"].as_str())
        .map(|folder| reports.join(folder))
        .collect())
}

/// The percentage in the last line.
fn total(text: &str) -> Result<String> {
    let line = text.lines().next_back().context("no line")?;
    Ok(line.split_whitespace().find(|word| word.ends_with('%')).context("no percentage")?.to_owned())
}

/// What Go's own tool prints for the text profile `reports/coverage.txt`.
fn go_total(example: &Path) -> Result<String> {
    let mut go = Command::new("go");
    let go = go.args(["tool", "cover", "-func=reports/coverage.txt"]).current_dir(example).output()?;
    ensure!(go.status.success(), "go tool cover: {}", String::from_utf8_lossy(&go.stderr));
    total(&String::from_utf8(go.stdout)?)
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

/// podcov-report on an example's own report.
async fn report(example: &Path, args: &[&str]) -> Result<Ended> {
    let mut command = tokio::process::Command::new(program("podcov-report"));
    command.args(args).current_dir(example).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    run(command).await
}

/// Row S2: two services as test binaries, tests as a Job in the cluster, and a gate.
#[tokio::test(flavor = "multi_thread")]
async fn services_tested_by_a_job_and_held_against_a_gate() -> Result<()> {
    let space = Space::new().await?;
    let folder = copy(&space, "services")?;
    let ended = skaffold_run(&space, &folder, &[], &[]).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("--- PASS: TestTotal"), "{}", ended.stdout);

    let pods = space.api::<Pod>().list(&ListParams::default()).await?.items;
    let mut seen: Vec<_> = pods
        .iter()
        .filter_map(|pod| {
            let (labels, status) = (pod.metadata.labels.as_ref()?, pod.status.as_ref()?);
            let restarts: i32 = status.container_statuses.iter().flatten().map(|one| one.restart_count).sum();
            Some((labels.get("app.kubernetes.io/name")?.as_str(), status.phase.as_deref()?, restarts))
        })
        .collect();
    seen.sort_unstable();
    // The agent has started the programs again, not the kubelet.
    assert_eq!(seen, [("cart", "Running", 0), ("catalog", "Running", 0), ("integration", "Succeeded", 0)]);

    for container in collected(&folder, "agent")? {
        let files = fs::read_dir(&container)?.collect::<Result<Vec<_>, _>>()?;
        assert!(!files.is_empty());
        for file in files {
            assert!(file.file_name().to_string_lossy().starts_with("coverprofile."), "{file:?}");
            assert!(fs::read_to_string(file.path())?.starts_with("mode: count\n"), "{file:?}");
        }
    }
    let text = report(&folder, &["textfmt", "-o=reports/coverage.txt"]).await?;
    assert_eq!(text.code, 0, "{}", text.stderr);
    // podcov-collect's summary and what the gate held against the threshold.
    let coverage = format!("coverage: {} of statements", go_total(&folder)?);
    let said = ended.stdout.lines().filter(|line| line.starts_with("coverage: ")).collect::<Vec<_>>();
    assert_eq!(said, [&coverage, &coverage], "{}", ended.stdout);
    assert!(ended.stdout.lines().any(|line| line == "all coverage gates passed"), "{}", ended.stdout);

    let gate = report(&folder, &["gate", "--fail-under", "99.9"]).await?;
    assert_eq!(gate.code, 1, "{}{}", gate.stdout, gate.stderr);

    // Once more, which replaces the pods: the tests reach the new ones, whose coverage is collected.
    let again = skaffold_run(&space, &folder, &[], &[]).await?;
    assert_eq!(again.code, 0, "{}\n{}", again.stdout, again.stderr);
    let said = again.stdout.lines().filter(|line| line.starts_with("coverage: ")).collect::<Vec<_>>();
    assert_eq!(said, [&coverage, &coverage], "{}", again.stdout);
    Ok(())
}

/// Nobody waits for a condition that cannot come any more, and what the failing tests covered is shown.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_yields_its_coverage_and_the_run_fails() -> Result<()> {
    let space = Space::new().await?;
    let folder = copy(&space, "services")?;
    let tests = folder.join("integration/integration_test.go");
    let text = fs::read_to_string(&tests)?;
    ensure!(text.contains("\"2400\\n\""), "no price");
    fs::write(tests, text.replace("\"2400\\n\"", "\"2401\\n\""))?;
    let ended = skaffold_run(&space, &folder, &[], &[]).await?;
    assert_eq!(ended.code, 1, "{}\n{}", ended.stdout, ended.stderr);
    // Had it waited in vain, it would not have shown what the Job says.
    assert!(ended.stdout.contains("--- FAIL: TestPrice"), "{}", ended.stdout);
    let failed = "the tests failed: ./run-tests ended with exit code 1";
    assert!(ended.stdout.contains(failed), "{}", ended.stdout);
    let text = report(&folder, &["textfmt", "-o=reports/coverage.txt"]).await?;
    assert_eq!(text.code, 0, "{}", text.stderr);
    let coverage = format!("coverage: {} of statements", go_total(&folder)?);
    let said = ended.stdout.lines().filter(|line| line.starts_with("coverage: ")).collect::<Vec<_>>();
    // The gate has not been asked.
    assert_eq!(said, [&coverage], "{}", ended.stdout);
    Ok(())
}

/// A program that knows nothing of coverage, from ko's kind of image: no shell, no user in the pod.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_program_whose_memory_is_read() -> Result<()> {
    let space = Space::new().await?;
    let folder = copy(&space, "zero-touch")?;
    let config = folder.join("skaffold.yaml");
    let mut text = fs::read_to_string(&config)?;
    for (what, with) in [
        ("flags: [-cover]\n", format!("flags: [-cover]\n            fromImage: {}\n", space.empty()?)),
        (
            "                  - run\n",
            format!("                  - run\n                  - --live-image={}\n", space.busybox()?),
        ),
    ] {
        ensure!(text.contains(what), "no {what}");
        text = text.replace(what, &with);
    }
    fs::write(config, text)?;
    let ended = skaffold_run(&space, &folder, &[], &[]).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    // The README of the example shows this.
    let readme = fs::read_to_string(folder.join("README.md"))?;
    let (_, shown) = readme.split_once("The hook prints\n\n```\n").context("no output")?;
    let (shown, _) = shown.split_once("```").context("no end")?;
    assert!(ended.stdout.contains(shown), "{shown}\nis not in\n{}", ended.stdout);
    let reports = folder.join("reports/coverage");
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(reports.join("manifest.json"))?)?;
    let containers = manifest["containers"].as_array().context("containers")?;
    assert_eq!((containers.len(), &containers[0]["live_way"]), (1, &json!("ephemeral")));
    let files = reports.join(containers[0]["folder"].as_str().context("a folder")?);
    as_go_says(&ended.stdout, &go_percent([files])?)
}

/// The same project with the profile that podcov-init makes.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_that_podcov_init_makes() -> Result<()> {
    let space = Space::new().await?;
    copy_examples(&space)?;
    let folder = space.dir().join("examples/zero-touch");
    let config = folder.join("skaffold.yaml");
    let text = fs::read_to_string(&config)?;
    let (without, _) = text.split_once("profiles:\n").context("no profile")?;
    fs::write(&config, without)?;
    let mut init = tokio::process::Command::new(program("podcov"));
    init.args(["init", "--write", "--", "go", "test", "-tags=integration", "-count=1", "./integration/..."]);
    init.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    init.kill_on_drop(true);
    let made = run(init).await?;
    assert_eq!(made.code, 0, "{made:?}");
    // The images come from the test's registry.
    let mut text = fs::read_to_string(&config)?;
    for (what, with) in [
        ("flags: [-cover]\n", format!("flags: [-cover]\n            fromImage: {}\n", space.empty()?)),
        (
            "                  - run\n",
            format!("                  - run\n                  - --live-image={}\n", space.busybox()?),
        ),
    ] {
        ensure!(text.contains(what), "no {what} in {text}");
        text = text.replace(what, &with);
    }
    fs::write(&config, text)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program("")].into_iter().chain(std::env::split_paths(&path)))?;
    let mut command = skaffold_command(&space, &folder, &[]);
    command.env("PATH", path);
    let ended = run(command).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    assert!(
        ended.stdout.contains("coverage: 85.0% of statements\n2 files of 1 container"),
        "{}",
        ended.stdout
    );
    Ok(())
}

/// A bucket `coverage`, in the cluster.
pub(crate) async fn bucket(space: &Space) -> Result<()> {
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
            "spec": {"selector": {"app": "storage"}, "ports": [{"port": 8080}]}
        }))
        .await?;
    space.rolled_out("storage").await
}

/// Row S4: a wrapper that uploads when its program has ended.
#[tokio::test(flavor = "multi_thread")]
async fn scaled_to_zero_and_read_from_the_bucket() -> Result<()> {
    let space = Space::new().await?;
    bucket(&space).await?;
    space
        .create::<Secret>(json!({
            "metadata": {"name": "storage"},
            "stringData": {"STORAGE_EMULATOR_HOST": "http://storage:8080"}
        }))
        .await?;

    // The last hook reads the bucket from here, so through a port-forward.
    let test = program("podcov-test").display().to_string();
    let wrapper = [
        &test,
        "--context",
        &space.context,
        "--namespace",
        &space.name,
        "service/storage",
        "8080",
        "--",
        "sh",
        "-c",
        "STORAGE_EMULATOR_HOST=http://$PODCOV_ADDR exec \"$@\"",
        "sh",
    ];
    let folder = copy(&space, "wrapper")?;
    let ended = skaffold_run(&space, &folder, &wrapper, &[("PODCOV_STORAGE", "gs://coverage/e2e")]).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);

    let image = format!("{}/wrapper", space.registry);
    let tags = Command::new("crane").args(["ls", &image]).output()?;
    let tags = String::from_utf8(tags.stdout)?;
    let tag = tags.lines().next_back().context("no tag")?;
    assert_eq!(files_of(&format!("{image}:{tag}"))?, ["podcov-agent", "wrapper"]);

    let left =
        space.api::<Pod>().list(&ListParams::default().labels("app.kubernetes.io/name=wrapper")).await?;
    assert_eq!(left.items.len(), 0);
    as_go_says(&ended.stdout, &go_percent(collected(&folder, "storage")?)?)
}

/// Row S3: a test binary's profile and that of unit tests in one report.
#[tokio::test(flavor = "multi_thread")]
async fn system_and_unit_tests_in_one_report() -> Result<()> {
    let space = Space::new().await?;
    let folder = copy(&space, "system")?;
    let ended = skaffold_run(&space, &folder, &[], &[]).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    let reports = folder.join("reports");
    assert!(fs::read_to_string(reports.join("coverage.html"))?.starts_with("<!DOCTYPE html>"));
    // What goes to Codecov is what Go's own tool reads, with the same total as podcov-report gives the inputs.
    let func = report(&folder, &["func", "reports/coverage", "reports/unit.out"]).await?;
    assert_eq!(go_total(&folder)?, total(&func.stdout)?, "{}", func.stderr);
    Ok(())
}
