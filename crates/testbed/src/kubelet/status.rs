//! A pod's status, computed from its containers'.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ContainerStatus;
use serde_json::{Value, json};

use super::slot::Slot;
use crate::object;

/// The status of `pod` with its containers as in `slots`. Conditions keep their time while they do not change.
pub(crate) fn of(pod: &Value, slots: &BTreeMap<String, Slot>, address: &str) -> Value {
    let statuses = |list: &str| -> Vec<&Slot> {
        let containers = pod.pointer(list).and_then(Value::as_array).into_iter().flatten();
        containers.filter_map(|container| slots.get(container["name"].as_str()?)).collect()
    };
    let init = statuses("/spec/initContainers");
    let mains = statuses("/spec/containers");
    let initialized = init.iter().all(|slot| slot.status.started == Some(true) || succeeded(slot));
    let unready: Vec<&str> = mains
        .iter()
        .chain(init.iter().filter(|slot| !slot.finished))
        .filter(|slot| !slot.status.ready)
        .map(|slot| slot.status.name.as_str())
        .collect();
    let ready = initialized && unready.is_empty();
    let mut condition = Conditions { pod, now: object::rfc3339(object::now()) };
    let unready_reason =
        Some(("ContainersNotReady", format!("containers with unready status: [{}]", unready.join(" "))))
            .filter(|_| !ready);
    let conditions = vec![
        condition.make("PodReadyToStartContainers", true, None),
        condition.make("Initialized", initialized, None),
        condition.make("Ready", ready, unready_reason.clone()),
        condition.make("ContainersReady", ready, unready_reason),
        condition.make("PodScheduled", true, None),
    ];
    let mut status = json!({
        "phase": phase(initialized, &init, &mains),
        "conditions": conditions,
        "hostIP": "127.0.0.1",
        "hostIPs": [{"ip": "127.0.0.1"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": pod.pointer("/status/startTime").cloned().unwrap_or_else(|| condition.now.clone().into()),
        "qosClass": "BestEffort",
        "containerStatuses": list(&mains),
    });
    if !init.is_empty() {
        status["initContainerStatuses"] = list(&init);
    }
    status
}

fn list(slots: &[&Slot]) -> Value {
    let statuses: Vec<&ContainerStatus> = slots.iter().map(|slot| &slot.status).collect();
    json!(statuses)
}

fn phase(initialized: bool, init: &[&Slot], mains: &[&Slot]) -> &'static str {
    let never_ran = |slot: &&Slot| {
        let state = slot.status.state.as_ref();
        state.is_some_and(|state| state.waiting.is_some()) && slot.status.last_state.is_none()
    };
    if init.iter().any(|slot| slot.finished && !succeeded(slot)) {
        "Failed"
    } else if !initialized && mains.iter().all(never_ran) || mains.iter().any(never_ran) {
        "Pending"
    } else if mains.iter().all(|slot| slot.finished) {
        if mains.iter().copied().all(succeeded) { "Succeeded" } else { "Failed" }
    } else {
        "Running"
    }
}

fn succeeded(slot: &Slot) -> bool {
    let ended = slot.status.state.as_ref().and_then(|state| state.terminated.as_ref());
    slot.finished && ended.is_some_and(|ended| ended.exit_code == 0)
}

struct Conditions<'a> {
    pod: &'a Value,
    now: String,
}

impl Conditions<'_> {
    fn make(&mut self, kind: &str, holds: bool, reason: Option<(&str, String)>) -> Value {
        let status = if holds { "True" } else { "False" };
        let old = self.pod.pointer("/status/conditions").and_then(Value::as_array);
        let old = old.into_iter().flatten().find(|old| old["type"] == kind && old["status"] == status);
        let since = old.map_or_else(|| self.now.clone().into(), |old| old["lastTransitionTime"].clone());
        let mut condition =
            json!({"type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since});
        if let Some((reason, message)) = reason {
            condition["reason"] = reason.into();
            condition["message"] = message.into();
        }
        condition
    }
}
