//! Counter files: how often the blocks of a binary ran in one process.
//!
//! Go: `internal/coverage/defs.go` (`CounterFileHeader`, `CounterSegmentHeader`, `CounterFileFooter`),
//! written by `internal/coverage/encodecounter`, read by `internal/coverage/decodecounter`.
//!
//! Facts that are not in the format's description:
//! - Headers and footers are little-endian, always. The header's BigEndian flag applies to raw counters only;
//!   Go's writer never sets it, Go's reader honours it.
//! - The arguments' length includes the padding after them, up to a multiple of 4 bytes from the segment's start:
//!   footers follow counters unaligned, so a later segment may start anywhere. (Go's reader pads from the
//!   file's start, which is wrong for later segments, but its tools never read those.)
//! - A footer follows each segment. Its number of segments counts the segments up to that point.
//! - No tool of Go's writes several segments. `AppendSegment` would, but up to Go 1.26 it adds the functions
//!   of the segments before to what a segment announces; such a file is an error here, as it is to Go's
//!   reader.

use std::collections::{HashMap, HashSet};

use crate::cursor::Cursor;
use crate::{Error, MetaHash};

/// A counter file, borrowed from its bytes.
///
/// A file of several segments that is cut off exactly between two is a valid file of fewer segments. Go's
/// runtime writes one segment a file.
#[derive(Debug, Clone)]
pub struct CounterFile<'a> {
    pub(crate) header: &'a [u8; HEADER],
    /// The segments; one, unless a tool has joined several runs. At least one.
    segments: Vec<Segment<'a>>,
}

/// The counters of one run, with facts about the process.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    args: Vec<Arg<'a>>,
    /// The number of functions: the announced number, which the parser has compared with the found one.
    entries: u64,
    encoding: Encoding,
    payload: &'a [u8],
}

/// The counters of one function that ran.
#[derive(Debug, Clone)]
pub struct FunctionCounters<'a> {
    /// Index of the package in the meta-data file.
    pub package: u32,
    /// Index of the function in the package.
    pub function: u32,
    counters: Counters<'a>,
}

/// The functions of a [`Segment`]. One that never ran is left out.
#[derive(Debug, Clone)]
pub struct FunctionCountersIter<'a> {
    cursor: Cursor<'a>,
    encoding: Encoding,
}

/// The counter values of a function, in the order of its units.
#[derive(Debug, Clone)]
pub struct Counters<'a> {
    cursor: Cursor<'a>,
    encoding: Encoding,
    left: u32,
}

impl<'a> CounterFile<'a> {
    /// Parses, and checks that the file is whole: it ends in a footer, and holds exactly the segments and
    /// functions that it announces.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`], [`Error::Malformed`] or [`Error::Version`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::read_into(bytes, &mut NullSink)
    }

    /// Parses, and passes each function's counters to the sink. If the file is not whole, the error may come after the sink
    /// has received some of them.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse), and those of the sink; [`Error::Malformed`] where the sink breaks its rules.
    #[doc(hidden)]
    pub fn read_into<S: CounterSink>(bytes: &'a [u8], sink: &mut S) -> Result<Self, S::Error> {
        let mut cursor = Cursor::new(bytes);
        let whole = bytes.first_chunk::<HEADER>();
        let header = whole.ok_or(Error::Truncated { offset: 0, what: "the header" })?;
        if cursor.array("the header")? != MAGIC {
            return Err(Error::malformed(0, "not the first bytes of a counter file").into());
        }
        let version = cursor.u32("the header")?;
        if version != 1 {
            return Err(Error::Version { found: version }.into());
        }
        cursor.bytes(16, "the header")?; // the hash
        let flavour_at = cursor.position();
        let encoding = match (cursor.u8("the header")?, cursor.u8("the header")?) {
            (1, 0) => Encoding::RawLittleEndian,
            (1, _) => Encoding::RawBigEndian,
            (2, _) => Encoding::Uleb,
            (other, _) => {
                let what = format!("no counter flavour has number {other}");
                return Err(Error::malformed(flavour_at, what).into());
            }
        };
        cursor.bytes(6, "the header")?;

        let footer_at = bytes.len().saturating_sub(FOOTER).max(HEADER);
        let announced = footer(&mut Cursor::new(&bytes[footer_at..]))
            .map_err(|()| Error::malformed(footer_at, "the file does not end in a footer"))?;
        if announced == 0 {
            return Err(Error::malformed(footer_at, "no segments").into());
        }
        let mut segments = Vec::new();
        for number in 1..=announced {
            segments.push(Segment::read_into(&mut cursor, encoding, sink)?);
            let at = cursor.position();
            if footer(&mut cursor) != Ok(number) {
                let what = format!("expected the footer of segment {number} after its last function");
                return Err(Error::malformed(at, what).into());
            }
        }
        if cursor.left() != 0 {
            return Err(Error::malformed(cursor.position(), "data after the last segment").into());
        }
        Ok(Self { header, segments })
    }

    /// The hash of the binary whose counters these are.
    #[must_use]
    pub fn hash(&self) -> MetaHash {
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.header[8..24]);
        MetaHash(hash)
    }

    /// The segments, in file order. At least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment<'a>] {
        &self.segments
    }

    /// The functions of all segments.
    pub fn functions(&self) -> impl Iterator<Item = FunctionCounters<'a>> {
        self.segments.iter().flat_map(Segment::functions)
    }
}

impl<'a> Segment<'a> {
    fn read_into<S: CounterSink>(
        cursor: &mut Cursor<'a>,
        encoding: Encoding,
        sink: &mut S,
    ) -> Result<Self, S::Error> {
        let start = cursor.position();
        let entries = cursor.u64("a segment header")?;
        let strings_len = cursor.u32("a segment header")? as usize;
        let args_len = cursor.u32("a segment header")? as usize;
        let strings = cursor.part(strings_len, "the string table")?.strings()?;
        let args = parse_args(cursor.part(args_len, "the arguments")?, &strings)?;
        let misaligned = (cursor.position() - start) % 4;
        if misaligned != 0 {
            cursor.bytes(4 - misaligned, "the padding")?;
        }

        // Each entry has at least one byte, so a wrong number of entries cannot read past the data.
        let before = cursor.clone();
        match encoding {
            Encoding::Uleb => each_function(cursor, entries, sink, |cursor| cursor.uleb(COUNTERS), true)?,
            raw => each_function(cursor, entries, sink, |cursor| raw.read(cursor), false)?,
        }
        let payload = cursor.since(&before);
        Ok(Self { args, entries, encoding, payload })
    }

    /// The functions, in file order.
    #[must_use]
    pub fn functions(&self) -> FunctionCountersIter<'a> {
        FunctionCountersIter { cursor: Cursor::new(self.payload), encoding: self.encoding }
    }

    /// How many functions ran.
    #[must_use]
    pub fn function_count(&self) -> u64 {
        self.entries
    }

    /// The process's operating system, as `GOOS` names it; `None` after a merge of several.
    #[must_use]
    pub fn goos(&self) -> Option<&'a [u8]> {
        self.arg(b"GOOS")
    }

    /// The process's architecture, as `GOARCH` names it; `None` after a merge of several.
    #[must_use]
    pub fn goarch(&self) -> Option<&'a [u8]> {
        self.arg(b"GOARCH")
    }

    /// The process's command line, from the program's name on. It may hold secrets, and is not always UTF-8. Empty
    /// after [`strip_args`](crate::strip_args), or after a merge of different command lines.
    #[must_use]
    pub fn command_line(&self) -> Vec<&'a [u8]> {
        let args: HashMap<_, _> = self.args.iter().copied().collect();
        (0..args.len()).map_while(|n| args.get(format!("argv{n}").as_bytes()).copied()).collect()
    }

    /// The functions as they stand in the file.
    #[doc(hidden)]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// All facts about the process.
    #[must_use]
    pub fn args(&self) -> ProcessArgs {
        ProcessArgs {
            command_line: self.command_line().into_iter().map(<[u8]>::to_vec).collect(),
            goos: self.goos().map(<[u8]>::to_vec),
            goarch: self.goarch().map(<[u8]>::to_vec),
        }
    }

    fn arg(&self, key: &[u8]) -> Option<&'a [u8]> {
        self.args.iter().find(|(k, _)| *k == key).map(|&(_, value)| value)
    }
}

impl<'a> FunctionCounters<'a> {
    /// The counter values, in the order of the function's units.
    #[must_use]
    pub fn counters(&self) -> Counters<'a> {
        self.counters.clone()
    }
}

impl<'a> FunctionCountersIter<'a> {
    /// Functions as they stand in a segment whose numbers are written as ULEB128, which is how Go writes them. Where these bytes
    /// are anything else, it ends early.
    #[doc(hidden)]
    #[must_use]
    pub fn of_uleb128(bytes: &'a [u8]) -> Self {
        Self { cursor: Cursor::new(bytes), encoding: Encoding::Uleb }
    }

    #[inline]
    fn read(&mut self) -> Result<FunctionCounters<'a>, Error> {
        let left = self.encoding.read(&mut self.cursor)?;
        let package = self.encoding.read(&mut self.cursor)?;
        let function = self.encoding.read(&mut self.cursor)?;
        let counters = Counters { cursor: self.cursor.clone(), encoding: self.encoding, left };
        for _ in 0..left {
            self.encoding.read(&mut self.cursor)?;
        }
        Ok(FunctionCounters { package, function, counters })
    }
}

impl<'a> Iterator for FunctionCountersIter<'a> {
    type Item = FunctionCounters<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        // An error is the end of the payload: `Segment::read_into` has read the same bytes before.
        self.read().ok()
    }
}

impl Iterator for Counters<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        self.left = self.left.checked_sub(1)?;
        self.encoding.read(&mut self.cursor).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Counters<'_> {}

/// Receives the counters of a file while it is parsed: see [`CounterFile::read_into`]. This is the fastest way to add up
/// counters, and made for podcov's own crates: it may change in any version.
#[doc(hidden)]
pub trait CounterSink {
    /// What stops the reading: an error in the file, or one of the sink's own.
    type Error: From<Error>;

    /// Gives the number of bytes and of functions, at most `left`, that need not be decoded; `None` if the next function is
    /// to be decoded. `rest` begins with the next function and goes to the end of the file, and `position` is its offset from
    /// the first function. Called only where numbers are written as ULEB128.
    fn repeats(&mut self, position: usize, rest: &[u8], left: u64) -> Option<(usize, u64)>;

    /// The slice to put a function's counters into, with an element for each; `None` if they are only checked. `package` and
    /// `function` are as in [`FunctionCounters`], and `counters` is the number of its counters.
    ///
    /// # Errors
    ///
    /// Those that stop the reading.
    fn place(
        &mut self,
        package: u32,
        function: u32,
        counters: u32,
    ) -> Result<Option<&mut [u64]>, Self::Error>;

    /// Puts a counter into an element of that slice.
    fn put(place: &mut u64, counter: u32);
}

/// A sink that drops all counters, to check a file.
struct NullSink;

impl CounterSink for NullSink {
    type Error = Error;

    fn repeats(&mut self, _: usize, _: &[u8], _: u64) -> Option<(usize, u64)> {
        None
    }

    fn place(&mut self, _: u32, _: u32, _: u32) -> Result<Option<&mut [u64]>, Error> {
        Ok(None)
    }

    fn put(_: &mut u64, _: u32) {}
}

/// How a segment's numbers are written: Go's `CounterFlavor` and BigEndian flag in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    RawLittleEndian,
    RawBigEndian,
    Uleb,
}

impl Encoding {
    #[inline]
    fn read(self, cursor: &mut Cursor<'_>) -> Result<u32, Error> {
        match self {
            Self::RawLittleEndian => cursor.u32(COUNTERS),
            Self::RawBigEndian => cursor.array(COUNTERS).map(u32::from_be_bytes),
            Self::Uleb => cursor.uleb(COUNTERS),
        }
    }
}

/// Reads functions into a sink. `may_be_short` says whether a byte below 128 is a number.
#[inline]
fn each_function<'a, S: CounterSink>(
    from: &mut Cursor<'a>,
    entries: u64,
    sink: &mut S,
    read: impl Fn(&mut Cursor<'a>) -> Result<u32, Error>,
    may_be_short: bool,
) -> Result<(), S::Error> {
    // A copy, because a local variable can stay in registers.
    let mut cursor = from.clone();
    let mut left = entries;
    while left > 0 {
        if may_be_short {
            let position = cursor.position() - from.position();
            if let Some((bytes, functions)) = sink.repeats(position, cursor.rest(), left) {
                // None would be asked for again without end, and more would have no end either.
                if functions == 0 || functions > left || bytes > cursor.left() {
                    let what = "the sink repeats no function, or more than there are";
                    return Err(Error::malformed(cursor.position(), what).into());
                }
                cursor.skip(bytes);
                left -= functions;
                continue;
            }
        }
        left -= 1;
        let counters = read(&mut cursor)?;
        let package = read(&mut cursor)?;
        let function = read(&mut cursor)?;
        let Some(place) = sink.place(package, function, counters)? else {
            if may_be_short {
                cursor.skip_ulebs(counters as usize, COUNTERS)?;
            } else {
                (0..counters).try_for_each(|_| read(&mut cursor).map(drop))?;
            }
            continue;
        };
        if place.len() != counters as usize {
            let what = format!("the sink has room for {} counters, and there are {counters}", place.len());
            return Err(Error::malformed(cursor.position(), what).into());
        }
        // Half of all functions have one counter.
        if let [place] = place {
            S::put(place, read(&mut cursor)?);
            continue;
        }
        // Most counters are below 128, so most of eight bytes are eight counters.
        for place in place.chunks_mut(8) {
            let short = if may_be_short { cursor.short_ulebs(place.len()) } else { None };
            if let Some(mut bytes) = short {
                for place in place {
                    S::put(place, bytes as u32 & 0xff);
                    bytes >>= 8;
                }
                continue;
            }
            for place in place {
                S::put(place, read(&mut cursor)?);
            }
        }
    }
    *from = cursor;
    Ok(())
}

/// The facts about a process in a [`Segment`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessArgs {
    /// As [`Segment::command_line`].
    pub command_line: Vec<Vec<u8>>,
    /// As [`Segment::goos`].
    pub goos: Option<Vec<u8>>,
    /// As [`Segment::goarch`].
    pub goarch: Option<Vec<u8>>,
}

impl ProcessArgs {
    /// Keys and values, sorted by key.
    pub(crate) fn pairs(&self) -> Vec<(String, Vec<u8>)> {
        let argc = self.command_line.len();
        let argv = self.command_line.iter().enumerate();
        let mut pairs: Vec<_> = argv.map(|(n, value)| (format!("argv{n}"), value.clone())).collect();
        pairs.push(("argc".to_owned(), argc.to_string().into_bytes()));
        let system = [("GOARCH", &self.goarch), ("GOOS", &self.goos)];
        pairs.extend(system.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))));
        pairs.sort();
        pairs
    }
}

/// A key and its value. The keys in use are argc, argv0…, GOOS and GOARCH; the values may be any bytes.
type Arg<'a> = (&'a [u8], &'a [u8]);

/// Parses the key-value pairs of a segment, with the checks of Go's reader.
fn parse_args<'a>(mut cursor: Cursor<'_>, strings: &[&'a [u8]]) -> Result<Vec<Arg<'a>>, Error> {
    let start = cursor.position();
    let count = cursor.uleb("the number of arguments")? as usize;
    if count > cursor.left() / 2 {
        return Err(Error::malformed(start, format!("{count} arguments in {} bytes", cursor.left())));
    }
    let mut args = Vec::with_capacity(count);
    let mut keys = HashSet::with_capacity(count);
    for _ in 0..count {
        let at = cursor.position();
        let mut string = || {
            let index = cursor.uleb("an argument")?;
            let found = strings.get(index as usize).copied();
            found.ok_or_else(|| Error::malformed(at, format!("no string has index {index}")))
        };
        let (key, value) = (string()?, string()?);
        if !keys.insert(key) {
            return Err(Error::malformed(at, "an argument is given twice"));
        }
        if key == b"argc" {
            let argc = str::from_utf8(value).ok().and_then(|text| text.parse::<usize>().ok());
            if argc.is_none_or(|argc| argc > count) {
                return Err(Error::malformed(at, "argc is not the number of arguments"));
            }
        }
        args.push((key, value));
    }
    Ok(args)
}

/// Reads a footer and gives its number of segments.
fn footer(cursor: &mut Cursor<'_>) -> Result<u32, ()> {
    let footer: [u8; FOOTER] = cursor.array("a footer").map_err(|_| ())?;
    match footer {
        [0, b'c', b'w', b'm', _, _, _, _, a, b, c, d, ..] => Ok(u32::from_le_bytes([a, b, c, d])),
        _ => Err(()),
    }
}

/// The item that an error names.
const COUNTERS: &str = "a function's counters";

pub(crate) const MAGIC: [u8; 4] = *b"\0cwm";
pub(crate) const HEADER: usize = 32;
const FOOTER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment by hand: string table `""`, `argc`, `0`; one argument; two bytes of padding.
    fn segment(entries: u64, payload: &[u8], number: u32) -> Vec<u8> {
        let strings = b"\x03\x00\x04argc\x010";
        let args = [1, 1, 2, 0];
        let mut bytes = entries.to_le_bytes().to_vec();
        bytes.extend([strings.len() as u8, 0, 0, 0, args.len() as u8, 0, 0, 0]);
        bytes.extend([strings.as_slice(), &args].concat());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(payload);
        bytes.extend(b"\0cwm\0\0\0\0");
        bytes.extend(number.to_le_bytes());
        bytes.extend([0; 4]);
        bytes
    }

    fn header(flavour: u8, big_endian: u8) -> Vec<u8> {
        let mut bytes = b"\0cwm\x01\0\0\0".to_vec();
        bytes.extend([0xab; 16]);
        bytes.extend([flavour, big_endian, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    fn functions(bytes: &[u8]) -> Result<Vec<(u32, u32, Vec<u32>)>, Error> {
        let file = CounterFile::parse(bytes)?;
        assert_eq!(file.hash(), MetaHash([0xab; 16]));
        Ok(file.functions().map(|f| (f.package, f.function, f.counters().collect())).collect())
    }

    #[test]
    fn every_encoding() {
        let expected = Ok(vec![(3, 200, vec![0, 65_536])]);
        let uleb = [2, 3, 0xc8, 0x01, 0, 0x80, 0x80, 0x04];
        let little = [2, 0, 0, 0, 3, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
        let big = [0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 200, 0, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(functions(&[header(2, 0), segment(1, &uleb, 1)].concat()), expected);
        // The flag means raw counters only.
        assert_eq!(functions(&[header(2, 1), segment(1, &uleb, 1)].concat()), expected);
        assert_eq!(functions(&[header(1, 0), segment(1, &little, 1)].concat()), expected);
        assert_eq!(functions(&[header(1, 1), segment(1, &big, 1)].concat()), expected);
    }

    #[test]
    fn every_segment_is_read_wherever_it_starts() {
        // Three bytes of counters: the second segment starts off the 4-byte grid of the file.
        let file = [header(2, 0), segment(1, &[0, 1, 2], 1), segment(2, &[1, 3, 4, 9, 0, 5, 6], 2)].concat();
        assert_eq!(functions(&file), Ok(vec![(1, 2, vec![]), (3, 4, vec![9]), (5, 6, vec![])]));
    }

    #[test]
    fn what_is_announced_must_be_there() {
        let uleb = [1, 3, 4, 9];
        for (file, what) in [
            ([header(2, 0), segment(0, &uleb, 1)].concat(), "fewer functions"),
            ([header(2, 0), segment(2, &uleb, 1)].concat(), "more functions"),
            ([header(2, 0), segment(u64::MAX, &uleb, 1)].concat(), "endless functions"),
            (
                [header(2, 0), segment(1, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 1], 1)].concat(),
                "endless counters",
            ),
            ([header(2, 0), segment(1, &uleb, 0)].concat(), "no segment"),
            ([header(2, 0), segment(1, &uleb, 2)].concat(), "a segment more"),
            ([header(2, 0), segment(1, &uleb, u32::MAX)].concat(), "endless segments"),
            ([header(2, 0), segment(1, &uleb, 1), segment(1, &uleb, 1)].concat(), "a segment fewer"),
            ([header(2, 0), segment(1, &uleb, 1), vec![0]].concat(), "a byte more"),
            ([header(3, 0), segment(1, &uleb, 1)].concat(), "an unknown flavour"),
            (header(2, 0), "no segment, no footer"),
            (
                [header(2, 0), segment(1, &uleb, 2), segment(1, &uleb, 2)].concat(),
                "a first segment which says that it is the second",
            ),
        ] {
            assert!(CounterFile::parse(&file).is_err(), "{what}");
        }
        assert!(CounterFile::parse(&[header(2, 0), segment(1, &uleb, 1)].concat()).is_ok());
    }

    #[test]
    fn arguments_that_gos_reader_refuses() {
        let args = |strings: &[u8], args: &[u8]| {
            let strings = Cursor::new(strings).strings().unwrap();
            parse_args(Cursor::new(args), &strings).map(|args| args.len())
        };
        assert_eq!(args(b"\x02\x01k\x01v", &[1, 0, 1]), Ok(1));
        assert!(args(b"\x02\x01k\x01v", &[1, 0, 2]).is_err(), "no such string");
        assert!(args(b"\x02\x01k\x01k", &[2, 0, 0, 1, 0]).is_err(), "the same key twice");
        assert!(args(b"\x02\x04argc\x01x", &[1, 0, 1]).is_err(), "not a number");
        assert!(args(b"\x02\x04argc\x0a9999999999", &[1, 0, 1]).is_err(), "not the number");
        assert!(args(b"\x01\x01k", &[0xff, 0xff, 0xff, 0xff, 0x0f]).is_err(), "not so many");
        // Refused before room is made for them.
        let refused = Error::malformed(0, "2 arguments in 3 bytes");
        assert_eq!(args(b"\x02\x01k\x01v", &[2, 0, 1, 0]), Err(refused));
        // argc counts what comes beside it too.
        assert_eq!(args(b"\x02\x04argc\x011", &[1, 0, 1]), Ok(1));
        assert!(args(b"\x02\x04argc\x012", &[1, 0, 1]).is_err(), "one more than there are");
    }

    /// A sink with its answer about functions that repeat, the room that it has, and the positions that it was asked at.
    struct TestSink {
        repeats: Option<(usize, u64)>,
        room: Vec<u64>,
        positions: Vec<usize>,
    }

    impl CounterSink for TestSink {
        type Error = Error;

        fn repeats(&mut self, position: usize, _: &[u8], _: u64) -> Option<(usize, u64)> {
            self.positions.push(position);
            self.repeats
        }

        fn place(&mut self, _: u32, _: u32, _: u32) -> Result<Option<&mut [u64]>, Error> {
            Ok(Some(&mut self.room))
        }

        fn put(place: &mut u64, counter: u32) {
            *place += u64::from(counter);
        }
    }

    #[test]
    fn a_sink_that_breaks_a_rule_is_an_error() {
        let file = [header(2, 0), segment(1, &[2, 3, 4, 9, 8], 1)].concat();
        let read = |repeats, room| {
            let mut sink = TestSink { repeats, room: vec![0; room], positions: Vec::new() };
            CounterFile::read_into(&file, &mut sink).map(|_| sink.room)
        };
        assert_eq!(read(None, 2), Ok(vec![9, 8]));
        assert_eq!(read(Some((5, 1)), 2), Ok(vec![0, 0]));
        for (repeats, room) in
            [(Some((0, 0)), 2), (Some((5, 2)), 2), (Some((500, 1)), 2), (None, 1), (None, 3)]
        {
            assert!(matches!(read(repeats, room), Err(Error::Malformed { .. })), "{repeats:?} {room}");
        }
    }

    #[test]
    fn a_sink_learns_where_each_function_begins() {
        let functions = [2, 3, 4, 9, 8, 2, 3, 5, 0xac, 2, 1];
        let file = [header(2, 0), segment(2, &functions, 1)].concat();
        let mut sink = TestSink { repeats: None, room: vec![0; 2], positions: Vec::new() };
        CounterFile::read_into(&file, &mut sink).unwrap();
        assert_eq!((sink.positions, sink.room), (vec![0, 5], vec![9 + 300, 8 + 1]));
    }
}
