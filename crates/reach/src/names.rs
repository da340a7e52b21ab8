//! The names of coverage files, without their content: to tell what a way would yield.

use crate::archive::ArchiveStream;
use crate::fault::Fault;
use crate::goal::Goal;
use crate::prospect::CoverageFiles;
use crate::session::TAR_SCRIPT;

/// A function of the shell, `all`, which prints the names of the coverage files; see there.
const NAMES_SCRIPT: &str = include_str!("names.sh");

/// A block of a tar archive.
const BLOCK: usize = 512;

/// The longest line that may be a name, in bytes.
const LONGEST: usize = 4096;

/// The function `all` for a goal: it sends the files, or their names.
pub(crate) fn sending(goal: &Goal<'_>) -> &'static str {
    if matches!(goal, Goal::Files { names_alone: true, .. }) { NAMES_SCRIPT } else { TAR_SCRIPT }
}

/// The coverage files whose names come one a line.
pub(crate) async fn in_lines(mut stream: ArchiveStream) -> Result<CoverageFiles, Fault> {
    let mut files = CoverageFiles::default();
    let mut line = Vec::new();
    while let Some(piece) = stream.next().await? {
        for byte in piece {
            match byte {
                b'\n' => {
                    files.add(&String::from_utf8_lossy(&line));
                    line.clear();
                }
                // What is longer is no name, whatever comes.
                _ if line.len() < LONGEST => line.push(byte),
                _ => {}
            }
        }
    }
    Ok(files)
}

/// The coverage files of a tar archive.
pub(crate) async fn in_archive(mut stream: ArchiveStream) -> Result<CoverageFiles, Fault> {
    let mut headers = Headers::default();
    while let Some(piece) = stream.next().await? {
        headers.take(&piece).map_err(Fault::Passing)?;
    }
    Ok(headers.files)
}

/// Reads the headers of an archive that comes in pieces.
#[derive(Default)]
struct Headers {
    /// The bytes of the next header that have come.
    header: Vec<u8>,
    /// How many bytes come before it.
    content: u64,
    files: CoverageFiles,
}

impl Headers {
    fn take(&mut self, mut piece: &[u8]) -> Result<(), String> {
        while !piece.is_empty() {
            let skipped = usize::try_from(self.content).unwrap_or(usize::MAX).min(piece.len());
            self.content -= skipped as u64;
            let taken = (BLOCK - self.header.len()).min(piece.len() - skipped);
            self.header.extend_from_slice(&piece[skipped..skipped + taken]);
            piece = &piece[skipped + taken..];
            if self.header.len() == BLOCK {
                self.read()?;
                self.header.clear();
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        // The end of an archive; another one may follow.
        if self.header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let header = tar::Header::from_byte_slice(&self.header);
        let size = header.entry_size().map_err(|error| format!("it sends no tar archive: {error}"))?;
        self.content = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or("it sends no tar archive: a file is too large")?;
        if header.entry_type().is_file() {
            let path = header.path_bytes();
            let name = String::from_utf8_lossy(&path);
            self.files.add(name.strip_prefix("./").unwrap_or(&name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;

    use super::*;

    const META: &str = "covmeta.62ff98db792937fd37f18adced298d04";
    const COUNTERS: &str = "covcounters.62ff98db792937fd37f18adced298d04.19644.1795224885693041480";

    fn in_pieces(bytes: &[u8], length: usize) -> ArchiveStream {
        let pieces: Vec<_> = bytes.chunks(length).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        ArchiveStream::new("a", stream::iter(pieces))
    }

    fn archive(entries: &[(&str, usize)]) -> Vec<u8> {
        let mut archive = tar::Builder::new(Vec::new());
        for (name, size) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_size(*size as u64);
            archive.append_data(&mut header, name, vec![b'x'; *size].as_slice()).unwrap();
        }
        archive.into_inner().unwrap()
    }

    #[tokio::test]
    async fn an_archive_has_files_however_it_is_cut() {
        let mut bytes = archive(&[(META, 0), (COUNTERS, 513), ("notes.txt", 512), ("tmp.covmeta.1", 3)]);
        // As a shell sends more files than a command line holds.
        bytes.extend(archive(&[("coverprofile.7.1795224300594803693", 1)]));
        for length in [1, 511, 512, 513, 100_000] {
            let files = in_archive(in_pieces(&bytes, length)).await.unwrap();
            assert_eq!(files, CoverageFiles { meta: 1, counters: 1, profiles: 1 }, "{length}");
        }
    }

    #[tokio::test]
    async fn what_is_no_archive_is_a_fault() {
        let fault = in_archive(in_pieces(&[b'x'; 1024], 700)).await.unwrap_err();
        assert!(fault.to_string().starts_with("it sends no tar archive: "), "{fault}");
    }

    #[tokio::test]
    async fn lines_have_names() {
        let text = format!("{META}\n{COUNTERS}\n{}\n../{META}\n{COUNTERS}\n", "x".repeat(2 * LONGEST));
        let files = in_lines(in_pieces(text.as_bytes(), 7)).await.unwrap();
        assert_eq!(files, CoverageFiles { meta: 1, counters: 2, profiles: 0 });
    }
}
