//! Which of the files that came count: not those of an earlier run, and none twice.
//!
//! A folder may outlive the pods that write to it (a hostPath, a claim): then it has files that are older than the pod.
//! And several pods may share it: then each pod's copy has the files of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use covdata::{FileName, MetaHash};
use fs_err as fs;
use podcov_cli::count;

use crate::manifest::{Collected, SharedFiles};

/// How many names a message holds.
const NAMES: usize = 3;

/// Removes from the staging folder the files that are older than their pods, unless those are to be kept, and all but
/// one copy of each file that several containers have. Gives a line for a person for each kind.
///
/// # Errors
/// When the staging folder cannot be written.
pub(crate) fn sift(
    containers: &mut [Collected],
    keep_older: bool,
    staging: &Path,
) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut sharing = BTreeMap::<usize, BTreeSet<usize>>::new();
    for ((name, _), holders) in copies(containers) {
        let is_current = |holder: &usize| keep_older || !is_older(&name, &containers[*holder]);
        let keeper = holders.iter().copied().find(is_current);
        for holder in holders {
            match keeper {
                Some(keeper) if keeper == holder => {}
                Some(keeper) => {
                    sharing.entry(keeper).or_default().insert(holder);
                    let with = containers[keeper].folder.clone();
                    let shared = &mut containers[holder].shared;
                    match shared.iter_mut().find(|shared| shared.with == with) {
                        Some(shared) => shared.files.push(name.clone()),
                        None => shared.push(SharedFiles { with, files: vec![name.clone()] }),
                    }
                    remove(&mut containers[holder], &name, staging)?;
                }
                None => {
                    containers[holder].older.push(name.clone());
                    remove(&mut containers[holder], &name, staging)?;
                }
            }
        }
    }
    for container in containers.iter_mut() {
        remove_unused_meta_data(container, staging)?;
        if container.files.is_empty() && !container.older.is_empty() && container.shared.is_empty() {
            container.losses.push(
                "all its counter files are older than the pod, and it has written none; signal the program first \
                 (podcov-signal), or was it killed?"
                    .to_owned(),
            );
        }
    }
    lines.extend(older_line(containers));
    for (keeper, others) in sharing {
        let others: Vec<String> = others.into_iter().map(|other| containers[other].to_string()).collect();
        lines.push(format!(
            "the folder of {} is shared by {}; each file in it counts once",
            containers[keeper],
            list(&others)
        ));
    }
    Ok(lines)
}

/// The containers that have each file with counts, by its name and content.
fn copies(containers: &[Collected]) -> BTreeMap<(String, String), Vec<usize>> {
    let mut copies = BTreeMap::<_, Vec<usize>>::new();
    for (number, container) in containers.iter().enumerate() {
        for file in container.files.iter().filter(|file| nanos(&file.name).is_some()) {
            copies.entry((file.name.clone(), file.sha256.clone())).or_default().push(number);
        }
    }
    copies
}

/// When a file with counts was written.
pub(crate) fn nanos(name: &str) -> Option<u64> {
    match name.parse() {
        Ok(FileName::Counters { nanos, .. } | FileName::Text { nanos, .. }) => Some(nanos),
        _ => None,
    }
}

/// Whether a file was written before the container's pod was started, by the clock of the same node.
fn is_older(name: &str, container: &Collected) -> bool {
    match (nanos(name), container.pod_started) {
        (Some(written), Some(started)) => i128::from(written) < started.as_nanosecond(),
        _ => false,
    }
}

/// Removes the meta-data files whose counter files have all been removed.
fn remove_unused_meta_data(container: &mut Collected, staging: &Path) -> io::Result<()> {
    let hash = |name: &str| name.parse().ok().and_then(|name: FileName| name.hash());
    let shared = container.shared.iter().flat_map(|shared| &shared.files);
    let removed: BTreeSet<MetaHash> = shared.chain(&container.older).filter_map(|name| hash(name)).collect();
    let counters = container.files.iter().filter(|file| nanos(&file.name).is_some());
    let used: BTreeSet<MetaHash> = counters.filter_map(|file| hash(&file.name)).collect();
    let unused = |name: &str| hash(name).is_some_and(|hash| removed.contains(&hash) && !used.contains(&hash));
    let names: Vec<String> = container.files.iter().map(|file| file.name.clone()).collect();
    names.iter().filter(|name| unused(name)).try_for_each(|name| remove(container, name, staging))
}

/// Removes a file, and the folders that are empty then.
pub(crate) fn remove(container: &mut Collected, name: &str, staging: &Path) -> io::Result<()> {
    container.files.retain(|file| file.name != name);
    let folder = Path::new(&container.folder);
    fs::remove_file(staging.join(folder).join(name))?;
    if container.files.is_empty() {
        let folders = folder.ancestors().filter(|folder| !folder.as_os_str().is_empty());
        for folder in folders {
            // The next one up holds others too.
            if fs::remove_dir(staging.join(folder)).is_err() {
                break;
            }
        }
    }
    Ok(())
}

fn older_line(containers: &[Collected]) -> Option<String> {
    let with: Vec<&Collected> = containers.iter().filter(|container| !container.older.is_empty()).collect();
    let files: usize = with.iter().map(|container| container.older.len()).sum();
    let names: Vec<String> = with.iter().map(ToString::to_string).collect();
    let are = if files == 1 { "is older than its pod and was" } else { "are older than their pods and were" };
    (files > 0).then(|| {
        format!(
            "{} of {} {are} left out; --include-older counts them",
            count(files, "counter file"),
            list(&names)
        )
    })
}

/// Names in a sentence: `a, b and 4 more`.
pub(crate) fn list(names: &[String]) -> String {
    match names.len().checked_sub(NAMES) {
        None | Some(0) => match names.split_last() {
            Some((last, [])) => last.clone(),
            Some((last, before)) => format!("{} and {last}", before.join(", ")),
            None => String::new(),
        },
        Some(more) => format!("{} and {more} more", names[..NAMES].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use podcov_unpack::TakenFile;

    use super::*;

    const HASH: &str = "62ff98db792937fd37f18adced298d04";

    /// A container with these files, each with its name as its content, whose pod started at a second.
    fn container(staging: &Path, pod: &str, started: i64, names: &[String]) -> Collected {
        let folder = format!("ns/{pod}/app");
        fs::create_dir_all(staging.join(&folder)).unwrap();
        let mut collected = Collected::of("ns", pod, "app", folder);
        collected.pod_started = Some(Timestamp::from_second(started).unwrap());
        for name in names {
            fs::write(staging.join(&collected.folder).join(name), name).unwrap();
            collected.files.push(TakenFile { name: name.clone(), size: 1, sha256: name.clone() });
        }
        collected
    }

    fn counters(second: i64) -> String {
        format!("covcounters.{HASH}.1.{second}000000000")
    }

    fn names(container: &Collected, staging: &Path) -> Vec<String> {
        let listed: Vec<String> = container.files.iter().map(|file| file.name.clone()).collect();
        let folder = staging.join(&container.folder);
        let there =
            fs::read_dir(folder).into_iter().flatten().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut there: Vec<String> = there.collect();
        there.sort();
        assert_eq!(there, listed, "the folder is as the manifest says");
        listed
    }

    #[test]
    fn three_pods_on_one_folder_have_one_set_of_files() {
        let staging = tempfile::tempdir().unwrap();
        let staging = staging.path();
        let meta = format!("covmeta.{HASH}");
        // The third has one that came when the others had been read.
        let files = [counters(100), counters(101), meta.clone()];
        let more = [counters(100), counters(101), counters(102), meta.clone()];
        let mut all = [
            container(staging, "a", 10, &files),
            container(staging, "b", 10, &files),
            container(staging, "c", 10, &more),
        ];
        let lines = sift(&mut all, false, staging).unwrap();
        assert_eq!(
            lines,
            [
                "the folder of pod ns/a container app is shared by pod ns/b container app and pod ns/c container app; \
             each file in it counts once"
            ]
        );
        assert_eq!(names(&all[0], staging), files);
        assert_eq!(names(&all[1], staging), [""; 0]);
        assert!(!staging.join("ns/b").exists(), "no empty folders");
        assert_eq!(names(&all[2], staging), [counters(102), meta]);
        let shared = SharedFiles { with: "ns/a/app".to_owned(), files: vec![counters(100), counters(101)] };
        assert_eq!(all[1].shared, [shared]);
        assert!(all.iter().all(|container| container.losses.is_empty()));
    }

    #[test]
    fn files_of_one_name_and_other_content_are_two() {
        let staging = tempfile::tempdir().unwrap();
        let staging = staging.path();
        let mut all = ["a", "b"].map(|pod| container(staging, pod, 10, &[counters(100)]));
        all[1].files[0].sha256 = "other".to_owned();
        assert_eq!(sift(&mut all, false, staging).unwrap(), [""; 0]);
        assert_eq!(all.map(|one| one.files.len()), [1, 1]);
    }

    #[test]
    fn what_is_older_than_the_pod_is_left_out_with_its_meta_data() {
        let yesterday = "11111111111111111111111111111111";
        let files = [
            format!("covcounters.{yesterday}.1.50000000000"),
            counters(199),
            counters(200),
            format!("covmeta.{yesterday}"),
            format!("covmeta.{HASH}"),
        ];
        for (keep, left, line) in [
            (true, &files[..], None),
            (
                false,
                &[counters(200), format!("covmeta.{HASH}")][..],
                Some(
                    "2 counter files of pod ns/a container app are older than their pods and were left out; \
                      --include-older counts them",
                ),
            ),
        ] {
            let staging = tempfile::tempdir().unwrap();
            let staging = staging.path();
            let mut all = [container(staging, "a", 200, &files)];
            assert_eq!(sift(&mut all, keep, staging).unwrap(), line.map(str::to_owned).as_slice());
            assert_eq!(names(&all[0], staging), left);
            assert!(all[0].losses.is_empty());
        }
    }

    #[test]
    fn a_pod_with_older_files_alone_has_written_none() {
        let staging = tempfile::tempdir().unwrap();
        let mut all = [container(staging.path(), "a", 100, &[counters(50), format!("covmeta.{HASH}")])];
        sift(&mut all, false, staging.path()).unwrap();
        assert_eq!((all[0].files.len(), all[0].losses.len()), (0, 1));
    }

    /// Three replicas start one after the other, and the first one writes at once.
    #[test]
    fn what_is_older_than_one_pod_and_not_than_another_counts() {
        let staging = tempfile::tempdir().unwrap();
        let staging = staging.path();
        let files = [counters(15), format!("covmeta.{HASH}")];
        let mut all = [container(staging, "a", 20, &files), container(staging, "b", 10, &files)];
        sift(&mut all, false, staging).unwrap();
        assert_eq!((names(&all[0], staging).len(), names(&all[1], staging).len()), (0, 2));
        assert_eq!((all[0].older.len(), all[0].shared[0].with.as_str()), (0, "ns/b/app"));
    }

    #[test]
    fn names_in_a_sentence() {
        let names: Vec<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).to_vec();
        let said: Vec<String> = (1..=5).map(|n| list(&names[..n])).collect();
        assert_eq!(said, ["a", "a and b", "a, b and c", "a, b, c and 1 more", "a, b, c and 2 more"]);
    }
}
