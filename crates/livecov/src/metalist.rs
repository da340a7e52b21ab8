//! Where the meta-data is.
//!
//! Each package built with `-cover` tells the runtime of its meta-data when it is initialized. The runtime keeps a list
//! of them, in a slice whose address only symbols tell. It is found by its content: the first element points to
//! meta-data that begins with the length and the hash which the element has too.
//!
//! Go: `Meta.List` in `internal/coverage/rtcov`, `covMeta.metaList` in `runtime/covermeta.go` before Go 1.21.

use covdata::{Granularity, Mode};

use crate::elf::{Executable, Section, word};
use crate::known::{Known, Stop};
use crate::range::Range;

/// The meta-data of a package in memory. Go: `rtcov.CovMetaBlob`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Blob {
    /// Where it is.
    pub(crate) range: Range,
    /// The compiler's hash of it.
    pub(crate) hash: [u8; 16],
    /// The number that the compiler uses for some packages of the runtime, which run before they are initialized.
    /// Negative; -1 for all others.
    pub(crate) number: i64,
    pub(crate) mode: Mode,
    pub(crate) granularity: Granularity,
}

/// The size of an element of the list.
const ELEMENT: u64 = 64;

/// The most elements that a list can have: more than any program has packages.
const MOST: u64 = 1 << 17;

/// The size of the header of a package's meta-data. Go: `MetaSymbolHeader` in `internal/coverage/defs.go`.
const HEADER: u64 = 44;

/// Where the list's slice may be: in a variable without an initial value.
const SECTIONS: [&str; 2] = [".bss", ".data"];

/// The list in memory.
pub(crate) struct MetaList {
    /// Where its length is.
    pub(crate) length_at: Range,
    pub(crate) place: Place,
    pub(crate) blobs: Vec<Blob>,
}

/// Where a list's slice is: in which section, and how far from its start. It is the same for all processes of a build.
pub(crate) type Place = (&'static str, u64);

/// The size of a slice's three words.
const SLICE: u64 = 24;

/// Finds the list, at this place if it is there. `None` if there is none, or none that is complete.
pub(crate) fn find(
    executable: &Executable,
    place: Option<Place>,
    known: &Known,
) -> Result<Option<MetaList>, Stop> {
    if let Some((name, offset)) = place
        && let Some(section) = executable.section(name)
    {
        let at = section.address.wrapping_add(offset);
        let bytes = known.part(Range::memory(at, SLICE))?;
        if let Some(list) = find_in(name, section, slices(at, bytes), known)? {
            return Ok(list);
        }
    }
    for name in SECTIONS {
        let Some(section) = executable.section(name) else { continue };
        let candidates = slices(section.address, known.get(section.in_memory())?);
        if let Some(list) = find_in(name, section, candidates, known)? {
            return Ok(list);
        }
    }
    Ok(None)
}

/// Finds the list among these slices. `Some(None)` if it is not complete.
fn find_in(
    name: &'static str,
    section: &Section,
    candidates: Vec<Slice>,
    known: &Known,
) -> Result<Option<Option<MetaList>>, Stop> {
    let firsts: Vec<Range> =
        candidates.iter().map(|slice| Range { length: ELEMENT, ..slice.array }).collect();
    let firsts = known.parts(&firsts)?;
    let candidates: Vec<(Slice, Blob)> = candidates
        .into_iter()
        .zip(firsts)
        .filter_map(|(slice, first)| Some((slice, element(first)?)))
        .collect();
    let headers: Vec<Range> =
        candidates.iter().map(|(_, first)| Range { length: HEADER, ..first.range }).collect();
    let headers = known.parts(&headers)?;
    let matching = candidates.into_iter().zip(headers).filter(|((_, first), header)| first.begins(header));
    // The slice may have been copied: the longest is the newest.
    let slice = matching.map(|((slice, _), _)| slice).max_by_key(|slice| slice.array.length);
    let Some(Slice { array, length_at }) = slice else { return Ok(None) };
    let elements = known.get(array)?.as_chunks::<{ ELEMENT as usize }>().0;
    // The runtime may be about to write the last one.
    let blobs: Option<Vec<Blob>> = elements.iter().map(|bytes| element(bytes)).collect();
    let place = (name, length_at.start.wrapping_sub(8).wrapping_sub(section.address));
    Ok(Some(blobs.map(|blobs| MetaList { length_at, place, blobs })))
}

/// What may be a slice of such elements.
struct Slice {
    array: Range,
    length_at: Range,
}

/// All that may be such a slice in a section: an address, a length, and a capacity.
fn slices(section: u64, bytes: &[u8]) -> Vec<Slice> {
    let words = bytes.as_chunks::<8>().0;
    let slices = (section..).step_by(8).zip(words.windows(3)).filter_map(|(at, window)| {
        let [start, length, capacity] = [0, 1, 2].map(|at| word(&window[at]));
        let is_slice = is_address(start) && 0 < length && length <= capacity && capacity <= MOST;
        is_slice.then(|| Slice {
            array: Range::memory(start, length * ELEMENT),
            length_at: Range::memory(at.wrapping_add(8), 8),
        })
    });
    slices.collect()
}

/// Whether a program's variable that holds pointers may be at this address.
fn is_address(address: u64) -> bool {
    (0x1_0000..1 << 56).contains(&address) && address.is_multiple_of(8)
}

/// Parses an element of the list.
fn element(bytes: &[u8]) -> Option<Blob> {
    let bytes = bytes.first_chunk::<{ ELEMENT as usize }>()?;
    let (address, length) = (word(bytes), word(&bytes[8..]) as u32);
    let is_valid = (0x1_0000..1 << 56).contains(&address) && u64::from(length) >= HEADER;
    if !is_valid {
        return None;
    }
    let mut hash = [0; 16];
    hash.copy_from_slice(&bytes[12..28]);
    Some(Blob {
        range: Range::memory(address, u64::from(length)),
        hash,
        number: word(&bytes[48..]).cast_signed(),
        mode: Mode::from_byte(bytes[56])?,
        granularity: Granularity::from_byte(bytes[57])?,
    })
}

impl Blob {
    /// Whether a package's meta-data, which begins so, is this one.
    pub(crate) fn begins(&self, bytes: &[u8]) -> bool {
        let Some(header) = bytes.first_chunk::<{ HEADER as usize }>() else { return false };
        u64::from(word(header) as u32) == self.range.length && header[16..32] == self.hash
    }
}
