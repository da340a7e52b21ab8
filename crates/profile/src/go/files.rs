//! The coverage files of a result: merged, selected, combined.
//!
//! Go: `cmd/covdata`, files `merge.go` and `metamerge.go`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::{SystemTime, UNIX_EPOCH};

use covdata::{CounterFileBuilder, Error, FileName, MetaHash, Mode, Package, PackageBuilder, meta_file};

use crate::Data;
use crate::binary::BinaryCounts;

/// A coverage file that is to be written: its name and its bytes.
pub type NewFile<'d> = (FileName, Cow<'d, [u8]>);

impl Data<'_> {
    /// The coverage files that `go tool covdata merge` writes: for each binary its meta-data and one counter file.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where a part of a file exceeds 32 bits.
    pub fn files(&self) -> Result<Vec<NewFile<'_>>, Error> {
        let files = self.binaries.iter().map(|counted| {
            let hash = counted.binary.file.hash;
            Ok(pair(hash, Cow::Borrowed(counted.binary.bytes), counted.counter_file()?))
        });
        Ok(files.collect::<Result<Vec<_>, Error>>()?.into_iter().flatten().collect())
    }

    /// The coverage files of the selected packages, as `go tool covdata merge -pkg` writes them. The meta-data is different,
    /// so the binaries' hashes change.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where a part of a file exceeds 32 bits.
    pub fn selected_files(&self, is_selected: impl Fn(&str) -> bool) -> Result<Vec<NewFile<'static>>, Error> {
        let mut out = Vec::<NewFile<'_>>::new();
        for counted in &self.binaries {
            let file = &counted.binary.file;
            let packages =
                file.packages.iter().enumerate().filter(|(index, _)| is_selected(counted.path(*index)));
            let (numbers, blobs): (Vec<usize>, Vec<&[u8]>) =
                packages.map(|(number, package)| (number, package.bytes())).unzip();
            let (hash, meta) = meta_file(&blobs, file.mode, file.granularity);
            let counters = counted.select(hash, numbers)?;
            out.extend(pair(hash, Cow::Owned(meta), counters));
        }
        Ok(numbered(out))
    }

    /// The coverage files of one binary with the functions of all, each once, as `go tool covdata merge -pcombine` writes
    /// them. Of the binaries' modes, the latest in the order set, count, atomic is used.
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`] where a part of a file exceeds 32 bits.
    pub fn combined_files(&self, is_selected: impl Fn(&str) -> bool) -> Result<Vec<NewFile<'static>>, Error> {
        let mut binaries: Vec<&BinaryCounts<'_>> = self.binaries.iter().collect();
        // Go's order, which decides the order of packages and functions.
        binaries.sort_by_key(|counted| counted.binary.path);
        let mode = binaries.iter().map(|counted| counted.binary.file.mode).max();
        let (Some(first), Some(mode)) = (binaries.first(), mode) else { return Ok(Vec::new()) };

        let mut packages = Vec::<CombinedPackage<'_>>::new();
        let mut numbers = HashMap::new();
        for counted in &binaries {
            let selected = counted
                .binary
                .file
                .packages
                .iter()
                .enumerate()
                .filter(|(index, _)| is_selected(counted.path(*index)));
            for (index, package) in selected {
                let number = *numbers.entry(package.path).or_insert_with(|| {
                    packages.push(CombinedPackage::new(package));
                    packages.len() - 1
                });
                packages[number].add(package, counted.counts(index), mode);
            }
        }
        let (counts, builders): (Vec<_>, Vec<_>) =
            packages.into_iter().map(|package| (package.counts, package.builder)).unzip();
        let blobs = builders.into_iter().map(PackageBuilder::finish).collect::<Result<Vec<_>, _>>()?;
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let (hash, meta) = meta_file(&blobs, mode, first.binary.file.granularity);

        let mut args = binaries.iter().filter_map(|counted| counted.args.clone());
        let mut common = args.next().unwrap_or_default();
        args.for_each(|args| common.keep_common(&args));
        let mut out = CounterFileBuilder::new(hash);
        out.begin(&common)?;
        for (package, functions) in counts.iter().enumerate() {
            for (function, counts) in functions.iter().enumerate() {
                out.function(package, function, counts.iter().copied());
            }
        }
        out.end();
        Ok(pair(hash, Cow::Owned(meta), out.finish()).into())
    }
}

/// Combines a package of several binaries into one.
struct CombinedPackage<'a> {
    builder: PackageBuilder<'a>,
    /// The number of each different function: its name, file, units and literal flag.
    numbers: HashMap<(&'a str, &'a str, &'a [u8], bool), u32>,
    /// For each function, the count of each unit.
    counts: Vec<Vec<u32>>,
}

impl<'a> CombinedPackage<'a> {
    fn new(package: &Package<'a>) -> Self {
        let builder = PackageBuilder::new(package.name, package.path, package.module);
        Self { builder, numbers: HashMap::new(), counts: Vec::new() }
    }

    fn add(
        &mut self,
        package: &Package<'a>,
        counts: impl Iterator<Item = impl Iterator<Item = u32>>,
        mode: Mode,
    ) {
        for (function, counts) in package.functions().zip(counts) {
            let [name, file] = [function.name, function.file].map(|index| package.string(index));
            match self.numbers.entry((name, file, function.units_bytes(), function.literal)) {
                Entry::Vacant(entry) => {
                    entry.insert(self.builder.add(name, file, function.literal, function.units()));
                    let mut all: Vec<u32> = counts.collect();
                    all.resize(function.units().len(), 0);
                    self.counts.push(all);
                }
                Entry::Occupied(entry) => {
                    for (sum, new) in self.counts[*entry.get() as usize].iter_mut().zip(counts) {
                        mode.merge(sum, new);
                    }
                }
            }
        }
    }
}

/// The two files of a binary. As in Go, the counter file's name has process 0, because no single process wrote it.
fn pair(hash: MetaHash, meta: Cow<'_, [u8]>, counters: Vec<u8>) -> [NewFile<'_>; 2] {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
    [(FileName::Meta { hash }, meta), (FileName::Counters { hash, pid: 0, nanos }, Cow::Owned(counters))]
}

/// Gives each counter file a number of its own: two binaries may have the same hash after a selection.
fn numbered(mut files: Vec<NewFile<'static>>) -> Vec<NewFile<'static>> {
    for (number, (name, _)) in (0..).zip(&mut files) {
        if let FileName::Counters { pid, .. } = name {
            *pid = number;
        }
    }
    files
}
