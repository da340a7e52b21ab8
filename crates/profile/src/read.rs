//! From files to [`Data`]: groups files by binary, adds up the counters, and lists what is wrong.
//!
//! Go: `internal/coverage/pods` and `cmd/internal/cov`. Go groups by the hash in the name and never looks at
//! the header's, stops at the first bad file, and silently skips counters without meta-data.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::Metadata;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use covdata::{CounterFile, Error, FileName, MetaHash, TextError, TextProfile};
use fs_err as fs;

use crate::binary::{Binary, BinaryCounts};
use crate::bytes::Bytes;
use crate::data::Data;
use crate::parallel;
use crate::problem::{Problem, Reason};
use crate::repeat::Adder;
use crate::texts::TextCounts;

/// Collects the names of coverage files, in any order and from anywhere.
#[derive(Debug, Default)]
pub struct Builder {
    /// Which of several inputs is being added.
    input: usize,
    metas: Vec<(MetaHash, File)>,
    counters: Vec<(MetaHash, File)>,
    texts: Vec<File>,
    problems: Vec<Problem>,
}

/// Coverage files: the bytes of each binary's meta-data, and the names of counter files and text profiles. There may be
/// very many of the latter, so their bytes are not kept.
#[derive(Debug)]
pub struct Files {
    inputs: usize,
    /// A thousand replicas have a thousand equal files, whose bytes are kept once.
    metas: Vec<(MetaHash, Meta)>,
    /// By input.
    counters: Vec<(MetaHash, File)>,
    /// By input.
    texts: Vec<File>,
    problems: Vec<Problem>,
}

/// A file that is to be read.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// Its bytes, if the caller gave them.
    bytes: Option<Vec<u8>>,
    input: usize,
}

/// A meta-data file.
#[derive(Debug)]
enum Meta {
    First(LoadedFile),
    /// A file with the same bytes as an earlier one.
    Same {
        path: PathBuf,
        input: usize,
        /// The earlier one's index.
        as_in: usize,
    },
}

/// A file that was read.
#[derive(Debug)]
struct LoadedFile {
    path: PathBuf,
    bytes: Bytes,
    input: usize,
}

impl Builder {
    /// A builder without files.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every coverage file of a folder, not of folders in it. Files with other names are skipped, as
    /// in Go.
    pub fn add_dir(&mut self, dir: impl AsRef<Path>) {
        match list(dir.as_ref()) {
            Ok(List { coverage, .. }) => coverage.into_iter().for_each(|path| self.add_path(path, None)),
            Err(error) => self.problem(dir.as_ref(), error),
        }
    }

    /// Adds every coverage file of a folder and of the folders in it, however deep. Links to folders are not
    /// followed.
    pub fn add_tree(&mut self, dir: impl AsRef<Path>) {
        let mut dirs = vec![dir.as_ref().to_path_buf()];
        while let Some(dir) = dirs.pop() {
            match list(&dir) {
                Ok(List { coverage, folders }) => {
                    coverage.into_iter().for_each(|path| self.add_path(path, None));
                    dirs.extend(folders);
                }
                Err(error) => self.problem(dir, error),
            }
        }
    }

    /// Adds a text profile, as `go test -coverprofile` and `go tool covdata textfmt` write it, whatever its name.
    pub fn add_text(&mut self, path: impl Into<PathBuf>) {
        self.texts.push(File { path: path.into(), bytes: None, input: self.input });
    }

    /// Adds a text profile's content. `path` is what problems refer to.
    pub fn add_text_bytes(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) {
        self.texts.push(File { path: path.into(), bytes: Some(bytes.into()), input: self.input });
    }

    /// Adds a coverage file's content. `path` gives the file's name, tells the folders apart, and is what
    /// problems refer to; it need not exist. A name that does not start like a coverage file's is skipped.
    pub fn add_file<'a>(&mut self, path: impl Into<PathBuf>, bytes: impl Into<Cow<'a, [u8]>>) {
        let path = path.into();
        if base_name(&path).is_some() {
            self.add_path(path, Some(bytes.into().into_owned()));
        }
    }

    /// Starts another input for [`Files::read_each`]: files that are added later belong to it.
    pub fn next_input(&mut self) {
        self.input += 1;
    }

    /// Reads the meta-data files, which have to be in memory.
    #[must_use]
    pub fn load(self) -> Files {
        let Self { input, mut metas, counters, mut texts, mut problems } = self;
        // Of two different files of one hash the first is used, so the order must not depend on the file system.
        metas.sort_by(|(_, a), (_, b)| (a.input, &a.path).cmp(&(b.input, &b.path)));
        texts.sort_by(|a, b| (a.input, &a.path).cmp(&(b.input, &b.path)));
        let mut loaded = Vec::<(MetaHash, Meta)>::new();
        let mut firsts = HashMap::new();
        for (hash, file) in metas {
            let file = match file.load() {
                Ok(file) => file,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let as_in = *firsts.entry(hash).or_insert(loaded.len());
            let meta = match loaded.get(as_in) {
                Some((_, Meta::First(first))) if *first.bytes == *file.bytes => {
                    Meta::Same { path: file.path, input: file.input, as_in }
                }
                _ => Meta::First(file),
            };
            loaded.push((hash, meta));
        }
        Files { inputs: input + 1, metas: loaded, counters, texts, problems }
    }

    fn add_path(&mut self, path: PathBuf, bytes: Option<Vec<u8>>) {
        let file = File { path, bytes, input: self.input };
        match base_name(&file.path).unwrap_or_default().parse() {
            Ok(FileName::Meta { hash }) => self.metas.push((hash, file)),
            Ok(FileName::Counters { hash, .. }) => self.counters.push((hash, file)),
            Ok(FileName::Text { .. }) => self.texts.push(file),
            Ok(FileName::TemporaryMeta { .. } | FileName::TemporaryCounters { .. }) => {
                self.problem(file.path, Error::Temporary);
            }
            Err(error) => self.problem(file.path, error),
        }
    }

    fn problem(&mut self, path: impl Into<PathBuf>, reason: impl Into<Reason>) {
        self.problems.push(Problem::new(path, reason));
    }
}

impl Files {
    /// How many inputs there are: one more than calls of [`Builder::next_input`].
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Parses all files and adds up the counters. Gives all problems too, sorted by path.
    ///
    /// Each processor reads one file at a time and adds it to its own sums. So memory does not depend on the number of
    /// files: it holds a number for each unit that ran, of each binary and text profile, for each processor.
    #[must_use]
    pub fn read(&self) -> (Data<'_>, Vec<Problem>) {
        let mut problems = self.problems.clone();
        let binaries = self.binaries(&mut problems);
        let data = self.read_inputs(0..self.inputs, &binaries, &mut problems);
        (data, sorted(problems))
    }

    /// As [`read`](Self::read), but each input is a suite too: a profile has the counts of each, in
    /// [`FileProfile::suites`](crate::FileProfile::suites).
    #[must_use]
    pub fn read_suites(&self) -> (Data<'_>, Vec<Problem>) {
        let mut problems = self.problems.clone();
        let binaries = self.binaries(&mut problems);
        let suites =
            (0..self.inputs).map(|input| self.read_inputs(input..input + 1, &binaries, &mut problems));
        let suites: Vec<Data<'_>> = suites.collect();
        let (mut counted, mut text) = (BTreeMap::new(), None);
        for suite in &suites {
            suite.binaries.iter().cloned().for_each(|new| add_counts(&mut counted, new));
            add_text(&mut text, suite.text.clone());
        }
        let data = Data { binaries: counted.into_values().collect(), text, suites, ..Data::default() };
        (data, sorted(problems))
    }

    /// As [`read`](Self::read), but calls `each` with the data of each input, one after the other. The meta-data of one
    /// input is used for the counters of all.
    ///
    /// If some files are named by a path, `identify` is called once with the data of all inputs, without the counters of
    /// binaries, to call [`Data::identify`] with: a program's files have the same names in all inputs.
    pub fn read_each<'f>(
        &'f self,
        identify: impl FnOnce(&mut Data<'f>),
        mut each: impl FnMut(Data<'f>),
    ) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        let binaries = self.binaries(&mut problems);
        let mut identify = Some(identify);
        let mut all = Data::default();
        for input in 0..self.inputs {
            let mut data = self.read_inputs(input..input + 1, &binaries, &mut problems);
            if !data.path_names().is_empty() {
                if let Some(identify) = identify.take() {
                    all = self.without_counters(&binaries);
                    identify(&mut all);
                }
                data.identify_as(&all);
            }
            each(data);
        }
        sorted(problems)
    }

    /// All binaries, as if none had run, and all text profiles.
    fn without_counters<'a>(&self, binaries: &HashMap<MetaHash, Arc<Binary<'a>>>) -> Data<'a> {
        let mut binaries: Vec<_> =
            binaries.values().map(|binary| BinaryCounts::new(Arc::clone(binary))).collect();
        binaries.sort_by_key(|counted| counted.binary.file.hash);
        // The problems are found, and reported, where each input is read.
        let (text, _) = read_texts(&self.texts);
        Data { binaries, text, ..Data::default() }
    }

    /// Parses the meta-data files, and reports those without a counter file in the same folder.
    fn binaries(&self, problems: &mut Vec<Problem>) -> HashMap<MetaHash, Arc<Binary<'_>>> {
        let with_counters: HashSet<(&Path, MetaHash)> =
            self.counters.iter().map(|(hash, file)| (folder(&file.path), *hash)).collect();
        let mut binaries = HashMap::<MetaHash, Arc<Binary<'_>>>::new();
        let mut outcomes: Vec<Result<(), Reason>> = Vec::with_capacity(self.metas.len());
        for (hash, meta) in &self.metas {
            let outcome = match meta {
                Meta::Same { as_in, .. } => outcomes[*as_in].clone(),
                Meta::First(file) => {
                    Binary::new(&file.path, &file.bytes).map_err(Reason::from).and_then(|binary| {
                        same_hash(*hash, binary.file.hash)?;
                        if let Some(first) = binaries.get(hash) {
                            return Err(Reason::OtherMeta { first: first.path.to_path_buf() });
                        }
                        binaries.insert(*hash, Arc::new(binary));
                        Ok(())
                    })
                }
            };
            match &outcome {
                Ok(()) if with_counters.contains(&(folder(meta.path()), *hash)) => {}
                Ok(()) => problems.push(Problem::new(meta.path(), Reason::NoCounters)),
                Err(reason) => problems.push(Problem::new(meta.path(), reason.clone())),
            }
            outcomes.push(outcome);
        }
        binaries
    }

    /// Reads the counter files and text profiles of some inputs.
    fn read_inputs<'a>(
        &self,
        inputs: Range<usize>,
        binaries: &HashMap<MetaHash, Arc<Binary<'a>>>,
        problems: &mut Vec<Problem>,
    ) -> Data<'a> {
        let counters = of_inputs(&self.counters, &inputs, |(_, file)| file.input);
        let parts = map_parts(counters, 2 * WORTH_FILES, |files| Part::read(files, binaries));
        let mut counted = BTreeMap::new();
        for part in parts {
            problems.extend(part.problems);
            part.counted.into_iter().for_each(|new| add_counts(&mut counted, new));
        }
        for (hash, _) in self.metas.iter().filter(|(_, meta)| inputs.contains(&meta.input())) {
            if let Some(binary) = binaries.get(hash) {
                counted.entry(*hash).or_insert_with(|| BinaryCounts::new(Arc::clone(binary)));
            }
        }
        let texts = of_inputs(&self.texts, &inputs, |file| file.input);
        let mut text = None;
        for (new, new_problems) in map_parts(texts, 2, read_texts) {
            problems.extend(new_problems);
            add_text(&mut text, new);
        }
        Data { binaries: counted.into_values().collect(), text, ..Data::default() }
    }
}

/// The items of some inputs in a list that is sorted by input.
fn of_inputs<'l, T>(list: &'l [T], inputs: &Range<usize>, input: impl Fn(&T) -> usize) -> &'l [T] {
    let [start, end] =
        [inputs.start, inputs.end].map(|bound| list.partition_point(|item| input(item) < bound));
    &list[start..end]
}

/// Maps parts of a list of files: one part for each processor, because each part holds sums of its own. Fewer than `worth`
/// files are one part.
fn map_parts<T: Sync, R: Send>(files: &[T], worth: usize, map: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    if files.len() < worth {
        return vec![map(files)];
    }
    let part = files.len().div_ceil(parallel::processors()).max(worth / 2);
    let parts: Vec<_> = files.chunks(part).collect();
    parallel::map(&parts, |files| map(files))
}

/// Reads text profiles and adds them up.
fn read_texts(files: &[File]) -> (Option<TextCounts>, Vec<Problem>) {
    let (mut sum, mut problems, mut buffer) = (None, Vec::new(), Vec::new());
    for file in files {
        let parsed =
            file.read(&mut buffer).map_err(Reason::from).and_then(|bytes| Ok(TextProfile::parse(bytes)?));
        match parsed {
            Ok(profile) => {
                add_text(&mut sum, Some(TextCounts::of(&profile)));
                problems.extend(profile.bad_lines.map(|bad| Problem::new(&file.path, TextError::from(bad))));
            }
            Err(reason) => problems.push(Problem::new(&file.path, reason)),
        }
    }
    (sum, problems)
}

fn add_counts<'a>(sums: &mut BTreeMap<MetaHash, BinaryCounts<'a>>, new: BinaryCounts<'a>) {
    match sums.get_mut(&new.binary.file.hash) {
        Some(own) => own.merge(new),
        None => drop(sums.insert(new.binary.file.hash, new)),
    }
}

fn add_text(sum: &mut Option<TextCounts>, new: Option<TextCounts>) {
    match (sum, new) {
        (Some(sum), Some(new)) => sum.add(new),
        (sum @ None, new) => *sum = new,
        (Some(_), None) => {}
    }
}

fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| a.path.cmp(&b.path));
    problems
}

impl Meta {
    fn path(&self) -> &Path {
        match self {
            Self::First(LoadedFile { path, .. }) | Self::Same { path, .. } => path,
        }
    }

    fn input(&self) -> usize {
        match self {
            Self::First(LoadedFile { input, .. }) | Self::Same { input, .. } => *input,
        }
    }
}

/// The least number of counter files for which a part of their own saves time.
const WORTH_FILES: usize = 16;

/// The sums of a part of an input's counter files.
struct Part<'a> {
    counted: Vec<BinaryCounts<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Part<'a> {
    fn read(files: &[(MetaHash, File)], binaries: &HashMap<MetaHash, Arc<Binary<'a>>>) -> Self {
        let mut adders = HashMap::<MetaHash, Adder<'a>>::new();
        let mut problems = Vec::new();
        let mut buffer = Vec::new();
        for &(hash, ref file) in files {
            let added = file.read(&mut buffer).map_err(Reason::from).and_then(|bytes| {
                if let Some(adder) = adders.get_mut(&hash) {
                    return adder.add(bytes);
                }
                let Some(binary) = binaries.get(&hash) else {
                    same_hash(hash, CounterFile::parse(bytes)?.hash())?;
                    return Err(Reason::NoMeta { hash });
                };
                adders.entry(hash).or_insert(Adder::new(Arc::clone(binary), files.len())).add(bytes)
            });
            if let Err(reason) = added {
                problems.push(Problem::new(&file.path, reason));
            }
        }
        Self { counted: adders.into_values().map(Adder::finish).collect(), problems }
    }
}

impl File {
    fn load(mut self) -> Result<LoadedFile, Problem> {
        let bytes = match self.bytes.take() {
            Some(bytes) => Ok(Bytes::Heap(bytes)),
            None => self.is_regular().and_then(|_| Bytes::read(&self.path)),
        };
        match bytes {
            Ok(bytes) => Ok(LoadedFile { path: self.path, bytes, input: self.input }),
            Err(error) => Err(Problem::new(self.path, Reason::from(error))),
        }
    }

    /// Reads a regular file. Any other, such as a pipe, might have no end. The buffer never shrinks, so that it is not
    /// cleared again for each file.
    fn read<'a>(&'a self, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes);
        }
        let metadata = self.is_regular()?;
        let mut file = fs::File::open(&self.path)?;
        let expected = usize::try_from(metadata.len()).unwrap_or_default().saturating_add(1);
        let mut len = 0;
        loop {
            if len == buffer.len() {
                buffer.resize(expected.max(len * 2), 0);
            }
            match file.read(&mut buffer[len..])? {
                0 => return Ok(&buffer[..len]),
                read => len += read,
            }
        }
    }
}

impl File {
    fn is_regular(&self) -> io::Result<Metadata> {
        let metadata = fs::metadata(&self.path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(error.kind(), format!("{}: no such file or folder", self.path.display()))
            }
            _ => error,
        })?;
        if metadata.is_file() {
            Ok(metadata)
        } else {
            Err(io::Error::other(format!("{}: not a regular file", self.path.display())))
        }
    }
}

/// The entries of a folder.
#[derive(Default)]
struct List {
    /// The files whose name starts like a coverage file's.
    coverage: Vec<PathBuf>,
    folders: Vec<PathBuf>,
}

fn list(dir: &Path) -> io::Result<List> {
    let mut list = List::default();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            list.folders.push(path);
        } else if base_name(&path).is_some() {
            list.coverage.push(path);
        }
    }
    Ok(list)
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn base_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str().filter(|base| FileName::looks_like_one(base))
}

/// Checks the hash of a file that is parsed already.
fn same_hash(expected: MetaHash, found: MetaHash) -> Result<(), Error> {
    if found == expected { Ok(()) } else { Err(Error::OtherHash { expected, found }) }
}
