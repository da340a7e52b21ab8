//! Files that hold the same counts: of a process whose memory was read, and that has written files itself.
//!
//! A process's counters grow until it ends, so its last file holds all that the earlier ones do, unless the program has
//! cleared its counters between them. What another file of the same process holds is left out. In a folder that other pods may
//! write to only the snapshots are compared: other pods' programs have the same hash, and often the same number.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use covdata::{FileName, MetaHash};
use fs_err as fs;
use podcov_cli::count_of;
use podcov_control::LiveProcess;

use crate::manifest::{Collected, Manifest};
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

/// The processes of a report that ended before they could be read once more, by their counter files.
pub(crate) fn ended(manifest: &Manifest) -> BTreeSet<String> {
    let processes = manifest.containers.iter().flat_map(|container| &container.live);
    processes.filter(|process| process.unread.is_some()).map(|process| process.counters.clone()).collect()
}

/// Notes what was lost of processes that have ended and whose last snapshot is in the report. `known` are those that an
/// earlier run has named.
pub(crate) fn note_losses(container: &mut Collected, known: &BTreeSet<String>) {
    if container.earlier {
        return;
    }
    let loss = |is_known| {
        let ended = container.live.iter().filter(|process| known.contains(&process.counters) == is_known);
        let unread: Vec<u64> = ended.filter_map(|process| process.unread).collect();
        let longest = unread.iter().max()?;
        let what =
            if unread.len() == 1 { "what it had counted in its" } else { "what each had counted in its" };
        let processes = count_of(unread.len(), "process", "processes");
        let seconds = *longest as f64 / 1000.0;
        Some(format!("{processes} ended without writing counters; at most {what} last {seconds:.2}s is lost"))
    };
    let (new, old) = (loss(false), loss(true));
    container.losses.extend(new);
    container.known_losses.extend(old);
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

#[cfg(test)]
mod tests {
    use covdata::{CounterFileBuilder, ProcessArgs};
    use podcov_unpack::TakenFile;

    use super::*;

    const HASH: MetaHash = MetaHash([7; 16]);

    /// A report's folder with the files of a container.
    struct Report {
        staging: tempfile::TempDir,
        container: Collected,
    }

    impl Report {
        fn new() -> Self {
            let staging = tempfile::tempdir().unwrap();
            fs::create_dir_all(staging.path().join("ns/pod/app")).unwrap();
            let container = Collected::of("ns", "pod", "app", "ns/pod/app".to_owned());
            Self { staging, container }
        }

        /// With a counter file of process 1 that was written then, and has these counts.
        fn file(mut self, nanos: u64, counts: &[u32]) -> Self {
            let mut file = CounterFileBuilder::new(HASH, &ProcessArgs::default()).unwrap();
            file.function(0, 0, counts.iter().copied()).unwrap();
            let name = FileName::Counters { hash: HASH, pid: 1, nanos }.to_string();
            fs::write(self.staging.path().join("ns/pod/app").join(&name), file.finish()).unwrap();
            self.container.files.push(TakenFile { name, size: 1, sha256: nanos.to_string() });
            self
        }

        /// The same, which is a snapshot of a process that was started then.
        fn snapshot(self, started: u64, nanos: u64, counts: &[u32]) -> Self {
            let mut this = self.file(nanos, counts);
            this.container.live.push(LiveProcess {
                pid: 1,
                started: Some(started),
                name: None,
                unread: None,
                counters: FileName::Counters { hash: HASH, pid: 1, nanos }.to_string(),
                go: None,
                module: None,
                revision: None,
            });
            this
        }

        /// When the files were written that are left, and how many snapshots the manifest has.
        fn left(mut self) -> (Vec<u64>, usize) {
            keep_each_count_once(&mut self.container, self.staging.path()).unwrap();
            let nanos = |file: &TakenFile| match file.name.parse() {
                Ok(FileName::Counters { nanos, .. }) => nanos,
                other => panic!("{other:?}"),
            };
            let mut times: Vec<u64> = self.container.files.iter().map(nanos).collect();
            times.sort_unstable();
            for time in &times {
                let name = FileName::Counters { hash: HASH, pid: 1, nanos: *time }.to_string();
                assert!(self.staging.path().join("ns/pod/app").join(name).exists());
            }
            (times, self.container.live.len())
        }
    }

    #[test]
    fn what_a_process_wrote_itself_does_not_count_beside_its_snapshot() {
        let report = || Report::new().file(20, &[1, 0]);
        assert_eq!(report().snapshot(10, 30, &[3, 0]).left(), (vec![30], 1));
        // It has cleared its counters since.
        assert_eq!(report().snapshot(10, 30, &[0, 5]).left(), (vec![20, 30], 1));
        // An earlier process wrote it.
        assert_eq!(report().snapshot(25, 30, &[3, 0]).left(), (vec![20, 30], 1));
        // It has ended since, and its last file has it all. So the snapshot is not in the report.
        assert_eq!(Report::new().snapshot(10, 20, &[1, 0]).file(30, &[2, 2]).left(), (vec![30], 0));
        // The clock's steps may put them in the other order.
        assert_eq!(Report::new().snapshot(10, 20, &[3, 1]).file(30, &[2, 1]).left(), (vec![20], 1));
        assert_eq!(report().snapshot(10, 30, &[1, 0]).left(), (vec![30], 1), "the same once");
    }

    #[test]
    fn the_last_snapshot_of_a_process_counts_and_each_process_does() {
        let report = Report::new().snapshot(10, 20, &[1, 0]).snapshot(10, 30, &[1, 1]);
        assert_eq!(report.left(), (vec![30], 1));
        // The container was restarted between them.
        let report = Report::new().snapshot(10, 20, &[1, 0]).snapshot(25, 30, &[1, 1]);
        assert_eq!(report.left(), (vec![20, 30], 2));
    }

    /// The last snapshot of one that has ended counts, unless a file that it wrote has it all. What it lacks is named, once.
    #[test]
    fn what_a_process_counted_after_its_last_snapshot_is_lost() {
        let ended = |mut report: Report| {
            report.container.live.iter_mut().for_each(|process| process.unread = Some(430));
            keep_each_count_once(&mut report.container, report.staging.path()).unwrap();
            report.container
        };
        let mut killed = ended(Report::new().snapshot(10, 20, &[1, 0]));
        let lost =
            "1 process ended without writing counters; at most what it had counted in its last 0.43s is lost";
        note_losses(&mut killed, &BTreeSet::new());
        assert_eq!((killed.losses.as_slice(), killed.known_losses.len()), (&[lost.to_owned()][..], 0));
        let mut again = ended(Report::new().snapshot(10, 20, &[1, 0]).snapshot(25, 30, &[1, 0]));
        let known = ended_names(&killed);
        note_losses(&mut again, &known);
        assert_eq!((again.losses.len(), again.known_losses.as_slice()), (1, &[lost.to_owned()][..]));
        let mut wrote = ended(Report::new().snapshot(10, 20, &[1, 0]).file(21, &[2, 1]));
        note_losses(&mut wrote, &BTreeSet::new());
        assert_eq!((wrote.losses.len(), wrote.files.len()), (0, 1));
    }

    fn ended_names(container: &Collected) -> BTreeSet<String> {
        ended(&Manifest { containers: vec![container.clone()], ..Manifest::default() })
    }

    /// What other pods write to a folder has the same hash and number.
    #[test]
    fn in_a_shared_folder_only_snapshots_are_compared() {
        let mut report = Report::new().file(20, &[1, 0]).snapshot(10, 30, &[1, 0]).snapshot(10, 40, &[1, 1]);
        report.container.may_share_folder = true;
        assert_eq!(report.left(), (vec![20, 40], 1));
    }
}
