//! Joins the blocks of one source file from several releases of Go, which cut it into blocks differently.
//!
//! Up to 1.26 a block reaches from the brace before its first statement to the one that ends it. From 1.27 it begins at
//! its first statement and mostly ends at column 1 of the line after its last one, and blank lines and comments cut it in
//! two. So a block of the older kind contains whole blocks of the newer, and their numbers of statements add up to its
//! own. Where that holds, the finer blocks are the file's, and the coarser one's count is each one's. No source is needed.
//!
//! Go 1.27.0 and 1.27.1 give each piece of a block the whole block's number of statements (golang/go 80974). Another
//! release's blocks of the same file have the right number.
//!
//! Go: `addCounters` and `codeRanges` in `cmd/cover`.

use std::cmp::Reverse;

use crate::profile::{ProfileFunction, order};
use crate::{Block, Mode, Unit};

/// Joins the blocks of several releases of Go. Of blocks that contain others, the finest are kept. Both the given blocks and
/// the result are in order, without duplicates. `None` if the blocks do not come from one version of the source.
pub(crate) fn join(
    blocks: &[Block],
    functions: &mut [ProfileFunction<'_>],
    mode: Mode,
) -> Option<Vec<Block>> {
    let mut blocks = blocks.to_vec();
    drop_repeated(&mut blocks, mode);
    // A block that contains others comes before them.
    blocks.sort_by_key(|block| (block.unit.start(), Reverse(block.unit.end()), block.unit.statements));
    let mut out = Vec::with_capacity(blocks.len());
    let mut rest = blocks.as_slice();
    while let Some(first) = rest.first() {
        let mut end = first.unit.end();
        let overlapping = rest[1..].iter().take_while(|block| {
            let overlaps = block.unit.start() < end;
            end = end.max(block.unit.end());
            overlaps
        });
        let (cluster, others) = rest.split_at(1 + overlapping.count());
        out.extend(join_cluster(cluster, functions, mode)?);
        rest = others;
    }
    out.sort_by_key(|block| order(&block.unit));
    Some(out)
}

/// Joins a block with the blocks in it. `None` if they do not come from one version of the source.
fn join_cluster(cluster: &[Block], functions: &mut [ProfileFunction<'_>], mode: Mode) -> Option<Vec<Block>> {
    // After `//line` there is no column, and a line is another file's.
    let is_placed = |block: &Block| block.unit.start_column != 0 && block.unit.start() <= block.unit.end();
    if cluster.len() > 1 && !cluster.iter().all(is_placed) {
        return None;
    }
    let mut children = vec![Vec::new(); cluster.len()];
    let mut open = Vec::<usize>::new();
    for (index, block) in cluster.iter().enumerate() {
        while open.pop_if(|outer| cluster[*outer].unit.end() <= block.unit.start()).is_some() {}
        if let Some(&outer) = open.last() {
            if block.unit.end() > cluster[outer].unit.end() {
                return None;
            }
            children[outer].push(index);
        }
        open.push(index);
    }
    let mut blocks = cluster.to_vec();
    // The blocks in a block come after it. A block that is dropped passes its count on to the blocks in it.
    let mut dropped = vec![false; blocks.len()];
    for outer in 0..blocks.len() {
        let whole = blocks[outer];
        if dropped[outer] || children[outer].is_empty() {
            continue;
        }
        let parts = &children[outer];
        let numbers = || parts.iter().map(|&part| blocks[part].unit.statements);
        let sum = numbers().map(u64::from).sum::<u64>();
        if sum == u64::from(whole.unit.statements)
            || sum + 1 == u64::from(whole.unit.statements)
                && ends_at_label(&whole.unit, &blocks[parts[0]].unit, &blocks[parts[parts.len() - 1]].unit)
        {
            dropped[outer] = true;
            for &part in parts {
                let part = &mut blocks[part];
                mode.merge(&mut part.count, whole.count);
                part.function = part.function.or(whole.function);
                if let Some(function) = part.function {
                    let known = whole.function.and_then(|function| functions[function as usize].line);
                    let line = known.map_or(whole.unit.start_line, |line| line.min(whole.unit.start_line));
                    let own = &mut functions[function as usize].line;
                    *own = Some(own.map_or(line, |own| own.min(line)));
                }
            }
        } else if parts.len() > 1
            && numbers().all(|number| number == whole.unit.statements)
            && parts.iter().all(|&part| children[part].is_empty())
        {
            // Go 1.27.0 and 1.27.1: the number of statements is known for the whole block, not for each piece. The block
            // began to run as often as the piece that ran most.
            let count = parts.iter().map(|&part| blocks[part].count).max().unwrap_or_default();
            mode.merge(&mut blocks[outer].count, count);
            parts.iter().for_each(|&part| dropped[part] = true);
        } else {
            return None;
        }
    }
    Some(blocks.into_iter().zip(dropped).filter(|(_, dropped)| !dropped).map(|(block, _)| block).collect())
}

/// Whether a block of up to Go 1.26 ends at a label, which it counts as a statement, and later releases do not. gofmt
/// puts a label further left than the statements around it, and a brace that ends them not.
fn ends_at_label(whole: &Unit, first_part: &Unit, last_part: &Unit) -> bool {
    whole.end_column < first_part.start_column && is_by_lines(last_part)
}

/// Whether a block ends before a line, or is empty, as from Go 1.27 on.
fn is_by_lines(unit: &Unit) -> bool {
    unit.end_column == 1 || unit.start() == unit.end()
}

/// Removes repeated numbers of statements: if a position has two numbers, and several positions in a row have the larger one
/// too, only the smaller number is kept.
fn drop_repeated(blocks: &mut Vec<Block>, mode: Mode) {
    let place = |block: &Block| (block.unit.start(), block.unit.end());
    let twice = |pair: &[Block]| place(&pair[0]) == place(&pair[1]);
    if !blocks.windows(2).any(twice) {
        return;
    }
    // Sorted by position, then by number of statements.
    blocks.sort_by_key(|block| (block.unit.start(), Reverse(block.unit.end()), block.unit.statements));
    let mut places: Vec<Vec<Block>> =
        blocks.chunk_by(|a, b| place(a) == place(b)).map(<[Block]>::to_vec).collect();
    let mut start = 0;
    while start < places.len() {
        let [_, suspect] = places[start][..] else {
            start += 1;
            continue;
        };
        let number = suspect.unit.statements;
        let same = places[start..]
            .iter()
            .take_while(|place| matches!(place[..], [_, other] if other.unit.statements == number));
        let right: Vec<u32> = same.map(|place| place[0].unit.statements).collect();
        let mut sum = 0;
        let reached = right.iter().position(|right| {
            sum += u64::from(*right);
            sum >= u64::from(number)
        });
        let last = reached.filter(|_| sum == u64::from(number)).or_else(|| {
            // The difference is a label, which only the larger number counts.
            let last = right.len() - 1;
            let unit = places[start + last][0].unit;
            (is_by_lines(&unit) && sum + 1 == u64::from(number)).then_some(last)
        });
        let Some(last) = last else {
            start += 1;
            continue;
        };
        let empty = right[last + 1..].iter().take_while(|right| **right == 0).count();
        let end = start + last + 1 + empty;
        for place in &mut places[start..end] {
            if let Some(suspect) = place.pop() {
                mode.merge(&mut place[0].count, suspect.count);
                place[0].function = place[0].function.or(suspect.function);
            }
        }
        start = end;
    }
    *blocks = places.concat();
}

/// Whether a block has more statements than gofmt leaves in its lines, which only Go 1.27.0 and 1.27.1 report. A label
/// may be one more, in the line after them.
#[inline]
pub(crate) fn is_too_full(unit: &Unit) -> bool {
    unit.end_column == 1 && unit.end_line.saturating_sub(unit.start_line).saturating_add(1) < unit.statements
}
