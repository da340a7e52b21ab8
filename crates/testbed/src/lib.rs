//! An embedded cluster for tests and the demo: the part of the Kubernetes API that podcov uses, served in-process
//! over TLS on loopback, with pods that are local processes.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use podcov_testbed::{Image, Testbed};
//!
//! let bed = Testbed::start().await?;
//! bed.image("hello", Image::new("/path/to/hello"));
//! bed.apply(include_str!("../tests/testbed/hello.yaml"))?;
//! bed.rollout_done().await?;
//! // bed.kubeconfig() is a file for kube, kubectl or a podcov binary.
//! bed.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! It needs a multi-threaded tokio runtime, and Unix. Everything is gone when the [`Testbed`] is shut down or
//! dropped: processes, files, sockets.
//!
//! What differs from a real cluster, because there are no namespaces of the kernel's kind:
//! - A container's paths are put into host paths as text, in environment values, arguments and commands: each
//!   `mountPath`, the files of its [`Image`], `/proc/1`. Other absolute paths are the host's.
//! - Ports are the host's: each `containerPort` stands for a free local port, which the program finds in `PORT`
//!   (the first) and `PORT_<NAME>` (each that is named) and must listen on.
//! - Process ids are the host's. `kill` is replaced in shells and on `PATH` so that pid 1 is the container's process
//!   and others outside the container cannot be reached. A program that calls kill(2) itself is not held back.
//! - A mounted volume of whatever kind is an empty folder; of `valueFrom` only `fieldRef` is known, and `envFrom` is
//!   not. Probes by command and liveness probes are not run.
//! - Of kinds there are namespaces, pods, services and deployments, and the replica sets that deployments have; of
//!   kubectl's commands `get pods` and `exec` work.

mod api;
mod cluster;
mod controllers;
mod exec;
mod faults;
mod image;
mod kubeconfig;
mod kubelet;
mod manifest;
mod object;
mod portforward;
mod processes;
mod resource;
mod rollout;
mod selector;
mod server;
mod signals;
mod store;
mod testbed;

pub use bytes::Bytes;
pub use k8s_openapi;

pub use self::{
    faults::{Fault, FaultHandle, RequestRecord, Requests, Rule},
    image::{Image, Tools},
    kubeconfig::KubeconfigOptions,
    kubelet::FixedPod,
    testbed::Testbed,
};
