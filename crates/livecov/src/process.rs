//! Reads a process of this machine.
//!
//! Linux allows it to the process's parent and, unless `kernel.yama.ptrace_scope` forbids it, to any process of the same
//! user with no fewer capabilities. See "Ptrace access mode checking" in `ptrace(2)`.

pub mod scan;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;

use crate::{Error, Facts, Program, Range, Reader, Readings, Snapshot, Source, Stat, Step};

/// A process of this machine.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    executable: File,
    memory: File,
    auxv: Vec<u8>,
    command_line: Vec<Vec<u8>>,
    stat: Option<Stat>,
}

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A file of the process could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The process has ended, or runs another program, since it was opened.
    #[error("it has ended, or runs another program now")]
    Ended,
    /// There is nothing to be read.
    #[error(transparent)]
    Coverage(#[from] Error),
}

impl ProcessError {
    /// Whether the process must not be read: see [`scan::reading_rights`].
    #[must_use]
    pub fn is_refused(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::PermissionDenied)
    }
}

/// What Linux answers for a process that has no memory any more: `ESRCH`.
const NO_MEMORY: i32 = 3;

/// How often a process is read again that changes while it is read.
const TRIES: usize = 20;

/// How often one is that seems to arrange its data in an unknown way. It may only be starting, but each time its memory is
/// searched.
const LAYOUT_TRIES: usize = 3;

/// How many bytes between two ranges are read too, rather than asking the system twice.
const NEAR: u64 = 16 << 10;

/// The most bytes that are read at once for several ranges.
const AT_ONCE: u64 = 1 << 20;

impl Process {
    /// Opens a process.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, [`io::ErrorKind::PermissionDenied`] if it must not be read,
    /// [`ProcessError::Ended`] if it has ended and its parent does not know that yet, or ends meanwhile.
    pub fn open(pid: u32) -> Result<Self, ProcessError> {
        let auxv = read_auxv(pid)?;
        // A file that is not there any more says nothing about what the process was.
        let opened = Self::open_as(pid, &auxv);
        if opened.is_err() && has_ended(pid, Some(&auxv)) { Err(ProcessError::Ended) } else { opened }
    }

    fn open_as(pid: u32, auxv: &[u8]) -> Result<Self, ProcessError> {
        let of_it = |name: &str| format!("/proc/{pid}/{name}");
        // An open file of its memory goes on to mean this process, whichever gets its number.
        let memory = fs::File::open(of_it("mem"))?.into_parts().0;
        let executable = fs::File::open(of_it("exe"))?.into_parts().0;
        let command_line = fs::read(of_it("cmdline"))?;
        let mut command_line: Vec<Vec<u8>> =
            command_line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        command_line.pop();
        let stat = Stat::parse(&fs::read(of_it("stat"))?);
        let process = Self { pid, executable, memory, auxv: auxv.to_vec(), command_line, stat };
        if process.has_ended() { Err(ProcessError::Ended) } else { Ok(process) }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What tells it from all other processes, but for its copies by fork: the addresses in it are random.
    #[must_use]
    pub fn auxv(&self) -> &[u8] {
        &self.auxv
    }

    /// What the kernel tells of it; `None` if that is no known text.
    #[must_use]
    pub fn stat(&self) -> Option<&Stat> {
        self.stat.as_ref()
    }

    /// Finds its program's counters and meta-data.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`], and all of [`Error`] but [`Error::NewPackages`].
    pub fn program(&self) -> Result<Program, ProcessError> {
        self.checked(self.find())
    }

    fn find(&self) -> Result<Program, Error> {
        let mut reader = Reader::new(&self.auxv);
        loop {
            match reader.step()? {
                Step::Read { ranges, .. } => {
                    for (range, bytes) in self.read_all(ranges) {
                        reader.give(range, bytes);
                    }
                }
                Step::Done(program) => return Ok(*program),
            }
        }
    }

    /// Takes a snapshot of its counters, and finds its program first if that is not known yet.
    ///
    /// # Errors
    ///
    /// [`ProcessError::Ended`] and all of [`Error`]: [`Error::NewPackages`] if packages were initialized all the time.
    pub fn snapshot(&self, program: &mut Option<Arc<Program>>) -> Result<Snapshot, ProcessError> {
        let (mut tries, mut layout_tries) = (1, 1);
        loop {
            let snapshot = self.try_snapshot(program);
            // While a program starts, its packages are initialized one after the other.
            match &snapshot {
                Err(Error::NewPackages) if tries < TRIES => tries += 1,
                Err(Error::Layout { .. }) if layout_tries < LAYOUT_TRIES => layout_tries += 1,
                _ => return self.checked(snapshot),
            }
            *program = None;
            if self.has_ended() {
                return Err(ProcessError::Ended);
            }
        }
    }

    fn try_snapshot(&self, program: &mut Option<Arc<Program>>) -> Result<Snapshot, Error> {
        let program = match program {
            Some(program) => program,
            None => program.insert(Arc::new(self.find()?)),
        };
        let (counters, later) = (self.read(program.counters()), self.read(program.counters()));
        let length = self.read(program.length());
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let facts = Facts {
            pid: self.pid,
            nanos: u64::try_from(nanos).unwrap_or(u64::MAX),
            command_line: self.command_line.clone(),
        };
        program.snapshot(&Readings { counters: &counters, later: &later, length: &length }, &facts)
    }

    /// Whether it has ended, or runs another program, which has other addresses.
    fn has_ended(&self) -> bool {
        has_ended(self.pid, Some(&self.auxv))
    }

    /// An error of a process that has ended meanwhile is not about what it was.
    fn checked<T>(&self, result: Result<T, Error>) -> Result<T, ProcessError> {
        match result {
            Err(_) if self.has_ended() => Err(ProcessError::Ended),
            other => Ok(other?),
        }
    }

    /// The bytes of each of several ranges, as far as they can be read. Those that are near to each other are read at once: a
    /// reader asks for some thousand of them.
    fn read_all(&self, mut ranges: Vec<Range>) -> Vec<(Range, Vec<u8>)> {
        ranges.sort_unstable();
        let mut all = Vec::with_capacity(ranges.len());
        let mut left = ranges.as_slice();
        while let [first, others @ ..] = left {
            let mut whole = *first;
            let more = others.iter().take_while(|range| {
                let gap = range.start.saturating_sub(whole.end());
                let length = range.end().max(whole.end()) - whole.start;
                let is_near = range.source == whole.source && gap <= NEAR && length <= AT_ONCE;
                if is_near {
                    whole.length = length;
                }
                is_near
            });
            let (near, rest) = left.split_at(1 + more.count());
            left = rest;
            let bytes = self.read(whole);
            // What is between them need not be readable.
            let is_whole = bytes.len() as u64 == whole.length;
            all.extend(near.iter().map(|range| {
                let [start, length] = [range.start - whole.start, range.length].map(|number| number as usize);
                let part = || bytes[start..][..length].to_vec();
                (*range, if is_whole { part() } else { self.read(*range) })
            }));
        }
        all
    }

    /// The bytes of a range, as far as they can be read.
    fn read(&self, range: Range) -> Vec<u8> {
        let file = match range.source {
            Source::File => &self.executable,
            Source::Memory => &self.memory,
        };
        let mut bytes = vec![0; usize::try_from(range.length).unwrap_or(0)];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], range.start + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        bytes.truncate(read);
        bytes
    }
}

/// Whether a process has ended or, where [what it had](Process::auxv) is given, runs another program now. Where that cannot
/// be told, as when too many files are open, it has not.
#[must_use]
pub fn has_ended(pid: u32, auxv: Option<&[u8]>) -> bool {
    match read_auxv(pid) {
        Ok(now) => now.is_empty() || auxv.is_some_and(|auxv| auxv != now),
        Err(ProcessError::Io(error)) => error.kind() == io::ErrorKind::NotFound,
        Err(_) => true,
    }
}

/// A process that has ended, and whose parent does not know that yet, has no memory: then this is empty, or since
/// Linux 6.16 cannot be opened.
fn read_auxv(pid: u32) -> Result<Vec<u8>, ProcessError> {
    let path = format!("/proc/{pid}/auxv");
    #[expect(clippy::disallowed_methods, reason = "fs_err's errors have no number")]
    match std::fs::read(&path) {
        Ok(auxv) => Ok(auxv),
        Err(error) if error.raw_os_error() == Some(NO_MEMORY) => Err(ProcessError::Ended),
        Err(error) => Err(io::Error::new(error.kind(), format!("{path} cannot be read: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_has_its_own_bytes() {
        let bytes: Vec<u8> = (0..3 << 20).map(|at| (at % 251) as u8).collect();
        let at = |start: usize, length: usize| Range::memory((&raw const bytes[start]) as u64, length as u64);
        let near = NEAR as usize;
        // Near to each other and not, within each other, more than are read at once, and none.
        let parts = [
            (near + 700, 5),
            (600, 100),
            (0, 64),
            (600, 20),
            (3 * near, 0),
            (4 * near, 2 << 20),
            ((2 << 20) + 5 * near, 9),
        ];
        let own = Process::open(std::process::id()).unwrap();
        let read = own.read_all(parts.map(|(start, length)| at(start, length)).to_vec());
        assert_eq!(read.len(), parts.len());
        for (start, length) in parts {
            let found: Vec<_> = read.iter().filter(|(range, _)| *range == at(start, length)).collect();
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].1, bytes[start..start + length], "{length} from {start}");
        }
    }

    #[test]
    fn bytes_that_are_not_there_beside_bytes_that_are() {
        let length = fs::metadata("/proc/self/exe").unwrap().len();
        let (before, after) = (Range::file(length - 32, 16), Range::file(length + 8, 16));
        let own = Process::open(std::process::id()).unwrap();
        let read = own.read_all(vec![after, before]);
        let lengths: Vec<_> = read.iter().map(|(range, bytes)| (*range, bytes.len())).collect();
        assert_eq!(lengths, [(before, 16), (after, 0)]);
    }
}
