//! Which processes are signalled, on a real Kubernetes: those of the container and no others.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use podcov_e2e::{Service, Space};
use serde_json::{Value, json};

/// One whose program ends on SIGTERM.
const ENDS: Service =
    Service { name: "ends", env: &[("ON_USR1", "write"), ("ON_TERM", "end")], ..Service::WRITES };

/// Deploys a service after a change of its pods' spec.
async fn deploy_with(space: &Space, service: &Service, change: impl FnOnce(&mut Value)) -> Result<String> {
    let mut deployment = space.deployment(service)?;
    change(&mut deployment["spec"]["template"]["spec"]);
    space.start(service, deployment).await?;
    space.pod(service.name).await
}

/// How many counter files a container has.
async fn counter_files(space: &Space, pod: &str, container: &str) -> Result<usize> {
    let list = ["exec", pod, "-c", container, "--", "ls", "/coverage-data"];
    let output = space.kubectl().args(list).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().filter(|name| name.starts_with("covcounters.")).count())
}

/// Waits until a container that has ended runs again.
async fn restarted(space: &Space, pod: &str, container: &str) -> Result<()> {
    let runs_again = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        let mut of_container = statuses.into_iter().flatten().filter(|status| status.name == container);
        of_container.any(|status| status.restart_count > 0 && status.ready)
    };
    space.until::<Pod>(pod, "the container's restart", runs_again).await
}

/// How often a pod's containers have been restarted.
async fn restarts(space: &Space, pod: &str) -> Result<i32> {
    let pod = space.api::<Pod>().get(pod).await?;
    let statuses = pod.status.and_then(|status| status.container_statuses).unwrap_or_default();
    Ok(statuses.iter().map(|status| status.restart_count).sum())
}

/// The names of the processes that podcov-signal says it has signalled.
fn signalled(stdout: &str) -> Result<Vec<String>> {
    let result: Value = serde_json::from_str(stdout)?;
    let processes = result.as_array().into_iter().flatten().flat_map(|one| one["processes"].as_array());
    let names = processes.flatten().filter_map(|process| process["name"].as_str());
    Ok(names.map(str::to_owned).collect())
}

/// The init of the cluster's process namespace, which is what a pod with hostPID has for the node's: its ID here, and
/// when it was started. `None` on a cluster that was not started here.
fn init() -> Result<Option<(u32, String)>> {
    for entry in fs::read_dir("/proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end meanwhile.
        let read = |name: &str| fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let status = read("status");
        let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        let ids: Vec<&str> = ids.split_whitespace().collect();
        let arguments = read("cmdline");
        // A container's first process is `runc init` for a moment, one namespace further down.
        if ids.len() == 2 && ids.last() == Some(&"1") && arguments.trim_end_matches('\0').ends_with("\0init")
        {
            let stat = read("stat");
            let started = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19));
            return Ok(Some((pid, started.context("the time of its start")?.to_owned())));
        }
    }
    Ok(None)
}

/// Everything on the node is in sight: its init, and the same program in another pod.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_sees_the_nodes_processes() -> Result<()> {
    let (space, others) = (Space::new().await?, Space::new().await?);
    let host_pid = |spec: &mut Value| spec["hostPID"] = json!(true);
    let bystander = Service { name: "bystander", ..ENDS };
    let unprivileged = Service { name: "unprivileged", ..ENDS };
    let (ends, unprivileged, bystander) = tokio::try_join!(
        deploy_with(&space, &ENDS, host_pid),
        deploy_with(&space, &unprivileged, |spec| {
            host_pid(spec);
            spec["securityContext"] = json!({"runAsUser": 65534, "runAsGroup": 65534});
        }),
        deploy_with(&others, &bystander, |_| {}),
    )?;
    let init_before = init()?;
    // The network of a cluster that was started here.
    assert_eq!(init_before.is_some(), Path::new("/sys/class/net/podcov0").exists());

    for (round, flags) in ["", "--process service", "--signal TERM --timeout 120"].into_iter().enumerate() {
        let ended = space.run("podcov-signal", &format!("--json {flags}")).await?;
        assert_eq!(ended.code, 0, "{flags}: {ended:?}");
        assert_eq!(signalled(&ended.stdout)?, ["service", "service"], "{flags}: {ended:?}");
        for pod in [&ends, &unprivileged] {
            if flags.contains("TERM") {
                restarted(&space, pod, "app").await?;
            }
            assert_eq!(counter_files(&space, pod, "app").await?, round + 1, "{flags}");
        }
    }
    let ended = space.run("podcov-signal", "--pid 1").await?;
    assert_eq!(ended.code, 4, "{ended:?}");
    let words = "container app: the container has no process 1, so none was signalled; its processes: ";
    assert_eq!(ended.stderr.matches(words).count(), 2, "{ended:?}");

    assert_eq!(init()?, init_before, "the node's init");
    assert_eq!(counter_files(&others, &bystander, "app").await?, 0, "another pod's program");
    assert_eq!(restarts(&others, &bystander).await?, 0, "another pod's program");
    Ok(())
}

/// Process 1 is the pod's sandbox, and each container sees the other's program.
#[tokio::test(flavor = "multi_thread")]
async fn containers_that_share_their_process_ids() -> Result<()> {
    let space = Space::new().await?;
    let mut second = space.container(&ENDS)?;
    second["name"] = json!("second");
    second["ports"] = json!([]);
    second["readinessProbe"]["tcpSocket"]["port"] = json!(7001);
    second["env"].as_array_mut().context("env")?.push(json!({"name": "PORT", "value": "7001"}));
    second["volumeMounts"][0]["name"] = json!("second");
    let pod = deploy_with(&space, &ENDS, |spec| {
        spec["shareProcessNamespace"] = json!(true);
        spec["containers"].as_array_mut().expect("containers").push(second);
        spec["volumes"].as_array_mut().expect("volumes").push(json!({"name": "second", "emptyDir": {}}));
    })
    .await?;
    let sandbox = space.api::<Pod>().get(&pod).await?.status.and_then(|status| status.pod_ip);

    for (flags, of_app, of_second) in [
        ("-c app", 1, 0),
        ("-c second", 1, 1),
        ("", 2, 2),
        ("-c app --process service", 3, 2),
        ("-c second --signal TERM --timeout 120", 3, 3),
    ] {
        let ended = space.run("podcov-signal", flags).await?;
        assert_eq!(ended.code, 0, "{flags}: {ended:?}");
        if flags.contains("TERM") {
            restarted(&space, &pod, "second").await?;
        }
        assert_eq!(counter_files(&space, &pod, "app").await?, of_app, "{flags}");
        assert_eq!(counter_files(&space, &pod, "second").await?, of_second, "{flags}");
    }
    let ended = space.run("podcov-signal", "--pid 1").await?;
    assert_eq!(ended.stderr.matches("the container has no process 1, so none was").count(), 2, "{ended:?}");
    assert_eq!(restarts(&space, &pod).await?, 1, "the one container that ended on the signal");
    let now = space.api::<Pod>().get(&pod).await?.status.and_then(|status| status.pod_ip);
    assert_eq!(now, sandbox, "the pod has the same sandbox");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_on_the_nodes_network_and_one_under_a_shell() -> Result<()> {
    let space = Space::new().await?;
    let on_host = Service { name: "on-host", ..ENDS };
    let under_shell = Service { name: "under-shell", ..ENDS };
    let (on_host, under_shell) = tokio::try_join!(
        deploy_with(&space, &on_host, |spec| {
            spec["hostNetwork"] = json!(true);
            let container = &mut spec["containers"][0];
            container["ports"] = json!([]);
            container["readinessProbe"]["tcpSocket"]["port"] = json!(17117);
            container["env"].as_array_mut().expect("env").push(json!({"name": "PORT", "value": "17117"}));
        }),
        deploy_with(&space, &under_shell, |spec| {
            spec["containers"][0]["command"] = json!(["/bin/sh", "-c", "/app/service & wait"]);
        }),
    )?;
    let ended = space.run("podcov-signal", "--json").await?;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(signalled(&ended.stdout)?, ["service", "service"], "{ended:?}");
    for pod in [&on_host, &under_shell] {
        assert_eq!((counter_files(&space, pod, "app").await?, restarts(&space, pod).await?), (1, 0), "{pod}");
    }
    Ok(())
}

/// podcov-collect at once after podcov-signal: the container is between two lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_just_starting_again() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { replicas: 5, ..ENDS };
    space.deploy(&service).await?;
    let ended = space.run("podcov-signal", "--signal TERM --timeout 120").await?;
    assert_eq!(ended.code, 0, "{ended:?}");
    let collected = space.run("podcov-collect", "").await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
    for pod in space.pods(service.name).await? {
        let files = space.files(&format!("reports/coverage/{}/{}/app", space.name, pod.name_any()))?;
        assert_eq!(files.len(), 2, "the meta-data and the counters: {files:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_on_no_volume() -> Result<()> {
    let space = Space::new().await?;
    deploy_with(&space, &ENDS, |spec| {
        let container = &mut spec["containers"][0];
        container["env"].as_array_mut().expect("env").push(json!({"name": "GOCOVERDIR", "value": "/app"}));
    })
    .await?;
    let ended = space.run("podcov-signal", "").await?;
    assert_eq!(ended.code, 0, "{ended:?}");
    let ended = space.run("podcov-signal", "--signal TERM --timeout 20").await?;
    assert_eq!(ended.code, 4, "{ended:?}");
    let words = " after SIGTERM, and GOCOVERDIR is on no volume: whatever the program wrote to /app at its end is gone";
    assert!(ended.stderr.contains(words), "{ended:?}");
    Ok(())
}
