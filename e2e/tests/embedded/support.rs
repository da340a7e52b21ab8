//! What the tests share: services in pods, and pods without a process.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;
use k8s_openapi::api::core::v1::Pod;
use podcov_e2e::{World, go_build, is_ready};
pub(crate) use podcov_e2e::{as_go_says, go_percent};
use podcov_testbed::{FixedPod, Image};
use serde_json::{Value, json};

/// The run that all pods here belong to.
pub(crate) const RUN: &str = "9b2f7a6e-0001-4c5d-8e9f-000000000001";

pub(crate) const META: &str = "covmeta.62ff98db792937fd37f18adced298d04";
pub(crate) const COUNTERS: &str = "covcounters.62ff98db792937fd37f18adced298d04.19644.1795224885693041480";

/// A service of `e2e/program`.
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'static str,
    pub(crate) replicas: u32,
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// Flags of `go build`.
    pub(crate) build: &'static [&'static str],
}

/// A service that writes its counters on SIGUSR1.
pub(crate) const WRITES: Service = Service {
    name: "writes",
    namespace: "default",
    replicas: 1,
    env: &[("ON_USR1", "write")],
    build: &["-cover", "-covermode=atomic"],
};

/// Deploys a service and waits until its pods are ready.
pub(crate) async fn deploy(world: &World, service: &Service) -> Result<()> {
    deploy_with(world, service, |_, _| {}).await
}

/// The same with a change of the container, which is told the program.
pub(crate) async fn deploy_with(
    world: &World,
    service: &Service,
    change: impl FnOnce(&mut Value, &Path),
) -> Result<()> {
    let Service { name, namespace, replicas, .. } = service;
    let binary = go_build("e2e/program", &format!("{name}-{}", service.build.join("")), service.build)?;
    world.bed.image(name, Image::new(&binary));
    let mut env = vec![
        json!({"name": "GOCOVERDIR", "value": "/coverage-data"}),
        json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    ];
    env.extend(service.env.iter().map(|(name, value)| json!({"name": name, "value": value})));
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [{
                    "name": "app", "image": name, "env": env,
                    "ports": [{"name": "main", "containerPort": 7000}],
                    "readinessProbe": {"tcpSocket": {"port": "main"}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "cov", "mountPath": "/coverage-data"}]
                }],
                "volumes": [{"name": "cov", "emptyDir": {}}]
            }
        }}
    });
    change(&mut deployment["spec"]["template"]["spec"]["containers"][0], &binary);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 70, "name": "tcp", "targetPort": "main"}]}
    });
    world.bed.apply_labelled(&format!("{deployment}\n---\n{service}\n"), &[("skaffold.dev/run-id", RUN)])?;
    world.bed.rollout_done().await
}

/// The pods of a service.
pub(crate) fn pods_of(world: &World, name: &str) -> Vec<String> {
    let of =
        |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|l| l.get("app").is_some_and(|a| a == name));
    world.bed.pods().into_iter().filter(of).filter_map(|p| p.metadata.name).collect()
}

/// Waits until a pod is gone and another one of its service is ready.
pub(crate) async fn replaced(world: &World, name: &str, old: &str) -> Result<()> {
    let of =
        |pod: &&Pod| pod.metadata.labels.as_ref().is_some_and(|l| l.get("app").is_some_and(|a| a == name));
    let another = |pods: &[Pod]| {
        let mut pods = pods.iter().filter(of).peekable();
        pods.peek().is_some() && pods.all(|p| is_ready(p) && p.metadata.name.as_deref() != Some(old))
    };
    world.bed.wait_for("another pod", another).await.map(drop)
}

/// A running pod's object, of this run, whose containers all have GOCOVERDIR.
pub(crate) fn running(namespace: &str, name: &str, containers: &[&str]) -> Value {
    let spec = |c: &&str| json!({"name": c, "image": "example", "env": [{"name": "GOCOVERDIR", "value": "/coverage-data"}]});
    let status = |c: &&str| {
        json!({"name": c, "image": "example", "imageID": "example@sha256:00", "ready": true, "restartCount": 0,
               "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "labels": {"skaffold.dev/run-id": RUN}},
        "spec": {"nodeName": "node", "containers": containers.iter().map(spec).collect::<Vec<_>>()},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                   "containerStatuses": containers.iter().map(status).collect::<Vec<_>>()}
    })
}

/// A pod without a process.
pub(crate) fn fixed(object: Value) -> FixedPod {
    FixedPod::new(serde_json::from_value(object).expect("a pod"))
}

/// The counters of a real program's run: 62.5 % of its statements.
pub(crate) fn fixture() -> PathBuf {
    podcov_e2e::top().join("crates/covdata/tests/fixtures/atomic")
}

/// A folder of a world's with two files that make up one process's run: those of the fixture, but that no other folder
/// has counters of that name.
pub(crate) fn one_run(world: &World, name: &str) -> Result<PathBuf> {
    let folder = world.dir().join("pods").join(name);
    fs::create_dir_all(&folder)?;
    fs::copy(fixture().join(META), folder.join(META))?;
    fs::copy(fixture().join(COUNTERS), folder.join(counters_of(name)))?;
    Ok(folder)
}

/// The name of the counter file in the folder that [`one_run`] makes.
pub(crate) fn counters_of(name: &str) -> String {
    let number = name.bytes().fold(7_u64, |number, byte| (number * 31 + u64::from(byte)) % 1_000_000_007);
    let (start, _) = COUNTERS.rsplit_once('.').expect("a time");
    format!("{start}.{}", 1_795_224_885_000_000_000 + number)
}

/// Adds a running pod with one container, `app`, that holds one run.
pub(crate) fn add_pod_with_a_run(world: &World, namespace: &str, name: &str) -> Result<()> {
    let folder = one_run(world, &format!("{namespace}-{name}"))?;
    world.bed.add_pod(fixed(running(namespace, name, &["app"])).mount("app", "/coverage-data", folder))
}
