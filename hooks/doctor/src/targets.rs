//! The targets of the tests: they exist, have a pod that takes connections, and their local ports are free.

use std::time::Duration;

use futures_util::future::join_all;
use podcov_cluster::forward::{Forward, Kind, RemotePort};
use podcov_cluster::{Cluster, Error, PodSet, Pods};
use podcov_test::Route;

use crate::check::{Check, Group};
use crate::rights::{PODS, PORT_FORWARD, Rights, rule_of};

/// The check that a target takes connections. It does not where its pods do not run.
const NOT_READY: &str = "target-ready";

/// Leaves it open whether targets take connections whose pods do not run: that is an error by itself.
pub(crate) fn explain_by_pods(checks: &mut [Check]) {
    for check in checks.iter_mut().filter(|check| check.name == NOT_READY) {
        let message = format!("not known until its pods run: {}", check.message);
        *check = check.clone().unknown(message, "");
    }
}

/// The checks of the targets, and the pods of those that were found.
pub(crate) async fn check(
    cluster: &Cluster,
    routes: &[Route],
    namespace: &str,
    rights: &Rights,
    timeout: Duration,
) -> (Vec<Check>, Vec<PodSet>) {
    let checked = routes.iter().map(|route| check_one(cluster, route, namespace, rights, timeout));
    let (checks, sets): (Vec<_>, Vec<_>) = join_all(checked).await.into_iter().unzip();
    let mut found = Vec::new();
    for set in sets.into_iter().flatten() {
        if !found.contains(&set) {
            found.push(set);
        }
    }
    (checks, found)
}

async fn check_one(
    cluster: &Cluster,
    route: &Route,
    default_namespace: &str,
    rights: &Rights,
    timeout: Duration,
) -> (Check, Option<PodSet>) {
    let Route { target, port, http, .. } = route;
    let namespace = target.namespace.as_deref().unwrap_or(default_namespace);
    let name = format!("{}/{}", target.kind, target.name);
    let check = Check::new(Group::Targets, "target", format!("target {name} {}", port.remote));
    let rules = rule_of(target.kind).into_iter().chain([PODS, PORT_FORWARD]);
    let lacking: Vec<_> =
        rules.filter(|rule| rights.lacks(namespace, rule)).map(|rule| rule.resource).collect();
    if !lacking.is_empty() {
        return (check.unknown(format!("not known without the right to {}", lacking.join(", ")), ""), None);
    }
    let kubectl = format!("kubectl --context {} --namespace {namespace}", cluster.context());
    // As podcov-test does it.
    let forward = match Forward::start(cluster, target, port, default_namespace, timeout).await {
        Ok(forward) => forward,
        Err(error) => {
            let fix = match &error {
                Error::NoLocalPort { .. } => {
                    let remote = &port.remote;
                    format!(
                        "leave the local port out (`{name} {remote}`) to get a free one, or end what listens there"
                    )
                }
                Error::NotFound(why) if why.contains("not found in context") => {
                    format!("`{kubectl} get {}s` shows which there are", target.kind)
                }
                Error::NotFound(_) => format!("see `{kubectl} get {name} --output yaml`"),
                error => error.hint().unwrap_or_default().to_owned(),
            };
            return (check.error(error, fix), None);
        }
    };
    let set = forward.pod_set();
    let ready = match http {
        Some(path) => forward.answers_http(path).await,
        None => forward.accepts().await,
    };
    let check = match ready {
        Ok(()) => check.ok(format!("takes connections ({})", set.pods)),
        Err(error) => {
            let selector = match &set.pods {
                Pods::Labelled(labels) => format!("--selector '{labels}'"),
                Pods::Named(pod) => pod.clone(),
            };
            let listens = match (target.kind, &port.remote) {
                // A service's port is another one than its program's.
                (Kind::Service, _) | (_, RemotePort::Name(_)) => String::new(),
                (_, RemotePort::Number(number)) => format!("; does the program listen on port {number}?"),
            };
            let check = Check { name: NOT_READY, ..check };
            check.error(error, format!("its pods: `{kubectl} get pods {selector}`{listens}"))
        }
    };
    (check, Some(set))
}
