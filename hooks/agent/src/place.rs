//! Where this agent runs: run, namespace, pod and container.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use podcov_control::{AGENT, Identity};
use podcov_storage::Place;

use crate::args::RunArgs;

/// Where Kubernetes says which namespace a pod is in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Kubernetes sets it to the pod's host name.
const HOSTNAME: &str = "HOSTNAME";

/// What is known of the pod and the container.
pub(crate) fn identity(args: &RunArgs) -> Identity {
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let namespace = || fs::read_to_string(NAMESPACE_FILE).ok().map(|text| text.trim().to_owned());
    let hostname = std::env::var(HOSTNAME).ok().filter(|name| !name.is_empty());
    let kernels = || rustix::system::uname().nodename().to_string_lossy().into_owned();
    let program = args.program.first().map(Path::new).and_then(Path::file_name);
    Identity {
        agent: AGENT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        namespace: given(&args.namespace).or_else(namespace).filter(|name| !name.is_empty()),
        pod: given(&args.pod),
        pod_uid: given(&args.pod_uid),
        hostname: hostname.unwrap_or_else(kernels),
        container: given(&args.container),
        program: program.unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// The place of this start in storage.
pub(crate) fn place(args: &RunArgs, identity: &Identity) -> Place {
    let run = args.run.as_deref().filter(|run| !run.is_empty()).unwrap_or("default");
    Place {
        run: Place::part(run),
        namespace: Place::part(identity.namespace.as_deref().unwrap_or("default")),
        pod: Place::part(identity.pod.as_ref().unwrap_or(&identity.hostname)),
        container: Place::part(identity.container.as_ref().unwrap_or(&identity.program)),
        start: nanos(),
    }
}

/// Now, in nanoseconds since 1970-01-01 UTC.
pub(crate) fn nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}
