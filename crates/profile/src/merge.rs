//! Merges packages: the count of each block over all binaries and text profiles.
//!
//! Go: `internal/coverage/cformat`. A block is known by its file, place and number of statements, so that it is the
//! same in whatever binary, and in a text profile. (Go's `covdata` takes the function's name into account as well,
//! and so counts a block twice whose function was renamed between two builds; `go tool cover` does not.)

use std::borrow::Cow;
use std::collections::HashMap;

use covdata::Mode;

use crate::counts::{join, merge_blocks, merge_count};
use crate::data::Data;
use crate::go::percent::Coverage;
use crate::groups::{Group, Part};
use crate::index::{BlockFacts, Repetition, is_too_full};
use crate::parallel;
use crate::profile::{Block, FileProfile, Finding, PackageProfile, Profile, ProfileFunction};
use crate::suites::SuiteCoverage;
use crate::texts::TextFileCounts;

impl Data<'_> {
    /// The counts of every block, over all binaries and text profiles.
    #[must_use]
    pub fn profile(&self) -> Profile<'_> {
        self.profile_of(|_| true)
    }

    /// As [`profile`](Self::profile), of the selected packages.
    pub(crate) fn profile_of(&self, is_selected: impl Fn(&str) -> bool) -> Profile<'_> {
        let Some(mode) = self.mode() else { return Profile::default() };
        let suites = self.suites.len();
        let packages = parallel::map_bytes(&self.groups(is_selected), self.size(), |group| {
            let mut package = group.merge(mode);
            group.count_suites(&mut package, suites, mode);
            package
        });
        Profile { mode: Some(mode), packages }
    }
}

impl<'a> Group<'a> {
    /// Merges the inputs.
    pub(crate) fn merge(&self, mode: Mode) -> PackageProfile<'a> {
        let mut merger = Merger { mode, functions: Vec::new(), files: Vec::new(), numbers: HashMap::new() };
        // A package is mostly the same in all binaries. Then counts are added up before blocks are made of them.
        for parts in self.parts.chunk_by(|a, b| a.package.bytes() == b.package.bytes()) {
            merger.add(parts);
        }
        for (name, text) in &self.texts {
            merger.add_text(name, text);
        }
        merger.finish(self.path)
    }

    /// The coverage of a package whose blocks need no merging. So are nearly all: they are the same in all inputs, their
    /// functions are in order, and no two blocks begin at one place. `None` for all others, and where Go may have repeated
    /// numbers of statements. For a large program, [`merge`](Self::merge) takes twice as long. Also by suite, for so many suites.
    pub(crate) fn unmerged_coverage(&self, mode: Mode, suites: usize) -> Option<(Coverage, SuiteCoverage)> {
        let (part, others) = self.parts.split_first()?;
        let is_same = |other: &Part<'_>| other.package.bytes() == part.package.bytes();
        if !self.texts.is_empty() || !others.iter().all(is_same) {
            return None;
        }
        // What is in a suite is in the whole.
        debug_assert!(self.suite_texts.is_empty() && self.suite_parts.iter().all(|(_, part)| is_same(part)));
        let (mut coverage, mut by_suite) = (Coverage::default(), SuiteCoverage::of(suites));
        let of_suite = |suite| {
            let parts = self.suite_parts.iter().filter(move |(of, _)| *of == suite);
            (parts.map(|(_, part)| part.counts()).collect::<Vec<_>>(), Vec::new())
        };
        let mut of_suites: Vec<_> = (0..suites).map(of_suite).collect();
        let (mut all_counts, mut counts) = (all_counts(&self.parts), Vec::new());
        let mut starts = Vec::new();
        let (mut file, mut name, mut earlier_end) = (None, "", 0);
        for function in part.package.functions() {
            next_counts(&mut all_counts, mode, &mut counts);
            of_suites.iter_mut().for_each(|(all, counts)| next_counts(all, mode, counts));
            if file != Some(function.file) {
                let next = part.file(&function);
                if file.is_some() && next <= name {
                    return None;
                }
                (file, name, earlier_end) = (Some(function.file), next, 0);
            }
            let (mut counts, mut end) = (counts.iter().copied(), earlier_end);
            starts.clear();
            for (number, unit) in function.units().enumerate() {
                if unit.start() < earlier_end || is_too_full(&unit) {
                    return None;
                }
                coverage.count(unit.statements, counts.next().unwrap_or_default());
                if suites > 0 {
                    let ran =
                        |suite: &usize| of_suites[*suite].1.get(number).is_some_and(|count| *count != 0);
                    by_suite.count(unit.statements, (0..suites).filter(ran));
                }
                end = end.max(unit.start() + 1).max(unit.end());
                starts.push(unit.start());
            }
            starts.sort_unstable();
            if !starts.is_sorted_by(|a, b| a < b) {
                return None;
            }
            earlier_end = end;
        }
        by_suite.set_total(coverage.total);
        Some((coverage, by_suite))
    }
}

/// The counts of a package in each binary, function by function.
fn all_counts<'p>(
    parts: &'p [Part<'p>],
) -> Vec<impl Iterator<Item = impl Iterator<Item = u32> + use<'p>> + use<'p>> {
    parts.iter().map(Part::counts).collect()
}

/// Adds up the counts of the next function in all binaries. The sums of a function that never ran are empty.
fn next_counts(all: &mut [impl Iterator<Item = impl Iterator<Item = u32>>], mode: Mode, sums: &mut Vec<u32>) {
    sums.clear();
    for new in all.iter_mut().filter_map(Iterator::next) {
        if sums.is_empty() {
            sums.extend(new);
        } else {
            sums.iter_mut().zip(new).for_each(|(sum, new)| merge_count(mode, sum, new));
        }
    }
}

/// Merges the inputs of a package, one after the other.
struct Merger<'a> {
    mode: Mode,
    functions: Vec<ProfileFunction<'a>>,
    files: Vec<MergedFile<'a>>,
    /// The index of each file, by name.
    numbers: HashMap<&'a str, usize>,
}

/// The blocks of a file in the inputs so far.
struct MergedFile<'a> {
    name: &'a str,
    /// Those of an input come after those of the input before it.
    blocks: Vec<Block>,
    /// How many blocks are those of earlier inputs.
    earlier: usize,
    /// Facts about the blocks in each single input.
    own: BlockFacts,
    /// Whether there are blocks of a text profile, which may be a merge of several builds.
    text: bool,
}

impl<'a> Merger<'a> {
    /// Adds a package that is the same in some binaries.
    fn add(&mut self, parts: &[Part<'a>]) {
        let part = &parts[0];
        let (mut all_counts, mut counts) = (all_counts(parts), Vec::new());
        // File names are compared once for each file, not for each function.
        let mut file_of_string = vec![usize::MAX; part.package.strings.len()];
        // No more memory than is needed: the system takes its time to provide it.
        let mut sizes = vec![0; file_of_string.len()];
        for function in part.package.functions() {
            let file = &mut file_of_string[function.file as usize];
            if *file == usize::MAX {
                *file = self.file(part.file(&function));
            }
            sizes[function.file as usize] += function.units().len();
        }
        for (&number, size) in file_of_string.iter().zip(sizes).filter(|(number, _)| **number != usize::MAX) {
            reserve(&mut self.files[number].blocks, size);
        }
        reserve(&mut self.functions, part.package.functions().len());
        for function in part.package.functions() {
            next_counts(&mut all_counts, self.mode, &mut counts);
            let file = file_of_string[function.file as usize];
            // A function has more than a byte in the file, so 32 bits are enough for 4 GiB of functions.
            let number = self.functions.len() as u32;
            let name = Cow::Borrowed(part.package.string(function.name));
            self.functions.push(ProfileFunction { name, literal: function.literal, line: None });
            let blocks = &mut self.files[file].blocks;
            let start = blocks.len();
            let mut counts = counts.iter().copied();
            blocks.extend(function.units().map(|unit| {
                let count = counts.next().unwrap_or_default();
                Block { unit, count, function: Some(number) }
            }));
            // Functions are usually in order; the blocks in them usually are not.
            blocks[start..].sort_unstable_by_key(|block| block.unit.start());
        }
        // Not all files: a package may be in the inputs in very many versions, each with other files.
        for number in file_of_string.into_iter().filter(|&number| number != usize::MAX) {
            self.files[number].end_input(self.mode);
        }
    }

    /// Adds a file of a text profile.
    fn add_text(&mut self, name: &'a str, text: &TextFileCounts) {
        let number = self.file(name);
        let file = &mut self.files[number];
        let most = if self.mode == Mode::Set { 1 } else { u32::MAX };
        let count = |block: &Block| Block { count: block.count.min(most), ..*block };
        file.blocks.extend(text.blocks.iter().map(count));
        file.own = file.own.or(text.own);
        file.text = true;
    }

    /// The index of a file.
    fn file(&mut self, name: &'a str) -> usize {
        *self.numbers.entry(name).or_insert_with(|| {
            let (blocks, own) = (Vec::new(), BlockFacts::default());
            self.files.push(MergedFile { name, blocks, earlier: 0, own, text: false });
            self.files.len() - 1
        })
    }

    fn finish(self, path: &'a str) -> PackageProfile<'a> {
        let Self { mode, mut functions, mut files, .. } = self;
        files.retain(|file| !file.blocks.is_empty());
        files.sort_unstable_by_key(|file| file.name);
        let files = files.into_iter().map(|file| file.finish(&mut functions, mode)).collect();
        PackageProfile { path, functions, files }
    }
}

/// Makes room for more items: exactly so much for the first ones. Exactly so much for each further ones would move all
/// earlier ones each time.
fn reserve<T>(list: &mut Vec<T>, more: usize) {
    if list.is_empty() {
        list.reserve_exact(more);
    } else {
        list.reserve(more);
    }
}

impl<'a> MergedFile<'a> {
    /// Sorts and merges the blocks of the last input.
    fn end_input(&mut self, mode: Mode) {
        let mut facts = BlockFacts::of(&self.blocks[self.earlier..]);
        if !facts.in_order {
            let mut blocks = self.blocks.split_off(self.earlier);
            merge_blocks(&mut blocks, mode);
            facts = BlockFacts::of(&blocks);
            self.blocks.append(&mut blocks);
        }
        self.own = self.own.or(facts);
        self.earlier = self.blocks.len();
    }

    /// Merges the blocks of all inputs, joins those of several releases of Go, and sets the finding.
    ///
    /// Blocks of one version may overlap, if `//line` directives map two positions in generated code to one position in
    /// its source. But the `go` command never gives two blocks the same position: `dedup` in `cmd/cover`.
    fn finish(self, functions: &mut [ProfileFunction<'_>], mode: Mode) -> FileProfile<'a> {
        let Self { name, mut blocks, own, text, .. } = self;
        let mut facts = own;
        if text || facts.blocks < blocks.len() {
            merge_blocks(&mut blocks, mode);
            facts = BlockFacts::of(&blocks);
        }
        let mut finding = None;
        if facts.same_place || facts.overlap {
            let one = !facts.same_place && own.blocks >= blocks.len();
            let unsure = text && name.ends_with(".go");
            let joined = if own.overlap && !unsure { None } else { join(&blocks, functions, mode) };
            // Up to Go 1.26, a block after a directive has no column.
            let is_placed = |block: &Block| block.unit.start_column != 0;
            finding = match joined {
                Some(joined) => {
                    facts = BlockFacts::of(&joined);
                    blocks = joined;
                    Some(Finding::Joined)
                }
                None if one => None,
                None if blocks.iter().any(is_placed) && !blocks.iter().all(is_placed) => {
                    Some(Finding::LineDirectives)
                }
                None => Some(Finding::Mixed),
            };
        }
        finding = finding.max((facts.repetition == Some(Repetition::Certain)).then_some(Finding::Repeated));
        FileProfile { name, blocks, finding, suites: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use covdata::{FileName, Granularity, MetaFile, PackageBuilder, Unit, meta_file};

    use super::*;
    use crate::{Builder, Files};

    const META: &[u8] =
        include_bytes!("../../covdata/tests/fixtures/count/covmeta.f947a66cccabc27837954e22853b1648");

    /// The meta-data of a binary with these packages.
    fn load(packages: &[&[u8]]) -> Files {
        let (hash, bytes) = meta_file(packages, Mode::Count, Granularity::PerBlock);
        let mut builder = Builder::new();
        builder.add_file(FileName::Meta { hash }.to_string(), bytes);
        builder.load()
    }

    /// The results for a package with these functions of the sample, by number: its coverage, its functions, and its text
    /// profile.
    fn with_functions(numbers: &[usize]) -> (Coverage, String, String) {
        let file = MetaFile::parse(META).unwrap();
        let package = file.packages.iter().find(|package| package.path == "sample/lib").unwrap();
        let functions: Vec<_> = package.functions().collect();
        let mut builder = PackageBuilder::new(package.name, package.path, package.module);
        for number in numbers {
            let function = &functions[*number];
            let [name, file] = [function.name, function.file].map(|index| package.string(index));
            builder.add(name, file, function.literal, function.units());
        }
        let files = load(&[&builder.finish().unwrap()]);
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
        let of_go = include_str!("../../covdata/tests/fixtures/count/textfmt.txt");
        let blocks = of_go.lines().filter(|line| line.starts_with("sample/lib/"));
        assert_eq!(all.2.lines().count(), 1 + blocks.count());
        assert_eq!(with_functions(&[0, 1, 1, 2]), all);
        assert_eq!(with_functions(&[0, 1, 2, 0, 1, 2]), all);
        assert_eq!(with_functions(&[2, 0, 1]), all);
    }

    /// The coverage of a package with these functions, each a file and blocks, and whether it needs no merging.
    fn of_package(functions: &[(&str, &[Unit])]) -> (Coverage, bool) {
        let mut builder = PackageBuilder::new("p", "p", "m");
        for (file, units) in functions {
            builder.add("f", file, false, units.iter().copied());
        }
        let files = load(&[&builder.finish().unwrap()]);
        let (data, _) = files.read();
        let (percent, findings) = data.percent(|_| true);
        let profile = data.profile();
        assert_eq!(percent, profile.percent());
        assert_eq!(findings, profile.packages()[0].findings());
        (percent.total(), data.groups(|_| true)[0].unmerged_coverage(Mode::Count, 0).is_some())
    }

    #[test]
    fn coverage_without_merging_is_that_of_merged_blocks() {
        let unit = |start: (u32, u32), end: (u32, u32), statements| Unit {
            start_line: start.0,
            start_column: start.1,
            end_line: end.0,
            end_column: end.1,
            statements,
        };
        let [a, b] = [unit((1, 9), (3, 2), 1), unit((4, 9), (6, 2), 2)];
        let inner = unit((2, 9), (2, 12), 4);
        let empty = unit((7, 2), (7, 2), 8);
        let too_full = unit((8, 2), (9, 1), 16);
        let pieces = [unit((1, 9), (7, 2), 3), unit((2, 2), (4, 1), 1), unit((5, 2), (7, 1), 2)];
        for (functions, statements, unmerged) in [
            (&[("p/a.go", &[a, b][..]), ("p/a.go", &[empty]), ("p/b.go", &[a])][..], 12, true),
            (&[("p/a.go", &[b, a, inner])], 7, true),
            // A function begins where the one before it ends.
            (&[("p/a.go", &[a]), ("p/a.go", &[unit((3, 2), (5, 2), 2)])], 3, true),
            // A block is there twice: in a function, in two in a row or apart, and in a file that comes again.
            (&[("p/a.go", &[a, b, a])], 3, false),
            (&[("p/a.go", &[a]), ("p/a.go", &[a])], 1, false),
            (&[("p/a.go", &[empty]), ("p/a.go", &[empty])], 8, false),
            (&[("p/a.go", &[a]), ("p/a.go", &[b]), ("p/a.go", &[a])], 3, false),
            (&[("p/a.go", &[a]), ("p/b.go", &[b]), ("p/a.go", &[a])], 3, false),
            // A function within another, and a block that reaches into the next function.
            (&[("p/a.go", &[a]), ("p/a.go", &[inner])], 5, false),
            (&[("p/a.go", &[unit((1, 9), (4, 10), 1)]), ("p/a.go", &[b])], 3, false),
            // Two numbers of statements at one place.
            (&[("p/a.go", &[a, Unit { statements: 2, ..a }])], 3, false),
            (&[("p/a.go", &[empty, Unit { statements: 9, ..empty }])], 8, false),
            // What would be another release's pieces of a block, but both are in one input.
            (&[("p/a.go", &pieces[..])], 6, true),
            // Numbers that Go 1.27.1 repeats.
            (&[("p/a.go", &[too_full, unit((10, 2), (11, 1), 16)])], 32, false),
            (&[("p/a.go", &[])], 0, true),
        ] {
            let total = Coverage { covered: 0, total: statements };
            assert_eq!(of_package(functions), (total, unmerged), "{functions:?}");
        }
    }

    #[test]
    fn what_a_text_profile_has_of_a_package_counts_too() {
        let unit = Unit { start_line: 1, start_column: 9, end_line: 3, end_column: 2, statements: 4 };
        let mut package = PackageBuilder::new("p", "p", "m");
        package.add("f", "p/a.go", false, [unit].into_iter());
        let (hash, bytes) = meta_file(&[&package.finish().unwrap()], Mode::Count, Granularity::PerBlock);
        let mut builder = Builder::new();
        builder.add_file(FileName::Meta { hash }.to_string(), bytes);
        builder.add_text_bytes("unit.out", "mode: count\np/a.go:1.9,3.2 4 1\np/a.go:5.9,6.2 2 0\n");
        let files = builder.load();
        let (data, _) = files.read();
        assert_eq!(data.percent(|_| true).0.total(), Coverage { covered: 4, total: 6 });
    }

    /// If each looked for its file among those of all others, it would take many minutes.
    #[test]
    fn many_different_packages_of_one_path_take_no_time() {
        const PACKAGES: u32 = 300_000;
        let names: Vec<String> = (0..PACKAGES).map(|number| format!("p/{number}.go")).collect();
        let unit = Unit { start_line: 1, start_column: 1, end_line: 2, end_column: 2, statements: 1 };
        let packages = names.iter().map(|name| {
            let mut builder = PackageBuilder::new("p", "p", "m");
            builder.add("f", name, false, [unit].into_iter());
            builder.finish().unwrap()
        });
        let packages: Vec<_> = packages.collect();
        let blobs: Vec<&[u8]> = packages.iter().map(Vec::as_slice).collect();
        let files = load(&blobs);
        let (data, _) = files.read();
        assert_eq!(data.percent(|_| true).0.total(), Coverage { covered: 0, total: PACKAGES.into() });
    }
}
