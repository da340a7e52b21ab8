//! From blocks to lines, for formats that know lines alone.

use std::collections::BTreeMap;

use covdata::FileProfile;

use crate::golang;

/// How often the lines of a file ran.
///
/// A line that blocks with statements cover ran as often as the one of them that ran most. Lines without code (blank,
/// a comment, a brace) are none, where the source is known; without it each line from a block's first to its last
/// is one.
#[must_use]
pub fn line_counts(file: &FileProfile<'_>, source: Option<&str>) -> BTreeMap<u32, u32> {
    let code = source.map(golang::code_lines);
    let has_code = |line: u32| {
        let index = (line as usize).wrapping_sub(1);
        code.as_ref().is_none_or(|code| code.get(index).copied().unwrap_or_default())
    };
    let mut lines = BTreeMap::new();
    for block in file.blocks.iter().filter(|block| block.unit.statements > 0) {
        let (first, last) = (block.unit.start_line, block.unit.end_line);
        // A wrong profile must not cost memory: no Go file has more lines.
        for line in (first..=last).take(MAX_LINES).filter(|&line| has_code(line)) {
            let count = lines.entry(line).or_insert(0);
            *count = block.count.max(*count);
        }
    }
    lines
}

const MAX_LINES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use covdata::{Block, Unit};

    fn file(blocks: &[(u32, u32, u32, u32, u32, u32)]) -> FileProfile<'static> {
        let blocks =
            blocks.iter().map(|&(start_line, start_column, end_line, end_column, statements, count)| Block {
                unit: Unit { start_line, start_column, end_line, end_column, statements },
                count,
                function: None,
            });
        FileProfile { name: "a.go", blocks: blocks.collect(), mixed: false }
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

    #[test]
    fn blocks_without_statements_and_absurd_ones() {
        assert!(line_counts(&file(&[(1, 1, 2, 2, 0, 1), (9, 1, 3, 1, 1, 1)]), None).is_empty());
        assert_eq!(line_counts(&file(&[(1, 1, u32::MAX, 1, 1, 1)]), None).len(), MAX_LINES);
    }
}
