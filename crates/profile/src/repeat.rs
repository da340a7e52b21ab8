//! Adds up the counter files of one binary, and decodes only what differs between them.
//!
//! Most functions have the same counters in all of these files, because every process starts in the same way. So the
//! bytes of the first file are kept. A function with the same bytes in another file is counted as a repeat instead of
//! decoded, which is several times as fast.

use std::sync::Arc;

use covdata::{CounterFile, CounterSink, Error, FunctionCountersIter};

use crate::binary::{Binary, BinaryCounts};
use crate::problem::Reason;

/// The counters of a binary's runs, being added up.
pub(crate) struct Adder<'a> {
    counted: BinaryCounts<'a>,
    /// Whether to keep the first file.
    keep: bool,
    reference: Option<Reference>,
}

/// The least number of files for which keeping the first one saves time.
const WORTH_FILES: usize = 4;

/// The functions of the first file.
#[derive(Default)]
struct Reference {
    /// Their bytes in the file.
    bytes: Vec<u8>,
    /// The index of each one's first byte, and the end of the last.
    starts: Vec<usize>,
    /// The package and number of each.
    keys: Vec<(u32, u32)>,
    /// How often each was repeated, as the difference from the one before. One more entry is for the end.
    repeats: Vec<i64>,
}

impl<'a> Adder<'a> {
    /// An adder without runs. `files` is the expected number of counter files.
    pub(crate) fn new(binary: Arc<Binary<'a>>, files: usize) -> Self {
        Self { counted: BinaryCounts::new(binary), keep: files >= WORTH_FILES, reference: None }
    }

    /// Adds a counter file. On an error, the sums are what they were before.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let hash = self.counted.binary.file.hash;
        let mut first = Reference::default();
        let mut adding = SumSink::<true> {
            counted: &mut self.counted,
            first: (self.keep && self.reference.is_none()).then_some(&mut first),
            comparison: self.reference.as_mut().map(Comparison::new),
        };
        let added = CounterFile::read_into(bytes, &mut adding).and_then(|file| match file.hash() {
            found if found == hash => Ok(file),
            found => Err(Error::OtherHash { expected: hash, found }.into()),
        });
        match added {
            Ok(file) => {
                for segment in file.segments() {
                    self.counted.keep_common(Some(segment.args()));
                }
                if let ([segment], true, None) = (file.segments(), self.keep, &self.reference) {
                    self.reference = first.whole(segment.payload());
                }
                Ok(())
            }
            Err(reason) => {
                // Reads the file again up to the same error, and subtracts what was added.
                let comparison = self.reference.as_mut().map(Comparison::new);
                let mut removing = SumSink::<false> { counted: &mut self.counted, first: None, comparison };
                let _ = CounterFile::read_into(bytes, &mut removing);
                Err(reason)
            }
        }
    }

    /// The sums of all files.
    pub(crate) fn finish(self) -> BinaryCounts<'a> {
        let Self { mut counted, reference, .. } = self;
        for (bytes, repeats) in reference.iter().flat_map(Reference::repeated) {
            // These bytes were decoded once before, so nothing is cut off.
            for function in FunctionCountersIter::of_uleb128(bytes) {
                let sums = counted.place(function.package, function.function).into_iter().flatten();
                sums.zip(function.counters()).for_each(|(sum, counter)| *sum += u64::from(counter) * repeats);
            }
        }
        counted
    }
}

impl Reference {
    /// Completes a reference with the file's bytes; `None` if not all of its functions were recorded.
    fn whole(mut self, bytes: &[u8]) -> Option<Self> {
        self.starts.push(bytes.len());
        self.bytes = bytes.to_vec();
        self.repeats = vec![0; self.starts.len()];
        (self.starts.len() == self.keys.len() + 1 && self.starts[0] == 0).then_some(self)
    }

    /// The functions that were repeated, and how often.
    fn repeated(&self) -> impl Iterator<Item = (&[u8], u64)> {
        let bounds = self.starts.windows(2).map(|bounds| &self.bytes[bounds[0]..bounds[1]]);
        let counts = self.repeats.iter().scan(0, |sum, difference| {
            *sum += difference;
            Some(*sum)
        });
        bounds
            .zip(counts)
            .filter_map(|(bytes, count)| Some((bytes, u64::try_from(count).ok().filter(|&n| n > 0)?)))
    }
}

/// The comparison of a file with the reference.
struct Comparison<'r> {
    reference: &'r mut Reference,
    /// The function that is expected next.
    at: usize,
    /// The number of comparisons so far, and how many functions they saved from being decoded.
    tries: usize,
    saved: usize,
}

/// The average number of functions that a comparison must save. With fewer, decoding is as fast.
const WORTH: usize = 4;

/// How many functions ahead the reference is searched for a function.
const AHEAD: usize = 16;

impl<'r> Comparison<'r> {
    fn new(reference: &'r mut Reference) -> Self {
        Self { reference, at: 0, tries: 0, saved: 0 }
    }

    /// Compares the next functions with the reference. Gives the number of bytes and of functions, at most `left`, that are
    /// the same, after counting them as repeats.
    fn repeats(&mut self, rest: &[u8], left: u64, repeats: i64) -> Option<(usize, u64)> {
        // For a file that is mostly different, comparison takes longer than it saves.
        if self.tries > 256 && self.saved < WORTH * self.tries {
            return None;
        }
        self.tries += 1;
        let Reference { bytes, starts, repeats: all, .. } = &mut *self.reference;
        let start = starts[self.at];
        let same = common(&bytes[start..], rest);
        let ahead = starts[self.at + 1..].partition_point(|end| end - start <= same);
        let count = ahead.min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 {
            return None;
        }
        all[self.at] += repeats;
        self.at += count;
        all[self.at] -= repeats;
        self.saved += count;
        Some((starts[self.at] - start, count as u64))
    }

    /// Moves past a function in the reference, if it is one of the next there.
    fn skip_to(&mut self, key: (u32, u32)) {
        let mut ahead = self.reference.keys[self.at..].iter().take(AHEAD);
        self.at += ahead.position(|other| *other == key).map_or(0, |number| number + 1);
    }
}

/// The length of the common prefix.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (chunks, _) = a.as_chunks::<64>();
    let same = chunks.iter().zip(b.as_chunks::<64>().0).take_while(|(a, b)| a == b).count() * 64;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// The sink that adds counters to the sums, or subtracts them again.
struct SumSink<'c, 'a, const ADD: bool> {
    counted: &'c mut BinaryCounts<'a>,
    /// Records the positions of the file's functions, if it is to become the reference.
    first: Option<&'c mut Reference>,
    comparison: Option<Comparison<'c>>,
}

impl<const ADD: bool> CounterSink for SumSink<'_, '_, ADD> {
    type Error = Reason;

    #[inline]
    fn repeats(&mut self, position: usize, rest: &[u8], left: u64) -> Option<(usize, u64)> {
        if let Some(first) = &mut self.first {
            first.starts.push(position);
        }
        self.comparison.as_mut()?.repeats(rest, left, if ADD { 1 } else { -1 })
    }

    #[inline]
    fn place(&mut self, package: u32, function: u32, counters: u32) -> Result<Option<&mut [u64]>, Reason> {
        if let Some(first) = &mut self.first {
            first.keys.push((package, function));
        }
        if let Some(comparison) = &mut self.comparison {
            comparison.skip_to((package, function));
        }
        match self.counted.place(package, function) {
            Some(place) if place.len() == counters as usize => Ok(Some(place)),
            _ => Err(Reason::OtherShape { package, function, counters }),
        }
    }

    #[inline]
    fn put(place: &mut u64, counter: u32) {
        let counter = u64::from(counter);
        *place = if ADD { place.wrapping_add(counter) } else { place.wrapping_sub(counter) };
    }
}
