//! Pods whose objects a test gives as they are, with no process behind them: cheap, a thousand at a time.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::{
    paths::Paths,
    runtime::{PodRuntime, owner},
    slot::{Slot, Target},
};
use crate::{
    cluster::Cluster,
    image::Tools,
    object,
    resource::{NAMESPACES, PODS},
};

/// A pod as a test wants it seen, status included, and the folders its containers' commands act on.
///
/// A command runs in the folder given for `/`, or in the first folder mounted. What it does to pid 1
/// reaches nothing.
#[derive(Clone, Debug)]
pub struct FixedPod {
    pod: Pod,
    mounts: Vec<(String, String, PathBuf)>,
    tools: Vec<(String, Tools)>,
    ports: Vec<(u16, u16)>,
}

impl FixedPod {
    /// A pod with exactly this object. Metadata that only a server gives (uid, creation time) is added where it is
    /// missing. Its containers have all tools.
    pub fn new(pod: Pod) -> Self {
        Self { pod, mounts: Vec::new(), tools: Vec::new(), ports: Vec::new() }
    }

    /// Has `container` see a host folder or file at a path, such as `/coverage-data`. It stays when the pod goes.
    #[must_use]
    pub fn mount(mut self, container: &str, path: &str, folder: impl AsRef<Path>) -> Self {
        self.mounts.push((container.to_owned(), path.to_owned(), folder.as_ref().to_owned()));
        self
    }

    /// The programs that `container` has.
    #[must_use]
    pub fn tools(mut self, container: &str, tools: Tools) -> Self {
        self.tools.push((container.to_owned(), tools));
        self
    }

    /// Has a port of the pod lead to one of this machine, where a test listens.
    #[must_use]
    pub fn port(mut self, port: u16, local: u16) -> Self {
        self.ports.push((port, local));
        self
    }
}

/// Puts the pod in the store.
pub(crate) fn add_fixed(cluster: &Cluster, fixed: FixedPod) -> anyhow::Result<()> {
    let mut pod = serde_json::to_value(&fixed.pod)?;
    if object::namespace(&pod).is_empty() {
        pod["metadata"]["namespace"] = "default".into();
    }
    let (namespace, name) = (object::namespace(&pod).to_owned(), object::name(&pod).to_owned());
    if cluster.store.get(&NAMESPACES, "", &namespace).is_none() {
        anyhow::bail!("namespaces {namespace:?} not found");
    }
    let stored = cluster.store.put(&PODS, pod);
    let uid = object::uid(&stored);
    let mut slots = Vec::new();
    let spec = fixed.pod.spec.clone().unwrap_or_default();
    let status = fixed.pod.status.clone().unwrap_or_default();
    let statuses: Vec<ContainerStatus> = [
        status.container_statuses.clone(),
        status.init_container_statuses.clone(),
        status.ephemeral_container_statuses.clone(),
    ]
    .into_iter()
    .flatten()
    .flatten()
    .collect();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let stated = statuses.iter().find(|status| status.name == container.name);
        // Without container statuses the phase must do.
        let runs = match stated.and_then(|status| status.state.as_ref()) {
            Some(state) => state.running.is_some(),
            None => statuses.is_empty() && status.phase.as_deref() == Some("Running"),
        };
        let owner = owner(uid, &container.name);
        let target = if runs { Some(target(cluster, &fixed, &container.name, &owner)?) } else { None };
        let folder = target.as_ref().map_or_else(|| cluster.root.clone(), |target| target.folder.clone());
        slots.push((container.name.clone(), Slot { owner, folder, target, ..Slot::default() }));
    }
    let runtime = PodRuntime::bare(&namespace, &name, uid, true);
    for (port, local) in fixed.ports {
        runtime.set_port(port, local);
    }
    for (container, slot) in slots {
        runtime.put_slot(&container, slot);
    }
    cluster.kubelet.put(Arc::new(runtime));
    Ok(())
}

fn target(cluster: &Cluster, fixed: &FixedPod, container: &str, owner: &str) -> anyhow::Result<Target> {
    let mounts: Vec<_> = fixed.mounts.iter().filter(|(of, _, _)| of == container).collect();
    let root = mounts
        .iter()
        .find(|(_, path, _)| path == "/")
        .or(mounts.iter().find(|(_, _, folder)| folder.is_dir()));
    let folder = root.map_or_else(|| cluster.root.clone(), |(_, _, folder)| folder.clone());
    let tools = fixed
        .tools
        .iter()
        .rfind(|(of, _)| of == container)
        .map_or_else(Tools::all, |(_, tools)| tools.clone());
    let tools = cluster.tool_boxes.get(&tools).context("cannot lay out an image's tools")?;
    let pairs = mounts
        .iter()
        .map(|(_, path, folder)| (path.clone(), folder.to_string_lossy().into_owned()))
        .chain(tools.paths())
        .chain(mounts.iter().map(|(_, _, folder)| {
            let folder = folder.to_string_lossy().into_owned();
            (folder.clone(), folder)
        }));
    Ok(Target {
        owner: owner.to_owned(),
        pid: None,
        folder,
        env: vec![
            ("PATH".to_owned(), tools.path()),
            ("HOSTNAME".to_owned(), fixed.pod.metadata.name.clone().unwrap_or_default()),
        ],
        paths: Paths::new(pairs),
        tools,
    })
}
