//! The arguments of podcov-inject.

use podcov_cli::CommonArgs;

/// The program's name.
pub(crate) const NAME: &str = "podcov-inject";

/// Adds to manifests what coverage needs in a pod: reads them from standard input, and writes them to standard output.
///
/// For renderers: a post-renderer of Helm, a render hook of Skaffold, a pipe to kubectl. Each container gets GOCOVERDIR and a
/// folder of its own on an emptyDir volume; with --sidecar the pod gets podcov-agent as a sidecar instead. Pods of
/// Deployments, StatefulSets, DaemonSets, ReplicaSets, ReplicationControllers, Jobs and CronJobs are changed, and Pods;
/// everything else passes through byte by byte. What is there already stays: a second run changes nothing.
///
/// Reading memory (`podcov run`, `podcov-collect --live`) needs none of this.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
#[command(override_usage = "podcov-inject [OPTIONS] [KIND/NAME]... < MANIFESTS")]
#[command(after_help = "Examples:
  helm template shop ./chart | podcov-inject deployment/cart | kubectl apply -f -
  podcov-inject -l app=cart -c app < manifests.yaml
  podcov-inject --sidecar --image registry.example.com/podcov-agent --storage gs://bucket/folder job/batch < manifests.yaml")]
pub struct Args {
    /// Change these alone: deployment/cart, job/batch [default: all]
    #[arg(value_name = "KIND/NAME")]
    pub workloads: Vec<String>,

    /// Change only pods that this label selector matches, by the labels in the pod's template
    #[arg(short = 'l', long, value_name = "SELECTOR", help_heading = "Pods")]
    pub selector: Option<String>,

    /// Change only containers whose name matches this pattern: `*`, `?`, `[ab]` or `{a,b}`
    #[arg(short, long, value_name = "PATTERN", conflicts_with = "sidecar", help_heading = "Pods")]
    pub container: Option<String>,

    /// The folder that GOCOVERDIR names in each container
    #[arg(
        long,
        value_name = "DIR",
        default_value = "/coverage-data",
        conflicts_with = "sidecar",
        help_heading = "Changes"
    )]
    pub coverdir: String,

    /// Add podcov-agent as a sidecar that reads the programs' memory, in place of GOCOVERDIR
    #[arg(long, requires = "image", help_heading = "Changes")]
    pub sidecar: bool,

    /// The sidecar's image: that of podcov-agent
    #[arg(long, value_name = "IMAGE", requires = "sidecar", help_heading = "Changes")]
    pub image: Option<String>,

    /// Where the sidecar uploads to: gs://, s3:// or az:// with bucket and folder [default: PODCOV_STORAGE of a config map
    /// `podcov`, if there is one]
    #[arg(long, value_name = "ADDRESS", requires = "sidecar", help_heading = "Changes")]
    pub storage: Option<String>,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}
