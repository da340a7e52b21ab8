//! Files that hold the same counts: of a process whose memory was read, and that has written files itself.
//!
//! A process's counters grow until it ends, so its last file holds all that the earlier ones do, unless the program has
//! cleared its counters between them. What another file of the same process holds is left out. In a folder that other pods may
//! write to only the snapshots are compared: other pods' programs have the same hash, and often the same number.

use std::io;
use std::path::Path;

use covdata::{FileName, MetaHash};
use fs_err as fs;
use podcov_control::LiveProcess;

use crate::manifest::Collected;
use crate::sift::remove;

/// A counter file.
#[derive(Debug, Clone)]
struct CounterFile {
    name: String,
    hash: MetaHash,
    pid: u32,
    nanos: u64,
}

/// Removes what another file of the same process holds as well, where the process's memory was read.
///
/// # Errors
/// When a file cannot be read or removed.
pub(crate) fn keep_each_count_once(container: &mut Collected, staging: &Path) -> io::Result<()> {
    let folder = staging.join(&container.folder);
    for process in container.live.clone() {
        let mut files = files_of(&process, container);
        if container.may_share_folder {
            files.retain(|file| container.live.iter().any(|process| process.counters == file.name));
        }
        files.sort_by_key(|file| file.nanos);
        let mut at = 0;
        while at < files.len() {
            let bytes = fs::read(folder.join(&files[at].name))?;
            let mut others = files.iter().enumerate().filter(|(other, _)| *other != at);
            let within = others.try_fold(false, |within, (_, other)| {
                // Each has been checked as it came.
                let is_within = || {
                    livecov::is_within(&bytes, &fs::read(folder.join(&other.name))?).map_err(io::Error::other)
                };
                Ok::<_, io::Error>(within || is_within()?)
            })?;
            if within {
                let file = files.remove(at);
                tracing::info!("{container}: another file of the process has all of {}", file.name);
                remove(container, &file.name, staging)?;
            } else {
                at += 1;
            }
        }
    }
    let has = |name: &str| container.files.iter().any(|file| file.name == name);
    container.live = container.live.iter().filter(|process| has(&process.counters)).cloned().collect();
    Ok(())
}

/// The files of a process: the snapshot, and what it has written since it was started.
fn files_of(process: &LiveProcess, container: &Collected) -> Vec<CounterFile> {
    let parsed = container.files.iter().filter_map(|file| match file.name.parse() {
        Ok(FileName::Counters { hash, pid, nanos }) => {
            Some(CounterFile { name: file.name.clone(), hash, pid, nanos })
        }
        _ => None,
    });
    let all: Vec<CounterFile> = parsed.collect();
    let Some(snapshot) = all.iter().find(|file| file.name == process.counters).cloned() else {
        return Vec::new();
    };
    // Without a start, none but the snapshot is certainly of it.
    let start = process.started.unwrap_or(snapshot.nanos);
    // A later process of the container may have the same number.
    let later =
        container.live.iter().filter(|other| other.pid == process.pid).filter_map(|other| other.started);
    let end = later.filter(|other| *other > start).min().unwrap_or(u64::MAX);
    let is_of = |file: &CounterFile| {
        file.hash == snapshot.hash && file.pid == snapshot.pid && (start..end).contains(&file.nanos)
    };
    all.into_iter().filter(is_of).collect()
}
