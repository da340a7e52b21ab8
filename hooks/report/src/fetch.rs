//! Fetches inputs from storage into a temporary folder, which the process removes at its end.

use std::path::PathBuf;

use anyhow::Result;
use podcov_cli::say;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_storage::{Address, Error, Limits, Origin};
use tempfile::TempDir;

use crate::NAME;

/// How many objects are fetched at a time.
const AT_A_TIME: usize = 32;

/// The fetched inputs.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// A folder for each address.
    pub(crate) folders: Vec<PathBuf>,
    /// Whether some objects could not be fetched.
    pub(crate) lost: bool,
    dir: TempDir,
}

/// Fetches all objects at some addresses.
pub(crate) fn fetch(addresses: &[Address]) -> Result<Fetched> {
    let dir = tempfile::tempdir().or_exit(Exit::Usage, "a temporary folder cannot be made")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut fetched = Fetched { folders: Vec::new(), lost: false, dir };
    for (number, address) in addresses.iter().enumerate() {
        let folder = fetched.dir.path().join(number.to_string());
        let keep = |origin: &Origin, name: &str, bytes: bytes::Bytes| {
            // One folder for all starts: a container that is restarted on the same volume uploads its files again.
            let Origin { run, namespace, pod, container, .. } = origin;
            let folder = folder.join(run).join(namespace).join(pod).join(container);
            podcov_unpack::take(&folder, name, bytes.into(), false)
        };
        let storage = address.open().map_err(Error::into_failure)?;
        let starts = runtime
            .block_on(storage.fetch(address, AT_A_TIME, Limits::default(), |_| true, keep))
            .map_err(Error::into_failure)?;
        if starts.is_empty() {
            return Err(Failure::new(Exit::Incomplete, format!("there is nothing at {address}"))
                .with_hint("have the programs ended, and did podcov-agent say that it has uploaded?")
                .into());
        }
        for start in starts {
            for error in start.errors {
                say(NAME, format_args!("error: {address}/{}: {error}", start.origin));
                fetched.lost = true;
            }
        }
        fetched.folders.push(folder);
    }
    Ok(fetched)
}
