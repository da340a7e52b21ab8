//! StatefulSets: numbered pods, made in order, replaced one by one from the last.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{create, pod_from, pods_of, replicas, set_count};
use crate::{cluster::Cluster, kubelet, object, resource::STATEFUL_SETS};

const REVISION: &str = "controller-revision-hash";

pub(crate) fn reconcile(cluster: &Arc<Cluster>) {
    for set in cluster.store.list(&STATEFUL_SETS, None).0 {
        let name = object::name(&set);
        let revision = format!("{name}-{}", object::content_name(&set["spec"]["template"].to_string()));
        step(cluster, &set, &revision);
        write_status(cluster, &set, &revision);
    }
}

/// Makes or removes pods as far as the order lets it.
fn step(cluster: &Arc<Cluster>, set: &Value, revision: &str) {
    let (name, desired) = (object::name(set), replicas(set));
    let parallel = object::text(set, "/spec/podManagementPolicy") == "Parallel";
    let pods = pods_of(cluster, set);
    let find = |ordinal: usize| pods.iter().find(|pod| object::name(pod) == format!("{name}-{ordinal}"));
    let delete = |pod: &Value| kubelet::delete_pod(cluster, object::namespace(pod), object::name(pod), None);
    for ordinal in 0..desired {
        match find(ordinal) {
            None => {
                let (pod_name, index) = (format!("{name}-{ordinal}"), ordinal.to_string());
                let labels = [
                    (REVISION, revision),
                    ("statefulset.kubernetes.io/pod-name", &pod_name),
                    ("apps.kubernetes.io/pod-index", &index),
                ];
                create(cluster, pod_from(&STATEFUL_SETS, set, pod_name.clone(), &labels));
            }
            Some(pod) if object::is_ready(pod) && !object::is_terminating(pod) => continue,
            // One of an old template that never gets ready would hold everything up.
            Some(pod) if !object::is_terminating(pod) && object::label(pod, REVISION) != Some(revision) => {
                delete(pod);
            }
            Some(_) => {}
        }
        if !parallel {
            return;
        }
    }
    let ordinal =
        |pod: &Value| object::name(pod).rsplit('-').next().and_then(|text| text.parse::<usize>().ok());
    let surplus = pods.iter().filter(|pod| ordinal(pod).is_some_and(|ordinal| ordinal >= desired));
    if let Some(last) = surplus.max_by_key(|pod| ordinal(pod)) {
        if !object::is_terminating(last) {
            delete(last);
        }
        return;
    }
    let on_delete = object::text(set, "/spec/updateStrategy/type") == "OnDelete";
    let outdated =
        (0..desired).rev().filter_map(find).find(|pod| object::label(pod, REVISION) != Some(revision));
    if let Some(pod) = outdated
        && !on_delete
        && pods.iter().all(|pod| !object::is_terminating(pod) && object::is_ready(pod))
    {
        delete(pod);
    }
}

fn write_status(cluster: &Cluster, set: &Value, revision: &str) {
    let pods = pods_of(cluster, set);
    let counted = |test: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| test(pod)).count();
    let updated =
        counted(&|pod| object::label(pod, REVISION) == Some(revision) && !object::is_terminating(pod));
    let mut status = json!({
        "observedGeneration": set["metadata"]["generation"],
        "replicas": pods.len(),
        "updateRevision": revision,
        "currentRevision": if updated == pods.len() { revision } else { object::text(set, "/status/currentRevision") },
    });
    let ready = counted(&|pod| object::is_ready(pod) && !object::is_terminating(pod));
    set_count(&mut status, "readyReplicas", ready);
    set_count(&mut status, "availableReplicas", ready);
    set_count(&mut status, "updatedReplicas", updated);
    set_count(&mut status, "currentReplicas", updated);
    cluster
        .store
        .update(&STATEFUL_SETS, object::namespace(set), object::name(set), |set| set["status"] = status);
}
