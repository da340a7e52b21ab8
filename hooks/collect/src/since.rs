//! `--since FOLDER`: what has run since an earlier report.
//!
//! A snapshot has all that its process has counted. So of a process that the earlier report has too, the earlier counters are
//! subtracted: it is the same one if container, number, start and program are. Of a file that is in both reports nothing is
//! left but counters of 0: these are compared first. What a process had counted then is subtracted once, from the first of its
//! files that has it.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use covdata::{FileName, MetaFile, Mode};
use fs_err as fs;
use podcov_cli::say;
use podcov_control::LiveProcess;
use podcov_exit::{Exit, Failure};

use crate::args::{NAME, is_name};
use crate::local;
use crate::manifest::{Collected, Loss, Manifest, SinceEntry};
use crate::sift::{self, remove};

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

    /// Takes out of the containers' files what the earlier report has. Each file is in one container alone by now.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub(crate) fn subtract(&self, containers: &mut [Collected], staging: &Path) -> io::Result<()> {
        containers.iter_mut().try_for_each(|container| self.subtract_from(container, staging))
    }

    fn subtract_from(&self, container: &mut Collected, staging: &Path) -> io::Result<()> {
        let old = self.old(container);
        let folder = staging.join(&container.folder);
        let files = container.files.iter().filter_map(|file| {
            let nanos = sift::nanos(&file.name)?;
            Some((self.same_file(&file.name, container), nanos, file.name.clone()))
        });
        // Those that are in both reports first, then in the order in which they were written.
        let mut files: Vec<_> = files.collect();
        files.sort_by_key(|(same, nanos, _)| (same.is_none(), *nanos));
        // Earlier files that another one has, and that one which should have it does not.
        let (mut subtracted, mut cleared) = (BTreeSet::new(), BTreeSet::new());
        for (same, _, name) in files {
            if same.is_some() && matches!(name.parse(), Ok(FileName::Text { .. })) {
                remove(container, &name, staging)?;
                continue;
            }
            let of_process = || Some((old?, last_file(&name, container, old?)?));
            let Some((old, earlier)) = same.or_else(of_process) else { continue };
            let before = self.folder.join(&old.folder).join(&earlier);
            if subtracted.contains(&before) {
                continue;
            }
            let after = fs::read(folder.join(&name))?;
            match livecov::difference(&fs::read(&before)?, &after).map_err(io::Error::other)? {
                Some(bytes) => {
                    let taken = podcov_unpack::take(&folder, &name, bytes, false);
                    container.files.retain(|other| other.name != name);
                    container.files.push(taken.map_err(io::Error::other)?);
                    subtracted.insert(before);
                }
                // All of it was counted since then.
                None => drop(cleared.insert((before, earlier))),
            }
        }
        container.files.sort();
        for (_, earlier) in cleared.into_iter().filter(|(before, _)| !subtracted.contains(before)) {
            container.losses.push(format!(
                "the process of {earlier} has cleared its counters since {}; what it had counted before that is missing",
                self.manifest.finished
            ));
        }
        Ok(())
    }

    /// What the earlier report has of the same container.
    fn old(&self, container: &Collected) -> Option<&Collected> {
        self.manifest.containers.iter().find(|old| old.is(container))
    }

    /// The same file in the earlier report. In a shared folder it may be another container's there.
    fn same_file(&self, name: &str, container: &Collected) -> Option<(&Collected, String)> {
        let has = |old: &&Collected| old.files.iter().any(|file| file.name == name);
        let is_snapshot = container.live.iter().any(|process| process.counters == name);
        let elsewhere = || self.manifest.containers.iter().filter(|_| !is_snapshot).find(has);
        let old = self.old(container).filter(has).or_else(elsewhere)?;
        Some((old, name.to_owned()))
    }

    /// Notes the processes that the earlier report has read and that have ended since without a file that is found: of
    /// containers whose memory was read again, and of this machine those with these names.
    pub(crate) fn note_ended(&self, names: &[String], manifest: &mut Manifest) {
        let mut losses = Vec::new();
        for old in &self.manifest.containers {
            let ran = old.live.iter().filter(|process| process.unread.is_none());
            let all = manifest.containers.iter().chain(&manifest.without_coverage);
            match all.into_iter().find(|new| new.is(old)) {
                // What else is missing of it may be why the process is.
                Some(new) if new.live_way.is_empty() || manifest.losses.iter().any(|loss| new.has(loss)) => {}
                Some(new) => {
                    let ended = ran.filter(|process| !has_file(process, new));
                    losses.extend(ended.map(|process| new.loss(&has_ended(process, old))));
                }
                None if names.iter().any(|name| is_name(name, &old.pod)) => {
                    let ended = ran.filter(|process| local::has_ended(process));
                    losses.extend(ended.map(|process| Loss::new(has_ended(process, old))));
                }
                None => {}
            }
        }
        for loss in &losses {
            say(NAME, format_args!("error: {}", loss.message));
        }
        manifest.losses.extend(losses);
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

/// The last file that the earlier report has of the process of a file.
fn last_file(name: &str, container: &Collected, old: &Collected) -> Option<String> {
    let Ok(FileName::Counters { hash, pid, nanos }) = name.parse() else { return None };
    let started = match container.live.iter().find(|process| process.counters == name) {
        Some(process) => process.started,
        // Another pod's process may have written it.
        None if container.may_share_folder => None,
        // The process wrote this itself. The last one that had this number before is it.
        None => {
            let starts = old.live.iter().filter(|process| process.pid == pid).filter_map(|one| one.started);
            starts.filter(|started| *started <= nanos).max()
        }
    }?;
    let of_it = old.files.iter().filter_map(|file| match file.name.parse() {
        Ok(FileName::Counters { hash: other, pid: number, nanos }) if other == hash && number == pid => {
            (nanos >= started).then_some((nanos, &file.name))
        }
        _ => None,
    });
    of_it.max().map(|(_, name)| name.clone())
}

/// Whether a container has a file of a process that an earlier report has read.
fn has_file(process: &LiveProcess, container: &Collected) -> bool {
    let Ok(FileName::Counters { hash, pid, nanos }) = process.counters.parse() else { return false };
    let started = process.started.unwrap_or(nanos);
    // A later process may have the same number.
    let others = container.live.iter().filter(|other| other.pid == pid).filter_map(|other| other.started);
    let end = others.filter(|other| *other > started).min().unwrap_or(u64::MAX);
    let shared = container.shared.iter().flat_map(|shared| &shared.files);
    let mut names = container.files.iter().map(|file| &file.name).chain(shared);
    names.any(|name| match name.parse() {
        Ok(FileName::Counters { hash: other, pid: number, nanos }) => {
            *name == process.counters || other == hash && number == pid && (started..end).contains(&nanos)
        }
        // A test binary's profile.
        Ok(FileName::Text { pid: number, nanos }) => number == pid && (started..end).contains(&nanos),
        _ => false,
    })
}

fn has_ended(process: &LiveProcess, old: &Collected) -> String {
    let LiveProcess { pid, name, .. } = process;
    let name = name.as_ref().unwrap_or(&old.pod);
    format!("process {pid} ({name}) has ended since; what it counted until then is lost")
}

#[cfg(test)]
#[path = "since_tests.rs"]
mod tests;
