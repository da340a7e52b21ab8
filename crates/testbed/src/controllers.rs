//! Deployments: after every change there are the pods that each asks for. Between a deployment and its pods is a
//! ReplicaSet for each template, which says whose the pods are and no more.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    kubelet, object,
    resource::{DEPLOYMENTS, PODS, REPLICA_SETS},
};

const HASH: &str = "pod-template-hash";

/// Runs until the testbed ends.
pub(crate) async fn run(cluster: Arc<Cluster>) {
    let mut versions = cluster.store.versions();
    loop {
        versions.borrow_and_update();
        collect_garbage(&cluster);
        for deployment in cluster.store.list(&DEPLOYMENTS, None).0 {
            reconcile(&cluster, &deployment);
        }
        if versions.changed().await.is_err() {
            return;
        }
    }
}

/// Whether all replicas are there, ready and of the newest template, and no others.
pub(crate) fn is_rolled_out(cluster: &Cluster, deployment: &Value) -> bool {
    let Some(set) = cluster.store.get(&REPLICA_SETS, object::namespace(deployment), &set_name(deployment))
    else {
        return false;
    };
    let (current, old) = pods(cluster, deployment, &set);
    old.is_empty() && current.len() == replicas(deployment) && current.iter().all(|pod| object::is_ready(pod))
}

/// Brings a deployment's pods closer to those that should be: new ones at once, and old ones go as soon as enough others
/// are ready.
fn reconcile(cluster: &Arc<Cluster>, deployment: &Value) {
    let set = set(cluster, deployment);
    let (mut current, old) = pods(cluster, deployment, &set);
    let desired = replicas(deployment);
    for _ in current.len()..desired {
        let mut pod =
            json!({"metadata": set["spec"]["template"]["metadata"], "spec": set["spec"]["template"]["spec"]});
        let name = format!("{}-{}", object::name(&set), object::name_suffix());
        pod["metadata"]["name"] = name.clone().into();
        pod["metadata"]["namespace"] = object::namespace(&set).into();
        pod["metadata"]["ownerReferences"] = object::owner_reference(&REPLICA_SETS, &set);
        // It fails only where the testbed's own folder cannot be written.
        if let Err(error) = kubelet::create_pod(cluster, pod) {
            tracing::error!("cannot start pod {name}: {error:#}");
        }
    }
    let delete = |pod: &Value| kubelet::delete_pod(cluster, object::namespace(pod), object::name(pod), None);
    // Those that are not ready go first.
    current.sort_by_key(|pod| object::is_ready(pod));
    for pod in current.iter().take(current.len().saturating_sub(desired)) {
        delete(pod);
    }
    let (old_ready, unready): (Vec<_>, Vec<_>) = old.into_iter().partition(|pod| object::is_ready(pod));
    let ready = current.iter().filter(|pod| object::is_ready(pod)).count();
    let spare = (ready + old_ready.len()).saturating_sub(desired);
    for pod in unready.iter().chain(old_ready.iter().take(spare)) {
        delete(pod);
    }
}

/// The ReplicaSet of a deployment's template, made where there is none.
fn set(cluster: &Cluster, deployment: &Value) -> Arc<Value> {
    let (namespace, name) = (object::namespace(deployment), set_name(deployment));
    cluster.store.get(&REPLICA_SETS, namespace, &name).unwrap_or_else(|| {
        let hash = name.rsplit('-').next().unwrap_or_default();
        let mut template = deployment["spec"]["template"].clone();
        template["metadata"]["labels"][HASH] = hash.into();
        let mut selector = deployment["spec"]["selector"].clone();
        selector["matchLabels"][HASH] = hash.into();
        let metadata = json!({
            "name": name,
            "namespace": namespace,
            "labels": template["metadata"]["labels"],
            "ownerReferences": object::owner_reference(&DEPLOYMENTS, deployment),
        });
        cluster.store.put(
            &REPLICA_SETS,
            json!({"metadata": metadata, "spec": {"selector": selector, "template": template}}),
        )
    })
}

fn set_name(deployment: &Value) -> String {
    let hash = object::content_name(&deployment["spec"]["template"].to_string());
    format!("{}-{hash}", object::name(deployment))
}

/// The pods of a deployment that count as replicas: those of `set`, and those of its other sets.
fn pods(cluster: &Cluster, deployment: &Value, set: &Value) -> (Vec<Arc<Value>>, Vec<Arc<Value>>) {
    let namespace = Some(object::namespace(deployment));
    let mut sets = cluster.store.list(&REPLICA_SETS, namespace).0;
    sets.retain(|set| object::controller_uid(set) == Some(object::uid(deployment)));
    let mut pods = cluster.store.list(&PODS, namespace).0;
    pods.retain(|pod| {
        let owner = object::controller_uid(pod);
        let is_over = matches!(object::text(pod, "/status/phase"), "Succeeded" | "Failed");
        !is_over && !object::is_terminating(pod) && sets.iter().any(|set| Some(object::uid(set)) == owner)
    });
    pods.into_iter().partition(|pod| object::controller_uid(pod) == Some(object::uid(set)))
}

/// Deletes what belongs to a controller that is gone.
fn collect_garbage(cluster: &Arc<Cluster>) {
    let uids = |resource| -> Vec<String> {
        cluster.store.list(resource, None).0.iter().map(|object| object::uid(object).to_owned()).collect()
    };
    let is_orphaned = |owners: &[String], object: &Value| {
        object::controller_uid(object).is_some_and(|uid| !owners.iter().any(|owner| owner == uid))
    };
    let deployments = uids(&DEPLOYMENTS);
    for set in cluster.store.list(&REPLICA_SETS, None).0 {
        if is_orphaned(&deployments, &set) {
            cluster.store.delete(&REPLICA_SETS, object::namespace(&set), object::name(&set));
        }
    }
    let sets = uids(&REPLICA_SETS);
    for pod in cluster.store.list(&PODS, None).0 {
        let (namespace, name) = (object::namespace(&pod), object::name(&pod));
        let is_left = is_orphaned(&sets, &pod) && !cluster.kubelet.is_fixed(namespace, name);
        if is_left && !object::is_terminating(&pod) {
            kubelet::delete_pod(cluster, namespace, name, None);
        }
    }
}

/// How many replicas a deployment asks for.
pub(crate) fn replicas(deployment: &Value) -> usize {
    object::number(deployment, "/spec/replicas")
        .map_or(1, |number| usize::try_from(number).unwrap_or_default())
}
