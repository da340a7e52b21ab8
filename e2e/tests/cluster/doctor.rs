//! podcov-doctor on broken set-ups: each is named by its cause alone, with what to do about it.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use futures_util::future::try_join_all;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service as PodService};
use kube::Api;
use kube::api::{Patch, PatchParams};
use podcov_e2e::{Ended, ReservedPort, Service, Space, program, run, top};
use serde_json::{Value, json};

use crate::rights::restricted;

/// A program that is built for coverage, and nothing else in its image.
const STOCK: Service =
    Service { name: "stock", build: &["-cover"], tools: &[], user: "65532", ..Service::WRITES };

async fn doctor(space: &Space, line: &str) -> Result<Ended> {
    let image = space.busybox()?;
    let image = if line.contains("--live-image") { String::new() } else { format!("--live-image {image}") };
    space.run("podcov-doctor", &format!("{image} {line}")).await
}

/// Whether a text is like a pattern, in which `…` stands for anything.
fn is_like(text: &str, pattern: &str) -> bool {
    let parts: Vec<&str> = pattern.split('…').collect();
    let [first, middle @ .., last] = &parts[..] else { return text == pattern };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// That one error alone is found, and what to do about it is said.
#[track_caller]
fn finds(ended: &Ended, code: i32, error: &str, fix: &str) {
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let errors: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].starts_with("error ")).collect();
    assert_eq!((errors.len(), ended.code, ended.stderr.as_str()), (1, code, ""), "{error}\n{ended:?}");
    let at = errors[0];
    assert!(is_like(lines[at], &format!("error    {error}")), "{error}\nis not\n{}", lines[at]);
    let next = lines.get(at + 1).copied().unwrap_or_default();
    assert!(is_like(next, &format!("         {fix}")), "{fix}\nis not\n{next}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_another_one_or_gone() -> Result<()> {
    let space = Space::new().await?;
    let context = doctor(&space, "--context nowhere").await?;
    finds(
        &context,
        2,
        "context nowhere: context \"nowhere\" is not in the kubeconfig (it has: …)",
        "name one with --context; `skaffold --kube-context` decides it under Skaffold",
    );
    let mut missing = space.command("podcov-doctor", [""; 0]);
    missing.env("KUBECONFIG", space.dir().join("absent"));
    finds(
        &run(missing).await?,
        2,
        &format!("context {}: kubeconfig: KUBECONFIG names what does not exist: …/absent", space.context),
        "check KUBECONFIG, or try the same with `kubectl get pods`",
    );
    let port = ReservedPort::new()?;
    let gone = space.dir().join("gone.kubeconfig");
    let view = ["config", "view", "--raw", "--minify", "--output=json"];
    let config = space.kubectl().args(view).output().await?;
    let mut config: Value = serde_json::from_slice(&config.stdout)?;
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://127.0.0.1:{}", port.number));
    fs::write(&gone, serde_json::to_vec(&config)?)?;
    let mut command = space.command("podcov-doctor", [""; 0]);
    command.env("KUBECONFIG", &gone);
    finds(
        &run(command).await?,
        3,
        &format!(
            "context {}: cannot reach the cluster at https://127.0.0.1:{}: …",
            space.context, port.number
        ),
        "is the cluster up, and is this the right --context? try `kubectl version`",
    );
    Ok(())
}

/// Each right in turn, of a user who has all others of docs/security.md.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_is_missing() -> Result<()> {
    let space = Space::new().await?;
    space.start(&STOCK, space.without_coverdir(&STOCK)?).await?;
    let kubeconfig = restricted(&space, |rules| rules).await?;
    let role = fs::read_to_string(space.dir().join("role.yaml"))?;
    let as_user = async |line: &str| -> Result<Ended> {
        let line = format!("--live-image {} {line}", space.busybox()?);
        let mut command = space.command("podcov-doctor", line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        run(command).await
    };
    let healthy = as_user("service/stock 70").await?;
    assert_eq!((healthy.code, healthy.stderr.as_str()), (0, ""), "{healthy:?}");
    for (resource, verb, from, to, line, message, rule) in [
        (
            "pods",
            "list",
            "verbs: [get, list, watch]",
            "verbs: [get, watch]",
            "",
            "list, which all hooks but podcov-report need",
            "resources: [pods], verbs: [get, list, watch]",
        ),
        (
            "pods/exec",
            "get",
            "[pods/exec, pods/portforward]",
            "[pods/portforward]",
            "",
            "get, which podcov-run, podcov-signal and podcov-collect need",
            "resources: [pods/exec], verbs: [get, create]",
        ),
        (
            "pods/portforward",
            "get",
            "[pods/exec, pods/portforward]",
            "[pods/exec]",
            "service/stock 70",
            "get, which podcov-test and podcov-run, and all hooks that ask a podcov-agent need",
            "resources: [pods/portforward], verbs: [get, create]",
        ),
        (
            "pods/ephemeralcontainers",
            "patch",
            "[pods/ephemeralcontainers]",
            "[pods/attach]",
            "",
            "patch, which podcov-run and podcov-collect --live, where an image has no shell need",
            "resources: [pods/ephemeralcontainers], verbs: [patch]",
        ),
        (
            "services",
            "get",
            "[services]",
            "[endpoints]",
            "service/stock 70",
            "get, which podcov-test and podcov-run need",
            "resources: [services], verbs: [get]",
        ),
    ] {
        ensure!(role.contains(from), "no {from} in {role}");
        let file = space.dir().join("changed.yaml");
        fs::write(&file, role.replace(from, to))?;
        let applied = space.kubectl().arg("apply").arg("-f").arg(&file).output().await?;
        ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
        until_denied(&space, verb, resource).await?;
        finds(
            &as_user(line).await?,
            1,
            &format!("{resource} in namespace {}: you may not {message}", space.name),
            &format!(
                "add this rule to your Role (docs/security.md has all rules): {{apiGroups: [\"\"], {rule}}}"
            ),
        );
    }
    Ok(())
}

/// Waits until the API server has taken note of a change of the user's rights.
async fn until_denied(space: &Space, verb: &str, resource: &str) -> Result<()> {
    let user = format!("system:serviceaccount:{}:tester", space.name);
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let subresource = format!("--subresource={subresource}");
    let denied = async {
        loop {
            let mut kubectl = space.kubectl();
            kubectl.args(["auth", "can-i", verb, resource, &subresource, "--quiet", "--as", &user]);
            if !kubectl.status().await?.success() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), denied).await.context("it is never denied")?
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_missing_or_do_not_run() -> Result<()> {
    let space = Space::new().await?;
    let kubectl = format!("kubectl --context {} --namespace {}", space.context, space.name);
    let run_id = doctor(&space, "--run-id of-yesterday").await?;
    finds(
        &run_id,
        1,
        &format!(
            "pods with label skaffold.dev/run-id=of-yesterday in namespace {}: there are none",
            space.name
        ),
        &format!("`{kubectl} get pods -L skaffold.dev/run-id` shows the pods and their runs; …"),
    );
    let namespace = doctor(&space, "--namespace podcov-absent").await?;
    finds(
        &namespace,
        1,
        &format!(
            "pods with label skaffold.dev/run-id={} in namespace podcov-absent: namespace \"podcov-absent\" not found in \
             context {}",
            space.name, space.context
        ),
        &format!("`kubectl --context {} get namespaces` shows which there are; …", space.context),
    );

    let busybox = space.busybox()?;
    let absent = format!("{}/absent:stable", space.registry);
    let sleeps = || json!({"name": "app", "image": busybox, "command": ["sleep", "1000"]});
    let with = |field: &str, value: Value| {
        let mut container = sleeps();
        container[field] = value;
        container
    };
    let pods = [
        ("unschedulable", json!({"nodeSelector": {"no-such": "label"}}), sleeps()),
        ("unpulled", json!({}), with("image", json!(absent))),
        ("crashing", json!({}), with("command", json!(["sh", "-c", "exit 1"]))),
        (
            "unconfigured",
            json!({}),
            with(
                "env",
                json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "absent", "key": "a"}}}]),
            ),
        ),
    ];
    for (name, spec, container) in &pods {
        let mut spec = spec.clone();
        spec["containers"] = json!([container]);
        spec["terminationGracePeriodSeconds"] = json!(0);
        let metadata = json!({"name": name, "labels": {"skaffold.dev/run-id": space.name}});
        space.create::<Pod>(json!({"metadata": metadata, "spec": spec})).await?;
    }
    for (name, state, message, fix) in [
        (
            "unschedulable",
            "",
            "it does not run: Unschedulable: …",
            "describe pod unschedulable` shows why no node takes it",
        ),
        (
            "unpulled",
            "ImagePullBackOff",
            "it does not run: …Image…: …/absent:stable…",
            "describe pod unpulled` shows the image; has it been pushed to a registry that the cluster pulls from (skaffold \
             --default-repo), and may the cluster pull it (imagePullSecrets)?",
        ),
        (
            "crashing",
            "CrashLoopBackOff",
            "it does not run: CrashLoopBackOff after exit code 1: …",
            "logs crashing --container app --previous` shows why it ended",
        ),
        (
            "unconfigured",
            "CreateContainerConfigError",
            "it does not run: CreateContainerConfigError: configmap \"absent\" not found",
            "describe pod unconfigured` shows why",
        ),
    ] {
        let is_there = |pod: Option<&Pod>| pod.is_some_and(|pod| is_in(pod, state));
        space.until::<Pod>(name, message, is_there).await?;
        let container = if state.is_empty() { "" } else { " container app" };
        // That its target takes no connections is the consequence.
        finds(
            &doctor(&space, &format!("--timeout 1 --pod {name} pod/{name} 70")).await?,
            1,
            &format!("pod {}/{name}{container}: {message}", space.name),
            &format!("`{kubectl} {fix}"),
        );
    }
    Ok(())
}

/// Whether a pod's container waits for this reason; without a reason, whether the pod could not be scheduled.
fn is_in(pod: &Pod, reason: &str) -> bool {
    let Some(status) = &pod.status else { return false };
    if reason.is_empty() {
        let mut conditions = status.conditions.iter().flatten();
        return conditions.any(|one| one.reason.as_deref() == Some("Unschedulable"));
    }
    let states =
        status.container_statuses.iter().flatten().filter_map(|one| one.state.as_ref()?.waiting.as_ref());
    states.filter_map(|waiting| waiting.reason.as_deref()).any(|waits| waits == reason)
}

/// A program or an image is not what a way to collect needs.
#[tokio::test(flavor = "multi_thread")]
async fn programs_and_images_that_do_not_fit() -> Result<()> {
    const SHELL: Service = Service { build: &["-cover", "-covermode=atomic"], ..Service::WRITES };
    const FITS: Service = Service { name: "fits", ..SHELL };
    const PLAIN: Service = Service { name: "plain", build: &[], ..SHELL };
    const OTHER: Service = Service { name: "other", ..SHELL };
    const UNSET: Service = Service { name: "unset", ..SHELL };
    const UNMOUNTED: Service = Service { name: "unmounted", ..SHELL };
    const MISSING: Service = Service { name: "missing", ..SHELL };
    const READ_ONLY: Service = Service { name: "read-only", ..SHELL };
    const SET: Service = Service { name: "set", build: &["-cover", "-covermode=set"], ..SHELL };
    const BARE: Service = Service { name: "bare", ..STOCK };
    let space = Space::new().await?;
    let first = |deployment: &mut Value, change: &dyn Fn(&mut Value)| {
        change(&mut deployment["spec"]["template"]["spec"]["containers"][0]);
    };
    let other = |container: &mut Value| {
        container["command"] = json!(["sleep", "1000"]);
        container.as_object_mut().unwrap().remove("readinessProbe");
    };
    let dir = |container: &mut Value| {
        container["volumeMounts"] = json!([]);
        container["env"][0]["value"] = json!("/absent");
    };
    let services = [FITS, PLAIN, OTHER, UNSET, UNMOUNTED, MISSING, READ_ONLY, SET, BARE];
    let started = services.iter().map(async |service| {
        let mut deployment = match service.name {
            "unset" => space.without_coverdir(service)?,
            _ => space.deployment(service)?,
        };
        match service.name {
            "other" => first(&mut deployment, &other),
            "unmounted" => first(&mut deployment, &|container| {
                container["volumeMounts"] = json!([]);
                container["env"][0]["value"] = json!("/tmp");
            }),
            "missing" => first(&mut deployment, &dir),
            "read-only" => {
                first(&mut deployment, &|container| container["volumeMounts"][0]["readOnly"] = json!(true))
            }
            _ => {}
        }
        space.start(service, deployment).await
    });
    try_join_all(started).await?;

    for line in ["", "--signal USR1"] {
        let healthy = doctor(&space, &format!("--pod fits-* {line} service/fits 70 --all")).await?;
        assert_eq!((healthy.code, healthy.stderr.as_str()), (0, ""), "{healthy:?}");
        assert!(
            healthy.stdout.contains("process 1 (service) is built with -cover, -covermode=atomic"),
            "{healthy:?}"
        );
        assert!(!healthy.stdout.contains("error"), "{healthy:?}");
    }
    let build = "build it with `go build -cover` (ko: `flags: [-cover]`), and deploy that build";
    let mount = |dir: &str| {
        format!(
            "mount an emptyDir there: `volumes: [{{name: coverage, emptyDir: {{}}}}]` in the pod's spec, `volumeMounts: \
             [{{name: coverage, mountPath: {dir}}}]` in the container's"
        )
    };
    for (name, line, message, fix) in [
        ("plain", "", "its Go program is not built with -cover: process 1 (/app/service)", build.to_owned()),
        (
            "plain",
            "--signal USR1",
            "it runs no Go program that is built with -cover; its processes: process 1 (service)",
            build.to_owned(),
        ),
        (
            "other",
            "",
            "it runs no Go program; its processes: process 1 (sleep)",
            format!("{build}; --container selects others"),
        ),
        (
            "unset",
            "--signal USR1",
            "GOCOVERDIR is not set, so it is skipped",
            "set it in the container's env (`{name: GOCOVERDIR, value: /coverage-data}`) and mount an emptyDir there, or \
             collect with `podcov-collect --live`, which needs none"
                .to_owned(),
        ),
        (
            "unmounted",
            "--signal TERM",
            "GOCOVERDIR /tmp is on no volume: what its program writes when SIGTERM ends it goes with the container",
            mount("/tmp"),
        ),
        ("missing", "--signal USR1", "GOCOVERDIR names /absent, which does not exist", mount("/absent")),
        (
            "read-only",
            "--signal USR1",
            "its user may not write to GOCOVERDIR /coverage-data",
            format!("{}, or set securityContext.fsGroup of the pod for another kind of volume", mount("/coverage-data")),
        ),
        (
            "set",
            "--signal USR1",
            "its program is built with -covermode=set, and only -covermode=atomic can write while it runs",
            "build it with `-cover -covermode=atomic`, or collect with `podcov-collect --live`, which takes every mode"
                .to_owned(),
        ),
        (
            "bare",
            "--signal USR1",
            "the image has no shell, which is needed to send the signal and to see the new files: no sh on the \
             container's PATH; no podcov-agent: nothing listens there",
            "use an image that has sh and tar, such as busybox:stable (ko: `fromImage`), or podcov-agent; \
             `podcov-collect --live` needs neither"
                .to_owned(),
        ),
        (
            "bare",
            "--stop",
            "it takes podcov-agent to stop a program gracefully; …nothing listens there",
            "start the program under podcov-agent (docs/agent.md), or collect with `podcov-collect --live`".to_owned(),
        ),
        (
            "bare",
            "--add-containers --live-image ABSENT",
            "the image has no shell; …does not start: …Image…",
            "see docs/messages.md; podcov-agent reads its own program without a shell (docs/agent.md)".to_owned(),
        ),
    ] {
        let line = line.replace("ABSENT", &format!("{}/absent:stable", space.registry));
        let ended = doctor(&space, &format!("--pod {name}-* {line}")).await?;
        let pod = space.pod(name).await?;
        finds(&ended, 1, &format!("pod {}/{pod} container app: {message}", space.name), &fix);
    }

    // The page shows this.
    let page = fs::read_to_string(top().join("docs/get-started.md"))?;
    let (_, shown) = page.split_once("```\nerror ").context("no output in the page")?;
    let (shown, _) = shown.split_once("```").context("no end of the output")?;
    let shown = format!("error {shown}")
        .replace("shop/web-1", &format!("{}/{}", space.name, space.pod("plain").await?));
    assert_eq!(doctor(&space, "--pod plain-*").await?.stdout, shown);

    // Nothing is added to a pod unless that is asked for.
    let unseen = doctor(&space, "--pod bare-*").await?;
    let unknown =
        "the image has no shell; no podcov-agent: nothing listens there; an ephemeral container of ";
    assert!(unseen.code == 0 && unseen.stdout.contains(unknown), "{unseen:?}");
    let seen = doctor(&space, "--pod bare-* --add-containers --all").await?;
    assert_eq!(seen.code, 0, "{seen:?}");
    assert!(
        seen.stdout.contains("process 1 (service) is built with -cover, -covermode=set, go1."),
        "{seen:?}"
    );

    let restricted = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let namespaces = Api::<Namespace>::all(space.client.clone());
    namespaces.patch(&space.name, &PatchParams::default(), &Patch::Merge(restricted)).await?;
    // Another form of ephemeral container than the one that is there.
    let ended = doctor(&space, "--pod bare-* --live-image another:stable").await?;
    finds(
        &ended,
        1,
        &format!(
            "pod {}/{} container app: …violates PodSecurity \"restricted:latest\"…",
            space.name,
            space.pod("bare").await?
        ),
        &format!(
            "use an image that has sh and dd, or podcov-agent (docs/agent.md); …`kubectl label namespace {} \
             pod-security.kubernetes.io/enforce=privileged --overwrite`",
            space.name
        ),
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_take_no_connection() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { name: "fits", ..Service::WRITES };
    space.deploy(&service).await?;
    space
        .create::<PodService>(json!({
            "metadata": {"name": "empty"},
            "spec": {"selector": {"app": "nobody"}, "ports": [{"port": 70}]}
        }))
        .await?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let taken = taken.local_addr()?.port();
    let kubectl = format!("kubectl --context {} --namespace {}", space.context, space.name);
    let in_namespace = format!("in namespace {}", space.name);
    for (target, message, fix) in [
        (
            "service/absent 70",
            "service/absent in namespace … not found in context …",
            format!("`{kubectl} get services` shows which there are"),
        ),
        (
            "service/fits 8080",
            &*format!("service/fits {in_namespace} has no port 8080; it has: 70 (tcp)"),
            format!("see `{kubectl} get service/fits --output yaml`"),
        ),
        (
            "service/empty 70",
            "no pod took a connection within 3s: there are no pods",
            format!("its pods: `{kubectl} get pods --selector 'app=nobody'`"),
        ),
        (
            "deployment/fits 9",
            "no pod took a connection within 3s: …",
            format!(
                "its pods: `{kubectl} get pods --selector 'app=fits'`; does the program listen on port 9?"
            ),
        ),
        (
            "service/fits TAKEN:70",
            "cannot listen on 127.0.0.1:…",
            "leave the local port out (`service/fits 70`) to get a free one, or end what listens there"
                .to_owned(),
        ),
    ] {
        let target = target.replace("TAKEN", &taken.to_string());
        let ended = doctor(&space, &format!("--timeout 3 {target}")).await?;
        let (name, port) = target.split_once(' ').context("a port")?;
        let port = port.rsplit(':').next().unwrap_or_default();
        finds(&ended, 1, &format!("target {name} {port}: {message}"), &fix);
    }
    Ok(())
}

/// A file skaffold.yaml with these hooks after the deployment.
fn configure(folder: &Path, hooks: &str) -> Result<()> {
    let text = format!(
        "apiVersion: skaffold/v4beta13\nkind: Config\nprofiles:\n- name: coverage\n  deploy:\n    kubectl:\n      hooks:\n        \
         after: [{hooks}]\n"
    );
    Ok(fs::write(folder.join("skaffold.yaml"), text)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_that_do_not_fit() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service { name: "fits", ..Service::WRITES }).await?;
    let old = space.dir().join("old");
    fs::write(&old, "#!/bin/sh\necho podcov-collect 0.0.1\n")?;
    let chmod = std::process::Command::new("chmod").arg("755").arg(&old).status()?;
    ensure!(chmod.success(), "chmod: {chmod}");
    fs::create_dir(space.dir().join("bin"))?;
    fs::rename(&old, space.dir().join("bin/podcov-collect"))?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program("")].into_iter().chain(std::env::split_paths(&path)))?;
    let own = env!("CARGO_PKG_VERSION");
    let test = "{host: {command: [podcov-test, --defer-failure, svc/fits, '70', --, 'true']}}";
    let collect = "{host: {command: [podcov-collect, --signal, USR1]}}";
    let at = "skaffold.yaml profile coverage deploy.kubectl.hooks.after";
    let check = async |hooks: String| -> Result<Ended> {
        configure(space.dir(), &hooks)?;
        let mut command = space.command("podcov-doctor", ["--profile", "coverage", "--pod", "fits-*"]);
        command.env("PATH", &path);
        run(command).await
    };
    let healthy = check(format!("{test}, {collect}")).await?;
    assert_eq!((healthy.code, healthy.stderr.as_str()), (0, ""), "{healthy:?}");
    for (hooks, error, fix) in [
        (
            format!("{collect}, {test}"),
            format!("{at}[1]: it tests after deploy.kubectl.hooks.after[0] has collected"),
            "put podcov-test before the hook that collects",
        ),
        (
            format!("{test}, {{host: {{command: [podcov-collect]}}}}"),
            format!("{at}[1]: it collects files, and no hook before it makes the programs write them"),
            "give it --live, --signal or --stop, or put podcov-signal before it",
        ),
        (
            format!("{test}, {{host: {{os: [windows], command: [podcov-collect, --live]}}}}"),
            format!("{at}[1]: Skaffold skips it on this system: its os is windows"),
            "add linux to its os, or leave os out",
        ),
        (
            format!("{test}, {{host: {{command: [podcov-collect, --lives]}}}}"),
            format!(
                "{at}[1]: podcov-collect does not understand its arguments: unexpected argument '--lives' found"
            ),
            "see `podcov-collect --help`",
        ),
        (
            format!("{test}, {{host: {{command: [bin/absent/podcov-collect, --live]}}}}"),
            "bin/absent/podcov-collect: deploy.kubectl.hooks.after[1] runs it, and it does not exist"
                .to_owned(),
            "name the program alone, and put it on PATH by `make install`",
        ),
        (
            format!("{test}, {{host: {{command: [bin/podcov-collect, --live]}}}}"),
            format!(
                "the hooks' programs: they have different versions: bin/podcov-collect 0.0.1, podcov-test {own}"
            ),
            "`make install` puts all programs of one version into one folder",
        ),
        (
            "{host: {command: [podcov, run, svc/absent, '70', --, 'true']}}".to_owned(),
            "target service/absent 70: service/absent in namespace … not found in context …".to_owned(),
            "…get services` shows which there are",
        ),
    ] {
        finds(&check(hooks).await?, 1, &error, fix);
    }
    // Without the folder of the programs.
    configure(space.dir(), "{host: {command: [podcov-run, svc/fits, '70', --, 'true']}}")?;
    let unfound = space.run("podcov-doctor", "--pod fits-*").await?;
    finds(
        &unfound,
        1,
        "podcov-run: deploy.kubectl.hooks.after[0] runs it, and it is not on PATH",
        "`make install` puts it there (README.md, Install); or name its path in the hook",
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn storage_that_does_not_answer() -> Result<()> {
    let space = Space::new().await?;
    let folder = doctor(&space, "--from file:///absent/folder").await?;
    finds(
        &folder,
        1,
        "file:///absent/folder: no such folder",
        "correct the address, or set the variable (docs/storage.md)",
    );
    // A server that takes nobody's credentials.
    let server = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}", server.local_addr()?);
    let refusing = std::thread::spawn(move || -> std::io::Result<()> {
        let (mut client, _) = server.accept()?;
        let mut request = [0; 8192];
        let _ = client.read(&mut request)?;
        let body = "<Error><Code>InvalidAccessKeyId</Code></Error>";
        let length = body.len();
        write!(
            client,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
    });
    let mut command = space.command("podcov-doctor", ["--from", "s3://bucket/coverage"]);
    command.env("AWS_ENDPOINT_URL", address).env("AWS_REGION", "nowhere");
    command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
    finds(
        &run(command).await?,
        1,
        "s3://bucket/coverage: …the credentials are not accepted (403 InvalidAccessKeyId)",
        "see the credentials in docs/storage.md, and the rights to list and to read there",
    );
    refusing.join().map_err(|_| anyhow::anyhow!("the server panicked"))??;
    Ok(())
}
