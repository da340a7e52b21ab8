//! Finding the run's targets: the running containers that may hold counters, and what was skipped.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Namespace, Pod};
use kube::{Api, ResourceExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::agent_port::{AgentPort, agent_port, is_sidecar, is_sure, sidecar};
use crate::coverdir::{CoverDir, cover_dir, cover_volume};
use crate::pod::{
    container_status, has_run, hostname, long_running, not_running, restarts, shares_process_ids, uid_inside,
};
use crate::skipped::{Skipped, Why};
use crate::target::{Container, Target};
use crate::watch::PodWatch;
use crate::{Cluster, Error, History, Pauses, Scope};

/// The pauses before pods are listed again where they cannot be watched.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(200), 2, Duration::from_secs(2));

/// How long a pod's status may take to say how a container's last process ended.
const LAST_END_IN: Duration = Duration::from_secs(10);

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

impl Found {
    fn sort(&mut self) {
        let key = |c: &Container| (c.namespace.clone(), c.pod.clone(), c.container.clone());
        self.targets.sort_by_cached_key(|t| key(&t.container));
        self.skipped.sort_by_cached_key(|s| (s.namespace.clone(), s.pod.clone(), s.container.clone()));
    }

    /// Sorts one pod's containers into targets and what is skipped.
    pub fn add(&mut self, pod: &Pod, scope: &Scope) {
        let name = pod.name_any();
        if !scope.wants_pod(&name) {
            return;
        }
        let namespace = pod.namespace().unwrap_or_default();
        let skip = |container: Option<&str>, why| Skipped {
            namespace: namespace.clone(),
            pod: name.clone(),
            uid: pod.uid().unwrap_or_default(),
            container: container.map(str::to_owned),
            why,
            history: None,
        };
        let candidates = candidates(pod, scope);
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Unknown");
        let sidecar = pod.spec.as_ref().and_then(sidecar).filter(|_| scope.by_sidecar);
        let may_have_files =
            sidecar.is_some() || candidates.iter().any(|(_, dir, _)| *dir != CoverDir::Unset);
        let whole_pod = if candidates.is_empty() {
            Some(if scope.all_containers { Why::NoContainer } else { Why::NoCoverDir })
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
                "Succeeded" | "Failed" if may_have_files => Some(Why::Completed),
                "Succeeded" | "Failed" => Some(Why::NoProcess),
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
            let ended = |why| Skipped {
                history: Some((container.clone(), history.clone())),
                ..skip(Some(&spec.name), why)
            };
            // One that has a podcov-agent itself is not asked of another.
            let sidecar = sidecar.clone().filter(|_| !agent.is_some_and(|agent| agent.expected));
            let target = |dir: CoverDir, runs| Target {
                container: container.clone(),
                volume: cover_volume(pod, spec, &dir),
                shares_process_ids: shares_process_ids(pod),
                dir,
                agent,
                sidecar: sidecar.clone(),
                runs,
                history: history.clone(),
                uid_inside: uid_inside(pod),
                hostname: hostname(pod),
            };
            match not_running(status) {
                Some(_) if phase == "Pending" && !has_run(status) => {
                    self.skipped.push(skip(Some(&spec.name), Why::Pending));
                }
                // What it has counted its sidecar has.
                Some(_) if sidecar.is_some() => self.targets.push(target(dir, false)),
                Some(_) if dir == CoverDir::Unset && !restarts(pod, spec, status) => {
                    self.skipped.push(skip(Some(&spec.name), Why::NoProcess));
                }
                Some(reason) if restarts(pod, spec, status) => {
                    self.skipped.push(ended(Why::Restarting(reason)));
                }
                Some(reason) => self.skipped.push(ended(Why::NotRunning(reason))),
                None => self.targets.push(target(dir, true)),
            }
        }
    }
}

impl Cluster {
    /// Finds the scope's targets. A container that has just ended and will be started again, as after a signal that ends
    /// its program, is waited for: its pod's status lags a second or more behind.
    ///
    /// # Errors
    /// The API server's refusal, or that it could not be reached, when that is so for every namespace;
    /// [`Error::NotFound`] when none of them exists. Else they are in [`Found::unlisted`].
    pub async fn find_targets(&self, scope: &Scope) -> Result<Found, Error> {
        let restarting = |skipped: &Skipped| matches!(skipped.why, Why::Restarting(_));
        self.find(scope, |found| !found.skipped.iter().any(restarting), self.timeout()).await
    }

    /// The pods in the scope's namespaces that may hold counters but carry no run's label, as `namespace/pod`. None
    /// where the scope is no run's.
    ///
    /// # Errors
    /// As [`Self::find_targets`].
    pub async fn find_pods_of_no_run(&self, scope: &Scope) -> Result<Vec<(String, String)>, Error> {
        let Some(scope) = scope.of_no_run() else { return Ok(Vec::new()) };
        let found = self.find(&scope, |_| true, Duration::ZERO).await?;
        let targets = found.targets.into_iter().map(|t| (t.container.namespace, t.container.pod));
        let others =
            found.skipped.into_iter().filter(|s| !matches!(s.why, Why::NoCoverDir | Why::Terminating));
        let mut pods: Vec<_> = targets.chain(others.map(|s| (s.namespace, s.pod))).collect();
        pods.sort();
        pods.dedup();
        Ok(pods)
    }

    /// The histories of the scope's containers as they are now: to see what has happened to them since they were found.
    /// A status may count a restart a moment before it says how the process before that ended, so this waits for that
    /// for [`LAST_END_IN`]. With the namespaces whose pods could not be listed for that.
    ///
    /// # Errors
    /// As [`Self::find_targets`].
    pub async fn list_histories(
        &self,
        scope: &Scope,
    ) -> Result<(Vec<(Container, History)>, Vec<Unlisted>), Error> {
        let is_whole = |history: &History| history.ended == 0 || history.last.is_some();
        let all_whole = |found: &Found| {
            let running = found.targets.iter().map(|target| &target.history);
            let skipped = found.skipped.iter().filter_map(|skipped| skipped.history.as_ref());
            running.chain(skipped.map(|(_, history)| history)).all(is_whole)
        };
        let found = self.find(scope, all_whole, LAST_END_IN).await?;
        let running = found.targets.into_iter().map(|target| (target.container, target.history));
        let skipped = found.skipped.into_iter().filter_map(|skipped| skipped.history);
        Ok((running.chain(skipped).collect(), found.unlisted))
    }

    /// Lists the scope's pods and sorts them; then watches them until they are as they have to be, or `at_most` so long.
    async fn find(
        &self,
        scope: &Scope,
        is_settled: impl Fn(&Found) -> bool,
        at_most: Duration,
    ) -> Result<Found, Error> {
        let deadline = Instant::now() + at_most;
        let mut pauses = PAUSES;
        loop {
            let (mut watches, unlisted) = self.list(scope).await?;
            loop {
                let mut found = Found { unlisted: unlisted.clone(), ..Found::default() };
                // A pod may be in several sets.
                let mut added = HashSet::new();
                for pod in watches.iter().flat_map(|watch| watch.known().state()) {
                    if added.insert(pod.uid()) {
                        found.add(&pod, scope);
                    }
                }
                found.sort();
                if is_settled(&found) || Instant::now() >= deadline {
                    return Ok(found);
                }
                let changes = select_all(watches.iter_mut().map(|watch| Box::pin(watch.next())));
                match timeout_at(deadline, changes).await {
                    Ok((Ok(()), ..)) => {}
                    Ok((Err(error), ..)) => {
                        tracing::info!("{error}; listing the pods again");
                        break;
                    }
                    Err(_) => return Ok(found),
                }
            }
            sleep_until(deadline.min(Instant::now() + pauses.next_length())).await;
        }
    }

    /// Lists the scope's pods, one watch for each of its sets that could be listed, at least one.
    pub(crate) async fn list(&self, scope: &Scope) -> Result<(Vec<PodWatch>, Vec<Unlisted>), Error> {
        let lists = scope.sets.iter().map(async |set| {
            let mut pods = PodWatch::new(self, set, format!("listing pods in {}", set.place()));
            pods.list().await?;
            if let Some(namespace) = set.namespace.as_ref().filter(|_| pods.known().is_empty()) {
                self.check_namespace(namespace).await?;
            }
            Ok::<_, Error>(pods)
        });
        let (mut watches, mut unlisted, mut first_error) =
            (Vec::<PodWatch>::new(), Vec::<Unlisted>::new(), None);
        for (set, listed) in scope.sets.iter().zip(join_all(lists).await) {
            match (listed, &set.namespace) {
                (Ok(pods), _) => watches.push(pods),
                (Err(error), None) => return Err(error),
                (Err(error), Some(namespace)) => {
                    if unlisted.iter().all(|one| one.namespace != *namespace) {
                        unlisted.push(Unlisted { namespace: namespace.clone(), error: error.to_string() });
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error.filter(|_| watches.is_empty()) {
            Some(error) => Err(error),
            None => Ok((watches, unlisted)),
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
pub(crate) fn candidates<'a>(
    pod: &'a Pod,
    scope: &Scope,
) -> Vec<(&'a ContainerSpec, CoverDir, Option<AgentPort>)> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let has_sidecar = scope.by_sidecar && sidecar(spec).is_some();
    let candidate = |container: &'a ContainerSpec| {
        let agent = agent_port(container).map(|port| AgentPort { sure: is_sure(spec, port), ..port });
        let dir = cover_dir(container, scope);
        // The agent sets GOCOVERDIR for its program.
        let dir = dir.or_else(|| agent.filter(|agent| agent.expected).map(|_| CoverDir::Env));
        let dir = dir.or_else(|| (scope.all_containers || has_sidecar).then_some(CoverDir::Unset));
        dir.map(|dir| (container, dir, agent))
    };
    let meant = long_running(spec).filter(|c| scope.wants_container(&c.name) && !is_sidecar(c));
    meant.filter_map(candidate).collect()
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
