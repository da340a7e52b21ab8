//! The summed counters of all counter files of one binary.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use covdata::{CounterFileBuilder, Error, Function, MetaFile, MetaHash, PackageBytes, ProcessArgs};

use crate::counts::count_of_sum;
use crate::parallel;

/// A binary: its meta-data file, and the number of its first function in each package.
#[derive(Debug)]
pub(crate) struct Binary<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) file: MetaFile<'a>,
    /// For each package, the number of functions in the packages before it. One more entry holds the number of all.
    packages: Vec<usize>,
}

/// The counters of any number of a binary's runs, added up.
#[derive(Debug, Clone)]
pub(crate) struct BinaryCounts<'a> {
    pub(crate) binary: Arc<Binary<'a>>,
    /// For each function of the meta-data file, in its order, the index in `sums` of its entry. The index is 0 for a
    /// function that never ran; most functions never run.
    places: Vec<u32>,
    /// An entry for each function that ran: its number of units, then for each unit the sum of its counters. The sums do
    /// not saturate, so that the counters of a file that turns out to be wrong can be subtracted again; 64 bits hold more
    /// runs than there can be. The first entry, with no units, is for all functions that never ran.
    sums: Vec<u64>,
    /// The facts about the process (command line, system, architecture) that are the same in all runs.
    pub(crate) args: Option<ProcessArgs>,
    /// Names that replace those in the meta-data, if a package and its files are renamed.
    pub(crate) names: Option<BinaryNames>,
}

/// The names of a package and its files in results.
#[derive(Debug, Clone)]
pub(crate) struct BinaryNames {
    /// The package's index.
    pub(crate) package: usize,
    /// Its import path.
    pub(crate) path: String,
    /// Its files' names, by those in the meta-data.
    pub(crate) files: HashMap<String, String>,
}

impl<'a> Binary<'a> {
    /// Parses a meta-data file.
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let parse =
            |packages: &[PackageBytes<'a>]| parallel::map_bytes(packages, bytes.len(), PackageBytes::parse);
        let file = MetaFile::parse_with(bytes, parse)?;
        let mut packages = vec![0];
        let (mut functions, mut units) = (0, 0);
        for package in &file.packages {
            functions += package.functions().len();
            units += package.unit_count();
            packages.push(functions);
        }
        // `BinaryCounts::sums` has at most this length: one number a function and a unit, and the first entry.
        if u32::try_from(functions + units + 1).is_err() {
            return Err(Error::Malformed { offset: 0, what: "more units than 32 bits count".into() });
        }
        Ok(Self { path, bytes, file, packages })
    }
}

impl<'a> BinaryCounts<'a> {
    /// A binary that never ran.
    pub(crate) fn new(binary: Arc<Binary<'a>>) -> Self {
        let functions = binary.packages.last().copied().unwrap_or_default();
        Self { binary, places: vec![0; functions], sums: vec![0], args: None, names: None }
    }

    /// The import path of a package in results.
    pub(crate) fn path(&self, package: usize) -> &str {
        let names = self.names.as_ref().filter(|names| names.package == package);
        names.map_or(self.binary.file.packages[package].path, |names| &names.path)
    }

    /// The name of a function's source file in results.
    #[inline]
    pub(crate) fn file(&self, package: usize, function: &Function<'_>) -> &str {
        let name = self.binary.file.packages[package].string(function.file);
        let names = self.names.as_ref().filter(|names| names.package == package);
        names.and_then(|names| names.files.get(name)).map_or(name, String::as_str)
    }

    /// For each function of a package, in order, how often each of its units ran. The counts of a function that never ran
    /// are empty.
    pub(crate) fn counts(
        &self,
        package: usize,
    ) -> impl Iterator<Item = impl ExactSizeIterator<Item = u32> + Clone> {
        let mode = self.binary.file.mode;
        let functions = 0..self.binary.file.packages[package].functions().len();
        functions
            .map(move |function| self.sums(package, function).iter().map(move |&sum| count_of_sum(mode, sum)))
    }

    /// The sums of a function's counters; empty if it never ran.
    #[inline]
    fn sums(&self, package: usize, function: usize) -> &[u64] {
        self.at(self.places[self.binary.packages[package] + function])
    }

    /// The sums of the entry at this index of `sums`.
    #[inline]
    fn at(&self, start: u32) -> &[u64] {
        let start = start as usize;
        &self.sums[start + 1..][..self.sums[start] as usize]
    }

    /// Sets to 0 the counts of those units of a function for which `keep` returns false.
    pub(crate) fn retain(&mut self, package: usize, function: usize, mut keep: impl FnMut() -> bool) {
        let start = self.places[self.binary.packages[package] + function] as usize;
        let units = self.sums[start] as usize;
        for sum in &mut self.sums[start + 1..][..units] {
            if !keep() {
                *sum = 0;
            }
        }
    }

    /// The sums of a function's counters, to add to; `None` if the meta-data has no such function.
    #[inline]
    pub(crate) fn place(&mut self, package: u32, function: u32) -> Option<&mut [u64]> {
        let (package, function) = (package as usize, function as usize);
        let (first, end) = (*self.binary.packages.get(package)?, *self.binary.packages.get(package + 1)?);
        let number = first.checked_add(function).filter(|&number| number < end)?;
        if self.places[number] == 0 {
            self.places[number] = self.new_place(package, function)?;
        }
        let (units, sums) = self.sums[self.places[number] as usize..].split_first_mut()?;
        sums.get_mut(..*units as usize)
    }

    /// Adds an entry for a function that did not run so far, and gives its index.
    #[cold]
    fn new_place(&mut self, package: usize, function: usize) -> Option<u32> {
        let units = self.binary.file.packages[package].unit_count_of(function)?;
        // `Binary::new` has checked that the length fits into 32 bits.
        let start = self.sums.len() as u32;
        self.sums.push(u64::from(units));
        self.sums.resize(self.sums.len() + units as usize, 0);
        Some(start)
    }

    /// Adds further runs of the same binary.
    pub(crate) fn merge(&mut self, other: Self) {
        for (own, &start) in self.places.iter_mut().zip(&other.places).filter(|(_, start)| **start != 0) {
            let new = other.at(start);
            if *own == 0 {
                *own = self.sums.len() as u32;
                self.sums.push(new.len() as u64);
                self.sums.extend_from_slice(new);
            } else {
                self.sums[*own as usize + 1..].iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
            }
        }
        self.keep_common(other.args);
    }

    /// A counter file of all the runs. Functions that never ran are left out.
    pub(crate) fn counter_file(&self) -> Result<Vec<u8>, Error> {
        self.select(self.binary.file.hash, 0..self.binary.file.packages.len())
    }

    /// A counter file of these packages, for a binary of this hash that has no others.
    pub(crate) fn select(
        &self,
        hash: MetaHash,
        packages: impl IntoIterator<Item = usize>,
    ) -> Result<Vec<u8>, Error> {
        let mut out = CounterFileBuilder::new(hash, self.args.as_ref().unwrap_or(&ProcessArgs::default()))?;
        for (number, package) in packages.into_iter().enumerate() {
            for (function, counts) in self.counts(package).enumerate() {
                out.function(number, function, counts)?;
            }
        }
        Ok(out.finish())
    }

    /// Keeps only those facts about the process that are the same in these runs too.
    pub(crate) fn keep_common(&mut self, args: Option<ProcessArgs>) {
        match (&mut self.args, args) {
            (Some(own), Some(args)) => keep_common(own, &args),
            (own @ None, args) => *own = args,
            (Some(_), None) => {}
        }
    }
}

/// Keeps only those facts about a process that are the same for another. Go: `argstate.Merge` in `cmd/covdata`.
pub(crate) fn keep_common(own: &mut ProcessArgs, other: &ProcessArgs) {
    let ProcessArgs { command_line, goos, goarch } = own;
    if *command_line != other.command_line {
        command_line.clear();
    }
    goos.take_if(|goos| other.goos.as_ref() != Some(goos));
    goarch.take_if(|goarch| other.goarch.as_ref() != Some(goarch));
}
