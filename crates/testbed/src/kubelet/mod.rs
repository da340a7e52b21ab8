//! The node: runs each pod as local processes in a folder of its own.

mod container;
mod env;
mod fixed;
pub(crate) mod paths;
mod pod;
mod ports;
mod probe;
pub(crate) mod procfs;
mod runtime;
mod slot;
mod status;
pub(crate) mod tools;

use std::{sync::Arc, time::Duration};

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::Value;

pub use self::fixed::FixedPod;
use self::runtime::PodRuntime;
pub(crate) use self::{env::NODE, fixed::add_fixed, runtime::Kubelet, slot::Target};
use crate::{
    api::status::Failure,
    cluster::Cluster,
    object,
    resource::{NAMESPACES, PODS},
};

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
    let runtime = PodRuntime::create(&cluster.root, cluster.next_address("10.244"), &pod)?;
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
    let runs = runtime.as_ref().is_some_and(|runtime| !runtime.is_fixed);
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
