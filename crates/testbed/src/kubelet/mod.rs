//! The node: runs each pod as local processes in a folder of its own.

mod container;
mod env;
mod fixed;
pub(crate) mod paths;
mod pod;
mod ports;
mod probe;
pub(crate) mod procfs;
mod status;
pub(crate) mod tools;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::Value;

pub use self::fixed::FixedPod;
pub(crate) use self::fixed::add_fixed;
use self::{pod::PodRuntime, tools::ToolBox};
use crate::{
    api::status::Failure,
    cluster::Cluster,
    object,
    resource::{NAMESPACES, PODS},
    signals::SignalRecord,
};

/// The node's name.
pub(crate) const NODE: &str = "testbed-node";

/// The pods that run here.
#[derive(Debug, Default)]
pub(crate) struct Kubelet(Mutex<HashMap<(String, String), Arc<PodRuntime>>>);

/// What a command in a container needs.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Whom its processes belong to.
    pub(crate) owner: String,
    /// The container's process 1 on the host; pods fixed by a test have none.
    pub(crate) pid: Option<i32>,
    pub(crate) folder: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) paths: paths::Paths,
    pub(crate) tools: Arc<ToolBox>,
}

impl Kubelet {
    /// A running container.
    pub(crate) fn target(&self, namespace: &str, pod: &str, container: &str) -> Option<Target> {
        self.runtime(namespace, pod)?.slots().get(container)?.target.clone()
    }

    /// The local port that stands for a port of the pod.
    pub(crate) fn local_port(&self, namespace: &str, pod: &str, port: u16) -> Option<u16> {
        self.runtime(namespace, pod)?.port(port)
    }

    /// The file a container's output goes to.
    pub(crate) fn log_path(&self, namespace: &str, pod: &str, container: &str) -> Option<PathBuf> {
        let runtime = self.runtime(namespace, pod)?;
        Some(runtime.log_path(container)).filter(|_| runtime.fixed.is_none())
    }

    /// The folder a container runs in, and that of a volume.
    pub(crate) fn folder(&self, namespace: &str, pod: &str, container: &str) -> Option<PathBuf> {
        self.runtime(namespace, pod)?.slots().get(container).map(|slot| slot.folder.clone())
    }

    pub(crate) fn volume(&self, namespace: &str, pod: &str, volume: &str) -> Option<PathBuf> {
        Some(self.runtime(namespace, pod)?.volume(volume)).filter(|path| path.is_dir())
    }

    /// Whether commands in this pod reach no process.
    pub(crate) fn is_fixed(&self, namespace: &str, pod: &str) -> bool {
        self.runtime(namespace, pod).is_some_and(|runtime| runtime.fixed.is_some())
    }

    /// Sends a signal to a container's process 1, or tells the test that fixed the pod.
    pub(crate) fn deliver(&self, record: &SignalRecord, signal: Option<Signal>) {
        let Some(runtime) = self.runtime(&record.namespace, &record.pod) else { return };
        if let Some(fixed) = &runtime.fixed {
            fixed.signalled(record);
        } else if let Some(signal) = signal
            && let Some(slot) = runtime.slots().get(&record.container)
            && let Some(signals) = &slot.signals
        {
            // A container that has just ended takes no more signals.
            let _ = signals.send(signal);
        }
    }

    fn runtime(&self, namespace: &str, pod: &str) -> Option<Arc<PodRuntime>> {
        self.pods().get(&(namespace.to_owned(), pod.to_owned())).cloned()
    }

    fn put(&self, runtime: Arc<PodRuntime>) {
        self.pods().insert((runtime.namespace.clone(), runtime.name.clone()), runtime);
    }

    /// Takes a pod away, unless another of the same name has come since.
    fn remove(&self, runtime: &PodRuntime) {
        let key = (runtime.namespace.clone(), runtime.name.clone());
        let mut pods = self.pods();
        if pods.get(&key).is_some_and(|current| current.uid == runtime.uid) {
            pods.remove(&key);
        }
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<PodRuntime>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod object, or the answer that there is none.
pub(crate) fn pod(cluster: &Cluster, namespace: &str, name: &str) -> Result<Pod, Failure> {
    if !cluster.store.has_namespace(namespace) {
        return Err(Failure::not_found(&NAMESPACES, namespace));
    }
    let object = cluster.store.get(&PODS, namespace, name).ok_or_else(|| Failure::not_found(&PODS, name))?;
    Pod::deserialize(object.as_ref()).map_err(|error| Failure::internal(&error.to_string()))
}

/// Stores a pod and starts it.
pub(crate) fn create_pod(cluster: &Arc<Cluster>, mut object: Value) -> anyhow::Result<()> {
    object["spec"]["nodeName"] = NODE.into();
    for (field, value) in [
        ("/spec/restartPolicy", Value::from("Always")),
        ("/spec/terminationGracePeriodSeconds", 30.into()),
        ("/spec/dnsPolicy", "ClusterFirst".into()),
        ("/spec/serviceAccountName", "default".into()),
    ] {
        if object.pointer(field).is_none() {
            object["spec"][field.trim_start_matches("/spec/")] = value;
        }
    }
    object["status"] = serde_json::json!({"phase": "Pending", "qosClass": "BestEffort"});
    let stored = cluster.store.put(&PODS, object);
    let pod = Pod::deserialize(stored.as_ref())?;
    let runtime = PodRuntime::create(cluster, &pod)?;
    cluster.kubelet.put(runtime.clone());
    cluster.spawn(pod::run(cluster.clone(), runtime, pod));
    Ok(())
}

/// Begins a pod's deletion as the API server does; the pod as it is then, or `None` if there is none.
pub(crate) fn delete_pod(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    grace: Option<i64>,
) -> Option<Arc<Value>> {
    let pod = cluster.store.get(&PODS, namespace, name)?;
    let of_spec = object::number(&pod, "/spec/terminationGracePeriodSeconds");
    let mut grace = grace.or(of_spec).unwrap_or(30).max(0);
    if object::is_terminating(&pod) {
        // A second deletion may only bring the end nearer.
        grace = grace.min(object::number(&pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(grace));
    }
    let at = object::now().saturating_add(SignedDuration::from_secs(grace)).unwrap_or_else(|_| object::now());
    let marked = cluster.store.update(&PODS, namespace, name, |pod| {
        pod["metadata"]["deletionTimestamp"] = object::rfc3339(at).into();
        pod["metadata"]["deletionGracePeriodSeconds"] = grace.into();
    })?;
    let runtime = cluster.kubelet.runtime(namespace, name);
    let runs = runtime.as_ref().is_some_and(|runtime| runtime.fixed.is_none());
    if let Some(runtime) = &runtime {
        runtime.stop.send_replace(Some(Duration::from_secs(grace.unsigned_abs())));
        if grace == 0 || !runs {
            for slot in runtime.slots().values_mut() {
                slot.target = None;
                cluster.processes.kill_owned(&slot.owner);
            }
        }
        if !runs {
            cluster.kubelet.remove(runtime);
        }
    }
    if grace == 0 || !runs {
        cluster.store.delete(&PODS, namespace, name);
    }
    Some(marked)
}
