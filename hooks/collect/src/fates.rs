//! What the notes of a run's podcov-tests tell of what became of each pod.

use std::collections::{BTreeMap, HashSet};

use podcov_cli::{CollectNote, SeenPod, SeenPods};
use podcov_cluster::{Scope, Unlisted};
use podcov_storage::Fetched;

/// What became of a pod that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PodFate {
    /// What it had counted is lost; it may have been named before.
    Lost { told: bool },
    /// Its volume, whose older files count too, outlasts it.
    InVolume,
    /// It was replaced before the last podcov-test began, as by a new deployment.
    Replaced,
    /// An earlier podcov-collect has named it, and tests have run since.
    Told,
    /// Whether it is selected cannot be told without its labels.
    Unknown,
}

pub(crate) fn pods(notes: &[SeenPods]) -> impl Iterator<Item = &SeenPod> {
    notes.iter().flat_map(|note| &note.pods)
}

pub(crate) fn is_deleted(notes: &[SeenPods], uid: &str) -> bool {
    pods(notes).any(|pod| pod.uid == uid && pod.deleted)
}

/// Whether what is in storage by these names may be a pod's. podcov-agent takes the host's name for that of a pod, perhaps
/// with its domain, and `default` for the namespace, if nothing gives them.
pub(crate) fn is_of(pod: &SeenPod, namespace: &str, name: &str) -> bool {
    let is_host = |host: &String| {
        name.strip_prefix(host.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    (namespace == pod.namespace || namespace == "default")
        && (name == pod.pod || pod.hostname.as_ref().is_some_and(is_host))
}

/// The other pods that have, or had, the name of a pod.
fn namesakes<'n>(notes: &'n [SeenPods], pod: &'n SeenPod) -> impl Iterator<Item = &'n SeenPod> {
    let name = |pod: &'n SeenPod| (&pod.namespace, &pod.pod);
    pods(notes).filter(move |one| one.uid != pod.uid && name(one) == name(pod))
}

/// Whether another pod has its name, and may still run.
pub(crate) fn has_living_namesake(notes: &[SeenPods], pod: &SeenPod) -> bool {
    namesakes(notes, pod).any(|one| !is_deleted(notes, &one.uid))
}

/// Whether the program of the last start of one of a pod's containers had not ended at the last upload.
pub(crate) fn has_unfinished_upload<T>(pod: &SeenPod, fetched: &[Fetched<T>]) -> bool {
    let mut last = BTreeMap::new();
    for start in fetched.iter().filter(|start| is_of(pod, &start.origin.namespace, &start.origin.pod)) {
        let of_container = last.entry(&start.origin.container).or_insert(start);
        if of_container.origin.start < start.origin.start {
            *of_container = start;
        }
    }
    last.values().any(|start| start.open)
}

/// Whether a pod is deleted and another one has its name.
pub(crate) fn has_successor(notes: &[SeenPods], pod: &SeenPod) -> bool {
    is_deleted(notes, &pod.uid) && namesakes(notes, pod).next().is_some()
}

/// The containers of a note's pod that are not settled.
pub(crate) fn rest(note: &SeenPods, pod: &SeenPod, done: &CollectNote) -> Vec<String> {
    let is_open = |name: &&String| !done.is_settled(&pod.uid, name, note.started);
    pod.containers.iter().filter(is_open).cloned().collect()
}

/// Whether `later` began when the tests of `note` had ended, and saw pods in that namespace.
fn is_since(later: &SeenPods, note: &SeenPods, namespace: &str) -> bool {
    later.started > note.until && later.pods.iter().any(|pod| pod.namespace == namespace)
}

/// What is known of the pods by now.
pub(crate) struct View<'a> {
    /// The UIDs of those of which nothing is lost by their end: they are in the cluster, or may have uploaded.
    pub(crate) there: &'a HashSet<String>,
    /// The UIDs of those that are in the cluster, as far as is known.
    pub(crate) left: &'a HashSet<String>,
    pub(crate) unlisted: &'a [Unlisted],
    pub(crate) include_older: bool,
}

pub(crate) fn fates(
    notes: &[SeenPods],
    done: &CollectNote,
    scope: &Scope,
    view: &View,
) -> Vec<(SeenPod, PodFate)> {
    let is_meant = |pod: &SeenPod| {
        scope.wants_namespace(&pod.namespace)
            && view.unlisted.iter().all(|unlisted| unlisted.namespace != pod.namespace)
            && scope.wants_pod(&pod.pod)
    };
    // The last note of a pod tells, and whether it was deleted while any of them was taken.
    let mut last: BTreeMap<&str, (&SeenPods, SeenPod)> = BTreeMap::new();
    for note in notes {
        for pod in note.pods.iter().filter(|pod| is_meant(pod) && !view.there.contains(&pod.uid)) {
            let mut containers = rest(note, pod, done);
            containers.retain(|container| scope.wants_container(container));
            let deleted = pod.deleted || last.get(pod.uid.as_str()).is_some_and(|(_, pod)| pod.deleted);
            last.insert(&pod.uid, (note, SeenPod { deleted, containers, ..pod.clone() }));
        }
    }
    last.retain(|_, (_, pod)| !pod.containers.is_empty());
    let fate = |note: &SeenPods, pod: &SeenPod| {
        let told = pod.containers.iter().map(|container| done.told(&pod.uid, container));
        // That of one container may be news.
        let told = told.min().flatten();
        let in_namespace = |note: &SeenPods| -> HashSet<String> {
            let pods = note.pods.iter().filter(|one| one.namespace == pod.namespace);
            pods.map(|pod| pod.uid.clone()).collect()
        };
        let before = in_namespace(note);
        // Then it was deployed again, and what was deleted is of an earlier iteration.
        let all_are_new =
            |later: &SeenPods| before.is_disjoint(&in_namespace(later)) && before.is_disjoint(view.left);
        let is_replaced =
            |later: &SeenPods| is_since(later, note, &pod.namespace) && (!pod.deleted || all_are_new(later));
        match () {
            () if told.is_some_and(|told| notes.iter().any(|note| note.started > told)) => PodFate::Told,
            () if notes.iter().any(is_replaced) => PodFate::Replaced,
            () if !scope.selects_by_name() => PodFate::Unknown,
            () if pod.has_lasting_volume && view.include_older => PodFate::InVolume,
            () => PodFate::Lost { told: told.is_some() },
        }
    };
    let fates = last.into_values().map(|(note, pod)| {
        let fate = fate(note, &pod);
        (pod, fate)
    });
    let mut fates: Vec<_> = fates.collect();
    let key = |pod: &SeenPod| (pod.namespace.clone(), pod.pod.clone(), pod.uid.clone());
    fates.sort_by_cached_key(|(pod, _)| key(pod));
    fates
}
