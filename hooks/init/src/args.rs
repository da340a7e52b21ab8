//! The arguments of podcov-init.

use std::path::PathBuf;

use podcov_cli::CommonArgs;
use podcov_exit::{Exit, Failure};

/// The program's name.
pub(crate) const NAME: &str = "podcov-init";

/// Shows the smallest change that gives a Skaffold project a coverage profile, as a patch.
///
/// The profile builds the project's Go programs with -cover, and runs the tests by `podcov run` after the deployment. The
/// programs themselves are not changed, nor their manifests. Artifacts of ko get the flag; a Dockerfile gets an argument for
/// its `go build`.
///
/// What cannot be known is not guessed: an error then names the choices and the flag.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
#[command(override_usage = "podcov-init [OPTIONS] -- COMMAND [ARGS]...")]
#[command(after_help = "Examples:
  podcov-init -- go test -count=1 ./integration/...
  podcov-init --write --target service/cart --port 80 -- ./run-tests.sh")]
pub struct Args {
    /// Skaffold's configuration
    #[arg(short, long, value_name = "FILE", default_value = "skaffold.yaml")]
    pub filename: PathBuf,

    /// The module that gets the profile, by the name in its metadata [default: the only one that builds artifacts]
    #[arg(short, long, value_name = "NAME")]
    pub module: Option<String>,

    /// The name of the new profile
    #[arg(short, long, value_name = "NAME", default_value = "coverage")]
    pub profile: String,

    /// What the tests are run against: KIND/NAME [default: the only service of the manifests]
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,

    /// The tests take no target: they do not connect to the pods, or find them otherwise
    #[arg(long, conflicts_with = "target")]
    pub no_target: bool,

    /// The target's port, by number or name [default: the only one of the service]
    #[arg(long, value_name = "PORT", requires = "target")]
    pub port: Option<String>,

    /// Build only this image with -cover; may be given several times [default: all that ko builds, or a Dockerfile with `go
    /// build`]
    #[arg(long, value_name = "IMAGE")]
    pub artifact: Vec<String>,

    /// The deployer whose hooks are to run the tests [default: the only one of the configuration, else kubectl]
    #[arg(long, value_name = "NAME")]
    pub deployer: Option<String>,

    /// Apply the patch instead of showing it
    #[arg(long)]
    pub write: bool,

    /// The command that runs the tests, after `--`; it finds the target's address in PODCOV_ADDR
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

/// An error of the arguments or of the project.
pub(crate) fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}
