//! Puts the built images and the run's id into rendered manifests.
//!
//! Which fields are touched is Skaffold's choice, in `pkg/skaffold/kubernetes/manifest`: it walks the objects
//! of certain kinds and changes every `metadata` and every `image` in them. So a pod template gets the label
//! and a selector does not. Objects of other kinds (config maps, service accounts) get nothing, and neither
//! do the pods of a plain Job, whose template Kubernetes would not let anyone change again.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value};

/// The label that every workload and service of one run carries.
pub const RUN_ID_LABEL: &str = "skaffold.dev/run-id";

/// Kubernetes' own kinds that Skaffold transforms, with their API group. Its list goes on with custom
/// resources (knative, Argo and so on), which nothing here deploys.
const KINDS: [(&str, &str); 8] = [
    ("", "Pod"),
    ("", "Service"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("batch", "CronJob"),
    ("batch", "Job"),
];

/// Kinds and the path of a `metadata` in them that Skaffold leaves alone, since it cannot be changed later.
const LEFT_ALONE: [(&str, &str); 2] =
    [("Job", ".spec.template.metadata"), ("StatefulSet", ".spec.volumeClaimTemplates.metadata")];

/// Labels the objects in `manifests` (YAML documents) with the run's id and replaces each image named in
/// `images` by the value there. An image's tag does not count; an image given by digest is left alone.
///
/// # Errors
/// When the manifests are not YAML.
pub fn label(manifests: &str, run_id: &str, images: &BTreeMap<String, String>) -> Result<String> {
    let mut objects = documents(manifests)?;
    for object in &mut objects {
        let Some(kind) = kind_of(object) else { continue };
        walk(object, "", &mut |path, key, value| match (key, value) {
            ("metadata", Value::Object(metadata)) if !LEFT_ALONE.contains(&(kind, path)) => {
                set_label(metadata, run_id);
                true
            }
            ("image", Value::String(image)) => {
                if let Some(built) = name_of(image).and_then(|name| images.get(name)) {
                    image.clone_from(built);
                }
                false
            }
            _ => true,
        });
    }
    write(&objects)
}

/// The objects in a stream of YAML documents, without the empty ones.
pub(crate) fn documents(manifests: &str) -> Result<Vec<Value>> {
    let mut objects: Vec<Value> =
        serde_saphyr::from_multiple(manifests).context("the manifests are not YAML")?;
    objects.retain(|object| !object.is_null());
    Ok(objects)
}

/// JSON is YAML too, and the one notation that every YAML reader takes the same way.
fn write(objects: &[Value]) -> Result<String> {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        text.push_str(&serde_json::to_string_pretty(object)?);
        text.push('\n');
    }
    Ok(text)
}

fn kind_of(object: &Value) -> Option<&'static str> {
    let (api_version, kind) = (object["apiVersion"].as_str()?, object["kind"].as_str()?);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    KINDS.iter().find(|known| **known == (group, kind)).map(|(_, kind)| *kind)
}

/// Calls `visit` with the path, key and value of every field, from the top down; it says whether to go on
/// into the value. The items of a list have their list's path.
fn walk(node: &mut Value, path: &str, visit: &mut impl FnMut(&str, &str, &mut Value) -> bool) {
    match node {
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, path, visit)),
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{path}.{key}");
                if visit(&path, key, value) {
                    walk(value, &path, visit);
                }
            }
        }
        _ => {}
    }
}

/// Sets the label, also over another run's.
fn set_label(metadata: &mut Map<String, Value>, run_id: &str) {
    let labels = metadata.entry("labels").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(labels) = labels {
        labels.insert(RUN_ID_LABEL.to_owned(), run_id.into());
    }
}

/// An image reference without its tag; none when it has a digest.
fn name_of(image: &str) -> Option<&str> {
    if image.contains('@') {
        return None;
    }
    // A colon before the last slash belongs to a registry's port.
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    Some(image[last..].find(':').map_or(image, |colon| &image[..last + colon]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn labelled(manifests: &str) -> Vec<Value> {
        let images = BTreeMap::from([("app".to_owned(), "/out/app".to_owned())]);
        documents(&label(manifests, "run1", &images).unwrap()).unwrap()
    }

    #[test]
    fn a_deployment_and_its_pods_but_not_the_selector() {
        let objects = labelled(
            "
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, labels: {app: a, skaffold.dev/run-id: yesterday}}
spec:
  selector: {matchLabels: {app: a}}
  template:
    metadata: {labels: {app: a}}
    spec: {containers: [{name: c, image: app}]}
",
        );
        let expected = json!([{
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "d", "labels": {"app": "a", "skaffold.dev/run-id": "run1"}},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "template": {
                    "metadata": {"labels": {"app": "a", "skaffold.dev/run-id": "run1"}},
                    "spec": {"containers": [{"name": "c", "image": "/out/app"}]},
                },
            },
        }]);
        assert_eq!(json!(objects), expected);
    }

    #[test]
    fn metadata_without_labels_gets_them() {
        let objects = labelled("{apiVersion: v1, kind: Service, metadata: {name: s}}");
        assert_eq!(objects[0]["metadata"]["labels"], json!({"skaffold.dev/run-id": "run1"}));
    }

    #[test]
    fn what_skaffold_does_not_label() {
        let objects = labelled(
            "
{apiVersion: v1, kind: ConfigMap, metadata: {name: m}, data: {image: app}}
---
{apiVersion: example.com/v1, kind: Deployment, metadata: {name: d}}
---
---
{apiVersion: batch/v1, kind: Job, metadata: {}, spec: {template: {metadata: {}, spec: {containers: [{image: app}]}}}}
---
{apiVersion: apps/v1, kind: StatefulSet, spec: {template: {metadata: {}}, volumeClaimTemplates: [{metadata: {}}]}}
",
        );
        let [map, custom, job, set] = &objects[..] else { panic!("{objects:?}") };
        assert_eq!(map["metadata"], json!({"name": "m"}));
        assert_eq!(map["data"]["image"], "app");
        assert_eq!(custom["metadata"], json!({"name": "d"}));
        assert_eq!(job["metadata"]["labels"][RUN_ID_LABEL], "run1");
        assert_eq!(job["spec"]["template"]["metadata"], json!({}));
        assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["image"], "/out/app");
        assert_eq!(set["spec"]["template"]["metadata"]["labels"][RUN_ID_LABEL], "run1");
        assert_eq!(set["spec"]["volumeClaimTemplates"], json!([{"metadata": {}}]));
    }

    #[test]
    fn images_match_by_name_and_not_by_tag() {
        assert_eq!(name_of("app"), Some("app"));
        assert_eq!(name_of("app:v1"), Some("app"));
        assert_eq!(name_of("host:5000/team/app"), Some("host:5000/team/app"));
        assert_eq!(name_of("host:5000/team/app:v1"), Some("host:5000/team/app"));
        assert_eq!(name_of("app@sha256:00"), None);

        let objects = labelled(
            "{apiVersion: v1, kind: Pod, spec: {containers: [{image: 'app:v1'}, {image: other/app}]}}",
        );
        assert_eq!(objects[0]["spec"]["containers"], json!([{"image": "/out/app"}, {"image": "other/app"}]));
    }

    #[test]
    fn other_values_come_through_unchanged() {
        let objects = labelled(
            "{apiVersion: v1, kind: Pod, spec: {a: 'yes', b: '010', c: 1.50, d: null, e: \"x\\ny\", f: [true]}}",
        );
        let expected = json!({"a": "yes", "b": "010", "c": 1.5, "d": null, "e": "x\ny", "f": [true]});
        assert_eq!(objects[0]["spec"], expected);
    }

    #[test]
    fn not_yaml() {
        let error = label("{", "run1", &BTreeMap::new()).unwrap_err();
        assert_eq!(error.to_string(), "the manifests are not YAML");
    }
}
