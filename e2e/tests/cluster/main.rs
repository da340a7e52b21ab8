//! The hooks as whole programs on a real Kubernetes: `make e2e`.

mod pods;
mod skaffold;
