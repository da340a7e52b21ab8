//! The profile for skaffold.yaml in docs/get-started.md runs as it stands there, on the embedded cluster. README's runs on a
//! real one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{program, top};
use podcov_skaffold::{Artifact, Config, Deployer, HookEnv};
use podcov_testbed::{Image, Testbed, Tools};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::page::page;

/// Deploys to the embedded cluster, with busybox's programs in each image.
struct Embedded {
    bed: Testbed,
    programs: PathBuf,
}

impl Deployer for Embedded {
    async fn build(&self, artifact: &Artifact, run_id: &str) -> Result<String> {
        let program = podcov_skaffold::build(artifact, &self.programs, &[]).await?;
        let image = format!("{}:{run_id}", artifact.image);
        self.bed.image(&image, Image::new(program).tools(Tools::only(["sh", "tar", "gzip"])));
        Ok(image)
    }

    async fn deploy(&self, manifests: &str) -> Result<()> {
        self.bed.apply(manifests)?;
        self.bed.rollout_done().await
    }
}

/// The example as a project of its own, with the page's profile in its skaffold.yaml.
fn project(folder: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-R").arg(top().join("examples/hello/.")).arg(folder).status()?;
    ensure!(copied.success(), "cp: {copied}");
    // kustomize is one of the pinned Go tools.
    fs::os::unix::fs::symlink(fs::canonicalize(top().join("tools"))?, folder.join("tools"))?;
    let page = page("docs/get-started.md")?;
    let is_profile =
        |(language, text): &&(String, String)| language == "yaml" && text.starts_with("profiles:\n");
    let profile = page.blocks.iter().find(is_profile).context("there is no profile")?;
    let head = "apiVersion: skaffold/v4beta13\nkind: Config\nmetadata: {name: hello}\n\
        build: {artifacts: [{image: hello, ko: {}}]}\nmanifests: {kustomize: {paths: [k8s/base]}}\n";
    Ok(fs::write(folder.join("skaffold.yaml"), format!("{head}{}", profile.1))?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_profile_collects_the_coverage_that_the_readme_shows() -> Result<()> {
    let work = tempfile::tempdir()?;
    let folder = work.path().join("project");
    fs::create_dir(&folder)?;
    project(&folder)?;
    let config = Config::read(&folder.join("skaffold.yaml"), Some("coverage"))?;
    let deployer = Embedded { bed: Testbed::start().await?, programs: work.path().join("programs") };
    let mut env = HookEnv::new("readme", deployer.bed.context(), vec![String::new()], folder.clone());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program("")].into_iter().chain(std::env::split_paths(&path)))?;
    env.shell.push(("PATH".into(), path));
    env.shell.push(("KUBECONFIG".into(), deployer.bed.kubeconfig().into()));
    // The example's integration tests have a build tag, so that `go test ./...` needs no cluster.
    env.shell.push(("GOFLAGS".into(), "-tags=integration".into()));
    podcov_skaffold::run(&config, &deployer, env, &CancellationToken::new()).await?;

    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("reports/coverage/manifest.json"))?)?;
    ensure!(manifest["complete"] == true, "{manifest}");
    let containers = manifest["containers"].as_array().context("containers")?;
    let files: usize = containers.iter().filter_map(|c| c["files"].as_array()).map(Vec::len).sum();
    let count = |field: &str| manifest["total"][field].as_f64().context("a number");
    let percent = 100.0 * count("covered")? / count("total")?;
    let shown = page("README.md")?.blocks.into_iter().map(|(_, block)| block).collect::<String>();
    for line in [
        format!("coverage: {percent:.1}% of statements"),
        format!("{files} files of {} containers in reports/coverage", containers.len()),
    ] {
        ensure!(shown.contains(&line), "README does not show {line:?}, which the run of its profile gives");
    }
    deployer.bed.shutdown().await;
    Ok(())
}
