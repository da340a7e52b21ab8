//! A Kubernetes cluster as podcov's hooks see it: which one (kubeconfig, Skaffold's environment), which
//! containers of the run hold counters, running a program in them, and forwarding connections to them.
//!
//! Thin over [`kube`]. Two things are its own, and for a reason: exec's and port-forward's WebSocket channels
//! ([`Exec`], [`forward`]). kube 5's halves lose the end of a stream that breaks (a read hangs for ever), and
//! a hook that must notice every cut stream needs just that event.

mod channels;
mod client;
mod credentials;
mod error;
mod exec;
pub mod forward;
mod history;
mod kubeconfig;
mod plugin;
mod proxy;
mod retry;
mod scope;
mod target;
mod tls;

pub use client::{Cluster, ClusterArgs};
pub use error::Error;
pub use exec::{Exec, ExecEnd, Output};
pub use history::{History, Termination};
pub use scope::{Scope, SelectArgs};
pub use target::{AgentPort, Container, CoverDir, CoverVolume, Fate, Found, Skipped, Target, Unlisted, Why};
