//! What a pod's spec and status have about its containers.

use k8s_openapi::api::core::v1::{Container as ContainerSpec, ContainerState, ContainerStatus, Pod, PodSpec};
use kube::ResourceExt;

use crate::Termination;

/// The longest name that the kernel takes for a host.
const HOSTNAME_LENGTH: usize = 63;

/// The annotation of the pods that the API server has for static ones: those that a kubelet makes of files. See
/// `pkg/kubelet/types/pod_update.go`.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// The annotation with the UID that the kubelet knows a static pod by.
const STATIC_UID: &str = "kubernetes.io/config.hash";

/// Whether a kubelet has made the pod of a file. The API server cannot change it then.
pub(crate) fn is_static(pod: &Pod) -> bool {
    pod.annotations().contains_key(MIRROR)
}

/// The UID that the pod's containers and the kubelet's folders have. The API server gives a static pod another one.
pub(crate) fn uid_inside(pod: &Pod) -> String {
    let of_file = pod.annotations().get(STATIC_UID).filter(|_| is_static(pod)).cloned();
    of_file.or_else(|| pod.uid()).unwrap_or_default()
}

/// Init containers proper have ended when the pod runs; those with `restartPolicy: Always` are sidecars.
pub(crate) fn long_running(spec: &PodSpec) -> impl Iterator<Item = &ContainerSpec> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    sidecars.chain(&spec.containers)
}

pub(crate) fn container_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses);
    all.flatten().find(|s| s.name == name)
}

/// Whether a container has ever been started.
pub(crate) fn has_run(status: Option<&ContainerStatus>) -> bool {
    let states = status.into_iter().flat_map(|status| status.state.iter().chain(&status.last_state));
    states.into_iter().any(|state| state.running.is_some() || state.terminated.is_some())
}

/// Why a container does not run, if it does not.
pub(crate) fn not_running(status: Option<&ContainerStatus>) -> Option<String> {
    let state = status.and_then(|s| s.state.as_ref());
    match state {
        Some(ContainerState { running: Some(_), .. }) => None,
        Some(ContainerState { waiting: Some(waiting), .. }) => {
            let reason = waiting.reason.clone().unwrap_or_else(|| "waiting".to_owned());
            let last = status.and_then(|s| s.last_state.as_ref()).and_then(|last| last.terminated.as_ref());
            Some(match last.map(Termination::from) {
                Some(last) => format!("{reason} after {last}"),
                None => reason,
            })
        }
        Some(ContainerState { terminated: Some(ended), .. }) => {
            let reason = ended.reason.clone().unwrap_or_else(|| "terminated".to_owned());
            Some(format!("{reason}, exit code {}", ended.exit_code))
        }
        _ => Some("no status yet".to_owned()),
    }
}

/// Whether a container that does not run has just ended, and the kubelet will start it again at once.
pub(crate) fn restarts(pod: &Pod, spec: &ContainerSpec, status: Option<&ContainerStatus>) -> bool {
    let ended = status.and_then(|s| s.state.as_ref()).and_then(|s| s.terminated.as_ref());
    let of_pod = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    match (ended, spec.restart_policy.as_deref().or(of_pod)) {
        (Some(_), Some("Always") | None) => true,
        (Some(ended), Some("OnFailure")) => ended.exit_code != 0,
        _ => false,
    }
}

/// Whether the kubelet is about to start a container, at once or after a pause.
pub(crate) fn is_waiting(status: Option<&ContainerStatus>) -> bool {
    status.and_then(|s| s.state.as_ref()).is_some_and(|state| state.waiting.is_some())
}

/// Whether a container sees processes of others.
pub(crate) fn shares_process_ids(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.host_pid == Some(true) || spec.share_process_namespace == Some(true))
}

/// The host's name in a pod with a network of its own.
pub(crate) fn hostname(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) {
        return None;
    }
    let name =
        spec.hostname_override.as_ref().or(spec.hostname.as_ref()).cloned().unwrap_or_else(|| pod.name_any());
    // Longer ones are cut, as the kubelet does: `truncatePodHostnameIfNeeded`.
    Some(name.get(..HOSTNAME_LENGTH).map_or(name.clone(), |cut| cut.trim_end_matches(['-', '.']).to_owned()))
}
