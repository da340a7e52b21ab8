//! Runs a command while local ports lead to services in a cluster, and ends with its exit code.

mod command;
#[cfg(unix)]
mod guard;
#[cfg(not(unix))]
#[path = "no_guard.rs"]
mod guard;
mod recorder;
mod routes;

use std::ffi::OsString;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use podcov_cli::{CommonArgs, Deferred, RunState, Shutdown, StateArgs, say};
use podcov_cluster::forward::Forward;
use podcov_cluster::{Cluster, ClusterArgs, Error, SelectArgs};
use podcov_exit::{Exit, Failure, ResultExt};

use command::Command;
use recorder::Recorder;
use routes::Route;

const NAME: &str = "podcov-test";

/// Runs a command against services in Kubernetes, through port-forwards.
///
/// The command finds each target's local address in its environment: PODCOV_ADDR is the first one's, as
/// HOST:PORT, and PODCOV_ADDR_<NAME> each one's. It starts when all targets accept connections, and podcov-test
/// ends with its exit code. Without a target it just runs the command: one that tests from within the cluster.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
#[command(override_usage = "podcov-test [OPTIONS] [TARGET [LOCAL:]REMOTE...] -- COMMAND [ARGS]...")]
#[command(after_help = "Examples:
  podcov-test service/web 80 -- go test ./integration/...
  podcov-test -n shop service/cart http deployment/mail 8025:8025 -- ./run-tests.sh
  podcov-test --defer-failure -- ./run-job.sh")]
pub struct Args {
    /// What to forward to: [ALIAS=][NAMESPACE/]KIND/NAME, then its ports, each [LOCAL:]REMOTE with the remote
    /// one a number or a name; then further targets
    #[arg(value_name = "TARGET PORT")]
    pub routes: Vec<String>,

    /// The command to run, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,

    /// The targets' namespace [default: Skaffold's, if it names one alone, else the context's]
    #[arg(short, long, value_name = "NAME", help_heading = "Cluster")]
    pub namespace: Option<String>,

    /// Skaffold's namespaces
    #[arg(long, env = "SKAFFOLD_NAMESPACES", hide = true, value_delimiter = ',')]
    pub skaffold_namespaces: Vec<String>,

    /// Skaffold's run
    #[arg(long, env = "SKAFFOLD_RUN_ID", value_name = "ID", help_heading = "Run")]
    pub run_id: Option<String>,

    /// Start the command only when a GET of this path is answered with a status from 200 to 399; for another
    /// target than the first: NAME=PATH
    #[arg(long, value_name = "[NAME=]PATH", help_heading = "Run")]
    pub http: Vec<String>,

    /// How long to wait until a target accepts: at the start, and for every later connection
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = podcov_exit::seconds, help_heading = "Run")]
    pub timeout: Duration,

    /// How long the command may take to end after a signal, or after podcov-test was killed, before it is killed;
    /// processes that it leaves running have the same time
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = podcov_exit::seconds, help_heading = "Run")]
    pub grace: Duration,

    /// If the command fails, record that and exit with 0; podcov-collect then exits with the failure, after it has
    /// collected the coverage
    #[arg(long, help_heading = "Run")]
    pub defer_failure: bool,

    /// Where a deferred failure is recorded
    #[command(flatten)]
    pub state: StateArgs,

    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Runs as the guard, if this process was started as one, and returns the command's exit code.
///
/// `main` calls it first; see the module `guard`.
#[cfg(unix)]
pub fn guard() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next()? != guard::GUARD {
        return None;
    }
    let arguments: Vec<OsString> = arguments.collect();
    Some(podcov_cli::main_with(NAME, async move |_shutdown| guard::guard(&arguments).await))
}

/// There are no guards elsewhere.
#[cfg(not(unix))]
pub fn guard() -> Option<ExitCode> {
    None
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
        ended = command::run(&command, &shutdown) => ended,
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
