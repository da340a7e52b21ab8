//! The hooks as whole programs on a real Kubernetes: `make e2e`.

mod agent;
mod doctor;
mod dry_run;
mod examples;
mod forward;
mod inject;
mod live;
mod lives;
mod pods;
mod processes;
mod rights;
mod run;
mod sidecar;
mod skaffold;
mod static_pods;
mod volumes;
