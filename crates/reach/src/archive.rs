//! An archive of a container's coverage files, on its way.

use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt, try_unfold};
use podcov_cluster::{Error, Exec, Output};
use podcov_control::{EndedProcesses, LiveProcess};

use crate::fault::Fault;

/// How much is kept of what a program prints on its standard error, in bytes.
const MOST_SAID: usize = 4096;

/// An archive, gzipped or not, piece by piece.
pub struct ArchiveStream {
    /// The name of the way on which it comes.
    pub way: &'static str,
    /// The container was asked for coverage files alone, and not for all of a folder.
    pub coverage_alone: bool,
    /// The processes of the program that have ended, if an agent sends it.
    pub lives: Option<EndedProcesses>,
    /// What the files are of, if they were read from processes' memory.
    pub live: Option<LiveFacts>,
    pieces: BoxStream<'static, Result<Bytes, Fault>>,
}

/// What is known of processes whose memory was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LiveFacts {
    /// Those which have coverage.
    pub processes: Vec<LiveProcess>,
    /// What is missing of them, and of those of which it is not known whether they have coverage: a sentence each.
    pub missing: Vec<String>,
}

impl ArchiveStream {
    /// Of pieces that end when the archive is whole.
    pub fn new(
        way: &'static str,
        pieces: impl futures_util::Stream<Item = Result<Bytes, Fault>> + Send + 'static,
    ) -> Self {
        Self { way, coverage_alone: true, lives: None, live: None, pieces: pieces.boxed() }
    }

    /// The output of an exec of `program` that has printed `begun` already. `meaning` is why it has ended with an exit code
    /// other than 0 and this on its standard error.
    pub(crate) fn of_exec(
        way: &'static str,
        begun: Bytes,
        exec: Exec,
        meaning: impl Fn(Result<(i32, &str), &Error>) -> Fault + Send + Sync + 'static,
    ) -> Self {
        let output = ExecOutput { begun, exec, stderr: String::new() };
        let pieces = try_unfold((output, meaning), |(mut output, meaning)| async move {
            let piece = output.next(&meaning).await?;
            Ok(piece.map(|piece| (piece, (output, meaning))))
        });
        Self::new(way, pieces)
    }

    /// The next piece; `None` when the archive is whole.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        self.pieces.next().await.transpose()
    }
}

/// That a stream has ended before its archive.
pub(crate) fn cut(why: impl std::fmt::Display) -> Fault {
    Fault::Passing(format!("the stream was cut: {why}"))
}

struct ExecOutput {
    begun: Bytes,
    exec: Exec,
    stderr: String,
}

impl ExecOutput {
    async fn next(
        &mut self,
        meaning: impl Fn(Result<(i32, &str), &Error>) -> Fault,
    ) -> Result<Option<Bytes>, Fault> {
        if !self.begun.is_empty() {
            return Ok(Some(std::mem::take(&mut self.begun)));
        }
        loop {
            match self.exec.next().await.map_err(cut)? {
                Some(Output::Stdout(data)) => return Ok(Some(data)),
                Some(Output::Stderr(data)) if self.stderr.len() < MOST_SAID => {
                    self.stderr.push_str(&String::from_utf8_lossy(&data));
                }
                Some(Output::Stderr(_)) => {}
                None => break,
            }
        }
        match self.exec.ended() {
            Ok(0) => Ok(None),
            Ok(code) => Err(meaning(Ok((code, self.stderr.trim())))),
            Err(error) => Err(meaning(Err(&error))),
        }
    }
}

/// What an exit code of tar's means.
pub(crate) fn tar_failed(code: i32, said: &str) -> Fault {
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    Fault::Passing(format!("tar ended with exit code {code}{said}"))
}
