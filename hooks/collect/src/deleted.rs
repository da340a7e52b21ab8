//! The pods that podcov-test saw and that have been deleted: what they had counted is lost, unless it was collected before.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::time::SystemTime;

use podcov_cli::{CollectNote, RunState, SeenPod, SeenPods, say};
use podcov_cluster::{Found, Scope, Unlisted, Why};

use podcov_storage::{Fetched, Origin};

use crate::args::NAME;
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

/// What became of a pod that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PodFate {
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

fn pods(notes: &[SeenPods]) -> impl Iterator<Item = &SeenPod> {
    notes.iter().flat_map(|note| &note.pods)
}

fn is_deleted(notes: &[SeenPods], uid: &str) -> bool {
    pods(notes).any(|pod| pod.uid == uid && pod.deleted)
}

/// Whether what is in storage by these names may be a pod's. podcov-agent takes the host's name for that of a pod, perhaps
/// with its domain, and `default` for the namespace, if nothing gives them.
fn is_of(pod: &SeenPod, namespace: &str, name: &str) -> bool {
    let is_host = |host: &String| {
        name.strip_prefix(host.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    (namespace == pod.namespace || namespace == "default")
        && (name == pod.pod || pod.hostname.as_ref().is_some_and(is_host))
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

/// The other pods that have, or had, the name of a pod.
fn namesakes<'n>(notes: &'n [SeenPods], pod: &'n SeenPod) -> impl Iterator<Item = &'n SeenPod> {
    let name = |pod: &'n SeenPod| (&pod.namespace, &pod.pod);
    pods(notes).filter(move |one| one.uid != pod.uid && name(one) == name(pod))
}

/// Whether another pod has its name, and may still run.
fn has_living_namesake(notes: &[SeenPods], pod: &SeenPod) -> bool {
    namesakes(notes, pod).any(|one| !is_deleted(notes, &one.uid))
}

/// Whether the program of the last start of one of a pod's containers had not ended at the last upload.
fn has_unfinished_upload<T>(pod: &SeenPod, fetched: &[Fetched<T>]) -> bool {
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
fn has_successor(notes: &[SeenPods], pod: &SeenPod) -> bool {
    is_deleted(notes, &pod.uid) && namesakes(notes, pod).next().is_some()
}

/// The containers of a note's pod that are not settled.
fn rest(note: &SeenPods, pod: &SeenPod, done: &CollectNote) -> Vec<String> {
    let is_open = |name: &&String| !done.is_settled(&pod.uid, name, note.started);
    pod.containers.iter().filter(is_open).cloned().collect()
}

/// Whether `later` began when the tests of `note` had ended, and saw pods in that namespace.
fn is_since(later: &SeenPods, note: &SeenPods, namespace: &str) -> bool {
    later.started > note.until && later.pods.iter().any(|pod| pod.namespace == namespace)
}

/// What is known of the pods by now.
struct View<'a> {
    /// The UIDs of those of which nothing is lost by their end: they are in the cluster, or may have uploaded.
    there: &'a HashSet<String>,
    /// The UIDs of those that are in the cluster, as far as is known.
    left: &'a HashSet<String>,
    unlisted: &'a [Unlisted],
    include_older: bool,
}

fn fates(notes: &[SeenPods], done: &CollectNote, scope: &Scope, view: &View) -> Vec<(SeenPod, PodFate)> {
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use fs_err as fs;
    use podcov_cli::StateArgs;
    use podcov_cluster::{SelectArgs, Skipped};

    use super::*;
    use crate::manifest::SharedFiles;

    struct Run {
        dir: tempfile::TempDir,
        state: RunState,
    }

    /// A podcov-collect: what it lost, the pods that it skipped, and its exit code's being 0.
    type Told = (Vec<String>, Vec<String>, bool);

    impl Run {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let state = StateArgs { state_dir: Some(dir.path().to_owned()), work_dir: None }.run(Some("r"));
            Self { dir, state }
        }

        /// A podcov-test that sees these pods.
        fn test(&self, pods: &[(&str, bool)]) -> SeenPods {
            let mut note = self.state.see_pods();
            see(&mut note, pods);
            note
        }

        /// The notes.
        fn paths(&self) -> Vec<PathBuf> {
            let paths = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
            paths.filter(|path| !path.ends_with(".podcov-collect.lock")).collect()
        }

        /// A podcov-collect that finds in storage what was uploaded under these namespaces and pods' names.
        fn collect_stored(&self, uploaded: &[(&str, &str)]) -> Told {
            let starts: Vec<_> =
                uploaded.iter().map(|&(namespace, pod)| (namespace, pod, 1, false)).collect();
            self.collect_starts(&starts).0
        }

        /// With each start's time, and whether it is open. Gives the losses' messages too.
        fn collect_starts(&self, starts: &[(&str, &str, u64, bool)]) -> (Told, Vec<String>) {
            let start = |&(namespace, pod, start, open): &(&str, &str, u64, bool)| Fetched::<()> {
                origin: Origin {
                    run: "r".to_owned(),
                    namespace: namespace.to_owned(),
                    pod: pod.to_owned(),
                    container: "app".to_owned(),
                    start,
                },
                files: vec![],
                errors: vec![],
                open,
            };
            let fetched: Vec<_> = starts.iter().map(start).collect();
            let mut deleted = DeletedPods::read(&self.state, false);
            deleted.look_up_stored(&SelectArgs::default().stored_scope().unwrap(), &fetched);
            let container = |start: &Fetched<()>| Collected {
                shared: vec![SharedFiles { with: String::new(), files: vec![] }],
                ..Collected::of(&start.origin.namespace, &start.origin.pod, "app", String::new())
            };
            let collected: Vec<_> = fetched.iter().map(container).collect();
            let losses = deleted.losses(None);
            let manifest = Manifest { containers: collected, ..Manifest::default() };
            deleted.settle(&self.state, &manifest);
            let messages = losses.iter().map(|loss| loss.message.clone()).collect();
            (told(&deleted, losses, &mut None), messages)
        }

        /// A podcov-collect that finds these pods, and collects these containers. It ends with what it reports.
        fn collect(
            &self,
            more: &[&str],
            there: &[&str],
            collected: &[(&str, &str)],
            report: &mut Report,
        ) -> Told {
            self.collect_while(more, there, collected, report, || ())
        }

        fn collect_while(
            &self,
            more: &[&str],
            there: &[&str],
            collected: &[(&str, &str)],
            report: &mut Report,
            meanwhile: impl FnOnce(),
        ) -> Told {
            let (container, add) = match *more {
                ["-c", name] => (Some(name.to_owned()), false),
                ["-c", name, "--accumulate"] => (Some(name.to_owned()), true),
                ["--accumulate"] => (None, true),
                [] => (None, false),
                _ => unreachable!("{more:?}"),
            };
            let select = SelectArgs {
                namespaces: vec!["shop".to_owned()],
                run_id: Some("r".to_owned()),
                container,
                ..SelectArgs::default()
            };
            let scope = select.scope("shop").unwrap();
            let skipped = |uid: &&str| Skipped {
                namespace: "shop".to_owned(),
                pod: (*uid).to_owned(),
                uid: (*uid).to_owned(),
                container: None,
                why: Why::Pending,
                history: None,
            };
            let found =
                Found { targets: vec![], skipped: there.iter().map(skipped).collect(), unlisted: vec![] };
            let mut deleted = DeletedPods::read(&self.state, false);
            deleted.look_up(&scope, &found, false);
            let losses = deleted.losses(report.as_ref().filter(|_| add));
            meanwhile();
            let collected: Vec<Collected> = collected.iter().map(|(uid, name)| copied(uid, name)).collect();
            let manifest = Manifest { containers: collected, ..Manifest::default() };
            deleted.settle(&self.state, &manifest);
            told(&deleted, losses, report)
        }
    }

    fn told(deleted: &DeletedPods, losses: Vec<Loss>, report: &mut Report) -> Told {
        let mut manifest = Manifest::begin(None, "test");
        manifest.losses = losses;
        let done = manifest.exit() == podcov_exit::Exit::Done;
        let of = |loss: &Loss| loss.of.as_ref().map_or_else(|| loss.message.clone(), |of| of.pod.clone());
        let lost = manifest.losses.iter().map(of).collect();
        let skipped = deleted.skipped().into_iter().map(|entry| entry.pod).collect();
        *report = Some(manifest);
        (lost, skipped, done)
    }

    /// The last manifest.
    type Report = Option<Manifest>;

    /// Has a podcov-test note pods, each with whether it is deleted.
    fn see(note: &mut SeenPods, pods: &[(&str, bool)]) {
        let pod = |&(name, deleted): &(&str, bool)| SeenPod {
            namespace: "shop".to_owned(),
            pod: name.to_owned(),
            uid: name.to_owned(),
            hostname: None,
            containers: vec!["app".to_owned(), "side".to_owned()],
            others: Vec::new(),
            has_lasting_volume: false,
            deleted,
        };
        note.pods = pods.iter().map(pod).collect();
        note.write().unwrap();
    }

    fn copied(uid: &str, container: &str) -> Collected {
        let mut collected = Collected::of("shop", uid, container, String::new());
        uid.clone_into(&mut collected.pod_uid);
        collected.shared.push(SharedFiles { with: String::new(), files: Vec::new() });
        collected
    }

    fn lost(pods: &[&str]) -> Told {
        (owned(pods), vec![], false)
    }

    fn replaced(pods: &[&str]) -> Told {
        (vec![], owned(pods), true)
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const NOTHING: Told = (vec![], vec![], true);
    const WHOLE_A: [(&str, &str); 2] = [("a", "app"), ("a", "side")];

    /// What counts in memory alone is gone with its pod, and only who would have read it misses it.
    #[test]
    fn pods_without_a_folder_are_lost_where_memory_is_read() {
        let run = Run::new();
        let mut test = run.test(&[("a", true)]);
        let pod = &mut test.pods[0];
        pod.others = std::mem::take(&mut pod.containers);
        test.end().unwrap();
        let scope =
            SelectArgs { run_id: Some("r".to_owned()), ..SelectArgs::default() }.scope("shop").unwrap();
        for (live, lost) in [
            (false, &[][..]),
            (true, &["pod shop/a was deleted during the run; what it had counted is lost"]),
        ] {
            let mut deleted = DeletedPods::read(&run.state, live);
            deleted.look_up(&scope, &Found::default(), false);
            let losses: Vec<_> = deleted.losses(None).into_iter().map(|loss| loss.message).collect();
            assert_eq!(losses, lost, "{live}");
        }
    }

    /// As in a command of podcov-test's that replaces a pod.
    #[test]
    fn what_was_collected_while_the_tests_run_is_not_lost() {
        let run = Run::new();
        let mut test = run.test(&[("a", false)]);
        assert_eq!(run.collect(&[], &["a"], &WHOLE_A, &mut None), NOTHING);
        see(&mut test, &[("a", true), ("b", false)]);
        for _ in 0..2 {
            assert_eq!(run.collect(&["--accumulate"], &["b"], &[], &mut None), NOTHING);
        }
        test.end().unwrap();
        assert_eq!(
            run.collect(&["--accumulate"], &["b"], &[("b", "app"), ("b", "side")], &mut None),
            NOTHING
        );
        assert_eq!(run.paths().len(), 0, "all is settled, and nothing is left");
    }

    #[test]
    fn what_podcov_test_notes_during_the_transfers_stays() {
        let run = Run::new();
        let mut test = run.test(&[("a", false)]);
        let told = run.collect_while(&[], &["a"], &WHOLE_A, &mut None, || {
            see(&mut test, &[("a", false), ("b", true)]);
        });
        assert_eq!(told, NOTHING);
        test.end().unwrap();
        assert_eq!(run.collect(&[], &[], &[], &mut None), lost(&["b"]), "a was collected");
    }

    #[test]
    fn a_loss_is_earlier_only_in_a_report_that_has_it() {
        let run = Run::new();
        run.test(&[("a", true)]).end().unwrap();
        let (mut one, mut other) = (None, Some(Manifest::begin(None, "test")));
        assert_eq!(run.collect(&[], &[], &[], &mut one), lost(&["a"]));
        assert_eq!(run.collect(&["--accumulate"], &[], &[], &mut other), lost(&["a"]));
        let earlier = (owned(&["a"]), vec![], true);
        assert_eq!(run.collect(&["--accumulate"], &[], &[], &mut one), earlier);
        assert_eq!(run.collect(&["--accumulate"], &[], &[], &mut other), earlier);
    }

    #[test]
    fn only_tests_that_began_later_replace_a_pod() {
        let run = Run::new();
        let first = run.test(&[("a", false), ("b", false)]);
        let second = run.test(&[("b", false)]);
        first.end().unwrap();
        second.end().unwrap();
        assert_eq!(run.collect(&[], &["b"], &[], &mut None), lost(&["a"]), "they ran at the same time");

        let run = Run::new();
        run.test(&[("a", false), ("b", false)]).end().unwrap();
        run.test(&[("b", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &["b"], &[], &mut None), replaced(&["a"]));
        assert_eq!(run.collect(&[], &["b"], &[], &mut None), NOTHING, "that is said once");
    }

    #[test]
    fn an_unreadable_note_is_a_loss_and_hides_no_other() {
        let run = Run::new();
        run.test(&[("a", true)]).end().unwrap();
        fs::write(run.dir.path().join("pods-r.1.json"), "{").unwrap();
        let (lost, skipped, done) = run.collect(&[], &[], &[], &mut None);
        assert!(lost[0].starts_with("which pods were deleted during the run is not known: "), "{lost:?}");
        assert_eq!((lost[1].as_str(), lost.len(), skipped.len(), done), ("a", 2, 0, false));
    }

    /// As one of another version, which that version reads again.
    #[test]
    fn what_is_settled_outlives_a_note_that_cannot_be_read() {
        let run = Run::new();
        run.test(&[("a", false), ("b", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &["a", "b"], &WHOLE_A, &mut None), NOTHING);
        let is_note = |path: &PathBuf| path.to_str().unwrap().contains("/pods-r.");
        let note = run.paths().into_iter().find(is_note).unwrap();
        let text = fs::read(&note).unwrap();
        fs::write(&note, "{").unwrap();
        let (lost, ..) = run.collect(&[], &["b"], &[], &mut None);
        assert_eq!(lost.len(), 1, "only that the note cannot be read: {lost:?}");
        fs::write(&note, text).unwrap();
        assert_eq!(run.collect(&["--accumulate"], &["b"], &[], &mut None), NOTHING, "a was collected");
    }

    #[test]
    fn a_container_that_was_collected_is_not_lost_with_its_pod() {
        let run = Run::new();
        run.test(&[("a", false)]).end().unwrap();
        assert_eq!(run.collect(&["-c", "app"], &["a"], &[("a", "app")], &mut None), NOTHING);
        assert_eq!(run.collect(&["-c", "app", "--accumulate"], &[], &[], &mut None), NOTHING);
        assert_eq!(run.collect(&["--accumulate"], &[], &[], &mut None), lost(&["a"]), "its other container");
    }

    #[test]
    fn what_an_earlier_iteration_lost_is_not_of_a_new_deployment() {
        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        run.test(&[("c", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &["b", "c"], &[], &mut None), lost(&["a"]), "one is still there");

        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        run.test(&[("b", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &[], &[], &mut None), lost(&["a", "b"]), "both tested one deployment");

        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        run.test(&[("c", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &["c"], &[], &mut None), replaced(&["a", "b"]));
    }

    /// As Skaffold kills its hooks. Its note stays, and says what it saw until then.
    #[test]
    fn a_podcov_test_that_was_killed_has_noted_what_it_saw() {
        let run = Run::new();
        run.test(&[("a", true), ("b", false)]);
        for _ in 0..2 {
            assert_eq!(run.collect(&[], &["b"], &[], &mut None), lost(&["a"]));
        }
        run.test(&[("c", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &["c"], &[], &mut None), replaced(&["b"]), "a is told, b is of no use");
        assert_eq!(run.collect(&[], &["c"], &[("c", "app"), ("c", "side")], &mut None), NOTHING);
        assert_eq!(run.paths().len(), 2, "the note, and that all of it is settled");
    }

    #[test]
    fn a_loss_is_told_until_tests_run_again() {
        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        for _ in 0..2 {
            assert_eq!(run.collect(&[], &["b"], &[("b", "app"), ("b", "side")], &mut None), lost(&["a"]));
        }
        run.test(&[("b", false)]).end().unwrap();
        assert_eq!(run.collect(&[], &["b"], &[("b", "app"), ("b", "side")], &mut None), NOTHING);
        assert_eq!(run.paths().len(), 0);
    }

    /// podcov-agent knows the name that the kernel has for the host.
    #[test]
    fn a_pod_has_uploaded_under_its_name_or_its_hosts() {
        let collect_stored = |namespace, pod| {
            let run = Run::new();
            let mut note = run.test(&[("a", true)]);
            note.pods[0].hostname = Some("web-0".to_owned());
            note.end().unwrap();
            run.collect_stored(&[(namespace, pod)])
        };
        let web_0 = [("shop", "a"), ("shop", "web-0"), ("shop", "web-0.web.shop.svc"), ("default", "web-0")];
        for (namespace, pod) in web_0 {
            assert_eq!(collect_stored(namespace, pod), NOTHING, "{namespace}/{pod}");
        }
        for (namespace, pod) in [("other", "a"), ("shop", "web-01"), ("shop", "web")] {
            assert_eq!(collect_stored(namespace, pod), lost(&["a"]), "{namespace}/{pod}");
        }
    }

    #[test]
    fn what_a_pod_uploaded_is_not_its_predecessors_of_the_same_name() {
        let run = Run::new();
        let mut note = run.test(&[("old", true), ("new", false)]);
        note.pods.iter_mut().for_each(|pod| pod.pod = "db-0".to_owned());
        note.end().unwrap();
        assert_eq!(run.collect_stored(&[("shop", "db-0")]), NOTHING, "it may be of either");
        let note = run.state.collect_note().unwrap();
        let is_settled = |uid| note.is_settled(uid, "app", std::time::UNIX_EPOCH);
        assert_eq!([is_settled("old"), is_settled("new")], [false, true]);
    }

    #[test]
    fn what_a_pod_counted_after_its_last_upload_is_lost_with_it() {
        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        let message =
            "pod shop/a was deleted before podcov-agent's last upload; what it counted since is lost";
        for _ in 0..2 {
            let (told, messages) = run.collect_starts(&[
                ("shop", "a", 2, true),
                ("shop", "a", 1, false),
                ("shop", "b", 1, true),
            ]);
            assert_eq!((told, messages), (lost(&["a"]), owned(&[message])), "a further report lacks it too");
        }
        // Its container was killed, and started again.
        assert_eq!(run.collect_starts(&[("shop", "a", 1, true), ("shop", "a", 2, false)]).0, NOTHING);
    }

    #[test]
    fn an_open_upload_may_be_of_the_pod_that_has_the_name_now() {
        let run = Run::new();
        let mut note = run.test(&[("old", true), ("new", false)]);
        note.pods.iter_mut().for_each(|pod| pod.pod = "db-0".to_owned());
        note.end().unwrap();
        assert_eq!(run.collect_starts(&[("shop", "db-0", 1, true)]).0, NOTHING);
    }

    /// `--include-older` reads what is in the cluster.
    #[test]
    fn of_storage_no_flag_counts_what_is_in_a_volume() {
        let run = Run::new();
        let mut note = run.test(&[("a", true)]);
        note.pods[0].has_lasting_volume = true;
        note.end().unwrap();
        let (_, messages) = run.collect_starts(&[("shop", "b", 1, false)]);
        assert_eq!(messages, ["pod shop/a was deleted during the run; what it had counted is lost"]);
    }

    #[test]
    fn what_an_earlier_iteration_lost_is_not_of_a_new_deployment_in_storage_either() {
        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        run.test(&[("c", false)]).end().unwrap();
        assert_eq!(run.collect_stored(&[("shop", "c")]), replaced(&["a"]), "b may upload");

        let run = Run::new();
        run.test(&[("a", true), ("b", false)]).end().unwrap();
        run.test(&[("b", false)]).end().unwrap();
        assert_eq!(run.collect_stored(&[("shop", "b")]), lost(&["a"]), "both tested one deployment");
    }
}
