//! The controllers: after every change they bring the objects there are closer to those that should be.

mod deployment;
mod endpoints;
mod replicaset;
mod statefulset;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    kubelet, object,
    resource::{DEPLOYMENTS, PODS, REPLICA_SETS, Resource, STATEFUL_SETS},
};

/// Runs until the testbed ends.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut versions = cluster.store.versions();
    loop {
        versions.borrow_and_update();
        collect_garbage(&cluster);
        deployment::reconcile(&cluster);
        replicaset::reconcile(&cluster);
        statefulset::reconcile(&cluster);
        endpoints::reconcile(&cluster);
        if versions.changed().await.is_err() {
            return;
        }
    }
}

/// Deletes what belongs to a controller that is gone.
fn collect_garbage(cluster: &Arc<Cluster>) {
    let mut owners: Vec<String> = Vec::new();
    for resource in [&DEPLOYMENTS, &STATEFUL_SETS] {
        owners.extend(cluster.store.list(resource, None).0.iter().map(|owner| object::uid(owner).to_owned()));
    }
    let orphaned = |owners: &[String], object: &Value| {
        object::controller_uid(object).is_some_and(|uid| !owners.iter().any(|owner| owner == uid))
    };
    for set in cluster.store.list(&REPLICA_SETS, None).0 {
        if orphaned(&owners, &set) {
            cluster.store.delete(&REPLICA_SETS, object::namespace(&set), object::name(&set));
        } else {
            owners.push(object::uid(&set).to_owned());
        }
    }
    for pod in pods(cluster) {
        let fixed = || cluster.kubelet.is_fixed(object::namespace(&pod), object::name(&pod));
        if orphaned(&owners, &pod) && !object::is_terminating(&pod) && !fixed() {
            kubelet::delete_pod(cluster, object::namespace(&pod), object::name(&pod), None);
        }
    }
}

/// The pods that have a controller.
fn pods(cluster: &Cluster) -> Vec<Arc<Value>> {
    let mut pods = cluster.store.list(&PODS, None).0;
    pods.retain(|pod| object::controller_uid(pod).is_some());
    pods
}

/// The pods of one controller.
fn pods_of(cluster: &Cluster, owner: &Value) -> Vec<Arc<Value>> {
    let mut pods = pods(cluster);
    pods.retain(|pod| object::controller_uid(pod) == Some(object::uid(owner)));
    pods
}

/// Whether a pod counts as one of its controller's replicas.
fn is_active(pod: &Value) -> bool {
    !object::is_terminating(pod) && !matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// A pod after a controller's template.
fn pod_from(resource: &Resource, owner: &Value, name: String, labels: &[(&str, &str)]) -> Value {
    let template = &owner["spec"]["template"];
    let mut metadata = template["metadata"].clone();
    metadata["name"] = name.into();
    metadata["namespace"] = object::namespace(owner).into();
    metadata["ownerReferences"] = object::owner_reference(resource, owner);
    for (key, value) in labels {
        metadata["labels"][*key] = (*value).into();
    }
    json!({"metadata": metadata, "spec": template["spec"]})
}

/// How many replicas a controller's object asks for.
pub(crate) fn replicas(object: &Value) -> usize {
    count(object::number(object, "/spec/replicas").unwrap_or(1))
}

fn count(number: i64) -> usize {
    usize::try_from(number).unwrap_or_default()
}

/// A status field counting replicas; the API leaves zeros out.
fn set_count(status: &mut Value, field: &str, count: usize) {
    if count > 0 {
        status[field] = count.into();
    }
}

/// Starts a pod of a controller's. It fails only where the testbed's own folder cannot be written.
fn create(cluster: &Arc<Cluster>, pod: Value) {
    let name = object::name(&pod).to_owned();
    if let Err(error) = kubelet::create_pod(cluster, pod) {
        tracing::error!("cannot start pod {name}: {error:#}");
    }
}
