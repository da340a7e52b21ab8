//! podcov-test's port-forward.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use podcov_e2e::{Open, Service, Space};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_both_ways() -> Result<()> {
    const BYTES: usize = 100_000_000;
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let open = Open::new(&space, "service/writes 70").await?;

    let mut down = open.connect().await?;
    down.write_all(format!("SEND {BYTES}\n").as_bytes()).await?;
    let mut came = Vec::with_capacity(BYTES);
    down.read_to_end(&mut came).await?;
    assert_eq!(came.len(), BYTES);
    // The program sends the numbers from 0 to 255 again and again, at the start of each of its writes.
    let whole =
        came.chunks(32 * 1024).all(|chunk| chunk.iter().enumerate().all(|(i, &byte)| byte == i as u8));
    assert!(whole, "what came is not what was sent");

    let mut up = open.connect().await?;
    up.write_all(format!("TAKE {BYTES}\n").as_bytes()).await?;
    up.write_all(&came).await?;
    let mut answer = String::new();
    up.read_to_string(&mut answer).await?;
    assert_eq!(answer, format!("taken {BYTES}\n"));

    // And what goes up comes back as it was, both at once.
    assert!(
        open.echo(&came[..BYTES / 4]).await? == came[..BYTES / 4],
        "what comes back is not what was sent"
    );
    assert_eq!(open.close().await?, "");
    Ok(())
}

/// containerd ends the connection before the kubelet says that nobody listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let tested = space.run("podcov-test", "--timeout 1 deployment/writes 7999 -- true").await?;
    assert_eq!(tested.code, 3, "{tested:?}");
    assert!(tested.stderr.contains("connection refused"), "{tested:?}");
    Ok(())
}

/// What was sent to a port that refused is left in the kubelet, which must hold up nothing that comes later.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_listens_late() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { tools: &["sh", "sleep"], ..Service::WRITES };
    let mut deployment = space.deployment(&service)?;
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["command"] = json!(["sh", "-c", "sleep 3; exec /app/service"]);
    // Nothing says whether it listens.
    container["readinessProbe"] = json!(null);
    space.start(&service, deployment).await?;
    // Less than it takes until a dead connection is noticed.
    let tested = space.run("podcov-test", "--timeout 19 --http /ready service/writes 70 -- true").await?;
    assert_eq!((tested.code, tested.stderr.as_str()), (0, ""), "{tested:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connections_at_once() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let open = Open::new(&space, "service/writes 70").await?;
    let echo = async |n: u8| {
        let sent = vec![n; 100_000];
        ensure!(open.echo(&sent).await? == sent, "what comes back is not what was sent");
        anyhow::Ok(())
    };
    try_join_all((0..200).map(echo)).await?;
    assert_eq!(open.close().await?, "");
    Ok(())
}

/// An answer is not cut short by its client's half-close, though containerd, once told of one, gives it a second.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_close() -> Result<()> {
    const BYTES: usize = 100_000_000;
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let open = Open::new(&space, "service/writes 70").await?;
    assert_eq!(open.half_closed(&format!("SEND {BYTES}\n")).await?.len(), BYTES);
    assert_eq!(open.close().await?, "");
    Ok(())
}

/// The pods go on serving while they end, as every service does that loses no request in a rollout.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_loses_no_request() -> Result<()> {
    let space = Space::new().await?;
    let serves_on = Service { env: &[("ON_TERM", "ignore")], replicas: 2, ..Service::WRITES };
    let mut deployment = space.deployment(&serves_on)?;
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(10);
    space.start(&serves_on, deployment).await?;
    let open = Open::new(&space, "service/writes 70").await?;
    let old: BTreeSet<String> = names(&space.pods("writes").await?);

    let rollout = async {
        let annotations = json!({"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}});
        let params = PatchParams::default();
        space.api::<Deployment>().patch("writes", &params, &Patch::Strategic(annotations)).await?;
        space.rolled_out("writes").await?;
        for name in &old {
            space.until::<Pod>(name, "the old pods' end", |pod: Option<&Pod>| pod.is_none()).await?;
        }
        anyhow::Ok(())
    };
    let asking = async {
        // Until a new pod answers, and then as long as an old one is there.
        let mut answered = 0;
        loop {
            let name = open.ask("NAME").await?;
            ensure!(!name.is_empty(), "an empty answer after {answered}");
            answered += 1;
            if !old.contains(name.trim()) && names(&space.pods("writes").await?).is_disjoint(&old) {
                return Ok(answered);
            }
        }
    };
    let ((), answered) = tokio::try_join!(rollout, asking)?;
    assert!(answered > 1);
    assert_eq!(open.close().await?, "");
    Ok(())
}

fn names(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect()
}
