//! All files of many starts, in parallel.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::{Address, Error, Manifest, Place, Start, Storage, StoredFile};

/// How long one object may take, all tries together.
const OBJECT: Duration = Duration::from_secs(60);

/// What was fetched of one start.
#[derive(Debug)]
pub struct Fetched<T> {
    /// Whose files they are.
    pub place: Place,
    /// What became of each file, in the order of names.
    pub files: Vec<T>,
    /// What was lost.
    pub errors: Vec<String>,
    /// Its program has not ended, as far as storage knows: it runs, or was killed.
    pub open: bool,
}

/// One file to fetch: the number of its start, its name, and what the manifest says of it.
type Item = (usize, String, Option<StoredFile>);

impl Storage {
    /// Fetches the files of the starts that are wanted, so many at a time, checks them against the manifests, and hands
    /// them over to `keep`, which may find fault with them too.
    ///
    /// # Errors
    /// When what there is cannot be listed. What goes wrong with single files is in [`Fetched::errors`].
    pub async fn fetch<T>(
        &self,
        address: &Address,
        parallel: usize,
        wanted: impl Fn(&Place) -> bool,
        keep: impl Fn(&Place, &str, Bytes) -> Result<T, String>,
    ) -> Result<Vec<Fetched<T>>, Error> {
        let mut starts = self.find(Instant::now() + OBJECT).await?;
        starts.retain(|start| wanted(&start.place));
        let manifests: Vec<_> = futures_util::stream::iter(&starts)
            .map(|start| async move {
                match start.has_manifest {
                    true => self.manifest(start, Instant::now() + OBJECT).await.map(Some),
                    false => Ok(None),
                }
            })
            .buffered(parallel)
            .collect()
            .await;
        let mut fetched = Vec::new();
        let mut items = Vec::new();
        for (number, (start, manifest)) in starts.iter().zip(manifests).enumerate() {
            let (errors, open) = word(address, start, &manifest);
            let listed = manifest.ok().flatten().map(|manifest| manifest.files).unwrap_or_default();
            items.extend(items_of(number, start, listed));
            fetched.push(Fetched { place: start.place.clone(), files: Vec::new(), errors, open });
        }
        let starts = &starts;
        let mut files = futures_util::stream::iter(items)
            .map(|(number, name, expected)| async move {
                let got = self.get(&starts[number], &name, expected.as_ref(), Instant::now() + OBJECT).await;
                (number, name, got)
            })
            .buffered(parallel);
        while let Some((number, name, got)) = files.next().await {
            let of = &mut fetched[number];
            match got.map_err(|e| format!("{name}: {e}")).and_then(|bytes| keep(&of.place, &name, bytes)) {
                Ok(kept) => of.files.push(kept),
                Err(error) => of.errors.push(error),
            }
        }
        drop(files);
        Ok(fetched)
    }
}

/// The files that the manifest lists, and those that lie there without: the agent was ended before it had written that.
fn items_of(number: usize, start: &Start, listed: Vec<StoredFile>) -> Vec<Item> {
    let unlisted = start.files.keys().filter(|name| listed.iter().all(|file| file.name != **name));
    let mut items: Vec<Item> = unlisted.map(|name| (number, name.clone(), None)).collect();
    items.extend(listed.into_iter().map(|file| (number, file.name.clone(), Some(file))));
    items.sort_by(|a, b| a.1.cmp(&b.1));
    items
}

/// What a start's manifest says was lost, and whether more may have come after it.
fn word(address: &Address, start: &Start, manifest: &Result<Option<Manifest>, Error>) -> (Vec<String>, bool) {
    match manifest {
        Ok(Some(manifest)) => {
            let missing = manifest.missing.iter().map(|missing| format!("not uploaded: {missing}"));
            let mut errors: Vec<String> = missing.collect();
            if manifest.exit_code.is_some() && manifest.files.is_empty() && errors.is_empty() {
                errors.push(format!("{address}/{}: the program has ended and left no coverage", start.place));
            }
            (errors, manifest.exit_code.is_none())
        }
        Ok(None) => {
            let error = format!("{address}/{} has no manifest: its upload was cut short", start.place);
            (vec![error], true)
        }
        Err(error) => (vec![error.to_string()], true),
    }
}
