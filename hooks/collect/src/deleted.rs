//! The pods that podcov-test saw and that have been deleted: what they had counted is lost, unless it was collected before.

use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

use podcov_cli::{RunState, SeenPod, SeenPods, say};
use podcov_cluster::{Found, Scope, Why};

use crate::NAME;
use crate::manifest::{Collected, Loss, LossOf, SkippedEntry};

/// The notes of a run's podcov-tests, and what they tell of pods that are gone.
#[derive(Default)]
pub(crate) struct DeletedPods {
    notes: Vec<SeenPods>,
    /// In the order of their names.
    fates: Vec<(SeenPod, Fate)>,
}

/// What became of a pod that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// What it had counted is lost.
    Lost,
    /// Its volume, whose older files count too, outlasts it.
    InVolume,
    /// It was replaced before the last podcov-test began, as by a new deployment.
    Replaced,
    /// An earlier podcov-collect has named it, and tests have run since.
    Told,
    /// Whether it is selected cannot be told without its labels.
    Unknown,
}

impl DeletedPods {
    /// What the run's podcov-tests saw.
    pub(crate) fn read(state: &RunState) -> Self {
        let notes = state.seen_pods().unwrap_or_else(|error| {
            say(NAME, format_args!("which pods were deleted during the run is not known: {error}"));
            Vec::new()
        });
        Self { notes, fates: Vec::new() }
    }

    /// Compares it with the pods that were `found`.
    pub(crate) fn look_up(&mut self, scope: &Scope, found: &Found, include_older: bool) {
        self.fates = fates(&self.notes, scope, found, include_older);
    }

    fn fate(&self, uid: &str) -> Option<Fate> {
        self.fates.iter().find(|(pod, _)| pod.uid == uid).map(|(_, fate)| *fate)
    }

    /// Whether a pod with this UID is one whose loss is named.
    pub(crate) fn has(&self, uid: &str) -> bool {
        self.fate(uid).is_some()
    }

    /// What is lost with them. In a report that is added to, what it has is `earlier`.
    pub(crate) fn losses(&self, accumulate: bool) -> Vec<Loss> {
        let lost = self.fates.iter().filter(|(_, fate)| *fate == Fate::Lost);
        lost.map(|(pod, _)| {
            let earlier = accumulate && pod.told.is_some();
            let but = if pod.has_lasting_volume {
                ", but for what it wrote to its volume (--include-older)"
            } else {
                ""
            };
            let (namespace, pod) = (pod.namespace.clone(), pod.pod.clone());
            let message =
                format!("pod {namespace}/{pod} was deleted during the run; what it had counted is lost{but}");
            Loss { of: Some(LossOf { namespace, pod, container: None }), earlier, ..Loss::new(message) }
        })
        .collect()
    }

    /// Those of which nothing of this report is lost.
    pub(crate) fn skipped(&self) -> Vec<SkippedEntry> {
        let entry = |(pod, fate): &(SeenPod, Fate)| {
            let reason = match fate {
                Fate::Lost | Fate::Told => return None,
                Fate::InVolume => "it was deleted during the run; what it wrote may be in its volume",
                Fate::Replaced => "it was deleted before the last tests of the run began",
                Fate::Unknown => "it was deleted during the run; whether --selector selects it is not known",
            };
            let (namespace, pod) = (pod.namespace.clone(), pod.pod.clone());
            Some(SkippedEntry { namespace, pod, container: None, reason: reason.to_owned() })
        };
        self.fates.iter().filter_map(entry).collect()
    }

    /// Takes what is `collected` or has been told out of the notes. What is lost stays in them, marked, until tests run
    /// again: a further report lacks it too.
    pub(crate) fn settle(mut self, collected: &[Collected]) {
        let now = SystemTime::now();
        let fates: BTreeMap<&str, Fate> =
            self.fates.iter().map(|(pod, fate)| (pod.uid.as_str(), *fate)).collect();
        for note in &mut self.notes {
            let before = note.pods().to_vec();
            note.pods_mut().retain_mut(|pod| match fates.get(pod.uid.as_str()) {
                Some(Fate::Lost) => {
                    pod.told.get_or_insert(now);
                    true
                }
                Some(Fate::Unknown) => true,
                Some(_) => false,
                None => !is_collected(pod, collected),
            });
            if before != note.pods()
                && let Err(error) = note.write()
            {
                say(
                    NAME,
                    format_args!("a later podcov-collect may name pods again that were named: {error}"),
                );
            }
        }
    }
}

fn is_collected(pod: &SeenPod, collected: &[Collected]) -> bool {
    pod.containers.iter().all(|container| {
        let has = |one: &Collected| !one.files.is_empty() || !one.shared.is_empty();
        // Storage does not know UIDs.
        let is_of_pod = |one: &Collected| match one.pod_uid.as_str() {
            "" => (&one.namespace, &one.pod) == (&pod.namespace, &pod.pod),
            uid => uid == pod.uid,
        };
        let is = |one: &Collected| is_of_pod(one) && one.container == *container;
        collected.iter().any(|one| is(one) && has(one))
    })
}

fn fates(notes: &[SeenPods], scope: &Scope, found: &Found, include_older: bool) -> Vec<(SeenPod, Fate)> {
    let there = found.targets.iter().map(|target| &target.container.uid);
    let skipped = found.skipped.iter().filter(|skipped| skipped.why != Why::Terminating);
    let there: HashSet<&String> = there.chain(skipped.map(|skipped| &skipped.uid)).collect();
    let is_meant = |pod: &SeenPod| {
        scope.wants_namespace(&pod.namespace)
            && found.unlisted.iter().all(|unlisted| unlisted.namespace != pod.namespace)
            && scope.wants_pod(&pod.pod)
            && pod.containers.iter().any(|container| scope.wants_container(container))
    };
    // The last note of a pod tells, and whether it was deleted while any of them was taken.
    let mut last: BTreeMap<&str, (usize, SeenPod)> = BTreeMap::new();
    for (number, note) in notes.iter().enumerate() {
        for pod in note.pods().iter().filter(|pod| is_meant(pod) && !there.contains(&pod.uid)) {
            let deleted = pod.deleted || last.get(pod.uid.as_str()).is_some_and(|(_, pod)| pod.deleted);
            last.insert(&pod.uid, (number, SeenPod { deleted, ..pod.clone() }));
        }
    }
    let fate = |number: usize, pod: &SeenPod| {
        let tests_since = number + 1 < notes.len();
        let told = pod.told.is_some_and(|told| notes.iter().any(|note| note.started() > told));
        match () {
            () if told => Fate::Told,
            () if !pod.deleted && tests_since => Fate::Replaced,
            () if !scope.selects_by_name() => Fate::Unknown,
            () if pod.has_lasting_volume && include_older => Fate::InVolume,
            () => Fate::Lost,
        }
    };
    let mut fates: Vec<(SeenPod, Fate)> = last
        .into_values()
        .map(|(number, pod)| {
            let fate = fate(number, &pod);
            (pod, fate)
        })
        .collect();
    let key = |pod: &SeenPod| (pod.namespace.clone(), pod.pod.clone(), pod.uid.clone());
    fates.sort_by_cached_key(|(pod, _)| key(pod));
    fates
}
