//! The coverage files as a tar stream.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use fs_err as fs;
use tar::Header;
use tokio::sync::mpsc;

use crate::files;

/// A block of a tar archive; its end is two of zeros.
const BLOCK: usize = 512;

/// The end of an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Sends an archive of the folders' coverage files, one piece for each file, and each name once. An error ends it.
pub(crate) async fn send(folders: Vec<PathBuf>, pieces: mpsc::Sender<io::Result<Bytes>>) {
    let mut sent = BTreeSet::new();
    let mut outcome = Ok(());
    for folder in folders {
        outcome = match files::list(&folder) {
            Ok(mut listed) => {
                listed.retain(|name, _| sent.insert(name.clone()));
                send_files(folder, listed.into_keys(), &pieces).await
            }
            Err(error) => Err(error),
        };
        if outcome.is_err() {
            break;
        }
    }
    let last = outcome.map(|()| Bytes::from_static(&END));
    // The receiver hung up, which is no error.
    let _ = pieces.send(last).await;
}

/// Sends an archive of files whose bytes are here already, by name.
pub(crate) async fn send_bytes(files: BTreeMap<String, Vec<u8>>, pieces: mpsc::Sender<io::Result<Bytes>>) {
    for (name, bytes) in files {
        if pieces.send(entry(&name, bytes)).await.is_err() {
            return;
        }
    }
    let _ = pieces.send(Ok(Bytes::from_static(&END))).await;
}

async fn send_files(
    folder: PathBuf,
    names: impl Iterator<Item = String>,
    pieces: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    for name in names {
        let path = folder.join(&name);
        let read = tokio::task::spawn_blocking(move || fs::read(path)).await.map_err(io::Error::other)?;
        let bytes = match read {
            Ok(bytes) => bytes,
            // The file has been uploaded and removed in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if pieces.send(Ok(entry(&name, bytes)?)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A file of an archive: its header and its bytes.
pub(crate) fn entry(name: &str, mut bytes: Vec<u8>) -> io::Result<Bytes> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    bytes.splice(0..0, header.as_bytes().iter().copied());
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    Ok(bytes.into())
}
