//! The kinds of object the testbed stores, and where the API serves them.

/// One kind of object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
}

impl Resource {
    /// The object's `apiVersion`. Every kind served here is at version v1 of its group.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", self.group) }
    }

    /// The resource as error messages and kubectl write it: `pods`, `deployments.apps`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}

const fn resource(
    group: &'static str,
    plural: &'static str,
    singular: &'static str,
    kind: &'static str,
    namespaced: bool,
) -> Resource {
    Resource { group, plural, singular, kind, namespaced }
}

pub(crate) static NAMESPACES: Resource = resource("", "namespaces", "namespace", "Namespace", false);
pub(crate) static PODS: Resource = resource("", "pods", "pod", "Pod", true);
pub(crate) static SERVICES: Resource = resource("", "services", "service", "Service", true);
pub(crate) static DEPLOYMENTS: Resource = resource("apps", "deployments", "deployment", "Deployment", true);
/// Made for deployments; manifests may not have one.
pub(crate) static REPLICA_SETS: Resource = resource("apps", "replicasets", "replicaset", "ReplicaSet", true);

/// Every kind.
static ALL: &[&Resource] = &[&NAMESPACES, &PODS, &SERVICES, &DEPLOYMENTS, &REPLICA_SETS];

/// The kind served under `group` as `plural`.
pub(crate) fn by_plural(group: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|resource| resource.group == group && resource.plural == plural)
}

/// The kind of a manifest.
pub(crate) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|resource| resource.kind == kind && resource.api_version() == api_version)
}
