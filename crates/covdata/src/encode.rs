//! Writers of meta-data files, of the packages in them, and of counter files.
//!
//! Meta-data files are the same as Go's, byte for byte. Counter files have the same content as Go's; Go writes their
//! functions in no fixed order.
//!
//! Go: `internal/coverage/encodemeta`, `internal/coverage/encodecounter`, `internal/coverage/stringtab`.

use std::collections::HashMap;

use crate::counters::{MAGIC, ProcessArgs};
use crate::meta;
use crate::{Error, Granularity, MetaHash, Mode, Unit};

/// Gives a meta-data file of these packages, and its hash. The packages are as [`Package::bytes`](crate::Package::bytes) or
/// [`PackageBuilder::finish`] give them.
///
/// Go: `metaMerge.emitMeta` in `cmd/covdata`, which hashes only the packages.
#[must_use]
pub fn meta_file(packages: &[&[u8]], mode: Mode, granularity: Granularity) -> (MetaHash, Vec<u8>) {
    let mut hash = Fnv::new();
    for package in packages {
        hash.write(&Fnv::of(package));
    }
    let hash = MetaHash(hash.sum());
    (hash, meta_file_with_hash(hash, packages, mode, granularity))
}

/// Gives a meta-data file of these packages with a hash that is known, as that of a program that runs:
/// [`MetaHash::of_program`].
#[must_use]
pub fn meta_file_with_hash(
    hash: MetaHash,
    packages: &[&[u8]],
    mode: Mode,
    granularity: Granularity,
) -> Vec<u8> {
    // A string table that holds nothing but "", which nothing refers to.
    let strings = [1, 0];
    let strings_at = meta::HEADER + 16 * packages.len();
    let blobs_at = strings_at + strings.len();
    let total = blobs_at + packages.iter().map(|package| package.len()).sum::<usize>();

    let mut out = Vec::with_capacity(total);
    out.extend(meta::MAGIC);
    out.extend(1u32.to_le_bytes());
    out.extend((total as u64).to_le_bytes());
    out.extend((packages.len() as u64).to_le_bytes());
    out.extend(hash.0);
    out.extend((strings_at as u32).to_le_bytes());
    out.extend((strings.len() as u32).to_le_bytes());
    out.extend([mode.to_byte(), granularity.to_byte(), 0, 0, 0, 0, 0, 0]);
    let mut offset = blobs_at as u64;
    for package in packages {
        out.extend(offset.to_le_bytes());
        offset += package.len() as u64;
    }
    for package in packages {
        out.extend((package.len() as u64).to_le_bytes());
    }
    out.extend(strings);
    for package in packages {
        out.extend_from_slice(package);
    }
    out
}

/// Builds a package of a meta-data file. Go: `encodemeta.CoverageMetaDataBuilder`.
#[derive(Debug)]
pub struct PackageBuilder<'a> {
    header: [u32; 3],
    strings: Strings<'a>,
    /// Where each function starts in `functions`.
    offsets: Vec<usize>,
    functions: Vec<u8>,
    hash: Fnv,
}

impl<'a> PackageBuilder<'a> {
    /// A package without functions: its name in the package clause, its import path, and the path of its module.
    #[must_use]
    pub fn new(name: &'a str, path: &'a str, module: &'a str) -> Self {
        let mut strings = Strings::new();
        let mut hash = Fnv::new();
        let [path, name, module] = [path, name, module].map(|text| {
            hash.write(text.as_bytes());
            strings.index(text.as_bytes())
        });
        Self { header: [name, path, module], strings, offsets: Vec::new(), functions: Vec::new(), hash }
    }

    /// Adds a function, and gives its number. See [`Function`](crate::Function) for its name, its file and `literal`.
    pub fn add(
        &mut self,
        name: &'a str,
        file: &'a str,
        literal: bool,
        units: impl ExactSizeIterator<Item = Unit>,
    ) -> u32 {
        let [name, file] = [name, file].map(str::as_bytes);
        self.hash.write(name);
        self.hash.write(file);
        self.offsets.push(self.functions.len());
        let out = &mut self.functions;
        uleb(out, units.len());
        uleb(out, self.strings.index(name) as usize);
        uleb(out, self.strings.index(file) as usize);
        for Unit { start_line, start_column, end_line, end_column, statements } in units {
            for number in [start_line, start_column, end_line, end_column, statements] {
                uleb(out, number as usize);
                self.hash.write(&number.to_le_bytes());
            }
        }
        uleb(out, usize::from(literal));
        self.hash.write(&u32::from(literal).to_le_bytes());
        (self.offsets.len() - 1) as u32
    }

    /// The package's bytes.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the package has 4 GiB or more.
    pub fn finish(self) -> Result<Vec<u8>, Error> {
        let strings = self.strings.table();
        let functions_at = meta::PACKAGE_HEADER + 4 * self.offsets.len() + strings.len();
        let total = functions_at + self.functions.len();
        let mut out = Vec::with_capacity(total);
        out.extend(length(total, "a package")?);
        let [name, path, module] = self.header;
        for index in [name, path, module] {
            out.extend(index.to_le_bytes());
        }
        out.extend(self.hash.sum());
        out.extend([0; 4]);
        out.extend((self.strings.list.len() as u32).to_le_bytes());
        out.extend((self.offsets.len() as u32).to_le_bytes());
        for offset in self.offsets {
            out.extend(((functions_at + offset) as u32).to_le_bytes());
        }
        out.extend(strings);
        out.extend(self.functions);
        Ok(out)
    }
}

/// Builds a counter file: the counters of one process, function by function. Go: `encodecounter.CoverageDataWriter`.
///
/// ```
/// use covdata::{CounterFile, CounterFileBuilder, MetaHash};
///
/// # fn main() -> Result<(), covdata::Error> {
/// let mut builder = CounterFileBuilder::new(MetaHash([7; 16]), &Default::default())?;
/// builder.function(0, 3, [1, 0, 5])?;
/// builder.function(1, 0, [0, 0])?;
/// let bytes = builder.finish();
///
/// let file = CounterFile::parse(&bytes)?;
/// let functions: Vec<_> = file.functions().map(|f| (f.package, f.function)).collect();
/// assert_eq!(functions, [(0, 3)], "a function that never ran is left out");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct CounterFileBuilder {
    out: Vec<u8>,
    /// How many segments have begun. The last one has not ended.
    segments: u32,
    /// The offset of the last segment, which begins with its number of functions.
    segment: usize,
    functions: u64,
    /// The counters of the current function.
    counters: Vec<u32>,
}

impl CounterFileBuilder {
    /// A file of a binary's counters, with the facts about the process. Numbers are written as ULEB128, as Go does.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if these facts exceed 32 bits.
    pub fn new(hash: MetaHash, args: &ProcessArgs) -> Result<Self, Error> {
        let mut header = MAGIC.to_vec();
        header.extend(1u32.to_le_bytes());
        header.extend(hash.0);
        header.extend([2, 0, 0, 0, 0, 0, 0, 0]);
        let mut builder = Self::with_header(&header);
        builder.begin(args)?;
        Ok(builder)
    }

    /// A file that starts with this header, and has no segment yet.
    pub(crate) fn with_header(header: &[u8]) -> Self {
        Self { out: header.to_vec(), segments: 0, segment: 0, functions: 0, counters: Vec::new() }
    }

    /// Ends the segment before, and begins one with the facts about its process. Go writes the string with index 0 empty,
    /// the keys sorted, and counts the padding as part of the arguments.
    pub(crate) fn begin(&mut self, args: &ProcessArgs) -> Result<(), Error> {
        let mut strings = Strings::new();
        let pairs = args.pairs();
        let mut list = Vec::new();
        uleb(&mut list, pairs.len());
        for (key, value) in &pairs {
            uleb(&mut list, strings.index(key.as_bytes()) as usize);
            uleb(&mut list, strings.index(value) as usize);
        }
        let table = strings.table();
        while !(table.len() + list.len()).is_multiple_of(4) {
            list.push(0);
        }
        if self.segments > 0 {
            self.end();
        }
        (self.segment, self.functions) = (self.out.len(), 0);
        self.segments += 1;
        self.out.extend([0; 8]);
        for part in [&table, &list] {
            self.out.extend(length(part.len(), "the facts about a process")?);
        }
        self.out.extend(table);
        self.out.extend(list);
        Ok(())
    }

    /// Adds a function's counters, one for each of its units; nothing if it never ran. `package` and `function` are as in
    /// [`FunctionCounters`](crate::FunctionCounters). A function that is added twice is in the file twice.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if an index, or the number of counters, exceeds 32 bits. Then nothing is added.
    pub fn function(
        &mut self,
        package: usize,
        function: usize,
        counters: impl IntoIterator<Item = u32>,
    ) -> Result<(), Error> {
        self.counters.clear();
        self.counters.extend(counters);
        if self.counters.iter().all(|counter| *counter == 0) {
            return Ok(());
        }
        let numbers = [self.counters.len(), package, function];
        for number in numbers {
            length(number, "a function's index or number of counters")?;
        }
        self.functions += 1;
        numbers.into_iter().for_each(|number| uleb(&mut self.out, number));
        self.counters.iter().for_each(|counter| uleb(&mut self.out, *counter as usize));
        Ok(())
    }

    /// Adds encoded functions of another file unchanged.
    pub(crate) fn payload(&mut self, functions: u64, payload: &[u8]) {
        self.functions += functions;
        self.out.extend_from_slice(payload);
    }

    /// The file's bytes.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.end();
        self.out
    }

    /// Ends the segment.
    fn end(&mut self) {
        self.out[self.segment..self.segment + 8].copy_from_slice(&self.functions.to_le_bytes());
        self.out.extend(MAGIC);
        self.out.extend([0; 4]);
        self.out.extend(self.segments.to_le_bytes());
        self.out.extend([0; 4]);
    }
}

/// Builds a string table. The string with index 0 is empty.
#[derive(Debug)]
struct Strings<'a> {
    list: Vec<&'a [u8]>,
    numbers: HashMap<&'a [u8], u32>,
}

impl<'a> Strings<'a> {
    fn new() -> Self {
        Self { list: vec![b""], numbers: HashMap::from([(b"".as_slice(), 0)]) }
    }

    fn index(&mut self, string: &'a [u8]) -> u32 {
        *self.numbers.entry(string).or_insert_with(|| {
            self.list.push(string);
            (self.list.len() - 1) as u32
        })
    }

    fn table(&self) -> Vec<u8> {
        let mut out = Vec::new();
        uleb(&mut out, self.list.len());
        for string in &self.list {
            uleb(&mut out, string.len());
            out.extend_from_slice(string);
        }
        out
    }
}

/// Encodes a length for a header, after checking that it fits.
fn length(length: usize, what: &'static str) -> Result<[u8; 4], Error> {
    u32::try_from(length).map(u32::to_le_bytes).map_err(|_| Error::TooLarge { what })
}

fn uleb(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

impl MetaHash {
    /// The hash of a program that runs: of its packages' hashes, which the compiler made, in the order in which they are
    /// initialized, of the mode and of the granularity.
    ///
    /// Only for programs of Go 1.24 and later. Up to Go 1.23 the hash is the MD5 of the same bytes, which this crate does not
    /// have: what is given here is then **another hash than that in the names of the program's own files**, and nothing
    /// tells.
    ///
    /// Go: `prepareForMetaEmit` in `internal/coverage/cfile`.
    #[must_use]
    pub fn of_program(
        packages: impl IntoIterator<Item = [u8; 16]>,
        mode: Mode,
        granularity: Granularity,
    ) -> Self {
        let mut hash = Fnv::new();
        packages.into_iter().for_each(|package| hash.write(&package));
        hash.write(mode.to_string().as_bytes());
        hash.write(granularity.to_string().as_bytes());
        Self(hash.sum())
    }
}

/// FNV-128a, which identifies packages and binaries. Go: `hash/fnv`.
#[derive(Debug)]
struct Fnv(u128);

impl Fnv {
    fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b);
        }
    }

    fn sum(&self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    fn of(bytes: &[u8]) -> [u8; 16] {
        let mut hash = Self::new();
        hash.write(bytes);
        hash.sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CounterFile, strip_args};

    fn functions(bytes: &[u8]) -> Vec<(u32, u32, Vec<u32>)> {
        let file = CounterFile::parse(bytes).unwrap();
        file.functions().map(|f| (f.package, f.function, f.counters().collect())).collect()
    }

    #[test]
    fn a_counter_file_is_whole_whatever_is_added() {
        let hash = MetaHash([7; 16]);
        let builder = || CounterFileBuilder::new(hash, &ProcessArgs::default()).unwrap();
        assert_eq!(functions(&builder().finish()), []);
        let mut file = builder();
        file.function(0, 1, [0, 0]).unwrap();
        file.function(2, 300, [0, u32::MAX]).unwrap();
        file.function(0, 0, []).unwrap();
        let too_large = u32::MAX as usize + 1;
        for (package, function) in [(too_large, 0), (0, too_large)] {
            assert!(matches!(file.function(package, function, [1]), Err(Error::TooLarge { .. })));
        }
        file.function(u32::MAX as usize, 0, [9]).unwrap();
        let bytes = file.finish();
        assert_eq!(functions(&bytes), [(2, 300, vec![0, u32::MAX]), (u32::MAX, 0, vec![9])]);
        assert_eq!(CounterFile::parse(&bytes).unwrap().hash(), hash);
    }

    #[test]
    fn each_segment_is_stripped() {
        let secret = |text: &str| ProcessArgs {
            command_line: vec![b"./shop".to_vec(), text.as_bytes().to_vec()],
            goos: Some(b"linux".to_vec()),
            goarch: None,
        };
        let mut file = CounterFileBuilder::new(MetaHash([7; 16]), &secret("--token=a")).unwrap();
        file.function(0, 0, [1, 2]).unwrap();
        file.begin(&secret("--token=bc")).unwrap();
        file.function(0, 1, [3]).unwrap();
        file.function(0, 2, [4]).unwrap();
        let bytes = file.finish();
        let stripped = strip_args(&bytes).unwrap();
        assert_eq!(functions(&stripped), functions(&bytes));
        let file = CounterFile::parse(&stripped).unwrap();
        let segments: Vec<_> = file.segments().iter().map(|s| (s.function_count(), s.args())).collect();
        let without = || ProcessArgs { command_line: Vec::new(), ..secret("") };
        assert_eq!(segments, [(1, without()), (2, without())]);
    }
}
