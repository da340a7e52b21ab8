//! What is in the archive, and what is beside it.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use fs_err as fs;
use podcov_e2e::dist::{Dist, VERSION, packaging, succeed};
use serde_json::Value;

/// All but the manual pages.
const CONTENTS: [&str; 17] = [
    "bin/kubectl-podcov -> podcov",
    "bin/podcov",
    "bin/podcov-agent",
    "bin/podcov-collect -> podcov",
    "bin/podcov-report -> podcov",
    "bin/podcov-run -> podcov",
    "bin/podcov-signal -> podcov",
    "bin/podcov-test -> podcov",
    "share/bash-completion/completions/podcov",
    "share/doc/podcov/CHANGELOG.md",
    "share/doc/podcov/LICENSE",
    "share/doc/podcov/README.md",
    "share/doc/podcov/THIRD-PARTY.txt",
    "share/doc/podcov/podcov.spdx.json",
    "share/fish/vendor_completions.d/podcov.fish",
    "share/powershell/podcov.ps1",
    "share/zsh/site-functions/_podcov",
];

#[test]
fn the_archive_has_programs_links_pages_and_licences() -> Result<()> {
    let dist = Dist::new()?;
    let top = format!("podcov-{VERSION}-linux-amd64/");
    let archive = fs::read(dist.file(&format!("podcov-{VERSION}-linux-amd64.tar.gz")))?;
    let mut archive = tar::Archive::new(GzDecoder::new(&archive[..]));
    let (mut found, mut pages) = (Vec::new(), Vec::new());
    for entry in archive.entries()? {
        let entry = entry?;
        let header = entry.header();
        let path = entry.path()?.to_str().context("a name")?.to_owned();
        let path = path.strip_prefix(&top).context("one folder has it all")?.to_owned();
        assert_eq!((header.mtime()?, header.uid()?, header.gid()?), (1_700_000_000, 0, 0), "{path}");
        if !header.entry_type().is_symlink() {
            assert_eq!(header.mode()?, if path.starts_with("bin/") { 0o755 } else { 0o644 }, "{path}");
        }
        match (entry.link_name()?, path.strip_prefix("share/man/man1/")) {
            (Some(target), _) => found.push(format!("{path} -> {}", target.display())),
            (None, Some(page)) => pages.push(page.to_owned()),
            (None, None) => found.push(path),
        }
    }
    assert_eq!(found, CONTENTS);
    for page in ["podcov.1", "podcov-run.1", "podcov-collect.1", "podcov-report-gate.1"] {
        assert!(pages.contains(&page.to_owned()), "no {page} in {pages:?}");
    }
    Ok(())
}

#[test]
fn the_same_programs_give_the_same_bytes() -> Result<()> {
    let name = format!("podcov-{VERSION}-linux-amd64.tar.gz");
    let [one, other] = [Dist::new()?, Dist::new()?].map(|dist| fs::read(dist.file(&name)));
    assert!(one? == other?, "two archives of the same differ");
    Ok(())
}

#[test]
fn an_unknown_platform_is_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut packaging = packaging();
    packaging.args([
        "archive",
        "--target",
        "s390x-unknown-linux-gnu",
        "--epoch",
        "0",
        "--podcov",
        "podcov",
        "--out",
    ]);
    let output = packaging.arg(dir.path().join("out")).arg("messages.json").output()?;
    ensure!(!output.status.success() && !dir.path().join("out").exists(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("s390x-unknown-linux-gnu is not released"),
        "{output:?}"
    );
    Ok(())
}

#[test]
fn sums_verify_and_cover_all_that_is_published() -> Result<()> {
    let dist = Dist::released()?;
    let checked =
        succeed(Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(dist.folder()))?;
    let mut checked: Vec<_> = checked.lines().filter_map(|line| line.strip_suffix(": OK")).collect();
    checked.sort_unstable();
    let stem = format!("podcov-{VERSION}-linux-amd64");
    let [plugin, spdx, archive] = ["-krew.tar.gz", ".spdx.json", ".tar.gz"].map(|end| format!("{stem}{end}"));
    assert_eq!(checked, ["install.sh", &plugin, &spdx, &archive, "podcov.rb", "podcov.yaml"]);

    let spdx: Value = serde_json::from_str(&dist.text(&spdx)?)?;
    let names: Vec<_> =
        spdx["packages"].as_array().context("packages")?.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["podcov", "podcov-agent", "one"]);
    Ok(())
}

#[test]
fn manifests_have_the_archives_that_are_there() -> Result<()> {
    let dist = Dist::released()?;
    let sums = dist.text("SHA256SUMS")?;
    let archive = format!("podcov-{VERSION}-linux-amd64.tar.gz");
    let plugin = format!("podcov-{VERSION}-linux-amd64-krew.tar.gz");
    let sum_of = |name: &str| {
        let line = sums.lines().find(|line| line.ends_with(&format!(" {name}"))).context("a sum")?;
        anyhow::Ok(line.split_once(' ').context("a sum")?.0)
    };
    let (sum, plugin_sum) = (sum_of(&archive)?, sum_of(&plugin)?);

    let krew: Value = serde_saphyr::from_str(&dist.text("podcov.yaml")?)?;
    let [platform] = &krew["spec"]["platforms"].as_array().context("platforms")?[..] else {
        anyhow::bail!("{krew:#}")
    };
    assert_eq!(krew["spec"]["version"], format!("v{VERSION}"));
    assert!(krew["spec"]["shortDescription"].as_str().is_some_and(|text| text.len() <= 50), "krew allows 50");
    assert_eq!(platform["uri"], format!("https://example.com/v1/{plugin}"));
    assert_eq!((&platform["sha256"], &platform["bin"]), (&plugin_sum.into(), &"podcov".into()));
    assert_eq!(platform["files"][0]["from"], format!("podcov-{VERSION}-linux-amd64/bin/podcov"));

    let formula = dist.text("podcov.rb")?;
    let url = format!("url \"https://example.com/v1/{archive}\"\n      sha256 \"{sum}\"");
    assert!(
        formula.contains("on_linux") && !formula.contains("on_macos") && formula.contains(&url),
        "{formula}"
    );
    for name in ["podcov.rb", "podcov.yaml", "install.sh"] {
        for place in ["@VERSION@", "@URL@", "@HOMEPAGE@", "@PLATFORMS@"] {
            assert!(!dist.text(name)?.contains(place), "{name}: {place} is not filled in");
        }
    }
    Ok(())
}

#[test]
fn the_images_are_of_what_the_archive_has() -> Result<()> {
    let dist = Dist::released()?;
    for (image, entrypoint) in [("image-agent", "/podcov-agent"), ("image-podcov", "/usr/local/bin/podcov")] {
        let blob = |descriptor: &Value| -> Result<Vec<u8>> {
            let digest = descriptor["digest"].as_str().and_then(|text| text.strip_prefix("sha256:"));
            Ok(fs::read(dist.file(image).join("blobs/sha256").join(digest.context("a digest")?))?)
        };
        let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes);
        let index = json(fs::read(dist.file(image).join("index.json"))?)?;
        let manifest = json(blob(&index["manifests"][0])?)?;
        let config = json(blob(&manifest["config"])?)?;
        assert_eq!(config["config"]["Entrypoint"][0], entrypoint);
        let layer = blob(&manifest["layers"][0])?;
        let mut archive = tar::Archive::new(GzDecoder::new(&layer[..]));
        let paths = archive.entries()?.map(|entry| Ok(format!("/{}", entry?.path()?.display())));
        let paths = paths.collect::<Result<Vec<_>>>()?;
        assert!(paths.contains(&entrypoint.to_owned()), "{paths:?}");
        assert!(paths.contains(&"/usr/share/doc/podcov/THIRD-PARTY.txt".to_owned()), "{paths:?}");
    }
    Ok(())
}
