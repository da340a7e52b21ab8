//! A failure that one hook leaves to a later one of the same run.
//!
//! Skaffold stops at the first hook that fails, and hooks cannot hand variables on. So podcov-test writes down
//! that its command failed and ends with 0; podcov-collect gathers the coverage and ends with the failure.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use crate::{Exit, ResultExt, say};

/// Where a run keeps what its hooks tell each other.
#[derive(Debug, Clone, clap::Args)]
pub struct StateArgs {
    /// Where the hooks of a run leave each other word [default: .podcov in Skaffold's work directory, else here]
    #[arg(long, env = "PODCOV_STATE_DIR", value_name = "DIR", global = true, help_heading = "Run")]
    pub state_dir: Option<PathBuf>,

    /// Skaffold's work directory: only where the state goes
    #[arg(long, env = "SKAFFOLD_WORK_DIR", hide = true, global = true)]
    pub work_dir: Option<PathBuf>,
}

impl StateArgs {
    /// The state of that run; runs without an id share one.
    #[must_use]
    pub fn run(&self, run_id: Option<&str>) -> RunState {
        let dir = self.state_dir.clone().unwrap_or_else(|| match &self.work_dir {
            Some(work_dir) => work_dir.join(".podcov"),
            None => PathBuf::from(".podcov"),
        });
        // A run id is a UUID; whatever else it may be, it must not lead out of the folder.
        let name: String = run_id
            .unwrap_or("local")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '_' })
            .collect();
        RunState { file: dir.join(format!("{name}.json")) }
    }
}

/// What the hooks of one run tell each other.
#[derive(Debug, Clone)]
pub struct RunState {
    file: PathBuf,
}

/// A failure of the test command that a later hook has to end with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// The command's first word.
    pub command: String,
    /// Its exit code, 128 + n if a signal ended it.
    pub code: u8,
}

impl RunState {
    /// Writes a failure down.
    ///
    /// # Errors
    /// When the state folder cannot be written.
    pub fn defer(&self, failure: &Deferred) -> io::Result<()> {
        let dir = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(dir)?;
        // As cargo and others do it, so that nobody has to name the folder in his own .gitignore.
        fs::write(dir.join(".gitignore"), "*\n")?;
        let draft = self.file.with_extension("tmp");
        fs::write(&draft, serde_json::to_vec(failure)?)?;
        fs::rename(draft, &self.file)
    }

    /// The failure that was written down, if one was.
    ///
    /// # Errors
    /// When it cannot be read: then it is not known whether the tests failed.
    pub fn deferred(&self) -> io::Result<Option<Deferred>> {
        match fs::read(&self.file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| {
                io::Error::new(io::ErrorKind::InvalidData, format!("{}: {e}", self.file.display()))
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// How a hook ends that is otherwise done: with the failure that was left to it, said and forgotten, unless it is
    /// left to a later hook again.
    ///
    /// # Errors
    /// When it is not known whether there was one, or it cannot be forgotten.
    pub fn end(&self, name: &str, exit: Exit, defer: bool) -> anyhow::Result<Exit> {
        let deferred = self.deferred().or_exit(Exit::Usage, "cannot read whether the tests failed")?;
        let Some(failure) = deferred.filter(|_| !defer) else { return Ok(exit) };
        let Deferred { command, code } = failure;
        say(name, format_args!("error: the tests failed: {command} ended with exit code {code}"));
        self.clear().or_exit(Exit::FellShort, "cannot write the run's state")?;
        Ok(Exit::FellShort)
    }

    /// Forgets it.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        match fs::remove_file(&self.file) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(dir: &Path, run_id: Option<&str>) -> RunState {
        StateArgs { state_dir: Some(dir.to_owned()), work_dir: None }.run(run_id)
    }

    #[test]
    fn a_failure_is_kept_for_its_run_alone() {
        let dir = tempfile::tempdir().unwrap();
        let failure = Deferred { command: "go".into(), code: 3 };
        let run = state(dir.path(), Some("a"));
        assert_eq!(run.deferred().unwrap(), None);
        run.clear().unwrap();
        run.defer(&failure).unwrap();
        assert_eq!(run.deferred().unwrap(), Some(failure));
        assert_eq!(state(dir.path(), Some("b")).deferred().unwrap(), None);
        run.clear().unwrap();
        assert_eq!(run.deferred().unwrap(), None);
    }

    #[test]
    fn a_run_id_cannot_lead_out_of_the_folder() {
        let run = state(Path::new("/state"), Some("../../etc/x"));
        assert_eq!(run.file, Path::new("/state/______etc_x.json"));
    }

    #[test]
    fn an_unreadable_state_is_no_success() {
        let dir = tempfile::tempdir().unwrap();
        let run = state(dir.path(), None);
        fs::write(&run.file, "{").unwrap();
        assert!(run.deferred().unwrap_err().to_string().contains("local.json"));
    }
}
