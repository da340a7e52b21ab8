//! Reads a process of this machine.
//!
//! Linux allows it to the process's parent and, unless `kernel.yama.ptrace_scope` forbids it, to any process of the same
//! user with no fewer capabilities. See "Ptrace access mode checking" in `ptrace(2)`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;

use crate::{Error, Facts, Program, Range, Reader, Snapshot, Source, Step};

/// A process of this machine.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    executable: File,
    memory: File,
    auxv: Vec<u8>,
    command_line: Vec<Vec<u8>>,
}

/// Why a process could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// A file of the process could not be opened or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// There is nothing to be read.
    #[error(transparent)]
    Coverage(#[from] Error),
}

impl Process {
    /// Opens a process.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is none, [`io::ErrorKind::PermissionDenied`] if it must not be read.
    pub fn open(pid: u32) -> io::Result<Self> {
        let of_it = |name: &str| format!("/proc/{pid}/{name}");
        // An open file of its memory goes on to mean this process, whichever gets its number.
        let memory = fs::File::open(of_it("mem"))?.into_parts().0;
        let executable = fs::File::open(of_it("exe"))?.into_parts().0;
        let auxv = fs::read(of_it("auxv"))?;
        let command_line = fs::read(of_it("cmdline"))?;
        let mut command_line: Vec<Vec<u8>> =
            command_line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        command_line.pop();
        Ok(Self { pid, executable, memory, auxv, command_line })
    }

    /// Finds its program's counters and meta-data.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::NewPackages`].
    pub fn program(&self) -> Result<Program, ProcessError> {
        let mut reader = Reader::new(&self.auxv);
        loop {
            match reader.step()? {
                Step::Read(ranges) => {
                    for range in ranges {
                        reader.give(range, self.read(range));
                    }
                }
                Step::Done(program) => return Ok(*program),
            }
        }
    }

    /// Takes a snapshot of its counters, and of its program if that is not known yet.
    ///
    /// # Errors
    ///
    /// All of [`Error`] but [`Error::NewPackages`].
    pub fn snapshot(&self, program: &mut Option<Program>) -> Result<Snapshot, ProcessError> {
        let mut packages = 0;
        loop {
            let known = match program {
                Some(known) => known,
                None => program.insert(self.program()?),
            };
            if known.packages() <= packages {
                return Err(Error::Layout { go: known.build.go.clone() }.into());
            }
            let counters = self.read(known.counters());
            let later = self.read(known.counters());
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
            let facts = Facts {
                pid: self.pid,
                nanos: u64::try_from(nanos).unwrap_or(u64::MAX),
                command_line: self.command_line.clone(),
            };
            match known.snapshot(&counters, &later, &facts) {
                // While a program starts, its packages are initialized one after the other.
                Err(Error::NewPackages) => {
                    packages = known.packages();
                    *program = None;
                }
                other => return Ok(other?),
            }
        }
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
