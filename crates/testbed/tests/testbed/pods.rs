//! The lives of pods: rollouts, restarts, deletions, sidecars.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use podcov_testbed::{Image, Testbed};

use crate::common::{HELLO, bed, client, hello, run};

fn status(pod: &Pod) -> ContainerStatus {
    // A pod has no container statuses before its node has taken it on.
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    statuses.and_then(|all| all.first().cloned()).unwrap_or_default()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True")
}

fn names(bed: &Testbed) -> Vec<String> {
    bed.pods().into_iter().filter_map(|pod| pod.metadata.name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_template_rolls_over() {
    let (bed, _client, _pod) = hello().await;
    let before = bed.pods();
    assert_eq!(bed.apply(HELLO).unwrap(), ["deployment.apps/hello", "service/hello"]);
    bed.rollout_done().await.unwrap();
    assert_eq!(bed.pods().len(), 2);
    assert_eq!(names(&bed), before.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect::<Vec<_>>());

    bed.apply_labelled(HELLO, &[("skaffold.dev/run-id", "run-1")]).unwrap();
    let mut fewest = usize::MAX;
    bed.wait_for("rollout", |pods| {
        fewest = fewest.min(pods.iter().filter(|pod| is_ready(pod)).count());
        pods.iter().filter(|pod| is_ready(pod) && has_run_id(pod)).count() == 2
    })
    .await
    .unwrap();
    assert!(fewest >= 2, "old pods went before new ones were ready");
    bed.rollout_done().await.unwrap();
    for pod in &before {
        bed.gone(pod).await.unwrap();
    }
    assert!(bed.pods().iter().all(has_run_id));
    // The folders of the old ones went with them.
    assert_eq!(bed.container_dir("default", before[0].metadata.name.as_deref().unwrap(), "app"), None);
    bed.shutdown().await;
}

fn has_run_id(pod: &Pod) -> bool {
    pod.metadata
        .labels
        .as_ref()
        .is_some_and(|labels| labels.get("skaffold.dev/run-id").is_some_and(|id| id == "run-1"))
}

#[tokio::test(flavor = "multi_thread")]
async fn deletion_with_grace() {
    let (bed, client, name) = hello().await;
    let pod = bed.pod("default", &name).unwrap();
    let folder = bed.volume_dir("default", &name, "coverage").unwrap();
    bed.delete_pod("default", &name, Some(20)).unwrap();
    // The program ends on SIGTERM, well before its time is up.
    bed.gone(&pod).await.unwrap();
    bed.wait_for("replacement", |pods| pods.len() == 2 && pods.iter().all(is_ready)).await.unwrap();
    assert!(!folder.exists());

    let stubborn = "{apiVersion: v1, kind: Pod, metadata: {name: stubborn}, spec: {containers: [
        {name: app, image: hello, env: [{name: IGNORE_TERM, value: '1'}], ports: [{containerPort: 80}],
         readinessProbe: {tcpSocket: {port: 80}}}]}}";
    bed.apply(stubborn).unwrap();
    bed.rollout_done().await.unwrap();
    let pod = bed.pod("default", "stubborn").unwrap();
    let begun = std::time::Instant::now();
    bed.delete_pod("default", "stubborn", Some(1)).unwrap();
    let marked = bed.pod("default", "stubborn").unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    // While it is terminating, commands still run.
    assert_eq!(run(&client, "stubborn", &["true"]).await.code(), Some(0));
    bed.gone(&pod).await.unwrap();
    assert!(begun.elapsed().as_millis() >= 1000);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_container_restarts() {
    let (bed, client, name) = hello().await;
    let folder = bed.volume_dir("default", &name, "coverage").unwrap();
    fs_err::write(folder.join("kept"), "").unwrap();
    let port = bed.local_port("default", &name, 8080).unwrap();
    assert_eq!(run(&client, &name, &["kill", "-KILL", "1"]).await.code().map(|_| ()), Some(()));
    let restarted = |pods: &[Pod]| {
        pods.iter().any(|pod| {
            pod.metadata.name.as_ref() == Some(&name) && status(pod).restart_count == 1 && is_ready(pod)
        })
    };
    bed.wait_for("restart", restarted).await.unwrap();
    let pod = bed.pod("default", &name).unwrap();
    let last = status(&pod).last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal, last.reason.as_deref()), (137, Some(9), Some("Error")));
    // An emptyDir outlives its containers.
    assert!(folder.join("kept").exists());
    assert_ne!(bed.local_port("default", &name, 8080).unwrap(), port);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_gets_ready_is_named() {
    let bed = bed().await;
    bed.apply(HELLO.replace("image: hello", "image: missing").as_str()).unwrap();
    let error = bed.rollout_done().await.unwrap_err().to_string();
    assert!(
        error.starts_with("pod default/hello-") && error.contains("container app: ImagePullBackOff"),
        "{error}"
    );
    assert_eq!(bed.pods()[0].status.as_ref().unwrap().phase.as_deref(), Some("Pending"));
    // The image comes, and all is well.
    bed.image("missing", Image::new(crate::common::program()));
    bed.wait_for("readiness", |pods| pods.len() == 2 && pods.iter().all(is_ready)).await.unwrap();

    bed.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: crash}, spec: {containers: [
            {name: app, image: hello, env: [{name: CRASH, value: '7'}], ports: [{containerPort: 80}],
             readinessProbe: {tcpSocket: {port: 80}}}]}}",
    )
    .unwrap();
    let pods = bed
        .wait_for("back-off", |pods| {
            let crash = pods.iter().find(|pod| pod.metadata.name.as_deref() == Some("crash")).unwrap();
            let waiting = status(crash).state.and_then(|state| state.waiting);
            waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"))
        })
        .await
        .unwrap();
    assert!(!pods.is_empty());
    // rollout_done gives up once the container has been restarted several times.
    let error = bed.rollout_done().await.unwrap_err().to_string();
    assert!(
        error.contains("pod default/crash container app: CrashLoopBackOff") && error.contains("exit code 7"),
        "{error}"
    );
    assert!(error.ends_with("starting"), "the log is shown: {error}");
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_policies_and_phases() {
    let bed = bed().await;
    bed.image("shell", Image::new("sh"));
    for (name, policy, script) in [
        ("good", "Never", "exit 0"),
        ("bad", "Never", "exit 4"),
        ("again", "OnFailure", "[ -e x ] || { touch x; exit 1; }"),
    ] {
        bed.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{restartPolicy: {policy}, containers: [
                {{name: app, image: shell, args: ['-c', '{script}']}}]}}}}"
        ))
        .unwrap();
    }
    let phase = |pod: &Pod| pod.status.as_ref().unwrap().phase.clone().unwrap();
    bed.wait_for("ends", |pods| {
        pods.iter().all(|pod| ["Succeeded", "Failed"].contains(&phase(pod).as_str()))
    })
    .await
    .unwrap();
    for (name, expected, restarts) in
        [("good", "Succeeded", 0), ("bad", "Failed", 0), ("again", "Succeeded", 1)]
    {
        let pod = bed.pod("default", name).unwrap();
        assert_eq!((phase(&pod).as_str(), status(&pod).restart_count), (expected, restarts), "{name}");
    }
    let client = client(bed.kubeconfig()).await;
    let output = run(&client, "good", &["true"]).await;
    assert!(output.message().contains("container not found (\"app\")"), "{output:?}");
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sidecars_start_first_and_end_last() {
    let bed = bed().await;
    bed.image("shell", Image::new("sh"));
    let script = |name: &str| {
        format!(
            "echo {name} starts >> /log/log; trap \"echo {name} ends >> /log/log; exit 0\" TERM; while :; do sleep 0.01; done"
        )
    };
    bed.apply(&format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: pod}}, spec: {{terminationGracePeriodSeconds: 10, volumes: [{{name: log, emptyDir: {{}}}}],
          initContainers: [
            {{name: first, image: shell, args: ['-c', 'echo first >> /log/log'], volumeMounts: [{{name: log, mountPath: /log}}]}},
            {{name: side, image: shell, restartPolicy: Always, args: ['-c', '{}'], volumeMounts: [{{name: log, mountPath: /log}}]}}],
          containers: [{{name: main, image: shell, args: ['-c', '{}'], volumeMounts: [{{name: log, mountPath: /log}}]}}]}}}}",
        script("side"), script("main")
    ))
    .unwrap();
    bed.rollout_done().await.unwrap();
    let client = client(bed.kubeconfig()).await;
    let written = "until grep -q main /log/log && grep -q side /log/log; do sleep 0.01; done; cat /log/log";
    let output = run(&client, "pod:side", &["timeout", "10", "sh", "-c", written]).await;
    let starts: Vec<_> = output.text().lines().map(str::to_owned).collect();
    assert_eq!(starts[0], "first");
    assert_eq!(starts.len(), 3);
    let pod = bed.pod("default", "pod").unwrap();
    let init = pod.status.as_ref().unwrap().init_container_statuses.as_ref().unwrap();
    assert_eq!(
        init[0].state.as_ref().unwrap().terminated.as_ref().unwrap().reason.as_deref(),
        Some("Completed")
    );
    assert!(init[1].started == Some(true) && init[1].ready);
    // Kept past the pod's end by a second link.
    let log = bed.volume_dir("default", "pod", "log").unwrap().join("log");
    let kept = tempfile::tempdir_in(log.ancestors().nth(4).unwrap()).unwrap();
    fs_err::hard_link(&log, kept.path().join("log")).unwrap();
    bed.delete_pod("default", "pod", None).unwrap();
    bed.gone(&pod).await.unwrap();
    let lines = fs_err::read_to_string(kept.path().join("log")).unwrap();
    assert!(lines.ends_with("main ends\nside ends\n"), "{lines}");
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_testbed_would_not_run_is_refused() {
    let bed = bed().await;
    for (manifest, expected) in [
        (
            "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db}}",
            "StatefulSet db (apps/v1): the testbed has no such kind",
        ),
        (
            "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: set}}",
            "the testbed makes each ReplicaSet itself",
        ),
    ] {
        let error = bed.apply(manifest).unwrap_err();
        assert!(format!("{error:#}").ends_with(expected), "{error:#}");
    }
    bed.shutdown().await;
}
