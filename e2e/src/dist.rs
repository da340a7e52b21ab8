//! What `make dist` makes, of scripts in place of the programs.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use serde_json::json;
use tempfile::TempDir;

use crate::{copy_program, program};

/// The version of the workspace.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The platform of a release, as Rust names it.
pub const TRIPLE: &str = "x86_64-unknown-linux-musl";

/// Those of the other platforms.
pub const OTHERS: [&str; 4] =
    ["aarch64-unknown-linux-musl", "x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-pc-windows-gnu"];

/// A release of linux-amd64, in a folder.
#[derive(Debug)]
pub struct Dist {
    dir: TempDir,
}

impl Dist {
    /// Packs scripts. They run the podcov that `make test` has built, under their own name.
    ///
    /// # Errors
    /// When they cannot be packed.
    pub fn new() -> Result<Self> {
        let dist = Self { dir: tempfile::tempdir()? };
        dist.pack(TRIPLE)?;
        Ok(dist)
    }

    /// Packs them for a platform, whichever they are of.
    ///
    /// # Errors
    /// When they cannot be packed.
    pub fn pack(&self, triple: &str) -> Result<()> {
        let podcov = format!("#!/bin/bash\nexec -a \"$0\" {:?} \"$@\"\n", program("podcov"));
        let messages =
            [self.build(triple, "podcov", &podcov)?, self.build(triple, "podcov-agent", "#!/bin/sh\n")?];
        let mut packaging = packaging();
        packaging.args([
            "archive",
            "--target",
            triple,
            "--commands",
            "run,test,signal,collect,report",
            "--epoch",
            "1700000000",
        ]);
        packaging.arg("--podcov").arg(program("podcov")).arg("--out").arg(self.folder()).args(messages);
        succeed(&mut packaging)?;
        Ok(())
    }

    /// The same with sums, install script and manifests.
    ///
    /// # Errors
    /// When they cannot be packed, or what belongs to a release cannot be made.
    pub fn released() -> Result<Self> {
        let dist = Self::new()?;
        dist.release()?;
        Ok(dist)
    }

    /// Adds the sums, install script and manifests of what is packed.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn release(&self) -> Result<()> {
        let mut packaging = packaging();
        packaging.arg("release").arg(self.folder());
        succeed(packaging.args(["--url", "https://example.com/v1/", "--homepage", "https://example.com"]))?;
        Ok(())
    }

    /// A folder for the test, which goes with this.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder to publish.
    pub fn folder(&self) -> PathBuf {
        self.dir().join("dist")
    }

    /// The file of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The text of the file of this name.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn text(&self, name: &str) -> Result<String> {
        Ok(fs::read_to_string(self.file(name))?)
    }

    /// A value of PATH on which a script is the program of this name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn with_program(&self, name: &str, script: &str) -> Result<String> {
        let folder = self.dir().join("path");
        fs::create_dir_all(&folder)?;
        let draft = self.dir().join("draft");
        fs::write(&draft, script)?;
        fs::set_permissions(&draft, PermissionsExt::from_mode(0o755))?;
        copy_program(&draft, &folder.join(name))?;
        Ok(format!("{}:{}", folder.display(), std::env::var("PATH")?))
    }

    /// A program, and what cargo would have printed while building it: with one crate.
    fn build(&self, triple: &str, name: &str, text: &str) -> Result<PathBuf> {
        let folder = self.dir().join(triple);
        fs::create_dir_all(folder.join("crate"))?;
        let manifest = folder.join("crate/Cargo.toml");
        fs::write(&manifest, "[package]\nname = \"one\"\nversion = \"1.0.0\"\nlicense = \"MIT\"\n")?;
        fs::write(folder.join("crate/LICENSE"), "as you like")?;
        let file = folder.join(name);
        fs::write(&file, text)?;
        let artifact = |id: &str, name: &str, kind: &str, executable: Option<&Path>| {
            json!({
                "reason": "compiler-artifact",
                "package_id": id,
                "manifest_path": manifest,
                "target": {"name": name, "kind": [kind]},
                "filenames": [file],
                "executable": executable,
            })
            .to_string()
        };
        let messages = [
            artifact("registry+x#one@1.0.0", "one", "lib", None),
            artifact("path+file:///x#own@0.1.0", name, "bin", Some(&file)),
        ];
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, messages.join("\n"))?;
        Ok(path)
    }
}

/// podcov-packaging, without arguments.
pub fn packaging() -> Command {
    Command::new(program("podcov-packaging"))
}

/// Runs a command that must succeed, and gives what it prints.
///
/// # Errors
/// When it fails.
pub fn succeed(command: &mut Command) -> Result<String> {
    let Output { status, stdout, stderr } = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    Ok(String::from_utf8(stdout)?)
}
