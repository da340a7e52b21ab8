//! Builds an artifact's program the way ko does, short of putting it into an image.
//!
//! Where Skaffold would run the program in a container built for the cluster's platform, the caller runs it
//! as a local process, so it is built for this machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail, ensure};
use fs_err as fs;
use tokio::process::Command;

use crate::{Artifact, Builder, Ko};

/// Builds the artifact's program into `out_dir` and returns its path. It is named after the image. `env` comes on top of
/// the environment.
///
/// # Errors
/// When the go tool cannot be run or fails; the error then holds what it printed.
pub async fn build(artifact: &Artifact, out_dir: &Path, env: &[(&str, &Path)]) -> Result<PathBuf> {
    let Builder::Ko(ko) = &artifact.builder else {
        bail!("artifact {} is not built by ko, and its image is not made here", artifact.image);
    };
    fs::create_dir_all(out_dir)?;
    let name = artifact.image.rsplit('/').next().unwrap_or(&artifact.image);
    // Absolute, since the go tool runs elsewhere.
    let program = fs::canonicalize(out_dir)?.join(name);

    let output = Command::new("go")
        .args(arguments(ko, &program))
        .current_dir(&ko.dir)
        // As ko has it: no cgo unless the user's own environment says otherwise.
        .env("CGO_ENABLED", std::env::var_os("CGO_ENABLED").unwrap_or_else(|| "0".into()))
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("artifact {}: cannot run go in {}", artifact.image, ko.dir.display()))?;
    ensure!(
        output.status.success(),
        "artifact {}: go build failed in {}: {}\n{}{}",
        artifact.image,
        ko.dir.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    Ok(program)
}

/// ko's command line: the artifact's flags, and `-trimpath` after them.
fn arguments(artifact: &Ko, program: &Path) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("build")];
    arguments.extend(artifact.flags.iter().map(OsString::from));
    arguments.push("-trimpath".into());
    arguments.extend(["-o".into(), program.into(), OsString::from(&artifact.main)]);
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ko(dir: &Path) -> Ko {
        Ko {
            base: None,
            dir: dir.to_owned(),
            main: "./cmd".to_owned(),
            flags: vec!["-cover".to_owned(), "-covermode=atomic".to_owned()],
        }
    }

    #[test]
    fn the_command_line_is_that_of_ko() {
        let arguments = arguments(&ko(Path::new("/src")), Path::new("/out/tiny"));
        let expected = ["build", "-cover", "-covermode=atomic", "-trimpath", "-o", "/out/tiny", "./cmd"];
        assert_eq!(arguments, expected);
    }

    #[tokio::test]
    async fn a_program_is_built_and_runs() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cmd")).unwrap();
        fs::write(dir.path().join("go.mod"), "module example.com/tiny\n\ngo 1.22\n").unwrap();
        let source = "package main\n\nfunc main() { println(\"runs\") }\n";
        fs::write(dir.path().join("cmd/main.go"), source).unwrap();
        let ko = Ko { flags: Vec::new(), ..ko(dir.path()) };
        let artifact =
            |ko| Artifact { image: "example.com/images/tiny".to_owned(), builder: Builder::Ko(ko) };

        let program = build(&artifact(ko.clone()), &dir.path().join("out"), &[]).await.unwrap();
        assert!(program.ends_with("out/tiny"));
        let output = Command::new(&program).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "runs\n");

        let broken = artifact(Ko { main: "./nowhere".to_owned(), ..ko });
        let error = build(&broken, &dir.path().join("out"), &[]).await.unwrap_err().to_string();
        assert!(error.contains("go build failed") && error.contains("nowhere"), "{error}");
    }
}
