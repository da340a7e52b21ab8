//! Subtracts and intersects: what ran in one input and not, or also, in another.
//!
//! Go: `cmd/covdata`, file `subtractintersect.go`. Go compares functions by number, and only in binaries of the same hash.
//! Here blocks are compared by file and place, so also across binaries and releases of Go.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use covdata::{Mode, Unit};

use crate::Data;
use crate::counts::{counts_of, merge_blocks};
use crate::index::{BlockFacts, Partition};
use crate::profile::{Block, Profile};
use crate::texts::TextFileCounts;

impl Data<'_> {
    /// Removes the coverage that other data have too: sets the count of each block that ran there to 0.
    ///
    /// Where releases of Go cut a file differently, a coarser block ran if any of its parts ran.
    pub fn subtract(&mut self, other: &Data<'_>) {
        self.retain(|ran_there| !ran_there, other);
    }

    /// Keeps only the coverage that other data have too: sets the count of each block that did not run there to 0. Blocks
    /// are compared as in [`subtract`](Self::subtract).
    pub fn intersect(&mut self, other: &Data<'_>) {
        self.retain(|ran_there| ran_there, other);
    }

    fn retain(&mut self, keep: impl Fn(bool) -> bool, other: &Data<'_>) {
        let ran = RanBlocks::of(self, other);
        for counted in &mut self.binaries {
            let binary = Arc::clone(&counted.binary);
            for (index, package) in binary.file.packages.iter().enumerate() {
                for (number, function) in package.functions().enumerate() {
                    let file = ran.files.get(counted.file(index, &function));
                    let mut blocks =
                        function.units().map(|unit| keep(file.is_some_and(|file| file.has(&unit))));
                    counted.retain(index, number, || blocks.next().unwrap_or(true));
                }
            }
        }
        for (name, TextFileCounts { blocks, .. }) in self.text.iter_mut().flat_map(|text| &mut text.files) {
            let file = ran.files.get(name);
            for block in blocks {
                if !keep(file.is_some_and(|file| file.has(&block.unit))) {
                    block.count = 0;
                }
            }
        }
    }
}

/// The blocks that ran in other data, by file.
struct RanBlocks {
    files: HashMap<String, RanFile>,
}

/// The blocks of a file that ran.
enum RanFile {
    /// Blocks that both data agree on.
    Parts {
        partition: Partition,
        /// How many of the parts before each one ran, and how many of all.
        before: Vec<usize>,
    },
    /// Both data were built from different versions of the source, or blocks overlap in each.
    Units(HashSet<Unit>),
}

impl RanBlocks {
    fn of(own: &Data<'_>, other: &Data<'_>) -> Self {
        let (own, other) = (own.profile(), other.profile());
        let own = by_file(&own);
        let files = by_file(&other).into_iter().map(|(name, blocks)| {
            let own = own.get(name).map_or(&[][..], Vec::as_slice);
            (name.to_owned(), RanFile::of(own, &blocks))
        });
        Self { files: files.collect() }
    }
}

/// The blocks of each file. A file may be in several packages.
fn by_file<'a>(profile: &Profile<'a>) -> HashMap<&'a str, Vec<Block>> {
    let mut files = HashMap::<&str, Vec<Block>>::new();
    for file in profile.files() {
        let blocks = file.blocks.iter().map(|block| Block { function: None, ..*block });
        files.entry(file.name).or_default().extend(blocks);
    }
    files.values_mut().for_each(|blocks| merge_blocks(blocks, Mode::Count));
    files
}

impl RanFile {
    fn of(own: &[Block], other: &[Block]) -> Self {
        let overlap = [own, other].iter().any(|blocks| BlockFacts::of(blocks).overlap);
        // Which blocks there are is told by both, and which ran by the other.
        let mut blocks: Vec<Block> = own.iter().map(|own| Block { count: 0, ..*own }).collect();
        blocks.extend(other);
        merge_blocks(&mut blocks, Mode::Set);
        match Partition::of(blocks.iter().map(|block| block.unit)).filter(|_| !overlap) {
            Some(partition) => {
                let parts = counts_of(&partition, &blocks, &mut [], Mode::Set);
                let mut before = vec![0];
                before.extend(parts.iter().scan(0, |sum, part| {
                    *sum += usize::from(part.count != 0);
                    Some(*sum)
                }));
                Self::Parts { partition, before }
            }
            None => {
                Self::Units(blocks.iter().filter(|block| block.count != 0).map(|block| block.unit).collect())
            }
        }
    }

    /// Whether a block of the first data ran in the other.
    fn has(&self, unit: &Unit) -> bool {
        match self {
            Self::Parts { partition, before } => {
                let parts = partition.parts(unit);
                before[parts.start] < before[parts.end]
            }
            Self::Units(units) => units.contains(unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Builder;

    type Operation = fn(&mut Data<'_>, &Data<'_>);
    const SUBTRACT: Operation = |first, other| first.subtract(other);
    const INTERSECT: Operation = |first, other| first.intersect(other);

    /// The first text profile after an operation with the other. Both are without their first line.
    fn after(operation: Operation, first: &str, other: &str) -> String {
        let mut builder = Builder::new();
        builder.add_text_bytes("first.out", format!("mode: set\n{first}"));
        builder.next_input();
        builder.add_text_bytes("other.out", format!("mode: set\n{other}"));
        let files = builder.load();
        let mut inputs = Vec::new();
        assert!(files.read_each(|_| {}, |data| inputs.push(data)).is_empty());
        let [first, other] = inputs.as_mut_slice() else { panic!("two inputs") };
        operation(first, other);
        let mut text = Vec::new();
        first.write_text(|_| true, &mut text).expect("memory takes everything");
        String::from_utf8(text).expect("text").replace("mode: set\n", "")
    }

    #[test]
    fn blocks_of_several_releases_are_compared_by_their_parts() {
        let coarse = "a.go:1.10,9.2 3 1\na.go:11.10,19.2 1 1\n";
        let fine = "a.go:2.2,4.1 1 1\na.go:6.2,8.1 2 0\na.go:12.2,18.1 1 0\n";
        assert_eq!(after(SUBTRACT, coarse, fine), "a.go:1.10,9.2 3 0\na.go:11.10,19.2 1 1\n");
        assert_eq!(after(INTERSECT, coarse, fine), "a.go:1.10,9.2 3 1\na.go:11.10,19.2 1 0\n");
        let all = "a.go:2.2,4.1 1 1\na.go:6.2,8.1 2 1\na.go:12.2,18.1 1 1\n";
        let coarse = "a.go:1.10,9.2 3 1\na.go:11.10,19.2 1 0\n";
        assert_eq!(after(SUBTRACT, all, coarse), "a.go:2.2,4.1 1 0\na.go:6.2,8.1 2 0\na.go:12.2,18.1 1 1\n");
        assert_eq!(after(INTERSECT, all, coarse), "a.go:2.2,4.1 1 1\na.go:6.2,8.1 2 1\na.go:12.2,18.1 1 0\n");
    }

    /// A block that is in another one is not a part of it where the numbers of statements do not add up.
    #[test]
    fn blocks_of_another_source_have_nothing_in_common() {
        for (first, other) in [
            ("a.go:1.10,9.2 3 1\n", "a.go:2.2,4.1 1 1\n"),
            ("a.go:2.2,4.1 1 1\n", "a.go:1.10,9.2 3 1\n"),
            ("a.go:1.10,9.2 3 1\n", "a.go:1.10,9.2 2 1\n"),
        ] {
            assert_eq!(after(SUBTRACT, first, other), first, "{other}");
            assert_eq!(after(INTERSECT, first, other), first.replace(" 1\n", " 0\n"), "{other}");
        }
        let both = ("a.go:1.10,9.2 3 1\na.go:11.2,12.3 1 1\n", "a.go:2.2,4.1 1 1\na.go:11.2,12.3 1 1\n");
        assert_eq!(after(SUBTRACT, both.0, both.1), "a.go:1.10,9.2 3 1\na.go:11.2,12.3 1 0\n");
    }

    /// Each of many blocks would look at all that contain it.
    #[test]
    fn blocks_within_each_other_take_no_time() {
        const BLOCKS: u32 = 200_000;
        let (mut around, mut within) = (String::new(), String::new());
        for number in 1..=BLOCKS {
            around += &format!("a.go:{number}.1,{}.1 1 1\n", 3 * BLOCKS - number);
            within += &format!("a.go:{0}.1,{0}.9 1 1\n", BLOCKS + number);
        }
        assert_eq!(after(SUBTRACT, &within, &around), within);
    }
}
