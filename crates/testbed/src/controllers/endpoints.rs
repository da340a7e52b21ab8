//! Endpoints: for each service with a selector, the pods behind it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    object,
    resource::{ENDPOINTS, PODS, SERVICES},
};

pub(crate) fn reconcile(cluster: &Arc<Cluster>) {
    let services = cluster.store.list(&SERVICES, None).0;
    for service in &services {
        let selector = object::map(service, "/spec/selector");
        if selector.is_empty() {
            continue;
        }
        let (namespace, name) = (object::namespace(service), object::name(service));
        let subsets = subsets(cluster, service, &selector);
        match cluster.store.get(&ENDPOINTS, namespace, name) {
            Some(_) => {
                cluster.store.update(&ENDPOINTS, namespace, name, |endpoints| endpoints["subsets"] = subsets);
            }
            None => {
                let labels = service["metadata"]["labels"].clone();
                let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
                cluster.store.put(&ENDPOINTS, json!({"metadata": metadata, "subsets": subsets}));
            }
        }
    }
    for endpoints in cluster.store.list(&ENDPOINTS, None).0 {
        let (namespace, name) = (object::namespace(&endpoints), object::name(&endpoints));
        if cluster.store.get(&SERVICES, namespace, name).is_none() {
            cluster.store.delete(&ENDPOINTS, namespace, name);
        }
    }
}

/// The pods behind a service, those with the same ports together. A named target port may differ between pods.
fn subsets(cluster: &Cluster, service: &Value, selector: &BTreeMap<String, String>) -> Value {
    let mut by_ports: BTreeMap<String, (Value, Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in cluster.store.list(&PODS, Some(object::namespace(service))).0 {
        let selected = selector.iter().all(|(key, value)| object::label(&pod, key) == Some(value));
        let address = object::text(&pod, "/status/podIP");
        let over = matches!(object::text(&pod, "/status/phase"), "Succeeded" | "Failed");
        if !selected || address.is_empty() || over || object::is_terminating(&pod) {
            continue;
        }
        let ports = ports(service, &pod);
        let (_, ready, not_ready) =
            by_ports.entry(ports.to_string()).or_insert_with(|| (ports, Vec::new(), Vec::new()));
        let list = if object::is_ready(&pod) { ready } else { not_ready };
        list.push(json!({
            "ip": address,
            "nodeName": pod["spec"]["nodeName"],
            "targetRef": {
                "kind": "Pod",
                "name": object::name(&pod),
                "namespace": object::namespace(&pod),
                "uid": object::uid(&pod),
            },
        }));
    }
    let subsets: Vec<Value> = by_ports
        .into_values()
        .map(|(ports, ready, not_ready)| {
            let mut subset = json!({"ports": ports});
            for (field, addresses) in [("addresses", ready), ("notReadyAddresses", not_ready)] {
                if !addresses.is_empty() {
                    subset[field] = addresses.into();
                }
            }
            subset
        })
        .collect();
    subsets.into()
}

fn ports(service: &Value, pod: &Value) -> Value {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let resolved: Vec<Value> = ports
        .filter_map(|port| {
            let target = match &port["targetPort"] {
                Value::String(name) => named_port(pod, name)?,
                Value::Null => port["port"].clone(),
                number => number.clone(),
            };
            let mut resolved = json!({"port": target, "protocol": port["protocol"]});
            if let Some(name) = port["name"].as_str() {
                resolved["name"] = name.into();
            }
            Some(resolved)
        })
        .collect();
    resolved.into()
}

fn named_port(pod: &Value, name: &str) -> Option<Value> {
    let containers = pod["spec"]["containers"].as_array()?.iter();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.find(|port| port["name"] == name).map(|port| port["containerPort"].clone())
}
