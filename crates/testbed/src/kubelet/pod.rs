//! One pod's life: its containers in their order, its end.

use std::{sync::Arc, time::Duration};

use futures_util::future;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::watch;

use super::{
    container::{self, Role},
    runtime::PodRuntime,
};
use crate::{cluster::Cluster, object, resource::PODS};

/// Runs a pod from its start until it is deleted.
pub(crate) async fn run(cluster: Arc<Cluster>, runtime: Arc<PodRuntime>, pod: Pod) {
    let pod = Arc::new(pod);
    let spec = pod.spec.clone().unwrap_or_default();
    let mut stop = runtime.stop.subscribe();
    let (stop_sidecars, sidecars_stop) = watch::channel(None);
    let mut sidecars = Vec::new();
    runtime.publish(&cluster.store);

    let mut initialized = true;
    for init in spec.init_containers.into_iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            let name = init.name.clone();
            sidecars.push(start(&cluster, &runtime, &pod, init, Role::Sidecar, sidecars_stop.clone()));
            initialized = wait_started(&cluster, &runtime, &name, &mut stop).await;
        } else {
            let ended = start(&cluster, &runtime, &pod, init, Role::Init, stop.clone()).await;
            initialized = ended.unwrap_or(false);
        }
        if !initialized {
            break;
        }
    }
    if initialized {
        let mains = spec.containers.into_iter();
        let mains = mains.map(|one| start(&cluster, &runtime, &pod, one, Role::Main, stop.clone()));
        future::join_all(mains).await;
    }
    // Either all has ended, or the pod must stop: sidecars go last.
    let grace = stop.borrow().unwrap_or(Duration::from_secs(30));
    stop_sidecars.send_replace(Some(grace));
    future::join_all(sidecars).await;
    runtime.publish(&cluster.store);

    // A pod that has ended by itself stays until it is deleted.
    if stop.wait_for(Option::is_some).await.is_ok() {
        let current = cluster.store.get(&PODS, &runtime.namespace, &runtime.name);
        if current.is_some_and(|pod| object::uid(&pod) == runtime.uid) {
            cluster.store.delete(&PODS, &runtime.namespace, &runtime.name);
        }
        cluster.kubelet.remove(&runtime);
        if let Err(error) = fs_err::remove_dir_all(runtime.folder()) {
            tracing::warn!("{error}");
        }
    }
}

/// A container's task; whether it ended with success.
fn start(
    cluster: &Arc<Cluster>,
    runtime: &Arc<PodRuntime>,
    pod: &Arc<Pod>,
    container: Container,
    role: Role,
    stop: watch::Receiver<Option<Duration>>,
) -> tokio::task::JoinHandle<bool> {
    let (cluster, runtime, pod) = (cluster.clone(), runtime.clone(), pod.clone());
    let closing = cluster.closing.clone();
    let tasks = cluster.tasks.clone();
    tasks.spawn(async move {
        let run = container::run(&cluster, &runtime, &pod, &container, role, stop);
        closing.run_until_cancelled(run).await.unwrap_or(false)
    })
}

/// Whether a sidecar has started before the pod had to stop.
async fn wait_started(
    cluster: &Cluster,
    runtime: &PodRuntime,
    container: &str,
    stop: &mut watch::Receiver<Option<Duration>>,
) -> bool {
    let mut versions = cluster.store.versions();
    loop {
        if runtime.slots().get(container).is_some_and(|slot| slot.status.started == Some(true)) {
            return true;
        }
        tokio::select! {
            // Every change of a container's status is published.
            changed = versions.changed() => if changed.is_err() { return false },
            _ = stop.wait_for(Option::is_some) => return false,
        }
    }
}
