//! Flags, and variables for containers whose command the user cannot change.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use podcov_control::{ControlAddress, Signal};
use podcov_exit::{Exit, ResultExt};
use podcov_storage::Address;

/// The program's name.
pub(crate) const NAME: &str = "podcov-agent";

/// Runs a Go program in its container and takes care of its coverage files.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Start a program, pass it every signal, exit with its exit code
    Run(Box<RunArgs>),
    /// Becomes the program: `run` starts this
    #[command(hide = true)]
    Exec {
        /// The process of `run`
        #[arg(long, value_name = "PID")]
        agent: i32,

        #[arg(required = true, last = true)]
        program: Vec<OsString>,
    },
    /// Copy this program into a folder: for an init container that provides it to other containers
    Install(InstallArgs),
    /// Write the coverage of running Go programs to standard output as a tar archive, read from their memory: no signal is
    /// sent, nothing is stopped, and any mode of -cover will do
    Snapshot(SnapshotArgs),
    /// Read the coverage of the Go programs in the pod's other containers from their memory, again and again: for a sidecar of
    /// a pod with shareProcessNamespace, whose images need not change
    Watch(Box<WatchArgs>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotArgs {
    /// The process to read; may be given several times [default: every Go program built with -cover that runs here]
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    /// Where to put podcov-agent
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The program with its arguments
    #[arg(value_name = "PROGRAM", required = true, last = true)]
    pub(crate) program: Vec<OsString>,

    /// Whether to start the program again when it has ended; after a stop signal it is not
    #[arg(
        long,
        value_name = "WHEN",
        default_value = "never",
        env = "PODCOV_RESTART",
        help_heading = "Program"
    )]
    pub(crate) restart: Restart,

    /// The signal that stops the program when the control endpoint is asked to stop it
    #[arg(
        long,
        value_name = "NAME",
        default_value = "TERM",
        env = "PODCOV_STOP_SIGNAL",
        help_heading = "Program"
    )]
    pub(crate) stop_signal: Signal,

    /// Kill the program when it has not ended this long after a stop signal [default: leave that to the platform]
    #[arg(long, value_name = "SECONDS", value_parser = podcov_exit::seconds, env = "PODCOV_KILL_AFTER", help_heading = "Program")]
    pub(crate) kill_after: Option<Duration>,

    /// The signal on which the program writes its counters, where it does
    #[arg(
        long,
        value_name = "NAME",
        default_value = "USR1",
        env = "PODCOV_FLUSH_SIGNAL",
        help_heading = "Flush"
    )]
    pub(crate) flush_signal: Signal,

    /// How long the program may take to write its counters
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = podcov_exit::seconds, env = "PODCOV_FLUSH_TIMEOUT", help_heading = "Flush")]
    pub(crate) flush_timeout: Duration,

    /// Read the counters in the program's memory this often, keep them with the other coverage files, and upload them if there
    /// is a storage: a program that is killed loses at most what it counted since. A program whose memory cannot be read
    /// is sent the flush signal, if there is a storage
    #[arg(long, value_name = "SECONDS", value_parser = podcov_exit::seconds, env = "PODCOV_FLUSH_EVERY", help_heading = "Flush")]
    pub(crate) flush_every: Option<Duration>,

    /// Stop the program on any GET to this address, without a token, as kill switches in services do
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true, default_missing_value = "0.0.0.0:19999", help_heading = "Control")]
    pub(crate) kill_switch: Option<SocketAddr>,

    #[command(flatten)]
    pub(crate) shared: SharedArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// How often to read the programs: one that ends loses at most what it counted since it was read last
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = podcov_exit::seconds, env = "PODCOV_EVERY")]
    pub(crate) every: Duration,

    #[command(flatten)]
    pub(crate) shared: SharedArgs,
}

/// What `run` and `watch` both take.
#[derive(Debug, clap::Args)]
pub(crate) struct SharedArgs {
    /// The folder for coverage files, made if it is missing; `watch` has a folder for each container in it [default:
    /// $GOCOVERDIR, else /tmp/podcov, else /dev/shm/podcov/CONTAINER]
    #[arg(long, value_name = "DIR")]
    pub(crate) coverdir: Option<PathBuf>,

    /// Where to upload coverage files: gs://, s3:// or az:// with bucket and folder, or file:///folder
    /// [env: PODCOV_STORAGE, else INTEGCOV_STORAGE]
    #[arg(long, value_name = "ADDRESS", help_heading = "Storage")]
    pub(crate) storage: Option<Address>,

    /// How long uploading may take, counted from the stop signal, or from the program's end where that came without
    /// one or later than that
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = podcov_exit::seconds, env = "PODCOV_DEADLINE", help_heading = "Storage")]
    pub(crate) deadline: Duration,

    /// Which run the files belong to [default: "default"]
    #[arg(long, value_name = "ID", env = "PODCOV_RUN", help_heading = "Storage")]
    pub(crate) run: Option<String>,

    /// The pod's namespace [default: that of the service account, else "default"]
    #[arg(long, value_name = "NAME", env = "PODCOV_NAMESPACE", help_heading = "Storage")]
    pub(crate) namespace: Option<String>,

    /// The pod's name [default: the host's name]
    #[arg(long, value_name = "NAME", env = "PODCOV_POD", help_heading = "Storage")]
    pub(crate) pod: Option<String>,

    /// The pod's UID, by which the hooks know the agent of a pod on the host's network
    #[arg(long, value_name = "UID", env = "PODCOV_POD_UID", help_heading = "Control")]
    pub(crate) pod_uid: Option<String>,

    /// The container's name [default: the program's; for `watch` what the kubelet calls it]
    #[arg(long, value_name = "NAME", env = "PODCOV_CONTAINER", help_heading = "Storage")]
    pub(crate) container: Option<String>,

    /// Where the control endpoint listens, or "off"; other addresses than loopback need a token
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:19998",
        env = "PODCOV_CONTROL",
        help_heading = "Control"
    )]
    pub(crate) control: ControlAddress,

    /// A file with the token that callers must have [env: PODCOV_TOKEN is the token itself]
    #[arg(long, value_name = "FILE", env = "PODCOV_TOKEN_FILE", help_heading = "Control")]
    pub(crate) token_file: Option<PathBuf>,
}

/// When to start the program again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Restart {
    /// Whenever it ends
    Always,
    /// When it ends with another exit code than 0
    OnFailure,
    /// End with it
    Never,
}

impl SharedArgs {
    /// Where to upload to, by flag or variable.
    pub(crate) fn address(&self) -> Result<Option<Address>> {
        if let Some(address) = &self.storage {
            return Ok(Some(address.clone()));
        }
        for name in ["PODCOV_STORAGE", "INTEGCOV_STORAGE"] {
            if let Some(text) = std::env::var(name).ok().filter(|text| !text.is_empty()) {
                return text.parse().map(Some).or_exit(Exit::Usage, format!("{name} is no address"));
            }
        }
        Ok(None)
    }
}
