//! Notes the run's pods that hold counters while the tests run: of a pod that is deleted the API server keeps nothing,
//! and podcov-collect is to name what was lost with it.

use std::collections::{BTreeMap, HashSet};
use std::io;

use podcov_cli::{SeenPod, SeenPods};
use podcov_cluster::{Cluster, CoveredPod, Error, PodObserver, Scope};

/// Keeps the note up to date.
pub(crate) struct Recorder {
    pods: PodObserver,
    note: SeenPods,
}

impl Recorder {
    /// Lists the scope's pods: what was deleted before is none of this podcov-test's.
    pub(crate) async fn start(cluster: &Cluster, mut scope: Scope, note: SeenPods) -> Result<Self, Error> {
        // Whether podcov-collect will read memory is not known here.
        scope.all_containers = true;
        scope.by_sidecar = true;
        let pods = cluster.observe_pods(scope).await?;
        let mut recorder = Self { pods, note };
        recorder.record();
        Ok(recorder)
    }

    /// Keeps the note up to date for as long as this is awaited.
    pub(crate) async fn run(&mut self) -> std::convert::Infallible {
        loop {
            match self.pods.changed().await {
                Ok(()) => self.record(),
                Err(error) => tracing::info!("the run's pods: {error}"),
            }
        }
    }

    /// Notes that the tests have ended.
    pub(crate) fn finish(self) {
        said(self.note.end());
    }

    fn record(&mut self) {
        if update(&mut self.note.pods, self.pods.covered(), &self.pods.uids()) {
            said(self.note.write());
        }
    }
}

fn said(written: io::Result<()>) {
    if let Err(error) = written {
        tracing::warn!("pods that are deleted during the run will not be named: {error}");
    }
}

/// Adds the pods that are `covered` now, and marks those that are not `there` any more. Gives whether that changed
/// anything.
fn update(
    seen: &mut Vec<SeenPod>,
    covered: impl Iterator<Item = CoveredPod>,
    there: &HashSet<String>,
) -> bool {
    let before: BTreeMap<String, SeenPod> = seen.drain(..).map(|pod| (pod.uid.clone(), pod)).collect();
    let mut after = before.clone();
    for CoveredPod { namespace, name: pod, uid, hostname, containers, others, has_lasting_volume } in covered
    {
        let deleted = false;
        let now = SeenPod { namespace, pod, uid, hostname, containers, others, has_lasting_volume, deleted };
        after.insert(now.uid.clone(), now);
    }
    for pod in after.values_mut() {
        pod.deleted = !there.contains(&pod.uid);
    }
    let is_changed = before != after;
    seen.extend(after.into_values());
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_come_and_go() {
        let covered = |uid: &str| CoveredPod {
            namespace: "shop".to_owned(),
            // As a StatefulSet names them.
            name: "cart-0".to_owned(),
            uid: uid.to_owned(),
            hostname: None,
            containers: vec!["app".to_owned()],
            others: Vec::new(),
            has_lasting_volume: false,
        };
        let there = |uids: &[&str]| uids.iter().map(|uid| (*uid).to_owned()).collect();
        let mut seen = Vec::new();
        let mut changed = |covers: &[&str], others: &[&str]| {
            let all = [covers, others].concat();
            let is_changed = update(&mut seen, covers.iter().map(|uid| covered(uid)), &there(&all));
            let deleted: Vec<(String, bool)> =
                seen.iter().map(|one| (one.uid.clone(), one.deleted)).collect();
            (is_changed, deleted)
        };
        let (kept, gone) = (|uid: &str| (uid.to_owned(), false), |uid: &str| (uid.to_owned(), true));
        assert_eq!(changed(&[], &["plain", "terminating"]), (false, vec![]));
        assert_eq!(changed(&["a"], &["plain"]), (true, vec![kept("a")]));
        assert_eq!(changed(&["a"], &[]), (false, vec![kept("a")]));
        // It is terminating.
        assert_eq!(changed(&[], &["a"]), (false, vec![kept("a")]));
        assert_eq!(changed(&["b"], &[]), (true, vec![gone("a"), kept("b")]));
        assert_eq!(changed(&["b"], &[]), (false, vec![gone("a"), kept("b")]));
    }
}
