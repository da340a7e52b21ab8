//! Pods of a namespace.

use std::fmt;

use kube::runtime::watcher;

/// The pods of one namespace, or of all, that carry labels or have a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodSet {
    /// The namespace; `None` for all of them.
    pub namespace: Option<String>,
    /// Which of its pods.
    pub pods: Pods,
}

/// Which pods of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pods {
    /// Those that match a label selector; all of them if it is empty.
    Labelled(String),
    /// The one of that name.
    Named(String),
}

impl PodSet {
    /// What to list or watch to see these pods.
    pub(crate) fn watch_config(&self) -> watcher::Config {
        match &self.pods {
            Pods::Labelled(labels) => watcher::Config::default().labels(labels),
            Pods::Named(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        }
    }

    /// Where they are looked for, for messages: `namespace shop`.
    pub(crate) fn place(&self) -> String {
        self.namespace
            .as_ref()
            .map_or_else(|| "all namespaces".to_owned(), |name| format!("namespace {name}"))
    }
}

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Labelled(labels) if labels.is_empty() => f.write_str("pods"),
            Self::Labelled(labels) => write!(f, "pods with label {labels}"),
            Self::Named(name) => write!(f, "pod {name}"),
        }
    }
}
