//! What all counter files of one binary come to.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::counters::Args;
use crate::encode::CounterFileBuilder;
use crate::{Error, MetaFile, MetaHash};

/// A binary: its meta-data file, and where in a row of counters each function's are.
#[derive(Debug)]
pub(crate) struct Binary<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: &'a [u8],
    pub(crate) file: MetaFile<'a>,
    /// For each package the index of its first function in `functions`, and one more for the end.
    packages: Vec<u32>,
    /// For each function the index of its first counter, and one more for the end. A file's length is below 2³² times
    /// that of a unit, and this is looked up at random: the smaller the better.
    functions: Vec<u32>,
}

/// The counters of any number of a binary's runs, added up.
#[derive(Debug, Clone)]
pub(crate) struct Counted<'a> {
    pub(crate) binary: Arc<Binary<'a>>,
    /// For each unit of the meta-data file, in its order, the plain sum of its counters. Plain, so that a file's
    /// part in it can be taken back; 64 bits hold more runs than there can be.
    sums: Vec<u64>,
    /// What all the runs have in common.
    pub(crate) args: Option<Args>,
}

impl<'a> Binary<'a> {
    /// Parses a meta-data file.
    pub(crate) fn new(path: &'a Path, bytes: &'a [u8]) -> Result<Self, Error> {
        let file = MetaFile::parse(bytes)?;
        let mut packages = vec![0];
        let mut functions = vec![0];
        let mut units = 0usize;
        for package in &file.packages {
            for function in &package.functions {
                units += function.units().len();
                functions.push(units as u32);
            }
            packages.push((functions.len() - 1) as u32);
        }
        if u32::try_from(units.max(functions.len())).is_err() {
            return Err(Error::malformed(0, "more units than 32 bits count"));
        }
        Ok(Self { path, bytes, file, packages, functions })
    }

    /// Where the counters of a package are.
    pub(crate) fn package_counters(&self, package: usize) -> Range<usize> {
        let [first, end] = [package, package + 1].map(|package| self.packages[package] as usize);
        self.functions[first] as usize..self.functions[end] as usize
    }

    /// Where the counters of a function are.
    #[inline]
    fn counters(&self, package: u32, function: u32) -> Option<Range<usize>> {
        let package = package as usize;
        let (first, end) = (*self.packages.get(package)?, *self.packages.get(package + 1)?);
        let function = first.checked_add(function).filter(|&function| function < end)? as usize;
        Some(*self.functions.get(function)? as usize..*self.functions.get(function + 1)? as usize)
    }
}

impl<'a> Counted<'a> {
    /// A binary that never ran.
    pub(crate) fn new(binary: Arc<Binary<'a>>) -> Self {
        let units = binary.functions.last().copied().unwrap_or_default() as usize;
        Self { binary, sums: vec![0; units], args: None }
    }

    /// How often units ran.
    pub(crate) fn counts(&self, units: Range<usize>) -> impl ExactSizeIterator<Item = u32> + Clone {
        let mode = self.binary.file.mode;
        self.sums[units].iter().map(move |&sum| mode.count(sum))
    }

    /// Sets the count of units to 0 for which `keep` is false.
    pub(crate) fn retain(&mut self, units: Range<usize>, mut keep: impl FnMut() -> bool) {
        for sum in &mut self.sums[units] {
            if !keep() {
                *sum = 0;
            }
        }
    }

    /// The sums of a function's counters.
    #[inline]
    pub(crate) fn place(&mut self, package: u32, function: u32) -> Option<&mut [u64]> {
        let units = self.binary.counters(package, function)?;
        self.sums.get_mut(units)
    }

    /// Adds further runs of the same binary.
    pub(crate) fn merge(&mut self, other: Self) {
        for (sum, new) in self.sums.iter_mut().zip(other.sums) {
            *sum += new;
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
            let [first, end] = [package, package + 1].map(|package| self.binary.packages[package] as usize);
            for (function, units) in self.binary.functions[first..=end].windows(2).enumerate() {
                out.function(number, function, self.counts(units[0] as usize..units[1] as usize));
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
