//! What is linked into a program, as cargo reports it while it builds: the crates that were compiled for the program's platform. A
//! crate that only a build script or a macro uses is compiled for the machine that builds, and is not among them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde::Deserialize;

/// A program that cargo has built.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
    pub(crate) crates: BTreeSet<Crate>,
}

/// Another project's crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    pub(crate) name: String,
    pub(crate) version: String,
    /// As SPDX writes it.
    pub(crate) license: String,
    /// SHA-256 of what was downloaded.
    pub(crate) checksum: Option<String>,
    /// Where its source is.
    pub(crate) folder: PathBuf,
}

#[derive(Deserialize)]
struct Message {
    reason: String,
    package_id: Option<String>,
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct Manifest {
    package: ManifestPackage,
}

#[derive(Deserialize)]
struct ManifestPackage {
    name: String,
    version: String,
    license: Option<String>,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Program {
    /// The program of one build. `messages` is what `cargo build --target TRIPLE --message-format=json` printed, `lock`
    /// the text of Cargo.lock.
    ///
    /// # Errors
    /// When a message is not understood, the build made no program or more than one, or a crate does not name its licence.
    pub(crate) fn of_build(messages: &str, triple: &str, lock: &str) -> Result<Self> {
        let lock: Lock = toml::from_str(lock).context("Cargo.lock")?;
        let locked =
            lock.package.into_iter().map(|package| ((package.name, package.version), package.checksum));
        let checksums: BTreeMap<_, _> = locked.collect();
        let (mut crates, mut programs) = (BTreeSet::new(), Vec::new());
        for line in messages.lines() {
            let message: Message = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let (Some(target), Some(manifest)) = (message.target, message.manifest_path) else { continue };
            let is_built = message.reason == "compiler-artifact";
            let is_for_target =
                message.filenames.iter().any(|file| file.components().any(|part| part.as_os_str() == triple));
            if !is_built || !is_for_target {
                continue;
            }
            if let Some(file) = message.executable.filter(|_| target.kind.iter().any(|kind| kind == "bin")) {
                programs.push((target.name, file));
            } else if !message.package_id.context("a package's ID")?.starts_with("path+") {
                crates.insert(Crate::read(&manifest, &checksums)?);
            }
        }
        ensure!(programs.len() == 1, "not one program but {programs:?}");
        let (name, file) = programs.swap_remove(0);
        Ok(Self { name, file, crates })
    }
}

impl Crate {
    fn read(manifest: &Path, checksums: &BTreeMap<(String, String), Option<String>>) -> Result<Self> {
        let read: Manifest =
            toml::from_str(&fs::read_to_string(manifest)?).with_context(|| manifest.display().to_string())?;
        let ManifestPackage { name, version, license } = read.package;
        // As it was written before SPDX.
        let license = license.with_context(|| format!("{name} has no licence"))?.replace('/', " OR ");
        let checksum = checksums.get(&(name.clone(), version.clone())).cloned().flatten();
        let folder = manifest.parent().context("a folder")?.to_owned();
        Ok(Self { name, version, license, checksum, folder })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compiled_for_the_platform_is_linked() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = dir.path().join("Cargo.toml");
        fs::write(
            &manifest,
            "[package]\nname = \"left\"\nversion = \"1.2.3\"\nlicense = \"MIT/Apache-2.0\"\n",
        )
        .unwrap();
        let artifact = |id: &str, name: &str, kind: &str, file: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","package_id":"{id}","manifest_path":{manifest:?},"target":{{"name":"{name}","kind":["{kind}"]}},"filenames":["{file}"],"executable":{executable}}}"#
            )
        };
        let lines = [
            artifact("registry+x#left@1.2.3", "left", "lib", "/t/x86/dist/libleft.rlib", "null"),
            artifact("registry+x#macros@1.0.0", "macros", "proc-macro", "/t/dist/libmacros.so", "null"),
            artifact("path+file:///p#own@0.1.0", "own", "lib", "/t/x86/dist/libown.rlib", "null"),
            r#"{"reason":"build-script-executed","package_id":"registry+x#left@1.2.3"}"#.to_owned(),
            artifact(
                "path+file:///p#podcov@0.1.0",
                "podcov",
                "bin",
                "/t/x86/dist/podcov",
                r#""/t/x86/dist/podcov""#,
            ),
            r#"{"reason":"build-finished","success":true}"#.to_owned(),
        ];
        let lock = "[[package]]\nname = \"left\"\nversion = \"1.2.3\"\nchecksum = \"abc\"\n";
        let program = Program::of_build(&lines.join("\n"), "x86", lock).unwrap();
        assert_eq!(
            (program.name.as_str(), program.file.as_path()),
            ("podcov", Path::new("/t/x86/dist/podcov"))
        );
        let [left] = &Vec::from_iter(&program.crates)[..] else { panic!("{:?}", program.crates) };
        assert_eq!((left.name.as_str(), left.license.as_str()), ("left", "MIT OR Apache-2.0"));
        assert_eq!(left.checksum.as_deref(), Some("abc"));

        let failed = Program::of_build(r#"{"reason":"build-finished","success":false}"#, "x86", lock);
        assert!(failed.is_err());
    }
}
