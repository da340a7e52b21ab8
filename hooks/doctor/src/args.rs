//! The arguments of podcov-doctor.

use std::path::PathBuf;
use std::time::Duration;

use podcov_cli::CommonArgs;
use podcov_cluster::{ClusterArgs, SelectArgs};
use podcov_control::Signal;
use podcov_storage::Address;

/// The program's name.
pub(crate) const NAME: &str = "podcov-doctor";

/// Checks what podcov's hooks need, and says how to mend what is missing.
///
/// Looks at the cluster, your rights, the targets and their ports, the run's pods and their programs, skaffold.yaml and
/// the programs that its hooks name, and storage. It changes nothing: no signal is sent, nothing is written in a
/// container, and no container is added to a pod, unless --add-containers is given.
///
/// What the hooks are to do is taken from the arguments, else from the hooks of skaffold.yaml, else it is reading memory
/// as podcov-run does.
///
/// Prints each error, each warning and each check that could not be made, with what to do about it; --all prints the
/// successful checks too. Ends with 0 if there is no error, with 1 if a hook would fail, with 2 for wrong use or an unusable
/// kubeconfig, with 3 if the cluster cannot be reached.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
#[command(override_usage = "podcov-doctor [OPTIONS] [TARGET [LOCAL:]REMOTE...]")]
#[command(after_help = "Examples:
  podcov-doctor
  podcov-doctor --profile coverage --run-id 5c0f7d2a
  podcov-doctor -n shop service/cart http
  podcov-doctor -n shop -l app=cart --signal USR1")]
pub struct Args {
    /// The targets of the tests, as podcov-test takes them: [ALIAS=][NAMESPACE/]KIND/NAME, then its ports
    #[arg(value_name = "TARGET PORT")]
    pub routes: Vec<String>,

    /// Which pods and containers to check
    #[command(flatten)]
    pub select: SelectArgs,

    /// Check reading programs' memory, as podcov-run and podcov-collect --live do it
    #[arg(long, conflicts_with_all = ["signal", "stop", "from"], help_heading = "Collect")]
    pub live: bool,

    /// The image of the ephemeral container for a pod whose image has no shell [default: that of the hooks, else
    /// busybox:stable]
    #[arg(long, value_name = "IMAGE", help_heading = "Collect")]
    pub live_image: Option<String>,

    /// Add the ephemeral containers that reading memory needs, and look through them. Without it only whether they would be
    /// admitted is checked, and nothing is known of programs in images without a shell
    #[arg(long, conflicts_with_all = ["signal", "stop", "from"], help_heading = "Collect")]
    pub add_containers: bool,

    /// Check collecting files that programs write on this signal
    #[arg(long, value_name = "NAME", conflicts_with_all = ["stop", "from"], help_heading = "Collect")]
    pub signal: Option<Signal>,

    /// Check stopping programs through podcov-agent
    #[arg(long, conflicts_with = "from", help_heading = "Collect")]
    pub stop: bool,

    /// Check the storage that podcov-agent uploads to: gs://, s3:// or az:// with bucket and folder, or file:///folder
    #[arg(long, value_name = "ADDRESS", help_heading = "Collect")]
    pub from: Option<Address>,

    /// Skaffold's configuration [default: skaffold.yaml, if it exists]
    #[arg(short, long, value_name = "FILE", help_heading = "Skaffold")]
    pub filename: Option<PathBuf>,

    /// The profile whose hooks are checked [default: the only one whose hooks run podcov]
    #[arg(short, long, value_name = "NAME", help_heading = "Skaffold")]
    pub profile: Option<String>,

    /// How long a target or a container may take to answer; an ephemeral container that is added has two minutes more
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = podcov_exit::seconds, help_heading = "Checks")]
    pub timeout: Duration,

    /// How many containers to look into at a time
    #[arg(long, value_name = "N", default_value = "16", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Checks")]
    pub parallel: u16,

    /// Print the successful checks too
    #[arg(long, help_heading = "Output")]
    pub all: bool,

    /// Print all checks as JSON
    #[arg(long, conflicts_with = "all", help_heading = "Output")]
    pub json: bool,

    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}
