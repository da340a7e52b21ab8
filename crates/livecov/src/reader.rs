//! Finds the counters and the meta-data of a process.

use std::sync::Arc;

use md5::{Digest, Md5};

use covdata::{FileName, MetaHash, Mode, PackageBytes};

use crate::build::BuildInfo;
use crate::builds::{BuildId, Builds, MetaData};
use crate::elf::Executable;
use crate::known::{Known, Stop};
use crate::metalist::{self, Blob, MetaList};
use crate::range::Range;
use crate::{Error, module};

/// A process whose counters and meta-data are being found.
///
/// ```
/// # fn bytes_of(range: &livecov::Range) -> Vec<u8> { Vec::new() }
/// # let auxv = [];
/// use livecov::{Error, Reader, Step};
///
/// fn find(auxv: &[u8]) -> Result<livecov::Program, Error> {
///     let mut reader = Reader::new(auxv);
///     loop {
///         match reader.step()? {
///             Step::Read { ranges, .. } => {
///                 ranges.iter().for_each(|range| reader.give(*range, bytes_of(range)));
///             }
///             Step::Done(program) => return Ok(*program),
///         }
///     }
/// }
/// // There is nothing in this file.
/// assert_eq!(find(&auxv).unwrap_err(), Error::NotElf);
/// ```
#[derive(Debug, Clone)]
pub struct Reader {
    auxv: Vec<u8>,
    known: Known,
    builds: Option<Arc<Builds>>,
}

/// What comes next.
#[derive(Debug, Clone)]
pub enum Step {
    /// More bytes are needed.
    Read {
        /// Where they are.
        ranges: Vec<Range>,
        /// A number for the process's build, if the bytes are the same for all processes of the build. When one reader has
        /// found what is in them, the others need them no more, so it is worth while to wait for that.
        build: Option<u64>,
    },
    /// Everything is found.
    Done(Box<Program>),
}

/// A program in a process's memory: its meta-data, and where its counters are.
#[derive(Debug, Clone)]
pub struct Program {
    /// What its file has about its build.
    pub build: BuildInfo,
    /// As Go names its processor: GOARCH.
    pub(crate) architecture: &'static str,
    /// The counters in memory.
    pub(crate) counters: Range,
    /// Where the runtime has the number of packages.
    pub(crate) length_at: Range,
    pub(crate) meta: Arc<MetaData>,
}

impl Reader {
    /// A reader of a process. `auxv` is the content of its `/proc/PID/auxv`.
    #[must_use]
    pub fn new(auxv: &[u8]) -> Self {
        Self { auxv: auxv.to_vec(), known: Known::default(), builds: None }
    }

    /// The same, which shares what it finds with other readers of the same build.
    #[must_use]
    pub fn sharing(auxv: &[u8], builds: Arc<Builds>) -> Self {
        Self { builds: Some(builds), ..Self::new(auxv) }
    }

    /// Gives the bytes of a range that was asked for. What cannot be read is left off at the end, so there may be none.
    pub fn give(&mut self, range: Range, bytes: Vec<u8>) {
        self.known.add(range, bytes);
    }

    /// Goes on with what is known. It never asks for a range twice.
    ///
    /// # Errors
    ///
    /// All of [`Error`], but [`Error::NewPackages`].
    pub fn step(&self) -> Result<Step, Error> {
        match self.find() {
            Ok(program) => Ok(Step::Done(Box::new(program))),
            Err(Stop::Need(ranges)) => Ok(Step::Read { ranges, build: None }),
            Err(Stop::NeedShared(build, ranges)) => Ok(Step::Read { ranges, build: Some(build) }),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Runs from the start each time: with all bytes known this takes little, and needs no state.
    fn find(&self) -> Result<Program, Stop> {
        // The kernel is about to start a program: it has put the file in place, and nothing in memory yet.
        if self.auxv.first_chunk() == Some(&[0; size_of::<u64>()]) {
            return Err(Error::Starting.into());
        }
        let known = &self.known;
        let executable = Executable::read(&self.auxv, known)?;
        let id = match &self.builds {
            Some(_) => BuildId::read(&executable, known)?,
            None => None,
        };
        let build = BuildInfo::read(&executable, known)?;
        let counters = module::counters(&executable, &build, known)?;
        let shared = self.builds.as_deref().zip(id);
        let place = shared.as_ref().and_then(|(builds, id)| builds.place(id));
        let found = metalist::find(&executable, place, known).map_err(|stop| match &shared {
            // Who has to search finds the place for others too.
            Some((_, id)) if place.is_none() => id.shares(stop),
            _ => stop,
        })?;
        let Some(MetaList { length_at, place, blobs }) = found else {
            // A program that has counted has initialized a package.
            let has_counted = known.get(counters)?.iter().any(|byte| *byte != 0);
            let unknown = Error::Layout { go: build.go.clone() };
            return Err(if has_counted { unknown } else { Error::NotStarted }.into());
        };
        let meta = match shared.as_ref().and_then(|(builds, id)| builds.meta(id, &blobs)) {
            Some(meta) => meta,
            None => {
                let meta = self.meta(&blobs, &build).map_err(|stop| match &shared {
                    Some((_, id)) => id.shares(stop),
                    None => stop,
                })?;
                let meta = Arc::new(meta);
                if let Some((builds, id)) = shared {
                    builds.insert(id, place, &blobs, Arc::clone(&meta));
                }
                meta
            }
        };
        Ok(Program { build, architecture: executable.architecture, counters, length_at, meta })
    }

    /// Makes the meta-data of the packages' own.
    fn meta(&self, blobs: &[Blob], build: &BuildInfo) -> Result<MetaData, Stop> {
        let ranges: Vec<Range> = blobs.iter().map(|blob| blob.range).collect();
        let packages = self.known.all(&ranges)?;
        if blobs.iter().zip(&packages).any(|(blob, package)| !blob.begins(package)) {
            return Err(Error::Layout { go: build.go.clone() }.into());
        }
        // Packages of a test's own main do not count. Go: `modeClash` in `internal/coverage/cfile`.
        let counts = |blob: &&Blob| !matches!(blob.mode, Mode::RegOnly | Mode::TestMain);
        let first = blobs.iter().find(counts).or(blobs.first()).ok_or(Error::NotStarted)?;
        let hash = hash(blobs, first, build.go.as_deref());
        let file = covdata::meta_file_with_hash(hash, &packages, first.mode, first.granularity);
        let units = packages.iter().map(|package| units(package)).collect::<Result<_, _>>()?;
        Ok(MetaData {
            hash,
            file,
            units,
            granularity: first.granularity,
            packages: blobs.len(),
            numbers: (0..).zip(blobs).map(|(index, blob)| (blob.number, index)).collect(),
        })
    }
}

/// How many units each function of a package has. One package is parsed at a time: all of a large program's would take
/// as much memory again.
fn units(package: &[u8]) -> Result<Vec<u32>, covdata::Error> {
    let package = PackageBytes::new(package).parse()?;
    Ok((0..).map_while(|function| package.unit_count_of(function)).collect())
}

/// The hash of a program's meta-data: up to Go 1.23 by MD5.
fn hash(blobs: &[Blob], first: &Blob, go: Option<&str>) -> MetaHash {
    let hashes = blobs.iter().map(|blob| blob.hash);
    let release = go.and_then(|go| go.strip_prefix("go1."));
    let minor = release.and_then(|release| release.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    if minor.is_none_or(|minor: u32| minor >= 24) {
        return MetaHash::of_program(hashes, first.mode, first.granularity);
    }
    let mut hash = Md5::new();
    hashes.for_each(|package| hash.update(package));
    hash.update(first.mode.to_string());
    hash.update(first.granularity.to_string());
    MetaHash(hash.finalize().into())
}

impl Program {
    /// The name of its meta-data file.
    #[must_use]
    pub fn meta_name(&self) -> FileName {
        FileName::Meta { hash: self.meta.hash }
    }

    /// The bytes of its meta-data file.
    #[must_use]
    pub fn meta(&self) -> &[u8] {
        &self.meta.file
    }

    /// How many packages have told the runtime of their meta-data.
    #[must_use]
    pub fn packages(&self) -> usize {
        self.meta.packages
    }

    /// Where its counters are in memory.
    #[must_use]
    pub fn counters(&self) -> Range {
        self.counters
    }

    /// Where the runtime has the number of packages, eight bytes. It is to be read after the counters.
    #[must_use]
    pub fn length(&self) -> Range {
        self.length_at
    }
}
