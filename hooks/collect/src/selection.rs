//! Which containers are collected from, and what it means that there are none.

use anyhow::Result;
use podcov_cluster::{Cluster, Error, Scope};
use podcov_exit::{Exit, Failure};

use crate::args::Args;

/// Why a container without GOCOVERDIR is skipped.
pub(crate) const NOT_COVERED: &str = "no running program is built with go build -cover";

/// Why a container that does not run is skipped, or what is lost of one with GOCOVERDIR.
pub(crate) const NOT_READ: &str = "its sidecar has read no program in it that is built with go build -cover; one that ended before it was read is not known";

/// Connects to the cluster, and checks which of its pods are selected.
pub(crate) async fn connect(args: &Args) -> Result<(Cluster, Scope)> {
    let cluster = Cluster::connect(&args.cluster).await.map_err(Error::into_failure)?;
    let scope = args.select.scope(cluster.default_namespace())?;
    Ok((cluster, with_sidecars(args, scope)))
}

/// The containers of a scope that are collected from.
pub(crate) fn with_sidecars(args: &Args, mut scope: Scope) -> Scope {
    scope.all_containers = args.live;
    scope.by_sidecar = true;
    scope
}

/// That there is no container to collect from.
pub(crate) fn no_targets(args: &Args, scope: &Scope) -> Failure {
    nothing(scope).with_hint(if args.live {
        "are the pods running, and is this the right --context and namespace?"
    } else {
        "are the pods running, is this the right --context and namespace, is GOCOVERDIR set? --live reads the memory of \
         programs without it"
    })
}

/// That there are containers, and none has coverage.
pub(crate) fn no_coverage(scope: &Scope) -> Failure {
    nothing(scope).with_hint(format!("{NOT_COVERED} there; build it so, and deploy that build"))
}

fn nothing(scope: &Scope) -> Failure {
    Failure::new(Exit::Incomplete, format!("no coverage found in {}", scope.describe()))
}
