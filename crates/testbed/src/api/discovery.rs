//! What kubectl asks before it asks for anything: the version and the resources served.

use axum::response::Response;
use serde_json::{Value, json};

use super::status::{Failure, json as answer};
use crate::resource::{self, Resource};

/// The answer for a path that is no resource.
pub(crate) fn answer_path(path: &str) -> Result<Response, Failure> {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    match segments.as_slice() {
        ["version"] => Ok(answer(&json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "0000000000000000000000000000000000000000",
            "gitTreeState": "clean", "buildDate": "2025-08-27T10:09:04Z", "goVersion": "go1.24.6", "compiler": "gc",
            "platform": "linux/amd64", "emulationMajor": "1", "emulationMinor": "34",
            "minCompatibilityMajor": "1", "minCompatibilityMinor": "33",
        }))),
        ["healthz" | "livez" | "readyz"] => Ok(Response::new("ok".into())),
        ["api"] => {
            Ok(answer(&json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})))
        }
        ["api", "v1"] => Ok(answer(&resource_list(""))),
        ["apis"] => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            Ok(answer(&json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})))
        }
        ["apis", name] if groups().contains(name) => {
            let mut group = group(name);
            group["kind"] = "APIGroup".into();
            group["apiVersion"] = "v1".into();
            Ok(answer(&group))
        }
        ["apis", name, "v1"] if groups().contains(name) => Ok(answer(&resource_list(name))),
        _ => Err(Failure::no_such_path()),
    }
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> =
        resource::ALL.iter().map(|resource| resource.group).filter(|group| !group.is_empty()).collect();
    groups.dedup();
    groups
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resource_list(group: &str) -> Value {
    let mut resources: Vec<Value> = resource::ALL
        .iter()
        .filter(|resource| resource.group == group)
        .map(|resource| entry(resource))
        .collect();
    if group.is_empty() {
        for (name, kind, verbs) in [
            ("pods/exec", "PodExecOptions", ["create", "get"].as_slice()),
            ("pods/portforward", "PodPortForwardOptions", &["create", "get"]),
            ("pods/log", "Pod", &["get"]),
        ] {
            resources.push(
                json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs}),
            );
        }
    }
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources})
}

fn entry(resource: &Resource) -> Value {
    json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "shortNames": resource.short,
        "verbs": ["delete", "get", "list", "watch"],
    })
}
