//! `--since FOLDER`: what has run since an earlier report.
//!
//! A snapshot has all that its process has counted. So of a process that the earlier report has too, the earlier counters are
//! subtracted: it is the same one if container, number, start and program are. Of a file that is in both reports nothing is
//! left but counters of 0.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use covdata::{FileName, MetaFile, Mode};
use fs_err as fs;
use podcov_cli::say;
use podcov_exit::{Exit, Failure};

use crate::args::{NAME, is_name};
use crate::manifest::{Collected, Loss, Manifest, SinceEntry};
use crate::sift::remove;

/// How the names of counter files begin.
const COUNTERS: &str = "covcounters.";

/// The earlier report.
pub(crate) struct Since {
    folder: PathBuf,
    manifest: Manifest,
}

impl Since {
    /// Reads the report in a folder. `out` is where the new one goes.
    ///
    /// # Errors
    /// When there is none, or one that is itself a difference.
    pub(crate) fn read(folder: &Path, out: &Path) -> Result<Self> {
        let fail =
            |message: String, hint: &str| Failure::new(Exit::Usage, message).with_hint(hint.to_owned());
        let shown = folder.display();
        let place = |path: &Path| fs::canonicalize(path).ok();
        if place(folder).is_some() && place(folder) == place(out) {
            let message = format!("--since {shown} would be replaced by the new report");
            return Err(fail(message, "name another folder with --out for one of the two").into());
        }
        let manifest = Manifest::read(folder)?.ok_or_else(|| {
            let hint = "collect before the programs run what is of interest: podcov-collect --out FOLDER";
            fail(format!("--since {shown} is no report of podcov-collect"), hint)
        })?;
        if let Some(since) = &manifest.since {
            let message = format!("--since {shown} has only what ran since {}", since.finished);
            return Err(fail(message, "name a report that was collected without --since").into());
        }
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// What the manifest of the new report has of this one.
    pub(crate) fn entry(&self) -> SinceEntry {
        SinceEntry { folder: self.folder.clone(), finished: self.manifest.finished }
    }

    /// Takes out of a container's files what the earlier report has.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn subtract(&self, container: &mut Collected, staging: &Path) -> io::Result<()> {
        let Some(old) = self.manifest.containers.iter().find(|old| old.is(container)) else { return Ok(()) };
        let folder = staging.join(&container.folder);
        // Earlier files, and whether none of their processes' files has what they have.
        let mut cleared = BTreeMap::new();
        for file in container.files.clone() {
            let Some(earlier) = earlier_file(&file.name, container, old) else { continue };
            if !earlier.starts_with(COUNTERS) {
                remove(container, &file.name, staging)?;
                continue;
            }
            let [before, after] = [self.folder.join(&old.folder).join(&earlier), folder.join(&file.name)];
            match livecov::difference(&fs::read(before)?, &fs::read(after)?).map_err(io::Error::other)? {
                Some(bytes) => {
                    let taken = podcov_unpack::take(&folder, &file.name, bytes, false);
                    container.files.retain(|other| other.name != file.name);
                    container.files.push(taken.map_err(io::Error::other)?);
                    cleared.insert(earlier, false);
                }
                // All of it was counted since then.
                None => drop(cleared.entry(earlier).or_insert(true)),
            }
        }
        container.files.sort();
        for (earlier, _) in cleared.into_iter().filter(|(_, is_cleared)| *is_cleared) {
            container.losses.push(format!(
                "the process of {earlier} has cleared its counters since {}; what it had counted before that is missing",
                self.manifest.finished
            ));
        }
        Ok(())
    }

    /// Notes the processes of this machine with these names that have ended since.
    pub(crate) fn note_ended(&self, names: &[String], manifest: &mut Manifest) {
        for old in self.manifest.containers.iter().filter(|old| !old.live.is_empty()) {
            let is_meant = names.iter().any(|name| is_name(name, &old.pod));
            if is_meant && !manifest.containers.iter().any(|new| new.is(old)) {
                let Collected { pod: name, container: pid, .. } = old;
                let message =
                    format!("process {pid} ({name}) has ended since; what it counted until then is lost");
                say(NAME, format_args!("error: {message}"));
                manifest.losses.push(Loss::new(message));
            }
        }
    }

    /// Says what the report has of programs in mode set.
    pub(crate) fn explain_modes(&self, manifest: &Manifest, staging: &Path) {
        let is_set = |container: &Collected| {
            let mut metas = container.files.iter().filter(|file| file.name.starts_with("covmeta."));
            metas.any(|file| {
                let bytes = fs::read(staging.join(&container.folder).join(&file.name)).unwrap_or_default();
                MetaFile::parse(&bytes).is_ok_and(|meta| meta.mode == Mode::Set)
            })
        };
        if manifest.containers.iter().any(is_set) {
            say(
                NAME,
                format_args!(
                    "of programs in mode set, only what ran for the first time since {} is in the report; build with \
                     -covermode=atomic to see all that ran",
                    self.manifest.finished
                ),
            );
        }
    }
}

/// The file of the earlier report whose counts a file has too: the last one of its process.
fn earlier_file(name: &str, container: &Collected, old: &Collected) -> Option<String> {
    let is_there = || old.files.iter().any(|older| older.name == name).then(|| name.to_owned());
    let Ok(FileName::Counters { hash, pid, nanos }) = name.parse() else {
        // Meta-data is the same in both.
        return is_there().filter(|name| matches!(name.parse(), Ok(FileName::Text { .. })));
    };
    let read = container.live.iter().find(|process| process.counters == name).map(|process| process.started);
    let started = match read {
        Some(started) => started,
        // The process wrote this itself. The last one that had this number before is it.
        None => {
            let starts = old.live.iter().filter(|process| process.pid == pid).filter_map(|one| one.started);
            starts.filter(|started| *started <= nanos).max()
        }
    };
    let Some(started) = started else { return is_there() };
    let of_it = old.files.iter().filter_map(|file| match file.name.parse() {
        Ok(FileName::Counters { hash: other, pid: number, nanos }) if other == hash && number == pid => {
            (nanos >= started).then_some((nanos, &file.name))
        }
        _ => None,
    });
    of_it.max().map(|(_, name)| name.clone())
}

#[cfg(test)]
mod tests {
    use covdata::MetaHash;
    use podcov_control::LiveProcess;
    use podcov_unpack::TakenFile;

    use super::*;

    fn name(hash: u8, pid: u32, nanos: u64) -> String {
        FileName::Counters { hash: MetaHash([hash; 16]), pid, nanos }.to_string()
    }

    /// A container with these files, the first of which are snapshots of processes that were started then.
    fn container(files: &[String], started: &[u64]) -> Collected {
        let mut container = Collected::of("ns", "pod", "app", "ns/pod/app".to_owned());
        for (file, started) in files.iter().zip(started) {
            container.live.push(LiveProcess {
                pid: 7,
                started: Some(*started),
                name: None,
                unread: None,
                counters: file.clone(),
                go: None,
                module: None,
                revision: None,
            });
        }
        let taken = files.iter().map(|name| TakenFile { name: name.clone(), size: 1, sha256: String::new() });
        container.files = taken.collect();
        container
    }

    #[test]
    fn a_process_is_known_by_its_number_start_and_program() {
        let old = container(&[name(1, 7, 20), name(1, 7, 5)], &[10]);
        let earlier =
            |file: &str, started: &[u64]| earlier_file(file, &container(&[file.to_owned()], started), &old);
        // A later snapshot of it, and what it has written since.
        assert_eq!(earlier(&name(1, 7, 30), &[10]), Some(name(1, 7, 20)));
        assert_eq!(earlier(&name(1, 7, 30), &[]), Some(name(1, 7, 20)));
        // Another process, another program, another number.
        assert_eq!(earlier(&name(1, 7, 30), &[25]), None);
        assert_eq!(earlier(&name(2, 7, 30), &[10]), None);
        assert_eq!(earlier(&name(1, 8, 30), &[]), None);
        // What an earlier process wrote is in both.
        assert_eq!(earlier(&name(1, 7, 5), &[]), Some(name(1, 7, 5)));
        assert_eq!(earlier(&name(1, 7, 6), &[]), None);
        assert_eq!(earlier(&FileName::Meta { hash: MetaHash([1; 16]) }.to_string(), &[]), None);
    }
}
