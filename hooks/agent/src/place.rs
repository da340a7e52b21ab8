//! Whose coverage this is: run, namespace, pod and container.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use podcov_storage::Place;

use crate::args::RunArgs;

/// Where Kubernetes says which namespace a pod is in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The place of this start in storage.
pub(crate) fn place(args: &RunArgs) -> Place {
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let default = || "default".to_owned();
    let namespace = || fs::read_to_string(NAMESPACE_FILE).ok().map(|text| text.trim().to_owned());
    let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let program = args.program.first().map(Path::new).and_then(Path::file_name).map(OsStr::to_string_lossy);
    Place {
        run: Place::part(&given(&args.run).unwrap_or_else(default)),
        namespace: Place::part(&given(&args.namespace).or_else(namespace).unwrap_or_else(default)),
        pod: Place::part(&given(&args.pod).unwrap_or_else(host)),
        container: Place::part(
            &given(&args.container).unwrap_or_else(|| program.unwrap_or_default().into_owned()),
        ),
        start: nanos(),
    }
}

/// Now, in nanoseconds since 1970-01-01 UTC.
pub(crate) fn nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}
