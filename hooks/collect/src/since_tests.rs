//! Tests of what is subtracted.

use covdata::{CounterFile, CounterFileBuilder, MetaHash, ProcessArgs};
use podcov_unpack::TakenFile;

use super::*;
use crate::sift::sift as sift_files;

const HASH: MetaHash = MetaHash([1; 16]);

fn name(hash: u8, pid: u32, nanos: u64) -> String {
    FileName::Counters { hash: MetaHash([hash; 16]), pid, nanos }.to_string()
}

fn process(pid: u32, started: u64, counters: String) -> LiveProcess {
    LiveProcess {
        pid,
        started: Some(started),
        name: Some("cart".to_owned()),
        unread: None,
        counters,
        go: None,
        module: None,
        revision: None,
    }
}

/// A container with these files, the first of which are snapshots of processes that were started then.
fn container(files: &[String], started: &[u64]) -> Collected {
    let mut container = Collected::of("ns", "pod", "app", "ns/pod/app".to_owned());
    for (file, started) in files.iter().zip(started) {
        container.live.push(process(7, *started, file.clone()));
    }
    let taken = files.iter().map(|name| TakenFile { name: name.clone(), size: 1, sha256: String::new() });
    container.files = taken.collect();
    container
}

#[test]
fn a_process_is_known_by_its_number_start_and_program() {
    let old = container(&[name(1, 7, 20), name(1, 7, 5)], &[10]);
    let last = |file: &str, started: &[u64]| last_file(file, &container(&[file.to_owned()], started), &old);
    // A later snapshot of it, and what it has written since.
    assert_eq!(last(&name(1, 7, 30), &[10]), Some(name(1, 7, 20)));
    assert_eq!(last(&name(1, 7, 30), &[]), Some(name(1, 7, 20)));
    // Another process, another program, another number.
    assert_eq!(last(&name(1, 7, 30), &[25]), None);
    assert_eq!(last(&name(2, 7, 30), &[10]), None);
    assert_eq!(last(&name(1, 8, 30), &[]), None);
    // It is older.
    assert_eq!(last(&name(1, 7, 6), &[]), None);
    // Another pod's process may have written it.
    let shared = Collected { may_share_folder: true, ..container(&[name(1, 7, 30)], &[]) };
    assert_eq!(last_file(&name(1, 7, 30), &shared, &old), None);
}

/// Two reports: the earlier one, and the staging folder of the later one.
struct Reports {
    old: tempfile::TempDir,
    new: tempfile::TempDir,
    was: Vec<Collected>,
    is: Vec<Collected>,
}

impl Reports {
    fn new() -> Self {
        let [old, new] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        Self { old, new, was: Vec::new(), is: Vec::new() }
    }

    /// A pod's container in a report.
    fn pod<'a>(containers: &'a mut Vec<Collected>, pod: &str) -> &'a mut Collected {
        let at = containers.iter().position(|one| one.pod == pod).unwrap_or_else(|| {
            containers.push(Collected::of("ns", pod, "app", format!("ns/{pod}/app")));
            containers.len() - 1
        });
        &mut containers[at]
    }

    /// With a counter file of process 7 that was written then, and has these counts. It is a snapshot if a start is given.
    fn file(&mut self, is_new: bool, pod: &str, nanos: u64, counts: &[u32], started: Option<u64>) {
        let (folder, containers) =
            if is_new { (self.new.path(), &mut self.is) } else { (self.old.path(), &mut self.was) };
        let container = Self::pod(containers, pod);
        let mut file = CounterFileBuilder::new(HASH, &ProcessArgs::default()).unwrap();
        file.function(0, 0, counts.iter().copied()).unwrap();
        let name = name(1, 7, nanos);
        let folder = folder.join(&container.folder);
        container.files.push(podcov_unpack::take(&folder, &name, file.finish(), false).unwrap());
        container.live.extend(started.map(|started| process(7, started, name)));
    }

    fn old(mut self, nanos: u64, counts: &[u32], started: Option<u64>) -> Self {
        self.file(false, "pod", nanos, counts, started);
        self
    }

    fn new_file(mut self, nanos: u64, counts: &[u32], started: Option<u64>) -> Self {
        self.file(true, "pod", nanos, counts, started);
        self
    }

    fn since(&self) -> Since {
        let manifest = Manifest { containers: self.was.clone(), ..Manifest::default() };
        Since { folder: self.old.path().to_owned(), manifest }
    }

    /// The counts of all files that are left, by the time of each, and how much is lost.
    fn left(mut self) -> (Vec<(u64, Vec<u32>)>, usize) {
        sift_files(&mut self.is, false, self.new.path()).unwrap();
        self.since().subtract(&mut self.is, self.new.path()).unwrap();
        let mut left = Vec::new();
        for container in &self.is {
            for file in &container.files {
                let bytes = fs::read(self.new.path().join(&container.folder).join(&file.name)).unwrap();
                let counters = CounterFile::parse(&bytes).unwrap();
                let counts = counters.functions().flat_map(|function| function.counters()).collect();
                left.push((sift::nanos(&file.name).unwrap(), counts));
            }
        }
        left.sort();
        (left, self.is.iter().map(|container| container.losses.len()).sum())
    }
}

#[test]
fn a_file_in_both_reports_is_subtracted_from_itself() {
    // It was written before the program cleared its counters, and then there was a snapshot.
    let old = || Reports::new().old(15, &[9, 9], None).old(20, &[2, 0], Some(10));
    let reports = old().new_file(15, &[9, 9], None).new_file(30, &[3, 1], Some(10));
    assert_eq!(reports.left(), (vec![(15, vec![]), (30, vec![1, 1])], 0));
    // It has cleared them once more, without a file.
    let reports = old().new_file(15, &[9, 9], None).new_file(30, &[1, 1], Some(10));
    assert_eq!(reports.left(), (vec![(15, vec![]), (30, vec![1, 1])], 1));
}

#[test]
fn what_a_process_had_counted_is_subtracted_once() {
    // It has written it and has cleared its counters, and counts as much again.
    let reports = Reports::new().old(20, &[2, 0], Some(10));
    let reports = reports.new_file(25, &[3, 0], None).new_file(30, &[2, 2], Some(10));
    assert_eq!(reports.left(), (vec![(25, vec![1, 0]), (30, vec![2, 2])], 0));
    // The file does not have it, the snapshot has.
    let reports = Reports::new().old(20, &[2, 0], Some(10));
    let reports = reports.new_file(25, &[1, 0], None).new_file(30, &[3, 0], Some(10));
    assert_eq!(reports.left(), (vec![(25, vec![1, 0]), (30, vec![1, 0])], 0));
}

/// Each of three pods has the file in its folder. The earlier report has it once, of a pod that is gone.
#[test]
fn a_file_of_a_shared_folder_is_subtracted_wherever_it_was() {
    let mut reports = Reports::new();
    reports.file(false, "gone", 15, &[4], None);
    for pod in ["a", "b", "c"] {
        reports.file(true, pod, 15, &[4], None);
        reports.file(true, pod, 40, &[1], None);
    }
    assert_eq!(reports.left(), (vec![(15, vec![]), (40, vec![1])], 0));
}

#[test]
fn a_process_that_has_ended_without_a_file_is_named() {
    let lost = |reports: Reports, change: fn(&mut Manifest)| {
        let mut manifest = Manifest { containers: reports.is.clone(), ..Manifest::default() };
        manifest.containers.iter_mut().for_each(|one| one.live_way = "exec-sh-dd".to_owned());
        change(&mut manifest);
        let before = manifest.losses.len();
        reports.since().note_ended(&[], &mut manifest);
        let new = manifest.losses.split_off(before);
        new.into_iter().map(|loss| loss.message).collect::<Vec<_>>()
    };
    let old = || Reports::new().old(20, &[2, 0], Some(10));
    // A later process has its number.
    let ended = || old().new_file(30, &[2, 0], Some(25));
    let message =
        "pod ns/pod container app: process 7 (cart) has ended since; what it counted until then is lost";
    assert_eq!(lost(ended(), |_| {}), [message]);
    let none = |manifest: &mut Manifest| manifest.without_coverage.append(&mut manifest.containers);
    assert_eq!(lost(ended(), none), [message]);
    // It runs, or has written a file.
    assert_eq!(lost(old().new_file(30, &[2, 0], Some(10)), |_| {}), [""; 0]);
    assert_eq!(lost(ended().new_file(22, &[2, 0], None), |_| {}), [""; 0]);
    // Its memory was not read this time, or its container could not be.
    assert_eq!(lost(ended(), |manifest| manifest.containers[0].live_way.clear()), [""; 0]);
    let failed = |manifest: &mut Manifest| manifest.losses.push(manifest.containers[0].loss("no shell"));
    assert_eq!(lost(ended(), failed), [""; 0]);
}
