//! Uploading coverage files to storage.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// The least time for the last upload, unless the time for uploads is shorter.
const LEAST: Duration = Duration::from_secs(3);

/// When the last upload must be done. `stop` is when the first stop signal came, `time` how long uploads may take.
pub(crate) fn last_deadline(stop: Option<Instant>, time: Duration) -> Instant {
    let now = Instant::now();
    // A program that ends after the deadline has a platform that gives more time. So may one that ends just before
    // it, and an upload without any time would be certain to fail.
    let from = stop.filter(|stop| now < *stop + time).unwrap_or(now);
    (from + time).max(now + time.min(LEAST))
}

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
    /// The counters that were removed from the folder.
    removed: std::sync::Mutex<BTreeMap<String, FileName>>,
}

/// What has been uploaded.
struct Uploaded {
    storage: Option<Storage>,
    files: BTreeMap<String, StoredFile>,
    /// Which version of a snapshot is there.
    versions: BTreeMap<String, u64>,
    /// The snapshots that may be there: a request that is given up may still take effect.
    begun: BTreeSet<String>,
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
        let (files, versions, begun) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let state = Uploaded { storage: None, files, versions, begun, manifest };
        let (lost, ended, removed) = Default::default();
        let (last, warned) = (watch::Sender::new(false), AtomicBool::new(false));
        Self { address, folder, live, remove, state: Mutex::new(state), last, warned, lost, ended, removed }
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

    /// The counters that were removed from the folder since they are in storage, or are about to be.
    pub(crate) fn removed(&self) -> BTreeMap<String, FileName> {
        self.removed.lock().map(|removed| removed.clone()).unwrap_or_default()
    }

    /// Removes uploaded counters from the folder.
    fn remove(&self, removable: BTreeMap<String, FileName>) -> io::Result<()> {
        let names: Vec<String> = removable.keys().cloned().collect();
        if let Ok(mut removed) = self.removed.lock() {
            removed.extend(removable);
        }
        self.folder.remove(names).map(drop)
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
        let mut removable = BTreeMap::new();
        // What the program wrote itself must not be removed before the snapshots were compared with it.
        let live = Arc::clone(&to.live);
        let settled = match timeout_at(deadline, tokio::task::spawn_blocking(move || live.settled())).await {
            Ok(settled) => settled.map_err(io::Error::other).flatten(),
            Err(_) => Err(io::Error::other("snapshots are still being taken")),
        };
        let remove = to.remove && settled.is_ok();
        let listed = settled.or_else(|error| {
            missing.push(format!("what may be there twice: {error}"));
            files::list(to.folder.path())
        });
        match listed {
            Ok(listed) => {
                for (name, parsed) in listed {
                    let version = to.live.made(&name).map(|made| made.version);
                    let stored = self.versions.get(&name).copied();
                    if !self.files.contains_key(&name) || version.is_some() && version != stored {
                        // Before the first request for it.
                        let is_first = version.is_some() && self.begun.insert(name.clone());
                        files.push((name, parsed, version, is_first));
                    } else if remove && to.live.is_final(&name, stored) && files::has_counts(&parsed) {
                        // An earlier upload was taken over before it came to that.
                        removable.insert(name, parsed);
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
            .map(|(name, parsed, version, is_first)| async move {
                let outcome = put(storage, origin, to, &name, &parsed, files_deadline).await;
                (name, parsed, version, is_first, outcome)
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
            let Some((name, parsed, version, is_first, outcome)) = next else { break };
            match outcome {
                Ok(None) if is_first => drop(self.begun.remove(&name)),
                Ok(None) => {}
                Ok(Some(stored)) => {
                    self.files.insert(name.clone(), stored);
                    self.versions.extend(version.map(|version| (name.clone(), version)));
                    // The program may have been read again meanwhile: then this is not its last snapshot.
                    if remove && files::has_counts(&parsed) && to.live.is_final(&name, version) {
                        removable.insert(name, parsed);
                    }
                }
                Err(error) => missing.push(format!("{name}: {error}")),
            }
        }
        drop(uploads);
        for (name, by) in superseded {
            if !self.begun.contains(&name) {
                to.live.forget(&name);
                continue;
            }
            // First the file that has its counts. POST /reset may have removed that: the caller asked for it.
            if !self.files.contains_key(&by) && to.folder.path().join(&by).exists() {
                continue;
            }
            match put_empty(storage, origin, &name, files_deadline).await {
                Ok(stored) => {
                    self.files.insert(name.clone(), stored);
                    to.live.forget(&name);
                }
                Err(error) => missing.push(format!("{name}: {error}")),
            }
        }
        self.manifest.exit_code = exit_code;
        // A snapshot that is to be replaced is not listed yet: an agent that is killed just after it has uploaded the next
        // one leaves it to who reads, who would not take what is not as the manifest says.
        let version = |file: &StoredFile| self.versions.get(&file.name).copied();
        let listed = self.files.values().filter(|file| to.live.is_final(&file.name, version(file)));
        self.manifest.files = listed.cloned().collect();
        self.manifest.missing.clone_from(&missing);
        self.manifest.missing.extend(to.ended.lock().iter().flat_map(|ended| (**ended).clone()));
        self.manifest.missing.extend(to.lost.lock().iter().flat_map(|lost| lost.iter().cloned()));
        if let Err(error) = storage.put_manifest(&self.manifest, deadline).await {
            missing.push(format!("the manifest of {}: {error}", count(self.files.len(), "file")));
        } else {
            // A file that cannot be removed is not uploaded again.
            if let Err(error) = to.remove(removable)
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use covdata::MetaHash;
    use futures_util::poll;
    use tokio::task::spawn_blocking;

    use super::*;
    use crate::live_files::{Kind, Made};

    const HASH: MetaHash = MetaHash([7; 16]);

    fn name(nanos: u64) -> String {
        FileName::Counters { hash: HASH, pid: std::process::id(), nanos }.to_string()
    }

    /// A counter file with one function.
    fn counters() -> Vec<u8> {
        let mut file = CounterFileBuilder::new(HASH, &ProcessArgs::default()).expect("it fits");
        file.function(0, 0, [1]).expect("it fits");
        file.finish()
    }

    fn empty() -> Vec<u8> {
        CounterFileBuilder::new(HASH, &ProcessArgs::default()).expect("it fits").finish()
    }

    struct Place {
        _dir: tempfile::TempDir,
        folder: PathBuf,
        stored: PathBuf,
        live: Arc<LiveFiles>,
        uploader: Uploader,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a folder");
            let [folder, storage] = ["folder", "storage"].map(|name| dir.path().join(name));
            fs::create_dir(&folder).expect("a folder");
            let part = || "x".to_owned();
            let origin = Origin { run: part(), namespace: part(), pod: part(), container: part(), start: 1 };
            let stored = storage.join(origin.to_string());
            let address = format!("file://{}", storage.display()).parse().expect("an address");
            let cover = Arc::new(CoverFolder::open(folder.clone()));
            let live = Arc::new(LiveFiles::new(Arc::clone(&cover)));
            let uploader = Uploader::new(address, origin, cover, Arc::clone(&live), true);
            Self { _dir: dir, folder, stored, live, uploader }
        }

        fn write(&self, name: &str, bytes: &[u8]) {
            fs::write(self.folder.join(name), bytes).expect("a file");
        }

        async fn upload(&self) {
            let deadline = Instant::now() + Duration::from_secs(60);
            self.uploader.upload(deadline, None).await;
        }

        fn stored(&self, name: &str) -> Option<Vec<u8>> {
            fs::read(self.stored.join(name)).ok()
        }
    }

    /// A snapshot whose request was begun may be in storage, whether or not that was answered.
    #[tokio::test]
    async fn a_snapshot_that_may_be_stored_is_emptied() {
        let place = Place::new();
        let [snapshot, own] = [1, 2].map(name);
        place.live.set_made(&snapshot, Made { version: 0, kind: Kind::Live });
        // Storage cannot make a file of this name, so nothing is answered.
        fs::create_dir_all(place.stored.join(&snapshot).join("x")).expect("a folder");
        place.write(&snapshot, &counters());
        place.upload().await;
        fs::remove_dir_all(place.stored.join(&snapshot)).expect("a folder");
        fs::write(place.stored.join(&snapshot), counters()).expect("a file");
        fs::remove_file(place.folder.join(&snapshot)).expect("a file");
        place.write(&own, &counters());
        place.live.set_made(&snapshot, Made { version: 0, kind: Kind::Superseded { by: own.clone() } });
        place.upload().await;
        assert_eq!(place.stored(&own), Some(counters()));
        assert_eq!(place.stored(&snapshot), Some(empty()));
        assert_eq!(place.live.made(&snapshot), None);
    }

    #[tokio::test]
    async fn a_snapshot_is_emptied_after_what_has_its_counts_is_stored() {
        let place = Place::new();
        let [snapshot, own] = [1, 2].map(name);
        place.live.set_made(&snapshot, Made { version: 0, kind: Kind::Live });
        place.write(&snapshot, &counters());
        place.upload().await;
        assert_eq!(place.stored(&snapshot), Some(counters()));
        fs::remove_file(place.folder.join(&snapshot)).expect("a file");
        place.live.set_made(&snapshot, Made { version: 0, kind: Kind::Superseded { by: own.clone() } });
        // It is not whole yet.
        place.write(&own, b"x");
        place.upload().await;
        assert_eq!((place.stored(&own), place.stored(&snapshot)), (None, Some(counters())));
        place.write(&own, &counters());
        place.upload().await;
        assert_eq!((place.stored(&own), place.stored(&snapshot)), (Some(counters()), Some(empty())));
    }

    /// It is read again while it is uploaded, and its process is killed then. One thread does what is given to it in order.
    #[test]
    fn a_snapshot_that_is_written_while_it_is_uploaded_is_not_removed() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().max_blocking_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let place = Arc::new(Place::new());
            let snapshot = name(1);
            place.live.set_made(&snapshot, Made { version: 0, kind: Kind::Live });
            place.write(&snapshot, &empty());
            let mut upload = Box::pin(place.upload());
            assert!(poll!(&mut upload).is_pending(), "it lists the files");
            spawn_blocking(|| ()).await.expect("the list is there");
            let (go, may_go) = std::sync::mpsc::channel();
            let held = spawn_blocking(move || may_go.recv());
            assert!(poll!(&mut upload).is_pending(), "it reads the file");
            let (of, name) = (Arc::clone(&place), snapshot.clone());
            let later = spawn_blocking(move || {
                of.write(&name, &counters());
                of.live.set_made(&name, Made { version: 1, kind: Kind::Final });
            });
            go.send(()).expect("it waits");
            let (_, held, later) = tokio::join!(upload, held, later);
            assert!(held.is_ok() && later.is_ok());
            assert_eq!(place.stored(&snapshot), Some(empty()));
            assert_eq!(fs::read(place.folder.join(&snapshot)).ok(), Some(counters()));
            place.upload().await;
            assert_eq!(place.stored(&snapshot), Some(counters()));
            assert!(!place.folder.join(&snapshot).exists());
        });
    }

    #[tokio::test]
    async fn what_a_process_wrote_is_compared_with_its_snapshot_before_it_is_removed() {
        let place = Place::new();
        let [snapshot, own] = [1, 2].map(name);
        place.live.set_read(&snapshot);
        place.write(&snapshot, &counters());
        place.write(&own, &counters());
        place.upload().await;
        assert_eq!((place.stored(&own), place.stored(&snapshot)), (Some(counters()), None));
        assert_eq!(fs::read_dir(&place.folder).expect("a folder").count(), 0);
    }

    #[test]
    fn only_the_last_version_of_a_snapshot_is_final() {
        let place = Place::new();
        let snapshot = name(1);
        place.live.set_made(&snapshot, Made { version: 1, kind: Kind::Final });
        assert!(!place.live.is_final(&snapshot, Some(0)));
        assert!(place.live.is_final(&snapshot, Some(1)));
        place.live.set_made(&snapshot, Made { version: 1, kind: Kind::Live });
        assert!(!place.live.is_final(&snapshot, Some(1)));
        assert!(place.live.is_final(&name(2), None));
    }
}
