//! Whether one counter file of a process holds all that another one does, and what it holds beyond that.
//!
//! A process's counters only grow, unless it clears them (`ClearCounters` of `runtime/coverage`). So of two files of one
//! process the earlier is within the later, and must not be added to it. If it is not, the counters were cleared between
//! the two: both count.

use std::collections::HashMap;

use covdata::{CounterFile, CounterFileBuilder, Segment};

/// Whether every counter of `earlier` is at most as large as the same one of `later`. Only files of one process may be
/// asked about: of another, the same counters are other counts.
///
/// # Errors
///
/// What is wrong with one of the files.
pub fn is_within(earlier: &[u8], later: &[u8]) -> Result<bool, covdata::Error> {
    let (earlier, later) = (CounterFile::parse(earlier)?, CounterFile::parse(later)?);
    if earlier.hash() != later.hash() {
        return Ok(false);
    }
    // A program counts in 32 bits. A file with several segments holds several processes: none of them is this one.
    if earlier.segments().len() > 1 || later.segments().len() > 1 {
        return Ok(false);
    }
    let later: HashMap<_, _> = later.functions().map(|f| ((f.package, f.function), f.counters())).collect();
    Ok(earlier.functions().all(|function| {
        let mut before = function.counters();
        match later.get(&(function.package, function.function)) {
            Some(after) => {
                let mut after = after.clone();
                before.all(|before| after.next().is_some_and(|after| before <= after))
            }
            None => before.all(|before| before == 0),
        }
    }))
}

/// What a process has counted between two of its files: a counter file of the differences. In mode set, that is what ran for
/// the first time. `None` if the earlier file is not within the later one, for the process has cleared its counters: then
/// all of the later file was counted since.
///
/// # Errors
///
/// What is wrong with one of the files.
pub fn difference(earlier: &[u8], later: &[u8]) -> Result<Option<Vec<u8>>, covdata::Error> {
    if !is_within(earlier, later)? {
        return Ok(None);
    }
    let (earlier, later) = (CounterFile::parse(earlier)?, CounterFile::parse(later)?);
    let before: HashMap<_, _> =
        earlier.functions().map(|f| ((f.package, f.function), f.counters())).collect();
    let args = later.segments().first().map(Segment::args).unwrap_or_default();
    let mut out = CounterFileBuilder::new(later.hash(), &args)?;
    for function in later.functions() {
        let mut before = before.get(&(function.package, function.function)).cloned();
        let mut counted = |count: u32| count - before.as_mut().and_then(Iterator::next).unwrap_or(0);
        let counts: Vec<u32> = function.counters().map(&mut counted).collect();
        if counts.iter().any(|count| *count != 0) {
            out.function(function.package as usize, function.function as usize, counts)?;
        }
    }
    Ok(Some(out.finish()))
}

#[cfg(test)]
mod tests {
    use covdata::{MetaHash, ProcessArgs};

    use super::*;

    fn file(hash: u8, functions: &[(usize, &[u32])]) -> Vec<u8> {
        let mut out = CounterFileBuilder::new(MetaHash([hash; 16]), &ProcessArgs::default()).unwrap();
        for (function, counters) in functions {
            out.function(0, *function, counters.iter().copied()).unwrap();
        }
        out.finish()
    }

    #[test]
    fn counters_that_only_grow_are_within() {
        let earlier = file(1, &[(0, &[1, 0, 7]), (2, &[0, 3])]);
        for (later, within) in [
            (file(1, &[(0, &[1, 0, 7]), (2, &[0, 3])]), true),
            (file(1, &[(0, &[5, 1, 7]), (1, &[1]), (2, &[0, 4])]), true),
            // Cleared between the two.
            (file(1, &[(0, &[5, 1, 6]), (2, &[0, 4])]), false),
            (file(1, &[(0, &[5, 1, 9])]), false),
            // No program gives its functions other counters.
            (file(1, &[(0, &[5, 1]), (2, &[0, 4])]), false),
            (file(2, &[(0, &[1, 0, 7]), (2, &[0, 3])]), false),
        ] {
            assert_eq!(is_within(&earlier, &later), Ok(within));
        }
        assert_eq!(is_within(&file(1, &[]), &file(1, &[])), Ok(true));
        assert!(is_within(&earlier[..20], &earlier).is_err());
    }
    #[test]
    fn what_was_counted_between_two_files() {
        let earlier = file(1, &[(0, &[1, 0, 7]), (2, &[0, 3]), (4, &[9])]);
        for (later, between) in [
            (file(1, &[(0, &[1, 0, 7]), (2, &[0, 3]), (4, &[9])]), Some(file(1, &[]))),
            (
                file(1, &[(0, &[5, 1, 7]), (1, &[2]), (2, &[0, 3]), (4, &[u32::MAX])]),
                Some(file(1, &[(0, &[4, 1, 0]), (1, &[2]), (4, &[u32::MAX - 9])])),
            ),
            // Cleared between the two, and another program.
            (file(1, &[(0, &[5, 1, 6]), (2, &[0, 4]), (4, &[9])]), None),
            (file(2, &[(0, &[5, 1, 7]), (2, &[0, 3]), (4, &[9])]), None),
        ] {
            assert_eq!(difference(&earlier, &later), Ok(between));
        }
        assert!(difference(&earlier, &earlier[..20]).is_err());
    }
}
