//! Counts of a file's blocks, as they are in the inputs and on an index of blocks.

use covdata::Mode;

use crate::index::{Partition, by_place, order};
use crate::profile::{Block, ProfileFunction};

/// Merges the count `new` into the count `sum`. Go: `internal/coverage/cmerge`.
#[inline]
pub(crate) fn merge_count(mode: Mode, sum: &mut u32, new: u32) {
    if mode == Mode::Set {
        *sum = u32::from(*sum != 0 || new != 0);
    } else {
        *sum = sum.saturating_add(new);
    }
}

/// The count for a sum over any number of runs.
#[inline]
pub(crate) fn count_of_sum(mode: Mode, sum: u64) -> u32 {
    if mode == Mode::Set { u32::from(sum != 0) } else { u32::try_from(sum).unwrap_or(u32::MAX) }
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
            merge_count(mode, &mut kept.count, block.count);
            kept.function = kept.function.or(block.function);
        }
        same
    });
}

/// Joins the blocks of several releases of Go. `None` if they do not come from one version of the source. Both the given
/// blocks and the result are in order, each once.
pub(crate) fn join(
    blocks: &[Block],
    functions: &mut [ProfileFunction<'_>],
    mode: Mode,
) -> Option<Vec<Block>> {
    let partition = Partition::of(blocks.iter().map(|block| block.unit))?;
    let mut joined = counts_of(&partition, blocks, functions, mode);
    joined.sort_by_key(|block| order(&block.unit));
    Some(joined)
}

/// The counts of the blocks of a partition, in its order: each has the counts of the coarser blocks that it is in too. The
/// given blocks are those that the partition was made of, each once.
pub(crate) fn counts_of(
    partition: &Partition,
    blocks: &[Block],
    functions: &mut [ProfileFunction<'_>],
    mode: Mode,
) -> Vec<Block> {
    /// A coarser block that the current one is in, with what it inherits.
    struct Whole {
        end: u64,
        count: u64,
        function: Option<u32>,
        line: u32,
    }
    let units = partition.units();
    let mut blocks = blocks.to_vec();
    blocks.sort_by_key(|block| by_place(&block.unit));
    let mut out = Vec::<Block>::with_capacity(units.len());
    // Go 1.27.0 and 1.27.1: the block began to run as often as the piece that ran most.
    let mut most_of_pieces = vec![0; units.len()];
    let mut wholes = Vec::<Whole>::new();
    for block in blocks {
        let Block { unit, count, function } = block;
        while wholes.pop_if(|whole| whole.end <= unit.start()).is_some() {}
        let outer = wholes.last();
        let last = out.len().wrapping_sub(1);
        if units.get(out.len()) == Some(&unit) {
            let mut part = block;
            if let Some(outer) = outer {
                part.function = function.or(outer.function);
                part.count = count_of_sum(mode, u64::from(count) + outer.count);
                if let Some(function) =
                    part.function.and_then(|function| functions.get_mut(function as usize))
                {
                    function.line = Some(function.line.map_or(outer.line, |line| line.min(outer.line)));
                }
            }
            out.push(part);
            continue;
        }
        match out.last_mut() {
            // A repeated number of statements.
            Some(part) if (part.unit.start(), part.unit.end()) == (unit.start(), unit.end()) => {
                merge_count(mode, &mut part.count, count);
                part.function = part.function.or(function);
            }
            Some(part) if unit.end() <= part.unit.end() => {
                most_of_pieces[last] = count.max(most_of_pieces[last]);
            }
            _ => {
                let known = function.and_then(|function| functions.get(function as usize)?.line);
                let line = known.map_or(unit.start_line, |line| line.min(unit.start_line));
                wholes.push(Whole {
                    end: unit.end(),
                    count: u64::from(count) + outer.map_or(0, |outer| outer.count),
                    function: function.or(outer.and_then(|outer| outer.function)),
                    line: outer.map_or(line, |outer| line.min(outer.line)),
                });
            }
        }
    }
    for (part, most) in out.iter_mut().zip(most_of_pieces) {
        merge_count(mode, &mut part.count, most);
    }
    out
}

#[cfg(test)]
mod tests {
    use covdata::Unit;

    use super::*;

    #[test]
    fn counts_merge_by_mode() {
        let merged = |mode: Mode, mut sum: u32, new| {
            merge_count(mode, &mut sum, new);
            sum
        };
        assert_eq!(merged(Mode::Set, 0, 0), 0);
        assert_eq!(merged(Mode::Set, 0, 7), 1);
        assert_eq!(merged(Mode::Set, 1, 1), 1);
        assert_eq!(merged(Mode::Count, 3, 4), 7);
        assert_eq!(merged(Mode::Atomic, u32::MAX - 1, 5), u32::MAX);
    }

    fn block(lines: (u32, u32), statements: u32, count: u32, function: Option<u32>) -> Block {
        let unit =
            Unit { start_line: lines.0, start_column: 2, end_line: lines.1, end_column: 1, statements };
        Block { unit, count, function }
    }

    #[test]
    fn a_block_has_the_counts_of_all_that_it_is_in() {
        let parts = [block((2, 4), 1, 1, None), block((5, 6), 1, 0, Some(3)), block((8, 9), 1, 7, None)];
        let partition = Partition::of_parts(parts.iter().map(|part| part.unit));
        let wholes = [block((1, 10), 3, 50, Some(2)), block((1, 7), 2, 300, None)];
        let counted = counts_of(&partition, &[&parts[..], &wholes].concat(), &mut [], Mode::Count);
        let expected = [
            Block { count: 351, function: Some(2), ..parts[0] },
            Block { count: 350, ..parts[1] },
            Block { count: 57, function: Some(2), ..parts[2] },
        ];
        assert_eq!(counted, expected);
    }

    #[test]
    fn a_place_with_several_numbers_has_the_counts_of_all() {
        let numbers = [block((2, 4), 1, 3, None), block((2, 4), 2, 40, None), block((2, 4), 3, 500, Some(2))];
        let partition = Partition::of_parts([numbers[0].unit].into_iter());
        let counted = counts_of(&partition, &numbers, &mut [], Mode::Count);
        assert_eq!(counted, [Block { count: 543, function: Some(2), ..numbers[0] }]);
    }
}
