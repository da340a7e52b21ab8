//! Where this agent runs: run, namespace, pod and container.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;
use podcov_control::{AGENT, Identity};
use podcov_storage::Origin;

use crate::args::SharedArgs;

/// Where Kubernetes says which namespace a pod is in.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Variables that containers get by the downward API, by the names that Kubernetes' own documentation has for them. They
/// serve where podcov's own are not set.
const POD_NAME: &str = "POD_NAME";
const POD_NAMESPACE: &str = "POD_NAMESPACE";
const POD_UID: &str = "POD_UID";

/// The container runtime sets it to the pod's host name, and an image may set it to anything.
const HOSTNAME: &str = "HOSTNAME";

/// What is known of the pod and the container. `program` is what runs in it.
pub(crate) fn identity(args: &SharedArgs, program: &OsStr) -> Identity {
    let namespace = fs::read_to_string(NAMESPACE_FILE).ok();
    let kernels = rustix::system::uname().nodename().to_string_lossy().into_owned();
    identity_by(args, program, |name| std::env::var(name).ok(), namespace, &kernels)
}

/// `variable` gives the environment, `namespace` is the service account's, `kernels` the kernel's name of the host.
fn identity_by(
    args: &SharedArgs,
    program: &OsStr,
    variable: impl Fn(&str) -> Option<String>,
    namespace: Option<String>,
    kernels: &str,
) -> Identity {
    let text = |text: Option<String>| text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    let given = |flag: &Option<String>, name: &str| text(flag.clone()).or_else(|| text(variable(name)));
    let program = Path::new(program).file_name();
    Identity {
        agent: AGENT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        namespace: text(args.namespace.clone())
            .or_else(|| text(namespace))
            .or_else(|| text(variable(POD_NAMESPACE))),
        pod: given(&args.pod, POD_NAME),
        pod_uid: given(&args.pod_uid, POD_UID),
        hostname: text(Some(kernels.to_owned())).or_else(|| text(variable(HOSTNAME))).unwrap_or_default(),
        container: text(args.container.clone()),
        program: program.unwrap_or_default().to_string_lossy().into_owned(),
    }
}

/// The origin of this start's files in storage.
pub(crate) fn origin(args: &SharedArgs, identity: &Identity) -> Origin {
    let run = args.run.as_deref().filter(|run| !run.is_empty()).unwrap_or("default");
    Origin {
        run: Origin::part(run),
        namespace: Origin::part(identity.namespace.as_deref().unwrap_or("default")),
        pod: Origin::part(identity.pod.as_ref().unwrap_or(&identity.hostname)),
        container: Origin::part(identity.container.as_ref().unwrap_or(&identity.program)),
        start: nanos(),
    }
}

/// Now, in nanoseconds since 1970-01-01 UTC.
pub(crate) fn nanos() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    /// Of an agent with these flags and variables, on the host `cart-1`.
    fn identity_of(
        flags: &[&str],
        variables: &[(&str, &str)],
        namespace: Option<&str>,
        host: &str,
    ) -> Identity {
        let words = ["podcov-agent", "run"].iter().chain(flags).chain(&["--", "/app/server"]);
        let Command::Run(args) = Args::parse_from(words).command else { panic!("the command is run") };
        let variable = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        identity_by(&args.shared, &args.program[0], variable, namespace.map(str::to_owned), host)
    }

    #[test]
    fn what_an_image_sets_is_not_taken_for_the_pods_name() {
        let image = ("HOSTNAME", "build-7");
        let plain = identity_of(&[], &[image], Some("shop\n"), "cart-1");
        assert_eq!((plain.hostname.as_str(), plain.pod.as_deref()), ("cart-1", None));
        assert_eq!(plain.namespace.as_deref(), Some("shop"));
        // A kernel without a name.
        assert_eq!(identity_of(&[], &[("HOSTNAME", "cart-1")], None, "").hostname, "cart-1");
    }

    #[test]
    fn what_the_downward_api_gives_serves_where_podcovs_own_is_not_set() {
        let downward = [("POD_NAME", "cart-1"), ("POD_NAMESPACE", "shop"), ("POD_UID", "u-1")];
        // As on the host's network.
        let known = identity_of(&[], &downward, None, "node-7");
        let some = |text: &str| Some(text.to_owned());
        assert_eq!((known.pod, known.namespace, known.pod_uid), (some("cart-1"), some("shop"), some("u-1")));
        let flags = ["--pod=web-1", "--namespace=web", "--pod-uid=u-2"];
        let named = identity_of(&flags, &downward, Some("other"), "node-7");
        assert_eq!((named.pod, named.namespace, named.pod_uid), (some("web-1"), some("web"), some("u-2")));
        assert_eq!(
            identity_of(&["--pod="], &[("POD_NAME", " ")], None, "h").pod,
            None,
            "set and empty is not set"
        );
        assert_eq!(identity_of(&[], &downward, Some("account"), "h").namespace, some("account"));
    }
}
