//! The testbed as its users see it: through kube's client, and in what is left behind.

#![expect(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in tests, but not in the functions they share"
)]

mod api;
mod common;
mod exec;
mod faults;
mod leftovers;
mod pods;
mod portforward;
