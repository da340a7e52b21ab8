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
    // A block that contains others comes before them.
    blocks.sort_by_key(|block| (block.unit.start(), Reverse(block.unit.end()), block.unit.statements));
    drop_repeated(&mut blocks, mode);
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
        let next = others.first().map(|block| block.unit.start());
        out.extend(join_cluster(cluster, next, functions, mode)?);
        rest = others;
    }
    out.sort_by_key(|block| order(&block.unit));
    Some(out)
}

/// Joins a block with the blocks in it. `None` if they do not come from one version of the source. `next` is where the
/// block after all of them begins.
fn join_cluster(
    cluster: &[Block],
    next: Option<u64>,
    functions: &mut [ProfileFunction<'_>],
    mode: Mode,
) -> Option<Vec<Block>> {
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
        // A block of another version of the source may contain blocks too, but these do not end at column 1.
        let (last, before) = parts.split_last().expect("there are some");
        let (first, last) = (&blocks[parts[0]].unit, &blocks[*last].unit);
        let are_lines = before.iter().all(|&part| is_by_lines(&blocks[part].unit));
        let sum = numbers().map(u64::from).sum::<u64>();
        let is_sum = sum == u64::from(whole.unit.statements)
            // An older block ends at column 1 only at a label, which it counts, and so does the one piece of 1.27.1.
            && (whole.unit.end_column != 1 || before.is_empty())
            && (is_by_lines(last) || last.end() == whole.unit.end());
        let is_one_less = || {
            sum + 1 == u64::from(whole.unit.statements)
                && is_by_lines(last)
                // gofmt puts a label further left than the statements around it, and a brace that ends them not. Up to
                // Go 1.26 the block before it counts it, and later releases do not.
                && (whole.unit.end_column < first.start_column || ends_at_block(&whole.unit, last, next))
        };
        if are_lines && (is_sum || is_one_less()) {
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
        } else if are_lines
            && parts.len() > 1
            && whole.unit.statements > 1
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
fn drop_repeated(blocks: &mut Vec<Block>, mode: Mode) {
    let place = |block: &Block| (block.unit.start(), block.unit.end());
    let twice = |pair: &[Block]| place(&pair[0]) == place(&pair[1]);
    if !blocks.windows(2).any(twice) {
        return;
    }
    let mut places: Vec<Vec<Block>> =
        blocks.chunk_by(|a, b| place(a) == place(b)).map(<[Block]>::to_vec).collect();
    // The places in a row, and the sum of their smaller numbers: a window, so that no place is looked at again and again.
    let (mut start, mut end, mut sum) = (0, 0, 0);
    while start < places.len() {
        end = end.max(start);
        let [_, suspect] = places[start][..] else {
            start += 1;
            continue;
        };
        let number = suspect.unit.statements;
        let right = |place: &[Block]| match *place {
            [right, other] if other.unit.statements == number => Some(right.unit),
            _ => None,
        };
        while sum < u64::from(number)
            && let Some(unit) = places.get(end).and_then(|place| right(place))
        {
            sum += u64::from(unit.statements);
            end += 1;
        }
        // A label or a bare block is left, which only the larger number counts.
        let is_one_less = || sum + 1 == u64::from(number) && is_by_lines(&places[end - 1][0].unit);
        if sum != u64::from(number) && !is_one_less() {
            sum -= u64::from(places[start][0].unit.statements);
            start += 1;
            continue;
        }
        let empty =
            places[end..].iter().take_while(|place| right(place).is_some_and(|unit| unit.statements == 0));
        end += empty.count();
        for place in &mut places[start..end] {
            if let Some(suspect) = place.pop() {
                mode.merge(&mut place[0].count, suspect.count);
                place[0].function = place[0].function.or(suspect.function);
            }
        }
        (start, sum) = (end, 0);
    }
    *blocks = places.concat();
}

/// Whether Go 1.27.0 or 1.27.1 has cut one block into pieces that each have its number of statements: more than gofmt
/// leaves in the lines of one.
pub(crate) fn is_repeated(blocks: &[Block]) -> bool {
    blocks.windows(2).any(|pair| {
        let [a, b] = [pair[0].unit, pair[1].unit];
        a.end_column == 1 && a.statements == b.statements && (is_too_full(&a) || is_too_full(&b))
    })
}

/// Whether a block has more statements than gofmt leaves in its lines. A label may be one more, in the line after them.
#[inline]
pub(crate) fn is_too_full(unit: &Unit) -> bool {
    unit.end_column == 1 && unit.end_line.saturating_sub(unit.start_line).saturating_add(1) < unit.statements
}
