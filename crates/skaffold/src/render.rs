//! Renders the manifests with kustomize.
//!
//! kubectl has kustomize built in and is what Skaffold uses where there is no program of that name. A machine
//! with neither has Go, which this project's tests need anyway, so `tools/go.mod` pins kustomize as a Go tool.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use fs_err as fs;
use tokio::process::Command;

/// Renders each directory and joins the manifests, as YAML documents.
///
/// It runs `kubectl kustomize` where there is a kubectl, else the kustomize that the Go module in `tools`
/// pins; the first use of that one compiles it, which takes about a minute.
///
/// # Errors
/// When kustomize cannot be run or refuses a directory; the error then holds what it printed.
pub async fn render(paths: &[PathBuf], tools: &Path) -> Result<String> {
    let command = kustomize(std::env::var_os("PATH").as_deref(), tools);
    let mut manifests = Vec::new();
    for path in paths {
        // Absolute, since the Go tool runs in the module that pins it.
        let path = fs::canonicalize(path)?;
        manifests.push(run(&command, &path).await?);
    }
    Ok(manifests.join("---\n"))
}

/// The command that renders the directory whose path is appended to it.
fn kustomize(search_path: Option<&OsStr>, tools: &Path) -> Vec<OsString> {
    let kubectl = search_path
        .into_iter()
        .flat_map(std::env::split_paths)
        .map(|dir| dir.join("kubectl"))
        .find(|program| program.is_file());
    match kubectl {
        Some(kubectl) => vec![kubectl.into(), "kustomize".into()],
        None => [
            "go".as_ref(),
            "-C".as_ref(),
            tools.as_os_str(),
            "tool".as_ref(),
            "kustomize".as_ref(),
            "build".as_ref(),
        ]
        .map(OsStr::to_owned)
        .to_vec(),
    }
}

async fn run(command: &[OsString], path: &Path) -> Result<String> {
    let shown = command.join(OsStr::new(" "));
    let output = Command::new(&command[0])
        .args(&command[1..])
        .arg(path)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {}", shown.display()))?;
    ensure!(
        output.status.success(),
        "{} {}: {}\n{}",
        shown.display(),
        path.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr),
    );
    String::from_utf8(output.stdout).with_context(|| format!("{} {}", shown.display(), path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubectl_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let search_path = std::env::join_paths([Path::new("/nowhere"), dir.path()]).unwrap();
        let go: &[&str] = &["go", "-C", "/tools", "tool", "kustomize", "build"];
        assert_eq!(kustomize(Some(&search_path), Path::new("/tools")), go);
        assert_eq!(kustomize(None, Path::new("/tools")), go);

        let kubectl = dir.path().join("kubectl");
        fs::write(&kubectl, "").unwrap();
        assert_eq!(
            kustomize(Some(&search_path), Path::new("/tools")),
            [kubectl.as_os_str(), "kustomize".as_ref()]
        );
    }

    #[tokio::test]
    async fn the_examples_overlay() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let paths = ["base", "coverage"].map(|name| repository.join("examples/hello/k8s").join(name));
        let manifests = render(&paths, &repository.join("tools")).await.unwrap();
        assert_eq!(manifests.matches("kind: Deployment\n").count(), 2);
        assert_eq!(manifests.split("---\n").count(), 4, "a service and a deployment each");
        assert_eq!(manifests.matches("mountPath: /coverage-data\n").count(), 1);
    }

    #[tokio::test]
    async fn an_error_holds_what_kustomize_printed() {
        let dir = tempfile::tempdir().unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let error = render(&[dir.path().to_owned()], &repository.join("tools")).await.unwrap_err();
        assert!(error.to_string().contains("kustomization"), "{error}");
    }
}
