//! The pods with counters that podcov-test has seen, for podcov-collect: the API server forgets a pod that is deleted.
//!
//! Each podcov-test has a file of its own in the run's state folder, so that several can run at a time. A file is
//! replaced as a whole, and only while it names podcov in itself.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::deferred::{RunState, make_folder, replace};

/// What marks a file as podcov's. Another version of the format gets another text.
const KIND: &str = "podcov seen pods 1";

/// The pods that one podcov-test has seen.
#[derive(Debug)]
pub struct SeenPods {
    file: PathBuf,
    is_written: bool,
    content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    kind: String,
    started: SystemTime,
    pods: Vec<SeenPod>,
}

/// A pod that held counters while tests ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenPod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// Its containers with counters.
    pub containers: Vec<String>,
    /// One of them writes to a volume that outlasts the pod.
    pub has_lasting_volume: bool,
    /// It was deleted while the tests ran.
    pub deleted: bool,
    /// When podcov-collect named it as lost, if it has.
    pub told: Option<SystemTime>,
}

impl RunState {
    /// For a podcov-test that begins now. Nothing is written yet.
    #[must_use]
    pub fn see_pods(&self) -> SeenPods {
        let started = SystemTime::now();
        let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("{}{}.{}.json", self.seen_prefix(), since.as_nanos(), std::process::id());
        let content = Content { kind: KIND.to_owned(), started, pods: Vec::new() };
        SeenPods { file: self.dir().join(name), is_written: false, content }
    }

    /// What each podcov-test of the run has seen, in the order of their starts.
    ///
    /// # Errors
    /// When a file of the run cannot be read or is not podcov's.
    pub fn seen_pods(&self) -> io::Result<Vec<SeenPods>> {
        let entries = match fs::read_dir(self.dir()) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Vec::new());
            }
            Err(e) => return Err(e),
        };
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let is_of_run = name.to_str().is_some_and(|name| {
                name.starts_with(&self.seen_prefix()) && Path::new(name).extension() == Some("json".as_ref())
            });
            if is_of_run {
                let file = entry.path();
                let not_ours =
                    || io::Error::other(format!("{} was not written by podcov-test", file.display()));
                let content = if entry.file_type()?.is_file() { fs::read(&file)? } else { Vec::new() };
                let content = serde_json::from_slice(&content).ok().filter(|c: &Content| c.kind == KIND);
                let content = content.ok_or_else(not_ours)?;
                all.push(SeenPods { file, is_written: true, content });
            }
        }
        all.sort_by_key(|one| one.content.started);
        Ok(all)
    }

    /// A run's name has no dot.
    fn seen_prefix(&self) -> String {
        format!("pods-{}.", self.name())
    }
}

impl SeenPods {
    /// When that podcov-test began.
    #[must_use]
    pub fn started(&self) -> SystemTime {
        self.content.started
    }

    /// The pods.
    #[must_use]
    pub fn pods(&self) -> &[SeenPod] {
        &self.content.pods
    }

    /// The pods, to be changed; [`SeenPods::write`] makes it last.
    pub fn pods_mut(&mut self) -> &mut Vec<SeenPod> {
        &mut self.content.pods
    }

    /// Writes the file; removes it where there are no pods.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&mut self) -> io::Result<()> {
        if self.content.pods.is_empty() {
            if std::mem::take(&mut self.is_written) {
                match fs::remove_file(&self.file) {
                    // Another podcov-collect was faster.
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                    _ => {}
                }
            }
            return Ok(());
        }
        make_folder(self.file.parent().unwrap_or(Path::new(".")))?;
        replace(&self.file, &serde_json::to_vec(&self.content)?, self.is_written)?;
        self.is_written = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
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
            containers: vec![text("app")],
            has_lasting_volume: false,
            deleted: false,
            told: None,
        }
    }

    #[test]
    fn each_podcov_test_of_a_run_has_a_file_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), "a");
        assert_eq!(run.seen_pods().unwrap().len(), 0);
        let (mut first, mut second) = (run.see_pods(), run.see_pods());
        second.content.started += std::time::Duration::from_secs(1);
        second.pods_mut().push(pod("2"));
        second.write().unwrap();
        first.write().unwrap();
        assert_eq!(run.seen_pods().unwrap().len(), 1, "nothing was seen, nothing is written");
        first.pods_mut().push(pod("1"));
        first.write().unwrap();
        first.pods_mut()[0].deleted = true;
        first.write().unwrap();
        for other in ["a-b", "b", "a_"] {
            assert_eq!(state(dir.path(), other).seen_pods().unwrap().len(), 0, "{other}");
        }
        let all = run.seen_pods().unwrap();
        let pods: Vec<_> = all.iter().flat_map(SeenPods::pods).cloned().collect();
        assert_eq!(pods, [SeenPod { deleted: true, ..pod("1") }, pod("2")]);
        for mut one in all {
            one.pods_mut().clear();
            one.write().unwrap();
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_not_podcovs_stays_and_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), "a");
        let file = dir.path().join("pods-a.1.json");
        for text in ["", "{}", r#"{"kind":"podcov seen pods 2","started":0,"pods":[]}"#] {
            fs::write(&file, text).unwrap();
            let error = run.seen_pods().unwrap_err().to_string();
            assert!(error.contains("pods-a.1.json was not written by podcov-test"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
