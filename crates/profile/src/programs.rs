//! The programs that were built from files, not from a package (`go build main.go`), and which binaries are builds of one.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use covdata::Mode;

use crate::binary::BinaryCounts;
use crate::counts::merge_blocks;
use crate::data::Data;
use crate::index::{BlockFacts, Partition};
use crate::profile::Block;

/// The package of a program that was built from files.
pub(crate) const FROM_FILES: &str = "command-line-arguments";

/// A binary that was built from files.
pub(crate) struct Build {
    pub(crate) binary: usize,
    /// The first digits of its hash.
    pub(crate) hash: String,
    /// The index of the package of these files.
    pub(crate) package: usize,
    /// The modules that it contains, as far as its data tell.
    pub(crate) modules: BTreeSet<String>,
    /// The blocks of its files, by path.
    pub(crate) files: BTreeMap<String, Vec<Block>>,
}

impl Build {
    pub(crate) fn of(binary: usize, counted: &BinaryCounts<'_>) -> Option<Self> {
        let packages = &counted.binary.file.packages;
        let index = packages.iter().position(|package| package.path == FROM_FILES)?;
        let package = &packages[index];
        let modules = packages.iter().map(|package| package.module).filter(|module| !module.is_empty());
        let mut files = BTreeMap::<String, Vec<Block>>::new();
        for function in package.functions() {
            let name = package.string(function.file);
            if is_path(name) {
                let blocks = function.units().map(|unit| Block { unit, count: 0, function: None });
                files.entry(name.to_owned()).or_default().extend(blocks);
            }
        }
        files.values_mut().for_each(|blocks| merge_blocks(blocks, Mode::Count));
        Some(Self {
            binary,
            hash: counted.binary.file.hash.to_string()[..8].to_owned(),
            package: index,
            modules: modules.map(str::to_owned).collect(),
            files,
        })
    }

    /// Whether both have files of one path, and these come from the same source.
    fn has_source_of(&self, other: &Self) -> bool {
        let common = || self.files.iter().filter_map(|(path, blocks)| Some((blocks, other.files.get(path)?)));
        common().next().is_some() && common().all(|(a, b)| agree(a, b))
    }
}

impl Data<'_> {
    /// The binaries that were built from files.
    pub(crate) fn builds(&self) -> impl Iterator<Item = Build> {
        self.binaries.iter().enumerate().filter_map(|(number, counted)| Build::of(number, counted))
    }

    /// The programs that were built from files: the builds of each. The first one has all modules that are known of the
    /// program.
    pub(crate) fn programs(&self) -> Vec<Vec<Build>> {
        let mut builds: Vec<Build> = self.builds().collect();
        builds.sort_by(|a, b| {
            let most_first = Reverse(a.modules.len()).cmp(&Reverse(b.modules.len()));
            most_first.then_with(|| a.modules.cmp(&b.modules))
        });
        let mut programs = Vec::<Vec<Build>>::new();
        let mut same_modules = Vec::<Vec<Build>>::new();
        let mut builds = builds.into_iter().peekable();
        while let Some(build) = builds.next() {
            let modules = build.modules.clone();
            // Builds of the newest release of Go have blocks that agree with all others.
            let (same, others): (Vec<_>, Vec<_>) = std::mem::take(&mut same_modules)
                .into_iter()
                .partition(|class| class.iter().any(|other| other.has_source_of(&build)));
            same_modules = others;
            same_modules.push(same.into_iter().flatten().chain([build]).collect());
            if builds.peek().is_some_and(|next| next.modules == modules) {
                continue;
            }
            for mut class in same_modules.drain(..) {
                class.sort_by_key(|build| build.binary);
                // They may have been built without coverage of some packages. Then they are of the program with more
                // modules, if only one can be it.
                let is_of = |program: &Vec<Build>| {
                    let mut larger = program.iter().filter(|other| modules.is_subset(&other.modules));
                    larger.any(|other| class.iter().any(|build| build.has_source_of(other)))
                };
                let mut larger = (0..programs.len()).filter(|&number| is_of(&programs[number]));
                match (larger.next(), larger.next()) {
                    (Some(only), None) => programs[only].append(&mut class),
                    _ => programs.push(class),
                }
            }
        }
        programs.sort_by_key(|program| program[0].binary);
        programs
    }
}

/// For each path, the programs that have a file of it.
pub(crate) fn programs_of_path(programs: &[Vec<Build>]) -> BTreeMap<&str, BTreeSet<usize>> {
    let mut programs_of_path = BTreeMap::<&str, BTreeSet<usize>>::new();
    for (number, program) in programs.iter().enumerate() {
        for path in program.iter().flat_map(|build| build.files.keys()) {
            programs_of_path.entry(path).or_default().insert(number);
        }
    }
    programs_of_path
}

/// Whether a file's name is a path. Windows' have a drive.
pub(crate) fn is_path(name: &str) -> bool {
    name.starts_with('/') || name.as_bytes().get(1..3).is_some_and(|start| matches!(start, b":/" | b":\\"))
}

/// Whether two lists of blocks come from the same source, built by the same or by different releases of Go.
pub(crate) fn agree(a: &[Block], b: &[Block]) -> bool {
    let mut both = [a, b].concat();
    merge_blocks(&mut both, Mode::Count);
    let facts = BlockFacts::of(&both);
    let blocks = if facts.overlap || facts.same_place {
        Partition::of(both.iter().map(|block| block.unit)).map(|partition| partition.units().len())
    } else {
        Some(both.len())
    };
    // Each build has all blocks of the source.
    blocks == Some(a.len().max(b.len()))
}
