//! Container images made of files, without a container engine.
//!
//! What is written is the archive that `docker save` makes (`manifest.json` names a configuration and the layers,
//! moby's `image/spec/spec.md`), and crane puts it into a registry.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

/// An image of one layer.
#[derive(Debug, Clone, Default)]
pub struct Image {
    files: Vec<(String, PathBuf)>,
    links: Vec<(String, String)>,
    entrypoint: Vec<String>,
    user: String,
}

impl Image {
    /// An image with an empty `/tmp` and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With a program; `path` is where in the image, without the leading slash.
    #[must_use]
    pub fn file(mut self, path: &str, from: impl Into<PathBuf>) -> Self {
        self.files.push((path.to_owned(), from.into()));
        self
    }

    /// With a symbolic link.
    #[must_use]
    pub fn link(mut self, path: &str, target: &str) -> Self {
        self.links.push((path.to_owned(), target.to_owned()));
        self
    }

    /// What containers of it run.
    #[must_use]
    pub fn entrypoint(mut self, command: &[&str]) -> Self {
        self.entrypoint = command.iter().map(ToString::to_string).collect();
        self
    }

    /// The user that containers of it run as, by number; without it, root.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        user.clone_into(&mut self.user);
        self
    }

    /// Puts the image into a registry under the name, by the crane on PATH or in `tools`.
    ///
    /// # Errors
    /// When a file cannot be read, or crane cannot be run or fails; the error then holds what it printed.
    pub fn push(&self, reference: &str, tools: &Path) -> Result<()> {
        let folder = tempfile::tempdir()?;
        let archive = folder.path().join("image.tar");
        self.write(&archive, reference)?;
        let crane = Command::new(tools.join("crane"))
            .args(["push", "--insecure"])
            .arg(&archive)
            .arg(reference)
            .output();
        let crane = crane.context("cannot run crane; `make cluster-up` builds it")?;
        let said = String::from_utf8_lossy(&crane.stderr);
        ensure!(crane.status.success(), "crane push {reference}: {}", said.trim());
        Ok(())
    }

    fn write(&self, archive: &Path, reference: &str) -> Result<()> {
        let layer = self.layer()?;
        let digest = hex(&layer);
        let config = serde_json::to_vec(&json!({
            "architecture": go_arch(),
            "os": "linux",
            "config": {"Entrypoint": self.entrypoint, "User": self.user, "Env": ["PATH=/usr/local/bin:/usr/bin:/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
        }))?;
        let (config_name, layer_name) = (format!("{}.json", hex(&config)), format!("{digest}.tar"));
        let manifest = json!([{"Config": config_name, "RepoTags": [reference], "Layers": [layer_name]}]);
        let mut tar = Builder::new(fs::File::create(archive)?);
        for (name, data) in [
            (config_name, config),
            (layer_name, layer),
            ("manifest.json".to_owned(), serde_json::to_vec(&manifest)?),
        ] {
            append(&mut tar, EntryType::Regular, 0o644, &name, &data)?;
        }
        Ok(tar.finish()?)
    }

    fn layer(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        append(&mut tar, EntryType::Directory, 0o1777, "tmp/", &[])?;
        for (path, from) in &self.files {
            append(&mut tar, EntryType::Regular, 0o755, path, &fs::read(from)?)?;
        }
        for (path, target) in &self.links {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, path, target)?;
        }
        Ok(tar.into_inner()?)
    }
}

fn append<W: io::Write>(
    tar: &mut Builder<W>,
    kind: EntryType,
    mode: u32,
    path: &str,
    data: &[u8],
) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(data.len() as u64);
    Ok(tar.append_data(&mut header, path, data)?)
}

fn hex(data: &[u8]) -> String {
    format!("{:x}", Sha256::digest(data))
}

/// This machine's processor, as Go names it.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
