//! `skaffold run` for a machine without Skaffold, with the flags of it that the end-to-end tests give.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Result;
use clap::Parser;
use podcov_skaffold::{Cluster, Config, HookEnv};
use tokio_util::sync::CancellationToken;

/// Stands in for Skaffold: builds, deploys, and runs the deploy hooks.
#[derive(Parser)]
enum Args {
    /// Run it all once
    Run(RunArgs),
}

#[derive(clap::Args)]
struct RunArgs {
    /// The file to read
    #[arg(short, long, default_value = "skaffold.yaml")]
    filename: PathBuf,

    /// The profile to lay over it
    #[arg(short, long)]
    profile: Option<String>,

    /// Where images are pushed to
    #[arg(short, long)]
    default_repo: String,

    /// The namespace of what names none
    #[arg(short, long, default_value = "")]
    namespace: String,

    /// The kubeconfig's context
    #[arg(long)]
    kube_context: String,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Args::Run(args) = Args::parse();
    podcov_skaffold::main("skaffold", async |stop| run(args, stop).await).await
}

async fn run(args: RunArgs, stop: &CancellationToken) -> Result<()> {
    let config = Config::read(&args.filename, args.profile.as_deref())?;
    let cluster =
        Cluster { context: args.kube_context, namespace: args.namespace, repository: args.default_repo };
    // Skaffold's is a UUID. All that matters is that no other run has it and that it may be a label's value.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
    let run_id = format!("run-{now}-{}", std::process::id());
    let namespaces = vec![cluster.namespace.clone()];
    let mut env = HookEnv::new(&run_id, &cluster.context, namespaces, config.work_dir.clone());
    env.shell.push(("SKAFFOLD_DEFAULT_REPO".into(), cluster.repository.clone().into()));
    podcov_skaffold::run(&config, &cluster, env, stop).await
}
