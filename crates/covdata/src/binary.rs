//! What all counter files of one binary come to.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::counters::Args;
use crate::encode::CounterFileBuilder;
use crate::{Error, Function, MetaFile, MetaHash};

/// A binary: its meta-data file, and where in a row of counters each function's are.
#[derive(Debug)]
pub(crate) struct Binary<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) file: MetaFile<'a>,
    /// For each package how many functions those before it have, and one more for the end.
    packages: Vec<usize>,
}

/// The counters of any number of a binary's runs, added up.
#[derive(Debug, Clone)]
pub(crate) struct Counted<'a> {
    pub(crate) binary: Arc<Binary<'a>>,
    /// For each function of the meta-data file, in its order, where in `sums` its are; 0 where it never ran, as most do.
    places: Vec<u32>,
    /// For each function that ran how many units it has, and then for each of these the plain sum of its counters. Plain,
    /// so that a file's part in it can be taken back; 64 bits hold more runs than there can be. The first is for all that
    /// never ran: no units.
    sums: Vec<u64>,
    /// What all the runs have in common.
    pub(crate) args: Option<Args>,
    /// The names of files and of their package that are not those in the meta-data.
    pub(crate) names: Option<BinaryNames>,
}

/// What a package and its files are called in results.
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
        let file = MetaFile::parse_in_parallel(bytes)?;
        let mut packages = vec![0];
        let (mut functions, mut units) = (0, 0);
        for package in &file.packages {
            functions += package.functions().len();
            units += package.units;
            packages.push(functions);
        }
        // `Counted::sums` is as long as that, and one more.
        if u32::try_from(functions + units + 1).is_err() {
            return Err(Error::malformed(0, "more units than 32 bits count"));
        }
        Ok(Self { path, bytes, file, packages })
    }
}

impl<'a> Counted<'a> {
    /// A binary that never ran.
    pub(crate) fn new(binary: Arc<Binary<'a>>) -> Self {
        let functions = binary.packages.last().copied().unwrap_or_default();
        Self { binary, places: vec![0; functions], sums: vec![0], args: None, names: None }
    }

    /// What a package is called in results: its import path.
    pub(crate) fn path(&self, package: usize) -> &str {
        let names = self.names.as_ref().filter(|names| names.package == package);
        names.map_or(self.binary.file.packages[package].path, |names| &names.path)
    }

    /// What a function's source file is called in results.
    #[inline]
    pub(crate) fn file(&self, package: usize, function: &Function<'_>) -> &str {
        let name = self.binary.file.packages[package].string(function.file);
        let names = self.names.as_ref().filter(|names| names.package == package);
        names.and_then(|names| names.files.get(name)).map_or(name, String::as_str)
    }

    /// How often each unit ran of each of a package's functions, in their order; nothing for one that never ran.
    pub(crate) fn counts(
        &self,
        package: usize,
    ) -> impl Iterator<Item = impl ExactSizeIterator<Item = u32> + Clone> {
        let mode = self.binary.file.mode;
        let functions = 0..self.binary.file.packages[package].functions().len();
        functions.map(move |function| self.sums(package, function).iter().map(move |&sum| mode.count(sum)))
    }

    /// The sums of a function's counters; nothing where it never ran.
    #[inline]
    fn sums(&self, package: usize, function: usize) -> &[u64] {
        self.at(self.places[self.binary.packages[package] + function])
    }

    /// The sums that start at a place.
    #[inline]
    fn at(&self, start: u32) -> &[u64] {
        let start = start as usize;
        &self.sums[start + 1..][..self.sums[start] as usize]
    }

    /// Sets the count of units to 0 for which `keep` is false, of a function's.
    pub(crate) fn retain(&mut self, package: usize, function: usize, mut keep: impl FnMut() -> bool) {
        let start = self.places[self.binary.packages[package] + function] as usize;
        let units = self.sums[start] as usize;
        for sum in &mut self.sums[start + 1..][..units] {
            if !keep() {
                *sum = 0;
            }
        }
    }

    /// The sums of a function's counters, to add to; of no function where there is none.
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

    /// Makes room for the sums of a function that did not run so far.
    #[cold]
    fn new_place(&mut self, package: usize, function: usize) -> Option<u32> {
        let units = self.binary.file.packages[package].units_of(function)?;
        // `Binary::new` has seen to it that 32 bits do.
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
        let mut out = CounterFileBuilder::new(hash);
        out.begin(&self.args.clone().unwrap_or_default())?;
        for (number, package) in packages.into_iter().enumerate() {
            for (function, counts) in self.counts(package).enumerate() {
                out.function(number, function, counts);
            }
        }
        out.end();
        Ok(out.finish())
    }

    /// Keeps of what is known of the runs' processes what is known of these too.
    pub(crate) fn keep_common(&mut self, args: Option<Args>) {
        match (&mut self.args, args) {
            (Some(own), Some(args)) => own.keep_common(&args),
            (own @ None, args) => *own = args,
            (Some(_), None) => {}
        }
    }
}
