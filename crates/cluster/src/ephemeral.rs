//! Ephemeral containers: a container of a stock image beside a running one, which sees its processes and files.
//!
//! Kubernetes keeps one in the pod's spec until the pod is deleted, so there is one for each container and [`Form`], and it
//! is used again. It sleeps, and does nothing between two execs.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Capabilities, ContainerStatus, EphemeralContainer, Pod, PodSecurityContext, SecurityContext,
};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::pod::{container_status, is_static, long_running};
use crate::target::Container;
use crate::watch::PodWatch;
use crate::{Cluster, Error, PodSet, Pods};

/// How the names of podcov's ephemeral containers begin.
const NAME: &str = "podcov-live-";

/// What one runs: nothing, until the pod goes.
const COMMAND: [&str; 2] = ["sleep", "2147483647"];

/// How long an ephemeral container may take to start; its image may have to be pulled.
const START_LIMIT: Duration = Duration::from_secs(120);

/// The user of most images without a shell: `nonroot` of the distroless ones.
const NONROOT: i64 = 65532;

/// Reasons for which a container waits that no waiting mends soon.
const FAILURES: [&str; 8] = [
    "ErrImagePull",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
];

/// An ephemeral container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ephemeral {
    /// Itself.
    pub container: Container,
    /// The runtime's ID of the container beside it, which is in the names of its processes' control groups.
    pub beside_id: String,
}

impl Ephemeral {
    /// That of this name, beside a container of the pod.
    fn new(pod: &Pod, beside: &Container, name: &str) -> Self {
        let status = container_status(pod, &beside.container);
        let id = status.and_then(|status| status.container_id.as_deref()).unwrap_or_default();
        let (_, id) = id.split_once("://").unwrap_or_default();
        let container = Container { container: name.to_owned(), ..beside.clone() };
        Self { container, beside_id: id.to_owned() }
    }
}

/// A user and a group, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct User {
    /// The user's.
    pub uid: i64,
    /// The primary group's.
    pub gid: i64,
}

/// What an ephemeral container may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What the container beside it may do, as this user; `None`: as the user that the pod tells or lets guess.
    Same(Option<User>),
    /// As root, with what it takes to read the memory of other users' processes: SYS_PTRACE and DAC_READ_SEARCH.
    Tracer,
}

impl Cluster {
    /// An ephemeral container beside another one, which runs. It shares the other one's processes.
    ///
    /// # Errors
    /// The API server's refusal; [`Error::NoEphemeral`] if it does not start.
    pub async fn ephemeral(
        &self,
        container: &Container,
        image: &str,
        form: Form,
    ) -> Result<Ephemeral, Error> {
        let pods = self.api::<Pod>(&container.namespace);
        let pod = self.pod_to_join(container).await?;
        let requested = requested(&pod, &container.container, image, form);
        let name = match name_of(&pod, &requested)? {
            Name::Known(name) if matches!(progress(ephemeral_status(&pod, &name)), Progress::Runs) => {
                return Ok(Ephemeral::new(&pod, container, &name));
            }
            Name::Known(name) => name,
            Name::Free(name) => {
                let patch = adding(&requested, &name);
                let params = PatchParams::default();
                let adding = pods.patch_ephemeral_containers(&container.pod, &params, &patch);
                self.ask("adding an ephemeral container", adding).await?;
                tracing::info!("{container}: added the ephemeral container {name} ({image})");
                name
            }
        };
        let pod = self.until_it_runs(container, &name).await?;
        Ok(Ephemeral::new(&pod, container, &name))
    }

    /// The ephemeral container that [`Self::ephemeral`] would give, if it runs already. If not, the API server is asked
    /// whether it would admit it, and nothing is added.
    ///
    /// # Errors
    /// As [`Self::ephemeral`], as far as the API server can tell.
    pub async fn check_ephemeral(
        &self,
        container: &Container,
        image: &str,
        form: Form,
    ) -> Result<Option<Ephemeral>, Error> {
        let pods = self.api::<Pod>(&container.namespace);
        let pod = self.pod_to_join(container).await?;
        let requested = requested(&pod, &container.container, image, form);
        match name_of(&pod, &requested)? {
            Name::Known(name) => match progress(ephemeral_status(&pod, &name)) {
                Progress::Runs => Ok(Some(Ephemeral::new(&pod, container, &name))),
                Progress::Failed(why) | Progress::Ended { why, .. } => Err(failed(&name, &why)),
                Progress::Waits(_) => Ok(None),
            },
            Name::Free(name) => {
                let params = PatchParams { dry_run: true, ..PatchParams::default() };
                let patch = adding(&requested, &name);
                let adding = pods.patch_ephemeral_containers(&container.pod, &params, &patch);
                self.ask("adding an ephemeral container", adding).await?;
                Ok(None)
            }
        }
    }

    /// The pod of a container, if it is the same still and takes ephemeral containers.
    async fn pod_to_join(&self, container: &Container) -> Result<Pod, Error> {
        let pods = self.api::<Pod>(&container.namespace);
        let pod = self.ask("reading the pod", pods.get(&container.pod)).await?;
        if pod.uid().as_deref() != Some(&container.uid) {
            return Err(Error::NotFound("the pod is gone".to_owned()));
        }
        if is_static(&pod) {
            let why = "the pod is a static one, which takes no ephemeral containers: its image needs sh and dd, or \
                       the pod podcov-agent as a sidecar";
            return Err(Error::NoEphemeral(why.to_owned()));
        }
        Ok(pod)
    }

    /// The newest of podcov's ephemeral containers beside a container that runs, if there is one.
    ///
    /// # Errors
    /// The API server's refusal.
    pub async fn find_ephemeral(&self, container: &Container) -> Result<Option<Ephemeral>, Error> {
        let pods = self.api::<Pod>(&container.namespace);
        let pod = self.ask("reading the pod", pods.get(&container.pod)).await?;
        let is_beside = |one: &&EphemeralContainer| {
            one.target_container_name.as_ref() == Some(&container.container)
                && matches!(progress(ephemeral_status(&pod, &one.name)), Progress::Runs)
        };
        let started = |one: &&EphemeralContainer| {
            let state = ephemeral_status(&pod, &one.name).and_then(|status| status.state.as_ref());
            state.and_then(|state| state.running.as_ref()?.started_at.clone())
        };
        let newest = known(&pod).filter(is_beside).max_by_key(started);
        Ok(newest.map(|one| Ephemeral::new(&pod, container, &one.name)))
    }

    async fn until_it_runs(&self, container: &Container, name: &str) -> Result<Arc<Pod>, Error> {
        let pod = Pods::Named(container.pod.clone());
        let pod = PodSet { namespace: Some(container.namespace.clone()), pods: pod };
        let mut watch = PodWatch::new(self, &pod, "watching the pod".to_owned());
        watch.list().await?;
        let deadline = Instant::now() + START_LIMIT;
        let mut last = "it has not started".to_owned();
        loop {
            let pods = watch.known().state();
            let pod = pods.into_iter().find(|pod| pod.uid().as_deref() == Some(&container.uid));
            let Some(pod) = pod else { return Err(Error::NotFound("the pod is gone".to_owned())) };
            match progress(ephemeral_status(&pod, name)) {
                Progress::Runs => return Ok(pod),
                Progress::Failed(why) | Progress::Ended { why, .. } => return Err(failed(name, &why)),
                Progress::Waits(why) => last = why.unwrap_or(last),
            }
            match timeout_at(deadline, watch.next()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    let seconds = START_LIMIT.as_secs();
                    return Err(Error::NoEphemeral(format!(
                        "the ephemeral container {name} did not start within {seconds}s: {last}"
                    )));
                }
            }
        }
    }
}

/// podcov's ephemeral containers of a pod.
fn known(pod: &Pod) -> impl Iterator<Item = &EphemeralContainer> {
    let all = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    all.filter(|one| one.name.starts_with(NAME))
}

/// The name of an ephemeral container.
#[derive(Debug, PartialEq, Eq)]
enum Name {
    /// Of one that is there, and has not ended.
    Known(String),
    /// Of none.
    Free(String),
}

/// Which one is to be used. Its name tells what was requested: admission may change that, and several may ask at once.
fn name_of(pod: &Pod, requested: &EphemeralContainer) -> Result<Name, Error> {
    let mut hash = DefaultHasher::new();
    serde_json::to_string(requested).expect("it has no map with other keys than texts").hash(&mut hash);
    let begin = format!("{NAME}{:08x}", hash.finish() as u32);
    for number in 1.. {
        let name = format!("{begin}-{number}");
        if !known(pod).any(|one| one.name == name) {
            return Ok(Name::Free(name));
        }
        // It ends with the container beside it, and then there is no other use for it.
        match progress(ephemeral_status(pod, &name)) {
            Progress::Ended { started: false, why } => return Err(failed(&name, &why)),
            Progress::Ended { started: true, .. } => {}
            _ => return Ok(Name::Known(name)),
        }
    }
    unreachable!("a pod has no endless list of containers")
}

/// The change of a pod that adds an ephemeral container.
fn adding(requested: &EphemeralContainer, name: &str) -> Patch<Value> {
    let named = EphemeralContainer { name: name.to_owned(), ..requested.clone() };
    Patch::Strategic(json!({"spec": {"ephemeralContainers": [named]}}))
}

fn failed(name: &str, why: &str) -> Error {
    Error::NoEphemeral(format!("the ephemeral container {name} does not start: {why}"))
}

fn ephemeral_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let statuses = pod.status.as_ref()?.ephemeral_container_statuses.iter().flatten();
    statuses.into_iter().find(|status| status.name == name)
}

/// How far a container is that is to run.
enum Progress {
    Runs,
    /// Maybe for this reason.
    Waits(Option<String>),
    Failed(String),
    Ended {
        /// It has run.
        started: bool,
        why: String,
    },
}

fn progress(status: Option<&ContainerStatus>) -> Progress {
    let Some(state) = status.and_then(|status| status.state.as_ref()) else { return Progress::Waits(None) };
    if state.running.is_some() {
        return Progress::Runs;
    }
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.as_deref().unwrap_or("terminated");
        let message = ended.message.as_ref().map(|message| format!(": {message}")).unwrap_or_default();
        let started = !matches!(reason, "StartError" | "ContainerCannotRun");
        return Progress::Ended { started, why: format!("{reason}, exit code {}{message}", ended.exit_code) };
    }
    let Some(waiting) = &state.waiting else { return Progress::Waits(None) };
    let reason = waiting.reason.clone().unwrap_or_else(|| "waiting".to_owned());
    let why = match &waiting.message {
        Some(message) => format!("{reason}: {message}"),
        None => reason.clone(),
    };
    if FAILURES.contains(&reason.as_str()) { Progress::Failed(why) } else { Progress::Waits(Some(why)) }
}

/// The ephemeral container that is requested, without its name.
fn requested(pod: &Pod, container: &str, image: &str, form: Form) -> EphemeralContainer {
    let spec = pod.spec.as_ref();
    let beside = spec.and_then(|spec| long_running(spec).find(|one| one.name == container));
    let own = beside.and_then(|one| one.security_context.clone()).unwrap_or_default();
    let of_pod = spec.and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let security = match form {
        Form::Same(user) => {
            let user = user.unwrap_or_else(|| user_of(container_status(pod, container), &own, &of_pod));
            same(own, user)
        }
        Form::Tracer => tracer(own),
    };
    EphemeralContainer {
        image: Some(image.to_owned()),
        command: Some(COMMAND.map(str::to_owned).to_vec()),
        target_container_name: Some(container.to_owned()),
        security_context: Some(security),
        ..EphemeralContainer::default()
    }
}

/// The user that a container runs as: the one that the kubelet tells, else the one that the pod asks for, else one
/// that is likely.
fn user_of(status: Option<&ContainerStatus>, own: &SecurityContext, of_pod: &PodSecurityContext) -> User {
    let told = status.and_then(|status| status.user.as_ref()).and_then(|user| user.linux.as_ref());
    if let Some(told) = told {
        return User { uid: told.uid, gid: told.gid };
    }
    let non_root = own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true);
    let likely = if non_root { NONROOT } else { 0 };
    let uid = own.run_as_user.or(of_pod.run_as_user).unwrap_or(likely);
    let likely = if uid == NONROOT { NONROOT } else { 0 };
    User { uid, gid: own.run_as_group.or(of_pod.run_as_group).unwrap_or(likely) }
}

/// What the container may do, as a user. Another user than root has no capabilities, whatever the container asks for, unless the
/// image's files give some.
fn same(own: SecurityContext, user: User) -> SecurityContext {
    let mut security = SecurityContext { run_as_user: Some(user.uid), run_as_group: Some(user.gid), ..own };
    if user.uid != 0 && security.privileged != Some(true) {
        security.run_as_non_root = Some(true);
        security.allow_privilege_escalation = Some(false);
        security.capabilities =
            Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), ..Capabilities::default() });
    }
    security
}

/// What it takes to read any process of a container, and no more.
fn tracer(own: SecurityContext) -> SecurityContext {
    let add = ["DAC_READ_SEARCH", "SYS_PTRACE"].map(str::to_owned).to_vec();
    SecurityContext {
        run_as_user: Some(0),
        run_as_group: Some(0),
        run_as_non_root: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { add: Some(add), drop: Some(vec!["ALL".to_owned()]) }),
        se_linux_options: own.se_linux_options,
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(pod: serde_json::Value) -> Pod {
        serde_json::from_value(pod).unwrap()
    }

    fn security(
        of_pod: &serde_json::Value,
        own: &serde_json::Value,
        user: &serde_json::Value,
        form: Form,
    ) -> SecurityContext {
        let pod = pod(json!({
            "spec": {"securityContext": of_pod, "containers": [{"name": "app", "securityContext": own}]},
            "status": {"containerStatuses": [
                {"name": "app", "image": "i", "imageID": "i", "ready": true, "restartCount": 0, "user": user}
            ]}
        }));
        requested(&pod, "app", "busybox", form).security_context.unwrap()
    }

    #[test]
    fn it_is_the_user_that_the_pod_tells_or_a_likely_one() {
        let none = json!(null);
        let runs = |uid: u32| json!({"runAsUser": uid});
        for (of_pod, own, told, expected) in [
            (&none, &none, &none, (0, 0)),
            (&json!({"runAsNonRoot": true}), &none, &none, (65532, 65532)),
            (&runs(5), &none, &none, (5, 0)),
            (&json!({"runAsUser": 5, "runAsGroup": 6}), &runs(7), &none, (7, 6)),
            (&runs(5), &runs(7), &json!({"linux": {"uid": 8, "gid": 9}}), (8, 9)),
        ] {
            let security = security(of_pod, own, told, Form::Same(None));
            let user = (security.run_as_user.unwrap(), security.run_as_group.unwrap());
            assert_eq!(user, expected, "{of_pod} {own} {told}");
        }
        let learnt = security(&none, &runs(7), &none, Form::Same(Some(User { uid: 3, gid: 4 })));
        assert_eq!((learnt.run_as_user, learnt.run_as_group), (Some(3), Some(4)));
    }

    /// Linux lets a process read another's memory only if it has no fewer capabilities.
    #[test]
    fn root_keeps_its_capabilities_and_others_have_none() {
        let own = json!({"capabilities": {"add": ["NET_ADMIN"]}, "readOnlyRootFilesystem": true});
        let none = json!(null);
        let root = security(&none, &own, &none, Form::Same(None));
        assert_eq!(root.capabilities.unwrap().add.unwrap(), ["NET_ADMIN"]);
        let other = security(&json!({"runAsUser": 5}), &own, &none, Form::Same(None));
        let capabilities = other.capabilities.unwrap();
        assert_eq!((capabilities.add, capabilities.drop), (None, Some(vec!["ALL".to_owned()])));
        assert_eq!((other.run_as_non_root, other.allow_privilege_escalation), (Some(true), Some(false)));
        assert_eq!(other.read_only_root_filesystem, Some(true));
        let tracer = security(&json!({"runAsNonRoot": true}), &own, &none, Form::Tracer);
        assert_eq!(
            (tracer.run_as_user, tracer.run_as_non_root, tracer.privileged),
            (Some(0), Some(false), None)
        );
        assert_eq!(tracer.capabilities.unwrap().add.unwrap(), ["DAC_READ_SEARCH", "SYS_PTRACE"]);
    }

    #[test]
    fn one_that_is_there_is_used_again_if_it_has_not_ended() {
        let user = |uid| Form::Same(Some(User { uid, gid: 0 }));
        let state = |name: &str, state: serde_json::Value| json!({"name": name, "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state});
        let empty = pod(json!({}));
        let free = |form| match name_of(&empty, &requested(&empty, "app", "busybox", form)) {
            Ok(Name::Free(name)) => name,
            other => panic!("{other:?}"),
        };
        let (name, other) = (free(user(7)), free(user(5)));
        assert!(name.starts_with(NAME) && name.ends_with("-1") && name != other, "{name} {other}");
        // Whatever admission has made of it.
        let with = |states: &[(&str, serde_json::Value)]| {
            let containers =
                states.iter().map(|(name, _)| json!({"name": name, "image": "mirror/busybox@sha256:1"}));
            let statuses = states.iter().map(|(name, one)| state(name, one.clone()));
            pod(json!({
                "spec": {"containers": [], "ephemeralContainers": containers.collect::<Vec<_>>()},
                "status": {"ephemeralContainerStatuses": statuses.collect::<Vec<_>>()}
            }))
        };
        let named = |pod: &Pod| name_of(pod, &requested(&empty, "app", "busybox", user(7)));
        let running = json!({"running": {}});
        let ended = json!({"terminated": {"exitCode": 137, "reason": "Error"}});
        let second = name.replace("-1", "-2");
        assert_eq!(named(&with(&[(&other, running.clone())])).unwrap(), Name::Free(name.clone()));
        assert_eq!(named(&with(&[(&name, running.clone())])).unwrap(), Name::Known(name.clone()));
        assert_eq!(named(&with(&[(&name, json!({}))])).unwrap(), Name::Known(name.clone()));
        assert_eq!(named(&with(&[(&name, ended.clone())])).unwrap(), Name::Free(second.clone()));
        assert_eq!(named(&with(&[(&name, ended), (&second, running)])).unwrap(), Name::Known(second));
        // What could not be started then cannot be now.
        let broken = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no sleep"}});
        let error = named(&with(&[(&name, broken)])).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("the ephemeral container {name} does not start: StartError, exit code 128: no sleep")
        );
    }

    #[test]
    fn how_far_it_is() {
        let status = |state: serde_json::Value| {
            let status = json!({"name": "x", "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state});
            serde_json::from_value::<ContainerStatus>(status).unwrap()
        };
        assert!(matches!(progress(None), Progress::Waits(None)));
        assert!(matches!(progress(Some(&status(json!({"running": {}})))), Progress::Runs));
        let starts = status(json!({"waiting": {"reason": "ContainerCreating"}}));
        assert!(matches!(progress(Some(&starts)), Progress::Waits(Some(why)) if why == "ContainerCreating"));
        let failed = status(json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}}));
        assert!(matches!(progress(Some(&failed)), Progress::Failed(why) if why == "ErrImagePull: not found"));
        let ended =
            status(json!({"terminated": {"reason": "StartError", "exitCode": 128, "message": "no sleep"}}));
        let why = "StartError, exit code 128: no sleep";
        assert!(
            matches!(progress(Some(&ended)), Progress::Ended { started: false, why: said } if said == why)
        );
    }
}
