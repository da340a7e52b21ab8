//! Finding files in storage, and reading them.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::time::Instant;

use crate::{Error, MANIFEST, Manifest, Origin, Storage, StoredFile};

/// The files in storage of one start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Whose files they are.
    pub origin: Origin,
    /// The files by name, with their sizes in bytes.
    pub files: BTreeMap<String, u64>,
    /// Whether it has a manifest.
    pub has_manifest: bool,
    /// The address's folder, or one in it.
    folder: Path,
}

impl Storage {
    /// Lists what there is below the address: all of it, or what lies in one run's, pod's or container's folder if the
    /// address names that; ordered by run, namespace, pod, container and time. Objects with other names than ours are
    /// ignored.
    ///
    /// # Errors
    /// The last error, when the deadline has passed.
    pub async fn find(&self, deadline: Instant) -> Result<Vec<Start>, Error> {
        self.until(deadline, async || {
            let prefix = (!self.folder.as_ref().is_empty()).then_some(&self.folder);
            let mut starts = BTreeMap::<(Origin, Path), Start>::new();
            let mut objects = self.store.list(prefix);
            while let Some(object) = objects.try_next().await? {
                let Some((origin, name)) = Origin::of(&object.location) else { continue };
                let folder = parent(&object.location);
                let start = starts.entry((origin.clone(), folder.clone())).or_insert_with(|| Start {
                    origin,
                    files: BTreeMap::new(),
                    has_manifest: false,
                    folder,
                });
                if name == MANIFEST {
                    start.has_manifest = true;
                } else {
                    start.files.insert(name, object.size);
                }
            }
            Ok(starts.into_values().collect())
        })
        .await
    }

    /// Reads a start's manifest, with a limit in bytes.
    ///
    /// # Errors
    /// The last error, or that the manifest's version is unknown.
    pub async fn manifest(&self, start: &Start, most: u64, deadline: Instant) -> Result<Manifest, Error> {
        let path = start.folder.clone().join(MANIFEST);
        let text = self.until(deadline, async || self.read(&path, most).await).await?;
        let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| {
            let podcov = env!("CARGO_PKG_VERSION");
            Error::Corrupt(format!("{path} is no manifest that podcov {podcov} knows: {e}")).at(&self.address)
        })?;
        if manifest.version != Manifest::VERSION {
            let message =
                format!("{path} has version {}, only {} is known", manifest.version, Manifest::VERSION);
            return Err(Error::Corrupt(message).at(&self.address));
        }
        Ok(manifest)
    }

    /// Reads a file, with a limit in bytes. Tries again until it is the one that `expected` describes, if that is known.
    ///
    /// # Errors
    /// The last error.
    pub async fn get(
        &self,
        start: &Start,
        name: &str,
        expected: Option<&StoredFile>,
        most: u64,
        deadline: Instant,
    ) -> Result<Bytes, Error> {
        let path = start.folder.clone().join(name);
        self.until(deadline, async || {
            let bytes = self.read(&path, most).await?;
            match expected {
                Some(expected) if StoredFile::of(name, &bytes) != *expected => Err(Error::Corrupt(format!(
                    "{path} is not as the manifest says ({} bytes, {} there)",
                    expected.size,
                    bytes.len()
                ))),
                _ => Ok(bytes),
            }
        })
        .await
    }
}

impl Storage {
    /// Reads an object once, unless it has more bytes than the limit.
    async fn read(&self, path: &Path, most: u64) -> Result<Bytes, Error> {
        let object = self.store.get(path).await?;
        let size = object.meta.size;
        if size > most {
            return Err(Error::Refused(format!("{path} has {size} bytes, over {} MiB", most >> 20)));
        }
        Ok(object.bytes().await?)
    }
}

fn parent(path: &Path) -> Path {
    let mut parts: Vec<_> = path.parts().collect();
    parts.pop();
    Path::from_iter(parts)
}
