//! Stands in for `skaffold run` where Skaffold is not installed.
//!
//! The demo and the end-to-end tests must run this repository's own `skaffold.yaml`, or they would prove
//! nothing about it. [`run`] does the steps that matter to podcov's hooks, each as Skaffold's source has it:
//!
//! 1. [`Config::read`] reads the file and applies a profile;
//! 2. a [`Deployer`] makes the images: [`Cluster`] by ko, and the demo's own with what [`build`] compiles;
//! 3. [`render`] runs kustomize, and [`label`] puts the images and the run's id into what comes out;
//! 4. the deployer applies that and waits for it;
//! 5. [`run_host_hook`] runs the deploy hooks with the environment, the pipe and the end Skaffold gives them.
//!
//! Whatever the file asks for beyond these is an error that names it, never skipped: a hook that the file
//! lists has run when the run ends well.
#![cfg(unix)]

mod build;
mod cluster;
mod config;
mod hooks;
mod label;
mod namespaces;
mod render;
mod run;
mod schema;

pub use build::build;
pub use cluster::Cluster;
pub use config::{Artifact, Builder, Config, Ko};
pub use hooks::{HookEnv, run_host_hook};
pub use label::{RUN_ID_LABEL, label};
pub use namespaces::post_deploy_namespaces;
pub use render::render;
pub use run::{Deployer, main, run, say};
