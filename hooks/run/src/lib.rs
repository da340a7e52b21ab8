//! What podcov-test, podcov-collect and podcov-report do, in one process, with one connection to the cluster and no files
//! between them.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use fs_err as fs;
use podcov_cli::{CommonArgs, RunState, Shutdown, StateArgs, say};
use podcov_cluster::{Cluster, Error, Scope, SelectArgs};
use podcov_control::Signal;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_report::Configured;
use podcov_test::{TestArgs, Tests};
use tempfile::TempDir;

const NAME: &str = "podcov-run";

/// Runs a test command against services in Kubernetes, collects the coverage of the pods, and prints it.
///
/// The command finds the targets' local addresses in its environment, as with podcov-test. When it has ended,
/// whether its tests passed or not, the memory of the Go programs in the pods is read, as with podcov-collect --live:
/// they need no signal handler, no GOCOVERDIR and no volume, only `go build -cover`. The pods are those of Skaffold's run
/// or of --selector, else those of the targets.
///
/// Then the gates are checked that the command line and podcov.toml have.
///
/// Ends with the command's exit code if that is not 0, else with the highest of podcov-collect's and the gates'.
#[derive(Debug, Parser)]
#[command(name = NAME, version)]
#[command(override_usage = "podcov-run [OPTIONS] [TARGET [LOCAL:]REMOTE...] -- COMMAND [ARGS]...")]
#[command(after_help = "Examples:
  podcov-run service/web 80 -- go test ./integration/...
  podcov-run --fail-under 80 service/cart http -- ./run-tests.sh
  podcov-run -l app=worker -- ./run-job.sh")]
pub struct Args {
    /// The tests
    #[command(flatten)]
    pub test: TestArgs,

    /// Only pods of this Skaffold run (label skaffold.dev/run-id)
    #[arg(long, env = "SKAFFOLD_RUN_ID", value_name = "ID", help_heading = "Pods")]
    pub run_id: Option<String>,

    /// Pods that match this label selector, instead of those of the targets; of a Skaffold run, only those of them
    #[arg(short = 'l', long, value_name = "SELECTOR", help_heading = "Pods")]
    pub selector: Option<String>,

    /// Only pods whose name matches this pattern: `*`, `?`, `[ab]` or `{a,b}`
    #[arg(long, value_name = "PATTERN", help_heading = "Pods")]
    pub pod: Option<String>,

    /// Only containers whose name matches this pattern: `*`, `?`, `[ab]` or `{a,b}`
    #[arg(short, long, value_name = "PATTERN", help_heading = "Pods")]
    pub container: Option<String>,

    /// The image of the ephemeral container for a pod whose image has no shell; it needs sh and dd
    #[arg(long, value_name = "IMAGE", default_value = "busybox:stable", help_heading = "Collect")]
    pub live_image: String,

    /// Collect files instead of reading memory: send this signal, and wait for the files that the programs write
    #[arg(long, value_name = "NAME", help_heading = "Collect")]
    pub signal: Option<Signal>,

    /// The reports' folder; it is replaced as a whole
    #[arg(short, long, value_name = "DIR", default_value = "reports/coverage", help_heading = "Collect")]
    pub out: PathBuf,

    /// Fail if a lower percentage of all statements ran
    #[arg(long, value_name = "PERCENT", value_parser = podcov_report::percentage, help_heading = "Gates")]
    pub fail_under: Option<f64>,

    /// Fail if the total is lower than in this file: one that `podcov-report json` wrote, or a text profile
    #[arg(long, value_name = "FILE", help_heading = "Gates")]
    pub baseline: Option<PathBuf>,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

/// Runs podcov-run with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_test::guard().unwrap_or_else(|| podcov_cli::main(NAME, args, |args: &Args| &args.common, run))
}

/// Runs podcov-run.
///
/// # Errors
/// When a target cannot be reached, the command cannot be started, or there is no report.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    // What later hooks would read is read in this process.
    let folder = TempDir::with_prefix("podcov-").or_exit(Exit::Usage, "cannot make a temporary folder")?;
    let collect_args = collect_arguments(&args);
    let gates = gate_arguments(&args, &podcov_report::configured()?, folder.path())?;
    let state = StateArgs { state_dir: Some(folder.path().to_owned()), work_dir: None }.run(None);
    let (cluster, tests, scope) = match shutdown.or_stop(prepare(&args, &state)).await {
        Ok(prepared) => prepared?,
        Err(stopped) => return Ok(stopped),
    };
    let ended = tests.run(&shutdown).await?;
    if ended.interrupted {
        say(NAME, "interrupted, so nothing is collected");
        if ended.code == 0 {
            return Ok(Exit::Signalled(shutdown.requested().await));
        }
    }
    if !ended.has_tested() {
        return Ok(Exit::Command(ended.code));
    }
    let rest = async {
        let collected =
            podcov_collect::collect_from(&collect_args, &cluster, scope, &state, &shutdown).await?;
        let Some(gates) = gates.filter(|_| !matches!(collected, Exit::Signalled(_))) else {
            return Ok(collected);
        };
        let gated = shutdown.or_stop(check_gates(gates)).await.unwrap_or_else(Ok);
        // What was lost counts, whatever becomes of the gates.
        Ok::<_, anyhow::Error>(match gated {
            Ok(gated) => highest(collected, gated),
            Err(error) => {
                podcov_cli::report(NAME, &error);
                highest(collected, error.downcast_ref().map_or(Exit::Usage, Failure::exit))
            }
        })
    };
    match (ended.code, rest.await) {
        (0, rest) => rest,
        (code, rest) => {
            if let Err(error) = rest {
                podcov_cli::report(NAME, &error);
            }
            Ok(Exit::Command(code))
        }
    }
}

/// Opens the ports, and begins to note the pods.
async fn prepare<'a>(args: &'a Args, state: &RunState) -> Result<(Cluster, Tests<'a>, Scope)> {
    let cluster = Cluster::connect(&args.test.cluster).await.map_err(Error::into_failure)?;
    let mut tests = Tests::new(&args.test, &cluster).await?;
    let select = SelectArgs {
        namespaces: tests.namespaces(),
        run_id: args.run_id.clone(),
        selector: args.selector.clone(),
        pod: args.pod.clone(),
        container: args.container.clone(),
        ..SelectArgs::default()
    };
    let mut scope = select.scope_or_targets(cluster.default_namespace(), tests.pod_sets())?;
    scope.is_noted = true;
    tests.note_pods(&cluster, scope.clone(), state.see_pods()).await;
    Ok((cluster, tests, scope))
}

/// podcov-collect's arguments: what this program has no flag for is as it is there without one.
fn collect_arguments(args: &Args) -> podcov_collect::Args {
    let mut collect: podcov_collect::Args = podcov_cli::parse([NAME.into()]);
    collect.live = args.signal.is_none();
    collect.live_image.clone_from(&args.live_image);
    collect.signal = args.signal;
    collect.out.clone_from(&args.out);
    collect
}

/// podcov-report's arguments for the gates of the command line and of podcov.toml; `None` if there is no gate. Refuses gates that
/// cannot be checked, before tests that take minutes.
fn gate_arguments(args: &Args, configured: &Configured, state: &Path) -> Result<Option<podcov_report::Args>> {
    let mut flags: Vec<OsString> = Vec::new();
    if let Some(percent) = args.fail_under {
        flags.extend(["--fail-under".into(), percent.to_string().into()]);
    }
    if let Some(file) = &args.baseline {
        let mut flag = OsString::from("--baseline=");
        flag.push(file);
        flags.push(flag);
    }
    if flags.is_empty() && !configured.has_gates() {
        return Ok(None);
    }
    if let Some(file) = args.baseline.as_deref().or(configured.baseline()) {
        match fs::read(file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let failure = Failure::new(Exit::Usage, format!("there is no baseline {}", file.display()));
                return Err(failure.with_hint("podcov-report json -o FILE writes one").into());
            }
            read => drop(read.or_exit(Exit::Usage, "cannot read the baseline")?),
        }
    }
    flags.extend(["--state-dir".into(), state.into()]);
    if configured.has_suites() {
        configured.check_reads(&args.out)?;
    } else {
        flags.extend(["--".into(), args.out.clone().into()]);
    }
    Ok(Some(podcov_cli::parse([NAME.into(), "gate".into()].into_iter().chain(flags))))
}

/// Checks gates in a thread of its own: podcov-report waits for storage by itself.
async fn check_gates(gates: podcov_report::Args) -> Result<Exit> {
    tokio::task::spawn_blocking(|| podcov_report::run(gates)).await?
}

/// The exit with the higher code.
fn highest(a: Exit, b: Exit) -> Exit {
    if b.code() > a.code() { b } else { a }
}
