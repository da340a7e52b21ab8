//! A real Kubernetes of one node on this machine, for the end-to-end tests: etcd, the API server, the
//! controllers, the scheduler, a kubelet, containerd with runc, and a registry.
//!
//! [`up`] starts it and [`down`] ends it; [`with`] does both around a command. A separate process,
//! the [`keeper`], owns it: it makes what is outside of any process (certificates, a bridge, folders) and removes it
//! again, also when the process that started it was killed. All programs of the cluster, and
//! the containers they start, live in one PID and one mount namespace under an [`init`]: when that ends, the
//! kernel ends everything in it, and no mount was ever seen outside.
//!
//! Everything listens on loopback, on free ports; pods have a network of their own, from the block that is set
//! aside for tests of network devices (RFC 2544), on a bridge that leads nowhere. On its end here the kubelet listens,
//! and the keeper answers for services' `names`.
//!
//! The keeper needs root, for namespaces, mounts and the bridge. Nothing else here does. All of it needs Linux;
//! elsewhere there are only the [`Image`]s that tests push for another cluster.

#[cfg(target_os = "linux")]
mod authority;
#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod config;
mod folder;
#[cfg(target_os = "linux")]
mod host;
mod image;
#[cfg(target_os = "linux")]
mod init;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod lock;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod starter;

pub use folder::Folder;
pub use image::Image;
#[cfg(target_os = "linux")]
pub use init::init;
#[cfg(target_os = "linux")]
pub use keeper::keep;
#[cfg(target_os = "linux")]
pub use starter::{Access, down, gone, up, with};
