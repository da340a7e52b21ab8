//! Uploading files to storage.

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{Error as StoreError, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{Error, MANIFEST, Manifest, Origin, Storage, StoredFile};

impl Storage {
    /// Uploads a file and reads it back; tries again until that succeeds or the deadline has passed.
    ///
    /// # Errors
    /// The last error.
    pub async fn put(
        &self,
        origin: &Origin,
        name: &str,
        bytes: Bytes,
        deadline: Instant,
    ) -> Result<StoredFile, Error> {
        let path = origin.path(&self.folder, name);
        let put = self.until(deadline, async || {
            self.store.put(&path, bytes.clone().into()).await?;
            let mut back = match self.store.get(&path).await {
                Ok(object) => object.into_stream(),
                // The credentials may write only: the server's word must do.
                Err(StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) => {
                    return Ok(());
                }
                // The next try puts it there again.
                Err(StoreError::NotFound { .. }) => {
                    return Err(Error::Corrupt(format!("{name} is not there after it was put")));
                }
                Err(error) => return Err(error.into()),
            };
            // Piece by piece, so that memory does not hold it twice.
            let (mut right, mut len) = (0, 0);
            while let Some(piece) = back.try_next().await? {
                right += same(&piece, bytes.get(len..).unwrap_or_default());
                len += piece.len();
            }
            if (right, len) == (bytes.len(), bytes.len()) {
                Ok(())
            } else {
                let all = bytes.len();
                Err(Error::Corrupt(format!("{name} was read back with {right} of {all} bytes right")))
            }
        });
        put.await?;
        Ok(StoredFile::of(name, &bytes))
    }

    /// Uploads the manifest of a start, once all that it lists is there.
    ///
    /// # Errors
    /// The last error.
    pub async fn put_manifest(&self, manifest: &Manifest, deadline: Instant) -> Result<(), Error> {
        let mut text = serde_json::to_vec_pretty(manifest).map_err(|e| Error::Address(e.to_string()))?;
        text.push(b'\n');
        self.put(&manifest.origin, MANIFEST, text.into(), deadline).await?;
        Ok(())
    }
}

impl StoredFile {
    /// Describes a file.
    #[must_use]
    pub fn of(name: &str, bytes: &[u8]) -> Self {
        let sha256 = format!("{:x}", Sha256::digest(bytes));
        Self { name: name.to_owned(), size: bytes.len() as u64, sha256 }
    }
}

fn same(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a == b).count()
}
