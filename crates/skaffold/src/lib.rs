//! Stands in for `skaffold run` where Skaffold is not installed.
//!
//! The demo and the end-to-end tests must run this repository's own `skaffold.yaml`, or they would prove
//! nothing about it. Skaffold wants a container builder, a registry and a cluster; this crate does the steps
//! that matter to podcov's hooks, each as Skaffold's source has it, and leaves the deploying to its caller:
//!
//! 1. [`Config::read`] reads the file and applies a profile;
//! 2. [`build`] builds an artifact's program as ko would;
//! 3. [`render`] runs kustomize, and [`label`] puts the images and the run's id into what comes out;
//! 4. [`run_host_hooks`] runs the deploy hooks with the environment, the pipe and the end Skaffold gives them.
//!
//! Whatever the file asks for beyond these is an error that names it, never skipped: a hook that the file
//! lists has run when the run ends well.
#![cfg(unix)]

mod build;
mod config;
mod hooks;
mod label;
mod namespaces;
mod render;
mod schema;

pub use build::build;
pub use config::{Artifact, Config, HostHook};
pub use hooks::{HookEnv, HookError, INTENDED_GRACE, Outcome, Phase, run_host_hook, run_host_hooks};
pub use label::{RUN_ID_LABEL, label};
pub use namespaces::post_deploy_namespaces;
pub use render::render;
