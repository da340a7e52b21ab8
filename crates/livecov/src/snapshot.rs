//! The counters of a process at one moment.
//!
//! The counters of a function are an array of 32-bit numbers in zeroed memory: how many counters there are, the
//! package's number, the function's number, then the counters. The first three are written whenever the function
//! begins, so for one that never ran there are only zeros.
//!
//! Go: `internal/coverage/defs.go` (`NumCtrsOffset` and the like), read by `VisitFuncs` in `internal/coverage/cfile`.

use covdata::{CounterFileBuilder, FileName, Granularity, ProcessArgs};

use crate::elf::word;
use crate::{Error, Program, Range};

/// What is known of a process from elsewhere, and goes into the counter file.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its number.
    pub pid: u32,
    /// When the counters were read, in nanoseconds since 1970.
    pub nanos: u64,
    /// Its command line, which Go writes too. It may hold secrets.
    pub command_line: Vec<Vec<u8>>,
}

/// The coverage of a process at one moment: the counter file that it would write itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The name of the counter file.
    pub name: FileName,
    /// The bytes of the counter file.
    pub bytes: Vec<u8>,
    /// How many functions are left out because they ran before their package was initialized, so that it is not known.
    pub unknown_functions: usize,
}

/// The numbers before a function's counters. Go: `FirstCtrOffset` in `internal/coverage/defs.go`.
const HEADER: usize = 3;

/// What is read of a process for a snapshot, in this order.
#[derive(Debug, Clone, Copy)]
pub struct Readings<'b> {
    /// The bytes of [`Program::counters`].
    pub counters: &'b [u8],
    /// The same, read again.
    pub later: &'b [u8],
    /// The bytes of [`Program::length`].
    pub length: &'b [u8],
}

impl Program {
    /// Makes a counter file of a process's counters.
    ///
    /// The program may run while it is read: a function that begins may be seen with a part of the numbers before its
    /// counters, or with a counter and without these numbers. So counters are taken from the first reading, and what they belong
    /// to from the second: the numbers are written before the first counter is, long before. (In modes set and count
    /// the processor need not keep that order on arm64; it does in the time between two readings.) A function that
    /// begins between the readings, or during one, may be left out. It is in the next snapshot.
    ///
    /// # Errors
    ///
    /// [`Error::NewPackages`] if packages were initialized since the reader was done: begin again.
    /// [`Error::Unreadable`] if bytes are missing, [`Error::Layout`] if they are no counters, [`Error::Coverage`] if there are
    /// too many for a file.
    pub fn snapshot(&self, readings: &Readings<'_>, facts: &Facts) -> Result<Snapshot, Error> {
        let Readings { counters, later, length } = *readings;
        let whole = |bytes: &[u8], range: Range| bytes.len() as u64 == range.length;
        for (bytes, range) in [(counters, self.counters), (later, self.counters), (length, self.length_at)] {
            if !whole(bytes, range) {
                return Err(Error::Unreadable(range));
            }
        }
        if word(length) != self.meta.packages as u64 {
            return Err(Error::NewPackages);
        }
        let [counters, later] = [counters, later].map(Numbers::of);
        let args = ProcessArgs {
            command_line: facts.command_line.clone(),
            goos: Some(b"linux".to_vec()),
            goarch: Some(self.architecture.as_bytes().to_vec()),
        };
        let mut out = CounterFileBuilder::new(self.meta.hash, &args)?;
        let (mut at, mut unknown_functions) = (0, 0);
        while at < later.0.len() {
            let count = later.at(at) as usize;
            if count == 0 {
                at += 1;
                continue;
            }
            let end = at.saturating_add(HEADER).saturating_add(count);
            let values = counters.0.get(at + HEADER..end).map(Numbers);
            let has_counted = values.is_some_and(|values| values.iter().any(|value| value != 0));
            match (self.function(Numbers(&later.0[at..])), values) {
                (Ok(Some((package, function))), Some(values)) => {
                    if has_counted {
                        out.function(package, function, values.iter())?;
                    }
                    at = end;
                }
                // Its numbers are not complete, or this is a counter of a function whose numbers were not seen.
                _ if counters.at(at) == 0 => at += 1,
                // It has begun, and has not counted.
                (_, Some(_)) if !has_counted => at = end,
                (Ok(None), Some(_)) => {
                    unknown_functions += 1;
                    at = end;
                }
                (Err(error), _) => return Err(error),
                (Ok(_), None) => return Err(self.no_layout()),
            }
        }
        let name = FileName::Counters { hash: self.meta.hash, pid: facts.pid, nanos: facts.nanos };
        Ok(Snapshot { name, bytes: out.finish(), unknown_functions })
    }

    /// The package and the function whose numbers in memory these are. `None` if the function ran before its package had
    /// a number.
    fn function(&self, numbers: Numbers<'_>) -> Result<Option<(usize, usize)>, Error> {
        let header: &[_; HEADER] = numbers.0.first_chunk().ok_or_else(|| self.no_layout())?;
        let [count, package, function] = header.map(u32::from_le_bytes);
        if package == 0 {
            return Ok(None);
        }
        let (package, function) = (self.package(package).ok_or(Error::NewPackages)?, function as usize);
        let units = self.meta.units[package].get(function);
        let fits =
            units.is_some_and(|units| self.meta.granularity == Granularity::PerFunction || *units == count);
        if fits { Ok(Some((package, function))) } else { Err(self.no_layout()) }
    }

    /// The index of a package in the meta-data, by the number that its functions have in memory: from 1, as
    /// the packages were initialized, or what the compiler has numbered it. Go: `addCovMeta` in the runtime.
    fn package(&self, number: u32) -> Option<usize> {
        let fixed = i64::from(number.cast_signed());
        if fixed < -1 {
            return self.meta.numbers.get(&fixed).copied();
        }
        let index = (number as usize).checked_sub(1)?;
        (index < self.meta.packages).then_some(index)
    }

    fn no_layout(&self) -> Error {
        Error::Layout { go: self.build.go.clone() }
    }
}

/// Numbers as they are in memory. They may be megabytes, which are not copied.
#[derive(Clone, Copy)]
struct Numbers<'b>(&'b [[u8; 4]]);

impl<'b> Numbers<'b> {
    fn of(bytes: &'b [u8]) -> Self {
        Self(bytes.as_chunks().0)
    }

    fn at(self, index: usize) -> u32 {
        u32::from_le_bytes(self.0[index])
    }

    fn iter(self) -> impl ExactSizeIterator<Item = u32> + 'b {
        self.0.iter().map(|number| u32::from_le_bytes(*number))
    }
}
