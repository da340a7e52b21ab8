//! Deployments: a ReplicaSet for each template, the newest scaled up while the others are scaled down.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{count, replicas, set_count};
use crate::{
    cluster::Cluster,
    object,
    resource::{DEPLOYMENTS, REPLICA_SETS},
};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

pub(crate) fn reconcile(cluster: &Arc<Cluster>) {
    for deployment in cluster.store.list(&DEPLOYMENTS, None).0 {
        let hash = object::content_name(&deployment["spec"]["template"].to_string());
        let mut sets = cluster.store.list(&REPLICA_SETS, Some(object::namespace(&deployment))).0;
        sets.retain(|set| object::controller_uid(set) == Some(object::uid(&deployment)));
        let (current, old): (Vec<_>, Vec<_>) =
            sets.into_iter().partition(|set| object::label(set, HASH) == Some(&hash));
        let current = current.into_iter().next().unwrap_or_else(|| {
            let revision = old.iter().filter_map(|set| revision(set)).max().unwrap_or(0) + 1;
            create_set(cluster, &deployment, &hash, revision)
        });
        scale(cluster, &deployment, &current, &old);
        write_status(cluster, &deployment, &hash);
    }
}

fn revision(set: &Value) -> Option<u64> {
    set["metadata"]["annotations"][REVISION].as_str()?.parse().ok()
}

fn create_set(cluster: &Cluster, deployment: &Value, hash: &str, revision: u64) -> Arc<Value> {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = hash.into();
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = hash.into();
    let set = json!({
        "metadata": {
            "name": format!("{}-{hash}", object::name(deployment)),
            "namespace": object::namespace(deployment),
            "generation": 1,
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: revision.to_string()},
            "ownerReferences": object::owner_reference(&DEPLOYMENTS, deployment),
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
        "status": {"replicas": 0},
    });
    cluster.store.put(&REPLICA_SETS, set)
}

/// Moves replicas from the old sets to the current one, within the strategy's bounds.
fn scale(cluster: &Cluster, deployment: &Value, current: &Value, old: &[Arc<Value>]) {
    let desired = replicas(deployment);
    let recreate = object::text(deployment, "/spec/strategy/type") == "Recreate";
    let bound = |field: &str, up: bool| {
        let value = deployment.pointer(&format!("/spec/strategy/rollingUpdate/{field}"));
        portion(value, desired, up)
    };
    let (surge, unavailable) = match (bound("maxSurge", true), bound("maxUnavailable", false)) {
        _ if recreate => (0, desired),
        // Neither would leave no way to move.
        (0, 0) => (0, 1),
        bounds => bounds,
    };
    let of = |set: &Value| replicas(set);
    let old_total: usize = old.iter().map(|set| of(set)).sum();
    let old_pods: usize = old.iter().map(|set| status(set, "replicas")).sum();
    let now = of(current);
    let grown = if recreate && (old_total > 0 || old_pods > 0) {
        now
    } else if old_total == 0 {
        desired
    } else {
        desired.min((desired + surge).saturating_sub(old_total)).max(now.min(desired))
    };
    set_replicas(cluster, current, grown);

    // As many old ones may go as leave enough ready. Old ones that are not ready serve nobody.
    let ready = status(current, "readyReplicas").min(grown);
    let old_ready: usize = old.iter().map(|set| status(set, "readyReplicas").min(of(set))).sum();
    let needed = desired.saturating_sub(unavailable);
    let mut spare = (ready + old_ready).saturating_sub(needed) + (old_total - old_ready.min(old_total));
    for set in old {
        let gone = of(set).min(spare);
        spare -= gone;
        if gone > 0 {
            set_replicas(cluster, set, of(set) - gone);
        }
    }
}

/// A number of replicas, or a percentage of the desired ones; a quarter by default.
fn portion(value: Option<&Value>, desired: usize, up: bool) -> usize {
    let text = match value {
        Some(Value::Number(number)) => return count(number.as_i64().unwrap_or_default()),
        Some(Value::String(text)) => text,
        _ => "25%",
    };
    let percent: usize = text.trim_end_matches('%').parse().unwrap_or(25);
    if up { (desired * percent).div_ceil(100) } else { desired * percent / 100 }
}

fn status(object: &Value, field: &str) -> usize {
    object::number(object, &format!("/status/{field}")).map_or(0, count)
}

fn set_replicas(cluster: &Cluster, set: &Value, replicas: usize) {
    cluster.store.update(&REPLICA_SETS, object::namespace(set), object::name(set), |set| {
        if super::replicas(set) != replicas {
            set["spec"]["replicas"] = replicas.into();
            let generation = object::number(set, "/metadata/generation").unwrap_or(0);
            set["metadata"]["generation"] = (generation + 1).into();
        }
    });
}

fn write_status(cluster: &Cluster, deployment: &Value, hash: &str) {
    let mut sets = cluster.store.list(&REPLICA_SETS, Some(object::namespace(deployment))).0;
    sets.retain(|set| object::controller_uid(set) == Some(object::uid(deployment)));
    let sum = |field: &str| sets.iter().map(|set| status(set, field)).sum::<usize>();
    let updated = sets.iter().filter(|set| object::label(set, HASH) == Some(hash));
    let updated: usize = updated.map(|set| status(set, "replicas")).sum();
    let (total, ready, desired) = (sum("replicas"), sum("readyReplicas"), replicas(deployment));
    let mut new = json!({"observedGeneration": deployment["metadata"]["generation"]});
    set_count(&mut new, "replicas", total);
    set_count(&mut new, "updatedReplicas", updated);
    set_count(&mut new, "readyReplicas", ready);
    set_count(&mut new, "availableReplicas", ready);
    set_count(&mut new, "unavailableReplicas", desired.saturating_sub(ready));
    let flag = |holds: bool| if holds { "True" } else { "False" };
    let complete = updated == desired && total == desired && ready >= desired;
    let progress = if complete { "NewReplicaSetAvailable" } else { "ReplicaSetUpdated" };
    new["conditions"] = json!([
        {"type": "Available", "status": flag(ready >= desired - desired / 4), "reason": if ready >= desired - desired / 4 { "MinimumReplicasAvailable" } else { "MinimumReplicasUnavailable" }},
        {"type": "Progressing", "status": "True", "reason": progress},
    ]);
    cluster.store.update(
        &DEPLOYMENTS,
        object::namespace(deployment),
        object::name(deployment),
        |deployment| {
            deployment["status"] = new;
        },
    );
}
