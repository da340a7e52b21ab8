//! Adds up counter files by what is new in them.
//!
//! Files of one binary mostly repeat each other: what runs at the start of every process runs as often in each. So
//! the first file is kept, and of the others what repeats it is compared and counted, not decoded, which is several
//! times as fast.

use std::sync::Arc;

use crate::binary::{Binary, Counted};
use crate::counters::Sink;
use crate::cursor::Cursor;
use crate::{CounterFile, Error, Reason};

/// The counters of a binary's runs, being added up.
pub(crate) struct Adder<'a> {
    counted: Counted<'a>,
    /// Whether to keep the first file.
    keep: bool,
    reference: Option<Reference>,
}

/// From how many files on the first is worth keeping.
const WORTH_FILES: usize = 4;

/// The functions of the first file.
#[derive(Default)]
struct Reference {
    /// As they stand in the file.
    bytes: Vec<u8>,
    /// Where each starts, and the end of the last.
    starts: Vec<usize>,
    /// The package and number of each.
    keys: Vec<(u32, u32)>,
    /// How often each was repeated, as the difference from the one before; one more for the end.
    repeats: Vec<i64>,
}

impl<'a> Adder<'a> {
    /// No runs yet, of about so many that will be.
    pub(crate) fn new(binary: Arc<Binary<'a>>, files: usize) -> Self {
        Self { counted: Counted::new(binary), keep: files >= WORTH_FILES, reference: None }
    }

    /// Adds a counter file, or leaves everything as it is where the file is not right.
    pub(crate) fn add(&mut self, bytes: &[u8]) -> Result<(), Reason> {
        let hash = self.counted.binary.file.hash;
        let mut first = Reference::default();
        let mut adding = Apply::<true> {
            counted: &mut self.counted,
            first: (self.keep && self.reference.is_none()).then_some(&mut first),
            comparing: self.reference.as_mut().map(Comparing::new),
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
                    self.reference = first.whole(segment.payload);
                }
                Ok(())
            }
            Err(reason) => {
                // The same way up to the same place, backwards.
                let comparing = self.reference.as_mut().map(Comparing::new);
                let mut removing = Apply::<false> { counted: &mut self.counted, first: None, comparing };
                let _ = CounterFile::read_into(bytes, &mut removing);
                Err(reason)
            }
        }
    }

    /// What all files come to.
    pub(crate) fn finish(self) -> Counted<'a> {
        let Self { mut counted, reference, .. } = self;
        for (bytes, repeats) in reference.iter().flat_map(Reference::repeated) {
            // Only what was read before is here, so nothing is missing.
            let mut cursor = Cursor::new(bytes);
            let mut number = || cursor.uleb("a counter").unwrap_or_default();
            let (_, package, function) = (number(), number(), number());
            for sum in counted.place(package, function).into_iter().flatten() {
                *sum += u64::from(number()) * repeats;
            }
        }
        counted
    }
}

impl Reference {
    /// What was noted while a file was read, if it was all of it.
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

/// Where in the reference a file is that is compared with it.
struct Comparing<'r> {
    reference: &'r mut Reference,
    /// The function that is expected next.
    at: usize,
    /// How often it was compared, and how many functions that saved.
    tries: usize,
    saved: usize,
}

/// How many functions each comparison must save, or decoding them is as fast.
const WORTH: usize = 4;

/// How far ahead in the reference a function is looked for.
const AHEAD: usize = 16;

impl<'r> Comparing<'r> {
    fn new(reference: &'r mut Reference) -> Self {
        Self { reference, at: 0, tries: 0, saved: 0 }
    }

    /// How many of the next functions, at most so many, are those of the reference, and their bytes.
    fn repeats(&mut self, rest: &[u8], left: u64, repeats: i64) -> Option<(usize, u64)> {
        // A file that is mostly different is not worth the trying.
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

    /// Goes on behind a function, if it is one of the next.
    fn passed(&mut self, key: (u32, u32)) {
        let mut ahead = self.reference.keys[self.at..].iter().take(AHEAD);
        self.at += ahead.position(|other| *other == key).map_or(0, |number| number + 1);
    }
}

/// How many bytes are the same at the start of both.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (chunks, _) = a.as_chunks::<64>();
    let same = chunks.iter().zip(b.as_chunks::<64>().0).take_while(|(a, b)| a == b).count() * 64;
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// Adds what it is given, or takes it back.
struct Apply<'c, 'a, const ADD: bool> {
    counted: &'c mut Counted<'a>,
    /// What the file's functions are noted in.
    first: Option<&'c mut Reference>,
    comparing: Option<Comparing<'c>>,
}

impl<const ADD: bool> Sink for Apply<'_, '_, ADD> {
    type Error = Reason;

    #[inline]
    fn repeats(&mut self, position: usize, rest: &[u8], left: u64) -> Option<(usize, u64)> {
        if let Some(first) = &mut self.first {
            first.starts.push(position);
        }
        self.comparing.as_mut()?.repeats(rest, left, if ADD { 1 } else { -1 })
    }

    #[inline]
    fn place(&mut self, package: u32, function: u32, counters: u32) -> Result<Option<&mut [u64]>, Reason> {
        if let Some(first) = &mut self.first {
            first.keys.push((package, function));
        }
        if let Some(comparing) = &mut self.comparing {
            comparing.passed((package, function));
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
