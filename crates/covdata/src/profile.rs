//! Profiles: the counts of every block, merged over runs, binaries and text profiles.
//!
//! Go: `internal/coverage/cformat`. A block is known by its file, place and number of statements, so that it is the
//! same in whatever binary, and in a text profile. (Go's `covdata` takes the function's name into account as well,
//! and so counts a block twice whose function was renamed between two builds; `go tool cover` does not.)

use std::borrow::Cow;
use std::collections::HashMap;

use crate::binary::BinaryCounts;
use crate::join::{is_repeated, is_too_full, join};
use crate::meta::{Package, pair};
use crate::text::{TextFile, TextProfile, package_of};
use crate::{Coverage, Data, Function, Mode, Unit, parallel};

/// The merged counts of any number of runs of any number of binaries, and of text profiles. Names are borrowed from
/// the [`Data`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile<'a> {
    mode: Option<Mode>,
    packages: Vec<PackageProfile<'a>>,
}

/// A package of a [`Profile`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageProfile<'a> {
    /// Its import path.
    pub path: &'a str,
    /// Its functions, for [`Block::function`]. One that is in several inputs is there several times.
    pub functions: Vec<ProfileFunction<'a>>,
    /// Its source files that have blocks, sorted by name.
    pub files: Vec<FileProfile<'a>>,
}

/// A source file of a [`PackageProfile`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileProfile<'a> {
    /// Import path, slash, base name. An absolute path where the binary was built from files, not from a package.
    pub name: &'a str,
    /// The blocks, each once, in Go's order: by first line, last line, first column, last column. Blocks of one
    /// version of the source do not overlap, so this is their order in the source.
    pub blocks: Vec<Block>,
    /// The worst finding about the blocks.
    pub finding: Option<Finding>,
}

/// Why a file's blocks or numbers are doubtful, from harmless to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// The inputs were built by several releases of Go, which cut functions into blocks differently. The finest blocks
    /// count, each with the runs of the coarser ones that it is in.
    Joined,
    /// Numbers of statements are too large: Go 1.27.0 and 1.27.1 give each piece of a block the number of the whole.
    Repeated,
    /// Blocks in a file with `//line` directives overlap: releases of Go place such blocks differently. The statements of
    /// all count.
    LineDirectives,
    /// The inputs were built from different versions of the source, and percentages count the statements of all versions.
    /// Either blocks overlap, cannot be joined, and are not all in one input; or blocks at one position have different
    /// numbers of statements, which a single build never has.
    Mixed,
}

impl Finding {
    /// The message for people. `files` names the first file, and the number of further ones.
    #[must_use]
    pub fn message(self, files: &str) -> String {
        match self {
            Self::Joined => format!(
                "the inputs were built by several releases of Go, which cut {files} into blocks differently: each statement \
                 counts once, and go tool covdata gives other numbers"
            ),
            Self::Repeated => format!(
                "Go 1.27.0 or 1.27.1 built {files} and counts statements several times there, so the total is too large \
                 (golang/go 80974): build with 1.27.2 or later"
            ),
            Self::LineDirectives => format!(
                "the inputs disagree about {files}, which has //line directives: releases of Go place their blocks \
                 differently, and the statements of all count"
            ),
            Self::Mixed => format!(
                "the inputs were built from different versions of {files}: the statements of all versions count"
            ),
        }
    }
}

/// Findings by the name of the file.
pub type Findings<'a> = Vec<(&'a str, Finding)>;

/// A function of a [`PackageProfile`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ProfileFunction<'a> {
    /// Its name, with the receiver's type before it, as in `Cart.Add` or `*Cart.Add`.
    pub name: Cow<'a, str>,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    pub literal: bool,
    /// The line that it begins in, if another release's blocks or the source tell it. From Go 1.27 on, the first block
    /// begins at the first statement, which may be in a later line.
    pub line: Option<u32>,
}

/// A unit and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where it is, and its number of statements.
    pub unit: Unit,
    /// How often it ran; 0 or 1 in mode set, and [`u32::MAX`] for that many or more.
    pub count: u32,
    /// Index of its function in [`PackageProfile::functions`]; `None` where only text profiles have it.
    pub function: Option<u32>,
}

impl<'a> Profile<'a> {
    /// The packages, sorted by path as Go sorts: by bytes. Also those without files: they have no statements.
    #[must_use]
    pub fn packages(&self) -> &[PackageProfile<'a>] {
        &self.packages
    }

    /// The packages, to complete or to remove some.
    pub fn packages_mut(&mut self) -> &mut Vec<PackageProfile<'a>> {
        &mut self.packages
    }

    /// All source files, by package and name.
    pub fn files(&self) -> impl Iterator<Item = &FileProfile<'a>> + Clone {
        self.packages.iter().flat_map(|package| &package.files)
    }

    /// The counter mode; `None` if there was no file. For inputs of several modes it is the latest one in the order set,
    /// count, atomic, and a block that ran in mode set counts as one run.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    pub(crate) fn merge(data: &'a Data<'_>) -> Self {
        let Some(mode) = data.mode() else { return Self::default() };
        let parts = data.parts(|_| true);
        let mut packages = parallel::map_bytes(&groups(&parts), data.size(), |group| group.merge(mode));
        if let Some(text) = &data.text {
            add_text(&mut packages, text, mode);
        }
        Self { mode: Some(mode), packages }
    }

    /// The blocks that ran.
    pub(crate) fn covered(&self) -> CoveredBlocks<'a> {
        let mut files = HashMap::<_, Vec<(Unit, u64)>>::new();
        for file in self.files() {
            let covered = file.blocks.iter().filter(|block| block.count != 0);
            files.entry(file.name).or_default().extend(covered.map(|block| (block.unit, 0)));
        }
        for covered in files.values_mut() {
            covered.sort_by_key(|(unit, _)| unit.start());
            let mut last = 0;
            for (unit, end) in covered {
                last = last.max(unit.end());
                *end = last;
            }
        }
        CoveredBlocks { files }
    }
}

/// A package's parts in all binaries, not yet merged.
pub(crate) struct Group<'p, 'a> {
    pub(crate) path: &'a str,
    parts: &'p [Part<'a>],
}

/// Groups the parts that [`Data::parts`] gives.
pub(crate) fn groups<'p, 'a>(parts: &'p [Part<'a>]) -> Vec<Group<'p, 'a>> {
    let groups = parts.chunk_by(|a, b| a.path() == b.path());
    groups.map(|parts| Group { path: parts[0].path(), parts }).collect()
}

/// A package in one binary.
pub(crate) struct Part<'a> {
    counted: &'a BinaryCounts<'a>,
    index: usize,
    package: &'a Package<'a>,
}

impl Data<'_> {
    /// The latest counter mode of all inputs.
    pub(crate) fn mode(&self) -> Option<Mode> {
        let modes = self.binaries.iter().map(|counted| counted.binary.file.mode);
        modes.chain(self.text.iter().map(|text| text.mode)).max()
    }

    /// How many bytes of meta-data there are.
    pub(crate) fn size(&self) -> usize {
        self.binaries.iter().map(|counted| counted.binary.bytes.len()).sum()
    }

    /// The selected packages of each binary, sorted by path.
    pub(crate) fn parts(&self, is_selected: impl Fn(&str) -> bool) -> Vec<Part<'_>> {
        let packages = self.binaries.iter().flat_map(|counted| {
            let packages = counted.binary.file.packages.iter().enumerate();
            packages.map(move |(index, package)| Part { counted, index, package })
        });
        let mut parts: Vec<Part<'_>> = packages.filter(|part| is_selected(part.path())).collect();
        parts.sort_by_key(Part::path);
        parts
    }
}

impl<'a> Part<'a> {
    fn path(&self) -> &'a str {
        self.counted.path(self.index)
    }

    fn file(&self, function: &Function<'_>) -> &'a str {
        self.counted.file(self.index, function)
    }

    /// Facts about this binary's blocks of a file.
    fn own(&self, file: &str) -> BlockFacts {
        let functions = self.package.functions().filter(|function| self.file(function) == file);
        let units = functions.flat_map(|function| function.units());
        let mut blocks: Vec<Block> = units.map(|unit| Block { unit, count: 0, function: None }).collect();
        merge_blocks(&mut blocks, Mode::Set);
        BlockFacts::of(&blocks)
    }
}

impl<'a> Group<'_, 'a> {
    /// How many bytes of meta-data it is.
    pub(crate) fn size(&self) -> usize {
        self.parts.iter().map(|part| part.package.blob.len()).sum()
    }

    /// Merges the parts.
    pub(crate) fn merge(&self, mode: Mode) -> PackageProfile<'a> {
        let Self { path, parts } = self;
        let mut package = PackageProfile { path, ..PackageProfile::default() };
        let mut numbers = HashMap::<&str, usize>::new();
        let mut sizes = Vec::new();
        for part in *parts {
            // File names are compared once for each file, not for each function.
            let mut file_of_string = vec![usize::MAX; part.package.strings.len()];
            for function in part.package.functions() {
                let file = &mut file_of_string[function.file as usize];
                if *file == usize::MAX {
                    let name = part.file(&function);
                    *file = *numbers.entry(name).or_insert_with(|| {
                        package.files.push(FileProfile { name, ..FileProfile::default() });
                        sizes.push(0);
                        package.files.len() - 1
                    });
                }
                sizes[*file] += function.units().len();
            }
            for (file, size) in package.files.iter_mut().zip(&mut sizes) {
                file.blocks.reserve_exact(std::mem::take(size));
            }
            package.functions.reserve_exact(part.package.functions().len());
            for (function, mut counts) in part.package.functions().zip(part.counted.counts(part.index)) {
                // A function has more than a byte in the file, so 32 bits are enough for 4 GiB of functions.
                let number = package.functions.len() as u32;
                let name = Cow::Borrowed(part.package.string(function.name));
                package.functions.push(ProfileFunction { name, literal: function.literal, line: None });
                let blocks = &mut package.files[file_of_string[function.file as usize]].blocks;
                let start = blocks.len();
                blocks.extend(function.units().map(|unit| {
                    let count = counts.next().unwrap_or_default();
                    Block { unit, count, function: Some(number) }
                }));
                // Functions are usually in order; the blocks in them usually are not.
                blocks[start..].sort_unstable_by_key(|block| order(&block.unit));
            }
        }
        package.files.retain(|file| !file.blocks.is_empty());
        for file in &mut package.files {
            merge_blocks(&mut file.blocks, mode);
            let own = || parts.iter().map(|part| part.own(file.name)).collect();
            file.settle(&mut package.functions, mode, own, false);
        }
        package.files.sort_by_key(|file| file.name);
        package
    }
}

/// A function of a package whose functions are in the order of the source and do not overlap.
pub(crate) struct OrderedFunction<'s, 'a> {
    pub(crate) file: &'a str,
    pub(crate) literal: bool,
    pub(crate) coverage: Coverage,
    package: &'s Package<'a>,
    name: u32,
    /// In the order of its counters; empty if only the coverage was requested.
    blocks: &'s [Block],
    /// The start of each block, sorted. The lowest bits hold the block's index.
    starts: &'s [u64],
}

/// The index in the lowest bits of an element of [`OrderedFunction::starts`].
fn index_of(start: u64) -> usize {
    start as usize & INDICES
}

/// The largest index that fits into these bits, which is also the largest column that fits.
const INDICES: usize = 0xffff;

impl<'s, 'a> OrderedFunction<'s, 'a> {
    /// Its name.
    pub(crate) fn name(&self) -> &'a str {
        self.package.string(self.name)
    }

    /// Its blocks, if they were requested.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &'s Block> + use<'s, 'a> {
        let blocks = self.blocks;
        self.starts.iter().filter_map(|start| blocks.get(index_of(*start)))
    }

    /// The line that it starts in.
    pub(crate) fn line(&self) -> u32 {
        (self.starts[0] >> 32) as u32
    }
}

impl<'a> Group<'_, 'a> {
    /// Calls `each` with each function that has blocks, in the order of the source, without merging blocks. This is
    /// faster than [`merge`](Self::merge), and possible for nearly all packages.
    ///
    /// Returns `false`, maybe after some calls, if the blocks have to be merged: if blocks may be duplicates, if functions
    /// overlap, if functions or files are not in order, or if the binaries have different versions of the package.
    ///
    /// `BLOCKS` says whether the functions have their blocks, or only their coverage.
    #[must_use]
    pub(crate) fn in_order<const BLOCKS: bool>(
        &self,
        mode: Mode,
        mut each: impl FnMut(&OrderedFunction<'_, 'a>),
    ) -> bool {
        let package = self.parts[0].package;
        if self.parts.iter().any(|part| part.package.blob != package.blob) {
            return false;
        }
        let mut all_counts: Vec<_> = self.parts.iter().map(|part| part.counted.counts(part.index)).collect();
        let mut counts = Vec::new();
        let mut blocks = Vec::new();
        let mut starts = Vec::new();
        let (mut file, mut file_number) = ("", None);
        let mut last_end = 0;
        for function in package.functions() {
            counts.clear();
            for new in all_counts.iter_mut().filter_map(Iterator::next) {
                if counts.is_empty() {
                    counts.extend(new);
                } else {
                    counts.iter_mut().zip(new).for_each(|(sum, new)| mode.merge(sum, new));
                }
            }
            if function.units().len() == 0 {
                continue;
            }
            if file_number != Some(function.file) {
                let next = self.parts[0].file(&function);
                if file_number.is_some() && next <= file {
                    return false;
                }
                (file, file_number) = (next, Some(function.file));
                last_end = 0;
            }
            let mut coverage = Coverage::default();
            blocks.clear();
            starts.clear();
            let (mut end, mut fits) = (0, function.units().len() <= INDICES);
            for unit in function.units() {
                let count = counts.get(starts.len()).copied().unwrap_or_default();
                coverage.count(unit.statements, count);
                fits &= unit.start_column as usize <= INDICES
                    && unit.start() <= unit.end()
                    && !is_too_full(&unit);
                starts.push(pair(unit.start_line, unit.start_column << 16 | starts.len() as u32));
                end = end.max(unit.end());
                if BLOCKS {
                    blocks.push(Block { unit, count, function: None });
                }
            }
            starts.sort_unstable();
            let start = pair((starts[0] >> 32) as u32, (starts[0] >> 16) as u32 & 0xffff);
            let twice = starts.windows(2).any(|pair| pair[0] >> 16 == pair[1] >> 16);
            if !fits || start <= last_end || twice {
                return false;
            }
            last_end = end;
            if BLOCKS {
                let in_order = starts.iter().map(|start| &blocks[index_of(*start)]);
                if overlap(in_order) {
                    return false;
                }
            }
            each(&OrderedFunction {
                file,
                literal: function.literal,
                coverage,
                package,
                name: function.name,
                blocks: &blocks,
                starts: &starts,
            });
        }
        true
    }
}

impl<'a> PackageProfile<'a> {
    /// The findings about its files.
    pub(crate) fn findings(&self) -> Findings<'a> {
        self.files.iter().filter_map(|file| Some((file.name, file.finding?))).collect()
    }
}

/// Adds text profiles, which know files but no packages.
fn add_text<'a>(packages: &mut Vec<PackageProfile<'a>>, text: &'a TextProfile, mode: Mode) {
    let mut places: HashMap<&str, (usize, usize)> = HashMap::new();
    for (package, profile) in packages.iter().enumerate() {
        places
            .extend(profile.files.iter().enumerate().map(|(file, profile)| (profile.name, (package, file))));
    }
    let mut numbers: HashMap<&str, usize> =
        packages.iter().enumerate().map(|(number, package)| (package.path, number)).collect();
    for (name, TextFile { blocks, own }) in &text.files {
        let (package, file) = places.get(name.as_str()).copied().unwrap_or_else(|| {
            let path = package_of(name);
            let package = *numbers.entry(path).or_insert_with(|| {
                packages.push(PackageProfile { path, ..PackageProfile::default() });
                packages.len() - 1
            });
            let files = &mut packages[package].files;
            files.push(FileProfile { name, ..FileProfile::default() });
            (package, files.len() - 1)
        });
        let PackageProfile { files, functions, .. } = &mut packages[package];
        let file = &mut files[file];
        let before = BlockFacts::of(&file.blocks);
        file.blocks.extend(blocks);
        merge_blocks(&mut file.blocks, mode);
        if mode == Mode::Set {
            file.blocks.iter_mut().for_each(|block| block.count = block.count.min(1));
        }
        file.settle(functions, mode, || [before, *own].into_iter().collect(), name.ends_with(".go"));
    }
    packages.iter_mut().for_each(|package| package.files.sort_by_key(|file| file.name));
    packages.sort_by_key(|package| package.path);
}

/// Facts about a single input's blocks of a file; over several inputs, the largest of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockFacts {
    /// How many blocks there are.
    largest: usize,
    /// Whether some blocks overlap.
    pub(crate) overlap: bool,
}

impl BlockFacts {
    /// The facts about blocks, which are in order.
    pub(crate) fn of(blocks: &[Block]) -> Self {
        Self { largest: blocks.len(), overlap: overlap(blocks.iter()) }
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self { largest: self.largest.max(other.largest), overlap: self.overlap || other.overlap }
    }
}

impl FromIterator<BlockFacts> for BlockFacts {
    fn from_iter<I: IntoIterator<Item = Self>>(inputs: I) -> Self {
        inputs.into_iter().fold(Self::default(), Self::or)
    }
}

impl FileProfile<'_> {
    /// Joins the blocks of several releases of Go, and sets the finding. `own` gives the facts about each single input;
    /// `unsure` says that one input may be a merge of several builds.
    ///
    /// Blocks of one version may overlap, if `//line` directives map two positions in generated code to one position in
    /// its source. But the `go` command never gives two blocks the same position: `dedup` in `cmd/cover`.
    fn settle(
        &mut self,
        functions: &mut [ProfileFunction<'_>],
        mode: Mode,
        own: impl FnOnce() -> BlockFacts,
        unsure: bool,
    ) {
        let place = |unit: &Unit| (unit.start(), unit.end());
        let same_place = |two: &[Block]| place(&two[0].unit) == place(&two[1].unit);
        let same_place = self.blocks.windows(2).any(same_place);
        if same_place || overlap(self.blocks.iter()) {
            let own = own();
            let one = !same_place && own.largest >= self.blocks.len();
            let joined = if own.overlap && !unsure { None } else { join(&self.blocks, functions, mode) };
            // Up to Go 1.26, a block after a directive has no column.
            let is_placed = |block: &Block| block.unit.start_column != 0;
            self.finding = match joined {
                // What was odd about the blocks before is put right.
                Some(blocks) => {
                    self.blocks = blocks;
                    Some(Finding::Joined)
                }
                None if one => self.finding,
                None if self.blocks.iter().any(is_placed) && !self.blocks.iter().all(is_placed) => {
                    self.finding.max(Some(Finding::LineDirectives))
                }
                None => Some(Finding::Mixed),
            };
        }
        let repeated = is_repeated(&self.blocks);
        self.finding = self.finding.max(repeated.then_some(Finding::Repeated));
    }
}

/// Sorts blocks, and merges those that are the same.
pub(crate) fn merge_blocks(blocks: &mut Vec<Block>, mode: Mode) {
    // Sorting is faster than hashing here: the blocks are mostly in order already, and the result has to be.
    if !blocks.is_sorted_by_key(|block| order(&block.unit)) {
        blocks.sort_by_key(|block| order(&block.unit));
    }
    blocks.dedup_by(|block, kept| {
        let same = block.unit == kept.unit;
        if same {
            mode.merge(&mut kept.count, block.count);
            kept.function = kept.function.or(block.function);
        }
        same
    });
}

/// Whether any of these blocks, in order, begins before another ends.
fn overlap<'b>(blocks: impl Iterator<Item = &'b Block> + Clone) -> bool {
    let starts = blocks.clone().skip(1).map(|block| block.unit.start());
    let ends = blocks.map(|block| block.unit.end());
    ends.zip(starts).any(|(end, start)| start < end)
}

/// The sort key of blocks, as in Go. Go: `sortUnits` in `internal/coverage/cformat`.
#[inline]
pub(crate) fn order(unit: &Unit) -> impl Ord + use<> {
    // Two numbers are compared at once.
    (pair(unit.start_line, unit.end_line), pair(unit.start_column, unit.end_column), unit.statements)
}

/// The blocks that ran, by file.
pub(crate) struct CoveredBlocks<'a> {
    files: HashMap<&'a str, Vec<(Unit, u64)>>,
}

/// The blocks of a file that ran, sorted by their start. Each has the largest end of the blocks up to it.
#[derive(Clone, Copy)]
pub(crate) struct CoveredFile<'c>(&'c [(Unit, u64)]);

impl CoveredBlocks<'_> {
    pub(crate) fn file(&self, name: &str) -> CoveredFile<'_> {
        CoveredFile(self.files.get(name).map_or(&[], Vec::as_slice))
    }
}

impl CoveredFile<'_> {
    /// Whether a block ran, or a part of it, or a block that contains it: another release of Go may have cut it differently.
    pub(crate) fn has(self, unit: &Unit) -> bool {
        let is_in = |inner: &Unit, outer: &Unit| outer.start() <= inner.start() && inner.end() <= outer.end();
        let (before, from) =
            self.0.split_at(self.0.partition_point(|(covered, _)| covered.start() < unit.start()));
        let mut parts =
            from.iter().take_while(|(covered, _)| covered.start() <= unit.start().max(unit.end()));
        let mut outer = before.iter().rev().take_while(|(_, end)| unit.end() <= *end);
        parts.any(|(covered, _)| is_in(covered, unit) || is_in(unit, covered))
            || outer.any(|(covered, _)| is_in(unit, covered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::{PackageBuilder, meta_file};
    use crate::{Builder, FileName, Granularity, MetaFile};

    const META: &[u8] = include_bytes!("../tests/fixtures/count/covmeta.f947a66cccabc27837954e22853b1648");

    /// The results for a package with these functions of the sample, by number: its coverage, its functions, and its text
    /// profile.
    fn with_functions(numbers: &[usize]) -> (Coverage, String, String) {
        let file = MetaFile::parse(META).unwrap();
        let package = file.packages.iter().find(|package| package.path == "sample/lib").unwrap();
        let functions: Vec<_> = package.functions().collect();
        let mut builder = PackageBuilder::new(package);
        for number in numbers {
            builder.add(package, &functions[*number]);
        }
        let (hash, bytes) = meta_file(&[&builder.finish().unwrap()], Mode::Count, Granularity::PerBlock);
        let mut builder = Builder::new();
        builder.add_file(FileName::Meta { hash }.to_string(), bytes);
        let files = builder.load();
        let (data, _) = files.read();
        let [mut functions, mut text] = [Vec::new(), Vec::new()];
        data.write_functions(|_| true, &mut functions).unwrap();
        data.write_text(|_| true, &mut text).unwrap();
        let [functions, text] = [functions, text].map(|text| String::from_utf8(text).unwrap());
        (data.percent(|_| true).0.total(), functions, text)
    }

    #[test]
    fn what_is_there_twice_counts_once_and_comes_in_order() {
        let all = with_functions(&[0, 1, 2]);
        assert_eq!(all.0, Coverage { covered: 0, total: 18 });
        let functions: Vec<Vec<_>> = all.1.lines().map(|line| line.split_whitespace().collect()).collect();
        let line = |number, name| {
            vec![
                ["sample/lib/lib.go:8:", "sample/lib/lib.go:17:", "sample/lib/lib.go:34:"][number],
                name,
                "0.0%",
            ]
        };
        let total = vec!["total", "(statements)", "0.0%"];
        assert_eq!(functions, [line(0, "Sum"), line(1, "Apply"), line(2, "Classify"), total]);
        let of_go = include_str!("../tests/fixtures/count/textfmt.txt");
        let blocks = of_go.lines().filter(|line| line.starts_with("sample/lib/"));
        assert_eq!(all.2.lines().count(), 1 + blocks.count());
        assert_eq!(with_functions(&[0, 1, 1, 2]), all);
        assert_eq!(with_functions(&[0, 1, 2, 0, 1, 2]), all);
        assert_eq!(with_functions(&[2, 0, 1]), all);
    }

    /// Text profiles come after the binaries: what is odd of these alone is not odd of all.
    #[test]
    fn a_join_ends_an_earlier_finding() {
        let block = |start_line, start_column, end_line, end_column, statements| Block {
            unit: Unit { start_line, start_column, end_line, end_column, statements },
            count: 1,
            function: None,
        };
        let blocks = vec![block(1, 10, 9, 2, 3), block(2, 2, 4, 1, 1), block(6, 2, 8, 1, 2)];
        for earlier in [Finding::Repeated, Finding::Mixed] {
            let mut file = FileProfile { name: "a.go", blocks: blocks.clone(), finding: Some(earlier) };
            file.settle(&mut [], Mode::Set, BlockFacts::default, true);
            assert_eq!((file.blocks.as_slice(), file.finding), (&blocks[1..], Some(Finding::Joined)));
        }
    }
}
