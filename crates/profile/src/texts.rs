//! Text profiles, added up.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use covdata::{Mode, TextProfile};

use crate::counts::merge_blocks;
use crate::index::BlockFacts;
use crate::profile::Block;

/// The sum of text profiles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextCounts {
    pub(crate) mode: Mode,
    /// By name.
    pub(crate) files: BTreeMap<String, TextFileCounts>,
}

/// A source file of a [`TextCounts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFileCounts {
    /// Each once, sorted. The counts are plain sums, also in mode set: a block that ran in three profiles has 3.
    pub(crate) blocks: Vec<Block>,
    /// Facts about the file's blocks in each single profile.
    pub(crate) own: BlockFacts,
}

impl TextCounts {
    /// The counts of one profile.
    pub(crate) fn of(profile: &TextProfile<'_>) -> Self {
        let mode = profile.mode;
        let files = profile.files.iter().map(|file| {
            let blocks = file.blocks.iter().map(|block| Block {
                unit: block.unit,
                count: block.count,
                function: None,
            });
            let mut blocks: Vec<Block> = blocks.collect();
            merge_blocks(&mut blocks, mode);
            if mode == Mode::Set {
                // Go writes no other count, but a tool that adds up profiles may.
                blocks.iter_mut().for_each(|block| block.count = block.count.min(1));
            }
            (file.name.to_owned(), TextFileCounts { own: BlockFacts::of(&blocks), blocks })
        });
        Self { mode, files: files.collect() }
    }

    /// Adds other profiles.
    pub(crate) fn add(&mut self, other: Self) {
        self.mode = self.mode.max(other.mode);
        for (name, new) in other.files {
            self.add_file(name, new);
        }
    }

    /// Adds a file of other profiles.
    pub(crate) fn add_file(&mut self, name: String, new: TextFileCounts) {
        match self.files.entry(name) {
            Entry::Vacant(entry) => drop(entry.insert(new)),
            Entry::Occupied(entry) => {
                let file = entry.into_mut();
                file.blocks.extend(new.blocks);
                // A plain sum, because the result's mode may not be this profile's: then each run in mode set counts.
                merge_blocks(&mut file.blocks, Mode::Count);
                file.own = file.own.or(new.own);
            }
        }
    }
}

/// The import path of a file's package, taken from the file's name: its folder.
pub(crate) fn package_of(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_blocks_of_a_profile_are_merged_and_sorted() {
        let blocks = |text: &str| {
            let counts = TextCounts::of(&TextProfile::parse(text.as_bytes()).unwrap());
            let blocks = counts.files["a.go"].blocks.iter();
            blocks.map(|block| (block.unit.start_line, block.count)).collect::<Vec<_>>()
        };
        let twice = "a.go:3.1,4.2 1 2\na.go:1.10,2.2 3 1\na.go:3.1,4.2 1 5\n";
        assert_eq!(blocks(&format!("mode: count\n{twice}")), [(1, 1), (3, 7)]);
        assert_eq!(blocks(&format!("mode: set\n{twice}")), [(1, 1), (3, 1)]);
    }
}
