//! Finding the run's targets: the running containers that may hold counters, and what was passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{
    Container as ContainerSpec, ContainerState, ContainerStatus, Namespace, Pod, PodSpec, Volume,
};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use podcov_control::{CONTROL, ControlAddress, DEFAULT_PORT};

use crate::{Cluster, Error, History, Scope, Termination};

/// How many pods one answer of the API server may hold; what kubectl asks for as well.
const PAGE: u32 = 500;

/// After how long to look whether a container has been started again: at first, and at most. Each pause is twice as long
/// as the one before, for a look lists all pods of the scope.
const FIRST_LOOK: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long a pod's status may take to say how a container's last process ended.
const LAST_END_IN: Duration = Duration::from_secs(10);

/// The variable that names the folder a program built with `go build -cover` writes to.
const GOCOVERDIR: &str = "GOCOVERDIR";

/// The longest name that the kernel takes for a host.
const HOSTNAME_LENGTH: usize = 63;

/// One container of one pod.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Container {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The pod's UID: tells a pod from a later one of the same name.
    pub uid: String,
    /// The container's name.
    pub container: String,
    /// The image as the manifest names it.
    pub image: String,
    /// The image as the node resolved it, with its digest.
    pub image_id: String,
    /// How often the kubelet has restarted the container.
    pub restarts: i32,
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{} container {}", self.namespace, self.pod, self.container)
    }
}

/// Where a container's counter files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CoverDir {
    /// This folder.
    Path(String),
    /// The container's own GOCOVERDIR, whose value the pod's spec does not give (it comes from a config map or
    /// the like): a shell in the container knows it.
    Env,
}

impl fmt::Display for CoverDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Env => f.write_str("$GOCOVERDIR"),
        }
    }
}

/// What a container's folder of counter files lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoverVolume {
    /// On no volume: a restart of the container empties it.
    None,
    /// An emptyDir: it lasts as long as the pod.
    EmptyDir,
    /// A folder of the node: it outlasts the pod, and pods of the node may share it.
    HostPath,
    /// A PersistentVolumeClaim: it outlasts the pod, and pods may share it.
    Claim,
    /// Another kind of volume.
    Other,
    /// The pod's spec does not give the folder's path.
    Unknown,
}

/// A running container that may hold counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which container.
    pub container: Container,
    /// Its folder of counter files.
    pub dir: CoverDir,
    /// What that folder lies on.
    pub volume: CoverVolume,
    /// Other containers of the pod, or the node itself, share its process IDs: its shell sees their processes too.
    pub shares_process_ids: bool,
    /// Where its podcov-agent would answer, unless the container says that none does.
    pub agent: Option<AgentPort>,
    /// Which processes it has had.
    pub history: History,
    /// The host's name in the pod. `None` for a pod on the host's network: it has the node's.
    pub hostname: Option<String>,
}

impl Target {
    /// Whether the container's spec speaks of a podcov-agent.
    #[must_use]
    pub fn expects_agent(&self) -> bool {
        self.agent.is_some_and(|agent| agent.expected)
    }
}

/// The control endpoint of a podcov-agent in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentPort {
    /// On the pod's loopback interface.
    pub port: u16,
    /// The container's spec speaks of it. It may be there without that, as an image's entrypoint.
    pub expected: bool,
    /// What answers there cannot be another container's.
    pub sure: bool,
}

/// Why a pod or container of the run was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The pod is being deleted: it belongs to what the run replaced.
    Terminating,
    /// Nothing of it has started yet.
    Pending,
    /// No container of the pod has GOCOVERDIR, nor speaks of podcov-agent.
    NoCoverDir,
    /// The pod has run to its end: its files can no longer be read through exec.
    Completed,
    /// The container has GOCOVERDIR and is not running, for this reason.
    NotRunning(String),
    /// The container has GOCOVERDIR and has just ended; the kubelet is about to start it again.
    Restarting(String),
}

impl Why {
    /// Whether counters that this run wrote are out of reach.
    #[must_use]
    pub fn is_loss(&self) -> bool {
        matches!(self, Self::Completed | Self::NotRunning(_) | Self::Restarting(_))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Terminating => f.write_str("it is terminating"),
            Self::Pending => f.write_str("it has not started"),
            Self::NoCoverDir => f.write_str("no container has GOCOVERDIR or podcov-agent"),
            Self::Completed => f.write_str("it has completed, so its counter files are out of reach"),
            Self::NotRunning(reason) | Self::Restarting(reason) => {
                write!(f, "it is not running ({reason}), its counter files are out of reach")
            }
        }
    }
}

/// A pod, or a container of it, that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The container, where the rest of the pod was not passed over.
    pub container: Option<String>,
    /// Why.
    pub why: Why,
    /// Which container it is and which processes it has had, if it has ever run.
    pub history: Option<(Container, History)>,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{}", self.namespace, self.pod)?;
        if let Some(container) = &self.container {
            write!(f, " container {container}")?;
        }
        write!(f, " passed over: {}", self.why)
    }
}

impl Skipped {
    /// What was passed over, a line each for a person; those that lost nothing are told together.
    #[must_use]
    pub fn lines(skipped: &[Self]) -> Vec<String> {
        let (losses, harmless): (Vec<_>, Vec<_>) = skipped.iter().partition(|s| s.why.is_loss());
        let mut lines: Vec<String> = losses.into_iter().map(|s| format!("error: {s}")).collect();
        let mut by_reason: BTreeMap<String, Vec<&Self>> = BTreeMap::new();
        for one in harmless {
            by_reason.entry(one.why.to_string()).or_default().push(one);
        }
        for (why, pods) in by_reason {
            match pods[..] {
                [one] => lines.push(one.to_string()),
                [first, ..] => lines.push(format!(
                    "{} pods passed over, pod {}/{} the first of them: {why}",
                    pods.len(),
                    first.namespace,
                    first.pod
                )),
                [] => {}
            }
        }
        lines
    }
}

/// What happened to a container since it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It does not run any more, for this reason, and will not run again.
    Over(String),
    /// It does not run, for this reason; the kubelet starts it again.
    Restarting(String),
    /// It runs again.
    Restarted,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Over(what) | Self::Restarting(what) => f.write_str(what),
            Self::Restarted => f.write_str("the container was restarted"),
        }
    }
}

/// A namespace whose pods could not be listed, while those of others could.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unlisted {
    /// Its name.
    pub namespace: String,
    /// What the API server said.
    pub error: String,
}

impl fmt::Display for Unlisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "namespace {}: its pods are missing here: {}", self.namespace, self.error)
    }
}

/// What a scope holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Ordered by namespace, pod and container.
    pub targets: Vec<Target>,
    /// Ordered by namespace and pod.
    pub skipped: Vec<Skipped>,
    /// Ordered by name. Whatever they hold of the run is lost.
    pub unlisted: Vec<Unlisted>,
}

impl Found {
    /// Sorts one pod's containers into targets and what is passed over.
    pub fn add(&mut self, pod: &Pod, scope: &Scope) {
        let name = pod.name_any();
        if !scope.wants_pod(&name) {
            return;
        }
        let namespace = pod.namespace().unwrap_or_default();
        let skip = |container: Option<&str>, why| Skipped {
            namespace: namespace.clone(),
            pod: name.clone(),
            container: container.map(str::to_owned),
            why,
            history: None,
        };
        let candidates = candidates(pod, scope);
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Unknown");
        let whole_pod = if candidates.is_empty() {
            Some(Why::NoCoverDir)
        } else if pod.metadata.deletion_timestamp.is_some() {
            Some(Why::Terminating)
        } else {
            match phase {
                // A pod is pending for as long as any container of it has yet to start; others may run.
                "Pending"
                    if !candidates.iter().any(|(spec, ..)| has_run(container_status(pod, &spec.name))) =>
                {
                    Some(Why::Pending)
                }
                "Succeeded" | "Failed" => Some(Why::Completed),
                _ => None,
            }
        };
        if let Some(why) = whole_pod {
            self.skipped.push(skip(None, why));
            return;
        }
        for (spec, dir, agent) in candidates {
            let status = container_status(pod, &spec.name);
            let container = Container {
                namespace: namespace.clone(),
                pod: name.clone(),
                uid: pod.uid().unwrap_or_default(),
                container: spec.name.clone(),
                image: spec.image.clone().unwrap_or_default(),
                image_id: status.map(|s| s.image_id.clone()).unwrap_or_default(),
                restarts: status.map_or(0, |s| s.restart_count),
            };
            let history = History::of(pod, status);
            let ended = |why, history| Skipped {
                history: Some((container.clone(), history)),
                ..skip(Some(&spec.name), why)
            };
            match not_running(status) {
                Some(_) if phase == "Pending" && !has_run(status) => {
                    self.skipped.push(skip(Some(&spec.name), Why::Pending));
                }
                Some(reason) if restarts(pod, spec, status) => {
                    self.skipped.push(ended(Why::Restarting(reason), history));
                }
                Some(reason) => self.skipped.push(ended(Why::NotRunning(reason), history)),
                None => self.targets.push(Target {
                    container,
                    volume: cover_volume(pod, spec, &dir),
                    shares_process_ids: shares_process_ids(pod),
                    dir,
                    agent,
                    history,
                    hostname: hostname(pod),
                }),
            }
        }
    }
}

impl Cluster {
    /// Lists the scope's pods and sorts out the targets. A container that has just ended and will be started again,
    /// as after a signal that ends its program, is waited for: its pod's status lags a second or more behind.
    ///
    /// # Errors
    /// The API server's refusal, or that it could not be reached, when that is so for every namespace;
    /// [`Error::NotFound`] when none of them exists. Else they are in [`Found::unlisted`].
    pub async fn find_targets(&self, scope: &Scope) -> Result<Found, Error> {
        let deadline = Instant::now() + self.timeout();
        let mut pause = FIRST_LOOK;
        loop {
            let found = self.list_targets(scope).await?;
            let restarting = found.skipped.iter().any(|s| matches!(s.why, Why::Restarting(_)));
            if !restarting || Instant::now() >= deadline {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn list_targets(&self, scope: &Scope) -> Result<Found, Error> {
        let mut found = Found::default();
        match &scope.namespaces {
            None => {
                let everywhere = Api::all(self.client().clone());
                self.list_into(&mut found, everywhere, scope, "all namespaces").await?;
            }
            Some(namespaces) => {
                let lists = namespaces.iter().map(async |namespace| {
                    let mut found = Found::default();
                    let doing = format!("namespace {namespace}");
                    self.list_into(&mut found, self.api(namespace), scope, &doing).await?;
                    if found == Found::default() {
                        self.check_namespace(namespace).await?;
                    }
                    Ok::<_, Error>(found)
                });
                let mut first_error = None;
                let mut any_listed = false;
                for (namespace, part) in namespaces.iter().zip(join_all(lists).await) {
                    match part {
                        Ok(part) => {
                            any_listed = true;
                            found.targets.extend(part.targets);
                            found.skipped.extend(part.skipped);
                        }
                        Err(error) => {
                            let (namespace, error_text) = (namespace.clone(), error.to_string());
                            found.unlisted.push(Unlisted { namespace, error: error_text });
                            first_error.get_or_insert(error);
                        }
                    }
                }
                if let Some(error) = first_error.filter(|_| !any_listed) {
                    return Err(error);
                }
            }
        }
        let key = |c: &Container| (c.namespace.clone(), c.pod.clone(), c.container.clone());
        found.targets.sort_by_cached_key(|t| key(&t.container));
        found.skipped.sort_by_cached_key(|s| (s.namespace.clone(), s.pod.clone(), s.container.clone()));
        Ok(found)
    }

    /// The pods in the scope's namespaces that may hold counters but carry no run's label, as `namespace/pod`. None
    /// where the scope is no run's.
    ///
    /// # Errors
    /// As [`Self::find_targets`].
    pub async fn find_pods_of_no_run(&self, scope: &Scope) -> Result<Vec<(String, String)>, Error> {
        let Some(scope) = scope.of_no_run() else { return Ok(Vec::new()) };
        let found = self.list_targets(&scope).await?;
        let targets = found.targets.into_iter().map(|t| (t.container.namespace, t.container.pod));
        let others =
            found.skipped.into_iter().filter(|s| !matches!(s.why, Why::NoCoverDir | Why::Terminating));
        let mut pods: Vec<_> = targets.chain(others.map(|s| (s.namespace, s.pod))).collect();
        pods.sort();
        pods.dedup();
        Ok(pods)
    }

    /// The histories of the scope's containers as they are now: to see what has happened to them since they were found.
    /// A status may count a restart a moment before it says how the process before that ended, so this looks again for
    /// [`LAST_END_IN`]. With the namespaces whose pods could not be listed for that.
    ///
    /// # Errors
    /// As [`Self::find_targets`].
    pub async fn list_histories(
        &self,
        scope: &Scope,
    ) -> Result<(Vec<(Container, History)>, Vec<Unlisted>), Error> {
        let deadline = Instant::now() + LAST_END_IN;
        let mut pause = FIRST_LOOK;
        loop {
            let found = self.list_targets(scope).await?;
            let running = found.targets.into_iter().map(|target| (target.container, target.history));
            let all: Vec<_> =
                running.chain(found.skipped.into_iter().filter_map(|skipped| skipped.history)).collect();
            let whole = all.iter().all(|(_, history)| history.ended == 0 || history.last.is_some());
            if whole || Instant::now() >= deadline {
                return Ok((all, found.unlisted));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// What happened to a container since it was found, if anything did: for explaining a failure, and for telling
    /// whether another try may succeed.
    pub async fn what_became_of(&self, container: &Container) -> Option<Fate> {
        let pods: Api<Pod> = self.api(&container.namespace);
        let Ok(found) = self.ask("reading the pod", pods.get_opt(&container.pod)).await else { return None };
        let Some(pod) = found.filter(|pod| pod.uid().as_deref() == Some(&container.uid)) else {
            return Some(Fate::Over("the pod is gone".to_owned()));
        };
        if pod.metadata.deletion_timestamp.is_some() {
            return Some(Fate::Over("the pod is being deleted".to_owned()));
        }
        let status = container_status(&pod, &container.container);
        if let Some(reason) = not_running(status) {
            let what = format!("the container stopped running ({reason})");
            let spec =
                pod.spec.as_ref().and_then(|s| long_running(s).find(|c| c.name == container.container));
            let again = spec.is_some_and(|spec| restarts(&pod, spec, status) || is_waiting(status));
            return Some(if again { Fate::Restarting(what) } else { Fate::Over(what) });
        }
        (status?.restart_count > container.restarts).then_some(Fate::Restarted)
    }

    async fn list_into(
        &self,
        found: &mut Found,
        pods: Api<Pod>,
        scope: &Scope,
        place: &str,
    ) -> Result<(), Error> {
        let doing = format!("listing pods in {place}");
        let first = ListParams::default().labels(&scope.labels).limit(PAGE);
        let mut params = first.clone();
        loop {
            let page = match self.ask(&doing, pods.list(&params)).await {
                Ok(page) => page,
                // The list was so long under way that its continue token ran out: begin anew, without paging.
                Err(e) if e.is_gone() && params.continue_token.is_some() => {
                    *found = Found::default();
                    params = ListParams { limit: None, ..first.clone() };
                    continue;
                }
                Err(e) => return Err(e),
            };
            for pod in &page.items {
                found.add(pod, scope);
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = first.clone().continue_token(&token),
                None => return Ok(()),
            }
        }
    }

    /// A list in a namespace that does not exist is just empty; this tells the difference where the user may
    /// read namespaces.
    async fn check_namespace(&self, name: &str) -> Result<(), Error> {
        let namespaces: Api<Namespace> = Api::all(self.client().clone());
        match self.ask("reading the namespace", namespaces.get_opt(name)).await {
            Ok(None) => {
                Err(Error::NotFound(format!("namespace {name:?} not found in context {}", self.context())))
            }
            Ok(Some(_)) | Err(Error::Refused { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

/// The containers of a pod that are meant and have a folder for counters, sidecars included.
fn candidates<'a>(pod: &'a Pod, scope: &Scope) -> Vec<(&'a ContainerSpec, CoverDir, Option<AgentPort>)> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let candidate = |container: &'a ContainerSpec| {
        let agent = agent_port(container).map(|port| AgentPort { sure: is_sure(spec, port), ..port });
        let dir = cover_dir(container, scope);
        // The agent sets GOCOVERDIR for its program.
        let dir = dir.or_else(|| agent.filter(|agent| agent.expected).map(|_| CoverDir::Env));
        dir.map(|dir| (container, dir, agent))
    };
    long_running(spec).filter(|c| scope.wants_container(&c.name)).filter_map(candidate).collect()
}

/// Where podcov-agent would answer for a container: it takes the same variable and flag.
fn agent_port(container: &ContainerSpec) -> Option<AgentPort> {
    let variables = || container.env.iter().flatten();
    let words: Vec<&str> =
        container.command.iter().chain(&container.args).flatten().map(String::as_str).collect();
    let named = words.iter().position(|word| word.rsplit('/').next() == Some("podcov-agent"));
    // The agent's own flags end at the dashes; after them are the program and its arguments. Where the image's entrypoint
    // is the agent, the container's arguments may begin with flags of it.
    let dashes = words.iter().position(|word| *word == "--");
    let flags = match (named, dashes) {
        (Some(named), Some(dashes)) if named < dashes => &words[named..dashes],
        (Some(named), None) => &words[named..],
        (None, Some(dashes)) => &words[..dashes],
        _ => &[],
    };
    let after =
        |flag: &str| flags.iter().position(|word| *word == flag).and_then(|at| flags.get(at + 1).copied());
    let control = flags
        .iter()
        .find_map(|word| word.strip_prefix("--control="))
        .or_else(|| after("--control"))
        .or_else(|| variables().rfind(|v| v.name == CONTROL)?.value.as_deref())
        // What is set and empty is not set, as for the agent.
        .filter(|address| !address.is_empty());
    let port = match control.map(str::parse) {
        Some(Ok(ControlAddress::At(address))) => address.port(),
        // The agent refuses what is no address, and does not start.
        Some(Ok(ControlAddress::Off) | Err(_)) => return None,
        None => DEFAULT_PORT,
    };
    let expected =
        named.is_some() || variables().any(|v| v.name.starts_with("PODCOV_") || v.name == "INTEGCOV_STORAGE");
    Some(AgentPort { port, expected, sure: false })
}

/// Whether one container alone can be what answers on a port: containers of a pod share its addresses.
fn is_sure(spec: &PodSpec, agent: AgentPort) -> bool {
    let same = |other: &AgentPort| other.port == agent.port && (other.expected || !agent.expected);
    long_running(spec).filter_map(agent_port).filter(same).count() == 1
}

/// The host's name in a pod with a network of its own.
fn hostname(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if spec.host_network == Some(true) {
        return None;
    }
    let name =
        spec.hostname_override.as_ref().or(spec.hostname.as_ref()).cloned().unwrap_or_else(|| pod.name_any());
    // Longer ones are cut, as the kubelet does: `truncatePodHostnameIfNeeded`.
    Some(name.get(..HOSTNAME_LENGTH).map_or(name.clone(), |cut| cut.trim_end_matches(['-', '.']).to_owned()))
}

/// Init containers proper have ended when the pod runs; those with `restartPolicy: Always` are sidecars.
fn long_running(spec: &PodSpec) -> impl Iterator<Item = &ContainerSpec> {
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    sidecars.chain(&spec.containers)
}

fn cover_dir(container: &ContainerSpec, scope: &Scope) -> Option<CoverDir> {
    if let Some(dir) = scope.coverdir() {
        return Some(CoverDir::Path(dir.to_owned()));
    }
    let variable = container.env.iter().flatten().rfind(|v| v.name == GOCOVERDIR)?;
    match &variable.value {
        // `$(NAME)` and `$$` are expanded by the kubelet, so only the container knows the value.
        Some(value) if value.contains("$(") || value.contains("$$") => Some(CoverDir::Env),
        Some(value) if value.is_empty() && variable.value_from.is_none() => None,
        Some(value) if !value.is_empty() => Some(CoverDir::Path(value.clone())),
        _ => Some(CoverDir::Env),
    }
}

fn container_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.container_statuses.iter().chain(&status.init_container_statuses);
    all.flatten().find(|s| s.name == name)
}

/// Whether a container has ever been started.
fn has_run(status: Option<&ContainerStatus>) -> bool {
    let states = status.into_iter().flat_map(|status| status.state.iter().chain(&status.last_state));
    states.into_iter().any(|state| state.running.is_some() || state.terminated.is_some())
}

/// Whether a container that does not run has just ended, and the kubelet will start it again at once.
fn restarts(pod: &Pod, spec: &ContainerSpec, status: Option<&ContainerStatus>) -> bool {
    let ended = status.and_then(|s| s.state.as_ref()).and_then(|s| s.terminated.as_ref());
    let of_pod = pod.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
    match (ended, spec.restart_policy.as_deref().or(of_pod)) {
        (Some(_), Some("Always") | None) => true,
        (Some(ended), Some("OnFailure")) => ended.exit_code != 0,
        _ => false,
    }
}

/// Whether the kubelet is about to start a container, at once or after a pause.
fn is_waiting(status: Option<&ContainerStatus>) -> bool {
    status.and_then(|s| s.state.as_ref()).is_some_and(|state| state.waiting.is_some())
}

/// Whether a container sees processes of others.
fn shares_process_ids(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.host_pid == Some(true) || spec.share_process_namespace == Some(true))
}

/// What the folder of counter files lies on: the volume whose mount path is the longest that leads to it.
fn cover_volume(pod: &Pod, container: &ContainerSpec, dir: &CoverDir) -> CoverVolume {
    let CoverDir::Path(dir) = dir else { return CoverVolume::Unknown };
    // What else is in a path that begins at the root leads nowhere else than its names say, but for `..`.
    let dir = Path::new(dir);
    if !dir.has_root() || dir.components().any(|part| part == Component::ParentDir) {
        return CoverVolume::Unknown;
    }
    let mounts = container.volume_mounts.iter().flatten();
    let covering = mounts.filter(|mount| dir.starts_with(&mount.mount_path));
    let Some(mount) = covering.max_by_key(|mount| Path::new(&mount.mount_path).components().count()) else {
        return CoverVolume::None;
    };
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    match volumes.into_iter().find(|volume| volume.name == mount.name) {
        Some(Volume { empty_dir: Some(_), .. }) => CoverVolume::EmptyDir,
        Some(Volume { host_path: Some(_), .. }) => CoverVolume::HostPath,
        Some(Volume { persistent_volume_claim: Some(_), .. }) => CoverVolume::Claim,
        _ => CoverVolume::Other,
    }
}

/// Why a container does not run, if it does not.
fn not_running(status: Option<&ContainerStatus>) -> Option<String> {
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

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
