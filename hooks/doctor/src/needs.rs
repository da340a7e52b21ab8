//! What the hooks are to do, and so what they need.

use podcov_control::Signal;
use podcov_storage::Address;
use podcov_test::Route;

/// What the hooks are to do.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    /// What the tests are run against.
    pub(crate) routes: Vec<Route>,
    pub(crate) method: Method,
    /// The image of ephemeral containers.
    pub(crate) live_image: Option<String>,
    /// What selects pods and containers, beside the run.
    pub(crate) selection: Selection,
}

/// What selects pods and containers, as the flags of those names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Selection {
    pub(crate) selector: Option<String>,
    pub(crate) pod: Option<String>,
    pub(crate) container: Option<String>,
}

/// How coverage is collected.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Method {
    /// From programs' memory.
    #[default]
    Live,
    /// From files that programs write on a signal.
    Signal(Signal),
    /// From files that programs write when podcov-agent stops them.
    Stop,
    /// From storage that podcov-agents have uploaded to.
    Stored(Address),
}
