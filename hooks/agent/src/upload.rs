//! Uploading coverage files to storage.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use covdata::{CounterFileBuilder, FileName, ProcessArgs};
use fs_err as fs;
use futures_util::StreamExt;
use podcov_cli::{count, say};
use podcov_storage::{Address, Manifest, Origin, Storage, StoredFile};
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout_at};

use crate::files::CoverFolder;
use crate::live_files::LiveFiles;
use crate::{NAME, files};

/// How many files are uploaded at a time.
const AT_A_TIME: usize = 8;

/// Uploads the files of a folder.
pub(crate) struct Uploader {
    address: Address,
    folder: Arc<CoverFolder>,
    live: Arc<LiveFiles>,
    /// Whether counters are removed from the folder once they are uploaded.
    remove: bool,
    state: Mutex<Uploaded>,
    /// Whether the last upload has been asked for.
    last: watch::Sender<bool>,
    /// Whether a message about counters that could not be removed was printed.
    warned: AtomicBool,
    /// Losses that never became a file, for the manifest.
    lost: std::sync::Mutex<Vec<String>>,
    /// What was lost of the program's processes that ended.
    ended: std::sync::Mutex<Option<String>>,
}

/// What has been uploaded.
struct Uploaded {
    storage: Option<Storage>,
    files: BTreeMap<String, StoredFile>,
    /// Which version of a snapshot is there.
    versions: BTreeMap<String, u64>,
    manifest: Manifest,
}

impl Uploader {
    pub(crate) fn new(
        address: Address,
        origin: Origin,
        folder: Arc<CoverFolder>,
        live: Arc<LiveFiles>,
        remove: bool,
    ) -> Self {
        let manifest = Manifest {
            version: Manifest::VERSION,
            podcov: env!("CARGO_PKG_VERSION").to_owned(),
            origin,
            exit_code: None,
            files: Vec::new(),
            missing: Vec::new(),
        };
        let state = Uploaded { storage: None, files: BTreeMap::new(), versions: BTreeMap::new(), manifest };
        let (lost, ended) = (std::sync::Mutex::default(), std::sync::Mutex::default());
        let (last, warned) = (watch::Sender::new(false), AtomicBool::new(false));
        Self { address, folder, live, remove, state: Mutex::new(state), last, warned, lost, ended }
    }

    /// Adds a loss to the manifest that was never a file. Its message has been printed.
    pub(crate) fn lose(&self, what: String) {
        if let Ok(mut lost) = self.lost.lock() {
            lost.push(what);
        }
    }

    /// Sets what was lost of the program's processes that ended, for the manifest. Its message has been printed.
    pub(crate) fn set_loss(&self, loss: Option<String>) {
        if let Ok(mut ended) = self.ended.lock() {
            *ended = loss;
        }
    }

    /// Uploads new files, and then the manifest. A file that could not be uploaded by the deadline is named on stderr, and
    /// stays. `exit_code`: the program has ended for good.
    pub(crate) async fn upload(&self, deadline: Instant, exit_code: Option<u8>) {
        if exit_code.is_some() {
            self.last.send_replace(true);
        }
        let missing = match timeout_at(deadline, self.state.lock()).await {
            Ok(mut state) => state.upload(self, deadline, exit_code).await,
            Err(_) => vec![format!("{}: an earlier upload has not ended", self.folder.path().display())],
        };
        for missing in missing {
            let folder = self.folder.path().display();
            say(NAME, format_args!("error: not uploaded, stays in {folder}: {missing}"));
        }
    }
}

impl Uploaded {
    async fn upload(&mut self, to: &Uploader, deadline: Instant, exit_code: Option<u8>) -> Vec<String> {
        let mut missing = Vec::new();
        let mut files = Vec::new();
        let mut removable = Vec::new();
        match files::list(to.folder.path()) {
            Ok(listed) => {
                for (name, parsed) in listed {
                    let version = to.live.made(&name).map(|made| made.version);
                    if !self.files.contains_key(&name)
                        || version.is_some_and(|v| self.versions.get(&name) != Some(&v))
                    {
                        files.push((name, parsed, version));
                    } else if to.remove && !to.live.is_live(&name) && files::has_counts(&parsed) {
                        // An earlier upload was taken over before it came to that.
                        removable.push(name);
                    }
                }
            }
            Err(error) => missing.push(error.to_string()),
        }
        let superseded = to.live.superseded();
        if files.is_empty()
            && superseded.is_empty()
            && missing.is_empty()
            && self.manifest.exit_code == exit_code
        {
            return missing;
        }
        let storage = match &self.storage {
            Some(storage) => storage.clone(),
            None => match to.address.open_to_write() {
                Ok(storage) => self.storage.insert(storage).clone(),
                Err(error) => {
                    missing.extend(files.into_iter().map(|(name, ..)| format!("{name}: {error}")));
                    return missing;
                }
            },
        };
        // The manifest needs time too: without it a reader cannot know that all files are there.
        let files_deadline = deadline - deadline.saturating_duration_since(Instant::now()) / 10;
        let origin = &self.manifest.origin;
        let storage = &storage;
        let mut uploads = futures_util::stream::iter(files)
            .map(|(name, parsed, version)| async move {
                let outcome = put(storage, origin, to, &name, &parsed, files_deadline).await;
                (name, parsed, version, outcome)
            })
            .buffer_unordered(AT_A_TIME);
        // The last upload takes over files that an earlier one tries in vain: it would have no time left for the others,
        // nor for saying why. Not a manifest, for a request that is given up may still take effect, after a later one.
        let mut taken_over = pin!(async {
            match exit_code {
                Some(_) => std::future::pending().await,
                None => drop(to.last.subscribe().wait_for(|last| *last).await),
            }
        });
        loop {
            let next = tokio::select! {
                next = uploads.next() => next,
                () = &mut taken_over => return Vec::new(),
            };
            let Some((name, parsed, version, outcome)) = next else { break };
            match outcome {
                Ok(None) => {}
                Ok(Some(stored)) => {
                    self.files.insert(name.clone(), stored);
                    self.versions.extend(version.map(|version| (name.clone(), version)));
                    if to.remove && files::has_counts(&parsed) && !to.live.is_live(&name) {
                        removable.push(name);
                    }
                }
                Err(error) => missing.push(format!("{name}: {error}")),
            }
        }
        drop(uploads);
        for name in superseded {
            match self.files.contains_key(&name) {
                false => to.live.forget(&name),
                true => match put_empty(storage, origin, &name, files_deadline).await {
                    Ok(stored) => {
                        self.files.insert(name.clone(), stored);
                        to.live.forget(&name);
                    }
                    Err(error) => missing.push(format!("{name}: {error}")),
                },
            }
        }
        self.manifest.exit_code = exit_code;
        // A snapshot that is to be replaced is not listed yet: an agent that is killed just after it has uploaded the next
        // one leaves it to who reads, who would not take what is not as the manifest says.
        let listed = self.files.values().filter(|file| !to.live.is_live(&file.name));
        self.manifest.files = listed.cloned().collect();
        self.manifest.missing.clone_from(&missing);
        self.manifest.missing.extend(to.ended.lock().iter().flat_map(|ended| (**ended).clone()));
        self.manifest.missing.extend(to.lost.lock().iter().flat_map(|lost| lost.iter().cloned()));
        if let Err(error) = storage.put_manifest(&self.manifest, deadline).await {
            missing.push(format!("the manifest of {}: {error}", count(self.files.len(), "file")));
        } else {
            // A file that cannot be removed is not uploaded again.
            if let Err(error) = to.folder.remove(removable)
                && !to.warned.swap(true, Ordering::Relaxed)
            {
                say(NAME, format_args!("warning: uploaded counters stay: {error}"));
            }
            if exit_code.is_some() {
                let files = count(self.files.len(), "file");
                say(NAME, format_args!("uploaded {files} to {}/{}", to.address, self.manifest.origin));
            }
        }
        missing
    }
}

async fn put(
    storage: &Storage,
    origin: &Origin,
    from: &Uploader,
    name: &str,
    parsed: &FileName,
    deadline: Instant,
) -> Result<Option<StoredFile>, String> {
    let path = from.folder.path().join(name);
    let read = tokio::task::spawn_blocking(move || fs::read(path)).await;
    let bytes = match read.map_err(|e| e.to_string())? {
        // POST /reset removed it: the caller asked for that.
        Err(error) if error.kind() == io::ErrorKind::NotFound && files::has_counts(parsed) => {
            return Ok(None);
        }
        read => read.map_err(|e| e.to_string())?,
    };
    covdata::check(parsed, &bytes).map_err(|e| format!("it is not whole: {e}"))?;
    let stored = storage.put(origin, name, bytes.into(), deadline).await.map_err(|e| e.to_string())?;
    Ok(Some(stored))
}

/// Replaces a snapshot whose counts are in another file by one that has none: the credentials need not allow to remove
/// something.
async fn put_empty(
    storage: &Storage,
    origin: &Origin,
    name: &str,
    deadline: Instant,
) -> Result<StoredFile, String> {
    let hash =
        name.parse().ok().and_then(|name: FileName| name.hash()).ok_or("it is no name of a counter file")?;
    let empty = CounterFileBuilder::new(hash, &ProcessArgs::default()).map_err(|e| e.to_string())?;
    storage.put(origin, name, empty.finish().into(), deadline).await.map_err(|e| e.to_string())
}
