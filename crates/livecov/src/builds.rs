//! What is the same for all processes of a build, and need be read of one of them alone: the meta-data of its packages,
//! and where the list of them is.
//!
//! A process is of the same build if its file has the same build ID. The list is read of each process, and checked. The
//! meta-data is taken from another process if the list has the same hashes and lengths too. Of a build without an ID
//! nothing is shared.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use covdata::{Granularity, MetaHash};

use crate::elf::{Executable, Section};
use crate::known::{Known, Stop};
use crate::metalist::{Blob, Place};
use crate::range::Range;

/// What was read of builds. Readers of the same build share it.
#[derive(Debug, Default)]
pub struct Builds(Mutex<HashMap<BuildId, Shared>>);

/// The content of a file's sections with its build ID.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct BuildId(Vec<u8>);

/// What is known of a build.
#[derive(Debug)]
struct Shared {
    place: Place,
    /// By the packages that have told the runtime of their meta-data, without their addresses.
    metas: HashMap<Vec<Blob>, Arc<MetaData>>,
}

/// What is made of a program's meta-data.
#[derive(Debug, Clone)]
pub(crate) struct MetaData {
    pub(crate) hash: MetaHash,
    /// The meta-data file.
    pub(crate) file: Vec<u8>,
    /// How many units each function has, by package: what is needed of the meta-data for each snapshot.
    pub(crate) units: Vec<Vec<u32>>,
    pub(crate) granularity: Granularity,
    /// How many packages there are.
    pub(crate) packages: usize,
    /// The packages that the compiler has numbered, since they run before they are initialized: below -1.
    pub(crate) numbers: HashMap<i64, usize>,
}

/// The sections of a program's file that have its build ID, by Go and by the system's linker. See `cmd/internal/buildid`.
const NOTES: [&str; 2] = [".note.go.buildid", ".note.gnu.build-id"];

/// The size of a note without its description: the sizes of name and description, the type, a name of four bytes.
const EMPTY_NOTE: usize = 16;

impl BuildId {
    /// Of a program's file. `None` if it has none.
    pub(crate) fn read(executable: &Executable, known: &Known) -> Result<Option<Self>, Stop> {
        let notes = NOTES.iter().filter_map(|name| executable.section(name));
        // With what comes next, in one step.
        let info = executable.section(".go.buildinfo");
        let ranges: Vec<Range> = notes.chain(info).map(Section::in_file).collect();
        let notes = &known.parts(&ranges)?[..ranges.len() - usize::from(info.is_some())];
        let has_id = notes.iter().any(|note| note.len() > EMPTY_NOTE);
        Ok(has_id.then(|| Self(notes.concat())))
    }

    /// What a reader needs that finds what it can share.
    pub(crate) fn shares(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Need(ranges) => {
                let mut hasher = DefaultHasher::new();
                self.hash(&mut hasher);
                Stop::NeedShared(hasher.finish(), ranges)
            }
            stop => stop,
        }
    }
}

impl Builds {
    /// Where the list is.
    pub(crate) fn place(&self, id: &BuildId) -> Option<Place> {
        self.lock().get(id).map(|shared| shared.place)
    }

    /// The meta-data of these packages.
    pub(crate) fn meta(&self, id: &BuildId, blobs: &[Blob]) -> Option<Arc<MetaData>> {
        self.lock().get(id)?.metas.get(&without_addresses(blobs)).cloned()
    }

    pub(crate) fn insert(&self, id: BuildId, place: Place, blobs: &[Blob], meta: Arc<MetaData>) {
        let mut builds = self.lock();
        let shared = builds.entry(id).or_insert_with(|| Shared { place, metas: HashMap::new() });
        shared.metas.insert(without_addresses(blobs), meta);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BuildId, Shared>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn without_addresses(blobs: &[Blob]) -> Vec<Blob> {
    blobs.iter().map(|blob| Blob { range: Range { start: 0, ..blob.range }, ..blob.clone() }).collect()
}
