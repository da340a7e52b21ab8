//! Volumes that several pods share, and that outlive them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use podcov_e2e::{Service, Space, as_go_says, go_percent};
use serde_json::json;

/// A folder of the node's, removed with this.
struct NodeFolder(String);

impl NodeFolder {
    fn new(space: &Space) -> Self {
        Self(format!("/tmp/podcov-e2e-{}", space.name))
    }
}

impl Drop for NodeFolder {
    fn drop(&mut self) {
        // Where the node is another machine there is none here.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn deploy(space: &Space, folder: &NodeFolder, replicas: u32) -> Result<()> {
    let service = Service { replicas, ..Service::WRITES };
    let mut deployment = space.deployment(&service)?;
    deployment["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "cov", "hostPath": {"path": folder.0, "type": "DirectoryOrCreate"}}]);
    space.start(&service, deployment).await
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_on_one_folder_of_the_node_count_as_one_set_of_files() -> Result<()> {
    let space = Space::new().await?;
    let folder = NodeFolder::new(&space);
    deploy(&space, &folder, 3).await?;
    let signalled = space.run("podcov-signal", "").await?;
    assert_eq!(signalled.code, 0, "{signalled:?}");
    let collected = space.run("podcov-collect", "").await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    assert!(collected.stderr.contains("is shared by pod "), "{collected:?}");
    // Three counter files and one of meta-data.
    assert!(collected.stdout.ends_with("4 files of 3 containers in reports/coverage\n"), "{collected:?}");
    let pods = space.pods("writes").await?;
    let [with_files, ..] = &pods[..] else { anyhow::bail!("three pods") };
    as_go_says(&collected.stdout, &go_percent([space.collected(&with_files.name_any(), "app")])?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_earlier_pod_left_in_a_volume_does_not_count() -> Result<()> {
    let space = Space::new().await?;
    let folder = NodeFolder::new(&space);
    deploy(&space, &folder, 1).await?;
    assert_eq!(space.run("podcov-signal", "").await?.code, 0);
    let old = space.pod("writes").await?;
    // The pods' status has whole seconds: what was written in the one in which the next pod starts may be of either.
    let written = SystemTime::now().duration_since(UNIX_EPOCH)?;
    tokio::time::sleep(Duration::from_secs(1) - Duration::from_nanos(written.subsec_nanos().into())).await;
    space.api::<Pod>().delete(&old, &DeleteParams::default()).await?;
    let new = space.another_pod("writes", &old).await?;
    space.until::<Pod>(&old, "the end of the old pod", |pod: Option<&Pod>| pod.is_none()).await?;

    assert_eq!(space.run("podcov-signal", "").await?.code, 0);
    let collected = space.run("podcov-collect", "").await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    let words = format!(
        "podcov-collect: 1 counter file of pod {}/{new} container app is older than its pod and was left out; \
         --include-older counts them\n",
        space.name
    );
    assert_eq!(collected.stderr, words);
    assert!(collected.stdout.ends_with("2 files of 1 container in reports/coverage\n"), "{collected:?}");
    let all = space.run("podcov-collect", "--include-older").await?;
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    assert!(all.stdout.ends_with("3 files of 1 container in reports/coverage\n"), "{all:?}");
    Ok(())
}
