//! What is published beside the archives: sums, an install script, manifests of package managers, krew's archives, images.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Result, ensure};
use fs_err as fs;

use crate::archive::{Content, Entry, entries, epoch, gzip, sha256, tar};
use crate::image::{self, Image, Start};
use crate::platform::{PLATFORMS, Platform};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An archive of a release.
struct Packed {
    platform: Platform,
    bytes: Vec<u8>,
    hash: String,
}

/// Makes all of it of the archives in `folder`, which can be downloaded from `url`. A platform whose archive is not there is
/// left out.
///
/// # Errors
/// When there is no archive, or a file cannot be written.
pub(crate) fn make(folder: &Path, url: &str, homepage: &str) -> Result<()> {
    let mut packed = Vec::new();
    for platform in PLATFORMS {
        let file = folder.join(platform.archive());
        if file.exists() {
            let bytes = fs::read(file)?;
            packed.push(Packed { platform, hash: sha256(&bytes), bytes });
        }
    }
    ensure!(!packed.is_empty(), "{} has no archive of podcov {VERSION}: run `make dist`", folder.display());
    let fill = |template: &str, platforms: &str| {
        let text = template.replace("@VERSION@", VERSION).replace("@URL@", url.trim_end_matches('/'));
        text.replace("@HOMEPAGE@", homepage).replace("@PLATFORMS@", platforms.trim_end())
    };
    let write = |name: &str, text: String| -> Result<()> {
        fs::write(folder.join(name), text)?;
        println!("{}", folder.join(name).display());
        Ok(())
    };
    write("install.sh", fill(include_str!("../install.sh"), &cases(&packed)?))?;
    write("podcov.rb", fill(include_str!("../podcov.rb"), &formula(&packed, url)?))?;
    write("podcov.yaml", fill(include_str!("../podcov.yaml"), &krew(folder, &packed, url)?))?;
    images(folder, &packed)?;
    sums(folder)
}

/// The install script's: a line for each platform.
fn cases(packed: &[Packed]) -> Result<String> {
    let mut text = String::new();
    for Packed { platform, hash, .. } in packed.iter().filter(|packed| packed.platform.os != "windows") {
        writeln!(text, "{}-{}) sum={hash} ;;", platform.os, platform.arch)?;
    }
    Ok(text)
}

/// Homebrew's: a block for each system, in it one for each processor.
fn formula(packed: &[Packed], url: &str) -> Result<String> {
    let mut text = String::new();
    for (os, block) in [("darwin", "on_macos"), ("linux", "on_linux")] {
        let of_os: Vec<_> = packed.iter().filter(|packed| packed.platform.os == os).collect();
        if of_os.is_empty() {
            continue;
        }
        writeln!(text, "  {block} do")?;
        for Packed { platform, hash, .. } in of_os {
            let block = if platform.arch == "arm64" { "on_arm" } else { "on_intel" };
            let url = format!("{}/{}", url.trim_end_matches('/'), platform.archive());
            writeln!(text, "    {block} do\n      url \"{url}\"\n      sha256 \"{hash}\"\n    end")?;
        }
        writeln!(text, "  end")?;
    }
    Ok(text)
}

/// krew's, with the archives that it names. kubectl runs a link to this one program, under another name.
fn krew(folder: &Path, packed: &[Packed], url: &str) -> Result<String> {
    let mut text = String::new();
    for packed in packed {
        let platform = packed.platform;
        let (os, arch, stem) = (platform.os, platform.arch, platform.stem());
        let bytes = plugin(packed)?;
        fs::write(folder.join(platform.plugin()), &bytes)?;
        println!("{}", folder.join(platform.plugin()).display());
        let (url, hash) = (format!("{}/{}", url.trim_end_matches('/'), platform.plugin()), sha256(&bytes));
        let program = platform.program("podcov");
        writeln!(
            text,
            "    - selector: {{matchLabels: {{os: {os}, arch: {arch}}}}}
      uri: {url}
      sha256: {hash}
      files:
        - {{from: {stem}/bin/{program}, to: .}}
        - {{from: {stem}/share/doc/podcov/LICENSE, to: .}}
        - {{from: {stem}/share/doc/podcov/THIRD-PARTY.txt, to: .}}
      bin: {program}"
        )?;
    }
    Ok(text)
}

/// What krew unpacks: podcov and its licences alone, for krew refuses an archive that has a link.
fn plugin(packed: &Packed) -> Result<Vec<u8>> {
    let (platform, bytes) = (&packed.platform, &packed.bytes);
    let program = format!("bin/{}", platform.program("podcov"));
    let names = [&program, "share/doc/podcov/LICENSE", "share/doc/podcov/THIRD-PARTY.txt"];
    let paths = names.map(|name| format!("{}/{name}", platform.stem()));
    let mut kept = entries(bytes)?;
    kept.retain(|entry| paths.contains(&entry.path));
    ensure!(kept.len() == paths.len(), "{} lacks one of {}", platform.archive(), names.join(", "));
    gzip(&tar(kept, epoch(bytes)?)?)
}

/// The images of podcov-agent and of podcov for all processors of Linux.
fn images(folder: &Path, packed: &[Packed]) -> Result<()> {
    let (mut agents, mut hooks) = (Vec::new(), Vec::new());
    for Packed { platform, bytes, .. } in packed.iter().filter(|packed| packed.platform.os == "linux") {
        let (mut agent, mut hook) = (Vec::new(), Vec::new());
        for entry in entries(bytes)? {
            let path = entry
                .path
                .strip_prefix(&platform.stem())
                .unwrap_or_default()
                .trim_start_matches('/')
                .to_owned();
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            if path == "bin/podcov-agent" {
                agent.push(Entry { path: name, content: entry.content });
            } else if path.starts_with("bin/") {
                hook.push(Entry { path: format!("usr/local/{path}"), content: entry.content });
            } else if ["LICENSE", "THIRD-PARTY.txt"].contains(&name.as_str()) {
                agent.push(Entry { path: format!("usr/{path}"), content: entry.content.clone() });
                hook.push(Entry { path: format!("usr/{path}"), content: entry.content });
            }
        }
        let has_program =
            |files: &[Entry]| files.iter().any(|file| matches!(file.content, Content::Program(_)));
        ensure!(has_program(&agent) && has_program(&hook), "{} lacks a program", platform.archive());
        agents.push(Image { arch: platform.arch, files: agent });
        hooks.push(Image { arch: platform.arch, files: hook });
    }
    let write = |name: &str, start: &Start, images: Vec<Image>| {
        if images.is_empty() { Ok(()) } else { image::write(&folder.join(name), start, images) }
    };
    write("image-agent", &image::AGENT, agents)?;
    write("image-podcov", &image::PODCOV, hooks)
}

/// SHA256SUMS, as `sha256sum` writes and checks it: of all files that are published.
fn sums(folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() && entry.file_name() != "SHA256SUMS" {
            names.extend(entry.file_name().into_string());
        }
    }
    names.sort();
    let mut text = String::new();
    for name in names {
        writeln!(text, "{}  {name}", sha256(&fs::read(folder.join(&name))?))?;
    }
    fs::write(folder.join("SHA256SUMS"), text)?;
    println!("{}", folder.join("SHA256SUMS").display());
    Ok(())
}
