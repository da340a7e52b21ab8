//! Signals every target of the run and returns when each has written its counters.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use futures_util::StreamExt;
use podcov_cli::{CommonArgs, Progress, Shutdown, count, print, say};
use podcov_cluster::{Cluster, ClusterArgs, Container, Error, Found, SelectArgs, Skipped, Target};
use podcov_control::{Action, Signal};
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_reach::{Instruction, ProcessFilter, WrittenCounters};
use serde::Serialize;

const NAME: &str = "podcov-signal";

/// Tells Go programs in Kubernetes to write their coverage counters, and waits until they have.
///
/// Signals each running container of the run that sets GOCOVERDIR, in parallel, and returns when every one has written
/// a complete new counter file. Only the container's Go programs that are built with -cover get the signal, also where a
/// pod shares process IDs with the node or between its containers. They must write their counters on it. If the
/// container runs podcov-agent, that sends the signal; otherwise the image needs a shell.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
pub struct Args {
    /// Which pods and containers to signal
    #[command(flatten)]
    pub select: SelectArgs,

    /// The signal to send [default: podcov-agent's --flush-signal, else USR1]
    #[arg(long, value_name = "NAME", help_heading = "Signal")]
    pub signal: Option<Signal>,

    /// Stop the programs instead, so that they write what they write at their end. Needs podcov-agent in the
    /// image
    #[arg(long, conflicts_with_all = ["signal", "pid", "process"], help_heading = "Signal")]
    pub stop: bool,

    /// Signal the process with this ID in the container [default: every Go program of the container that is built with
    /// -cover]
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Signal")]
    pub pid: Option<u32>,

    /// Signal the container's processes with this name instead
    #[arg(long, value_name = "NAME", conflicts_with = "pid", help_heading = "Signal")]
    pub process: Option<String>,

    /// How long a program may take to write its counters, after the signal
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = podcov_exit::seconds, help_heading = "Signal")]
    pub timeout: Duration,

    /// How many containers to serve at a time
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Signal")]
    pub parallel: u16,

    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The result of signalling one container.
#[derive(Debug, Serialize)]
struct Signalled {
    #[serde(flatten)]
    container: Container,
    /// How it was asked.
    way: &'static str,
    #[serde(flatten)]
    written: WrittenCounters,
    /// Why it has not written them.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Runs podcov-signal with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_cli::main(NAME, args, |args: &Args| &args.common, run)
}

/// Runs podcov-signal.
///
/// # Errors
/// A [`Failure`] when nothing could be signalled at all. That single targets failed is said on stderr and shows
/// in the exit code.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    shutdown.or_stop(signal_all(&args)).await.unwrap_or_else(Ok)
}

async fn signal_all(args: &Args) -> Result<Exit> {
    let cluster = Cluster::connect(&args.cluster).await.map_err(Error::into_failure)?;
    let scope = args.select.scope(cluster.default_namespace())?;
    let Found { targets, skipped, unlisted } =
        cluster.find_targets(&scope).await.map_err(Error::into_failure)?;
    for namespace in &unlisted {
        say(NAME, format_args!("error: {namespace}"));
    }
    for line in Skipped::lines(&skipped) {
        say(NAME, line);
    }
    if targets.is_empty() {
        return Err(Failure::new(Exit::Incomplete, format!("no coverage found in {}", scope.describe()))
            .with_hint("are the pods running, is this the right --context and namespace, is GOCOVERDIR set?")
            .into());
    }
    let instruction = Instruction {
        action: if args.stop { Action::Stop } else { Action::Flush { signal: args.signal } },
        processes: ProcessFilter::from_flags(args.pid, args.process.as_deref()),
        timeout: args.timeout,
    };
    let progress = Progress::new(targets.len(), "waiting for counters");
    let mut flushes = futures_util::stream::iter(&targets)
        .map(|target| signal(&cluster, target, instruction))
        .buffer_unordered(args.parallel.into());
    let mut flushed: Vec<Signalled> = Vec::new();
    while let Some(result) = flushes.next().await {
        progress.done_one();
        if let Some(error) = &result.error {
            progress.line(|| say(NAME, format_args!("error: {}: {error}", result.container)));
        }
        flushed.push(result);
    }
    drop(progress);
    flushed.sort_by_cached_key(|f| f.container.to_string());
    let lost = !unlisted.is_empty() || skipped.iter().any(|s| s.why.is_loss());
    let failed = flushed.iter().filter(|f| f.error.is_some()).count();
    let printed = print(|out| {
        if args.json {
            return writeln!(out, "{}", serde_json::to_string_pretty(&flushed)?);
        }
        let files = count(flushed.iter().map(|f| f.written.files.len()).sum(), "new file");
        let done = flushed.len() - failed;
        let all = flushed.len();
        if args.stop {
            writeln!(out, "{done} of {all} programs exited cleanly")
        } else {
            writeln!(out, "{done} of {all} containers wrote their counters: {files}")
        }
    });
    printed.or_exit(Exit::Usage, "cannot write to stdout")?;
    Ok(if failed > 0 || lost { Exit::Incomplete } else { Exit::Done })
}

async fn signal(cluster: &Cluster, target: &Target, instruction: Instruction<'_>) -> Signalled {
    let container = target.container.clone();
    let flush = podcov_reach::flush(cluster, target, instruction).await;
    let (written, error) = match flush.result {
        Ok(written) => (written, None),
        Err(why) => (WrittenCounters::default(), Some(why)),
    };
    if error.is_none() {
        tracing::info!(
            "{container}: {} new counter files, verified: {}",
            written.files.len(),
            written.verified
        );
    }
    Signalled { container, way: flush.way, written, error }
}
