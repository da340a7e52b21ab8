//! Runs a command while local ports lead to services in a cluster, and ends with its exit code.

mod args;
mod command;
mod foreground;
#[cfg(unix)]
mod guard;
mod process;
mod recorder;
mod routes;

use std::ffi::OsString;
use std::future::pending;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::process::ExitCode;

use anyhow::Result;
use futures_util::future::try_join_all;
use podcov_cli::{Deferred, RunState, SeenPods, Shutdown, say};
use podcov_cluster::forward::Forward;
use podcov_cluster::{Cluster, Error, PodSet, Scope, SelectArgs};
use podcov_exit::{Exit, Failure, ResultExt};

use args::NAME;
use command::Command;
use recorder::Recorder;

pub use args::{Args, TestArgs};
pub use command::CommandEnd;
pub use routes::{Route, parse as parse_routes};

const NOT_NOTED: &str = "pods that are deleted during the run are not noted";

/// Runs podcov-test with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    guard().unwrap_or_else(|| podcov_cli::main(NAME, args, |args: &Args| &args.common, run))
}

/// Runs as the guard, if this process was started as one, and returns the command's exit code.
///
/// A program that runs [`Tests`] calls it first; see the module `guard`.
#[must_use]
pub fn guard() -> Option<ExitCode> {
    #[cfg(unix)]
    {
        let mut arguments = std::env::args_os().skip(1);
        if arguments.next()? == guard::GUARD {
            let arguments: Vec<OsString> = arguments.collect();
            return Some(podcov_cli::main_with(NAME, async move |_shutdown| guard::guard(&arguments).await));
        }
    }
    None
}

/// Runs podcov-test.
///
/// # Errors
/// When a target cannot be reached, or the command cannot be started. A command that fails is no error: the result is
/// its exit code, or [`Exit::Done`] where its failure was deferred.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    let routes = routes::parse(&args.test.routes, &args.test.http)?;
    let state = args.state.run(args.run_id.as_deref().filter(|id| !id.is_empty()));
    // A failure of an earlier iteration of `skaffold dev` does not belong to this one; those of other hooks do.
    let hook = hook_id(&args);
    state.clear(hook).or_exit(Exit::Usage, "cannot remove the failure that an earlier run deferred")?;

    let tests = match shutdown.or_stop(prepare(&args, routes, &state)).await {
        Ok(tests) => tests?,
        Err(stopped) => return Ok(stopped),
    };
    let ended = tests.run(&shutdown).await?;
    if ended.code == 0 || !ended.has_tested() || !args.defer_failure {
        return Ok(Exit::Command(ended.code));
    }
    let command =
        args.test.command.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    say(NAME, format_args!("{command} failed with exit code {}; a later hook will end with it", ended.code));
    state
        .defer(&Deferred { hook, command, code: ended.code })
        .or_exit(Exit::Command(ended.code), "cannot record the failure for podcov-collect")?;
    Ok(Exit::Done)
}

/// Opens the ports, and begins to note the run's pods. Where these cannot be seen there is no note.
async fn prepare<'a>(args: &'a Args, routes: Vec<Route>, state: &RunState) -> Result<Tests<'a>> {
    let run_id = args.run_id.clone().filter(|id| !id.is_empty());
    let args = &args.test;
    if routes.is_empty() && run_id.is_none() {
        return Ok(Tests::without_ports(args));
    }
    let cluster = match Cluster::connect(&args.cluster).await {
        Ok(cluster) => cluster,
        Err(error) if routes.is_empty() => {
            tracing::info!("{NOT_NOTED}: {error}");
            return Ok(Tests::without_ports(args));
        }
        Err(error) => return Err(error.into_failure()),
    };
    let mut tests = Tests::open(args, routes, &cluster).await?;
    if run_id.is_some() {
        let select = SelectArgs { namespaces: tests.namespaces(), run_id, ..SelectArgs::default() };
        tests.note_pods(&cluster, select.scope(cluster.default_namespace())?, state.see_pods()).await;
    }
    Ok(tests)
}

/// The tests, while local ports lead to their targets.
pub struct Tests<'a> {
    args: &'a TestArgs,
    routes: Vec<Route>,
    forwards: Vec<Forward>,
    /// The namespace of targets that name none.
    namespace: String,
    recorder: Option<Recorder>,
}

impl<'a> Tests<'a> {
    /// Opens all ports, then waits until all targets accept connections.
    ///
    /// # Errors
    /// When a target is not there, or cannot be reached.
    pub async fn new(args: &'a TestArgs, cluster: &Cluster) -> Result<Self> {
        Self::open(args, routes::parse(&args.routes, &args.http)?, cluster).await
    }

    async fn open(args: &'a TestArgs, routes: Vec<Route>, cluster: &Cluster) -> Result<Self> {
        let namespace = namespace(args, cluster);
        let mut forwards = Vec::new();
        for Route { target, port, .. } in &routes {
            let forward = Forward::start(cluster, target, port, &namespace, args.timeout).await;
            forwards.push(forward.map_err(Error::into_failure)?);
        }
        let waits = routes.iter().zip(&forwards).map(async |(route, forward)| match &route.http {
            Some(path) => forward.answers_http(path).await,
            None => forward.accepts().await,
        });
        try_join_all(waits).await.map_err(Error::into_failure)?;
        Ok(Self { args, routes, forwards, namespace, recorder: None })
    }

    fn without_ports(args: &'a TestArgs) -> Self {
        Self { args, routes: Vec::new(), forwards: Vec::new(), namespace: String::new(), recorder: None }
    }

    /// The pods of the targets.
    #[must_use]
    pub fn pod_sets(&self) -> Vec<PodSet> {
        let mut sets = Vec::new();
        for set in self.forwards.iter().map(Forward::pod_set) {
            if !sets.contains(&set) {
                sets.push(set);
            }
        }
        sets
    }

    /// The namespaces of targets, Skaffold's, and the given one.
    #[must_use]
    pub fn namespaces(&self) -> Vec<String> {
        let of_targets =
            self.routes.iter().map(|route| route.target.namespace.as_ref().unwrap_or(&self.namespace));
        of_targets.chain(&self.args.skaffold_namespaces).chain(&self.args.namespace).cloned().collect()
    }

    /// Begins to note the scope's pods with counters, for podcov-collect. Where they cannot be seen there is no note.
    pub async fn note_pods(&mut self, cluster: &Cluster, scope: Scope, note: SeenPods) {
        let recorder = Recorder::start(cluster, scope, note).await;
        self.recorder = recorder.inspect_err(|error| tracing::info!("{NOT_NOTED}: {error}")).ok();
    }

    /// Runs the command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn run(mut self, shutdown: &Shutdown) -> Result<CommandEnd> {
        let addresses: Vec<_> = self.forwards.iter().map(Forward::address).collect();
        let environment = routes::environment(&self.routes, &addresses)?;
        for (name, address) in &environment {
            tracing::info!("{name}={address}");
        }
        let (program, arguments) =
            self.args.command.split_first().ok_or_else(|| Failure::new(Exit::Usage, "no command"))?;
        let command = Command { program, arguments, environment: &environment, grace: self.args.grace };
        let recording = async {
            match &mut self.recorder {
                Some(recorder) => recorder.run().await,
                None => pending().await,
            }
        };
        let ended = tokio::select! {
            ended = run_command(&command, shutdown) => ended,
            never = recording => match never {},
        };
        if let Some(recorder) = self.recorder {
            recorder.finish();
        }
        ended
    }
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
    (&args.test.routes, &args.test.command).hash(&mut hasher);
    hasher.finish()
}

fn namespace(args: &TestArgs, cluster: &Cluster) -> String {
    let skaffolds: Vec<_> = args.skaffold_namespaces.iter().filter(|n| !n.is_empty()).collect();
    match (&args.namespace, &skaffolds[..]) {
        (Some(named), _) => named.clone(),
        (None, [only]) => (*only).clone(),
        _ => cluster.default_namespace().to_owned(),
    }
}
