use serde_json::{Value, json};

use super::*;
use crate::manifest::{FILE_NAME, VERSION};

const META: &str = "covmeta.62ff98db792937fd37f18adced298d04";
const COUNTERS: &str = "covcounters.62ff98db792937fd37f18adced298d04.1.1795224885693041480";

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    names
}

fn begin() -> Manifest {
    Manifest::begin(None, "test")
}

/// A manifest that lists these files of one container, as JSON.
fn manifest(files: &[&str]) -> Value {
    let files: Vec<Value> = files.iter().map(|name| json!({"name": name, "size": 1, "sha256": ""})).collect();
    json!({"version": VERSION, "podcov": "0.1.0", "containers": [{"folder": "ns/pod/app", "files": files}]})
}

fn write_report(folder: &Path, files: &[&str]) {
    fs::create_dir_all(folder.join("ns/pod/app")).unwrap();
    for file in files {
        fs::write(folder.join("ns/pod/app").join(file), file).unwrap();
    }
    fs::write(folder.join(FILE_NAME), manifest(files).to_string()).unwrap();
}

fn stage(out: &Path, file: &str) -> Staging {
    let staging = Staging::beside(out, &begin()).unwrap();
    write_report(staging.path(), &[file]);
    staging
}

#[test]
fn a_report_replaces_the_last_one_and_leaves_nothing_beside() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("reports/coverage");
    stage(&out, "a").publish().unwrap();
    assert_eq!(names(&out.join("ns/pod/app")), ["a"]);
    stage(&out, "b").publish().unwrap();
    assert_eq!(names(&out.join("ns/pod/app")), ["b"]);
    assert_eq!(names(&dir.path().join("reports")), ["coverage"]);
}

#[test]
fn two_renames_do_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (staged, out) = (dir.path().join("staged"), dir.path().join("out"));
    for (folder, file) in [(&staged, "new"), (&out, "old")] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join(file), "").unwrap();
    }
    let aside = replace_in_two(&staged, &out).unwrap();
    assert_eq!((names(&out), names(&aside)), (vec!["new".to_owned()], vec!["old".to_owned()]));
    assert_eq!(names(dir.path()), ["out", "staged.last"]);
}

#[test]
fn what_is_not_published_leaves_the_last_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("coverage");
    stage(&out, "a").publish().unwrap();
    drop(stage(&out, "b"));
    assert_eq!(names(&out.join("ns/pod/app")), ["a"]);
    assert_eq!(names(dir.path()), ["coverage"]);
}

#[test]
fn what_a_killed_run_left_goes_and_what_is_in_use_stays() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("coverage");
    let beside = |name: &str| dir.path().join(name);
    // Somebody's own.
    let others = [".coverage.mine", ".coverage.podcov-photos", ".coverage.podcov-repo"];
    others.iter().for_each(|name| fs::create_dir(beside(name)).unwrap());
    fs::write(beside(".coverage.podcov-photos/holiday.jpg"), "").unwrap();
    begin().write(&beside(".coverage.podcov-repo")).unwrap();
    fs::create_dir(beside(".coverage.podcov-repo/.git")).unwrap();
    fs::write(beside(".coverage.podcov-repo/.git/HEAD"), "").unwrap();
    // Killed while it collected, and killed when it had replaced a report.
    fs::create_dir_all(beside(".coverage.podcov-killed/ns/pod/app")).unwrap();
    begin().write(&beside(".coverage.podcov-killed")).unwrap();
    fs::write(beside(".coverage.podcov-killed/ns/pod/app").join(META), "half").unwrap();
    write_report(&beside(".coverage.podcov-old"), &[META, COUNTERS]);

    let in_use = stage(&out, "a");
    let other = stage(&out, "b");
    assert_eq!(names(dir.path()).len(), others.len() + 2);
    drop(other);
    in_use.publish().unwrap();
    assert_eq!(names(dir.path()), [others[0], others[1], others[2], "coverage"]);
    assert_eq!(names(&beside(others[1])), ["holiday.jpg"]);
}

#[test]
fn a_run_that_was_killed_between_two_renames_loses_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("coverage");
    write_report(&dir.path().join(".coverage.podcov-a1B2c3.last"), &[META]);
    write_report(&dir.path().join(".coverage.podcov-a1B2c3"), &[COUNTERS]);
    drop(stage(&out, "a"));
    assert_eq!(names(&out.join("ns/pod/app")), [META]);
    assert_eq!(names(dir.path()), ["coverage"]);
    // Where the report has its place, what waits beside was replaced.
    write_report(&dir.path().join(".coverage.podcov-a1B2c3.last"), &[COUNTERS]);
    drop(stage(&out, "a"));
    assert_eq!((names(&out.join("ns/pod/app")), names(dir.path()).len()), (vec![META.to_owned()], 1));
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let (real, link) = (dir.path().join("real"), dir.path().join("coverage"));
    fs::create_dir(&real).unwrap();
    fs::os::unix::fs::symlink("real", &link).unwrap();
    stage(&link, "a").publish().unwrap();
    assert!(link.is_symlink());
    assert_eq!(names(&real.join("ns/pod/app")), ["a"]);
    stage(&link, "b").publish().unwrap();
    assert_eq!(names(&real.join("ns/pod/app")), ["b"]);
    fs::remove_dir_all(&real).unwrap();
    assert!(Staging::beside(&link, &begin()).is_err(), "it leads nowhere");
}

#[cfg(target_os = "linux")]
#[test]
fn a_mount_point_cannot_be_replaced() {
    // The one that is everywhere.
    let Err(error) = Staging::beside(Path::new("/proc"), &begin()) else { panic!("it would be replaced") };
    assert!(error.to_string().contains("/proc is a mount point"), "{error:#}");
}

#[test]
fn what_comes_into_a_report_while_it_is_replaced_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("coverage");
    write_report(&out, &[META]);
    let Some(own) = check_ours(&out).unwrap() else { panic!("it is ours") };
    fs::write(out.join("ns/pod/app/notes.txt"), "mine").unwrap();
    assert!(own.remove(&out).is_err());
    assert_eq!(fs::read_to_string(out.join("ns/pod/app/notes.txt")).unwrap(), "mine");
}
