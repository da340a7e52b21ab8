//! Where the counters are.
//!
//! All counters of a program lie together, between the symbols `runtime.covctrs` and `runtime.ecovctrs`. A stripped
//! program has no symbols, but its runtime has their addresses: in `runtime.firstmoduledata`, after those of
//! the section `.noptrbss`, which contains them.
//!
//! Go: `moduledata` in `runtime/symtab.go`. Since Go 1.26 it has the section `.go.module` for itself.

use crate::elf::{Executable, Section, word};
use crate::known::{Known, Stop, limited};
use crate::range::Range;
use crate::{BuildInfo, Error};

/// The sections that may hold the module data, the likeliest first. The system's linker puts what Go would name
/// `.data.rel.ro.…` into one section.
const SECTIONS: [&str; 4] = [".go.module", ".noptrdata", ".data.rel.ro", ".data"];

/// Finds a program's counters.
pub(crate) fn counters(executable: &Executable, build: &BuildInfo, known: &Known) -> Result<Range, Stop> {
    let not_found = || match build.cover {
        Some(true) => Error::Layout { go: build.go.clone() },
        Some(false) => Error::NotCovered,
        None if executable.section(".go.buildinfo").is_none() => Error::NotGo,
        None => Error::Layout { go: None },
    };
    let area = executable.section(".noptrbss").ok_or_else(not_found)?;
    for prefix in SECTIONS {
        let sections: Vec<Range> = executable.sections(prefix).map(Section::in_memory).collect();
        for bytes in known.all(&sections)? {
            if let Some((start, end)) = find(bytes, area.address, area.address.saturating_add(area.size)) {
                let counters = Range::memory(start, end - start);
                if counters.length == 0 {
                    return Err(Error::NotCovered.into());
                }
                limited(&[counters], "the memory of its counters")?;
                return Ok(counters);
            }
        }
    }
    Err(not_found().into())
}

/// Finds the addresses of `noptrbss`, `enoptrbss`, `covctrs` and `ecovctrs` beside each other. Gives the last two.
fn find(bytes: &[u8], area: u64, area_end: u64) -> Option<(u64, u64)> {
    let words = bytes.as_chunks::<8>().0;
    words.windows(4).find_map(|window| {
        let [start, end, counters, counters_end] = [0, 1, 2, 3].map(|at| word(&window[at]));
        let is_it = start == area
            && end <= area_end
            && start <= counters
            && counters <= counters_end
            && counters_end <= end
            && (counters_end - counters).is_multiple_of(4);
        is_it.then_some((counters, counters_end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn four_addresses_beside_each_other() {
        let area = (0x1000, 0x2000);
        let found = |words: &[u64]| find(&bytes(words), area.0, area.1);
        assert_eq!(found(&[7, 0x1000, 0x1ff0, 0x1100, 0x1200, 9]), Some((0x1100, 0x1200)));
        assert_eq!(found(&[0x1000, 0x1000, 0x2000, 0x1100, 0x1100]), Some((0x1100, 0x1100)));
        for words in [
            [0x1000, 0x2001, 0x1100, 0x1200],
            [0x1008, 0x2000, 0x1100, 0x1200],
            [0x1000, 0x2000, 0x1200, 0x1100],
            [0x1000, 0x1800, 0x1700, 0x1900],
            [0x1000, 0x2000, 0x0900, 0x1100],
            [0x1000, 0x2000, 0x1100, 0x1102],
        ] {
            assert_eq!(found(&words), None, "{words:x?}");
        }
        assert_eq!(find(&bytes(&[0x1000, 0x2000, 0x1100]), area.0, area.1), None);
    }
}
