//! Where a container's counter files are, and what that folder lies on.

use std::fmt;
use std::path::{Component, Path};

use k8s_openapi::api::core::v1::{Container as ContainerSpec, Pod, Volume};

use crate::Scope;

/// The variable that names the folder a program built with `go build -cover` writes to.
const GOCOVERDIR: &str = "GOCOVERDIR";

/// Where a container's counter files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoverDir {
    /// This folder.
    Path(String),
    /// The container's own GOCOVERDIR, whose value the pod's spec does not give (it comes from a config map or
    /// the like): a shell in the container knows it.
    Env,
    /// The pod's spec gives the container no GOCOVERDIR.
    Unset,
}

impl CoverDir {
    /// Its path; empty if the pod's spec does not give it.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Path(path) => path,
            Self::Env | Self::Unset => "",
        }
    }
}

impl fmt::Display for CoverDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Env | Self::Unset => f.write_str("$GOCOVERDIR"),
        }
    }
}

/// What a container's folder of counter files lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoverVolume {
    /// On no volume: a restart of the container empties it.
    None,
    /// An emptyDir: it lasts as long as the pod.
    EmptyDir,
    /// A folder of the node: it outlasts the pod, and pods of the node may share it.
    HostPath,
    /// A PersistentVolumeClaim: it outlasts the pod, and pods may share it.
    Claim,
    /// Another kind of volume.
    Other,
    /// The pod's spec does not give the folder's path.
    Unknown,
}

pub(crate) fn cover_dir(container: &ContainerSpec, scope: &Scope) -> Option<CoverDir> {
    if let Some(dir) = scope.coverdir() {
        return Some(CoverDir::Path(dir.to_owned()));
    }
    let variable = container.env.iter().flatten().rfind(|v| v.name == GOCOVERDIR)?;
    match &variable.value {
        // `$(NAME)` and `$$` are expanded by the kubelet, so only the container knows the value.
        Some(value) if value.contains("$(") || value.contains("$$") => Some(CoverDir::Env),
        Some(value) if value.is_empty() && variable.value_from.is_none() => None,
        Some(value) if !value.is_empty() => Some(CoverDir::Path(value.clone())),
        _ => Some(CoverDir::Env),
    }
}

/// What the folder of counter files lies on: the volume whose mount path is the longest that leads to it.
pub(crate) fn cover_volume(pod: &Pod, container: &ContainerSpec, dir: &CoverDir) -> CoverVolume {
    let CoverDir::Path(dir) = dir else { return CoverVolume::Unknown };
    // What else is in a path that begins at the root leads nowhere else than its names say, but for `..`.
    let dir = Path::new(dir);
    if !dir.has_root() || dir.components().any(|part| part == Component::ParentDir) {
        return CoverVolume::Unknown;
    }
    let mounts = container.volume_mounts.iter().flatten();
    let covering = mounts.filter(|mount| dir.starts_with(&mount.mount_path));
    let Some(mount) = covering.max_by_key(|mount| Path::new(&mount.mount_path).components().count()) else {
        return CoverVolume::None;
    };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    match volumes.into_iter().find(|volume| volume.name == mount.name) {
        Some(Volume { empty_dir: Some(_), .. }) => CoverVolume::EmptyDir,
        Some(Volume { host_path: Some(_), .. }) => CoverVolume::HostPath,
        Some(Volume { persistent_volume_claim: Some(_), .. }) => CoverVolume::Claim,
        _ => CoverVolume::Other,
    }
}
