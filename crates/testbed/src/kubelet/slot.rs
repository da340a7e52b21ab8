//! A container of a pod, and what a command in it needs.

use std::{path::PathBuf, sync::Arc};

use k8s_openapi::api::core::v1::ContainerStatus;
use rustix::process::Signal;
use tokio::sync::mpsc;

use super::{paths::Paths, tools::ToolBox};

/// What a command in a container needs.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Whom its processes belong to.
    pub(crate) owner: String,
    /// The container's process 1 on the host; pods fixed by a test have none.
    pub(crate) pid: Option<i32>,
    pub(crate) folder: PathBuf,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) paths: Paths,
    pub(crate) tools: Arc<ToolBox>,
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
