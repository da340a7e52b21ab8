//! A Kubernetes cluster as podcov's hooks see it: which one (kubeconfig, Skaffold's environment), which
//! containers of the run hold counters, running a program in them, and forwarding connections to them.
//!
//! Thin over [`kube`]. Two things are its own, and for a reason: exec's and port-forward's WebSocket channels
//! ([`Exec`], [`forward`]). kube 5's halves lose the end of a stream that breaks (a read hangs for ever), and
//! a hook that must notice every cut stream needs just that event.

mod agent_port;
mod channels;
mod client;
mod coverdir;
mod credentials;
mod ephemeral;
mod error;
mod exec;
mod fate;
mod find;
pub mod forward;
mod history;
mod kubeconfig;
mod observer;
mod pause;
mod plugin;
mod pod;
mod pod_set;
mod proxy;
mod retry;
mod review;
mod scope;
mod skipped;
mod target;
mod tls;
mod trouble;
mod watch;

pub use agent_port::{AgentPort, Sidecar};
pub use client::{Cluster, ClusterArgs};
pub use coverdir::{CoverDir, CoverVolume};
pub use ephemeral::{Ephemeral, Form, User};
pub use error::Error;
pub use exec::{Exec, Output};
pub use fate::Fate;
pub use find::{Found, Unlisted};
pub use history::{History, Termination};
pub use observer::{CoveredPod, PodObserver};
pub use pause::Pauses;
pub use pod_set::{PodSet, Pods};
pub use review::{Right, ServerInfo};
pub use scope::{Scope, SelectArgs};
pub use skipped::{Skipped, Why};
pub use target::{Container, Target};
pub use trouble::Trouble;
