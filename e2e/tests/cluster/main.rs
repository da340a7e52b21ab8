//! The hooks as whole programs on a real Kubernetes: `make e2e`.

mod forward;
mod pods;
mod rights;
mod skaffold;
