//! Collecting from storage, where podcov-agents have put their files.

use std::collections::BTreeMap;

use anyhow::Result;
use podcov_cli::say;
use podcov_exit::{Exit, Failure};
use podcov_storage::{Address, Error, Limits, Origin};
use podcov_unpack::take;

use crate::args::{Args, NAME};
use crate::deleted::DeletedPods;
use crate::manifest::{Collected, Manifest, report_folder};
use crate::staging::Staging;
use crate::transfer::{MAX_ENTRIES, MAX_FILE};

/// Fetches the selected files into the staging folder. `earlier` is the last report.
pub(crate) async fn collect(
    args: &Args,
    address: &Address,
    staging: &mut Option<Staging>,
    earlier: Option<&Manifest>,
    deleted: &mut DeletedPods,
) -> Result<Manifest> {
    let select = args.select.stored_scope()?;
    let mut manifest = Manifest::begin(select.run_id.clone(), &address.to_string());
    let storage = address.open().map_err(Error::into_failure)?;
    let staging = staging.insert(Staging::beside(&args.out, &manifest)?);
    let is_selected = |origin: &Origin| {
        select.run_id.as_deref().is_none_or(|run| Origin::part(run) == origin.run)
            && select.wants_namespace(&origin.namespace)
            && select.wants_pod(&origin.pod)
            && select.wants_container(&origin.container)
    };
    let keep = |origin: &Origin, name: &str, bytes: bytes::Bytes| {
        take(&staging.path().join(folder(origin)), name, bytes.into(), args.sanitize)
    };
    let limits = Limits { container: args.max_size << 20, file: MAX_FILE, files: MAX_ENTRIES };
    let fetched = storage
        .fetch(address, args.parallel.into(), limits, is_selected, keep)
        .await
        .map_err(Error::into_failure)?;
    if fetched.is_empty() {
        let message = format!("no coverage found at {address}{}", select.describe_stored());
        return Err(Failure::new(Exit::Incomplete, message)
            .with_hint("have the programs ended, and did podcov-agent say that it has uploaded?")
            .into());
    }
    deleted.look_up_stored(&select, &fetched);
    let open = fetched.iter().filter(|start| start.open && !deleted.has_unfinished(&start.origin)).count();
    if open > 0 {
        let of = fetched.len();
        say(
            NAME,
            format_args!(
                "{open} of {of} programs had not ended when they last uploaded: they still run, or were killed"
            ),
        );
    }
    deleted.record(&mut manifest, earlier.filter(|_| args.accumulate));
    // Of one container there may be several starts.
    let mut containers = BTreeMap::<String, Collected>::new();
    for start in fetched {
        let folder = folder(&start.origin);
        let collected = containers.entry(folder.clone()).or_insert_with(|| Collected {
            context: address.to_string(),
            restarts: -1,
            way: "storage".to_owned(),
            attempts: 1,
            ..Collected::of(&start.origin.namespace, &start.origin.pod, &start.origin.container, folder)
        });
        collected.restarts += 1;
        collected.files.extend(start.files);
        collected.losses.extend(start.errors);
    }
    for collected in containers.values_mut() {
        collected.files.sort();
        // A container that is restarted on the same volume uploads again what is still there.
        collected.files.dedup();
    }
    manifest.containers = containers.into_values().collect();
    Ok(manifest)
}

fn folder(origin: &Origin) -> String {
    report_folder(&origin.namespace, &origin.pod, &origin.container)
}
