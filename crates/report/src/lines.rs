//! Converts blocks to lines, for formats that have only lines.

use std::collections::{BTreeMap, BinaryHeap};

use covdata::Unit;
use podcov_profile::FileProfile;

use crate::golang::{self, FunctionExtent};

/// How often the lines of a file ran.
///
/// A line in several blocks with statements has the count of the block that ran most. If the source is known, lines without
/// code (blank lines, comments, braces) have no count. Otherwise each line from a block's first to its last has one. Of a
/// block's first and last line, only the code in the block counts.
#[must_use]
pub fn line_counts(file: &FileProfile<'_>, source: Option<&str>) -> BTreeMap<u32, u32> {
    let code = source.map(golang::code_lines);
    let code_of = |line: u32| {
        let code = code.as_ref()?.get((line as usize).wrapping_sub(1))?;
        *code
    };
    let has_code = |line: u32| code.is_none() || code_of(line).is_some();
    let last_line = code.as_ref().map_or(MAX_LINE, |code| code.len() as u32);
    let mut spans: Vec<(u32, u32, u32)> = file
        .blocks
        .iter()
        .filter(|block| block.unit.statements > 0)
        .map(|block| {
            let (first, last) = code_range(&block.unit, code.as_deref());
            // A malformed profile must not take much time or memory.
            let is_sane = code.is_some() || last <= MAX_LINE && last.saturating_sub(first) <= MAX_LENGTH;
            (first, if is_sane { last.min(last_line) } else { first }, block.count)
        })
        .collect();
    spans.sort_unstable();
    let mut lines = BTreeMap::new();
    let mut spans = spans.into_iter().peekable();
    // The last lines of the blocks that contain the current line, by count.
    let mut open = BinaryHeap::<(u32, u32)>::new();
    let mut line = 0;
    // The lines are visited once, however many blocks contain the same line.
    while let Some(start) = if open.is_empty() { spans.peek().map(|span| span.0) } else { Some(line) } {
        line = start;
        while let Some((_, last, count)) = spans.next_if(|span| span.0 <= line) {
            open.push((count, last));
        }
        while open.peek().is_some_and(|(_, last)| *last < line) {
            open.pop();
        }
        if let Some((count, _)) = open.peek()
            && has_code(line)
        {
            lines.insert(line, *count);
        }
        let Some(next) = line.checked_add(1) else { break };
        line = next;
    }
    for (line, count) in source.map(|source| function_lines(file, source)).unwrap_or_default() {
        let known = lines.entry(line).or_insert(count);
        *known = count.max(*known);
    }
    lines
}

/// A block's first and last line, of these only the code in the block counts. `code` is of [`golang::code_lines`], if the source
/// is known.
pub(crate) fn code_range(unit: &Unit, code: Option<&[Option<(u32, u32)>]>) -> (u32, u32) {
    let code_of = |line: u32| *code?.get((line as usize).wrapping_sub(1))?;
    let Unit { start_line: mut first, start_column, end_line: mut last, end_column, .. } = *unit;
    // No code of the first line is in the block if that code ends before the block begins. No code of the last line is in
    // the block if the block ends before that code begins.
    let is_before = |(_, last_code): (u32, u32)| last_code < start_column;
    // After `//line` there is no column.
    let is_after = |(first_code, _): (u32, u32)| end_column != 0 && end_column <= first_code;
    if first < last && code_of(first).is_some_and(is_before) {
        first += 1;
    }
    if first < last && (end_column == 1 || code_of(last).is_some_and(is_after)) {
        last -= 1;
    }
    (first, last)
}

/// The lines of `func`, each with the count of the function's first block, which begins after it.
fn function_lines(file: &FileProfile<'_>, source: &str) -> Vec<(u32, u32)> {
    let mut blocks: Vec<_> = file.blocks.iter().filter(|block| block.unit.statements > 0).collect();
    let place = |unit: &Unit| (unit.start_line, unit.start_column);
    blocks.sort_by_key(|block| place(&block.unit));
    let first = |function: FunctionExtent| {
        let block = blocks.get(blocks.partition_point(|block| place(&block.unit) < function.start))?;
        (!function.literal && place(&block.unit) < function.end).then_some((function.start.0, block.count))
    };
    golang::functions(source).into_iter().filter_map(first).collect()
}

/// The largest line number of Go's compiler (`lineMax` in `cmd/internal/src`), and the most lines of a block, which only
/// tables of data exceed. If the source is not known, only the first line of a block beyond these limits counts.
const MAX_LINE: u32 = (1 << 20) - 1;
const MAX_LENGTH: u32 = 1 << 14;

#[cfg(test)]
mod tests {
    use super::*;
    use podcov_profile::Block;

    fn file(blocks: &[(u32, u32, u32, u32, u32, u32)]) -> FileProfile<'static> {
        let blocks =
            blocks.iter().map(|&(start_line, start_column, end_line, end_column, statements, count)| Block {
                unit: Unit { start_line, start_column, end_line, end_column, statements },
                count,
                function: None,
            });
        FileProfile { name: "a.go", blocks: blocks.collect(), finding: None, suites: Vec::new() }
    }

    #[test]
    fn a_line_of_several_blocks_ran_as_often_as_the_most_of_them() {
        let source = "package a\nfunc f(x int) {\n\tif x > 0 {\n\t\t// why\n\n\t\tx++\n\t}\n\tg()\n}\n";
        let blocks = file(&[(2, 15, 3, 11, 1, 5), (3, 11, 7, 3, 1, 0), (8, 2, 8, 5, 1, 5)]);
        let with_source: Vec<_> = line_counts(&blocks, Some(source)).into_iter().collect();
        assert_eq!(with_source, [(2, 5), (3, 5), (6, 0), (8, 5)]);
        let without: Vec<_> = line_counts(&blocks, None).into_iter().collect();
        assert_eq!(without, [(2, 5), (3, 5), (4, 0), (5, 0), (6, 0), (7, 0), (8, 5)]);
    }

    /// From Go 1.27 on a block mostly ends at column 1 of the line after its last statement.
    #[test]
    fn releases_of_go_give_the_same_lines() {
        let source = "package a\nfunc f(x int) {\n\tfor x > 0 {\n\t\tx--\n\t}\n\n\t// why\n\tg()\n\th()\n}\n";
        let old = file(&[(2, 15, 3, 12, 1, 2), (3, 12, 5, 3, 1, 9), (8, 2, 10, 2, 2, 2)]);
        let new = file(&[(3, 2, 3, 12, 1, 2), (4, 3, 5, 1, 1, 9), (8, 2, 10, 1, 2, 2)]);
        let expected = [(2, 2), (3, 2), (4, 9), (8, 2), (9, 2)];
        for blocks in [&old, &new] {
            assert_eq!(line_counts(blocks, Some(source)).into_iter().collect::<Vec<_>>(), expected);
        }
        let without: Vec<_> = line_counts(&new, None).into_keys().collect();
        assert_eq!(without, [3, 4, 8, 9]);
    }

    #[test]
    fn a_function_in_a_comment_is_none() {
        let source = "package a\nfunc g(n int) {\n\tg(1)\n/*\nfunc no() {\n*/\n\tg(2)\n}\n";
        let blocks = file(&[(3, 2, 4, 1, 1, 1), (7, 2, 8, 1, 1, 1)]);
        assert_eq!(line_counts(&blocks, Some(source)).into_keys().collect::<Vec<_>>(), [2, 3, 7]);
    }

    #[test]
    fn blocks_without_statements_and_absurd_ones() {
        assert!(line_counts(&file(&[(1, 1, 2, 2, 0, 1), (9, 1, 3, 1, 1, 1)]), None).is_empty());
        let lines = |blocks, source| line_counts(&file(blocks), source).into_iter().collect::<Vec<_>>();
        assert_eq!(lines(&[(3, 1, u32::MAX, 1, 1, 1)], None), [(3, 1)]);
        assert_eq!(lines(&[(u32::MAX, 1, u32::MAX, 2, 1, 1)], None), [(u32::MAX, 1)]);
        assert_eq!(lines(&[(2, 1, u32::MAX, 1, 1, 1)], Some("package a\nx\n\ny\n")), [(2, 1), (4, 1)]);
        assert_eq!(line_counts(&file(&[(1, 1, MAX_LENGTH, 2, 1, 1)]), None).len(), MAX_LENGTH as usize);
    }

    /// A map operation for each line of each block would take a billion operations.
    #[test]
    fn many_blocks_over_the_same_lines() {
        let blocks: Vec<_> = (1..=60_000).map(|column| (1, column, MAX_LENGTH, 2, 1, column)).collect();
        let counts = line_counts(&file(&blocks), None);
        assert_eq!(counts.len(), MAX_LENGTH as usize);
        assert!(counts.values().all(|count| *count == 60_000));
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        /// The result is that of adding one block after the other.
        #[test]
        fn the_same_as_block_by_block(
            blocks in proptest::collection::vec((1_u32..30, 1_u32..5, 1_u32..30, 1_u32..5, 0_u32..3, 0_u32..4), 0..20)
        ) {
            let mut expected = BTreeMap::new();
            for &(first, _, last, last_column, statements, count) in &blocks {
                let last = if last_column == 1 && last > first { last - 1 } else { last };
                for line in (first..=last).filter(|_| statements > 0) {
                    let known: &mut u32 = expected.entry(line).or_default();
                    *known = count.max(*known);
                }
            }
            proptest::prop_assert_eq!(line_counts(&file(&blocks), None), expected);
        }
    }
}
