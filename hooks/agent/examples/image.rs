//! `image AGENT FOLDER`: makes an image of podcov-agent, as an OCI image layout. Without a container engine: it is two
//! JSON files and an archive of one file.
//!
//! The formats: OCI's image specification (`image-layout.md`, `manifest.md`, `config.md`).

use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use fs_err as fs;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, Header};

/// The user of distroless images: no root, and nobody else.
const USER: &str = "65532:65532";

fn main() -> Result<()> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [agent, folder] = &args[..] else { anyhow::bail!("image AGENT FOLDER") };
    let (agent, folder) = (fs::read(agent)?, Path::new(folder));
    is_static(&agent)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder.join("blobs/sha256"))?;

    let archive = archive(&agent)?;
    // The least of what an encoder may write in a header, so that the same agent gives the same image.
    let mut layer = GzEncoder::new(Vec::new(), Compression::best());
    std::io::Write::write_all(&mut layer, &archive)?;
    let layer = blob(folder, "application/vnd.oci.image.layer.v1.tar+gzip", &layer.finish()?)?;
    let config = json!({
        "architecture": architecture()?,
        "os": "linux",
        "config": {
            "User": USER,
            "Env": ["PATH=/"],
            "Entrypoint": ["/podcov-agent", "run", "--"],
            "Labels": {"org.opencontainers.image.version": env!("CARGO_PKG_VERSION")},
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(&archive)]},
    });
    let config = blob(folder, "application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config)?)?;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]});
    let manifest = blob(folder, media_type, &serde_json::to_vec(&manifest)?)?;
    let index = json!({"schemaVersion": 2, "manifests": [manifest]});
    fs::write(folder.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    println!("{}: podcov-agent of {} bytes, {} compressed", folder.display(), agent.len(), layer["size"]);
    Ok(())
}

/// An image of nothing else has no loader of shared libraries.
fn is_static(agent: &[u8]) -> Result<()> {
    ensure!(agent.starts_with(b"\x7fELF"), "the agent is no Linux program");
    let loader = agent.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl");
    ensure!(!loader, "the agent is not linked statically: build it by `make agent`");
    Ok(())
}

fn archive(agent: &[u8]) -> Result<Vec<u8>> {
    let mut header = Header::new_ustar();
    header.set_size(agent.len() as u64);
    header.set_mode(0o755);
    let mut archive = Builder::new(Vec::new());
    archive.append_data(&mut header, "podcov-agent", agent)?;
    Ok(archive.into_inner()?)
}

/// As Go names it, and so images.
fn architecture() -> Result<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(anyhow::anyhow!("no image is made for {other}")),
    }
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// Writes a blob and describes it.
fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let digest = digest(bytes);
    let name = digest.strip_prefix("sha256:").context("a digest")?;
    fs::write(folder.join("blobs/sha256").join(name), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": digest, "size": bytes.len()}))
}
