//! The testbed as its users see it: through kube's client, through kubectl, and in what is left behind.

mod api;
mod common;
mod exec;
mod faults;
mod kubectl;
mod leftovers;
mod pods;
mod portforward;
