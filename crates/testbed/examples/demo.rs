//! `skaffold run --profile coverage` of this repository on a machine with neither Skaffold nor a cluster.
//!
//! skaffold.yaml is the one that Skaffold would read, the hooks are the programs it names, with the environment
//! Skaffold gives them; only the pods are local processes. It ends with the exit code of the hook that failed, 1
//! if something else did, or 130 when it was interrupted. A second Ctrl-C waits for nothing.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{ExitCode, ExitStatus};

use anyhow::{Result, ensure};
use jiff::Timestamp;
use podcov_skaffold::{Config, HookEnv, HookError, HostHook, INTENDED_GRACE};
use podcov_testbed::{Image, Testbed, Tools};
use tokio::fs::File;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const SKAFFOLD_YAML: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../skaffold.yaml");
const PROFILE: &str = "coverage";
/// What a shell reports for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

#[tokio::main]
async fn main() -> ExitCode {
    let stop = CancellationToken::new();
    // Signals first: from the moment they are listened for, none ends the process with pods still running.
    let ended = tokio::select! {
        biased;
        error = signals(&stop) => error,
        ended = demo(&stop) => ended,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if stop.is_cancelled() => {
            eprintln!("demo: interrupted");
            INTERRUPTED.into()
        }
        Err(error) => {
            eprintln!("demo: error: {error:#}");
            code_of(&error).into()
        }
    }
}

/// Cancels `stop` at the first signal and gives an error at the second.
async fn signals(stop: &CancellationToken) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    for _ in 0..2 {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        stop.cancel();
    }
    go_on(stop)
}

/// A run from beginning to end, with the cluster gone whichever way it went.
async fn demo(stop: &CancellationToken) -> Result<()> {
    let config = Config::read(Path::new(SKAFFOLD_YAML), Some(PROFILE))?;
    let cluster = Testbed::start().await?;
    let ended = run(&config, &cluster, stop).await;
    cluster.shutdown().await;
    ended
}

/// The steps of `skaffold run`, in its order.
async fn run(config: &Config, cluster: &Testbed, stop: &CancellationToken) -> Result<()> {
    // Skaffold's is a UUID. All that matters is that no other run has it and that it may be a label's value.
    let run_id = format!("demo-{}-{}", Timestamp::now().as_millisecond(), std::process::id());

    // The go tool, when interrupted, leaves what it was at. It does so in here.
    let work = tempfile::tempdir()?;
    let mut images = BTreeMap::new();
    for artifact in &config.artifacts {
        say(&format!("building {} with {} …", artifact.image, artifact.flags.join(" ")))?;
        let mut artifact = artifact.clone();
        artifact.env.push(format!("GOTMPDIR={}", work.path().display()));
        let program = podcov_skaffold::build(&artifact, &work.path().join("programs")).await?;
        let tagged = format!("{}:{run_id}", artifact.image);
        cluster.image(&tagged, Image::new(program).tools(tools(artifact.base.as_deref())));
        images.insert(artifact.image, tagged);
        go_on(stop)?;
    }
    say("rendering the manifests …")?;
    let rendered = podcov_skaffold::render(&config.kustomize, &config.work_dir.join("tools")).await?;
    let manifests = podcov_skaffold::label(&rendered, &run_id, &images)?;
    go_on(stop)?;

    // Neither the command line nor the kubeconfig names a namespace, which Skaffold passes on as an empty name.
    let configured = vec![String::new()];
    let mut env = HookEnv::new(&run_id, cluster.context(), configured.clone(), config.work_dir.clone());
    env.shell.retain(|(name, _)| !name.to_str().is_some_and(set_by_cargo));
    env.shell.push(("GOTMPDIR".into(), work.path().into()));
    env.shell.push(("KUBECONFIG".into(), cluster.kubeconfig().into()));
    run_hooks("before", &config.before, &env, stop).await?;

    let applied = cluster.apply(&manifests)?;
    say(&format!("applied {}", applied.objects.join(", ")))?;
    tokio::select! {
        done = cluster.rollout_done() => done?,
        () = stop.cancelled() => {}
    }
    go_on(stop)?;
    say(&format!("{} pods ready", cluster.pods().len()))?;

    env.namespaces = podcov_skaffold::post_deploy_namespaces(&configured, &manifests)?;
    run_hooks("after", &config.after, &env, stop).await
}

/// Runs the hooks of one list in skaffold.yaml, and says of each what it is.
async fn run_hooks(list: &str, hooks: &[HostHook], env: &HookEnv, stop: &CancellationToken) -> Result<()> {
    // Another handle of the same stdout, so that what a hook prints stays between the lines said around it.
    let mut out = File::from_std(io::stdout().as_fd().try_clone_to_owned()?.into());
    for (i, hook) in hooks.iter().enumerate() {
        say(&format!("hook {} of {} {list} the deployment: {}", i + 1, hooks.len(), hook.command.join(" ")))?;
        podcov_skaffold::run_host_hook(hook, env, INTENDED_GRACE, stop_hook(stop), &mut out).await?;
        go_on(stop)?;
    }
    Ok(())
}

/// The programs that come with an image's base: those of busybox that matter here, or none, as on ko's own base.
/// So a hook finds no more in the demo's pods than in a real one's.
fn tools(base: Option<&str>) -> Tools {
    match base {
        Some(base) if base.contains("busybox") => Tools::only(["sh", "tar", "gzip"]),
        _ => Tools::none(),
    }
}

/// Completes when the running hook is to be told to stop.
async fn stop_hook(stop: &CancellationToken) {
    stop.cancelled().await;
    // Ctrl-C in a terminal has reached the hook too. Told twice it would take that for impatience, and end without
    // cleaning up.
    if io::stdin().is_terminal() {
        tokio::time::sleep(INTENDED_GRACE).await;
    }
}

/// Whether `cargo run` sets the variable for the program that it runs. Some build scripts look at these, so that
/// the cargo of a hook would build their crates anew, and the next one outside the demo once more.
fn set_by_cargo(name: &str) -> bool {
    matches!(name, "CARGO" | "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH") || name.starts_with("CARGO_PKG_")
}

fn go_on(stop: &CancellationToken) -> Result<()> {
    ensure!(!stop.is_cancelled(), "interrupted");
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// A hook's own code tells more than the 1 with which Skaffold would end.
fn code_of(error: &anyhow::Error) -> u8 {
    let of_status = |status: ExitStatus| status.code().or(status.signal().map(|signal| 128 + signal));
    match error.downcast_ref() {
        Some(HookError::Failed { status, .. }) => of_status(*status).and_then(|code| u8::try_from(code).ok()),
        _ => None,
    }
    .unwrap_or(1)
}
