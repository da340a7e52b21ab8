//! podcov-agent as a sidecar: pods whose images and commands nobody has changed, and which end before anybody collects.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use podcov_e2e::{Ended, Open, Service, Space, program, run, top};
use serde_json::{Value, json};

use crate::examples::bucket;
use crate::live::{STOCK, ask_each, covered, covered_in, ephemeral, live_ways};

/// What has not happened by now never will. No test expects it.
const HUNG: Duration = Duration::from_secs(300);

/// Adds the sidecar to a pod's spec, as the component does.
pub(crate) fn add_sidecar(spec: &mut Value, image: &str) -> Result<()> {
    let text = fs::read_to_string(top().join("examples/sidecar/component/sidecar.yaml"))?;
    let patch: Value = serde_saphyr::from_str(&text)?;
    let from = &patch["spec"]["template"]["spec"];
    spec["shareProcessNamespace"] = from["shareProcessNamespace"].clone();
    spec["initContainers"] = from["initContainers"].clone();
    spec["initContainers"][0]["image"] = json!(image);
    let volumes = spec["volumes"].as_array_mut().context("volumes")?;
    volumes.extend(from["volumes"].as_array().cloned().context("volumes")?);
    Ok(())
}

/// Deploys a stock program and the sidecar.
async fn deploy(space: &Space, service: &Service, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut deployment = space.without_coverdir(service)?;
    let spec = &mut deployment["spec"]["template"]["spec"];
    add_sidecar(spec, &space.agent_image()?)?;
    change(spec);
    space.start(service, deployment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_serves_the_other_containers() -> Result<()> {
    let space = Space::new().await?;
    let stock = Service { replicas: 2, user: "65532", ..STOCK };
    // Beside it one that is no Go program.
    let mut shell = space.container(&Service::WRITES)?;
    shell["name"] = json!("shell");
    shell["command"] = json!(["sleep", "1000"]);
    for field in ["ports", "volumeMounts", "env"] {
        shell[field] = json!([]);
    }
    shell.as_object_mut().context("a container")?.remove("readinessProbe");
    deploy(&space, &stock, |spec| spec["containers"].as_array_mut().unwrap().push(shell)).await?;
    ask_each(&space, "stock").await?;
    let live = format!("--live --live-image {}", space.busybox()?);
    for args in ["", &live] {
        let collected = space.run("podcov-collect", args).await?;
        ensure!(collected.code == 0 && collected.stderr.is_empty(), "{args}: {collected:?}");
        assert!(collected.stdout.contains("4 files of 2 containers"), "{}", collected.stdout);
        assert_eq!(live_ways(&space)?, ["sidecar"; 2]);
        assert!(covered(&space, "stock").await?.len() > 10);
        let manifest = space.manifest()?;
        assert_eq!(manifest["containers"][0]["container"], "app");
    }
    for pod in space.pods("stock").await? {
        assert_eq!(ephemeral(&pod), [""; 0], "the sidecar has read it");
    }
    // Once more: the same files.
    let again = space.run("podcov-collect", "--accumulate").await?;
    ensure!(again.code == 0 && again.stderr.is_empty(), "{again:?}");
    assert!(again.stdout.contains("4 files of 2 containers"), "{}", again.stdout);
    Ok(())
}

/// A sidecar without the right to read the program: podcov-collect says so, and with --live reads it in another way.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_sidecar_must_not_read_is_named() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &Service { user: "65532", ..STOCK }, |spec| {
        spec["initContainers"][0]["securityContext"] =
            json!({"runAsUser": 1234, "capabilities": {"drop": ["ALL"]}});
    })
    .await?;
    let refused = space.run("podcov-collect", "").await?;
    assert_eq!(refused.code, 4, "{refused:?}");
    for words in
        ["no snapshot could be taken: 1 process must not be read: ", "(/app/service)", "only the same user"]
    {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    let live = space.run("podcov-collect", &format!("--live --live-image {}", space.busybox()?)).await?;
    ensure!(live.code == 0, "{live:?}");
    assert_eq!(live_ways(&space)?, ["ephemeral"]);
    Ok(())
}

/// The same user needs no capability.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_user_is_enough_where_the_node_allows_it() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &Service { user: "65532", ..STOCK }, |spec| {
        spec["initContainers"][0]["securityContext"] =
            json!({"runAsUser": 65532, "runAsNonRoot": true, "capabilities": {"drop": ["ALL"]}});
        spec["containers"][0]["securityContext"] = json!({"capabilities": {"drop": ["ALL"]}});
    })
    .await?;
    let collected = space.run("podcov-collect", "").await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    assert_eq!(live_ways(&space)?, ["sidecar"]);
    Ok(())
}

/// The process that was killed is in the report with its last snapshot, and so is the one that followed it.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_killed_loses_the_last_interval_alone() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { env: &[("END", "kill"), ("END_AFTER", "4s")], ..STOCK };
    deploy(&space, &service, |spec| {
        // Where it notes that it has ended.
        spec["containers"][0]["workingDir"] = json!("/ended");
        spec["containers"][0]["volumeMounts"] = json!([{"name": "ended", "mountPath": "/ended"}]);
        spec["volumes"].as_array_mut().unwrap().push(json!({"name": "ended", "emptyDir": {}}));
    })
    .await?;
    let restarted = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        statuses.into_iter().flatten().any(|status| status.restart_count == 1 && status.ready)
    };
    space.until::<Pod>(&space.pod("stock").await?, "the container's restart", restarted).await?;
    let collected = space.run("podcov-collect", "").await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    let lost =
        "container app: 1 process ended without writing counters; at most what it had counted in its last ";
    assert!(collected.stderr.contains(lost), "{}", collected.stderr);
    assert!(!collected.stderr.contains("restarted"), "{}", collected.stderr);
    let live = &space.manifest()?["containers"][0]["live"];
    let unread = live.as_array().context("live")?.iter().filter_map(|process| process["unread"].as_u64());
    let unread: Vec<u64> = unread.collect();
    assert!(unread.len() == 1 && live.as_array().map(Vec::len) == Some(2), "{live:#}");
    Ok(())
}

/// Applies examples/sidecar/job with images that are there, and what is to end it, after a change of its pod's spec.
async fn apply_job(
    space: &Space,
    end: &str,
    with_coverdir: bool,
    change: impl FnOnce(&mut Value) -> Result<()>,
) -> Result<()> {
    let folder = space.dir().join("examples/sidecar");
    let copied = Command::new("cp").arg("-r").arg(top().join("examples")).arg(space.dir()).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let image = space.container(&Service { user: "65532", ..STOCK })?["image"].clone();
    let overlay = folder.join("job/kustomization.yaml");
    let mut text = fs::read_to_string(&overlay)?;
    if !with_coverdir {
        ensure!(text.contains("patches:\n  - path: coverage.yaml\n"), "{text}");
        text = text.replace("patches:\n  - path: coverage.yaml\n", "");
    }
    text += &format!(
        "namespace: {}\nimages:\n  - {{name: podcov-agent, newName: {}}}\n  - {{name: batch, newName: {}}}\n",
        space.name,
        space.agent_image()?,
        image.as_str().context("an image")?
    );
    fs::write(overlay, text)?;
    let mut built = space.kubectl();
    let built = built.args(["kustomize"]).arg(folder.join("job")).output().await?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let mut job: Value = serde_saphyr::from_str(&String::from_utf8(built.stdout)?)?;
    let container = &mut job["spec"]["template"]["spec"]["containers"][0];
    let mut env = container["env"].as_array().cloned().unwrap_or_default();
    env.extend([json!({"name": "END", "value": end}), json!({"name": "END_AFTER", "value": "4s"})]);
    if !with_coverdir {
        // Where it notes that it has ended.
        container["workingDir"] = json!("/tmp");
        container["volumeMounts"] = json!([{"name": "tmp", "mountPath": "/tmp"}]);
        job["spec"]["template"]["spec"]["volumes"]
            .as_array_mut()
            .context("volumes")?
            .push(json!({"name": "tmp", "emptyDir": {}}));
    }
    job["spec"]["template"]["spec"]["containers"][0]["env"] = json!(env);
    change(&mut job["spec"]["template"]["spec"])?;
    space.create::<Job>(job).await?;
    Ok(())
}

/// podcov-collect, which reads the bucket through a port-forward.
async fn from_bucket(space: &Space) -> Result<Ended> {
    let mut test = space.command("podcov-test", ["service/storage", "8080", "--", "sh", "-c"]);
    let collect = program("podcov-collect").display().to_string();
    test.arg(format!(
        "STORAGE_EMULATOR_HOST=http://$PODCOV_ADDR exec {collect} --run-id '' --from gs://coverage/e2e"
    ));
    run(test).await
}

/// Where the pods upload to.
async fn storage(space: &Space) -> Result<()> {
    bucket(space).await?;
    space
        .create::<ConfigMap>(
            json!({"metadata": {"name": "podcov"}, "data": {"PODCOV_STORAGE": "gs://coverage/e2e"}}),
        )
        .await?;
    space
        .create::<Secret>(json!({
            "metadata": {"name": "podcov"}, "stringData": {"STORAGE_EMULATOR_HOST": "http://storage:8080"}
        }))
        .await?;
    Ok(())
}

async fn finished_job(space: &Space) -> Result<String> {
    let ended = |job: Option<&Job>| {
        let conditions = job.and_then(|job| job.status.as_ref()?.conditions.as_ref());
        let mut conditions = conditions.into_iter().flatten();
        conditions.any(|one| ["Complete", "Failed"].contains(&one.type_.as_str()) && one.status == "True")
    };
    space.until::<Job>("batch", "the Job's end", ended).await?;
    job_pod(space).await
}

async fn job_pod(space: &Space) -> Result<String> {
    let pods = space.api::<Pod>().list(&ListParams::default().labels("job-name=batch")).await?.items;
    let [pod] = &pods[..] else { anyhow::bail!("{} pods", pods.len()) };
    Ok(pod.name_any())
}

/// What main does at its start: more than the initialization of the packages.
async fn has_main(space: &Space, pod: &str) -> Result<BTreeSet<String>> {
    let blocks = covered_in(&[space.collected(pod, "app")]).await?;
    ensure!(blocks.len() > 3, "{blocks:?}");
    Ok(blocks)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_ends_loses_nothing_or_its_last_interval() -> Result<()> {
    for (end, with_coverdir) in [("exit 0", true), ("exit 0", false), ("kill", true)] {
        let space = Space::new().await?;
        storage(&space).await?;
        apply_job(&space, end, with_coverdir, |_| Ok(())).await?;
        let pod = finished_job(&space).await?;
        let collected = from_bucket(&space).await?;
        let is_whole = end != "kill" && with_coverdir;
        let lost =
            "ended without writing counters to /coverage/app; at most what it had counted in its last ";
        assert_eq!(collected.stderr.contains(lost), !is_whole, "{end}: {collected:?}");
        assert_eq!(collected.code, if is_whole { 0 } else { 4 }, "{end}: {collected:?}");
        // The snapshot that the program's own file has replaced is one without counters.
        let files = if is_whole { "3 files of 1 container" } else { "2 files of 1 container" };
        assert!(collected.stdout.contains(files), "{end}: {}", collected.stdout);
        has_main(&space, &pod).await?;
    }
    Ok(())
}

/// Without a storage, as long as another container of the pod runs.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_kept_until_it_is_collected() -> Result<()> {
    for with_coverdir in [true, false] {
        let space = Space::new().await?;
        let image = space.busybox()?;
        apply_job(&space, "exit 0", with_coverdir, |spec| {
            let other = json!({
                "name": "other", "image": image, "command": ["sleep", "1000"],
                "securityContext": {"runAsUser": 65532}
            });
            spec["containers"].as_array_mut().context("containers")?.push(other);
            spec["terminationGracePeriodSeconds"] = json!(0);
            Ok(())
        })
        .await?;
        let runs = |job: Option<&Job>| job.and_then(|job| job.status.as_ref()?.active) == Some(1);
        space.until::<Job>("batch", "the Job's pod", runs).await?;
        let pod = job_pod(&space).await?;
        let ended = |pod: Option<&Pod>| {
            let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
            let mut app = statuses.into_iter().flatten().filter(|status| status.name == "app");
            app.any(|app| app.state.as_ref().is_some_and(|state| state.terminated.is_some()))
        };
        space.until::<Pod>(&pod, "the end of its program", ended).await?;
        let mut blocks = Vec::new();
        for _ in 0..2 {
            let collected = space.run("podcov-collect", "--run-id= -l job-name=batch").await?;
            let lost = "container app: 1 process ended without writing counters";
            assert_eq!(collected.stderr.contains(lost), !with_coverdir, "{collected:?}");
            assert_eq!(collected.code, if with_coverdir { 0 } else { 4 }, "{collected:?}");
            assert!(collected.stdout.contains("2 files of 1 container"), "{}", collected.stdout);
            assert_eq!(live_ways(&space)?, ["sidecar"]);
            blocks.push(has_main(&space, &pod).await?);
        }
        assert_eq!(blocks[0], blocks[1]);
    }
    Ok(())
}

/// The sidecar reads nothing between the pod's start and its end but what podcov-collect asks for, and uploads nothing before
/// it is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_stopped_uploads_what_the_program_had_counted() -> Result<()> {
    for exits_cleanly in [false, true] {
        let space = Space::new().await?;
        storage(&space).await?;
        let env: &[_] = if exits_cleanly { &[("ON_TERM", "end")] } else { &[] };
        // What is in its GOCOVERDIR is copied by its shell.
        let tools = if exits_cleanly { Service::WRITES.tools } else { &[] };
        deploy(&space, &Service { user: "65532", env, tools, ..STOCK }, |spec| {
            spec["terminationGracePeriodSeconds"] = json!(60);
            let command = spec["initContainers"][0]["command"].as_array_mut().expect("a command");
            command.push(json!("--every=100000"));
            if exits_cleanly {
                let app = &mut spec["containers"][0];
                let variable = json!({"name": "GOCOVERDIR", "value": "/coverage"});
                app["env"].as_array_mut().expect("variables").push(variable);
                app["volumeMounts"] = json!([{"name": "podcov", "mountPath": "/coverage", "subPath": "app"}]);
            }
        })
        .await?;
        ask_each(&space, "stock").await?;
        let pod = space.pod("stock").await?;
        let collected = space.run("podcov-collect", "").await?;
        ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
        let before = covered(&space, "stock").await?;
        assert!(before.len() > 10, "{before:?}");
        let nothing = from_bucket(&space).await?;
        assert!(nothing.stderr.contains("no coverage found at gs://coverage/e2e"), "{nothing:?}");

        space.api::<Pod>().delete(&pod, &DeleteParams::default()).await?;
        space.until::<Pod>(&pod, "the pod's end", |pod: Option<&Pod>| pod.is_none()).await?;
        let collected = from_bucket(&space).await?;
        let lost =
            "ended without writing counters to /coverage/app; at most what it had counted in its last ";
        assert_eq!(collected.stderr.contains(lost), !exits_cleanly, "{collected:?}");
        assert_eq!(collected.code, if exits_cleanly { 0 } else { 4 }, "{collected:?}");
        let after = covered_in(&[space.collected(&pod, "app")]).await?;
        let more: Vec<_> = after.difference(&before).collect();
        assert!(before.is_subset(&after), "{before:?} {after:?}");
        // What handled the stop signal.
        assert_eq!(!more.is_empty(), exits_cleanly, "{more:?}");
    }
    Ok(())
}

/// A pod that is deleted without any grace: what was uploaded before is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_killed_loses_the_last_interval_alone() -> Result<()> {
    let space = Space::new().await?;
    storage(&space).await?;
    deploy(&space, &Service { user: "65532", ..STOCK }, |_| ()).await?;
    let pod = space.pod("stock").await?;
    let open = Open::new(&space, &format!("pod/{pod} main")).await?;
    ensure!(open.ask("NAME").await?.trim_end() == pod);
    open.close().await?;
    let before = space.run("podcov-collect", "").await?;
    ensure!(before.code == 0, "{before:?}");
    let before = covered(&space, "stock").await?;
    // What was counted is uploaded at the next interval.
    let uploaded = async {
        loop {
            let collected = from_bucket(&space).await?;
            if collected.code == 0 && covered(&space, "stock").await? == before {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(HUNG, uploaded).await.context("never uploaded")??;
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    space.api::<Pod>().delete(&pod, &now).await?;
    space.another_pod("stock", &pod).await?;
    // The new one is uploaded at its first interval.
    let both = async {
        while !from_bucket(&space).await?.stdout.contains(" containers in ") {}
        anyhow::Ok(())
    };
    tokio::time::timeout(HUNG, both).await.context("the new pod was never uploaded")??;
    assert!(before.is_subset(&covered_in(&[space.collected(&pod, "app")]).await?));
    Ok(())
}
