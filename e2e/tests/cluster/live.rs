//! `podcov-collect --live`: the coverage of programs that nobody has changed, on a real Kubernetes.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use podcov_e2e::{Ended, Open, Service, Space, program, run, top};
use serde_json::{Value, json};

use crate::rights::restricted;

/// What asks nothing of a program: built with `-cover` alone, stripped, and nothing else in its image.
pub(crate) const STOCK: Service = Service {
    name: "stock",
    build: &["-cover", "-ldflags=-s -w"],
    tools: &[],
    env: &[("ON_USR1", "write")],
    ..Service::WRITES
};

/// What Pod Security calls "restricted", and a file system that cannot be written.
fn hardened() -> Value {
    json!({
        "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}
    })
}

/// Deploys a service without GOCOVERDIR, after a change of its pods' spec.
async fn deploy(space: &Space, service: &Service, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut deployment = space.without_coverdir(service)?;
    change(&mut deployment["spec"]["template"]["spec"]);
    space.start(service, deployment).await
}

/// Asks each pod of a service for its name, once.
pub(crate) async fn ask_each(space: &Space, app: &str) -> Result<()> {
    for pod in space.pods(app).await? {
        let name = pod.name_any();
        let open = Open::new(space, &format!("pod/{name} main")).await?;
        ensure!(open.ask("NAME").await?.trim_end() == name);
        open.close().await?;
    }
    Ok(())
}

async fn collect(space: &Space, args: &str) -> Result<Ended> {
    space.run("podcov-collect", &format!("--live --live-image {} {args}", space.busybox()?)).await
}

/// The same where nothing may be lost.
async fn collect_all(space: &Space) -> Result<Ended> {
    let collected = collect(space, "").await?;
    ensure!(collected.code == 0 && collected.stderr.is_empty(), "{collected:?}");
    Ok(collected)
}

/// The blocks that a service's pods have run, as Go's profiles name them.
pub(crate) async fn covered(space: &Space, app: &str) -> Result<BTreeSet<String>> {
    let pods = space.pods(app).await?;
    let folders: Vec<_> = pods.iter().map(|pod| space.collected(&pod.name_any(), "app")).collect();
    covered_in(&folders).await
}

/// The blocks that have run by the files of some folders.
pub(crate) async fn covered_in(folders: &[std::path::PathBuf]) -> Result<BTreeSet<String>> {
    let folders: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let folders = folders.join(",");
    let mut report = tokio::process::Command::new(program("podcov-report"));
    let output = report.args(["textfmt", "-i", &folders, "-o", "-"]).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    let blocks = text.lines().skip(1).filter_map(|line| {
        let (block, count) = line.rsplit_once(' ')?;
        (count != "0").then(|| block.split(' ').next().unwrap_or_default().to_owned())
    });
    Ok(blocks.collect())
}

/// The way on which each container's memory was read.
pub(crate) fn live_ways(space: &Space) -> Result<Vec<String>> {
    let manifest = space.manifest()?;
    let containers = manifest["containers"].as_array().context("containers")?;
    Ok(containers.iter().map(|one| one["live_way"].as_str().unwrap_or_default().to_owned()).collect())
}

/// The names of a pod's ephemeral containers.
pub(crate) fn ephemeral(pod: &Pod) -> Vec<String> {
    let all = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let mut names: Vec<String> = all.map(|one| one.name.clone()).collect();
    names.sort();
    names
}

/// Three replicas, hardened, in a namespace that admits nothing less; beside what a build with a signal handler reports of the
/// same requests.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_program_has_the_coverage_that_a_changed_one_reports() -> Result<()> {
    let space = Space::new().await?;
    let restricted = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces = Api::<Namespace>::all(space.client.clone());
    namespaces.patch(&space.name, &PatchParams::default(), &Patch::Merge(restricted)).await?;
    let stock = Service { replicas: 3, user: "65532", ..STOCK };
    deploy(&space, &stock, |spec| spec["containers"][0]["securityContext"] = hardened()).await?;
    let other = Space::new().await?;
    other.deploy(&Service { replicas: 3, ..Service::WRITES }).await?;
    ask_each(&space, "stock").await?;
    ask_each(&other, "writes").await?;

    let collected = collect_all(&space).await?;
    assert!(collected.stdout.contains("6 files of 3 containers"), "{}", collected.stdout);
    assert_eq!(live_ways(&space)?, ["ephemeral"; 3]);
    let signalled = other.run("podcov-collect", "--signal USR1").await?;
    ensure!(signalled.code == 0, "{signalled:?}");
    let (live, written) = (covered(&space, "stock").await?, covered(&other, "writes").await?);
    let source = fs_err::read_to_string(top().join("e2e/program/main.go"))?;
    let writes = |block: &String| -> Result<bool> {
        // file.go:LINE.COLUMN,…
        let line: usize =
            block.rsplit(':').next().and_then(|at| at.split('.').next()).context("a line")?.parse()?;
        let text = source.lines().nth(line - 1).context("no such line")?;
        Ok(text.contains("range signals") || text.contains("go on(signal, func()"))
    };
    assert!(live.is_subset(&written), "{:?}", live.difference(&written));
    let more: Vec<&String> = written.difference(&live).collect();
    // The signal itself ran these.
    assert_eq!(more.len(), 2, "{more:?}");
    for block in more {
        assert!(writes(block)?, "{block}");
    }
    assert!(live.len() > 10, "{live:?}");

    // Once more: the containers are used again.
    let containers = async || -> Result<Vec<Vec<String>>> {
        let pods = space.pods("stock").await?;
        Ok(pods.iter().map(ephemeral).collect())
    };
    let before = containers().await?;
    collect_all(&space).await?;
    assert_eq!(containers().await?, before);
    // The group may not be in the pod, and no user of the image has one.
    assert!(before.iter().all(|names| (1..=2).contains(&names.len())), "{before:?}");
    Ok(())
}

/// Of 20 pods that are read side by side, one sends the meta-data.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_one_build_send_its_meta_data_once() -> Result<()> {
    const MUCH: &[&str] =
        &["-cover", "-coverpkg=./...,bufio,fmt,log,net,os,reflect,strconv,strings", "-ldflags=-s -w"];
    let space = Space::new().await?;
    deploy(&space, &Service { replicas: 20, build: MUCH, ..STOCK }, |_| ()).await?;
    let collected = collect(&space, "-v").await?;
    ensure!(collected.code == 0, "{collected:?}");
    assert!(collected.stdout.contains("40 files of 20 containers"), "{}", collected.stdout);
    let lines = collected.stderr.lines().filter(|line| line.contains("read the memory of its processes"));
    let of = |line: &str, what: &str| -> Option<u64> {
        line.split(&format!("{what}=")).nth(1)?.split(' ').next()?.parse().ok()
    };
    let mut read: Vec<(u64, u64)> =
        lines.filter_map(|line| Some((of(line, "bytes")?, of(line, "trips")?))).collect();
    read.sort_unstable();
    let [.., (second, _), (most, _)] = read[..] else { anyhow::bail!("{}", collected.stderr) };
    let (bytes, trips) = read.iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    println!(
        "20 pods: {bytes} bytes in {trips} round trips, of one pod {most}, of the others up to {second}"
    );
    let pod = space.pods("stock").await?[0].name_any();
    let folder = fs_err::read_dir(space.collected(&pod, "app"))?.collect::<Result<Vec<_>, _>>()?;
    let meta = folder.iter().find(|file| file.file_name().to_string_lossy().starts_with("covmeta."));
    let meta = meta.context("no meta-data")?.metadata()?.len();
    assert!(read.len() == 20 && meta > 100_000 && most - second > meta / 2, "{meta} {read:?}");
    Ok(())
}

/// Nothing in the pod tells the user: the first guess is wrong, and its processes tell.
#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_learnt_from_the_processes() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &Service { user: "1234:5678", ..STOCK }, |_| ()).await?;
    ask_each(&space, "stock").await?;
    collect_all(&space).await?;
    assert_eq!(live_ways(&space)?, ["ephemeral"]);
    assert!(covered(&space, "stock").await?.len() > 10);
    let pod = space.api::<Pod>().get(&space.pod("stock").await?).await?;
    let all = pod.spec.and_then(|spec| spec.ephemeral_containers).unwrap_or_default();
    let mut users = all.into_iter().filter_map(|one| one.security_context?.run_as_user);
    assert!(users.any(|user| user == 1234));
    Ok(())
}

/// A process that even its own user must not read, as where the node's ptrace_scope is 1.
#[tokio::test(flavor = "multi_thread")]
async fn root_with_sys_ptrace_reads_what_the_same_user_must_not() -> Result<()> {
    let space = Space::new().await?;
    let closed = Service { user: "65532", env: &[("UNDUMPABLE", "1")], ..STOCK };
    deploy(&space, &closed, |spec| spec["securityContext"] = json!({"runAsNonRoot": true})).await?;
    let collected = collect_all(&space).await?;
    assert!(collected.stdout.contains("2 files of 1 container"), "{}", collected.stdout);
    let pod = space.api::<Pod>().get(&space.pod("stock").await?).await?;
    let all = pod.spec.and_then(|spec| spec.ephemeral_containers).unwrap_or_default();
    let mut contexts = all.into_iter().filter_map(|one| one.security_context);
    let last = contexts.find(|context| context.run_as_user == Some(0)).context("none is root")?;
    assert_eq!(last.privileged, None);
    let added = last.capabilities.and_then(|capabilities| capabilities.add).unwrap_or_default();
    assert_eq!(added, ["DAC_READ_SEARCH", "SYS_PTRACE"]);
    Ok(())
}

/// Beside it a container that is no Go program, and one that is not built with -cover.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_coverage_is_skipped() -> Result<()> {
    let space = Space::new().await?;
    let plain = Service { build: &[], tools: Service::WRITES.tools, ..STOCK };
    let mut others = Vec::new();
    for (name, command) in [("shell", json!(["sleep", "1000"])), ("plain", json!(["/app/service"]))] {
        let mut container = space.container(&plain)?;
        container["name"] = json!(name);
        container["command"] = command;
        for field in ["ports", "volumeMounts"] {
            container[field] = json!([]);
        }
        container["env"] = json!([{"name": "PORT", "value": "7001"}]);
        container.as_object_mut().context("a container")?.remove("readinessProbe");
        others.push(container);
    }
    deploy(&space, &STOCK, |spec| spec["containers"].as_array_mut().unwrap().extend(others)).await?;
    let collected = collect_all(&space).await?;
    assert!(collected.stdout.contains("2 files of 1 container"), "{}", collected.stdout);
    let skipped = &space.manifest()?["skipped"];
    let skipped =
        skipped.as_array().context("skipped")?.iter().map(|one| (&one["container"], &one["reason"]));
    let reason = json!("no running program is built with go build -cover");
    let expected = [(json!("plain"), reason.clone()), (json!("shell"), reason)];
    let mut skipped: Vec<_> = skipped.map(|(name, reason)| (name.clone(), reason.clone())).collect();
    skipped.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(skipped, expected);
    Ok(())
}

/// The container's first process is a shell, whose child has the counters. What an earlier process of it has written counts
/// as well, and what this one has written itself does not count twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_and_files_of_processes_that_have_ended() -> Result<()> {
    let space = Space::new().await?;
    let mut deployment = space.deployment(&Service::WRITES)?;
    let container = &mut deployment["spec"]["template"]["spec"]["containers"][0];
    let script = "END='exit 0' END_AFTER=0s PORT=7009 /app/service; /app/service & wait";
    container["command"] = json!(["sh", "-c", script]);
    space.start(&Service::WRITES, deployment).await?;
    let signalled = space.run("podcov-signal", "").await?;
    ensure!(signalled.code == 0, "{signalled:?}");
    ask_each(&space, "writes").await?;

    let collected = collect_all(&space).await?;
    // Meta-data, the file of the process that has ended, and the snapshot, which has what its process wrote before.
    assert!(collected.stdout.contains("3 files of 1 container"), "{}", collected.stdout);
    let manifest = space.manifest()?;
    let container = &manifest["containers"][0];
    assert_eq!((&container["live_way"], &container["way"]), (&json!("exec-sh-dd"), &json!("exec-sh-tar")));
    let live = container["live"].as_array().context("live")?;
    assert_eq!(live.len(), 1, "{live:?}");
    assert!(live[0]["go"].as_str().is_some_and(|go| go.starts_with("go1.")), "{live:?}");

    // Later, the last snapshot replaces the one before.
    let again = collect(&space, "--accumulate").await?;
    ensure!(again.code == 0 && again.stderr.is_empty(), "{again:?}");
    assert!(again.stdout.contains("3 files of 1 container"), "{}", again.stdout);
    Ok(())
}

/// Each gets an ephemeral container of its own, and both at once.
#[tokio::test(flavor = "multi_thread")]
async fn two_containers_of_a_pod_without_a_shell() -> Result<()> {
    let space = Space::new().await?;
    let mut second = space.container(&STOCK)?;
    second["name"] = json!("second");
    for field in ["ports", "volumeMounts"] {
        second[field] = json!([]);
    }
    second["env"] = json!([{"name": "HOST", "value": "0.0.0.0"}, {"name": "PORT", "value": "7001"}]);
    second["readinessProbe"]["tcpSocket"]["port"] = json!(7001);
    deploy(&space, &STOCK, |spec| spec["containers"].as_array_mut().unwrap().push(second)).await?;
    let collected = collect_all(&space).await?;
    assert!(collected.stdout.contains("4 files of 2 containers"), "{}", collected.stdout);
    assert_eq!(live_ways(&space)?, ["ephemeral"; 2]);
    assert_eq!(ephemeral(&space.pods("stock").await?[0]).len(), 2);
    Ok(())
}

/// What a process of an image without a shell wrote before it ended is read by the ephemeral container too.
#[tokio::test(flavor = "multi_thread")]
async fn files_in_an_image_without_a_shell() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { build: &["-cover"], env: &[("END", "exit 0"), ("END_AFTER", "0s")], ..STOCK };
    space.deploy(&service).await?;
    let restarted = |pod: Option<&Pod>| {
        let statuses = pod.and_then(|pod| pod.status.as_ref()?.container_statuses.as_ref());
        statuses.into_iter().flatten().any(|status| status.restart_count == 1 && status.ready)
    };
    space.until::<Pod>(&space.pod("stock").await?, "the container's restart", restarted).await?;
    let collected = collect_all(&space).await?;
    assert!(collected.stdout.contains("3 files of 1 container"), "{}", collected.stdout);
    let container = &space.manifest()?["containers"][0];
    assert_eq!((&container["live_way"], &container["way"]), (&json!("ephemeral"), &json!("ephemeral-tar")));
    Ok(())
}

/// The agent is the program's parent, which may read it on every node.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_reads_its_program() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { build: &["-cover"], env: &[], ..Service::UNDER_AGENT };
    space.deploy(&service).await?;
    ask_each(&space, "wrapped").await?;
    collect_all(&space).await?;
    assert_eq!(live_ways(&space)?, ["agent"]);
    assert!(covered(&space, "wrapped").await?.len() > 10);
    let live = &space.manifest()?["containers"][0]["live"][0];
    assert!(live["go"].is_string() && live["started"].is_number() && live["pid"].is_number(), "{live}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_and_a_missing_one_is_named() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &STOCK, |_| ()).await?;
    let line = format!("--live --live-image {}", space.busybox()?);
    let with = async |kubeconfig: std::path::PathBuf| -> Result<Ended> {
        let mut command = space.command("podcov-collect", line.split_whitespace());
        command.env("KUBECONFIG", kubeconfig);
        run(command).await
    };
    let without = restricted(&space, |rules| rules.replace("verbs: [patch]", "verbs: [get]")).await?;
    let refused = with(without).await?;
    assert_eq!(refused.code, 4, "{refused:?}");
    for words in ["cannot patch resource \"pods/ephemeralcontainers\"", "grant the rules of docs/security.md"]
    {
        assert!(refused.stderr.contains(words), "{words}: {}", refused.stderr);
    }
    let applied =
        space.kubectl().args(["delete", "serviceaccount/tester", "rolebinding/tester"]).output().await?;
    ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let enough = with(restricted(&space, |rules| rules).await?).await?;
    assert_eq!((enough.code, enough.stderr.as_str()), (0, ""), "{enough:?}");
    Ok(())
}

/// What it had counted was in memory alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_while_the_tests_run_is_named() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &STOCK, |_| ()).await?;
    let old = space.pod("stock").await?;
    let kubectl = space.kubectl();
    let delete =
        format!("kubectl --context {} --namespace {} delete pod {old} --wait", space.context, space.name);
    let mut test = space.command("podcov-test", ["--", "sh", "-c", &delete]);
    let kubeconfig =
        kubectl.as_std().get_envs().find(|(name, _)| *name == "KUBECONFIG").and_then(|(_, value)| value);
    test.env("KUBECONFIG", kubeconfig.context("a kubeconfig")?);
    let tested = run(test).await?;
    ensure!(tested.code == 0, "{tested:?}");
    space.another_pod("stock", &old).await?;
    let collected = collect(&space, "").await?;
    let lost = format!("pod {}/{old} was deleted during the run; what it had counted is lost\n", space.name);
    assert_eq!((collected.code, collected.stderr), (4, format!("podcov-collect: error: {lost}")));
    assert!(collected.stdout.contains("2 files of 1 container"), "{}", collected.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn why_nothing_can_be_read_is_said() -> Result<()> {
    let space = Space::new().await?;
    deploy(&space, &STOCK, |_| ()).await?;
    let pod = space.pod("stock").await?;
    let absent = format!("{}/absent:stable", space.registry);
    let collected = space.run("podcov-collect", &format!("--live --live-image {absent}")).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    let error = format!("podcov-collect: error: pod {}/{pod} container app: ", space.name);
    for words in [error.as_str(), "the image has no shell", "does not start: ErrImagePull", &absent] {
        assert!(collected.stderr.contains(words), "{words}: {}", collected.stderr);
    }
    Ok(())
}
