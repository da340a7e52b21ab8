//! Images as OCI image layouts, without a container engine: an image is two JSON files and an archive.
//!
//! The formats: OCI's image specification (`image-layout.md`, `image-index.md`, `manifest.md`, `config.md`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use object::{Architecture, Object, ObjectKind};
use serde_json::{Value, json};

use crate::archive::{self, Entry, sha256};

/// The user of distroless images: no root, and nobody else.
const USER: &str = "65532:65532";

/// How an image is started.
pub(crate) struct Start {
    pub(crate) path: &'static str,
    pub(crate) entrypoint: &'static [&'static str],
}

/// podcov-agent's: it is the first process, and starts what the image's CMD or the pod's args name.
pub(crate) const AGENT: Start = Start { path: "/", entrypoint: &["/podcov-agent", "run", "--"] };

/// podcov's: the commands are its arguments.
pub(crate) const PODCOV: Start = Start { path: "/usr/local/bin", entrypoint: &["/usr/local/bin/podcov"] };

/// An image for one platform.
pub(crate) struct Image {
    /// As Go names it.
    pub(crate) arch: &'static str,
    pub(crate) files: Vec<Entry>,
}

/// Makes an image of nothing but podcov-agent, from a program for each platform.
///
/// # Errors
/// When a file is not a static Linux program, or the folder cannot be written.
pub(crate) fn of_agents(folder: &Path, agents: &[PathBuf]) -> Result<()> {
    let mut images = Vec::new();
    for file in agents {
        let agent = fs::read(file)?;
        let arch = architecture(&agent).with_context(|| file.display().to_string())?;
        images.push(Image { arch, files: vec![Entry::program("podcov-agent", agent)] });
    }
    write(folder, &AGENT, images)
}

/// Writes the layout, in place of what is at `folder`. Of several images it has an index.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn write(folder: &Path, start: &Start, images: Vec<Image>) -> Result<()> {
    if folder.exists() {
        ensure!(folder.join("oci-layout").exists(), "{} is not an OCI layout, so it stays", folder.display());
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder.join("blobs/sha256"))?;
    let mut manifests =
        images.into_iter().map(|image| manifest(folder, start, image)).collect::<Result<Vec<Value>>>()?;
    if manifests.len() > 1 {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests});
        manifests = vec![blob(folder, media_type, &serde_json::to_vec(&index)?)?];
    }
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    fs::write(folder.join("index.json"), serde_json::to_vec(&index)?)?;
    fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    Ok(())
}

/// Writes an image's parts, and describes it.
fn manifest(folder: &Path, start: &Start, image: Image) -> Result<Value> {
    let unpacked: usize = image.files.iter().filter_map(Entry::bytes).map(<[u8]>::len).sum();
    // Whatever is in an image has no time, as in those that ko makes.
    let archive = archive::tar(image.files, 0)?;
    let layer = blob(folder, "application/vnd.oci.image.layer.v1.tar+gzip", &archive::gzip(&archive)?)?;
    let platform = json!({"architecture": image.arch, "os": "linux"});
    println!("{}: linux/{}: {unpacked} bytes, {} compressed", folder.display(), image.arch, layer["size"]);
    let config = json!({
        "architecture": image.arch,
        "os": "linux",
        "config": {
            "User": USER,
            "Env": [format!("PATH={}", start.path)],
            "Entrypoint": start.entrypoint,
            "Labels": {
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&archive))]},
    });
    let config = blob(folder, "application/vnd.oci.image.config.v1+json", &serde_json::to_vec(&config)?)?;
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [layer]});
    let mut manifest = blob(folder, media_type, &serde_json::to_vec(&manifest)?)?;
    manifest["platform"] = platform;
    Ok(manifest)
}

/// A static program's architecture, as Go names it, and so images. An image of nothing else has no loader of shared
/// libraries.
fn architecture(program: &[u8]) -> Result<&'static str> {
    let file = object::File::parse(program).context("it is no Linux program")?;
    ensure!(file.kind() != ObjectKind::Relocatable, "it is no program");
    let loader = program.windows(8).any(|window| window == b"/ld-linu" || window == b"/ld-musl");
    ensure!(!loader, "it is not linked statically: build it by `make agent`");
    match file.architecture() {
        Architecture::X86_64 => Ok("amd64"),
        Architecture::Aarch64 => Ok("arm64"),
        other => bail!("no image is made for {other:?}"),
    }
}

/// Writes a blob and describes it.
fn blob(folder: &Path, media_type: &str, bytes: &[u8]) -> Result<Value> {
    let name = sha256(bytes);
    fs::write(folder.join("blobs/sha256").join(&name), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{name}"), "size": bytes.len()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a descriptor describes.
    fn described(folder: &Path, descriptor: &Value) -> Value {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = fs::read(folder.join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(
            (sha256(&bytes).as_str(), descriptor["size"].as_u64()),
            (digest, Some(bytes.len() as u64))
        );
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn images_of_two_platforms_have_an_index_and_one_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("image");
        let image =
            |arch| Image { arch, files: vec![Entry::program("podcov-agent", arch.as_bytes().to_vec())] };
        let top = || serde_json::from_slice::<Value>(&fs::read(folder.join("index.json")).unwrap()).unwrap();
        write(&folder, &AGENT, vec![image("amd64"), image("arm64")]).unwrap();
        let index = described(&folder, &top()["manifests"][0]);
        assert_eq!(index["manifests"][1]["platform"]["architecture"], "arm64");
        let config = described(&folder, &described(&folder, &index["manifests"][1])["config"]);
        assert_eq!(config["architecture"], "arm64");

        write(&folder, &AGENT, vec![image("amd64")]).unwrap();
        let config = described(&folder, &described(&folder, &top()["manifests"][0])["config"]);
        assert_eq!(config["config"]["Entrypoint"], json!(["/podcov-agent", "run", "--"]));

        fs::remove_file(folder.join("oci-layout")).unwrap();
        assert!(write(&folder, &AGENT, vec![image("amd64")]).is_err());
    }

    #[test]
    fn what_is_no_static_program_is_refused() {
        assert!(architecture(b"#!/bin/sh").is_err());
        // This test is a program that the system's loader starts.
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(architecture(&own).is_err());
    }
}
