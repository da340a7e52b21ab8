//! What kubectl asks before it asks for pods.

use axum::response::Response;
use serde_json::json;

use super::status::{Failure, json as answer};

/// The answer for a path that is no resource.
pub(crate) fn answer_path(path: &str) -> Result<Response, Failure> {
    Ok(answer(&match path.trim_end_matches('/') {
        "/version" => json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0"}),
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        "/api/v1" => {
            json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
                {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod",
                    "verbs": ["delete", "get", "list", "watch"]},
                {"name": "pods/exec", "singularName": "", "namespaced": true, "kind": "PodExecOptions",
                    "verbs": ["create", "get"]},
            ]})
        }
        _ => return Err(Failure::no_such_path()),
    }))
}
