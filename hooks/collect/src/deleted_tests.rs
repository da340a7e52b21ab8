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
        let starts: Vec<_> = uploaded.iter().map(|&(namespace, pod)| (namespace, pod, 1, false)).collect();
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
        let found = Found { targets: vec![], skipped: there.iter().map(skipped).collect(), unlisted: vec![] };
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
    let scope = SelectArgs { run_id: Some("r".to_owned()), ..SelectArgs::default() }.scope("shop").unwrap();
    for (live, lost) in
        [(false, &[][..]), (true, &["pod shop/a was deleted during the run; what it had counted is lost"])]
    {
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
    assert_eq!(run.collect(&["--accumulate"], &["b"], &[("b", "app"), ("b", "side")], &mut None), NOTHING);
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
    let message = "pod shop/a was deleted before podcov-agent's last upload; what it counted since is lost";
    for _ in 0..2 {
        let (told, messages) =
            run.collect_starts(&[("shop", "a", 2, true), ("shop", "a", 1, false), ("shop", "b", 1, true)]);
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
