//! Runs a command while local ports lead to services in a cluster, and ends with its exit code.

mod args;
mod command;
mod foreground;
#[cfg(unix)]
mod guard;
mod process;
mod recorder;
mod routes;

use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};

use anyhow::Result;
use futures_util::future::try_join_all;
use podcov_cli::{Deferred, RunState, Shutdown, say};
use podcov_cluster::forward::Forward;
use podcov_cluster::{Cluster, Error, SelectArgs};
use podcov_exit::{Exit, Failure, ResultExt};

use args::NAME;
use command::{Command, CommandEnd};
use recorder::Recorder;
use routes::Route;

pub use args::Args;

/// Runs as the guard, if this process was started as one, and returns the command's exit code.
///
/// `main` calls it first; see the module `guard`.
#[cfg(unix)]
pub fn guard() -> Option<std::process::ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != guard::GUARD {
        return None;
    }
    let arguments: Vec<std::ffi::OsString> = arguments.collect();
    Some(podcov_cli::main_with(NAME, async move |_shutdown| guard::guard(&arguments).await))
}

/// Runs podcov-test.
///
/// # Errors
/// When a target cannot be reached, or the command cannot be started. A command that fails is no error: the result is
/// its exit code, or [`Exit::Done`] where its failure was deferred.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    let routes = routes::parse(&args.routes, &args.http)?;
    let state = args.state.run(args.run_id.as_deref().filter(|id| !id.is_empty()));
    // A failure of an earlier iteration of `skaffold dev` does not belong to this one; those of other hooks do.
    let hook = hook_id(&args);
    state.clear(hook).or_exit(Exit::Usage, "cannot remove the failure that an earlier run deferred")?;

    let prepared = shutdown.or_stop(async {
        let forwards = forward_all(&args, &routes).await?;
        Ok::<_, anyhow::Error>((forwards, record_pods(&args, &routes, &state).await))
    });
    let (forwards, mut recorder) = match prepared.await {
        Ok(prepared) => prepared?,
        Err(stopped) => return Ok(stopped),
    };
    let addresses: Vec<_> = forwards.iter().map(Forward::address).collect();
    let environment = routes::environment(&routes, &addresses)?;
    for (name, address) in &environment {
        tracing::info!("{name}={address}");
    }
    let (program, arguments) =
        args.command.split_first().ok_or_else(|| Failure::new(Exit::Usage, "no command"))?;
    let command = Command { program, arguments, environment: &environment, grace: args.grace };
    let recording = async {
        match &mut recorder {
            Some(recorder) => recorder.run().await,
            None => pending().await,
        }
    };
    let ended = tokio::select! {
        ended = run_command(&command, &shutdown) => ended,
        never = recording => match never {},
    };
    if let Some(recorder) = recorder {
        recorder.finish();
    }
    let ended = ended?;
    // As in a shell, these tell that the command was not found or cannot be run: no test has failed.
    let not_run = matches!(ended.code, 126 | 127);
    if ended.code == 0 || ended.interrupted || not_run || !args.defer_failure {
        return Ok(Exit::Command(ended.code));
    }
    let command = program.to_string_lossy().into_owned();
    say(NAME, format_args!("{command} failed with exit code {}; a later hook will end with it", ended.code));
    state
        .defer(&Deferred { hook, command, code: ended.code })
        .or_exit(Exit::Command(ended.code), "cannot record the failure for podcov-collect")?;
    Ok(Exit::Done)
}

/// Runs the command to its end.
///
/// The first signal that podcov-test gets goes to the command, which is killed when the grace is over. At the second it
/// is killed at once.
async fn run_command(command: &Command<'_>, shutdown: &Shutdown) -> Result<CommandEnd> {
    // At a terminal it needs no guard: a command in a background process group could not read from it, and Ctrl-C reaches
    // every process of the foreground group anyway.
    #[cfg(unix)]
    if !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return guard::run(command, shutdown).await;
    }
    foreground::run(command, shutdown).await
}

/// Tells a run's hooks that test apart: by their targets and commands.
fn hook_id(args: &Args) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&args.routes, &args.command).hash(&mut hasher);
    hasher.finish()
}

/// Opens all ports, then waits until all targets accept connections.
async fn forward_all(args: &Args, routes: &[Route]) -> Result<Vec<Forward>> {
    if routes.is_empty() {
        return Ok(Vec::new());
    }
    let cluster = Cluster::connect(&args.cluster).await.map_err(Error::into_failure)?;
    let namespace = namespace(args, &cluster);
    let mut forwards = Vec::new();
    for route in routes {
        let forward = Forward::start(&cluster, &route.target, &route.port, &namespace, args.timeout).await;
        forwards.push(forward.map_err(Error::into_failure)?);
    }
    let waits = routes.iter().zip(&forwards).map(async |(route, forward)| match &route.http {
        Some(path) => forward.answers_http(path).await,
        None => forward.accepts().await,
    });
    try_join_all(waits).await.map_err(Error::into_failure)?;
    Ok(forwards)
}

/// Begins to note the run's pods with counters, for podcov-collect. Where they cannot be seen there is no note.
async fn record_pods(args: &Args, routes: &[Route], state: &RunState) -> Option<Recorder> {
    let run_id = args.run_id.clone().filter(|id| !id.is_empty())?;
    let recorder = async {
        let cluster = Cluster::connect(&args.cluster).await?;
        let mut namespaces: Vec<String> =
            routes.iter().filter_map(|route| route.target.namespace.clone()).collect();
        namespaces.extend(args.skaffold_namespaces.iter().chain(&args.namespace).cloned());
        let select = SelectArgs { namespaces, run_id: Some(run_id), ..SelectArgs::default() };
        let scope = select.scope(cluster.default_namespace()).expect("a run says which pods are meant");
        Recorder::start(&cluster, scope, state.see_pods()).await
    };
    let told = |error: &Error| tracing::info!("pods that are deleted during the run are not noted: {error}");
    recorder.await.inspect_err(told).ok()
}

fn namespace(args: &Args, cluster: &Cluster) -> String {
    let skaffolds: Vec<_> = args.skaffold_namespaces.iter().filter(|n| !n.is_empty()).collect();
    match (&args.namespace, &skaffolds[..]) {
        (Some(named), _) => named.clone(),
        (None, [only]) => (*only).clone(),
        _ => cluster.default_namespace().to_owned(),
    }
}
