//! `skaffold run --profile coverage` of this repository on a machine with neither Skaffold nor a cluster.
//!
//! skaffold.yaml is the one that Skaffold would read, the hooks are the programs it names, with the environment
//! Skaffold gives them; only the pods are local processes.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use jiff::Timestamp;
use podcov_skaffold::{Artifact, Builder, Config, Deployer, HookEnv, say};
use podcov_testbed::{Image, Testbed, Tools};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const SKAFFOLD_YAML: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../skaffold.yaml");
const PROFILE: &str = "coverage";

#[tokio::main]
async fn main() -> ExitCode {
    podcov_skaffold::main("demo", demo).await
}

/// A run from beginning to end, with the cluster gone whichever way it went.
async fn demo(stop: &CancellationToken) -> Result<()> {
    let config = Config::read(Path::new(SKAFFOLD_YAML), Some(PROFILE))?;
    let demo = Demo { cluster: Testbed::start().await?, work: tempfile::tempdir()? };
    let ended = podcov_skaffold::run(&config, &demo, demo.environment(&config), stop).await;
    demo.cluster.shutdown().await;
    ended
}

/// Deploys to the embedded cluster.
struct Demo {
    cluster: Testbed,
    /// The go tool, when interrupted, leaves what it was at. It does so in here.
    work: TempDir,
}

impl Demo {
    fn environment(&self, config: &Config) -> HookEnv {
        // Skaffold's is a UUID. All that matters is that no other run has it and that it may be a label's value.
        let run_id = format!("demo-{}-{}", Timestamp::now().as_millisecond(), std::process::id());
        // Neither the command line nor the kubeconfig names a namespace, which Skaffold passes on as an empty name.
        let namespaces = vec![String::new()];
        let mut env = HookEnv::new(&run_id, self.cluster.context(), namespaces, config.work_dir.clone());
        env.shell.retain(|(name, _)| !name.to_str().is_some_and(set_by_cargo));
        env.shell.push(("GOTMPDIR".into(), self.work.path().into()));
        env.shell.push(("KUBECONFIG".into(), self.cluster.kubeconfig().into()));
        env
    }
}

impl Deployer for Demo {
    async fn build(&self, artifact: &Artifact, run_id: &str) -> Result<String> {
        let base = match &artifact.builder {
            Builder::Ko(ko) => ko.base.as_deref(),
            Builder::Custom { .. } => None,
        };
        let env = [("GOTMPDIR", self.work.path())];
        let program = podcov_skaffold::build(artifact, &self.work.path().join("programs"), &env).await?;
        let tagged = format!("{}:{run_id}", artifact.image);
        self.cluster.image(&tagged, Image::new(program).tools(tools(base)));
        Ok(tagged)
    }

    async fn deploy(&self, manifests: &str) -> Result<()> {
        let applied = self.cluster.apply(manifests)?;
        say(&format!("applied {}", applied.join(", ")))?;
        self.cluster.rollout_done().await?;
        Ok(say(&format!("{} pods ready", self.cluster.pods().len()))?)
    }
}

/// The programs that come with an image's base: those of busybox that matter here, or none, as on ko's own base.
/// So a hook finds no more in the demo's pods than in a real one's.
fn tools(base: Option<&str>) -> Tools {
    match base {
        Some(base) if base.contains("busybox") => Tools::only(["sh", "tar", "gzip"]),
        _ => Tools::none(),
    }
}

/// Whether `cargo run` sets the variable for the program that it runs. Some build scripts look at these, so that
/// the cargo of a hook would build their crates again, and the next one outside the demo once more.
fn set_by_cargo(name: &str) -> bool {
    matches!(name, "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH") || name.starts_with("CARGO_PKG_")
}
