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

/// Sends an archive of the folders' coverage files, each name once. An error ends it.
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

/// Sends an archive of files whose bytes are here already, by name. An error ends it.
pub(crate) async fn send_bytes(files: BTreeMap<String, Bytes>, pieces: mpsc::Sender<io::Result<Bytes>>) {
    for (name, bytes) in files {
        let parts = match entry(&name, bytes) {
            Ok(parts) => parts,
            Err(error) => {
                let _ = pieces.send(Err(error)).await;
                return;
            }
        };
        if !send_parts(parts, &pieces).await {
            return;
        }
    }
    let _ = pieces.send(Ok(Bytes::from_static(&END))).await;
}

/// Sends the parts of a file. Gives whether the receiver goes on with it.
async fn send_parts(parts: [Bytes; 3], pieces: &mpsc::Sender<io::Result<Bytes>>) -> bool {
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        if pieces.send(Ok(part)).await.is_err() {
            return false;
        }
    }
    true
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
        if !send_parts(entry(&name, bytes.into())?, pieces).await {
            break;
        }
    }
    Ok(())
}

/// A file of an archive: its header, its bytes, and the zeros after them. They are parts, for the bytes may be megabytes,
/// which are not copied.
pub(crate) fn entry(name: &str, bytes: Bytes) -> io::Result<[Bytes; 3]> {
    let mut header = Header::new_ustar();
    header.set_path(name)?;
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    let rest = bytes.len().next_multiple_of(BLOCK) - bytes.len();
    Ok([Bytes::copy_from_slice(header.as_bytes()), bytes, Bytes::from_static(&END[..rest])])
}
