//! Where everything lies: programs that were built or unpacked before, and what a cluster makes.

use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err as fs;

/// The folder of a cluster, `target/e2e` of a checkout.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

/// Where the cluster's own programs see the folder, however long its real path is (a socket's may not be longer
/// than 107 bytes) and whatever is hidden from them.
pub(crate) const INSIDE: &str = "/run/podcov";

impl Folder {
    /// The folder at `path`, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn at(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(fs::canonicalize(path)?))
    }

    /// As the cluster's programs see it.
    pub(crate) fn inside() -> Self {
        Self(INSIDE.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The programs that `make` builds: Kubernetes, ko, crane.
    #[must_use]
    pub fn bin(&self) -> PathBuf {
        self.0.join("bin")
    }

    /// What `make` unpacks of Debian's packages.
    #[must_use]
    pub fn debian(&self) -> PathBuf {
        self.0.join("debian")
    }

    /// What the cluster writes: there as long as it runs.
    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Each program's log, kept until the next start.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    /// The administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.state().join("kubeconfig")
    }

    /// The manifests of static pods, which the kubelet runs by itself.
    #[must_use]
    pub fn static_pods(&self) -> PathBuf {
        self.state().join("static-pods")
    }

    /// Held locked by the keeper, and holding its process id.
    pub(crate) fn lock(&self) -> PathBuf {
        self.0.join("keeper")
    }
}
