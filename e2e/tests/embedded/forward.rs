//! podcov-test's port-forward, as a client of it sees it.

use std::time::Duration;

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::{Open, World, ask, run, start};
use podcov_testbed::{Fault, KubeconfigOptions, Rule};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_target() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let [pod] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
    let set = pod.rsplit_once('-').context("a replica set's pod")?.0;
    let routes = [
        "service/writes 70".to_owned(),
        "svc/writes tcp".to_owned(),
        "deployment/writes main".to_owned(),
        "deploy/writes 7000".to_owned(),
        format!("rs/{set} main"),
        format!("pod/{pod} 7000"),
        format!("default/po/{pod} :main"),
    ];
    for route in routes {
        let open = Open::new(&world, &route).await?;
        assert_eq!(open.ask("NAME").await?.trim(), pod, "{route}");
        assert_eq!(open.close().await?, "", "{route}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_targets_each_with_its_address() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    deploy(&world, &Service { name: "other", ..WRITES }).await?;
    let open = Open::new(&world, "a=svc/writes 70 b=svc/other 70").await?;
    let names = [ask(&open.addresses[0], "NAME").await?, ask(&open.addresses[1], "NAME").await?];
    assert!(names[0].starts_with("writes-") && names[1].starts_with("other-"), "{names:?}");
    open.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_half_closes_gets_its_whole_answer() -> Result<()> {
    const BYTES: usize = 20_000_000;
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let open = Open::new(&world, "svc/writes 70").await?;
    assert_eq!(open.half_closed(&format!("SEND {BYTES}\n")).await?.len(), BYTES);
    open.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn long_transfers_and_many_connections_at_once() -> Result<()> {
    const BYTES: usize = 30_000_000;
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let open = Open::new(&world, "svc/writes 70").await?;

    let up = async {
        let mut stream = open.connect().await?;
        stream.write_all(format!("TAKE {BYTES}\n").as_bytes()).await?;
        stream.write_all(&vec![7; BYTES]).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert_eq!(answer, format!("taken {BYTES}\n"));
        anyhow::Ok(())
    };
    let echo = async |n: u8| {
        let sent = vec![n; 200_000];
        assert!(open.echo(&sent).await? == sent, "what comes back is what was sent");
        anyhow::Ok(())
    };
    let echoes = futures_util::future::try_join_all((0..100).map(echo));
    tokio::try_join!(up, echoes)?;
    assert_eq!(open.close().await?, "");
    Ok(())
}

/// The program answers only to the end of what it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_pod_is_told_of_a_half_close() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let open = Open::new(&world, "svc/writes 70").await?;
    assert_eq!(open.half_closed("COUNT\n12345").await?, b"counted 5\n");
    open.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connections_at_once_are_one_to_the_cluster() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let open = Open::new(&world, "svc/writes 70").await?;
    let answers = futures_util::future::try_join_all((0..200).map(|_| open.ask("NAME"))).await?;
    assert!(answers.iter().all(|answer| answer.starts_with("writes-")), "{answers:?}");
    assert_eq!(world.bed.requests().count("get", "pods/portforward"), 1);
    assert_eq!(open.close().await?, "");
    Ok(())
}

/// SPDY has no flow control here: what one client does not take stands in the way of all that share its connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_stops_nobody_who_comes_later() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let open = Open::new(&world, "svc/writes 70").await?;
    let mut lazy = open.connect().await?;
    const BYTES: usize = 50_000_000;
    lazy.write_all(format!("SEND {BYTES}\n").as_bytes()).await?;
    let mut asked = JoinSet::new();
    while world.bed.requests().count("get", "pods/portforward") == 1 {
        let address = open.addresses[0].clone();
        asked.spawn(async move { ask(&address, "NAME").await });
        // Mostly answered at once. One that is under way just when the lazy one stops the connection waits for that.
        if let Ok(Some(answer)) = timeout(Duration::from_millis(50), asked.join_next()).await {
            assert!(answer??.starts_with("writes-"));
        }
    }
    // And later ones are answered while nobody reads.
    assert!(open.ask("NAME").await?.starts_with("writes-"));
    let mut all = Vec::new();
    lazy.read_to_end(&mut all).await?;
    assert_eq!(all.len(), BYTES);
    while let Some(answer) = asked.join_next().await {
        assert!(answer??.starts_with("writes-"));
    }
    assert_eq!(open.close().await?, "");
    Ok(())
}

/// As one that is behind a proxy which knows WebSockets alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_multiplex_gets_a_websocket_for_each_connection() -> Result<()> {
    const BYTES: usize = 20_000_000;
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let refused = world.bed.fault(Rule::new(Fault::status(400)).upgrade("spdy/3.1"));
    let open = Open::new(&world, "svc/writes 70").await?;
    for _ in 0..3 {
        assert!(open.ask("NAME").await?.starts_with("writes-"));
    }
    assert_eq!(open.half_closed(&format!("SEND {BYTES}\n")).await?.len(), BYTES);
    let asked_in_vain = refused.hits();
    let sent = vec![7; 1_000_000];
    assert!(open.echo(&sent).await? == sent, "what comes back is what was sent");
    assert_eq!(refused.hits(), asked_in_vain, "once it is known nobody asks again");
    assert_eq!(open.close().await?, "");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_go_to_the_pod_that_lives() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let open = Open::new(&world, "svc/writes 70").await?;
    for _ in 0..3 {
        let [old] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
        assert_eq!(open.ask("NAME").await?.trim(), old);
        let before = world.bed.pod("default", old).context("the pod")?;
        // Its process has ended by the time it is gone; killed at once, it could still reset what it had accepted.
        world.bed.delete_pod("default", old, Some(1))?;
        world.bed.gone(&before).await?;
        // At once, while the next one may not even have started: the connection waits for it.
        let new = open.ask("NAME").await?;
        assert!(!new.is_empty() && new.trim() != old, "{new} after {old}");
        world.bed.rollout_done().await?;
    }
    open.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_loses_no_request() -> Result<()> {
    let world = World::new().await?;
    // As every service does that loses no request in a rollout: it goes on serving for a while.
    let serves_on = &[("ON_USR1", "write"), ("ON_TERM", "ignore")];
    deploy(&world, &Service { env: serves_on, ..WRITES }).await?;
    let open = Open::new(&world, "svc/writes 70").await?;
    let [old] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
    let rollout = async {
        deploy(&world, &Service { env: &[("ON_USR1", "write"), ("VERSION", "2")], ..WRITES }).await?;
        let gone = |pods: &[k8s_openapi::api::core::v1::Pod]| {
            pods.iter().all(|p| p.metadata.name.as_ref() != Some(old))
        };
        world.bed.wait_for("end of the old pod", gone).await?;
        anyhow::Ok(())
    };
    let asking = async {
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < 2 {
            let name = open.ask("NAME").await?;
            anyhow::ensure!(!name.is_empty(), "an empty answer");
            seen.insert(name);
        }
        anyhow::Ok(())
    };
    tokio::try_join!(rollout, asking)?;
    open.close().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_is_refused_is_tried_again() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    for fault in [Fault::status(500), Fault::status(404), Fault::Close] {
        let twice = world.bed.fault(Rule::new(fault).resource("pods/portforward").first(2));
        let open = Open::new(&world, "svc/writes 70").await?;
        assert!(open.ask("NAME").await?.starts_with("writes-"));
        assert_eq!(twice.hits(), 2);
        open.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_by_http() -> Result<()> {
    let world = World::new().await?;
    // One 503 for each character.
    let env = &[("NOT_READY_FOR", "..."), ("ON_USR1", "write")];
    deploy(&world, &Service { env, ..WRITES }).await?;
    let tested = world.run("podcov-test", "svc/writes 70 --http /ready -- true").await?;
    assert_eq!((tested.code, tested.stderr.as_str()), (0, ""));
    let forwards = world.bed.requests().count("get", "pods/portforward");
    assert_eq!(forwards, 1, "one for all: three that were answered 503 and one that was not");

    deploy(
        &world,
        &Service { name: "never", env: &[("NOT_READY_FOR", "................................")], ..WRITES },
    )
    .await?;
    let tested = world.run("podcov-test", "svc/never 70 --timeout 2 --http /ready -- true").await?;
    assert_eq!(tested.code, 3, "{tested:?}");
    assert!(tested.stderr.contains("GET /ready answered 503 Service Unavailable"), "{tested:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_nobody_listens_on() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let tested = world.run("podcov-test", "deploy/writes 7001 --timeout 2 -- true").await?;
    assert_eq!(tested.code, 3, "{tested:?}");
    assert!(tested.stderr.contains("connection refused"), "{tested:?}");
    Ok(())
}

/// A connection's way to the cluster takes this long, each way.
const FAR: Duration = Duration::from_millis(400);

/// A way to the world's cluster on which every byte takes `FAR`, in both directions; as the cluster's address.
async fn slow_link(world: &World) -> Result<String> {
    let kubeconfig: serde_json::Value = serde_json::from_slice(&fs::read(world.bed.kubeconfig())?)?;
    let server = kubeconfig["clusters"][0]["cluster"]["server"].as_str().context("a server")?;
    let server = server.strip_prefix("https://").context("a scheme")?.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("https://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect(&server).await?;
            let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
            tokio::spawn(carry_slowly(from_near, to_far));
            tokio::spawn(carry_slowly(from_far, to_near));
        }
        anyhow::Ok(())
    });
    Ok(address)
}

async fn carry_slowly(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut under_way) = mpsc::unbounded_channel();
    let send = async move {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let _ = sender.send((Instant::now() + FAR, piece[..length].to_vec()));
        }
    };
    let receive = async move {
        while let Some((at, piece)) = under_way.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(send, receive);
}

/// The answer that a port refused takes longer than the node needs for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_port_at_the_end_of_a_slow_link() -> Result<()> {
    let world = World::new().await?;
    deploy_with(&world, &WRITES, |container, _| container["readinessProbe"] = serde_json::Value::Null)
        .await?;
    let options =
        KubeconfigOptions { server: Some(slow_link(&world).await?), ..KubeconfigOptions::default() };
    let kubeconfig = world.bed.write_kubeconfig(&options)?;
    let run_slowly = async |line: &str| {
        let mut command = world.command("podcov-test", line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        run(command).await
    };
    // Over streams, then over WebSockets.
    for _ in 0..2 {
        let refused = run_slowly("--timeout 6 deployment/writes 7001 -- true").await?;
        assert_eq!(refused.code, 3, "{refused:?}");
        assert!(refused.stderr.contains("connection refused"), "{refused:?}");
        let accepted = run_slowly("deployment/writes 7000 -- true").await?;
        assert_eq!((accepted.code, accepted.stderr.as_str()), (0, ""), "{accepted:?}");
        world.bed.fault(Rule::new(Fault::status(400)).upgrade("spdy/3.1"));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_target_no_cluster_is_asked() -> Result<()> {
    let world = World::new().await?;
    let script = "env | grep PODCOV_ADDR && exit 1; exit 17";
    let mut command = world.command("podcov-test", ["--", "sh", "-c", script]);
    command.env("KUBECONFIG", "/no/such/file");
    let tested = run(command).await?;
    assert_eq!((tested.code, tested.stdout.as_str(), tested.stderr.as_str()), (17, "", ""));
    let tested = world.run("podcov-test", "--http /healthz -- true").await?;
    assert_eq!((tested.code, tested.stderr.contains("there is no target")), (2, true), "{tested:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_gets_the_signal_and_its_code_is_ours() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    for (signal, name) in [(Signal::INT, "INT"), (Signal::TERM, "TERM"), (Signal::HUP, "HUP")] {
        let script = format!("trap 'exit 17' {name}; echo ready; while :; do sleep 0.01; done");
        let mut hook = start(world.command("podcov-test", ["svc/writes", "70", "--", "sh", "-c", &script]))?;
        assert_eq!(hook.first_line().await?, "ready");
        hook.signal(signal)?;
        assert_eq!(hook.end().await?.code, 17, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn skaffolds_namespace_counts_if_it_is_the_only_one() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let code = async |namespaces: &str| {
        let mut command = world.command("podcov-test", ["svc/writes", "70", "--", "true"]);
        command.env("SKAFFOLD_NAMESPACES", namespaces);
        anyhow::Ok(run(command).await?.code)
    };
    assert_eq!(code("default").await?, 0);
    assert_eq!(code("kube-system").await?, 3);
    assert_eq!(code("").await?, 0);
    assert_eq!(code("kube-system,other").await?, 0, "the context's, when there are several");
    Ok(())
}
