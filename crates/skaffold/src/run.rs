//! The steps of `skaffold run`, in its order.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::fs::File;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{Artifact, Config, HookEnv, label, post_deploy_namespaces, render, run_host_hook};

/// What a shell reports for a process that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Where images and manifests go: what differs between a cluster and a stand-in for one.
pub trait Deployer {
    /// Makes an artifact's image and gives the name that manifests are to use for it.
    fn build(&self, artifact: &Artifact, run_id: &str) -> impl Future<Output = Result<String>>;

    /// Applies manifests and returns when what they describe is ready.
    fn deploy(&self, manifests: &str) -> impl Future<Output = Result<()>>;
}

/// Builds, deploys and runs the hooks, and says on standard output what it is at and, at the end, how long each step
/// took. `env` is that of the hooks; its namespaces are those named on the command line.
///
/// When `stop` is cancelled the running step is ended, and that is an error too.
///
/// # Errors
/// The first step's that did not end well.
pub async fn run(
    config: &Config,
    deployer: &impl Deployer,
    mut env: HookEnv,
    stop: &CancellationToken,
) -> Result<()> {
    let mut durations = Durations::start();
    let mut images = BTreeMap::new();
    for artifact in &config.artifacts {
        say(&format!("building {} with {} …", artifact.image, artifact.builder))?;
        let image = deployer.build(artifact, &env.run_id).await?;
        images.insert(artifact.image.clone(), image);
        go_on(stop)?;
        durations.end_step(format!("building {}", artifact.image));
    }
    say("rendering the manifests …")?;
    let rendered = render(&config.kustomize, &config.work_dir.join("tools")).await?;
    let manifests = label(&rendered, &env.run_id, &images)?;
    go_on(stop)?;
    durations.end_step("rendering");

    run_hooks("before", &config.before, &env, stop).await?;
    durations.end_step("hooks before");
    tokio::select! {
        deployed = deployer.deploy(&manifests) => deployed?,
        () = stop.cancelled() => {}
    }
    go_on(stop)?;
    durations.end_step("deploying");
    env.namespaces = post_deploy_namespaces(&env.namespaces, &manifests)?;
    run_hooks("after", &config.after, &env, stop).await?;
    durations.end_step("hooks after");
    Ok(say(&durations.to_string())?)
}

/// How long each step took.
struct Durations {
    step_began: Instant,
    steps: Vec<(String, Duration)>,
}

impl Durations {
    fn start() -> Self {
        Self { step_began: Instant::now(), steps: Vec::new() }
    }

    fn end_step(&mut self, name: impl Into<String>) {
        self.steps.push((name.into(), self.step_began.elapsed()));
        self.step_began = Instant::now();
    }
}

impl fmt::Display for Durations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter().map(|(name, took)| format!("{name} {:.1} s", took.as_secs_f32()));
        write!(f, "durations: {}", steps.collect::<Vec<_>>().join(", "))
    }
}

/// Runs what a program is there for, `work`, and gives the exit code: 1 where it failed, as Skaffold's, or 130 when a
/// signal cancelled the token. A second signal waits for nothing.
pub async fn main(name: &str, work: impl AsyncFnOnce(&CancellationToken) -> Result<()>) -> ExitCode {
    let stop = CancellationToken::new();
    // Signals first: from the moment they are listened for, none ends the process with something left behind.
    let ended = tokio::select! {
        biased;
        error = signals(&stop) => error,
        ended = work(&stop) => ended,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if stop.is_cancelled() => {
            let _ = writeln!(io::stderr(), "{name}: interrupted");
            INTERRUPTED.into()
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "{name}: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A line of progress.
///
/// # Errors
/// When standard output is gone.
pub fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
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

/// Runs the hooks of one list in skaffold.yaml, and prints what each is.
async fn run_hooks(list: &str, hooks: &[Vec<String>], env: &HookEnv, stop: &CancellationToken) -> Result<()> {
    // Another handle of the same stdout, so that what a hook prints stays between the lines said around it.
    let mut out = File::from_std(io::stdout().as_fd().try_clone_to_owned()?.into());
    for (i, hook) in hooks.iter().enumerate() {
        say(&format!("hook {} of {} {list} the deployment: {}", i + 1, hooks.len(), hook.join(" ")))?;
        run_host_hook(hook, env, stop.cancelled(), &mut out).await?;
        go_on(stop)?;
    }
    Ok(())
}

fn go_on(stop: &CancellationToken) -> Result<()> {
    ensure!(!stop.is_cancelled(), "interrupted");
    Ok(())
}
