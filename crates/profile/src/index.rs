//! The blocks of a source file in all inputs, each once.
//!
//! Releases of Go cut a file into blocks differently. Up to 1.26 a block reaches from the brace before its first statement to
//! the one that ends it. From 1.27 it begins at its first statement and mostly ends at column 1 of the line after its last
//! one, and blank lines and comments cut it in two. So a block of the older kind contains whole blocks of the newer, and
//! their numbers of statements add up to its own. Where that holds, the finer blocks are the file's. No source is needed.
//!
//! Go 1.27.0 and 1.27.1 give each piece of a block the whole block's number of statements (golang/go 80974). Another
//! release's blocks of the same file have the right number.
//!
//! Go: `addCounters` and `codeRanges` in `cmd/cover`.

use std::cmp::Reverse;
use std::ops::Range;

use covdata::Unit;

use crate::profile::{Block, FileProfile};

/// The blocks of a file that all inputs agree on: the finest ones. They do not overlap.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Sorted by place.
    units: Vec<Unit>,
}

impl Partition {
    /// The finest of these blocks. `None` if they do not come from one version of the source.
    pub(crate) fn of(units: impl IntoIterator<Item = Unit>) -> Option<Self> {
        let mut units: Vec<Unit> = units.into_iter().collect();
        // After `//line` there is no column, and a line is another file's.
        if !units.iter().all(|unit| unit.start_column != 0 && unit.start() <= unit.end()) {
            return None;
        }
        units.sort_by_key(by_place);
        units.dedup();
        let units = without_repeated(units);
        let mut out = Vec::with_capacity(units.len());
        let mut rest = units.as_slice();
        while let Some(first) = rest.first() {
            let mut end = first.end();
            let overlapping = rest[1..].iter().take_while(|unit| {
                let overlaps = unit.start() < end;
                end = end.max(unit.end());
                overlaps
            });
            let (cluster, others) = rest.split_at(1 + overlapping.count());
            out.extend(finest(cluster, others.first().map(Unit::start))?);
            rest = others;
        }
        Some(Self { units: out })
    }

    /// The partition that has these blocks, which do not overlap.
    pub(crate) fn of_parts(units: impl Iterator<Item = Unit>) -> Self {
        let mut units: Vec<Unit> = units.collect();
        units.sort_by_key(by_place);
        Self { units }
    }

    /// The blocks, sorted by place.
    pub(crate) fn units(&self) -> &[Unit] {
        &self.units
    }

    /// The blocks that an input's block consists of, or the one that it is a piece of.
    pub(crate) fn parts(&self, unit: &Unit) -> Range<usize> {
        let start = self.units.partition_point(|part| part.start() < unit.start());
        // An empty block has no place in it where a part could begin.
        let is_in = |part: &Unit| {
            part.end() <= unit.end() && (part.start() < unit.end() || place(part) == place(unit))
        };
        let inside = self.units[start..].partition_point(is_in);
        let begins_here = self.units.get(start).is_some_and(|part| part.start() == unit.start());
        match inside {
            0 if begins_here => start..start + 1,
            0 => start.saturating_sub(1)..start,
            inside => start..start + inside,
        }
    }
}

/// The finest blocks of a block and the blocks in it. `next` is where the block after all of them begins. `None` if they do
/// not come from one version of the source.
fn finest(cluster: &[Unit], next: Option<u64>) -> Option<Vec<Unit>> {
    let mut children = vec![Vec::new(); cluster.len()];
    let mut open = Vec::<usize>::new();
    for (index, unit) in cluster.iter().enumerate() {
        while open.pop_if(|outer| cluster[*outer].end() <= unit.start()).is_some() {}
        if let Some(&outer) = open.last() {
            if unit.end() > cluster[outer].end() {
                return None;
            }
            children[outer].push(index);
        }
        open.push(index);
    }
    let mut dropped = vec![false; cluster.len()];
    for (outer, parts) in children.iter().enumerate() {
        if dropped[outer] || parts.is_empty() {
            continue;
        }
        let units: Vec<Unit> = parts.iter().map(|&part| cluster[part]).collect();
        if is_sum(&cluster[outer], &units, next) {
            dropped[outer] = true;
        } else if is_repeated_in(&cluster[outer], &units)
            && parts.iter().all(|&part| children[part].is_empty())
        {
            parts.iter().for_each(|&part| dropped[part] = true);
        } else {
            return None;
        }
    }
    Some(cluster.iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(unit, _)| *unit).collect())
}

/// Whether a block consists of these parts, which are in it, in order. `next` is where the block after it begins.
fn is_sum(whole: &Unit, parts: &[Unit], next: Option<u64>) -> bool {
    let Some((last, before)) = parts.split_last() else { return false };
    let first = &parts[0];
    let sum = parts.iter().map(|part| u64::from(part.statements)).sum::<u64>();
    // A block of another version of the source may contain blocks too, but these do not end at column 1.
    if !before.iter().all(is_by_lines) {
        return false;
    }
    // An older block ends at column 1 only at a label, and begins at the brace or after the block before it: gofmt puts the
    // first statement further left, in a later line. A block of 1.27 begins at its first statement.
    let is_older = whole.start_line < first.start_line && first.start_column < whole.start_column;
    if whole.end_column == 1 && !is_older {
        return false;
    }
    if sum == u64::from(whole.statements) {
        // The older block counts the label, and so does the one piece of 1.27.1.
        return (whole.end_column != 1 || before.is_empty())
            && (is_by_lines(last) || last.end() == whole.end());
    }
    sum + 1 == u64::from(whole.statements)
        && is_by_lines(last)
        // gofmt puts a label further left than the statements around it, and a brace that ends them not. Up to
        // Go 1.26 the block before it counts it, and later releases do not.
        && (whole.end_column < first.start_column || ends_at_block(whole, last, next))
}

/// Whether Go 1.27.0 or 1.27.1 has cut a block into these parts: the number of statements is known for the whole block, not
/// for each piece.
fn is_repeated_in(whole: &Unit, parts: &[Unit]) -> bool {
    parts.len() > 1
        && whole.statements > 1
        && parts[..parts.len() - 1].iter().all(is_by_lines)
        && parts.iter().all(|part| part.statements == whole.statements)
}

/// Whether a block of up to Go 1.26 ends at a bare block, which it counts as a statement, and later releases do not.
fn ends_at_block(whole: &Unit, last_part: &Unit, next: Option<u64>) -> bool {
    last_part.end_line == whole.end_line && next == Some(whole.end())
}

/// Whether a block ends before a line, or is empty, as from Go 1.27 on.
fn is_by_lines(unit: &Unit) -> bool {
    unit.end_column == 1 || unit.start() == unit.end()
}

/// Removes repeated numbers of statements: if a position has two numbers, and several positions in a row have the larger one
/// too, only the smaller number is kept. The blocks are sorted by position, then by number of statements, and stay so.
fn without_repeated(mut units: Vec<Unit>) -> Vec<Unit> {
    if !units.is_sorted_by(|a, b| place(a) != place(b)) {
        let mut places: Vec<&[Unit]> = units.chunk_by(|a, b| place(a) == place(b)).collect();
        keep_smaller(&mut places);
        units = places.concat();
    }
    units
}

fn keep_smaller(places: &mut [&[Unit]]) {
    let mut start = 0;
    while start < places.len() {
        let [_, suspect] = *places[start] else {
            start += 1;
            continue;
        };
        let number = suspect.statements;
        let right = |place: &[Unit]| match *place {
            [right, other] if other.statements == number => Some(right),
            _ => None,
        };
        let (mut end, mut sum) = (start, 0);
        while sum < u64::from(number)
            && let Some(unit) = places.get(end).and_then(|place| right(place))
        {
            sum += u64::from(unit.statements);
            end += 1;
        }
        // A label or a bare block is left, which only the larger number counts.
        let is_one_less = || sum + 1 == u64::from(number) && is_by_lines(&places[end - 1][0]);
        if sum != u64::from(number) && !is_one_less() {
            // It is another version of the source, whatever comes.
            return;
        }
        let empty =
            places[end..].iter().take_while(|place| right(place).is_some_and(|unit| unit.statements == 0));
        end += empty.count();
        for place in &mut places[start..end] {
            *place = &place[..1];
        }
        start = end;
    }
}

/// Facts about a single input's blocks of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BlockFacts {
    /// How many blocks there are.
    pub(crate) blocks: usize,
    /// Whether they are in order, each once. What follows is only known for blocks in order.
    pub(crate) in_order: bool,
    /// Whether some overlap.
    pub(crate) overlap: bool,
    /// Whether some have the same place, and different numbers of statements.
    pub(crate) same_place: bool,
    /// Whether Go 1.27.0 or 1.27.1 has cut one block into pieces that each have its number of statements.
    pub(crate) repetition: Option<Repetition>,
}

impl BlockFacts {
    /// The facts about blocks.
    pub(crate) fn of(blocks: &[Block]) -> Self {
        let mut facts = Self { blocks: blocks.len(), in_order: true, ..Self::default() };
        for pair in blocks.windows(2) {
            let [a, b] = [&pair[0].unit, &pair[1].unit];
            // As nearly all are.
            let is_next = a.start() < b.start() && a.end() <= b.start() && b.start() <= b.end();
            if !is_next {
                facts.in_order &= order(a) < order(b);
                facts.overlap |= b.start() < a.end();
                facts.same_place |= place(a) == place(b);
            }
            facts.repetition = facts.repetition.max(repetition(a, b));
        }
        facts
    }

    /// The facts about each of several inputs: the largest number, and what holds for any.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            blocks: self.blocks.max(other.blocks),
            in_order: self.in_order && other.in_order,
            overlap: self.overlap || other.overlap,
            same_place: self.same_place || other.same_place,
            repetition: self.repetition.max(other.repetition),
        }
    }
}

/// Whether Go 1.27.0 or 1.27.1 has given each piece of a block the number of statements of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repetition {
    /// Two blocks in a row have one number, which may be right. The source tells.
    Possible,
    /// It is more than gofmt leaves in the lines of one of them.
    Certain,
}

impl FileProfile<'_> {
    /// Whether numbers of statements are repeated; `None` if they are not.
    #[must_use]
    pub fn repetition(&self) -> Option<Repetition> {
        BlockFacts::of(&self.blocks).repetition
    }
}

/// Whether two blocks in a row may be pieces of one.
fn repetition(a: &Unit, b: &Unit) -> Option<Repetition> {
    if a.end_column != 1 || a.statements != b.statements || a.statements < 2 {
        return None;
    }
    Some(if is_too_full(a) || is_too_full(b) { Repetition::Certain } else { Repetition::Possible })
}

/// Whether a block of Go 1.27 has more statements than gofmt leaves in its lines.
#[inline]
pub(crate) fn is_too_full(unit: &Unit) -> bool {
    // A label may be one more, in the line after the block.
    unit.end_column == 1 && unit.end_line.saturating_sub(unit.start_line).saturating_add(1) < unit.statements
}

fn place(unit: &Unit) -> (u64, u64) {
    (unit.start(), unit.end())
}

/// The sort key of blocks for which one that contains others comes before them.
pub(crate) fn by_place(unit: &Unit) -> impl Ord + use<> {
    (unit.start(), Reverse(unit.end()), unit.statements)
}

/// The sort key of blocks, as in Go. Go: `sortUnits` in `internal/coverage/cformat`.
#[inline]
pub(crate) fn order(unit: &Unit) -> impl Ord + use<> {
    // Two numbers are compared at once.
    let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
    (pair(unit.start_line, unit.end_line), pair(unit.start_column, unit.end_column), unit.statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(start: (u32, u32), end: (u32, u32)) -> Unit {
        Unit { start_line: start.0, start_column: start.1, end_line: end.0, end_column: end.1, statements: 1 }
    }

    #[test]
    fn a_coarse_block_has_parts_and_a_piece_is_in_one() {
        let fine = [unit((2, 2), (4, 1)), unit((5, 2), (5, 2)), unit((6, 2), (8, 1))];
        let fine = Partition { units: fine.to_vec() };
        assert_eq!(fine.parts(&unit((1, 10), (9, 2))), 0..3);
        assert_eq!(fine.parts(&unit((2, 2), (7, 1))), 0..2);
        // The empty block begins where this one ends.
        assert_eq!(fine.parts(&unit((1, 10), (5, 2))), 0..1);
        for (number, part) in fine.units().iter().enumerate() {
            assert_eq!(fine.parts(part), number..number + 1);
        }
        let coarse = Partition { units: vec![unit((1, 10), (9, 2)), unit((11, 10), (19, 2))] };
        assert_eq!(coarse.parts(&unit((1, 10), (4, 1))), 0..1);
        assert_eq!(coarse.parts(&unit((2, 2), (4, 1))), 0..1);
        assert_eq!(coarse.parts(&unit((11, 10), (12, 1))), 1..2);
        assert_eq!(coarse.parts(&unit((12, 2), (14, 1))), 1..2);
    }

    #[test]
    fn blocks_are_in_gos_order() {
        let in_order = [
            unit((1, 9), (9, 2)),
            unit((2, 9), (3, 2)),
            unit((2, 3), (4, 2)),
            unit((2, 3), (4, 7)),
            unit((2, 5), (4, 1)),
            Unit { statements: 2, ..unit((2, 5), (4, 1)) },
        ];
        assert!(in_order.is_sorted_by(|a, b| order(a) < order(b)));
    }

    #[test]
    fn a_number_is_repeated_where_two_blocks_in_a_row_have_it() {
        let piece = |first: u32, last: u32, statements| Unit { statements, ..unit((first, 2), (last, 1)) };
        for (a, b, expected) in [
            (piece(2, 4, 1), piece(5, 7, 1), None),
            (piece(2, 4, 2), piece(5, 7, 2), Some(Repetition::Possible)),
            // Two lines, and a label in the line after them.
            (piece(2, 4, 3), piece(5, 7, 3), Some(Repetition::Possible)),
            (piece(2, 4, 4), piece(5, 8, 4), Some(Repetition::Certain)),
            (piece(2, 5, 4), piece(6, 8, 4), Some(Repetition::Certain)),
            (piece(2, 4, 2), piece(5, 7, 3), None),
            (Unit { end_column: 3, ..piece(2, 4, 4) }, piece(5, 7, 4), None),
        ] {
            let blocks = [a, b].map(|unit| Block { unit, count: 0, function: None });
            let file =
                FileProfile { name: "a.go", blocks: blocks.to_vec(), finding: None, suites: Vec::new() };
            assert_eq!(file.repetition(), expected, "{a:?} {b:?}");
        }
    }
}
