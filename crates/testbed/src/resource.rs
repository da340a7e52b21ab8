//! The kinds of object the testbed stores, and where the API serves them.

/// One kind of object.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short: &'static [&'static str],
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
    short: &'static [&'static str],
    namespaced: bool,
) -> Resource {
    Resource { group, plural, singular, kind, short, namespaced }
}

pub(crate) static NAMESPACES: Resource = resource("", "namespaces", "namespace", "Namespace", &["ns"], false);
pub(crate) static PODS: Resource = resource("", "pods", "pod", "Pod", &["po"], true);
pub(crate) static SERVICES: Resource = resource("", "services", "service", "Service", &["svc"], true);
pub(crate) static ENDPOINTS: Resource = resource("", "endpoints", "endpoints", "Endpoints", &["ep"], true);
pub(crate) static DEPLOYMENTS: Resource =
    resource("apps", "deployments", "deployment", "Deployment", &["deploy"], true);
pub(crate) static REPLICA_SETS: Resource =
    resource("apps", "replicasets", "replicaset", "ReplicaSet", &["rs"], true);
pub(crate) static STATEFUL_SETS: Resource =
    resource("apps", "statefulsets", "statefulset", "StatefulSet", &["sts"], true);

// Stored and served as applied; nothing acts on them.
static CONFIG_MAPS: Resource = resource("", "configmaps", "configmap", "ConfigMap", &["cm"], true);
static SECRETS: Resource = resource("", "secrets", "secret", "Secret", &[], true);
static SERVICE_ACCOUNTS: Resource =
    resource("", "serviceaccounts", "serviceaccount", "ServiceAccount", &["sa"], true);
static CLAIMS: Resource =
    resource("", "persistentvolumeclaims", "persistentvolumeclaim", "PersistentVolumeClaim", &["pvc"], true);
static EVENTS: Resource = resource("", "events", "event", "Event", &["ev"], true);
pub(crate) static NODES: Resource = resource("", "nodes", "node", "Node", &["no"], false);
static DAEMON_SETS: Resource = resource("apps", "daemonsets", "daemonset", "DaemonSet", &["ds"], true);
static JOBS: Resource = resource("batch", "jobs", "job", "Job", &[], true);
static CRON_JOBS: Resource = resource("batch", "cronjobs", "cronjob", "CronJob", &["cj"], true);
static INGRESSES: Resource = resource("networking.k8s.io", "ingresses", "ingress", "Ingress", &["ing"], true);
static ROLES: Resource = resource("rbac.authorization.k8s.io", "roles", "role", "Role", &[], true);
static ROLE_BINDINGS: Resource =
    resource("rbac.authorization.k8s.io", "rolebindings", "rolebinding", "RoleBinding", &[], true);

/// Every kind.
pub(crate) static ALL: &[&Resource] = &[
    &NAMESPACES,
    &PODS,
    &SERVICES,
    &ENDPOINTS,
    &CONFIG_MAPS,
    &SECRETS,
    &SERVICE_ACCOUNTS,
    &CLAIMS,
    &EVENTS,
    &NODES,
    &DEPLOYMENTS,
    &REPLICA_SETS,
    &STATEFUL_SETS,
    &DAEMON_SETS,
    &JOBS,
    &CRON_JOBS,
    &INGRESSES,
    &ROLES,
    &ROLE_BINDINGS,
];

/// The kind served under `group` as `plural`.
pub(crate) fn by_plural(group: &str, plural: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|resource| resource.group == group && resource.plural == plural)
}

/// The kind of a manifest.
pub(crate) fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    ALL.iter().copied().find(|resource| resource.kind == kind && resource.api_version() == api_version)
}
