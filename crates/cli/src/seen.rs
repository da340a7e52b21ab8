//! The pods with counters that podcov-test has seen, for podcov-collect: the API server forgets a pod that is deleted.
//!
//! Each podcov-test has a note of its own in the run's state folder, so that several can run at a time and none overwrites
//! what another has written. The podcov-collects of a run have one note, which each changes under a lock. A file is
//! replaced as a whole, and only while it names podcov in itself.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::deferred::{RunState, is_absent, make_folder, read, replace};

/// The file that a podcov-collect has locked while it changes the note. It is empty and stays: one that waits for the lock
/// would get that of a removed file.
const LOCK: &str = ".podcov-collect.lock";

/// What marks a note of podcov-test's. Another version of the format gets another text.
const KIND: &str = "podcov seen pods 3";

/// What marks the podcov-collects' note.
const COLLECT_KIND: &str = "podcov collected pods 1";

const NOT_TESTS: &str = "was not written by this version of podcov-test";
const NOT_COLLECTS: &str = "was not written by this version of podcov-collect";

/// The pods that one podcov-test has seen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenPods {
    kind: String,
    /// When that podcov-test began.
    pub started: SystemTime,
    /// Until when that podcov-test has certainly watched: its end, or if that is not noted, when it wrote the note.
    pub until: SystemTime,
    /// That podcov-test has ended, so it does not write the note any more.
    pub ended: bool,
    /// The pods. [`SeenPods::write`] makes a change last.
    pub pods: Vec<SeenPod>,
    #[serde(skip)]
    file: PathBuf,
    #[serde(skip)]
    is_written: bool,
}

/// A pod that held counters while tests ran, or may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// Its host name, unless it has the node's.
    pub hostname: Option<String>,
    /// Its containers with a folder for counters.
    pub containers: Vec<String>,
    /// Its other containers, which may have counted in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// One of them writes to a volume that outlasts the pod.
    pub has_lasting_volume: bool,
    /// It was deleted while the tests ran.
    pub deleted: bool,
}

/// What the podcov-collects of a run have settled of the pods that its podcov-tests have seen.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CollectNote {
    kind: String,
    /// By the pods' UIDs and the containers' names.
    pods: BTreeMap<String, BTreeMap<String, Settled>>,
}

/// When what was done about a container.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settled {
    /// It was collected, or there is nothing more to report about it.
    collected: Option<SystemTime>,
    /// It was named as lost for the first time.
    told: Option<SystemTime>,
}

impl RunState {
    /// For a podcov-test that begins now. Nothing is written yet.
    #[must_use]
    pub fn see_pods(&self) -> SeenPods {
        let started = SystemTime::now();
        SeenPods {
            kind: KIND.to_owned(),
            started,
            until: started,
            ended: false,
            pods: Vec::new(),
            file: self.new_note(started),
            is_written: false,
        }
    }

    /// What each podcov-test of the run has seen, in the order of their starts, and an error for each note that cannot be
    /// read or is not podcov's.
    #[must_use]
    pub fn seen_pods(&self) -> (Vec<SeenPods>, Vec<io::Error>) {
        let files = match self.notes() {
            Ok(files) => files,
            Err(error) => return (Vec::new(), vec![error]),
        };
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            match read(&file, NOT_TESTS, |note: &SeenPods| note.kind == KIND) {
                Ok(Some(note)) => all.push(SeenPods { file, is_written: true, ..note }),
                // A podcov-collect has removed it since.
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        all.sort_by_key(|one| one.started);
        (all, errors)
    }

    /// What the podcov-collects of the run have settled. To be read before [`Self::seen_pods`]: the podcov-collect that
    /// settles the last pod of a note removes both.
    ///
    /// # Errors
    /// When the note cannot be read or is not podcov's.
    pub fn collect_note(&self) -> io::Result<CollectNote> {
        let is_ours = |note: &CollectNote| note.kind == COLLECT_KIND;
        let note = read(&self.collected(), NOT_COLLECTS, is_ours)?;
        Ok(note.unwrap_or_else(|| CollectNote { kind: COLLECT_KIND.to_owned(), pods: BTreeMap::new() }))
    }

    /// Has `change` change what the podcov-collects of the run have settled; another podcov-collect waits meanwhile. Where
    /// there is no note at all, nothing is changed.
    ///
    /// # Errors
    /// When `change` fails, or the note cannot be read or written.
    pub fn change_collect_note(
        &self,
        change: impl FnOnce(&mut CollectNote) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = self.collected();
        if !file.exists() && self.notes()?.is_empty() {
            return Ok(());
        }
        // The folder may be the user's, and so may the file: its content stays.
        let lock =
            fs::OpenOptions::new().write(true).create(true).truncate(false).open(self.dir.join(LOCK))?;
        lock.file().lock()?;
        let mut note = self.collect_note()?;
        change(&mut note)?;
        match note.pods.is_empty() {
            true => remove(&file),
            false => write(&file, &note, file.exists()),
        }
    }

    fn collected(&self) -> PathBuf {
        self.dir.join(format!("collected-{}.json", self.name))
    }

    /// The file of a new note of podcov-test's. A run's name has no dot.
    fn new_note(&self, now: SystemTime) -> PathBuf {
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.dir.join(format!("pods-{}.{}.{}.json", self.name, since.as_nanos(), std::process::id()))
    }

    /// The files of the notes of the run's podcov-tests.
    fn notes(&self) -> io::Result<Vec<PathBuf>> {
        let prefix = format!("pods-{}.", self.name);
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        files.retain(|file| {
            let name = file.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".json"))
        });
        Ok(files)
    }
}

fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        // Another podcov-collect was faster.
        Err(error) if is_absent(&error) => Ok(()),
        removed => removed,
    }
}

fn write(file: &Path, note: &impl Serialize, is_written: bool) -> io::Result<()> {
    make_folder(file.parent().unwrap_or(Path::new(".")))?;
    replace(file, &serde_json::to_vec(note)?, is_written)
}

impl SeenPods {
    /// Writes the note, if there are pods.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&mut self) -> io::Result<()> {
        if self.pods.is_empty() {
            return Ok(());
        }
        self.until = SystemTime::now();
        write(&self.file, self, self.is_written)?;
        self.is_written = true;
        Ok(())
    }

    /// Writes the note for the last time.
    ///
    /// # Errors
    /// When that fails.
    pub fn end(mut self) -> io::Result<()> {
        self.ended = true;
        self.write()
    }

    /// Removes the note of a podcov-test that has ended.
    ///
    /// # Errors
    /// When that fails.
    pub fn remove(self) -> io::Result<()> {
        assert!(self.ended, "one that goes on writes its note again");
        remove(&self.file)
    }
}

impl CollectNote {
    /// Whether there is nothing to report about a container that a podcov-test saw, which began at `started`.
    #[must_use]
    pub fn is_settled(&self, uid: &str, container: &str, started: SystemTime) -> bool {
        let collected = self.of(uid, container).and_then(|settled| settled.collected);
        collected.is_some_and(|collected| collected >= started)
    }

    /// When a container was named as lost, if it was.
    #[must_use]
    pub fn told(&self, uid: &str, container: &str) -> Option<SystemTime> {
        self.of(uid, container).and_then(|settled| settled.told)
    }

    fn of(&self, uid: &str, container: &str) -> Option<&Settled> {
        self.pods.get(uid)?.get(container)
    }

    /// Notes that a container was collected at `now`, or that there is nothing more to report about it.
    pub fn settle(&mut self, uid: &str, container: &str, now: SystemTime) {
        let collected = &mut self.of_mut(uid, container).collected;
        *collected = (*collected).max(Some(now));
    }

    /// Notes that a container was named as lost at `now`, unless it was before.
    pub fn tell(&mut self, uid: &str, container: &str, now: SystemTime) {
        let told = &mut self.of_mut(uid, container).told;
        *told = Some(told.map_or(now, |before| before.min(now)));
    }

    fn of_mut(&mut self, uid: &str, container: &str) -> &mut Settled {
        self.pods.entry(uid.to_owned()).or_default().entry(container.to_owned()).or_default()
    }

    /// Removes the pods that none of `notes` has.
    pub fn prune(&mut self, notes: &[SeenPods]) {
        let has = |uid: &String| notes.iter().flat_map(|note| &note.pods).any(|pod| pod.uid == *uid);
        self.pods.retain(|uid, _| has(uid));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::StateArgs;

    fn state(dir: &Path, run_id: &str) -> RunState {
        StateArgs { state_dir: Some(dir.to_owned()), work_dir: None }.run(Some(run_id))
    }

    fn pod(uid: &str) -> SeenPod {
        let text = |text: &str| text.to_owned();
        SeenPod {
            namespace: text("shop"),
            pod: text("cart"),
            uid: text(uid),
            hostname: None,
            containers: vec![text("app")],
            others: Vec::new(),
            has_lasting_volume: false,
            deleted: false,
        }
    }

    fn seen(run: &RunState) -> Vec<SeenPods> {
        let (notes, errors) = run.seen_pods();
        assert!(errors.is_empty(), "{errors:?}");
        notes
    }

    #[test]
    fn each_podcov_test_of_a_run_has_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), "a");
        assert_eq!(seen(&run).len(), 0);
        let (mut first, mut second) = (run.see_pods(), run.see_pods());
        second.started += Duration::from_secs(1);
        second.pods.push(pod("2"));
        second.write().unwrap();
        first.write().unwrap();
        assert_eq!(seen(&run).len(), 1, "nothing was seen, nothing is written");
        first.pods.push(pod("1"));
        first.write().unwrap();
        first.pods[0].deleted = true;
        first.write().unwrap();
        for other in ["a-b", "b", "a_"] {
            assert_eq!(seen(&state(dir.path(), other)).len(), 0, "{other}");
        }
        let all = seen(&run);
        let pods: Vec<_> = all.iter().flat_map(|note| &note.pods).cloned().collect();
        assert_eq!(pods, [SeenPod { deleted: true, ..pod("1") }, pod("2")]);
        assert!(all.iter().all(|note| !note.ended));
        first.end().unwrap();
        second.end().unwrap();
        for one in seen(&run) {
            assert!(one.ended && one.until > all[0].until);
            one.remove().unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_note_that_cannot_be_read_hides_no_other_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), "a");
        let mut note = run.see_pods();
        note.pods.push(pod("1"));
        note.write().unwrap();
        let file = dir.path().join("pods-a.1.json");
        for text in ["", "{}", r#"{"kind":"podcov seen pods 2","started":0,"pods":[]}"#] {
            fs::write(&file, text).unwrap();
            let (notes, errors) = run.seen_pods();
            assert_eq!((notes.len(), errors.len()), (1, 1));
            let error = errors[0].to_string();
            assert!(
                error.contains("pods-a.1.json was not written by this version of podcov-test"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
        fs::write(dir.path().join("collected-a.json"), "{}").unwrap();
        let error = run.collect_note().unwrap_err().to_string();
        assert!(
            error.contains("collected-a.json was not written by this version of podcov-collect"),
            "{error}"
        );
    }

    /// It goes between the listing of the folder and the reading.
    #[test]
    fn a_note_that_has_vanished_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read(&dir.path().join("gone.json"), NOT_TESTS, |_: &SeenPods| true).unwrap().is_none());
    }

    #[test]
    fn what_was_collected_before_the_tests_began_does_not_count_for_them() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), "a");
        let (early, late) = (SystemTime::UNIX_EPOCH, SystemTime::now());
        let mut test = run.see_pods();
        test.pods.push(pod("1"));
        test.write().unwrap();
        let settled = run.change_collect_note(|note| {
            note.settle("1", "app", late);
            note.settle("1", "app", early);
            note.tell("1", "side", late);
            note.tell("1", "side", late + Duration::from_secs(1));
            note.settle("2", "app", late);
            note.prune(&[test]);
            Ok(())
        });
        settled.unwrap();
        let note = run.collect_note().unwrap();
        assert!(note.is_settled("1", "app", early) && note.is_settled("1", "app", late));
        assert!(!note.is_settled("1", "app", late + Duration::from_secs(1)));
        assert!(!note.is_settled("1", "side", early));
        assert_eq!(note.told("1", "side"), Some(late), "when it was named for the first time");
        assert!(!note.is_settled("2", "app", early), "no note has that pod");
        run.change_collect_note(|note| {
            note.prune(&[]);
            Ok(())
        })
        .unwrap();
        assert!(!dir.path().join("collected-a.json").exists());
    }

    #[test]
    fn without_a_note_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        state(dir.path(), "a").change_collect_note(|_| unreachable!("there is no note")).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// Each reads the note, and writes it after the others have.
    #[test]
    fn podcov_collects_that_run_at_a_time_lose_nothing_that_the_others_note() {
        const COLLECTS: usize = 8;
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), "a");
        let mut test = run.see_pods();
        test.pods.push(pod("1"));
        test.write().unwrap();
        let late = SystemTime::now();
        let changing = AtomicUsize::new(0);
        let all = Barrier::new(COLLECTS);
        std::thread::scope(|scope| {
            for number in 0..COLLECTS {
                let (run, changing, all) = (&run, &changing, &all);
                scope.spawn(move || {
                    all.wait();
                    let changed = run.change_collect_note(|note| {
                        assert_eq!(changing.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        note.settle("1", &number.to_string(), late);
                        std::thread::yield_now();
                        changing.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    });
                    changed.unwrap();
                });
            }
        });
        let note = run.collect_note().unwrap();
        assert!((0..COLLECTS).all(|number| note.is_settled("1", &number.to_string(), late)), "{note:?}");
    }
}
