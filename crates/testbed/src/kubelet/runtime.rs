//! The pods that run here: where each has its folder, its ports and its containers.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateWaiting, ContainerStatus, Pod};
use rustix::process::Signal;
use tokio::sync::watch;

use super::{
    slot::{Slot, Target},
    status,
};
use crate::{object, resource::PODS, signals::Route, store::Store};

/// The pods that run here.
#[derive(Debug, Default)]
pub(crate) struct Kubelet(Mutex<HashMap<(String, String), Arc<PodRuntime>>>);

impl Kubelet {
    /// A running container.
    pub(crate) fn target(&self, namespace: &str, pod: &str, container: &str) -> Option<Target> {
        self.runtime(namespace, pod)?.slots().get(container)?.target.clone()
    }

    /// The local port that stands for a port of the pod.
    pub(crate) fn local_port(&self, namespace: &str, pod: &str, port: u16) -> Option<u16> {
        self.runtime(namespace, pod)?.port(port)
    }

    /// The file a container's output goes to.
    pub(crate) fn log_path(&self, namespace: &str, pod: &str, container: &str) -> Option<PathBuf> {
        let runtime = self.runtime(namespace, pod)?;
        Some(runtime.log_path(container)).filter(|_| !runtime.is_fixed)
    }

    /// The folder a container runs in, and that of a volume.
    pub(crate) fn folder(&self, namespace: &str, pod: &str, container: &str) -> Option<PathBuf> {
        self.runtime(namespace, pod)?.slots().get(container).map(|slot| slot.folder.clone())
    }

    pub(crate) fn volume(&self, namespace: &str, pod: &str, volume: &str) -> Option<PathBuf> {
        Some(self.runtime(namespace, pod)?.volume(volume)).filter(|path| path.is_dir())
    }

    /// Whether commands in this pod reach no process.
    pub(crate) fn is_fixed(&self, namespace: &str, pod: &str) -> bool {
        self.runtime(namespace, pod).is_some_and(|runtime| runtime.is_fixed)
    }

    /// Sends a signal to a container's process 1.
    pub(crate) fn deliver(&self, route: &Route, signal: Signal) {
        if let Some(runtime) = self.runtime(&route.namespace, &route.pod)
            && let Some(slot) = runtime.slots().get(&route.container)
            && let Some(signals) = &slot.signals
        {
            // A container that has just ended takes no more signals.
            let _ = signals.send(signal);
        }
    }

    pub(crate) fn runtime(&self, namespace: &str, pod: &str) -> Option<Arc<PodRuntime>> {
        self.pods().get(&(namespace.to_owned(), pod.to_owned())).cloned()
    }

    pub(crate) fn put(&self, runtime: Arc<PodRuntime>) {
        self.pods().insert((runtime.namespace.clone(), runtime.name.clone()), runtime);
    }

    /// Takes a pod away, unless another of the same name has come since.
    pub(crate) fn remove(&self, runtime: &PodRuntime) {
        let key = (runtime.namespace.clone(), runtime.name.clone());
        let mut pods = self.pods();
        if pods.get(&key).is_some_and(|current| current.uid == runtime.uid) {
            pods.remove(&key);
        }
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<(String, String), Arc<PodRuntime>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
    /// A test gave it, and it has no processes.
    pub(crate) is_fixed: bool,
    address: String,
}

impl PodRuntime {
    /// A pod without folder or containers.
    pub(crate) fn bare(namespace: &str, name: &str, uid: &str, is_fixed: bool) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            folder: PathBuf::new(),
            slots: Mutex::default(),
            ports: Mutex::default(),
            stop: watch::Sender::new(None),
            is_fixed,
            address: String::new(),
        }
    }

    /// Lays out a pod's folder below `root`.
    pub(crate) fn create(root: &Path, address: String, pod: &Pod) -> anyhow::Result<Arc<Self>> {
        let meta = &pod.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let (namespace, name, uid) = (text(&meta.namespace), text(&meta.name), text(&meta.uid));
        let mut runtime = Self::bare(&namespace, &name, &uid, false);
        runtime.folder = root.join("pods").join(format!("{namespace}_{name}_{uid}"));
        runtime.address = address;
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
    pub(crate) fn publish(&self, store: &Store) {
        // Held all along, so that of two statuses the later one is written last.
        let slots = self.slots();
        store.update(&PODS, &self.namespace, &self.name, |pod| {
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
