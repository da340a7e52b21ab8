//! The coverage files of a result: merged, selected, combined.
//!
//! Go: `cmd/covdata`, files `merge.go` and `metamerge.go`.

use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use covdata::{
    CounterFileBuilder, Error, FileName, Function, MetaHash, Mode, Package, PackageBuilder, Unit, meta_file,
};

use crate::binary::{BinaryCounts, keep_common};
use crate::counts::merge_count;
use crate::index::Partition;
use crate::{Data, FileProfile, Finding, Findings, PackageProfile};

/// A coverage file that is to be written: its name and its bytes.
pub type NewFile<'d> = (FileName, Cow<'d, [u8]>);

impl Data<'_> {
    /// The coverage files that `go tool covdata merge` writes: for each binary its meta-data and one counter file.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if a part of a file exceeds 32 bits.
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
    /// [`Error::TooLarge`] if a part of a file exceeds 32 bits.
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
    /// them. Of the binaries' modes, the latest in the order set, count, atomic is used. Where several releases of Go cut a
    /// file into blocks differently, its functions have the blocks that all agree on. Gives the findings about the selected
    /// packages' files too.
    ///
    /// Files have the names of the meta-data: those of [`files_of_several_programs`](Self::files_of_several_programs) would
    /// be added up.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if a part of a file exceeds 32 bits.
    pub fn combined_files(
        &self,
        is_selected: impl Fn(&str) -> bool,
    ) -> Result<(Vec<NewFile<'static>>, Findings<'_>), Error> {
        let mut binaries: Vec<&BinaryCounts<'_>> = self.binaries.iter().collect();
        // Go's order, which decides the order of packages and functions.
        binaries.sort_by_key(|counted| counted.binary.path);
        let mode = binaries.iter().map(|counted| counted.binary.file.mode).max();
        let (Some(first), Some(mode)) = (binaries.first(), mode) else { return Ok(Default::default()) };

        let (partitions, findings) = self.partitions(&is_selected);
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
                packages[number].add(package, counted.counts(index), mode, |function| {
                    partitions.get(counted.file(index, function))
                });
            }
        }
        let (counts, builders): (Vec<_>, Vec<_>) =
            packages.into_iter().map(|package| (package.counts, package.builder)).unzip();
        let blobs = builders.into_iter().map(PackageBuilder::finish).collect::<Result<Vec<_>, _>>()?;
        let blobs: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let (hash, meta) = meta_file(&blobs, mode, first.binary.file.granularity);

        let mut args = binaries.iter().filter_map(|counted| counted.args.clone());
        let mut common = args.next().unwrap_or_default();
        args.for_each(|args| keep_common(&mut common, &args));
        let mut out = CounterFileBuilder::new(hash, &common)?;
        for (package, functions) in counts.iter().enumerate() {
            for (function, counts) in functions.iter().enumerate() {
                out.function(package, function, counts.iter().copied())?;
            }
        }
        Ok((pair(hash, Cow::Owned(meta), out.finish()).into(), findings))
    }

    /// The paths of files in selected packages that different programs have, as far as [`identify`](Self::identify) has
    /// found them: in the meta-data these files have one name.
    #[must_use]
    pub fn files_of_several_programs(&self, is_selected: impl Fn(&str) -> bool) -> Vec<&str> {
        let mut names = BTreeMap::<&str, BTreeSet<&str>>::new();
        let all = self.binaries.iter().filter_map(|counted| counted.names.as_ref());
        for (path, name) in all.filter(|names| is_selected(&names.path)).flat_map(|names| &names.files) {
            names.entry(path).or_default().insert(name);
        }
        names.into_iter().filter(|(_, names)| names.len() > 1).map(|(path, _)| path).collect()
    }

    /// The blocks of the files that several releases of Go cut into blocks differently, and the findings about all files.
    fn partitions(&self, is_selected: impl Fn(&str) -> bool) -> (HashMap<String, Partition>, Findings<'_>) {
        let profile = self.profile_of(is_selected);
        let findings = profile.packages().iter().flat_map(PackageProfile::findings).collect();
        let joined = profile.files().filter(|file| file.finding == Some(Finding::Joined));
        let partition = |file: &FileProfile<'_>| {
            let units = file.blocks.iter().map(|block| block.unit);
            Some((file.name.to_owned(), Partition::of(units)?))
        };
        let mut partitions: HashMap<_, _> = joined.filter_map(partition).collect();
        for counted in &self.binaries {
            // A malformed file may have one block in many functions. Each would get all of its parts.
            let mut sizes = HashMap::<&str, (usize, usize)>::new();
            for (index, package) in counted.binary.file.packages.iter().enumerate() {
                for function in package.functions() {
                    let file = counted.file(index, &function);
                    let Some(partition) = partitions.get(file) else { continue };
                    let (units, parts) = sizes.entry(file).or_default();
                    *units += function.units().len();
                    *parts += function.units().map(|unit| partition.parts(&unit).len()).sum::<usize>();
                }
            }
            for (file, (units, parts)) in sizes {
                if partitions.get(file).is_some_and(|partition| parts > partition.units().len() + units) {
                    partitions.remove(file);
                }
            }
        }
        (partitions, findings)
    }
}

/// Combines a package of several binaries into one.
struct CombinedPackage<'a> {
    builder: PackageBuilder<'a>,
    /// The number of each different function: its name, file, units and literal flag.
    numbers: HashMap<(&'a str, &'a str, Vec<Unit>, bool), u32>,
    /// For each function, the count of each unit.
    counts: Vec<Vec<u32>>,
}

impl<'a> CombinedPackage<'a> {
    fn new(package: &Package<'a>) -> Self {
        let builder = PackageBuilder::new(package.name, package.path, package.module);
        Self { builder, numbers: HashMap::new(), counts: Vec::new() }
    }

    /// Adds a package of a binary. `partition` gives the blocks of a function's file, where they are not the function's own.
    fn add<'p>(
        &mut self,
        package: &Package<'a>,
        counts: impl Iterator<Item = impl Iterator<Item = u32>>,
        mode: Mode,
        partition: impl Fn(&Function<'_>) -> Option<&'p Partition>,
    ) {
        for (function, counts) in package.functions().zip(counts) {
            let [name, file] = [function.name, function.file].map(|index| package.string(index));
            // The counts of a function that never ran are left out.
            let counts = counts.chain(std::iter::repeat(0));
            let (units, counts): (Vec<Unit>, Vec<u32>) = match partition(&function) {
                Some(partition) => on_partition(partition, function.units().zip(counts)),
                None => function.units().zip(counts).unzip(),
            };
            match self.numbers.entry((name, file, units, function.literal)) {
                Entry::Vacant(entry) => {
                    let units = entry.key().2.iter().copied();
                    let number = self.builder.add(name, file, function.literal, units);
                    entry.insert(number);
                    self.counts.push(counts);
                }
                Entry::Occupied(entry) => {
                    for (sum, new) in self.counts[*entry.get() as usize].iter_mut().zip(counts) {
                        merge_count(mode, sum, new);
                    }
                }
            }
        }
    }
}

/// A function's blocks and their counts on a partition. Of several pieces of one block, the one that ran most tells how often
/// it began.
fn on_partition(partition: &Partition, blocks: impl Iterator<Item = (Unit, u32)>) -> (Vec<Unit>, Vec<u32>) {
    let mut counts = BTreeMap::new();
    for (unit, count) in blocks {
        for part in partition.parts(&unit) {
            let most = counts.entry(part).or_insert(count);
            *most = count.max(*most);
        }
    }
    counts.into_iter().map(|(part, count)| (partition.units()[part], count)).unzip()
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

#[cfg(test)]
mod tests {
    use covdata::Granularity;

    use super::*;
    use crate::{Builder, Coverage};

    /// The files of a program with one function: its blocks, each with its count.
    fn program(blocks: &[(Unit, u32)]) -> [(String, Vec<u8>); 2] {
        let mut package = PackageBuilder::new("p", "m/p", "m");
        package.add("f", "m/p/a.go", false, blocks.iter().map(|(unit, _)| *unit));
        let (hash, meta) = meta_file(&[&package.finish().unwrap()], Mode::Count, Granularity::PerBlock);
        let mut counters = CounterFileBuilder::new(hash, &Default::default()).unwrap();
        counters.function(0, 0, blocks.iter().map(|(_, count)| *count)).unwrap();
        let name = FileName::Counters { hash, pid: 1, nanos: 1 };
        [(FileName::Meta { hash }.to_string(), meta), (name.to_string(), counters.finish())]
    }

    fn unit(start: (u32, u32), end: (u32, u32), statements: u32) -> Unit {
        Unit { start_line: start.0, start_column: start.1, end_line: end.0, end_column: end.1, statements }
    }

    #[test]
    fn one_binary_of_several_releases_has_each_statement_once() {
        let old = [(unit((1, 10), (9, 2), 3), 2)];
        let new = [(unit((2, 2), (4, 1), 1), 5), (unit((6, 2), (8, 1), 2), 0)];
        for programs in [[&old[..], &new], [&new, &old]] {
            let mut builder = Builder::new();
            for (name, bytes) in programs.into_iter().flat_map(program) {
                builder.add_file(name, bytes);
            }
            let files = builder.load();
            let (data, problems) = files.read();
            assert!(problems.is_empty(), "{problems:?}");
            let mut builder = Builder::new();
            for (name, bytes) in data.combined_files(|_| true).unwrap().0 {
                builder.add_file(name.to_string(), bytes);
            }
            let files = builder.load();
            let (combined, problems) = files.read();
            assert!(problems.is_empty(), "{problems:?}");
            let mut text = Vec::new();
            combined.write_text(|_| true, &mut text).unwrap();
            let expected = "mode: count\nm/p/a.go:2.2,4.1 1 7\nm/p/a.go:6.2,8.1 2 2\n";
            assert_eq!(String::from_utf8(text).unwrap(), expected);
            assert_eq!(combined.percent(|_| true).0.total(), Coverage { covered: 3, total: 3 });
        }
    }
}
