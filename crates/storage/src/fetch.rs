//! Fetching all files of many starts, in parallel.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use covdata::FileName;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{Address, Error, Manifest, Origin, Start, Storage, StoredFile};

/// How long one object may take, all tries together.
const OBJECT: Duration = Duration::from_secs(60);

/// The files that were fetched of one start.
#[derive(Debug)]
pub struct Fetched<T> {
    /// Whose files they are.
    pub origin: Origin,
    /// The result for each file, in the order of names.
    pub files: Vec<T>,
    /// What was lost.
    pub errors: Vec<String>,
    /// Its program has not ended, as far as storage knows: it runs, or was killed.
    pub open: bool,
}

/// One file to fetch: the number of its start, its name, and its entry in the manifest.
type Item = (usize, String, Option<StoredFile>);

/// How much is fetched.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files of one container, over all of its starts in a run.
    pub container: u64,
    /// Bytes of one file: as much as is held in memory to check it.
    pub file: u64,
    /// Files of one container.
    pub files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { container: 1 << 30, file: 256 << 20, files: 1_000_000 }
    }
}

impl Storage {
    /// Fetches the coverage files of the selected starts, `parallel` at a time, compares them with the manifests, and
    /// gives them to `keep`, which may reject them too. Files with other names, or above the limits, are not fetched: they
    /// are in [`Fetched::errors`].
    ///
    /// # Errors
    /// When the objects cannot be listed. Errors of single files are in [`Fetched::errors`].
    pub async fn fetch<T>(
        &self,
        address: &Address,
        parallel: usize,
        limits: Limits,
        selected: impl Fn(&Origin) -> bool,
        keep: impl Fn(&Origin, &str, Bytes) -> Result<T, String>,
    ) -> Result<Vec<Fetched<T>>, Error> {
        let mut starts = self.find(Instant::now() + OBJECT).await?;
        starts.retain(|start| selected(&start.origin));
        let manifests: Vec<_> = futures_util::stream::iter(&starts)
            .map(|start| async move {
                match start.has_manifest {
                    true => self.manifest(start, limits.file, Instant::now() + OBJECT).await.map(Some),
                    false => Ok(None),
                }
            })
            .buffered(parallel)
            .collect()
            .await;
        let mut fetched = Vec::new();
        let mut items = Vec::new();
        let mut taken = BTreeMap::<_, Taken>::new();
        for (number, (start, manifest)) in starts.iter().zip(manifests).enumerate() {
            let (mut errors, open) = word(address, start, &manifest);
            let listed = manifest.ok().flatten().map(|manifest| manifest.files).unwrap_or_default();
            let Origin { run, namespace, pod, container, .. } = &start.origin;
            let of_container = taken.entry((run, namespace, pod, container)).or_default();
            for item in items_of(number, start, listed) {
                let (_, name, _) = &item;
                match of_container.take(name, start.files.get(name).copied(), limits) {
                    Ok(()) => items.push(item),
                    Err(why) if !errors.contains(&why) => errors.push(why),
                    Err(_) => {}
                }
            }
            fetched.push(Fetched { origin: start.origin.clone(), files: Vec::new(), errors, open });
        }
        let starts = &starts;
        let mut files = futures_util::stream::iter(items)
            .map(|(number, name, expected)| async move {
                let got = self
                    .get(&starts[number], &name, expected.as_ref(), limits.file, Instant::now() + OBJECT)
                    .await;
                (number, name, got)
            })
            .buffered(parallel);
        while let Some((number, name, got)) = files.next().await {
            let of = &mut fetched[number];
            match got.map_err(|e| format!("{name}: {e}")).and_then(|bytes| keep(&of.origin, &name, bytes)) {
                Ok(kept) => of.files.push(kept),
                Err(error) => of.errors.push(error),
            }
        }
        drop(files);
        Ok(fetched)
    }
}

/// How much of a container is to be fetched.
#[derive(Default)]
struct Taken {
    bytes: u64,
    files: usize,
}

impl Taken {
    /// Adds a file, if the limits allow it. A file that the manifest lists and storage lacks has no size; reading it fails.
    fn take(&mut self, name: &str, size: Option<u64>, limits: Limits) -> Result<(), String> {
        let shown = name.escape_default();
        if name.parse::<FileName>().is_err() {
            return Err(format!("not fetched: {shown} is no name of a coverage file"));
        }
        let size = size.unwrap_or_default();
        if size > limits.file {
            return Err(format!("not fetched: {shown} has {size} bytes, over {} MiB", limits.file >> 20));
        }
        if self.files >= limits.files {
            return Err(format!("not fetched: more than {} files of one container", limits.files));
        }
        if self.bytes + size > limits.container {
            return Err(format!("not fetched: more than {} MiB of one container", limits.container >> 20));
        }
        self.bytes += size;
        self.files += 1;
        Ok(())
    }
}

/// The files that the manifest lists, and those that it does not: the agent was killed before it had written the manifest.
fn items_of(number: usize, start: &Start, listed: Vec<StoredFile>) -> Vec<Item> {
    let unlisted = start.files.keys().filter(|name| listed.iter().all(|file| file.name != **name));
    let mut items: Vec<Item> = unlisted.map(|name| (number, name.clone(), None)).collect();
    items.extend(listed.into_iter().map(|file| (number, file.name.clone(), Some(file))));
    items.sort_by(|a, b| a.1.cmp(&b.1));
    items
}

/// The losses that a start's manifest lists, and whether the program may have written more after it.
fn word(address: &Address, start: &Start, manifest: &Result<Option<Manifest>, Error>) -> (Vec<String>, bool) {
    match manifest {
        Ok(Some(manifest)) => {
            let missing = manifest.missing.iter().map(|missing| format!("not uploaded: {missing}"));
            let mut errors: Vec<String> = missing.collect();
            if manifest.exit_code.is_some() && manifest.files.is_empty() && errors.is_empty() {
                errors
                    .push(format!("{address}/{}: the program has ended and left no coverage", start.origin));
            }
            (errors, manifest.exit_code.is_none())
        }
        Ok(None) => {
            let error = format!("{address}/{} has no manifest: its upload was cut short", start.origin);
            (vec![error], true)
        }
        Err(error) => (vec![error.to_string()], true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { container: 5 << 20, file: 3 << 20, files: 3 };

    fn name(pid: u32) -> String {
        format!("covcounters.62ff98db792937fd37f18adced298d04.{pid}.1795224885693041480")
    }

    #[test]
    fn what_has_another_name_or_is_too_much_is_not_fetched() {
        let mut taken = Taken::default();
        let mut take = |name: &str, mib: u64| taken.take(name, Some(mib << 20), LIMITS);
        let not = |why: &str| Err(format!("not fetched: {why}"));
        assert_eq!(take("backup.sql", 1), not("backup.sql is no name of a coverage file"));
        assert_eq!(take("covmeta.\u{1b}[31m", 1), not("covmeta.\\u{1b}[31m is no name of a coverage file"));
        let large = format!("{} has {} bytes, over 3 MiB", name(1), 4 << 20);
        assert_eq!(take(&name(1), 4), not(&large));
        assert_eq!(take(&name(1), 3), Ok(()));
        assert_eq!(take(&name(2), 3), not("more than 5 MiB of one container"));
        assert_eq!(take(&name(3), 1), Ok(()));
        assert_eq!(take(&name(4), 1), Ok(()));
        assert_eq!(take(&name(5), 0), not("more than 3 files of one container"));
    }
}
