//! The counters of a process at one moment.
//!
//! The counters of a function are an array of 32-bit numbers in zeroed memory: how many counters there are, the
//! package's number, the function's number, then the counters. The first three are written whenever the function
//! begins, so for one that never ran there are only zeros.
//!
//! Go: `internal/coverage/defs.go` (`NumCtrsOffset` and the like), read by `VisitFuncs` in `internal/coverage/cfile`.

use covdata::{CounterFileBuilder, FileName, Granularity, MetaFile, ProcessArgs};

use crate::{Error, Program};

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
}

/// The numbers before a function's counters. Go: `FirstCtrOffset` in `internal/coverage/defs.go`.
const HEADER: usize = 3;

impl Program {
    /// Makes a counter file of a process's counters.
    ///
    /// `counters` and `later` are the bytes of [`Program::counters`], read one after the other. The program may run
    /// while it is read: a function that begins may be seen with a part of the numbers before its counters. But these are
    /// complete before the first counter is written. So counters are taken from the first reading, what they belong to
    /// from the second.
    ///
    /// # Errors
    ///
    /// [`Error::NewPackages`] if packages were initialized since the reader was done: begin again.
    /// [`Error::Unreadable`] if bytes are missing, [`Error::Layout`] if they are no counters, [`Error::Coverage`] if there are
    /// too many for a file.
    pub fn snapshot(&self, counters: &[u8], later: &[u8], facts: &Facts) -> Result<Snapshot, Error> {
        if counters.len() as u64 != self.counters.length || later.len() != counters.len() {
            return Err(Error::Unreadable(self.counters));
        }
        let no_layout = || Error::Layout { go: self.build.go.clone() };
        let meta = MetaFile::parse(&self.meta)?;
        let [counters, later] = [counters, later].map(words);
        let mut out = CounterFileBuilder::new(self.hash);
        out.begin(&ProcessArgs {
            command_line: facts.command_line.clone(),
            goos: Some(b"linux".to_vec()),
            goarch: Some(self.architecture.as_bytes().to_vec()),
        })?;
        let mut at = 0;
        while at < later.len() {
            let count = later[at] as usize;
            if count == 0 {
                at += 1;
                continue;
            }
            let header = later.get(at..at + HEADER).ok_or_else(no_layout)?;
            let end = (at + HEADER).checked_add(count).ok_or_else(no_layout)?;
            let values = counters.get(at + HEADER..end).ok_or_else(no_layout)?;
            at = end;
            if values.iter().all(|value| *value == 0) {
                continue;
            }
            let package = self.package(header[1]).ok_or(Error::NewPackages)?;
            let function = header[2] as usize;
            let units = meta.packages[package].unit_count_of(function).ok_or_else(no_layout)?;
            if self.granularity == Granularity::PerBlock && units as usize != count {
                return Err(no_layout());
            }
            out.function(package, function, values.iter().copied());
        }
        out.end();
        let name = FileName::Counters { hash: self.hash, pid: facts.pid, nanos: facts.nanos };
        Ok(Snapshot { name, bytes: out.finish() })
    }

    /// The index of a package in the meta-data, by the number that its functions have in memory: from 1, as
    /// the packages were initialized, or what the compiler has numbered it. Go: `addCovMeta` in the runtime.
    fn package(&self, number: u32) -> Option<usize> {
        let fixed = i64::from(number.cast_signed());
        if fixed < -1 {
            return self.numbers.iter().position(|number| *number == fixed);
        }
        let index = (number as usize).checked_sub(1)?;
        (index < self.numbers.len()).then_some(index)
    }
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect()
}
