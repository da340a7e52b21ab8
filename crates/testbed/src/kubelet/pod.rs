//! One pod's life: its folder, its containers in their order, its end.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStateWaiting, ContainerStatus, Pod};
use rustix::process::Signal;
use tokio::sync::{mpsc, watch};

use super::{
    FixedPod, Target,
    container::{self, Role},
    status,
};
use crate::{cluster::Cluster, object, resource::PODS};

/// A pod on this node.
#[derive(Debug)]
pub(crate) struct PodRuntime {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    folder: PathBuf,
    slots: Mutex<BTreeMap<String, Slot>>,
    ports: Mutex<BTreeMap<u16, u16>>,
    /// The time the pod has to end, once it must.
    pub(crate) stop: watch::Sender<Option<Duration>>,
    /// A pod without processes, as a test gave it.
    pub(crate) fixed: Option<FixedPod>,
    address: String,
}

/// A container of the pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slot {
    pub(crate) owner: String,
    pub(crate) folder: PathBuf,
    /// While it runs.
    pub(crate) target: Option<Target>,
    pub(crate) signals: Option<mpsc::UnboundedSender<Signal>>,
    pub(crate) status: ContainerStatus,
    /// It has ended and does not start again.
    pub(crate) finished: bool,
}

impl PodRuntime {
    /// A pod without folder or containers.
    pub(crate) fn bare(namespace: &str, name: &str, uid: &str, fixed: Option<FixedPod>) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            folder: PathBuf::new(),
            slots: Mutex::default(),
            ports: Mutex::default(),
            stop: watch::Sender::new(None),
            fixed,
            address: String::new(),
        }
    }

    /// Lays out a pod's folder.
    pub(crate) fn create(cluster: &Cluster, pod: &Pod) -> anyhow::Result<Arc<Self>> {
        let meta = &pod.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name, uid) = (text(&meta.namespace), text(&meta.name), text(&meta.uid));
        let mut runtime = Self::bare(&namespace, &name, &uid, None);
        runtime.folder = cluster.root.join("pods").join(format!("{namespace}_{name}_{uid}"));
        runtime.address = cluster.next_address("10.244");
        let spec = pod.spec.clone().unwrap_or_default();
        for volume in spec.volumes.iter().flatten() {
            fs_err::create_dir_all(runtime.volume(&volume.name))?;
        }
        fs_err::create_dir_all(runtime.folder.join("logs"))?;
        for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
            let folder = runtime.folder.join("containers").join(&container.name);
            fs_err::create_dir_all(&folder)?;
            let waiting =
                ContainerStateWaiting { reason: Some("ContainerCreating".to_owned()), message: None };
            let slot = Slot {
                owner: runtime.owner(&container.name),
                folder,
                status: ContainerStatus {
                    name: container.name.clone(),
                    image: container.image.clone().unwrap_or_default(),
                    started: Some(false),
                    state: Some(ContainerState { waiting: Some(waiting), ..ContainerState::default() }),
                    ..ContainerStatus::default()
                },
                ..Slot::default()
            };
            runtime.put_slot(&container.name, slot);
        }
        Ok(Arc::new(runtime))
    }

    pub(crate) fn owner(&self, container: &str) -> String {
        owner(&self.uid, container)
    }

    pub(crate) fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn put_slot(&self, container: &str, slot: Slot) {
        self.slots().insert(container.to_owned(), slot);
    }

    pub(crate) fn edit(&self, container: &str, edit: impl FnOnce(&mut Slot)) {
        if let Some(slot) = self.slots().get_mut(container) {
            edit(slot);
        }
    }

    pub(crate) fn port(&self, port: u16) -> Option<u16> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).get(&port).copied()
    }

    pub(crate) fn set_port(&self, port: u16, local: u16) {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).insert(port, local);
    }

    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.folder.join("volumes").join(name)
    }

    pub(crate) fn log_path(&self, container: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{container}.log"))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the pod's status into the store.
    pub(crate) fn publish(&self, cluster: &Cluster) {
        // Held all along, so that of two statuses the later one is written last.
        let slots = self.slots();
        cluster.store.update(&PODS, &self.namespace, &self.name, |pod| {
            if object::uid(pod) == self.uid {
                pod["status"] = status::of(pod, &slots, &self.address);
            }
        });
    }
}

/// The owner of a container's processes.
pub(crate) fn owner(uid: &str, container: &str) -> String {
    format!("{uid}/{container}")
}

/// Runs a pod from its start until it is deleted.
pub(crate) async fn run(cluster: Arc<Cluster>, runtime: Arc<PodRuntime>, pod: Pod) {
    let pod = Arc::new(pod);
    let spec = pod.spec.clone().unwrap_or_default();
    let mut stop = runtime.stop.subscribe();
    let (stop_sidecars, sidecars_stop) = watch::channel(None);
    let mut sidecars = Vec::new();
    runtime.publish(&cluster);

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
    runtime.publish(&cluster);

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
