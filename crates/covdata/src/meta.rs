//! Meta-data files: the packages, functions and blocks that a binary's counters belong to.
//!
//! Go: `internal/coverage/defs.go` (`MetaFileHeader`, `MetaSymbolHeader`), written by
//! `internal/coverage/encodemeta`, read by `internal/coverage/decodemeta`. Always little-endian.
//!
//! Go writes packages, and functions in a package, one after the other. That order is required here: a file
//! whose parts overlap could otherwise cost memory and time far beyond its own length.

use std::fmt;

use crate::cursor::Cursor;
use crate::{Error, MetaHash};

/// A meta-data file, borrowed from its bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MetaFile<'a> {
    /// The binary's hash, which its counter files repeat.
    pub hash: MetaHash,
    /// What a counter counts.
    pub mode: Mode,
    /// What has a counter.
    pub granularity: Granularity,
    /// The packages, in the order that counter files refer to them by index.
    pub packages: Vec<Package<'a>>,
}

/// The bytes of a package, not yet parsed, for [`MetaFile::parse_with`].
#[derive(Debug, Clone)]
pub struct PackageBytes<'a>(Cursor<'a>);

/// A package of a [`MetaFile`].
#[derive(Debug, Clone)]
pub struct Package<'a> {
    /// Its name, as in the package clause.
    pub name: &'a str,
    /// Its import path.
    pub path: &'a str,
    /// The path of its module; may be empty.
    pub module: &'a str,
    /// The names of functions and files, for [`Function::name`] and [`Function::file`].
    pub strings: Vec<&'a str>,
    /// The position of each function. Functions are decoded each time when they are used: for a large program, writing all
    /// of them into memory takes longer than decoding them again.
    places: Vec<Place>,
    /// How many units its functions have in total.
    units: usize,
    /// The package's bytes in the file.
    blob: &'a [u8],
}

/// The position of a function of a [`Package`].
#[derive(Debug, Clone)]
struct Place {
    /// The offsets in the package of its first byte, and of the literal flag, which comes after its units.
    start: u32,
    flag: u32,
}

/// A function of a [`Package`].
#[derive(Debug, Clone)]
pub struct Function<'a> {
    /// Index of its name in [`Package::strings`]; with the receiver's type before it, as in `Cart.Add` or
    /// `*Cart.Add`.
    pub name: u32,
    /// Index of its source file in [`Package::strings`]: import path, slash, base name. An absolute path
    /// where the binary was built from files, not from a package.
    pub file: u32,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    pub literal: bool,
    units: Units<'a>,
    /// The length of its units in the file, in bytes.
    units_len: usize,
}

/// A piece of code with a counter of its own: a basic block. Go's `CoverableUnit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    /// First line, from 1.
    pub start_line: u32,
    /// Column in the first line, in bytes from 1.
    pub start_column: u32,
    /// Last line, from 1.
    pub end_line: u32,
    /// Column after the end, in bytes from 1.
    pub end_column: u32,
    /// How many statements it has; may be 0.
    pub statements: u32,
}

/// The units of a [`Function`], in the order of its counters.
#[derive(Debug, Clone)]
pub struct Units<'a> {
    /// All bytes to the end of the package, so that nearly all units can be read eight bytes at once.
    bytes: &'a [u8],
    left: u32,
}

/// What a counter counts: `go build -covermode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Whether the block ran.
    Set,
    /// How often the block ran.
    Count,
    /// How often the block ran, exact when threads race.
    Atomic,
    /// Go's "registration only" pseudo-mode.
    RegOnly,
    /// Go's "test main" pseudo-mode.
    TestMain,
}

/// What has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Granularity {
    /// Each basic block; what the `go` command always asks for.
    PerBlock,
    /// Each function.
    PerFunction,
}

impl<'a> MetaFile<'a> {
    /// Parses, and checks that the file is whole.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the length is not the one in the header; otherwise [`Error::Truncated`],
    /// [`Error::Malformed`] or [`Error::Version`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        Self::parse_with(bytes, |packages| packages.iter().map(PackageBytes::parse).collect())
    }

    /// As [`parse`](Self::parse), with packages that `parse_all` parses: on several threads, for example, which this crate
    /// starts none of. It gives the result of [`PackageBytes::parse`] for each package, in order.
    ///
    /// # Errors
    ///
    /// As [`parse`](Self::parse).
    ///
    /// # Panics
    ///
    /// If `parse_all` gives more or fewer results than there are packages.
    pub fn parse_with(
        bytes: &'a [u8],
        parse_all: impl FnOnce(&[PackageBytes<'a>]) -> Vec<Result<Package<'a>, Error>>,
    ) -> Result<Self, Error> {
        let (mut file, blobs) = Self::parse_header(bytes)?;
        let packages = parse_all(&blobs);
        assert_eq!(packages.len(), blobs.len(), "a result for each package");
        file.packages = packages.into_iter().collect::<Result<_, _>>()?;
        Ok(file)
    }

    /// Parses what comes before the packages, and finds the bytes of each package.
    fn parse_header(bytes: &'a [u8]) -> Result<(Self, Vec<PackageBytes<'a>>), Error> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array("the header")? != MAGIC {
            return Err(Error::malformed(0, "not the first bytes of a meta-data file"));
        }
        let version = cursor.u32("the header")?;
        if version != 1 {
            return Err(Error::Version { found: version });
        }
        let (announced, found) = (cursor.u64("the header")?, bytes.len() as u64);
        if announced != found {
            return Err(Error::Length { announced, found });
        }
        let entries_at = cursor.position();
        let entries = cursor.u64("the header")?;
        let hash = MetaHash(cursor.array("the header")?);
        // Offset and length of the file's string table, which holds nothing but "" and is used by nothing.
        cursor.u64("the header")?;
        let (mode_at, mode) = (cursor.position(), cursor.u8("the header")?);
        let mode = Mode::from_byte(mode)
            .ok_or_else(|| Error::malformed(mode_at, format!("no counter mode has number {mode}")))?;
        let granularity = cursor.u8("the header")?;
        let granularity = Granularity::from_byte(granularity).ok_or_else(|| {
            Error::malformed(mode_at + 1, format!("no counter granularity has number {granularity}"))
        })?;
        cursor.bytes(6, "the header")?;

        let entries =
            usize::try_from(entries).ok().filter(|&n| n <= cursor.left() / 16).ok_or_else(|| {
                Error::malformed(entries_at, format!("{entries} packages in a file of {} bytes", bytes.len()))
            })?;
        let mut offsets = cursor.part(8 * entries, "the package offsets")?;
        let mut lengths = cursor.part(8 * entries, "the package lengths")?;
        let mut blobs = Vec::with_capacity(entries);
        for _ in 0..entries {
            let at = offsets.position();
            let offset = offsets.u64("a package's offset")?;
            let gap = offset.checked_sub(cursor.position() as u64).and_then(|gap| usize::try_from(gap).ok());
            let gap =
                gap.ok_or_else(|| Error::malformed(at, format!("package offset {offset} points backwards")))?;
            cursor.bytes(gap, "the data before a package")?;
            let length = usize::try_from(lengths.u64("a package's length")?).unwrap_or(usize::MAX);
            blobs.push(PackageBytes(cursor.part(length, "a package")?));
        }
        Ok((Self { hash, mode, granularity, packages: Vec::new() }, blobs))
    }
}

impl<'a> PackageBytes<'a> {
    /// The bytes of a package alone, as its program has them in memory. Positions in errors are from the package's start.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(Cursor::new(bytes))
    }

    /// Parses the package.
    ///
    /// # Errors
    ///
    /// [`Error::Truncated`] or [`Error::Malformed`].
    pub fn parse(&self) -> Result<Package<'a>, Error> {
        Package::parse(self.0.clone())
    }
}

impl<'a> Package<'a> {
    /// Parses a package's blob, which is what `cursor` is limited to.
    fn parse(mut cursor: Cursor<'a>) -> Result<Self, Error> {
        let (start, size) = (cursor.position(), cursor.left());
        let blob = cursor.clone().bytes(size, "a package")?;
        let length = cursor.u32("a package header")?;
        if length as usize != size {
            return Err(Error::malformed(start, format!("package of {length} bytes in a place for {size}")));
        }
        let names_at = cursor.position();
        let name = cursor.u32("a package header")?;
        let path = cursor.u32("a package header")?;
        let module = cursor.u32("a package header")?;
        cursor.bytes(16 + 4 + 4, "a package header")?; // its own hash, padding, number of strings
        let count_at = cursor.position();
        let count = cursor.u32("a package header")? as usize;
        if count > cursor.left() / 4 {
            return Err(Error::malformed(count_at, format!("{count} functions in {size} bytes")));
        }
        let mut offsets = cursor.part(4 * count, "the function offsets")?;
        let strings_at = cursor.position();
        let strings =
            cursor.texts()?.ok_or_else(|| Error::malformed(strings_at, "a string that is not UTF-8"))?;

        let mut places = Vec::with_capacity(count);
        let mut units = 0;
        for _ in 0..count {
            let at = offsets.position();
            let offset = start + offsets.u32("a function's offset")? as usize;
            let gap = offset.checked_sub(cursor.position());
            let gap = gap.ok_or_else(|| Error::malformed(at, "function offset points backwards"))?;
            cursor.bytes(gap, "the data before a function")?;
            let (count, flag_at) = Function::skip(&mut cursor, strings.len())?;
            units += count as usize;
            // They fit into 32 bits, as the package's length does.
            let [from, flag] = [offset, flag_at].map(|at| (at - start) as u32);
            places.push(Place { start: from, flag });
        }
        let string = |index: u32| {
            let found = strings.get(index as usize).copied();
            found.ok_or_else(|| Error::malformed(names_at, format!("no string has index {index}")))
        };
        Ok(Self {
            name: string(name)?,
            path: string(path)?,
            module: string(module)?,
            places,
            units,
            strings,
            blob,
        })
    }

    /// The functions, in the order in which counter files refer to them by index. A package of types has none.
    pub fn functions(&self) -> impl ExactSizeIterator<Item = Function<'a>> + Clone {
        self.places.iter().map(|place| Function::read(self.blob, place))
    }

    /// How many units all functions have.
    #[must_use]
    pub fn unit_count(&self) -> usize {
        self.units
    }

    /// How many units a function has, by its index; `None` if there is no such function. Faster than decoding the function.
    #[inline]
    #[must_use]
    pub fn unit_count_of(&self, function: usize) -> Option<u32> {
        let start = self.places.get(function)?.start as usize;
        Cursor::new(&self.blob[start..]).uleb("a function's number of units").ok()
    }

    /// The hash that the compiler has given it: over its names, functions and units. A program's hash is made of these:
    /// [`MetaHash::of_program`]. It is not checked here.
    #[must_use]
    pub fn hash(&self) -> [u8; 16] {
        let mut hash = [0; 16];
        hash.copy_from_slice(&self.blob[PACKAGE_HASH..][..16]);
        hash
    }

    /// The package as it stands in the file. Equal bytes are equal packages.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.blob
    }

    /// The string of an index from [`Function::name`] or [`Function::file`]; empty for an index that is out of range.
    #[must_use]
    pub fn string(&self, index: u32) -> &'a str {
        self.strings.get(index as usize).copied().unwrap_or_default()
    }
}

impl<'a> Function<'a> {
    /// Checks a function, and gives its number of units and where its literal flag is.
    fn skip(cursor: &mut Cursor<'a>, strings: usize) -> Result<(u32, usize), Error> {
        let start = cursor.position();
        let count = cursor.uleb("a function's number of units")?;
        let name = cursor.uleb("a function's name")?;
        let file = cursor.uleb("a function's file")?;
        if name.max(file) as usize >= strings {
            return Err(Error::malformed(start, format!("no string has index {}", name.max(file))));
        }
        cursor.skip_ulebs((count as usize).saturating_mul(Unit::NUMBERS), "a unit")?;
        let flag_at = cursor.position();
        cursor.uleb("a function's literal flag")?;
        Ok((count, flag_at))
    }

    /// Decodes a function of a package's bytes. [`skip`](Self::skip) has checked that nothing is cut off.
    #[inline]
    fn read(blob: &'a [u8], place: &Place) -> Self {
        let [start, flag] = [place.start, place.flag].map(|at| at as usize);
        let mut cursor = Cursor::new(&blob[start..]);
        let mut number = || cursor.uleb("a function").unwrap_or_default();
        let (left, name, file) = (number(), number(), number());
        let literal = Cursor::new(&blob[flag..]).uleb("a function").unwrap_or_default() != 0;
        let units_len = flag - start - cursor.position();
        Self { name, file, literal, units: Units { bytes: cursor.rest(), left }, units_len }
    }

    /// The units. Each has a counter, in this order.
    #[must_use]
    pub fn units(&self) -> Units<'a> {
        self.units.clone()
    }

    /// The units as they stand in the file. Equal bytes are equal units.
    #[must_use]
    pub fn units_bytes(&self) -> &'a [u8] {
        &self.units.bytes[..self.units_len]
    }
}

impl Unit {
    /// How many numbers a unit has in the file.
    const NUMBERS: usize = 5;

    /// Parses a unit of one of the two common forms, and gives its length too: all numbers have one byte, or the two line
    /// numbers have two.
    #[inline(always)]
    fn parse_common(bytes: &[u8]) -> Option<(Self, usize)> {
        const LAST: u64 = 0x80;
        let bytes = u64::from_le_bytes(*bytes.first_chunk()?);
        let byte = |at: u32| (bytes >> (8 * at)) as u32 & 0x7f;
        let two = |at: u32| byte(at) | byte(at + 1) << 7;
        let goes_on = |upto: u32| bytes & 0x8080_8080_8080_8080 & (u64::MAX >> (64 - 8 * upto));
        if goes_on(5) == 0 {
            let [start_line, start_column, end_line, end_column, statements] = [0, 1, 2, 3, 4].map(byte);
            Some((Self { start_line, start_column, end_line, end_column, statements }, 5))
        } else if goes_on(7) == LAST | LAST << 24 {
            let [start_line, end_line] = [0, 3].map(two);
            let [start_column, end_column, statements] = [2, 5, 6].map(byte);
            Some((Self { start_line, start_column, end_line, end_column, statements }, 7))
        } else {
            None
        }
    }

    /// Parses a unit of any form, and gives its length too; `None` if it is cut off.
    #[inline(never)]
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut cursor = Cursor::new(bytes);
        let mut number = || cursor.uleb("a unit").ok();
        let (start_line, start_column) = (number()?, number()?);
        let (end_line, end_column) = (number()?, number()?);
        let unit = Self { start_line, start_column, end_line, end_column, statements: number()? };
        Some((unit, cursor.position()))
    }

    /// Its first line and column, as one number to compare.
    #[inline]
    #[must_use]
    pub fn start(&self) -> u64 {
        pair(self.start_line, self.start_column)
    }

    /// Its last line and the column after its end, as one number to compare.
    #[inline]
    #[must_use]
    pub fn end(&self) -> u64 {
        pair(self.end_line, self.end_column)
    }
}

/// Joins two numbers into one, so that a single comparison is enough.
#[inline]
fn pair(high: u32, low: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl Iterator for Units<'_> {
    type Item = Unit;

    #[inline(always)]
    fn next(&mut self) -> Option<Unit> {
        self.left = self.left.checked_sub(1)?;
        // Never cut off: `Function::skip` has read the same bytes.
        let (unit, len) = match Unit::parse_common(self.bytes) {
            Some(found) => found,
            None => Unit::parse(self.bytes)?,
        };
        self.bytes = &self.bytes[len..];
        Some(unit)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Units<'_> {}

impl Mode {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Set => 1,
            Self::Count => 2,
            Self::Atomic => 3,
            Self::RegOnly => 4,
            Self::TestMain => 5,
        }
    }

    /// The mode of this number. Go: `CounterMode` in `internal/coverage/defs.go`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Set,
            2 => Self::Count,
            3 => Self::Atomic,
            4 => Self::RegOnly,
            5 => Self::TestMain,
            _ => return None,
        })
    }
}

impl Granularity {
    /// The granularity of this number. Go: `CounterGranularity` in `internal/coverage/defs.go`.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::PerBlock),
            2 => Some(Self::PerFunction),
            _ => None,
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::PerBlock => 1,
            Self::PerFunction => 2,
        }
    }
}

impl fmt::Display for Granularity {
    /// Its name in Go: `CounterGranularity.String`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PerBlock => "perblock",
            Self::PerFunction => "perfunc",
        })
    }
}

impl fmt::Display for Mode {
    /// Its name, as the value of `-covermode`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::Count => "count",
            Self::Atomic => "atomic",
            Self::RegOnly => "regonly",
            Self::TestMain => "testmain",
        })
    }
}

pub(crate) const MAGIC: [u8; 4] = *b"\0cvm";
pub(crate) const HEADER: usize = 56;
/// Where a package's own hash is, in its header: after its length and three strings.
const PACKAGE_HASH: usize = 16;
/// The length of a package's header.
pub(crate) const PACKAGE_HEADER: usize = 44;

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &[u8] = include_bytes!("../tests/fixtures/count/covmeta.968b6d5750288bbe4ea64dcfc0686230");
    /// The offset of its first package: after the header, two offsets, two lengths, and the string table.
    const FIRST: usize = 56 + 16 + 16 + 2;

    fn with(offset: usize, value: &[u8]) -> Result<MetaFile<'static>, Error> {
        let mut bytes = FILE.to_vec();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        MetaFile::parse(bytes.leak())
    }

    fn malformed_at(result: Result<MetaFile<'_>, Error>) -> usize {
        match result {
            Err(Error::Malformed { offset, .. }) => offset,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn huge_numbers_are_refused_before_they_are_allocated() {
        assert_eq!(malformed_at(with(16, &u64::MAX.to_le_bytes())), 16, "packages");
        assert_eq!(malformed_at(with(FIRST + 40, &u32::MAX.to_le_bytes())), FIRST + 40, "functions");
        let cut_off = Error::Truncated { offset: FIRST, what: "a package" };
        assert_eq!(with(56 + 16, &u64::MAX.to_le_bytes()).unwrap_err(), cut_off);
    }

    #[test]
    fn parts_that_overlap_are_refused() {
        // The second package where the first is, the second function where the first is.
        let first = u64::from_le_bytes(FILE[56..64].try_into().unwrap());
        assert_eq!(first, FIRST as u64);
        assert_eq!(malformed_at(with(64, &first.to_le_bytes())), 64);
        let function = &FILE[FIRST + 44..FIRST + 48];
        assert_eq!(malformed_at(with(FIRST + 48, function)), FIRST + 48);
    }

    #[test]
    fn other_versions_modes_and_granularities() {
        assert_eq!(with(4, &[2]).unwrap_err(), Error::Version { found: 2 });
        assert_eq!(malformed_at(with(48, &[0])), 48);
        assert_eq!(malformed_at(with(48, &[6])), 48);
        assert_eq!(malformed_at(with(49, &[3])), 49);
        assert_eq!(malformed_at(with(0, b"x")), 0);
        let modes = [Mode::Set, Mode::Count, Mode::Atomic, Mode::RegOnly, Mode::TestMain];
        assert_eq!([1, 2, 3, 4, 5].map(|mode| with(48, &[mode]).unwrap().mode), modes);
    }

    #[test]
    fn a_wrong_length_is_named() {
        let error = MetaFile::parse(&FILE[..400]).unwrap_err();
        assert_eq!(error, Error::Length { announced: 434, found: 400 });
    }

    #[test]
    fn text_that_is_not_utf8() {
        let sum = FILE.windows(4).position(|bytes| bytes == b"\x03Sum").unwrap();
        let Err(error) = with(sum + 1, b"\xff") else { panic!("not an error") };
        assert!(error.to_string().ends_with("a string that is not UTF-8"), "{error}");
    }
}
