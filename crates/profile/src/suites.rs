//! Suites: parts of the input, such as unit and end-to-end tests, counted over the blocks of the whole input.
//!
//! The merged blocks are the rows of a table, and each suite is a column. So the statements that only one suite ran, that
//! several ran and that none ran add up to all statements.

use std::collections::HashMap;
use std::ops::AddAssign;

use covdata::{Mode, Unit};

use crate::counts::{merge_blocks, merge_count};
use crate::go::percent::Coverage;
use crate::groups::{Group, Part};
use crate::index::{Partition, order};
use crate::profile::{Block, FileProfile, PackageProfile, Profile};

/// How many statements each of several suites ran.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SuiteCoverage {
    /// For each suite, the statements that it ran, and all.
    pub each: Vec<Coverage>,
    /// For each suite, the statements that no other suite ran, and all.
    pub only: Vec<Coverage>,
    /// The statements that several suites ran, and all.
    pub several: Coverage,
    /// The statements that no suite ran, and all.
    pub none: Coverage,
}

/// How many statements of a package each suite ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageSuites {
    /// Its import path.
    pub path: String,
    /// Its statements.
    pub coverage: SuiteCoverage,
}

impl PackageSuites {
    /// Sums up a package's statements, for so many suites.
    #[must_use]
    pub fn of(package: &PackageProfile<'_>, suites: usize) -> Self {
        Self { path: package.path.to_owned(), coverage: SuiteCoverage::sum(suites, &package.files) }
    }
}

impl FileProfile<'_> {
    /// How many of its statements each suite ran. Empty where suites were not read apart.
    #[must_use]
    pub fn suite_coverage(&self) -> SuiteCoverage {
        let mut sum = SuiteCoverage::of(self.suites.len());
        let ran: Vec<_> = self.suites.iter().enumerate().filter(|(_, counts)| !counts.is_empty()).collect();
        let mut total = 0;
        for (row, block) in self.blocks.iter().enumerate() {
            let statements = block.unit.statements;
            total += u64::from(statements);
            sum.count(statements, ran.iter().filter(|(_, counts)| counts[row] != 0).map(|(suite, _)| *suite));
        }
        sum.set_total(total);
        sum
    }
}

impl Profile<'_> {
    /// The counts of one suite, by its number, on the blocks of all.
    #[must_use]
    pub fn of_suite(&self, suite: usize) -> Self {
        let mut profile = self.clone();
        for file in profile.packages.iter_mut().flat_map(|package| &mut package.files) {
            let counts = std::mem::take(&mut file.suites).swap_remove(suite);
            for (row, block) in file.blocks.iter_mut().enumerate() {
                block.count = counts.get(row).copied().unwrap_or_default();
            }
        }
        profile
    }
}

impl SuiteCoverage {
    /// Nothing, for so many suites.
    #[must_use]
    pub fn of(suites: usize) -> Self {
        let none = vec![Coverage::default(); suites];
        Self { each: none.clone(), only: none, ..Self::default() }
    }

    /// How many statements of some files each of so many suites ran.
    #[must_use]
    pub fn sum<'f, 'a: 'f>(suites: usize, files: impl IntoIterator<Item = &'f FileProfile<'a>>) -> Self {
        let mut sum = Self::of(suites);
        files.into_iter().for_each(|file| sum += file.suite_coverage());
        sum
    }

    /// Adds a block with this number of statements that these suites ran, but not to the numbers of all statements.
    pub(crate) fn count(&mut self, statements: u32, suites: impl Iterator<Item = usize>) {
        let statements = u64::from(statements);
        let (mut ran, mut last) = (0, 0);
        for suite in suites {
            self.each[suite].covered += statements;
            (ran, last) = (ran + 1, suite);
        }
        let share = match ran {
            0 => &mut self.none,
            1 => &mut self.only[last],
            _ => &mut self.several,
        };
        share.covered += statements;
    }

    /// Sets the number of all statements.
    pub(crate) fn set_total(&mut self, total: u64) {
        let shares = self.only.iter_mut().chain([&mut self.several, &mut self.none]);
        self.each.iter_mut().chain(shares).for_each(|coverage| coverage.total = total);
    }
}

impl AddAssign for SuiteCoverage {
    fn add_assign(&mut self, other: Self) {
        let add = |own: &mut [Coverage], other: Vec<Coverage>| {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
        };
        add(&mut self.each, other.each);
        add(&mut self.only, other.only);
        self.several += other.several;
        self.none += other.none;
    }
}

impl<'a> Group<'a> {
    /// Sets the counts of each suite on the merged blocks of a package.
    pub(crate) fn count_suites(&self, package: &mut PackageProfile<'a>, suites: usize, mode: Mode) {
        if suites == 0 {
            return;
        }
        let numbers: HashMap<&str, usize> =
            package.files.iter().enumerate().map(|(number, file)| (file.name, number)).collect();
        let mut files: Vec<_> =
            package.files.iter().map(|file| SuiteCounter::new(&file.blocks, suites, mode)).collect();
        // The suites of one binary share its meta-data, which is decoded once.
        for parts in
            self.suite_parts.chunk_by(|(_, a), (_, b)| std::ptr::eq(a.package.bytes(), b.package.bytes()))
        {
            add_parts(parts, &numbers, &mut files);
        }
        for (suite, name, text) in &self.suite_texts {
            if let Some(&number) = numbers.get(name) {
                for block in text.blocks.iter().filter(|block| block.count != 0) {
                    let row = files[number].row(&block.unit);
                    files[number].add(*suite, row, &block.unit, block.count);
                }
            }
        }
        let counts: Vec<_> = files.into_iter().map(SuiteCounter::finish).collect();
        package.files.iter_mut().zip(counts).for_each(|(file, counts)| file.suites = counts);
    }
}

/// Adds a package that is the same in some suites.
fn add_parts(parts: &[(usize, Part<'_>)], numbers: &HashMap<&str, usize>, files: &mut [SuiteCounter<'_>]) {
    let first = &parts[0].1;
    let mut counts: Vec<_> = parts.iter().map(|(suite, part)| (*suite, part.counts())).collect();
    // Most functions of a file come one after the other.
    let (mut last, mut number) = (None, None);
    let (mut units, mut rows) = (Vec::new(), Vec::new());
    for function in first.package.functions() {
        rows.clear();
        units.clear();
        for (suite, counts) in &mut counts {
            let Some(counts) = counts.next().filter(|counts| counts.len() > 0) else { continue };
            if last != Some(function.file) {
                (last, number) = (Some(function.file), numbers.get(first.file(&function)).copied());
            }
            let Some(file) = number.map(|number| &mut files[number]) else { continue };
            if rows.is_empty() {
                units.extend(function.units());
                rows.extend(units.iter().map(|unit| file.row(unit)));
            }
            for ((count, unit), row) in counts.zip(&units).zip(&rows).filter(|((count, _), _)| *count != 0) {
                file.add(*suite, *row, unit, count);
            }
        }
    }
}

/// Counts the blocks of a file by suite.
struct SuiteCounter<'p> {
    mode: Mode,
    /// The merged blocks, in order.
    blocks: &'p [Block],
    /// The counts of each suite on these; empty as long as it ran none of them.
    suites: Vec<Vec<u32>>,
    /// The suites' other blocks: coarser or finer ones, of another release of Go.
    others: Vec<(usize, Block)>,
}

impl<'p> SuiteCounter<'p> {
    fn new(blocks: &'p [Block], suites: usize, mode: Mode) -> Self {
        Self { mode, blocks, suites: vec![Vec::new(); suites], others: Vec::new() }
    }

    /// The index of a block among the merged ones.
    fn row(&self, unit: &Unit) -> Option<usize> {
        self.blocks.binary_search_by_key(&order(unit), |block| order(&block.unit)).ok()
    }

    fn add(&mut self, suite: usize, row: Option<usize>, unit: &Unit, count: u32) {
        match row {
            Some(row) => self.add_to(suite, row, count),
            None => self.others.push((suite, Block { unit: *unit, count, function: None })),
        }
    }

    fn add_to(&mut self, suite: usize, row: usize, count: u32) {
        let counts = &mut self.suites[suite];
        counts.resize(self.blocks.len(), 0);
        merge_count(self.mode, &mut counts[row], count);
    }

    fn finish(mut self) -> Vec<Vec<u32>> {
        if self.others.is_empty() {
            return self.suites;
        }
        let partition = Partition::of_parts(self.blocks.iter().map(|block| block.unit));
        let mut others = std::mem::take(&mut self.others);
        others.sort_by_key(|(suite, _)| *suite);
        for others in others.chunk_by(|(a, _), (b, _)| a == b) {
            let mut blocks: Vec<Block> = others.iter().map(|(_, block)| *block).collect();
            merge_blocks(&mut blocks, self.mode);
            self.project(others[0].0, &blocks, &partition);
        }
        self.suites
    }

    /// Adds a suite's blocks to the merged ones that each consists of, or is a piece of.
    fn project(&mut self, suite: usize, blocks: &[Block], partition: &Partition) {
        // As in the merge: a block began to run as often as the piece that ran most.
        let mut most_of_pieces = HashMap::<usize, u32>::new();
        for Block { unit, count, .. } in blocks {
            for part in &partition.units()[partition.parts(unit)] {
                let Some(row) = self.row(part) else { unreachable!("the partition has the merged blocks") };
                let is_piece = part.start() <= unit.start()
                    && unit.end() <= part.end()
                    && (part.start(), part.end()) != (unit.start(), unit.end());
                if is_piece {
                    let most = most_of_pieces.entry(row).or_default();
                    *most = (*most).max(*count);
                } else {
                    self.add_to(suite, row, *count);
                }
            }
        }
        for (row, most) in most_of_pieces {
            self.add_to(suite, row, most);
        }
    }
}
