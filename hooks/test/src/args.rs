//! The arguments of podcov-test.

use std::ffi::OsString;
use std::time::Duration;

use podcov_cli::{CommonArgs, StateArgs};
use podcov_cluster::ClusterArgs;

/// The program's name.
pub(crate) const NAME: &str = "podcov-test";

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
    /// The tests
    #[command(flatten)]
    pub test: TestArgs,

    /// Skaffold's run
    #[arg(long, env = "SKAFFOLD_RUN_ID", value_name = "ID", help_heading = "Run")]
    pub run_id: Option<String>,

    /// If the command fails, record that and exit with 0; podcov-collect then exits with the failure, after it has
    /// collected the coverage
    #[arg(long, help_heading = "Run")]
    pub defer_failure: bool,

    /// Where a deferred failure is recorded
    #[command(flatten)]
    pub state: StateArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

/// What to run, and what to forward to for it.
#[derive(Debug, clap::Args)]
pub struct TestArgs {
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

    /// Start the command only when a GET of this path is answered with a status from 200 to 399; for another
    /// target than the first: NAME=PATH
    #[arg(long, value_name = "[NAME=]PATH", help_heading = "Run")]
    pub http: Vec<String>,

    /// How long to wait until a target accepts: at the start, and for every later connection
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = podcov_exit::seconds, help_heading = "Run")]
    pub timeout: Duration,

    /// How long the command may take to end after a signal, or after this process was killed, before it is killed;
    /// processes that it leaves running have the same time
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = podcov_exit::seconds, help_heading = "Run")]
    pub grace: Duration,

    /// Which cluster
    #[command(flatten)]
    pub cluster: ClusterArgs,
}
