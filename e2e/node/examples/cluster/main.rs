//! `make e2e`, `make cluster-up` and `make cluster-down`: a real Kubernetes on this machine, which must be Linux.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("cluster: error: only Linux runs containers; name another cluster in PODCOV_E2E_CONTEXT");
    ExitCode::FAILURE
}
