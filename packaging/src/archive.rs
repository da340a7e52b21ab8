//! An archive of tar and gzip that depends on nothing but what is in it.

use std::io::{Read, Write};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

/// A file or a link in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where it is, without a first `/`.
    pub(crate) path: String,
    pub(crate) content: Content,
}

/// What is in an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file that can be executed.
    Program(Vec<u8>),
    /// Any other file.
    File(Vec<u8>),
    /// A symbolic link to this.
    Link(String),
}

impl Entry {
    pub(crate) fn program(path: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { path: path.into(), content: Content::Program(bytes) }
    }

    pub(crate) fn file(path: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: Content::File(bytes.into()) }
    }

    pub(crate) fn link(path: impl Into<String>, target: &str) -> Self {
        Self { path: path.into(), content: Content::Link(target.to_owned()) }
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Program(bytes) | Content::File(bytes) => Some(bytes),
            Content::Link(_) => None,
        }
    }
}

/// A tar archive, sorted by path; all is root's, and of one time.
pub(crate) fn tar(mut entries: Vec<Entry>, epoch: u64) -> Result<Vec<u8>> {
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut archive = Builder::new(Vec::new());
    for Entry { path, content } in &entries {
        let mut header = Header::new_ustar();
        header.set_mtime(epoch);
        header.set_uid(0);
        header.set_gid(0);
        match content {
            Content::Program(bytes) | Content::File(bytes) => {
                header.set_mode(if matches!(content, Content::Program(_)) { 0o755 } else { 0o644 });
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, path, &bytes[..])?;
            }
            Content::Link(target) => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                header.set_size(0);
                archive.append_link(&mut header, path, target)?;
            }
        }
    }
    Ok(archive.into_inner()?)
}

/// Compressed; there is neither a name nor a time in the header.
pub(crate) fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

/// What is in a compressed archive.
pub(crate) fn entries(archive: &[u8]) -> Result<Vec<Entry>> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    let mut entries = Vec::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.to_str().context("a name")?.to_owned();
        let content = if let Some(target) = entry.link_name()? {
            Content::Link(target.to_str().context("a name")?.to_owned())
        } else {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            let is_program = entry.header().mode()? & 0o111 != 0;
            if is_program { Content::Program(bytes) } else { Content::File(bytes) }
        };
        entries.push(Entry { path, content });
    }
    Ok(entries)
}

/// The time of what is in a compressed archive that was made here.
pub(crate) fn epoch(archive: &[u8]) -> Result<u64> {
    let mut archive = Archive::new(GzDecoder::new(archive));
    let first = archive.entries()?.next().context("an entry")??;
    Ok(first.header().mtime()?)
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_entries_does_not_matter() {
        let all = [
            Entry::program("a/bin/p", vec![1; 2000]),
            Entry::link("a/bin/q", "p"),
            Entry::file("a/share/t", "t"),
        ];
        let mut other = all.clone();
        other.reverse();
        let [one, other] =
            [all.to_vec(), other.to_vec()].map(|entries| gzip(&tar(entries, 7).unwrap()).unwrap());
        assert_eq!(one, other);
        assert_eq!(entries(&one).unwrap(), all);
        // The time in gzip's header.
        assert_eq!(one[4..8], [0; 4]);
    }
}
