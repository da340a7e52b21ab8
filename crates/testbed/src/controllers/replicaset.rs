//! ReplicaSets: as many pods as asked for.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{create, is_active, pod_from, pods_of, replicas, set_count};
use crate::{cluster::Cluster, kubelet, object, resource::REPLICA_SETS};

pub(crate) fn reconcile(cluster: &Arc<Cluster>) {
    for set in cluster.store.list(&REPLICA_SETS, None).0 {
        let desired = replicas(&set);
        let mut active: Vec<_> = pods_of(cluster, &set).into_iter().filter(|pod| is_active(pod)).collect();
        for _ in active.len()..desired {
            let name = format!("{}-{}", object::name(&set), object::name_suffix());
            create(cluster, pod_from(&REPLICA_SETS, &set, name, &[]));
        }
        // Those that are not ready go first, then the youngest.
        active.sort_by_key(|pod| (object::is_ready(pod), std::cmp::Reverse(created(pod))));
        for pod in active.iter().take(active.len().saturating_sub(desired)) {
            kubelet::delete_pod(cluster, object::namespace(pod), object::name(pod), None);
        }
        write_status(cluster, &set);
    }
}

fn created(pod: &Value) -> String {
    object::text(pod, "/metadata/creationTimestamp").to_owned()
}

fn write_status(cluster: &Cluster, set: &Value) {
    let active: Vec<_> = pods_of(cluster, set).into_iter().filter(|pod| is_active(pod)).collect();
    let ready = active.iter().filter(|pod| object::is_ready(pod)).count();
    let mut status = json!({"replicas": active.len(), "observedGeneration": set["metadata"]["generation"]});
    for field in ["readyReplicas", "availableReplicas"] {
        set_count(&mut status, field, ready);
    }
    set_count(&mut status, "fullyLabeledReplicas", active.len());
    cluster
        .store
        .update(&REPLICA_SETS, object::namespace(set), object::name(set), |set| set["status"] = status);
}
