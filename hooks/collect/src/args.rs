//! The arguments of podcov-collect.

use std::path::PathBuf;
use std::time::Duration;

use clap::ArgGroup;
use podcov_cli::{CommonArgs, StateArgs};
use podcov_cluster::{ClusterArgs, SelectArgs};
use podcov_control::{Action, Signal};
use podcov_reach::{Instruction, ProcessFilter};
use podcov_storage::Address;

/// The program's name.
pub(crate) const NAME: &str = "podcov-collect";

/// How the kernel cuts the names of programs, in bytes.
const COMM: usize = 15;

/// Whether a process of this name is meant by a text that names programs' files.
pub(crate) fn is_name(text: &str, name: &str) -> bool {
    text.get(..COMM).unwrap_or(text) == name
}

/// Collects Go coverage counters from Kubernetes pods, checks them, and prints the coverage.
///
/// Copies the files of GOCOVERDIR from each running container of the run that sets it, in parallel, checks every
/// file, and puts them into OUT/<namespace>/<pod>/<container>/, where `go tool covdata` reads them too. Then prints
/// the coverage of each package and in total.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version, group = ArgGroup::new("memory").args(["live", "local"]))]
pub struct Args {
    /// Which pods and containers to collect from
    #[command(flatten)]
    pub select: SelectArgs,

    /// Send this signal first, wait for new counter files, and collect them in the same exec: then podcov-signal is not
    /// needed
    #[arg(long, value_name = "NAME", help_heading = "Signal")]
    pub signal: Option<Signal>,

    /// Collect from the storage that podcov-agent has uploaded to instead: gs://, s3:// or az:// with bucket and folder, or
    /// file:///folder. --run-id, --namespace, --pod and --container select from it
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["signal", "stop", "selector"], help_heading = "Pods")]
    pub from: Option<Address>,

    /// Stop the programs first, so that they write what they write at their end: text profiles too. Needs
    /// podcov-agent in the image
    #[arg(long, conflicts_with = "signal", help_heading = "Signal")]
    pub stop: bool,

    /// Read the coverage of running programs from their memory: every Go program of the pods that is built with -cover, with
    /// or without GOCOVERDIR. The files of programs that have ended are collected as well
    #[arg(long, conflicts_with_all = ["signal", "stop", "from"], help_heading = "Memory")]
    pub live: bool,

    /// The image of the ephemeral container that --live adds to a pod whose image has no shell; it needs sh and dd
    #[arg(
        long,
        value_name = "IMAGE",
        default_value = "busybox:stable",
        requires = "live",
        help_heading = "Memory"
    )]
    pub live_image: String,

    /// Read the memory of processes of this machine instead of pods: the process with this ID, or those with this name
    #[arg(long, value_name = "PID|NAME", conflicts_with_all = ["live", "signal", "stop", "from"], help_heading = "Memory")]
    pub local: Vec<String>,

    /// Collect only what has run since the report in this folder was collected, of the same processes and of later ones. With
    /// --live or --local. Of programs in mode set that is what ran for the first time
    #[arg(
        long,
        value_name = "DIR",
        requires = "memory",
        conflicts_with = "accumulate",
        help_heading = "Memory"
    )]
    pub since: Option<PathBuf>,

    /// Signal the process with this ID in the container [default: every Go program of the container that is built with
    /// -cover]
    #[arg(long, value_name = "PID", requires = "signal", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Signal")]
    pub pid: Option<u32>,

    /// Signal the container's processes with this name instead
    #[arg(long, value_name = "NAME", conflicts_with = "pid", requires = "signal", help_heading = "Signal")]
    pub process: Option<String>,

    /// How long a program may take to write its counters, after the signal
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = podcov_exit::seconds, help_heading = "Signal")]
    pub timeout: Duration,

    /// The reports' folder; it is replaced as a whole
    #[arg(short, long, value_name = "DIR", default_value = "reports/coverage", help_heading = "Report")]
    pub out: PathBuf,

    /// Add to what is in the reports' folder instead of replacing it
    #[arg(long, help_heading = "Report")]
    pub accumulate: bool,

    /// Count files that are older than their pod too: those of an earlier run in a volume that outlives the pods
    #[arg(long, conflicts_with = "from", help_heading = "Report")]
    pub include_older: bool,

    /// Remove the programs' command lines from the counter files: they may hold secrets
    #[arg(long, help_heading = "Report")]
    pub sanitize: bool,

    /// Only print, for each container, on which way it would be collected, what that would yield, and where it would be put.
    /// No signal is sent, no container is added, and no file is written. The exit code is what is missing already makes it
    #[arg(long, conflicts_with_all = ["from", "local"], help_heading = "Report")]
    pub dry_run: bool,

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
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = podcov_exit::seconds, help_heading = "Transfer")]
    pub transfer_timeout: Duration,

    /// The most that one container may send
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u64).range(1..1 << 30), help_heading = "Transfer")]
    pub max_size: u64,

    /// Print the manifest instead of the coverage
    #[arg(long, help_heading = "Output")]
    pub json: bool,

    /// The state that the hooks of a run share
    #[command(flatten)]
    pub state: StateArgs,

    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

impl Args {
    /// What the programs are to do before their files are copied.
    pub(crate) fn instruction(&self) -> Option<Instruction<'_>> {
        (self.stop || self.signal.is_some()).then(|| Instruction {
            action: self.signal.map_or(Action::Stop, |signal| Action::Flush { signal: Some(signal) }),
            processes: ProcessFilter::from_flags(self.pid, self.process.as_deref()),
            timeout: self.timeout,
        })
    }
}
