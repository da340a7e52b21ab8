//! Failures of the tests that hooks defer to a later hook of the same run.
//!
//! Skaffold stops at the first hook that fails, and hooks cannot pass variables on. So podcov-test records the failure
//! of its command in a file and exits with 0. podcov-collect then collects the coverage and exits with 1. A run may have
//! several hooks that test: each replaces or removes only what it has recorded itself.
//!
//! The folder of that file may be any folder of the user's. So only a file that names podcov in itself is read,
//! replaced or removed, and no other file is written.

use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use fs_err as fs;
use podcov_exit::{Exit, ResultExt};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::say;

/// What marks the file as podcov's. Another version of the format gets another text.
const KIND: &str = "podcov deferred failures 2";

/// The folder through which the hooks of a run share state.
#[derive(Debug, Clone, clap::Args)]
pub struct StateArgs {
    /// The folder in which podcov-test notes a deferred failure and the pods that it saw, for later hooks [default:
    /// .podcov in Skaffold's work directory, else in the current one]
    #[arg(long, env = "PODCOV_STATE_DIR", value_name = "DIR", global = true, help_heading = "Run")]
    pub state_dir: Option<PathBuf>,

    /// Skaffold's work directory, which holds the state folder
    #[arg(long, env = "SKAFFOLD_WORK_DIR", hide = true, global = true)]
    pub work_dir: Option<PathBuf>,
}

impl StateArgs {
    /// The state of the run with this id. Runs without an id share one.
    #[must_use]
    pub fn run(&self, run_id: Option<&str>) -> RunState {
        let dir = self.state_dir.clone().unwrap_or_else(|| match &self.work_dir {
            Some(work_dir) => work_dir.join(".podcov"),
            None => PathBuf::from(".podcov"),
        });
        // A run id is a UUID. Whatever the user gives instead, the file must stay in the folder.
        let name: String = run_id
            .unwrap_or("local")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
            .collect();
        RunState { file: dir.join(format!("failure-{name}.json")), dir, name }
    }
}

/// The state that the hooks of one run share.
#[derive(Debug, Clone)]
pub struct RunState {
    pub(crate) dir: PathBuf,
    /// The run's name in files' names.
    pub(crate) name: String,
    /// With the failures.
    file: PathBuf,
}

/// A failure of a test command, which a later hook exits with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deferred {
    /// Which hook deferred it: the same in each iteration of `skaffold dev`, and different for each hook of a run.
    pub hook: u64,
    /// The command's first word.
    pub command: String,
    /// Its exit code, 128 + n if signal n ended it.
    pub code: u8,
}

/// The file's content.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    kind: String,
    failures: Vec<Deferred>,
}

impl RunState {
    /// Records a failure, in place of an earlier one of the same hook.
    ///
    /// # Errors
    /// When the file cannot be written, or is there and not podcov's.
    pub fn defer(&self, failure: &Deferred) -> io::Result<()> {
        make_folder(&self.dir)?;
        let recorded = self.deferred()?;
        let is_there = !recorded.is_empty();
        let others = recorded.into_iter().filter(|other| other.hook != failure.hook);
        self.write(others.chain([failure.clone()]).collect(), is_there)
    }

    /// Removes the failure that a hook recorded earlier, if there is one.
    ///
    /// # Errors
    /// When the file is there and not podcov's, or cannot be replaced.
    pub fn clear(&self, hook: u64) -> io::Result<()> {
        let recorded = self.deferred()?;
        let others: Vec<_> = recorded.iter().filter(|other| other.hook != hook).cloned().collect();
        match others.len() {
            len if len == recorded.len() => Ok(()),
            0 => fs::remove_file(&self.file),
            _ => self.write(others, true),
        }
    }

    /// The recorded failures, in the order in which they were recorded.
    ///
    /// # Errors
    /// When the file cannot be read or is not podcov's: then it is not known whether the tests failed.
    pub fn deferred(&self) -> io::Result<Vec<Deferred>> {
        let is_ours = |content: &Content| content.kind == KIND && !content.failures.is_empty();
        let content = read(&self.file, "was not written by podcov-test, so it is left as it is", is_ours)?;
        Ok(content.map(|content| content.failures).unwrap_or_default())
    }

    /// The exit code of a hook that has done its own work with `exit`. Recorded failures go before that: they are
    /// printed and removed, unless the hook defers them again.
    ///
    /// # Errors
    /// When it is not known whether there was a failure, or when it cannot be removed.
    pub fn end(&self, name: &str, exit: Exit, defer: bool) -> anyhow::Result<Exit> {
        let failures = self.deferred().or_exit(Exit::Usage, "cannot read whether the tests failed")?;
        if defer || failures.is_empty() {
            return Ok(exit);
        }
        for Deferred { command, code, .. } in failures {
            say(name, format_args!("error: the tests failed: {command} ended with exit code {code}"));
        }
        fs::remove_file(&self.file).or_exit(Exit::FellShort, "cannot remove the deferred failure")?;
        Ok(Exit::FellShort)
    }

    fn write(&self, failures: Vec<Deferred>, is_there: bool) -> io::Result<()> {
        let content = serde_json::to_vec(&Content { kind: KIND.to_owned(), failures })?;
        replace(&self.file, &content, is_there)
    }
}

/// Makes the folder if it is not there. A new one tells git to ignore it, as cargo's target folder does; a folder of the
/// user's is not changed.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::create_dir(dir) {
        Ok(()) => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(dir.join(".gitignore"))?
            .write_all(b"*\n"),
        // Another hook was faster.
        Err(e) if e.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        Err(e) => Err(e),
    }
}

/// Whether a file is not there.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The content of a file that `is_ours`, if it is there. `refusal` is the message for one that is not.
pub(crate) fn read<T: DeserializeOwned>(
    file: &Path,
    refusal: &str,
    is_ours: impl FnOnce(&T) -> bool,
) -> io::Result<Option<T>> {
    let content = match fs::symlink_metadata(file) {
        Ok(metadata) if metadata.is_file() => fs::read(file),
        Ok(_) => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let content = match content {
        Err(error) if is_absent(&error) => return Ok(None),
        content => content?,
    };
    match serde_json::from_slice(&content).ok().filter(is_ours) {
        Some(content) => Ok(Some(content)),
        None => Err(io::Error::new(
            ErrorKind::InvalidData,
            format!("{} {refusal}; move it, or give another --state-dir", file.display()),
        )),
    }
}

/// Writes a file as a whole. One that is there is replaced only if it `is_ours`.
pub(crate) fn replace(file: &Path, content: &[u8], is_ours: bool) -> io::Result<()> {
    let mut draft = NamedTempFile::with_prefix_in(".podcov-", file.parent().unwrap_or(Path::new(".")))?;
    draft.write_all(content)?;
    match is_ours {
        true => draft.persist(file)?,
        false => draft.persist_noclobber(file)?,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn state(dir: &Path, run_id: Option<&str>) -> RunState {
        StateArgs { state_dir: Some(dir.to_owned()), work_dir: None }.run(run_id)
    }

    fn failure() -> Deferred {
        Deferred { hook: 1, command: "go".into(), code: 3 }
    }

    #[test]
    fn a_failure_is_kept_for_its_run_alone() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), Some("a"));
        assert_eq!(run.deferred().unwrap(), []);
        run.clear(1).unwrap();
        run.defer(&failure()).unwrap();
        assert_eq!(run.deferred().unwrap(), [failure()]);
        let later = Deferred { code: 4, ..failure() };
        run.defer(&later).unwrap();
        assert_eq!(run.deferred().unwrap(), std::slice::from_ref(&later));
        assert_eq!(state(dir.path(), Some("b")).deferred().unwrap(), []);
        // Another hook of the run.
        let other = Deferred { hook: 2, command: "npm".into(), code: 1 };
        run.defer(&other).unwrap();
        assert_eq!(run.deferred().unwrap(), [later, other.clone()]);
        run.clear(1).unwrap();
        assert_eq!(run.deferred().unwrap(), [other]);
        run.clear(2).unwrap();
        assert_eq!(run.deferred().unwrap(), []);
        assert!(!run.file.exists());
    }

    #[test]
    fn a_run_id_cannot_lead_out_of_the_folder() {
        let run = state(Path::new("/state"), Some("../../etc/x"));
        assert_eq!(run.file, Path::new("/state/failure-______etc_x.json"));
    }

    #[test]
    fn an_unreadable_state_is_no_success() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), None);
        fs::write(&run.file, "{").unwrap();
        assert!(run.deferred().unwrap_err().to_string().contains("failure-local.json"));
        assert!(run.end("test", Exit::Done, false).is_err());
    }

    #[test]
    fn a_new_folder_is_ignored_by_git() {
        let dir = tempfile::tempdir().unwrap();
        let new = dir.path().join("deep/.podcov");
        state(&new, None).defer(&failure()).unwrap();
        assert_eq!(fs::read_to_string(new.join(".gitignore")).unwrap(), "*\n");
    }

    #[test]
    fn a_file_in_the_place_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".podcov");
        fs::write(&file, "mine").unwrap();
        let run = state(&file, None);
        run.clear(1).unwrap();
        assert!(run.defer(&failure()).is_err());
        assert_eq!(run.end("test", Exit::Done, false).unwrap(), Exit::Done);
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    }

    /// The content of a file of podcov's.
    const OURS: &str =
        r#"{"kind":"podcov deferred failures 2","failures":[{"hook":1,"command":"go","code":3}]}"#;

    /// A file of the user's, or something else than a file.
    #[derive(Debug, Clone)]
    enum Entry {
        File(String),
        Folder,
        #[cfg(unix)]
        LinkTo(&'static str),
    }

    fn entries() -> impl Strategy<Value = BTreeMap<&'static str, Entry>> {
        let names = proptest::sample::select(vec![
            ".gitignore",
            "failure-run.json",
            "failure-run.tmp",
            "failure-run.json.tmp",
            "failure-local.json",
            "run.json",
            "run.tmp",
            "local.json",
            "notes.txt",
        ]);
        let contents = proptest::sample::select(vec![
            "",
            "{",
            "target/\n",
            r#"{"command":"go","code":3}"#,
            r#"{"kind":"other","failures":[{"hook":1,"command":"go","code":3}]}"#,
            r#"{"kind":"podcov deferred failures 2","failures":[]}"#,
            r#"{"kind":"podcov deferred failures 2","failures":[{"hook":1,"command":"go","code":3,"mine":true}]}"#,
        ]);
        let entry = prop_oneof![
            4 => contents.prop_map(|text| Entry::File(text.to_owned())),
            1 => any::<String>().prop_map(Entry::File),
            1 => Just(Entry::Folder),
            #[cfg(unix)]
            2 => proptest::sample::select(vec!["outside", "nowhere"]).prop_map(Entry::LinkTo),
        ];
        proptest::collection::btree_map(names, entry, 0..6)
    }

    /// What is in a folder: a file's bytes, a link's target, or that it is a folder.
    fn contents(dir: &Path) -> BTreeMap<String, String> {
        let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
        let content = |path: &Path| {
            let kind = fs::symlink_metadata(path).unwrap().file_type();
            match () {
                () if kind.is_symlink() => format!("link {}", fs::read_link(path).unwrap().display()),
                () if kind.is_dir() => "folder".to_owned(),
                () => format!("file {}", fs::read_to_string(path).unwrap()),
            }
        };
        entries.map(|e| (e.file_name().into_string().unwrap(), content(&e.path()))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn what_is_not_podcovs_survives(
            entries in entries(),
            steps in proptest::collection::vec(0..3, 1..6),
            run_id in proptest::sample::select(vec![Some("run"), None]),
        ) {
            let top = tempfile::tempdir().unwrap();
            let outside = top.path().join("outside");
            fs::write(&outside, OURS).unwrap();
            let dir = top.path().join("state");
            fs::create_dir(&dir).unwrap();
            for (name, entry) in &entries {
                let path = dir.join(name);
                match entry {
                    Entry::File(text) => fs::write(path, text).unwrap(),
                    Entry::Folder => fs::create_dir(path).unwrap(),
                    #[cfg(unix)]
                    Entry::LinkTo(target) => std::os::unix::fs::symlink(top.path().join(target), path).unwrap(),
                }
            }
            let before = contents(&dir);
            let run = state(&dir, run_id);
            for step in steps {
                // Each may fail: then it says so, and nothing has changed.
                match step {
                    0 => drop(run.defer(&failure())),
                    1 => drop(run.clear(1)),
                    _ => drop(run.deferred()),
                }
            }
            let mut after = contents(&dir);
            after.retain(|name, _| before.contains_key(name) || dir.join(name) != run.file);
            prop_assert_eq!(before, after);
            prop_assert_eq!(fs::read_to_string(outside).unwrap(), OURS);
        }
    }
}
