//! `podcov-collect --dry-run` on a real Kubernetes: it tells what the run after it does, and changes no pod.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use podcov_e2e::{Service, Space};
use serde_json::Value;

use crate::live::{STOCK, ephemeral};

/// The objects of all pods, without what the kubelet and the clock change.
async fn specs(space: &Space, app: &str) -> Result<Vec<Value>> {
    let spec = |pod: &Pod| serde_json::to_value(&pod.spec);
    Ok(space.pods(app).await?.iter().map(spec).collect::<Result<_, _>>()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_told_and_no_container_is_added() -> Result<()> {
    let space = Space::new().await?;
    space.start(&STOCK, space.without_coverdir(&STOCK)?).await?;
    space.deploy(&Service::WRITES).await?;
    space.deploy(&Service::UNDER_AGENT).await?;
    let pod_of = async |app: &str| -> Result<String> { space.pod(app).await };
    let (stock, writes, wrapped) =
        (pod_of("stock").await?, pod_of("writes").await?, pod_of("wrapped").await?);
    let line = format!("--live --live-image {}", space.busybox()?);
    let before = specs(&space, "stock").await?;
    let planned = async || -> Result<Value> {
        let ended = space.run("podcov-collect", &format!("--dry-run --json {line}")).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        Ok(serde_json::from_str(&ended.stdout)?)
    };
    let of = |plan: &Value, pod: &str| -> Result<Value> {
        let containers = plan["containers"].as_array().context("containers")?;
        Ok(containers.iter().find(|one| one["pod"] == pod).context("the pod's container")?.clone())
    };
    let plan = planned().await?;
    let unseen = of(&plan, &stock)?;
    assert_eq!(
        (&unseen["memory"]["way"], &unseen["memory"]["adds_container"]),
        (&"ephemeral".into(), &true.into())
    );
    assert!(unseen.get("files").is_none(), "{unseen}");
    assert_eq!(specs(&space, "stock").await?, before);
    assert!(!space.dir().join("reports").exists());
    let by_shell = of(&plan, &writes)?;
    assert_eq!(by_shell["memory"]["way"], "exec-sh-dd");
    assert_eq!(by_shell["memory"]["programs"][0]["mode"], "atomic");
    assert_eq!((&by_shell["files"]["way"], &by_shell["files"]["meta"]), (&"exec-sh-tar".into(), &1.into()));
    let by_agent = of(&plan, &wrapped)?;
    assert_eq!((&by_agent["memory"]["way"], &by_agent["files"]["way"]), (&"agent".into(), &"agent".into()));

    let run = space.run("podcov-collect", &line).await?;
    assert_eq!(run.code, 0, "{run:?}");
    let manifest = space.manifest()?;
    for container in manifest["containers"].as_array().context("containers")? {
        let pod = container["pod"].as_str().context("a pod")?;
        assert_eq!(container["live_way"], of(&plan, pod)?["memory"]["way"], "{container}");
        assert_eq!(container["folder"], of(&plan, pod)?["folder"]);
    }
    // The container that the run has added serves the next dry run.
    let pods = space.pods("stock").await?;
    assert_eq!(ephemeral(&pods[0]).len(), 1, "{}", pods[0].name_any());
    let seen = of(&planned().await?, &stock)?;
    assert_eq!(
        (&seen["memory"]["adds_container"], &seen["memory"]["programs"][0]["mode"]),
        (&false.into(), &"set".into())
    );
    Ok(())
}
