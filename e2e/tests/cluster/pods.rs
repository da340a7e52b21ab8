//! podcov-signal and podcov-collect on every kind of pod.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use podcov_e2e::{Ended, Service, Space, go_percent, run};
use serde_json::json;

const ONE_WROTE: &str = "1 of 1 containers wrote their counters: 1 new file\n";

async fn signal(space: &Space) -> Result<Ended> {
    space.run("podcov-signal", "").await
}

async fn collect(space: &Space) -> Result<Ended> {
    space.run("podcov-collect", "").await
}

/// Both, of pods of which nothing may be lost; gives what podcov-collect printed.
async fn signal_and_collect(space: &Space) -> Result<String> {
    let signalled = signal(space).await?;
    ensure!(signalled.code == 0, "{signalled:?}");
    let collected = collect(space).await?;
    ensure!(collected.code == 0, "{collected:?}");
    Ok(collected.stdout)
}

/// That the report agrees about these containers' files with Go's tools.
fn as_go_says(space: &Space, report: &str, containers: &[(&str, &str)]) -> Result<()> {
    let go = go_percent(containers.iter().map(|(pod, container)| space.collected(pod, container)))?;
    podcov_e2e::as_go_says(report, &go)
}

fn counter_files(space: &Space, pod: &str) -> Result<usize> {
    let files = space.files(&format!("reports/coverage/{}/{pod}/app", space.name))?;
    Ok(files.iter().filter(|file| file.starts_with("covcounters.")).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_containers_of_a_pod() -> Result<()> {
    let space = Space::new().await?;
    let mut deployment = space.deployment(&Service::WRITES)?;
    let mut second = space.container(&Service::WRITES)?;
    second["name"] = json!("second");
    second["ports"] = json!([]);
    second["readinessProbe"]["tcpSocket"]["port"] = json!(7001);
    second["env"].as_array_mut().unwrap().push(json!({"name": "PORT", "value": "7001"}));
    second["volumeMounts"][0]["name"] = json!("second");
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["containers"].as_array_mut().unwrap().push(second);
    spec["volumes"].as_array_mut().unwrap().push(json!({"name": "second", "emptyDir": {}}));
    space.start(&Service::WRITES, deployment).await?;

    let report = signal_and_collect(&space).await?;
    let pod = space.pod("writes").await?;
    as_go_says(&space, &report, &[(&pod, "app"), (&pod, "second")])
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_in_two_namespaces() -> Result<()> {
    let space = Space::new().await?;
    let other = space.another().await?;
    let more = Service { name: "more", replicas: 2, ..Service::WRITES };
    tokio::try_join!(space.deploy(&Service::WRITES), other.deploy(&more))?;

    let namespaces = format!("{},{}", space.name, other.name);
    let mut printed = Vec::new();
    for hook in ["podcov-signal", "podcov-collect"] {
        let mut command = space.command(hook, [""; 0]);
        command.env("SKAFFOLD_NAMESPACES", &namespaces);
        let ended = run(command).await?;
        assert_eq!(ended.code, 0, "{ended:?}");
        printed.push(ended.stdout);
    }
    assert_eq!(printed[0], "3 of 3 containers wrote their counters: 3 new files\n");
    let mut folders = vec![space.collected(&space.pod("writes").await?, "app")];
    for pod in other.pods("more").await? {
        folders.push(space.report(&format!("{}/{}/app", other.name, pod.name_any())));
    }
    let go = go_percent(folders)?;
    podcov_e2e::as_go_says(&printed[1], &go)
}

/// What a run replaces carries the run's label too, for as long as it takes to end.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_long_in_ending() -> Result<()> {
    let space = Space::new().await?;
    let stays = Service { env: &[("ON_USR1", "write"), ("ON_TERM", "ignore")], ..Service::WRITES };
    let mut deployment = space.deployment(&stays)?;
    deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(600);
    space.start(&stays, deployment).await?;
    let old = space.pod("writes").await?;
    space.api::<Pod>().delete(&old, &DeleteParams::default()).await?;
    let terminating = |pod: Option<&Pod>| pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
    space.until::<Pod>(&old, "the pod's end to begin", terminating).await?;
    let new = space.another_pod("writes", &old).await?;

    let signalled = signal(&space).await?;
    assert_eq!((signalled.code, signalled.stdout.as_str()), (0, ONE_WROTE), "{signalled:?}");
    let collected = collect(&space).await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    let words = format!("podcov-collect: skipped pod {}/{old}: it is terminating\n", space.name);
    assert_eq!(collected.stderr, words);
    as_go_says(&space, &collected.stdout, &[(&new, "app")])?;
    // Nobody is to wait for it for ten minutes.
    space.api::<Pod>().delete(&old, &DeleteParams::default().grace_period(0)).await?;
    Ok(())
}

/// The API server keeps nothing of it; podcov-test has seen it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_replaced_while_the_tests_run() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let old = space.pod("writes").await?;
    let until_noted = "until grep -q '\"deleted\":true' .podcov/pods-*; do sleep 0.1; done";
    let testing = run(space.command("podcov-test", ["--", "sh", "-c", until_noted]));
    let replacing = async {
        // The pod is noted before the command starts.
        while !space.dir().join(".podcov").exists() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        space.api::<Pod>().delete(&old, &DeleteParams::default()).await?;
        space.another_pod("writes", &old).await
    };
    let (tested, new) = tokio::join!(testing, replacing);
    let (tested, new) = (tested?, new?);
    ensure!(tested.code == 0, "{tested:?}");
    let signalled = signal(&space).await?;
    assert_eq!((signalled.code, signalled.stdout.as_str()), (0, ONE_WROTE), "{signalled:?}");
    let collected = collect(&space).await?;
    let lost = format!("pod {}/{old} was deleted during the run; what it had counted is lost\n", space.name);
    assert_eq!((collected.code, collected.stderr), (4, format!("podcov-collect: error: {lost}")));
    as_go_says(&space, &collected.stdout, &[(&new, "app")])
}

/// Its volume stays, and with it what the program wrote before.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_its_kubelet_restarts() -> Result<()> {
    let space = Space::new().await?;
    let ends =
        Service { env: &[("ON_USR1", "end")], build: &["-cover", "-covermode=set"], ..Service::WRITES };
    space.deploy(&ends).await?;
    // A kubelet that is busy with other tests' containers may take longer than the hook's own limit.
    let signalled = space.run("podcov-signal", "--timeout 120").await?;
    assert_eq!((signalled.code, signalled.stdout.as_str()), (0, ONE_WROTE), "{signalled:?}");

    let pod = space.pod("writes").await?;
    let restarted = |pod: Option<&Pod>| {
        let statuses =
            pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.container_statuses.as_ref());
        statuses.is_some_and(|all| all.iter().all(|one| one.restart_count == 1 && one.ready))
    };
    space.until::<Pod>(&pod, "the restart", restarted).await?;
    let collected = collect(&space).await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    assert_eq!(counter_files(&space, &pod)?, 1);
    as_go_says(&space, &collected.stdout, &[(&pod, "app")])
}

/// podcov-collect can do podcov-signal's work in its own exec.
#[tokio::test(flavor = "multi_thread")]
async fn signal_and_collect_at_once() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service { replicas: 5, ..Service::WRITES }).await?;
    let collected = space.run("podcov-collect", "--signal USR1").await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
    let pods: Vec<String> = space.pods("writes").await?.iter().map(ResourceExt::name_any).collect();
    let containers: Vec<_> = pods.iter().map(|pod| (pod.as_str(), "app")).collect();
    assert_eq!(containers.len(), 5);
    as_go_says(&space, &collected.stdout, &containers)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_with_a_shell_and_tar_and_no_kill() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service { tools: &["sh", "tar"], ..Service::WRITES }).await?;
    let report = signal_and_collect(&space).await?;
    as_go_says(&space, &report, &[(&space.pod("writes").await?, "app")])
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_that_write_nothing_and_why() -> Result<()> {
    let cases = [
        (
            Service { name: "ignores", env: &[], ..Service::WRITES },
            "no counter file appeared within 5s of SIGUSR1; is the program built with -covermode=atomic and does it handle SIGUSR1?",
            "no counters were written; signal the program first (podcov-signal), or was it killed?",
        ),
        (
            Service { name: "set-mode", build: &["-cover", "-covermode=set"], ..Service::WRITES },
            "no counter file appeared within 5s of SIGUSR1; the program is built with -covermode=set, and only -covermode=atomic can write while it runs",
            "no counters were written; signal the program first (podcov-signal), or was it killed?",
        ),
        (
            Service { name: "uncovered", build: &[], ..Service::WRITES },
            "the container runs no Go program that is built with -cover, so none was signalled; its processes: 1 (service)",
            "/coverage-data holds no coverage files; is the program built with -cover, and may it write there?",
        ),
    ];
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    for (service, _, _) in &cases {
        space.deploy(service).await?;
    }
    let signalled = space.run("podcov-signal", "--timeout 5").await?;
    assert_eq!(signalled.code, 4, "{signalled:?}");
    assert_eq!(signalled.stdout, "1 of 4 containers wrote their counters: 1 new file\n");
    let collected = collect(&space).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    for (service, of_signal, of_collect) in &cases {
        let pod = space.pod(service.name).await?;
        for (hook, said, words) in
            [("signal", &signalled.stderr, of_signal), ("collect", &collected.stderr, of_collect)]
        {
            let told = said.lines().any(|line| {
                line.starts_with(&format!("podcov-{hook}: error: "))
                    && line.contains(&pod)
                    && line.ends_with(words)
            });
            assert!(told, "{said}\nhas no line about {pod} with {words}");
        }
    }
    as_go_says(&space, &collected.stdout, &[(&space.pod("writes").await?, "app")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_crashes_again_and_again() -> Result<()> {
    let space = Space::new().await?;
    let mut crashing = space.container(&Service::WRITES)?;
    crashing["command"] = json!(["/bin/sh", "-c", "exit 1"]);
    space
        .create::<Pod>(json!({
            "metadata": {"name": "crashing", "labels": {"skaffold.dev/run-id": space.name}},
            "spec": {"containers": [crashing], "volumes": [{"name": "cov", "emptyDir": {}}]}
        }))
        .await?;
    space.deploy(&Service::WRITES).await?;
    let backing_off = |pod: Option<&Pod>| {
        let statuses =
            pod.and_then(|pod| pod.status.as_ref()).and_then(|status| status.container_statuses.as_ref());
        let states = statuses.into_iter().flatten().filter_map(|one| one.state.as_ref()?.waiting.as_ref());
        states.filter_map(|waiting| waiting.reason.as_deref()).any(|reason| reason == "CrashLoopBackOff")
    };
    space.until::<Pod>("crashing", "its being held back", backing_off).await?;

    let signalled = signal(&space).await?;
    assert_eq!(signalled.code, 4, "{signalled:?}");
    assert_eq!(signalled.stdout, ONE_WROTE);
    let collected = collect(&space).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    for (hook, said) in [("signal", &signalled.stderr), ("collect", &collected.stderr)] {
        let begins = format!(
            "podcov-{hook}: error: skipped pod {}/crashing container app: it is not running (",
            space.name
        );
        assert!(said.starts_with(&begins), "{said}");
    }
    as_go_says(&space, &collected.stdout, &[(&space.pod("writes").await?, "app")])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_files_in_one_folder() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service { tools: &["sh", "tar", "gzip", "cp"], ..Service::WRITES }).await?;
    assert_eq!(signal(&space).await?.code, 0);
    let pod = space.pod("writes").await?;
    // Whole files under other processes' names, as a program leaves them that was restarted very often.
    let copy = r#"cd /coverage-data && set -- covcounters.* && base=${1%.*.*} &&
        i=1; while [ $i -lt 1000 ]; do cp "$1" "$base.$((i + 1)).${1##*.}" || exit; i=$((i + 1)); done"#;
    let status = space.kubectl().args(["exec", &pod, "--", "sh", "-c", copy]).status().await?;
    assert!(status.success());
    let collected = collect(&space).await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    assert_eq!(counter_files(&space, &pod)?, 1000);
    as_go_says(&space, &collected.stdout, &[(&pod, "app")])
}
