//! The pods that podcov-test saw and that have been deleted: what they had counted is lost, unless it was collected before.

use std::collections::HashSet;
use std::io;
use std::time::SystemTime;

use podcov_cli::{CollectNote, RunState, SeenPod, SeenPods, say};
use podcov_cluster::{Found, Scope, Why};
use podcov_storage::{Fetched, Origin};

use crate::args::NAME;
use crate::fates::{
    PodFate, View, fates, has_living_namesake, has_successor, has_unfinished_upload, is_deleted, is_of, pods,
    rest,
};
use crate::manifest::{Collected, Loss, LossOf, Manifest, SkippedEntry};

/// What the notes of a run's podcov-tests tell of pods that are gone.
pub(crate) struct DeletedPods {
    began: SystemTime,
    /// Memory is read as well, so each container may have had counters.
    live: bool,
    notes: Vec<SeenPods>,
    /// None where it cannot be read.
    done: Option<CollectNote>,
    /// In the order of their names, each with the containers that were not collected.
    fates: Vec<(SeenPod, PodFate)>,
    /// It collects from storage.
    is_stored: bool,
    /// The UIDs of those that uploaded while their programs ran, and never after.
    unfinished: HashSet<String>,
    /// Why not all is known.
    unknown: Vec<io::Error>,
}

impl DeletedPods {
    /// What is known before the pods are found: what is noted later may not be among those.
    pub(crate) fn read(state: &RunState, live: bool) -> Self {
        let began = SystemTime::now();
        let done = state.collect_note();
        let (notes, mut unknown) = notes(state, live);
        let done = done.map_err(|error| unknown.push(error)).ok();
        let (fates, unfinished) = (Vec::new(), HashSet::new());
        Self { began, live, notes, done, fates, is_stored: false, unfinished, unknown }
    }

    /// Compares it with the pods that were `found`.
    pub(crate) fn look_up(&mut self, scope: &Scope, found: &Found, include_older: bool) {
        let there = found.targets.iter().map(|target| &target.container.uid);
        let skipped = found.skipped.iter().filter(|skipped| skipped.why != Why::Terminating);
        let there: HashSet<_> = there.chain(skipped.map(|skipped| &skipped.uid)).cloned().collect();
        self.judge(scope, &View { left: &there, there: &there, unlisted: &found.unlisted, include_older });
    }

    /// Compares it with what was `fetched` from storage. A pod that podcov-test did not see go may still run.
    pub(crate) fn look_up_stored<T>(&mut self, scope: &Scope, fetched: &[Fetched<T>]) {
        let has_uploaded =
            |pod| fetched.iter().any(|start| is_of(pod, &start.origin.namespace, &start.origin.pod));
        let (gone, may_come): (Vec<_>, Vec<_>) =
            pods(&self.notes).partition(|pod| is_deleted(&self.notes, &pod.uid));
        let (unfinished, finished): (Vec<_>, Vec<_>) = gone
            .into_iter()
            .filter(|pod| has_uploaded(pod))
            .partition(|pod| !has_living_namesake(&self.notes, pod) && has_unfinished_upload(pod, fetched));
        let there = may_come.into_iter().chain(finished).map(|pod| pod.uid.clone()).collect();
        let unfinished = unfinished.into_iter().map(|pod| pod.uid.clone()).collect();
        (self.is_stored, self.unfinished) = (true, unfinished);
        // Which pods are left in the cluster is not known: those that the last tests saw.
        let left = &HashSet::new();
        self.judge(scope, &View { there: &there, left, unlisted: &[], include_older: false });
    }

    fn judge(&mut self, scope: &Scope, view: &View) {
        if let Some(done) = &self.done {
            self.fates = fates(&self.notes, done, scope, view);
        }
    }

    /// Adds to a manifest what is lost with them, and prints that. `added_to` is the report to which this one adds.
    pub(crate) fn record(&self, manifest: &mut Manifest, added_to: Option<&Manifest>) {
        let (losses, skipped) = (self.losses(added_to), self.skipped());
        for loss in losses.iter().filter(|loss| !loss.earlier) {
            say(NAME, format_args!("error: {}", loss.message));
        }
        for SkippedEntry { namespace, pod, reason, .. } in &skipped {
            say(NAME, format_args!("pod {namespace}/{pod}: {reason}"));
        }
        manifest.losses.extend(losses);
        manifest.skipped.extend(skipped);
    }

    /// Whether it tells what became of the pod with this UID.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.fates.iter().any(|(pod, _)| pod.uid == uid)
    }

    /// Whether a start in storage is of a pod that uploaded while its program ran, and never after.
    pub(crate) fn has_unfinished(&self, origin: &Origin) -> bool {
        pods(&self.notes)
            .any(|pod| self.unfinished.contains(&pod.uid) && is_of(pod, &origin.namespace, &origin.pod))
    }

    /// What is lost with them.
    fn losses(&self, added_to: Option<&Manifest>) -> Vec<Loss> {
        let unknown = self
            .unknown
            .iter()
            .map(|error| Loss::new(format!("which pods were deleted during the run is not known: {error}")));
        let lost = self.fates.iter().filter_map(|(pod, fate)| {
            let PodFate::Lost { told } = fate else { return None };
            let what = match () {
                () if self.unfinished.contains(&pod.uid) => {
                    "was deleted before podcov-agent's last upload; what it counted since is lost"
                }
                () if pod.has_lasting_volume && !self.is_stored => {
                    "was deleted during the run; what it had counted is lost, but for what it wrote to its volume \
                     (--include-older)"
                }
                () => "was deleted during the run; what it had counted is lost",
            };
            let (namespace, pod) = (pod.namespace.clone(), pod.pod.clone());
            let message = format!("pod {namespace}/{pod} {what}");
            // A pod of a StatefulSet may be deleted once more: the report has that of its predecessor.
            let is_in = |report: &Manifest| report.losses.iter().any(|loss| loss.message == message);
            let earlier = *told && added_to.is_some_and(is_in);
            Some(Loss { of: Some(LossOf { namespace, pod, container: None }), earlier, ..Loss::new(message) })
        });
        unknown.chain(lost).collect()
    }

    /// Those of which nothing of this report is lost.
    fn skipped(&self) -> Vec<SkippedEntry> {
        let entry = |(pod, fate): &(SeenPod, PodFate)| {
            let reason = match fate {
                PodFate::Lost { .. } | PodFate::Told => return None,
                PodFate::InVolume => "it was deleted during the run; what it wrote may be in its volume",
                PodFate::Replaced => "it was deleted before the last tests of the run began",
                PodFate::Unknown => {
                    "it was deleted during the run; whether --selector selects it is not known"
                }
            };
            let (namespace, pod) = (pod.namespace.clone(), pod.pod.clone());
            Some(SkippedEntry { namespace, pod, container: None, reason: reason.to_owned() })
        };
        self.fates.iter().filter_map(entry).collect()
    }

    /// Notes what is `collected` or has been told. What is lost is settled only when tests have run again: a further report
    /// lacks it too.
    pub(crate) fn settle(&self, state: &RunState, manifest: &Manifest) {
        if let Err(error) = self.write(state, manifest) {
            say(NAME, format_args!("a later podcov-collect may name pods as lost that are not: {error}"));
        }
    }

    fn write(&self, state: &RunState, manifest: &Manifest) -> io::Result<()> {
        // As it is by now: podcov-test may have seen more, and another podcov-collect may have collected.
        state.change_collect_note(|done| {
            let (notes, unread) = notes(state, self.live);
            for pod in pods(&notes).filter(|pod| !self.unfinished.contains(&pod.uid)) {
                let is_collected = |name: &&String| is_collected(&notes, pod, name, manifest);
                for container in pod.containers.iter().filter(is_collected) {
                    done.settle(&pod.uid, container, self.began);
                }
            }
            let now = SystemTime::now();
            for (pod, fate) in &self.fates {
                for container in &pod.containers {
                    match fate {
                        PodFate::Lost { .. } => done.tell(&pod.uid, container, now),
                        PodFate::Unknown => {}
                        PodFate::InVolume | PodFate::Replaced | PodFate::Told => {
                            done.settle(&pod.uid, container, now);
                        }
                    }
                }
            }
            let is_done =
                |note: &SeenPods| note.ended && note.pods.iter().all(|pod| rest(note, pod, done).is_empty());
            let (settled, open): (Vec<_>, Vec<_>) = notes.into_iter().partition(is_done);
            // A note must not outlive what settles it.
            settled.into_iter().try_for_each(SeenPods::remove)?;
            // One that cannot be read now may be read again, and what is settled of its pods must be known then.
            if unread.is_empty() {
                done.prune(&open);
            }
            Ok(())
        })
    }
}

/// The notes of a run's podcov-tests about the pods with counters.
fn notes(state: &RunState, live: bool) -> (Vec<SeenPods>, Vec<io::Error>) {
    let (mut notes, unread) = state.seen_pods();
    for pods in notes.iter_mut().map(|note| &mut note.pods) {
        for pod in pods.iter_mut().filter(|_| live) {
            pod.containers.append(&mut pod.others);
        }
        pods.retain(|pod| !pod.containers.is_empty());
    }
    (notes, unread)
}

fn is_collected(notes: &[SeenPods], pod: &SeenPod, container: &str, manifest: &Manifest) -> bool {
    let has = |one: &Collected| !one.files.is_empty() || !one.shared.is_empty();
    let is_of_pod = |one: &Collected| match one.pod_uid.as_str() {
        // Storage does not know UIDs: what is there may be of the pod that has the name now, as in a StatefulSet.
        "" => is_of(pod, &one.namespace, &one.pod) && !has_successor(notes, pod),
        uid => uid == pod.uid,
    };
    let collected = manifest.containers.iter().filter(|one| has(one)).chain(&manifest.without_coverage);
    collected.into_iter().any(|one| is_of_pod(one) && one.container == container)
}

#[cfg(test)]
#[path = "deleted_tests.rs"]
mod tests;
