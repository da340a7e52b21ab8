//! GET of one object and of lists: selectors, paging.

use std::sync::Arc;

use axum::response::Response;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{
    request::Info,
    status::{Failure, json as answer},
};
use crate::{cluster::Cluster, resource::Resource, selector::Selector};

pub(crate) fn get(cluster: &Cluster, info: &Info, resource: &Resource) -> Result<Response, Failure> {
    let namespace = if resource.namespaced { info.namespace.as_str() } else { "" };
    match cluster.store.get(resource, namespace, &info.name) {
        Some(object) => Ok(answer(&*object)),
        None => Err(Failure::not_found(resource, &info.name)),
    }
}

pub(crate) fn list(cluster: &Cluster, info: &Info, resource: &Resource) -> Result<Response, Failure> {
    let selector = selector(info)?;
    let (objects, version) = match info.query("continue").filter(|token| !token.is_empty()) {
        // The rest was selected when its first page was asked for.
        Some(token) => {
            let kept = token.parse().ok().and_then(|token| cluster.store.kept_list(token));
            let (version, rest) = kept.ok_or_else(Failure::continue_expired)?;
            (rest, version)
        }
        None => select(cluster, info, resource, &selector),
    };
    let limit = info.number("limit").and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let (page, rest) = objects.split_at(limit.unwrap_or(objects.len()).min(objects.len()));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if !rest.is_empty() {
        metadata["continue"] = cluster.store.keep_list(version, rest.to_vec()).to_string().into();
        // As the real server, which does not count what a selector would leave out.
        if selector.is_empty() {
            metadata["remainingItemCount"] = rest.len().into();
        }
    }
    Ok(answer(&List {
        kind: format!("{}List", resource.kind),
        api_version: resource.api_version(),
        metadata,
        items: page.iter().map(|object| Item(object)).collect(),
    }))
}

/// The selectors of a request.
pub(crate) fn selector(info: &Info) -> Result<Selector, Failure> {
    let query = |key| info.query(key).unwrap_or_default();
    Selector::parse(query("labelSelector"), query("fieldSelector")).map_err(Failure::bad_request)
}

/// The objects a request selects, now.
pub(crate) fn select(
    cluster: &Cluster,
    info: &Info,
    resource: &Resource,
    selector: &Selector,
) -> (Vec<Arc<Value>>, u64) {
    let namespace = Some(info.namespace.as_str()).filter(|name| resource.namespaced && !name.is_empty());
    let (mut objects, version) = cluster.store.list(resource, namespace);
    objects.retain(|object| selector.matches(object));
    (objects, version)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<'a> {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<Item<'a>>,
}

/// An object in a list, which carries neither kind nor apiVersion: the list's own say it.
struct Item<'a>(&'a Value);

impl Serialize for Item<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.0.as_object().into_iter().flatten() {
            if key != "kind" && key != "apiVersion" {
                map.serialize_entry(key, value)?;
            }
        }
        map.end()
    }
}
