//! krew, kubectl's package manager, takes the manifest and installs podcov.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};
use podcov_e2e::dist::{Dist, OTHERS, VERSION, succeed};
use podcov_e2e::top;

/// A program of krew's.
fn krew(name: &str) -> Command {
    let folder: PathBuf = top().join("target/e2e/readers/bin");
    Command::new(folder.join(name))
}

#[test]
fn krew_takes_the_manifest_and_installs_for_each_platform() -> Result<()> {
    let dist = Dist::new()?;
    OTHERS.iter().try_for_each(|triple| dist.pack(triple))?;
    dist.release()?;
    // krew's index checks manifests by this.
    let mut check = krew("validate-krew-manifest");
    succeed(check.arg("-skip-install").arg("-manifest").arg(dist.file("podcov.yaml")))?;
    for (os, arch) in [
        ("linux", "amd64"),
        ("linux", "arm64"),
        ("darwin", "amd64"),
        ("darwin", "arm64"),
        ("windows", "amd64"),
    ] {
        let root = tempfile::tempdir()?;
        let mut install = krew("krew");
        install.env("KREW_ROOT", root.path()).env("KREW_OS", os).env("KREW_ARCH", arch);
        install.arg("install").arg("--manifest").arg(dist.file("podcov.yaml"));
        install.arg("--archive").arg(dist.file(&format!("podcov-{VERSION}-{os}-{arch}-krew.tar.gz")));
        succeed(&mut install)?;
        let end = if os == "windows" { ".exe" } else { "" };
        let mut plugin = Command::new(root.path().join(format!("bin/kubectl-podcov{end}")));
        // The programs here are scripts for this machine, whatever the platform's name.
        let version = succeed(plugin.arg("--version"))?;
        ensure!(version == format!("podcov {VERSION}\n"), "{os}-{arch}: {version}");
        ensure!(root.path().join(format!("store/podcov/v{VERSION}/LICENSE")).exists(), "{os}-{arch}");
    }
    Ok(())
}
