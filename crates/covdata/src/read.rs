//! From files to a [`Profile`]: groups files by binary, adds up the counters, and lists what is wrong.
//!
//! Go: `internal/coverage/pods` and `cmd/internal/cov`. Go groups by the hash in the name and never looks at
//! the header's, stops at the first bad file, and skips counters without meta-data in silence.

use std::borrow::Cow;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::{CounterFile, Error, FileName, MetaFile, MetaHash, Mode, Problem, Profile, Reason, same_hash};

/// Collects coverage files, in any order and from anywhere, into a [`Profile`].
///
/// Counters are added up as they come: what is held is one meta-data file and one number a unit for each
/// binary, however many counter files there are. Only counters that come before their meta-data are held as
/// they are.
#[derive(Debug, Default)]
pub struct Builder {
    binaries: BTreeMap<MetaHash, Binary>,
    /// Counter files whose meta-data has not come yet.
    waiting: HashMap<MetaHash, Vec<(PathBuf, Vec<u8>)>>,
    /// For a folder and a binary: its meta-data file there, and whether there was a counter file.
    folders: HashMap<(PathBuf, MetaHash), (Option<PathBuf>, bool)>,
    problems: Vec<Problem>,
}

/// What all files of one hash come to.
#[derive(Debug)]
pub(crate) struct Binary {
    path: PathBuf,
    pub(crate) meta: Vec<u8>,
    pub(crate) mode: Mode,
    /// For each package the index of its first function in `functions`, and one more for the end.
    packages: Vec<usize>,
    /// For each function the index of its first counter in `counts`, and one more for the end.
    functions: Vec<usize>,
    /// For each unit of the meta-data file, in its order, how often it ran.
    pub(crate) counts: Vec<u32>,
}

impl Builder {
    /// A builder without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every coverage file of a folder, not of folders in it. Files with other names are passed over, as
    /// in Go.
    pub fn add_dir(&mut self, dir: impl AsRef<Path>) {
        let dir = dir.as_ref();
        let mut paths = match list(dir) {
            Ok(paths) => paths,
            Err(error) => return self.problem(dir, error),
        };
        // "covmeta" sorts behind "covcounters": from the back no counter file has to wait for its meta-data.
        paths.sort_unstable();
        for path in paths.iter().rev() {
            match read(path) {
                Ok(bytes) => self.add_file(path, bytes),
                Err(error) => self.problem(path, error),
            }
        }
    }

    /// Adds a file's content. `path` gives the file's name, tells the folders apart, and is what problems
    /// refer to; it need not exist. A name which is not at all a coverage file's is passed over.
    pub fn add_file<'a>(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Cow<'a, [u8]>>) {
        let path = path.into();
        let Some(base) = base_name(&path) else { return };
        let added = match base.parse() {
            Ok(name @ FileName::Meta { .. }) => self.add_meta(&path, &name, bytes.into()),
            Ok(name @ FileName::Counters { .. }) => self.add_counters(&path, &name, bytes.into()),
            Ok(FileName::TemporaryMeta { .. } | FileName::TemporaryCounters { .. }) => {
                Err(Error::Temporary.into())
            }
            Err(error) => Err(error.into()),
        };
        if let Err(reason) = added {
            self.problem(path, reason);
        }
    }

    /// Merges what was added, across binaries, and gives it with everything that was wrong, sorted by path.
    #[must_use]
    pub fn finish(mut self) -> (Profile, Vec<Problem>) {
        for (hash, files) in std::mem::take(&mut self.waiting) {
            for (path, _) in files {
                self.problem(path, Reason::NoMeta { hash });
            }
        }
        for (meta, has_counters) in std::mem::take(&mut self.folders).into_values() {
            if let (Some(path), false) = (meta, has_counters) {
                self.problem(path, Reason::NoCounters);
            }
        }
        self.problems.sort_by(|a, b| a.path.cmp(&b.path));
        (Profile::merge(self.binaries.values()), self.problems)
    }

    fn add_meta(&mut self, path: &Path, name: &FileName, bytes: Cow<'_, [u8]>) -> Result<(), Reason> {
        let file = MetaFile::parse(&bytes)?;
        same_hash(name, file.hash)?;
        let hash = file.hash;
        match self.binaries.entry(hash) {
            Entry::Vacant(entry) => {
                let binary = Binary::new(path, &file);
                let binary = entry.insert(Binary { meta: bytes.into_owned(), ..binary });
                for (path, bytes) in self.waiting.remove(&hash).unwrap_or_default() {
                    let file = CounterFile::parse(&bytes).map_err(Reason::from);
                    if let Err(reason) = file.and_then(|file| binary.add(&file)) {
                        self.problems.push(Problem::new(path, reason));
                    }
                }
            }
            Entry::Occupied(entry) if entry.get().meta == *bytes => {}
            Entry::Occupied(entry) => return Err(Reason::OtherMeta { first: entry.get().path.clone() }),
        }
        self.folder(path, hash).0 = Some(path.to_path_buf());
        Ok(())
    }

    fn add_counters(&mut self, path: &Path, name: &FileName, bytes: Cow<'_, [u8]>) -> Result<(), Reason> {
        // Noted before anything can fail: a bad counter file is not a missing one.
        self.folder(path, name.hash()).1 = true;
        let file = CounterFile::parse(&bytes)?;
        same_hash(name, file.hash())?;
        match self.binaries.get_mut(&name.hash()) {
            Some(binary) => binary.add(&file)?,
            None => {
                let waiting = self.waiting.entry(name.hash()).or_default();
                waiting.push((path.to_path_buf(), bytes.into_owned()));
            }
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path, hash: MetaHash) -> &mut (Option<PathBuf>, bool) {
        let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
        self.folders.entry((folder, hash)).or_default()
    }

    fn problem(&mut self, path: impl Into<PathBuf>, reason: impl Into<Reason>) {
        self.problems.push(Problem::new(path, reason));
    }
}

impl Profile {
    /// Reads the coverage files of folders, and merges them.
    ///
    /// A folder or file that cannot be used is a [`Problem`], in order of path; everything else is in the
    /// profile.
    pub fn read_dirs<P: AsRef<Path>>(dirs: impl IntoIterator<Item = P>) -> (Self, Vec<Problem>) {
        let mut builder = Builder::new();
        for dir in dirs {
            builder.add_dir(dir);
        }
        builder.finish()
    }
}

impl Binary {
    fn new(path: &Path, file: &MetaFile<'_>) -> Self {
        let mut packages = vec![0];
        let mut functions = vec![0];
        let mut units = 0;
        for package in &file.packages {
            for function in &package.functions {
                units += function.units().len();
                functions.push(units);
            }
            packages.push(functions.len() - 1);
        }
        Self {
            path: path.to_path_buf(),
            meta: Vec::new(),
            mode: file.mode,
            packages,
            functions,
            counts: vec![0; units],
        }
    }

    /// Adds a counter file, or leaves everything as it is where a part of it does not fit.
    fn add(&mut self, file: &CounterFile<'_>) -> Result<(), Reason> {
        for entry in file.functions() {
            let (package, function) = (entry.package, entry.function);
            if self.counters(package, function).is_none_or(|own| own.len() != entry.counters().len()) {
                let counters = entry.counters().len() as u32;
                return Err(Reason::OtherShape { package, function, counters });
            }
        }
        for entry in file.functions() {
            let mode = self.mode;
            let own = self.counters(entry.package, entry.function).unwrap_or_default();
            for (sum, new) in own.iter_mut().zip(entry.counters()) {
                mode.merge(sum, new);
            }
        }
        Ok(())
    }

    fn counters(&mut self, package: u32, function: u32) -> Option<&mut [u32]> {
        let package = package as usize;
        let (first, end) = (*self.packages.get(package)?, *self.packages.get(package + 1)?);
        let function = first.checked_add(function as usize).filter(|&function| function < end)?;
        self.counts.get_mut(self.functions[function]..self.functions[function + 1])
    }
}

/// The paths of the files in a folder which have a coverage file's name, or nearly so.
fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let paths = entries.collect::<io::Result<Vec<_>>>()?;
    Ok(paths.into_iter().filter(|path| base_name(path).is_some()).collect())
}

fn base_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|base| FileName::looks_like_one(base))
}

/// Reads a regular file. Anything else, such as a pipe, might never end.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(path)?.is_file() { fs::read(path) } else { Err(io::Error::other("not a regular file")) }
}
