//! `podcov-collect` and static pods, which the API server cannot change: no ephemeral container is added to them.

use anyhow::{Result, ensure};
use podcov_e2e::{Service, Space, StaticPod};
use serde_json::json;

use crate::live::{STOCK, ask_each, covered, ephemeral, live_ways};
use crate::sidecar::add_sidecar;

/// Whether static pods can be made; prints it if not.
fn can_be_made() -> bool {
    let can = StaticPod::can_be_made();
    if !can {
        eprintln!("skipped: static pods: PODCOV_E2E_STATIC_PODS is not set");
    }
    can
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_in_the_image_of_a_static_pod_is_enough() -> Result<()> {
    if !can_be_made() {
        return Ok(());
    }
    let space = Space::new().await?;
    let service = Service { tools: &["sh", "dd"], ..STOCK };
    let _pod = StaticPod::start(&space, &service, |_| ()).await?;
    ask_each(&space, "stock").await?;
    let collected = space.run("podcov-collect", &format!("--live --live-image {}", space.busybox()?)).await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    assert!(collected.stdout.contains("2 files of 1 container"), "{}", collected.stdout);
    assert_eq!(live_ways(&space)?, ["exec-sh-dd"]);
    assert!(covered(&space, "stock").await?.len() > 10);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_pod_without_a_shell_is_named_with_what_it_needs() -> Result<()> {
    if !can_be_made() {
        return Ok(());
    }
    let space = Space::new().await?;
    let pod = StaticPod::start(&space, &STOCK, |_| ()).await?;
    let image = space.busybox()?;
    let collected = space.run("podcov-collect", &format!("--live --live-image {image}")).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    let why = "the pod is a static one, which takes no ephemeral containers: its image needs sh and dd, or the pod \
               podcov-agent as a sidecar";
    let error = format!("pod {}/{} container app: the image has no shell; ", space.name, pod.name);
    assert!(collected.stderr.contains(&error) && collected.stderr.contains(why), "{}", collected.stderr);
    let doctor = space.run("podcov-doctor", &format!("--live-image {image}")).await?;
    assert!(doctor.code == 1 && doctor.stdout.contains(why), "{doctor:?}");
    assert_eq!(ephemeral(&space.pods("stock").await?[0]), [""; 0]);
    Ok(())
}

/// What that message advises.
#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_reads_the_programs_of_a_static_pod() -> Result<()> {
    if !can_be_made() {
        return Ok(());
    }
    let space = Space::new().await?;
    let agent = space.agent_image()?;
    let _pod = StaticPod::start(&space, &STOCK, |spec| {
        add_sidecar(spec, &agent).expect("the component has a sidecar");
        // A static pod may refer to no other object.
        spec["initContainers"][0]["envFrom"] = json!([]);
    })
    .await?;
    ask_each(&space, "stock").await?;
    let collected = space.run("podcov-collect", "").await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    assert_eq!(live_ways(&space)?, ["sidecar"]);
    assert!(covered(&space, "stock").await?.len() > 10);
    Ok(())
}

/// The UID that such a pod's containers are told is not that of the API server's object.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_of_a_static_pod_is_known_by_its_uid() -> Result<()> {
    if !can_be_made() {
        return Ok(());
    }
    let space = Space::new().await?;
    let _pod = StaticPod::start(&space, &Service::UNDER_AGENT, |spec| {
        let uid = json!({"name": "PODCOV_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}});
        spec["containers"][0]["env"].as_array_mut().expect("variables").push(uid);
    })
    .await?;
    let collected = space.run("podcov-collect", "--live").await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    assert_eq!(live_ways(&space)?, ["agent"]);
    Ok(())
}
