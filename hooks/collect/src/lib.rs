//! Collects the coverage of a run's containers into a folder, verified, and prints it.

mod manifest;
mod ownership;
mod staging;
mod stored;
mod transfer;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use covdata::{Builder, Percent, Problem, Reason};
use futures_util::StreamExt;
use jiff::Timestamp;
use podcov_cli::{CommonArgs, Exit, Failure, Progress, ResultExt, Shutdown, StateArgs, count, print, say};
use podcov_cluster::{Cluster, ClusterArgs, Error, Found, SelectArgs, Skipped};
use tokio_util::task::TaskTracker;

use manifest::{Collected, Manifest};
use podcov_flush::{Ask, ProcessFilter, Request};
use podcov_storage::Address;
use podcov_unpack::Rules;
use report::summary::Summary;
use staging::{Staging, check_ours};
use transfer::Transfer;

const NAME: &str = "podcov-collect";

/// Collects Go coverage counters from Kubernetes pods, verified, and prints the coverage.
///
/// Copies the files of GOCOVERDIR from each running container of the run that has it, all at once, checks every
/// file, and puts them into OUT/<namespace>/<pod>/<container>/, where `go tool covdata` reads them too. Then prints
/// the coverage of each package and in total.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
pub struct Args {
    /// Which pods and containers
    #[command(flatten)]
    pub select: SelectArgs,

    /// Send this signal first and collect when new counter files are there, in the same exec: podcov-signal's work
    /// and this one's for the price of one
    #[arg(long, value_name = "NAME", value_parser = podcov_flush::signal_name, help_heading = "Signal")]
    pub signal: Option<String>,

    /// Collect from storage instead, where podcov-agent has uploaded to: gs://, s3:// or az:// with bucket and folder, or
    /// file:///folder. --run-id, --namespace, --pod and --container choose of what is there
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["signal", "stop", "selector"], help_heading = "Pods")]
    pub from: Option<Address>,

    /// Have the programs end in good order first, and so write what they write at their end: text profiles too. Takes
    /// podcov-agent in the image
    #[arg(long, conflicts_with = "signal", help_heading = "Signal")]
    pub stop: bool,

    /// The process to send it to, by its ID in the container [default: every Go program of the container that is built
    /// with -cover]
    #[arg(long, value_name = "PID", requires = "signal", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Signal")]
    pub pid: Option<u32>,

    /// Send it to the container's processes with this name instead
    #[arg(long, value_name = "NAME", conflicts_with = "pid", requires = "signal", help_heading = "Signal")]
    pub process: Option<String>,

    /// How long a program may take to write its counters on the signal
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = podcov_cli::seconds, help_heading = "Signal")]
    pub flush_timeout: Duration,

    /// The reports' folder; it is replaced as a whole
    #[arg(short, long, value_name = "DIR", default_value = "reports/coverage", help_heading = "Report")]
    pub out: PathBuf,

    /// Add to what is in the reports' folder instead of replacing it
    #[arg(long, help_heading = "Report")]
    pub accumulate: bool,

    /// Remove the programs' command lines from the counter files: they may hold secrets
    #[arg(long, help_heading = "Report")]
    pub sanitize: bool,

    /// Leave a failure of podcov-test to a later hook
    #[arg(long, help_heading = "Report")]
    pub defer_failure: bool,

    /// How many containers to collect from at a time
    #[arg(long, value_name = "N", default_value = "32", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Transfer")]
    pub parallel: u16,

    /// How often to try each container
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Transfer")]
    pub tries: u32,

    /// How long one try may take
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = podcov_cli::seconds, help_heading = "Transfer")]
    pub timeout: Duration,

    /// The most that one container may send
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..1 << 30), help_heading = "Transfer")]
    pub max_size: u64,

    /// Print the manifest instead of the coverage
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// Where the run's hooks leave each other word
    #[command(flatten)]
    pub state: StateArgs,

    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

/// The largest file that is taken, and the most entries: far above any real program's.
const MAX_FILE: u64 = 256 << 20;
const MAX_ENTRIES: usize = 1_000_000;

/// Runs podcov-collect.
///
/// # Errors
/// A [`Failure`] when there is no report. That the report lacks something is said on stderr and shows in the
/// exit code.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    let tracker = TaskTracker::new();
    let collected = shutdown.or_stop(collect(&args, &tracker)).await;
    // What has lost its stream ends at once; only then may the staging folder go.
    tracker.close();
    tracker.wait().await;
    let Report { staging, manifest, percent } = match collected {
        Ok(report) => report?,
        Err(stopped) => {
            say(NAME, format_args!("interrupted; {} is as it was", args.out.display()));
            return Ok(stopped);
        }
    };
    for problem in &manifest.problems {
        say(NAME, format_args!("error: {problem}"));
    }
    staging.publish()?;
    finish(&args, &manifest, &percent)
}

/// What has been collected and is not yet in its place.
struct Report {
    staging: Staging,
    manifest: Manifest,
    percent: Percent,
}

/// Everything up to the point where the report takes its place.
async fn collect(args: &Args, tracker: &TaskTracker) -> Result<Report> {
    check_ours(&args.out)?;
    let earlier = if args.accumulate { Manifest::read(&args.out)? } else { None };
    let (staging, mut manifest) = match &args.from {
        Some(address) => stored::collect(args, address).await?,
        None => from_cluster(args, tracker).await?,
    };
    if let Some(earlier) = earlier {
        manifest.accumulate(earlier, |from, to| staging.take_over(from, to))?;
    }
    manifest.containers.sort_by(|a, b| a.folder.cmp(&b.folder));
    let percent = measure(staging.path(), &mut manifest).await?;
    manifest.complete = manifest.problems.is_empty()
        && manifest.containers.iter().all(|c| c.errors.is_empty())
        && manifest.skipped.iter().all(|s| !s.loss);
    manifest.finished = Timestamp::now();
    manifest.write(staging.path())?;
    Ok(Report { staging, manifest, percent })
}

/// Copies the files of the run's containers into a staging folder.
async fn from_cluster(args: &Args, tracker: &TaskTracker) -> Result<(Staging, Manifest)> {
    let cluster = Cluster::connect(&args.cluster).await.map_err(Error::into_failure)?;
    let scope = args.select.scope(cluster.default_namespace())?;
    let mut manifest = Manifest::begin(scope.run_id.clone(), cluster.context());
    let Found { targets, skipped } = cluster.find_targets(&scope).await.map_err(Error::into_failure)?;
    for line in Skipped::lines(&skipped) {
        say(NAME, line);
    }
    if targets.is_empty() {
        return Err(Failure::new(Exit::Incomplete, format!("nothing to collect among {}", scope.describe()))
            .with_hint("are the pods running, is this the right --context and namespace, is GOCOVERDIR set?")
            .into());
    }
    let staging = Staging::beside(&args.out, &manifest)?;
    let flush = (args.stop || args.signal.is_some()).then_some(Request {
        ask: args.signal.as_deref().map_or(Ask::Stop, |signal| Ask::Flush { signal: Some(signal) }),
        processes: ProcessFilter::from_flags(args.pid, args.process.as_deref()),
        timeout: args.flush_timeout,
    });
    let transfer = Transfer {
        cluster: &cluster,
        flush,
        staging: staging.path(),
        rules: Rules {
            archive: args.max_size << 20,
            file: MAX_FILE,
            entries: MAX_ENTRIES,
            sanitize: args.sanitize,
        },
        tries: args.tries,
        timeout: args.timeout,
        tracker,
    };
    let progress = Progress::new(targets.len(), "collecting");
    let mut transfers = futures_util::stream::iter(&targets)
        .map(|target| transfer.collect(target))
        .buffer_unordered(args.parallel.into());
    while let Some(collected) = transfers.next().await {
        let collected = collected.or_exit(Exit::Usage, "the report cannot be written")?;
        progress.done_one();
        for error in &collected.errors {
            progress.line(|| say(NAME, format_args!("error: {}: {error}", name_of(&collected))));
        }
        manifest.containers.push(collected);
    }
    drop(transfers);
    drop(progress);
    manifest.skipped = skipped.iter().map(Into::into).collect();
    Ok((staging, manifest))
}

/// Reads the coverage back from the files and notes it in the manifest.
async fn measure(staging: &Path, manifest: &mut Manifest) -> Result<Percent> {
    let mut folders: Vec<PathBuf> = manifest.containers.iter().map(|c| staging.join(&c.folder)).collect();
    folders.retain(|folder| folder.exists());
    let measured = tokio::task::spawn_blocking(move || {
        let mut builder = Builder::new();
        folders.iter().for_each(|folder| builder.add_dir(folder));
        let files = builder.load();
        let (data, problems) = files.read();
        let (percent, mixed) = data.percent(|_| true);
        (percent, mixed.first().map(|file| (*file).to_owned()), problems)
    });
    let (percent, mixed, problems) = measured.await?;
    if let Some(file) = mixed {
        say(
            NAME,
            format_args!(
                "warning: the containers' programs were built from different versions of {file}: \
                 the statements of all versions count"
            ),
        );
    }
    manifest.problems = problems.iter().map(|problem| word(problem, staging)).collect();
    manifest.total = percent.total().into();
    manifest.packages = percent.packages.iter().map(|p| (p.path.clone(), p.coverage.into())).collect();
    Ok(percent)
}

/// A problem with its file as it is called in the report: namespace/pod/container/name.
fn word(problem: &Problem, staging: &Path) -> String {
    let path = problem.path.strip_prefix(staging).unwrap_or(&problem.path).display();
    match &problem.reason {
        Reason::NoCounters => format!(
            "{path}: no counters were written; signal the program first (podcov-signal), or was it killed?"
        ),
        reason => format!("{path}: {reason}"),
    }
}

/// Says what there is now, and how the process ends.
fn finish(args: &Args, manifest: &Manifest, percent: &Percent) -> Result<Exit> {
    let printed = print(|out| write_out(args, manifest, percent, out));
    let run = args.state.run(manifest.run_id.as_deref());
    let exit =
        run.end(NAME, if manifest.complete { Exit::Done } else { Exit::Incomplete }, args.defer_failure)?;
    printed.or_exit(Exit::Usage, "cannot write to stdout").map(|()| exit)
}

fn write_out(args: &Args, manifest: &Manifest, percent: &Percent, out: &mut dyn Write) -> io::Result<()> {
    if args.json {
        return writeln!(out, "{}", serde_json::to_string_pretty(manifest)?);
    }
    let files = manifest.containers.iter().map(|c| c.files.len()).sum::<usize>();
    if files > 0 {
        write!(out, "{}", Summary(percent))?;
    }
    let (files, containers) = (count(files, "file"), count(manifest.containers.len(), "container"));
    writeln!(out, "{files} of {containers} in {}", args.out.display())
}

fn name_of(collected: &Collected) -> String {
    format!("pod {}/{} container {}", collected.namespace, collected.pod, collected.container)
}
