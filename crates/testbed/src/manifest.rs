//! Applying manifests.

use std::sync::Arc;

use anyhow::{Context, bail};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Namespace, Pod, Service},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    cluster::Cluster,
    kubelet, object,
    resource::{self, DEPLOYMENTS, PODS, Resource, SERVICES},
};

/// Applies every document of a manifest, with these labels put on each object and pod template. Gives the objects as
/// `kubectl apply` names them: `deployment.apps/hello`, `service/hello`.
pub(crate) fn apply(
    cluster: &Arc<Cluster>,
    yaml: &str,
    labels: &[(&str, &str)],
) -> anyhow::Result<Vec<String>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("the manifest is not YAML")?;
    let mut applied = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        let (api_version, kind) = (object::text(&document, "/apiVersion"), object::text(&document, "/kind"));
        let name = object::name(&document).to_owned();
        if kind.is_empty() || name.is_empty() {
            bail!("a document of the manifest has no kind or no metadata.name");
        }
        let Some(resource) = resource::by_kind(api_version, kind) else {
            bail!("{kind} {name} ({api_version}): the testbed has no such kind");
        };
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let shown = format!("{}{group}/{name}", resource.singular);
        apply_one(cluster, resource, document, labels).with_context(|| shown.clone())?;
        applied.push(shown);
    }
    Ok(applied)
}

fn apply_one(
    cluster: &Arc<Cluster>,
    resource: &'static Resource,
    mut object: Value,
    labels: &[(&str, &str)],
) -> anyhow::Result<()> {
    if resource.namespaced {
        if object::namespace(&object).is_empty() {
            object["metadata"]["namespace"] = "default".into();
        }
        let namespace = object::namespace(&object);
        if !cluster.store.has_namespace(namespace) {
            bail!("namespaces {namespace:?} not found");
        }
    } else if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("namespace");
    }
    for (key, value) in labels {
        object["metadata"]["labels"][*key] = (*value).into();
        if *resource == DEPLOYMENTS {
            object["spec"]["template"]["metadata"]["labels"][*key] = (*value).into();
        }
    }
    match resource.kind {
        "Pod" => {
            checked::<Pod>(&object)?;
            let (namespace, name) = (object::namespace(&object), object::name(&object));
            if cluster.store.get(&PODS, namespace, name).is_some() {
                bail!("pods {name:?} already exists");
            }
            return kubelet::create_pod(cluster, object);
        }
        "Namespace" => {
            checked::<Namespace>(&object)?;
            namespace_defaults(&mut object);
        }
        "Service" => {
            checked::<Service>(&object)?;
            service_defaults(cluster, &mut object);
        }
        "Deployment" => {
            checked::<Deployment>(&object)?;
            check_selector(&object)?;
            if object["spec"]["replicas"].is_null() {
                object["spec"]["replicas"] = 1.into();
            }
        }
        kind => bail!("the testbed makes each {kind} itself"),
    }
    store(cluster, resource, object);
    Ok(())
}

/// Stores an object; one that is there already keeps its identity and status, and gets a new generation if its spec
/// is another.
fn store(cluster: &Cluster, resource: &'static Resource, mut object: Value) {
    let (namespace, name) = (object::namespace(&object).to_owned(), object::name(&object).to_owned());
    if cluster.store.get(resource, &namespace, &name).is_none() {
        object["metadata"]["generation"] = 1.into();
        cluster.store.put(resource, object);
        return;
    }
    cluster.store.update(resource, &namespace, &name, |current| {
        let generation = object::number(current, "/metadata/generation").unwrap_or(1);
        let changed = current["spec"] != object["spec"];
        let mut metadata = object["metadata"].clone();
        for field in ["uid", "creationTimestamp", "resourceVersion"] {
            metadata[field] = current["metadata"][field].clone();
        }
        metadata["generation"] = (generation + i64::from(changed)).into();
        let status = current["status"].clone();
        *current = Value::clone(&object);
        current["metadata"] = metadata;
        current["apiVersion"] = resource.api_version().into();
        current["kind"] = resource.kind.into();
        if !status.is_null() {
            current["status"] = status;
        }
    });
}

/// Checks that an object is what its kind says.
fn checked<T: DeserializeOwned>(object: &Value) -> anyhow::Result<T> {
    T::deserialize(object).context("not a valid object of its kind")
}

/// As the API server demands of whatever has a pod template.
fn check_selector(object: &Value) -> anyhow::Result<()> {
    let selector = object::map(object, "/spec/selector/matchLabels");
    let labels = object::map(object, "/spec/template/metadata/labels");
    if selector.is_empty() || selector.iter().any(|(key, value)| labels.get(key) != Some(value)) {
        bail!("spec.template.metadata.labels: Invalid value: `selector` does not match template `labels`");
    }
    Ok(())
}

pub(crate) fn namespace_defaults(namespace: &mut Value) {
    let name = object::name(namespace).to_owned();
    namespace["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
    namespace["spec"] = json!({"finalizers": ["kubernetes"]});
    namespace["status"] = json!({"phase": "Active"});
}

fn service_defaults(cluster: &Cluster, service: &mut Value) {
    let current = cluster.store.get(&SERVICES, object::namespace(service), object::name(service));
    let spec = &mut service["spec"];
    if spec["type"].is_null() {
        spec["type"] = "ClusterIP".into();
    }
    if spec["clusterIP"].is_null() && spec["type"] != "ExternalName" {
        let kept = current.map(|current| object::text(&current, "/spec/clusterIP").to_owned());
        let address = kept.unwrap_or_else(|| cluster.next_address("10.96"));
        spec["clusterIP"] = address.clone().into();
        spec["clusterIPs"] = json!([address]);
    }
    for port in spec["ports"].as_array_mut().into_iter().flatten() {
        if port["protocol"].is_null() {
            port["protocol"] = "TCP".into();
        }
        if port["targetPort"].is_null() {
            port["targetPort"] = port["port"].clone();
        }
    }
    service["status"] = json!({"loadBalancer": {}});
}
