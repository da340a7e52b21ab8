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

/// Builds the artifact's program into `out_dir` and returns its path. It is named after the image.
///
/// # Errors
/// When the go tool cannot be run or fails; the error then holds what it printed.
pub async fn build(artifact: &Artifact, out_dir: &Path) -> Result<PathBuf> {
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
        .envs(environment(ko, |name| std::env::var_os(name)))
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

/// ko's command line: the artifact's flags, `-trimpath` after them, all linker flags in one.
fn arguments(artifact: &Ko, program: &Path) -> Vec<OsString> {
    let mut arguments = vec![OsString::from("build")];
    arguments.extend(artifact.flags.iter().map(OsString::from));
    arguments.push("-trimpath".into());
    if !artifact.ldflags.is_empty() {
        arguments.push(format!("-ldflags={}", artifact.ldflags.join(" ")).into());
    }
    arguments.extend(["-o".into(), program.into(), OsString::from(&artifact.main)]);
    arguments
}

/// What ko adds to the environment: no cgo unless the user's own says otherwise, and the artifact's `env`.
fn environment(artifact: &Ko, own: impl Fn(&str) -> Option<OsString>) -> Vec<(String, OsString)> {
    let cgo = own("CGO_ENABLED").unwrap_or_else(|| "0".into());
    let mut environment = vec![("CGO_ENABLED".to_owned(), cgo)];
    for pair in &artifact.env {
        // Like Go, ignore what has no "=".
        if let Some((name, value)) = pair.split_once('=') {
            environment.push((name.to_owned(), value.into()));
        }
    }
    environment
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
            ldflags: vec!["-X".to_owned(), "main.word=set".to_owned()],
            env: vec!["GOFLAGS=-mod=mod".to_owned(), "odd".to_owned()],
        }
    }

    #[test]
    fn the_command_line_is_that_of_ko() {
        let arguments = arguments(&ko(Path::new("/src")), Path::new("/out/tiny"));
        let expected = [
            "build",
            "-cover",
            "-covermode=atomic",
            "-trimpath",
            "-ldflags=-X main.word=set",
            "-o",
            "/out/tiny",
            "./cmd",
        ];
        assert_eq!(arguments, expected);
    }

    #[test]
    fn the_environment_is_that_of_ko() {
        let artifact = ko(Path::new("/src"));
        let flags = ("GOFLAGS".to_owned(), "-mod=mod".into());
        let default = environment(&artifact, |_| None);
        assert_eq!(default, [("CGO_ENABLED".to_owned(), "0".into()), flags.clone()]);
        let exported = environment(&artifact, |_| Some("1".into()));
        assert_eq!(exported, [("CGO_ENABLED".to_owned(), "1".into()), flags]);
    }

    #[tokio::test]
    async fn a_program_is_built_and_runs() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("cmd")).unwrap();
        fs::write(dir.path().join("go.mod"), "module example.com/tiny\n\ngo 1.22\n").unwrap();
        let source = "package main\n\nvar word = \"unset\"\n\nfunc main() { println(word) }\n";
        fs::write(dir.path().join("cmd/main.go"), source).unwrap();
        let ko = Ko { flags: Vec::new(), ..ko(dir.path()) };
        let artifact =
            |ko| Artifact { image: "example.com/images/tiny".to_owned(), builder: Builder::Ko(ko) };

        let program = build(&artifact(ko.clone()), &dir.path().join("out")).await.unwrap();
        assert!(program.ends_with("out/tiny"));
        let output = Command::new(&program).output().await.unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), "set\n");

        let broken = artifact(Ko { main: "./nowhere".to_owned(), ..ko });
        let error = build(&broken, &dir.path().join("out")).await.unwrap_err().to_string();
        assert!(error.contains("go build failed") && error.contains("nowhere"), "{error}");
    }
}
