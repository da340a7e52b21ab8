//! Waiting for the cluster to get where it should be.

use std::{sync::Arc, time::Duration};

use anyhow::bail;
use serde_json::Value;
use tokio::time;

use crate::{
    cluster::Cluster,
    controllers::is_rolled_out,
    object,
    resource::{DEPLOYMENTS, PODS},
};

/// After this many restarts a container that is not ready counts as one that never will be.
const HOPELESS: i64 = 3;

/// Returns when `done` says so, asked again at each change; `what` is for the error after `limit`.
pub(crate) async fn wait<T>(
    cluster: &Cluster,
    what: &str,
    limit: Duration,
    mut done: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let mut versions = cluster.store.versions();
    let found = time::timeout(limit, async {
        loop {
            versions.borrow_and_update();
            if let Some(found) = done()? {
                return Ok(found);
            }
            if versions.changed().await.is_err() {
                bail!("the testbed is shut down");
            }
        }
    });
    match found.await {
        Ok(found) => found,
        Err(_) => bail!("{what}: not within {limit:?}; pods: {}", describe(cluster)),
    }
}

/// `Some` once every deployment has all replicas, up to date and ready, and every other pod with processes is ready or
/// has succeeded. An error if that will never be.
pub(crate) fn is_done(cluster: &Cluster) -> anyhow::Result<Option<()>> {
    let list = |resource| cluster.store.list(resource, None).0;
    let mut ready = list(&DEPLOYMENTS).iter().all(|deployment| is_rolled_out(cluster, deployment));
    let pods = list(&PODS);
    let of_testbed = |pod: &&Arc<Value>| {
        !object::is_terminating(pod) && !cluster.kubelet.is_fixed(object::namespace(pod), object::name(pod))
    };
    for pod in pods.iter().filter(of_testbed) {
        if let Some(problem) = problem(cluster, pod) {
            bail!("{problem}");
        }
        ready &= object::is_ready(pod) || object::text(pod, "/status/phase") == "Succeeded";
    }
    Ok(ready.then_some(()))
}

/// What keeps a pod from ever getting ready.
fn problem(cluster: &Cluster, pod: &Value) -> Option<String> {
    let (namespace, name) = (object::namespace(pod), object::name(pod));
    if object::text(pod, "/status/phase") == "Failed" {
        return Some(format!("pod {namespace}/{name} failed"));
    }
    let lists = ["/status/initContainerStatuses", "/status/containerStatuses"];
    let statuses = lists.iter().filter_map(|list| pod.pointer(list)?.as_array()).flatten();
    for status in statuses {
        let container = object::text(status, "/name");
        let reason = object::text(status, "/state/waiting/reason");
        let restarts = object::number(status, "/restartCount").unwrap_or(0);
        let hopeless = match reason {
            "ImagePullBackOff" => true,
            "CrashLoopBackOff" => restarts >= HOPELESS,
            _ => false,
        };
        if hopeless {
            let code = object::number(status, "/lastState/terminated/exitCode");
            let code = code.map(|code| format!(", last exit code {code}")).unwrap_or_default();
            let start = object::text(status, "/lastState/terminated/message");
            let message = object::text(status, "/state/waiting/message");
            let log = cluster.kubelet.log_path(namespace, name, container);
            let log = log.and_then(|path| fs_err::read(path).ok()).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<&str> = log.lines().rev().take(5).collect();
            let log: String = lines.into_iter().rev().map(|line| format!("\n  {line}")).collect();
            return Some(format!(
                "pod {namespace}/{name} container {container}: {reason}: {message}{code} {start}{log}"
            ));
        }
    }
    None
}

fn describe(cluster: &Cluster) -> String {
    let describe = |pod: &Arc<Value>| {
        let ready = if object::is_ready(pod) { "ready" } else { "not ready" };
        let phase = object::text(pod, "/status/phase");
        format!("{}/{} {phase}, {ready}", object::namespace(pod), object::name(pod))
    };
    let pods: Vec<String> = cluster.store.list(&PODS, None).0.iter().take(20).map(describe).collect();
    if pods.is_empty() { "none".to_owned() } else { pods.join("; ") }
}
