//! Profiles: the counts of every unit, merged over runs and binaries.
//!
//! Go: `internal/coverage/cformat`. Two units of different binaries are one where package path, file,
//! function name, literal flag and the unit itself are the same. So after a change in a source file, units of
//! the old and the new build are all there.

use std::collections::{BTreeMap, HashMap};

use crate::read::Binary;
use crate::{MetaFile, Mode, Unit};

/// The merged counts of any number of runs of any number of binaries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    mode: Option<Mode>,
    packages: Vec<PackageProfile>,
}

/// A package of a [`Profile`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageProfile {
    /// Its import path.
    pub path: String,
    /// The names of functions and files, for [`ProfileFunction::name`] and [`ProfileFunction::file`].
    pub strings: Vec<String>,
    /// The functions, for [`Block::function`].
    pub functions: Vec<ProfileFunction>,
    /// The blocks, each once, sorted by function and unit.
    pub blocks: Vec<Block>,
}

/// A function of a [`PackageProfile`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProfileFunction {
    /// Index of its source file in [`PackageProfile::strings`].
    pub file: u32,
    /// Index of its name in [`PackageProfile::strings`].
    pub name: u32,
    /// Whether it is a function literal outside of any function.
    pub literal: bool,
}

/// A unit and its count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Index of its function in [`PackageProfile::functions`].
    pub function: u32,
    /// Where it is, and its number of statements.
    pub unit: Unit,
    /// How often it ran; 0 or 1 in mode set, and [`u32::MAX`] for that many or more.
    pub count: u32,
}

impl Profile {
    /// The packages, sorted by path as Go sorts: by bytes.
    #[must_use]
    pub fn packages(&self) -> &[PackageProfile] {
        &self.packages
    }

    /// What the counts count; `None` where there is no meta-data at all. For binaries of several modes it is
    /// the one latest in the order set, count, atomic, and a block that ran in mode set counts as one run.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        self.mode
    }

    pub(crate) fn merge<'a>(binaries: impl Iterator<Item = &'a Binary> + Clone) -> Self {
        let mode = binaries.clone().map(|binary| binary.mode).max();
        let mut tables = BTreeMap::<&str, Table<'_>>::new();
        // Only bytes that were parsed before get here.
        for (binary, file) in
            binaries.filter_map(|binary| Some((binary, MetaFile::parse(&binary.meta).ok()?)))
        {
            let mut counts = binary.counts.iter().copied();
            for package in file.packages {
                let table = tables.entry(package.path).or_default();
                // Strings are compared once a package; functions, of which there are many more, by number.
                let strings: Vec<u32> = package.strings.iter().map(|s| table.strings.index(*s)).collect();
                for function in package.functions {
                    let (file, name) = (strings[function.file as usize], strings[function.name as usize]);
                    let key = ProfileFunction { file, name, literal: function.literal };
                    let index = table.functions.index(key);
                    // The units come first: the shorter side of a zip must not cost the longer side an item.
                    let blocks = function.units().zip(counts.by_ref());
                    table.blocks.extend(blocks.map(|(unit, count)| Block { function: index, unit, count }));
                }
            }
        }
        let packages = tables.into_iter().map(|(path, table)| table.finish(path, mode)).collect();
        Self { mode, packages }
    }
}

/// A package in the making.
#[derive(Default)]
struct Table<'a> {
    strings: Index<&'a str>,
    functions: Index<ProfileFunction>,
    /// With one block for each binary.
    blocks: Vec<Block>,
}

impl Table<'_> {
    fn finish(self, path: &str, mode: Option<Mode>) -> PackageProfile {
        let mut blocks = self.blocks;
        // Sorting beats hashing here: what comes is mostly in order, and the result has to be.
        blocks.sort_by_key(|block| (block.function, block.unit));
        blocks.dedup_by(|block, kept| {
            let same = (block.function, block.unit) == (kept.function, kept.unit);
            if let (true, Some(mode)) = (same, mode) {
                mode.merge(&mut kept.count, block.count);
            }
            same
        });
        blocks.shrink_to_fit();
        PackageProfile {
            path: path.to_owned(),
            strings: self.strings.items.into_iter().map(str::to_owned).collect(),
            functions: self.functions.items,
            blocks,
        }
    }
}

/// Gives each different item a number, in order of appearance.
struct Index<T> {
    items: Vec<T>,
    numbers: HashMap<T, u32>,
}

impl<T: Copy + Eq + std::hash::Hash> Index<T> {
    fn index(&mut self, item: T) -> u32 {
        *self.numbers.entry(item).or_insert_with(|| {
            self.items.push(item);
            // An item takes more than a byte of a file, so that 32 bits end only after 4 GiB of names.
            (self.items.len() - 1) as u32
        })
    }
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { items: Vec::new(), numbers: HashMap::new() }
    }
}
