//! The platforms that are released.

use anyhow::{Context, Result};

/// A platform, by Rust's name and by those of Go, Kubernetes and Homebrew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) triple: &'static str,
    pub(crate) os: &'static str,
    pub(crate) arch: &'static str,
}

/// All of them.
pub(crate) const PLATFORMS: [Platform; 5] = [
    Platform { triple: "x86_64-unknown-linux-musl", os: "linux", arch: "amd64" },
    Platform { triple: "aarch64-unknown-linux-musl", os: "linux", arch: "arm64" },
    Platform { triple: "x86_64-apple-darwin", os: "darwin", arch: "amd64" },
    Platform { triple: "aarch64-apple-darwin", os: "darwin", arch: "arm64" },
    Platform { triple: "x86_64-pc-windows-gnu", os: "windows", arch: "amd64" },
];

impl Platform {
    /// The one that Rust calls so.
    pub(crate) fn of(triple: &str) -> Result<Self> {
        let known = PLATFORMS.iter().find(|platform| platform.triple == triple);
        known.copied().with_context(|| {
            let all = PLATFORMS.map(|platform| platform.triple);
            format!("{triple} is not released; these are: {}", all.join(", "))
        })
    }

    /// `podcov-VERSION-OS-ARCH`: the archive's name without its ending, and the folder in it.
    pub(crate) fn stem(&self) -> String {
        format!("podcov-{}-{}-{}", env!("CARGO_PKG_VERSION"), self.os, self.arch)
    }

    /// The name of the archive.
    pub(crate) fn archive(&self) -> String {
        format!("{}.tar.gz", self.stem())
    }

    /// The name of the archive that krew unpacks.
    pub(crate) fn plugin(&self) -> String {
        format!("{}-krew.tar.gz", self.stem())
    }

    /// The name of a program's file.
    pub(crate) fn program(&self, name: &str) -> String {
        if self.os == "windows" { format!("{name}.exe") } else { name.to_owned() }
    }
}
