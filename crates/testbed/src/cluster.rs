//! What the parts of the testbed share.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    faults::{Faults, RequestLog},
    image::Images,
    kubelet::{Kubelet, tools::ToolBoxes},
    processes::Processes,
    signals::Signals,
    store::Store,
};

#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) root: PathBuf,
    pub(crate) store: Store,
    pub(crate) images: Images,
    pub(crate) faults: Faults,
    pub(crate) requests: RequestLog,
    pub(crate) kubelet: Kubelet,
    pub(crate) tool_boxes: ToolBoxes,
    pub(crate) processes: Processes,
    pub(crate) signals: Signals,
    pub(crate) closing: CancellationToken,
    pub(crate) tasks: TaskTracker,
    users: Mutex<BTreeMap<String, String>>,
    next_address: AtomicU32,
}

impl Cluster {
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            store: Store::new(),
            images: Images::new(),
            faults: Faults::default(),
            requests: RequestLog::default(),
            kubelet: Kubelet::default(),
            tool_boxes: ToolBoxes::new(root.join("tools")),
            processes: Processes::new(root)?,
            signals: Signals::new(root)?,
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            users: Mutex::default(),
            next_address: AtomicU32::new(2),
        })
    }

    /// Runs a task until it ends or the testbed does.
    pub(crate) fn spawn(&self, task: impl Future<Output: Send> + Send + 'static) {
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            closing.run_until_cancelled(task).await;
        });
    }

    /// Lets a bearer token in, as `user`.
    pub(crate) fn add_user(&self, token: &str, user: &str) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.insert(token.to_owned(), user.to_owned());
    }

    pub(crate) fn user_of(&self, token: &str) -> Option<String> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// An address in one of the networks clusters use, of the last two numbers; nothing listens there.
    pub(crate) fn next_address(&self, network: &str) -> String {
        let number = self.next_address.fetch_add(1, Ordering::Relaxed);
        format!("{network}.{}.{}", (number / 250) % 250, number % 250 + 2)
    }
}
