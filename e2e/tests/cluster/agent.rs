//! Pods whose image has podcov-agent and their program, and nothing else.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use podcov_e2e::{Open, Service, Space, as_go_says, go_percent, program};
use serde_json::{Value, json};

/// Adds variables to a container.
fn set(container: &mut Value, variables: &[(&str, &str)]) {
    let env = container["env"].as_array_mut();
    env.into_iter().for_each(|env| env.extend(variables.iter().map(|(n, v)| json!({"name": n, "value": v}))));
}

/// How each container's files came, by container's name.
fn ways(space: &Space) -> Result<Vec<(String, String)>> {
    let manifest = space.manifest()?;
    let containers = manifest["containers"].as_array().context("containers")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(containers.iter().map(|c| (text(&c["container"]), text(&c["way"]))).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_agent_is_needed_in_20_images() -> Result<()> {
    let space = Space::new().await?;
    let mut deployment = space.deployment(&Service { replicas: 20, ..Service::UNDER_AGENT })?;
    set(&mut deployment["spec"]["template"]["spec"]["containers"][0], &[("PODCOV_RUN", "x")]);
    space.start(&Service::UNDER_AGENT, deployment).await?;

    let signalled = space.run("podcov-signal", "--json").await?;
    assert_eq!((signalled.code, signalled.stderr.as_str()), (0, ""), "{}", signalled.stdout);
    let flushed: Vec<Value> = serde_json::from_str(&signalled.stdout)?;
    assert_eq!(flushed.len(), 20);
    for one in &flushed {
        assert_eq!((&one["way"], &one["verified"]), (&json!("agent"), &json!(true)), "{one}");
    }
    // One file from podcov-signal, one from this.
    let collected = space.run("podcov-collect", "--signal USR1").await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{}", collected.stdout);
    assert!(collected.stdout.contains("60 files of 20 containers"), "{}", collected.stdout);
    assert!(ways(&space)?.iter().all(|(_, way)| way == "agent"));
    let pods = space.pods("wrapped").await?;
    let go = go_percent(pods.iter().map(|pod| space.collected(&pod.name_any(), "app")))?;
    as_go_says(&collected.stdout, &go)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_found_though_the_pod_does_not_speak_of_it() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service::UNDER_AGENT).await?;
    for hook in ["podcov-signal", "podcov-collect", "podcov-collect --signal USR1"] {
        let (hook, args) = hook.split_once(' ').unwrap_or((hook, ""));
        let ended = space.run(hook, args).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{hook} {args}");
    }
    assert_eq!(ways(&space)?, [("app".to_owned(), "agent".to_owned())]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signal_is_the_one_that_the_agent_was_told() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { env: &[("ON_USR2", "write")], ..Service::UNDER_AGENT };
    let mut deployment = space.deployment(&service)?;
    set(&mut deployment["spec"]["template"]["spec"]["containers"][0], &[("PODCOV_FLUSH_SIGNAL", "USR2")]);
    space.start(&service, deployment).await?;
    let signalled = space.run("podcov-signal", "").await?;
    assert_eq!((signalled.code, signalled.stderr.as_str()), (0, ""));
    assert_eq!(signalled.stdout, "1 of 1 containers wrote their counters: 1 new file\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_container_of_a_pod_goes_its_own_way() -> Result<()> {
    let space = Space::new().await?;
    let mut deployment = space.deployment(&Service::UNDER_AGENT)?;
    let mut extra = Vec::new();
    for (name, service, port) in
        [("second", Service::UNDER_AGENT, "7001"), ("shell", Service::WRITES, "7002")]
    {
        let mut container = space.container(&service)?;
        container["name"] = json!(name);
        container["ports"] = json!([]);
        container["readinessProbe"]["tcpSocket"]["port"] = port.parse::<u16>()?.into();
        container["volumeMounts"][0]["name"] = json!(name);
        set(&mut container, &[("PORT", port)]);
        extra.push(container);
    }
    set(&mut extra[0], &[("PODCOV_CONTROL", "127.0.0.1:19997"), ("PODCOV_CONTAINER", "second")]);
    let spec = &mut deployment["spec"]["template"]["spec"];
    set(&mut spec["containers"][0], &[("PODCOV_CONTAINER", "app")]);
    spec["containers"].as_array_mut().context("containers")?.extend(extra);
    let volumes = ["second", "shell"].map(|name| json!({"name": name, "emptyDir": {}}));
    spec["volumes"].as_array_mut().context("volumes")?.extend(volumes);
    space.start(&Service::UNDER_AGENT, deployment).await?;

    let collected = space.run("podcov-collect", "--signal USR1").await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{}", collected.stdout);
    let expected = [("app", "agent"), ("second", "agent"), ("shell", "exec-sh-tar")];
    assert_eq!(ways(&space)?, expected.map(|(name, way)| (name.to_owned(), way.to_owned())));
    let pod = space.pod("wrapped").await?;
    let go = go_percent(["app", "second", "shell"].map(|name| space.collected(&pod, name)))?;
    as_go_says(&collected.stdout, &go)
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_end_in_good_order_when_asked_to_and_are_started_again() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { build: &["-cover"], env: &[("ON_TERM", "end")], ..Service::UNDER_AGENT };
    let mut deployment = space.deployment(&service)?;
    set(&mut deployment["spec"]["template"]["spec"]["containers"][0], &[("PODCOV_RESTART", "always")]);
    space.start(&service, deployment).await?;

    let stopped = space.run("podcov-signal", "--stop").await?;
    assert_eq!((stopped.code, stopped.stderr.as_str()), (0, ""));
    assert_eq!(stopped.stdout, "1 of 1 programs exited cleanly\n");
    let collected = space.run("podcov-collect", "--stop").await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{}", collected.stdout);
    assert!(collected.stdout.contains("3 files of 1 container"), "{}", collected.stdout);
    let pods = space.pods("wrapped").await?;
    let statuses = pods[0].status.iter().flat_map(|s| s.container_statuses.iter().flatten());
    assert_eq!(
        statuses.map(|status| status.restart_count).collect::<Vec<_>>(),
        [0],
        "the agent has restarted it"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_stop_without_an_agent() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let stopped = space.run("podcov-signal", "--stop").await?;
    assert_eq!(stopped.code, 4);
    let why = "it takes podcov-agent to stop a program gracefully; no podcov-agent: nothing listens there";
    assert!(stopped.stderr.contains(why), "{}", stopped.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_exit_code_and_signal_are_the_programs() -> Result<()> {
    let space = Space::new().await?;
    // What ends by the signal that the pod was sent, and says with which code.
    let service = Service { build: &["-cover"], env: &[("ON_TERM", "end")], ..Service::UNDER_AGENT };
    let mut deployment = space.deployment(&service)?;
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["terminationGracePeriodSeconds"] = json!(30);
    set(&mut spec["containers"][0], &[("PODCOV_STORAGE", "file:///coverage-data/stored")]);
    space.start(&service, deployment).await?;
    let pod = space.pod("wrapped").await?;
    let mut logs = space.kubectl();
    logs.args(["logs", "--follow", &pod]).stdout(std::process::Stdio::piped());
    let logs = podcov_e2e::start(logs)?;
    space.api::<Pod>().delete(&pod, &DeleteParams::default()).await?;
    let logs = logs.end().await?;
    // As the first process of a container, which no signal ends that it does not handle.
    ensure!(
        logs.stdout.contains("uploaded 2 files to file:///coverage-data/stored/default/"),
        "{}",
        logs.stdout
    );
    Ok(())
}

/// The container runtime has started the program, which has no handler, no GOCOVERDIR and no volume. The agent is there, and
/// is run when it is needed.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_taken_of_a_hardened_program() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { build: &["-cover"], env: &[], ..Service::UNDER_AGENT };
    let mut deployment = space.without_coverdir(&service)?;
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    container["command"] = json!(["/app/service"]);
    container["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 65532, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}
    });
    space.start(&service, deployment).await?;
    let pod = space.pod("wrapped").await?;

    // How many percent of the function that answers have run.
    let answering = async || -> Result<f64> {
        let snapshot =
            space.kubectl().args(["exec", &pod, "--", "/podcov-agent", "snapshot"]).output().await?;
        let errors = String::from_utf8_lossy(&snapshot.stderr);
        ensure!(snapshot.status.success() && errors.is_empty(), "{errors}");
        let dir = tempfile::tempdir()?;
        tar::Archive::new(&snapshot.stdout[..]).unpack(dir.path())?;
        let functions = tokio::process::Command::new(program("podcov-report"))
            .args(["func", "-i"])
            .arg(dir.path())
            .output()
            .await?;
        let functions = String::from_utf8(functions.stdout)?;
        let line = functions.lines().find(|line| line.split_whitespace().nth(1) == Some("serve"));
        let percent = line.and_then(|line| line.split_whitespace().last()?.strip_suffix('%'));
        Ok(percent.with_context(|| functions.clone())?.parse()?)
    };
    let before = answering().await?;
    let open = Open::new(&space, "deployment/wrapped main").await?;
    ensure!(open.ask("NAME").await?.trim_end() == pod);
    open.close().await?;
    let after = answering().await?;
    ensure!(before < after, "{before}% before it answered, {after}% then");
    Ok(())
}
