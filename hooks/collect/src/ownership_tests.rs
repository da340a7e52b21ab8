use std::collections::BTreeMap;

use podcov_exit::{Exit, Failure};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::manifest::Manifest;
use crate::staging::{Staging, check_ours};

const META: &str = "covmeta.62ff98db792937fd37f18adced298d04";

/// A report of ours, as JSON and files.
fn report(version: u32) -> Value {
    let files = json!([{"name": META, "size": 1, "sha256": ""}]);
    json!({"version": version, "podcov": "0.1.0", "containers": [{"folder": "ns/pod/app", "files": files}]})
}

fn write(folder: &Path, path: &str, text: &str) {
    let path = folder.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// All that is below a folder: each path with its kind, its permissions and its content.
fn picture(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                folders.push(path.clone());
                "folder".to_owned()
            } else {
                fs::read_to_string(&path).unwrap()
            };
            let writable = !metadata.permissions().readonly();
            found.insert(path, format!("{content} {writable}"));
        }
    }
    found
}

/// Something that a user may have put into a folder.
#[derive(Debug, Clone)]
enum Thing {
    File(&'static str, String),
    ReadOnly(&'static str),
    Folder(&'static str),
    #[cfg(unix)]
    Link(&'static str, &'static str),
}

impl Thing {
    fn put_into(&self, folder: &Path) {
        match self {
            Self::File(path, text) => write(folder, path, text),
            Self::ReadOnly(path) => {
                write(folder, path, "read-only");
                let mut permissions = fs::metadata(folder.join(path)).unwrap().permissions();
                permissions.set_readonly(true);
                fs::set_permissions(folder.join(path), permissions).unwrap();
            }
            Self::Folder(path) => fs::create_dir_all(folder.join(path)).unwrap(),
            #[cfg(unix)]
            Self::Link(path, target) => {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::os::unix::fs::symlink(target, path).unwrap();
            }
        }
    }
}

fn manifests() -> impl Strategy<Value = String> {
    let known = [
        // A web app's, an OCI layout's and an image's, and our own from storage.
        json!({"name": "App", "icons": [], "start_url": "."}),
        json!({"schemaVersion": 2, "manifests": []}),
        json!([{"Config": "config.json", "RepoTags": null, "Layers": []}]),
        json!({"version": 1, "podcov": "0.1.0", "namespace": "a", "pod": "b", "container": "c", "files": []}),
        // Nearly ours.
        json!({"version": 1, "containers": []}),
        json!({"podcov": "0.1.0", "containers": []}),
        json!({"version": 0, "podcov": "0.1.0", "containers": []}),
        json!({"version": VERSION + 1, "podcov": "9.0.0", "containers": []}),
        json!({"version": "2", "podcov": "0.1.0", "containers": []}),
    ];
    prop_oneof![
        prop::sample::select(known.to_vec()).prop_map(|value| value.to_string()),
        ".{0,20}",
        Just(report(VERSION).to_string()[..50].to_owned()),
    ]
}

fn things() -> impl Strategy<Value = Thing> {
    let file = |path: &'static str| Just(Thing::File(path, "mine".to_owned()));
    prop_oneof![
        manifests().prop_map(|text| Thing::File("manifest.json", text)),
        file("notes.txt"),
        file(".gitkeep"),
        file("index.html"),
        file("oci-layout"),
        file("blobs/sha256/00"),
        file(".git/HEAD"),
        file("ns/pod/app/.git/config"),
        file("ns/pod/app/notes.txt"),
        file("ns/pod/other/covmeta.62ff98db792937fd37f18adced298d04"),
        file("ns/pod/app/covcounters.62ff98db792937fd37f18adced298d04.1.1"),
        Just(Thing::ReadOnly("kept.txt")),
        Just(Thing::ReadOnly("ns/kept.txt")),
        Just(Thing::Folder("ns/empty")),
        Just(Thing::Folder("manifest.json")),
        #[cfg(unix)]
        Just(Thing::Link("latest", "ns/pod/app")),
        #[cfg(unix)]
        Just(Thing::Link("ns/pod/app/linked", "/etc/hostname")),
        #[cfg(unix)]
        Just(Thing::Link("manifest.json", "elsewhere.json")),
    ]
}

/// Tries all that podcov-collect does with a folder that is there.
fn try_to_replace(out: &Path) -> Exit {
    let manifest = Manifest::begin(None, "test");
    let exit = |error: &anyhow::Error| error.downcast_ref::<Failure>().unwrap().exit();
    let early = check_ours(out).map(drop).map_err(|error| exit(&error));
    let staging = Staging::beside(out, &manifest).unwrap();
    let late = staging.publish().map_err(|error| exit(&error));
    assert_eq!(early, late);
    late.err().unwrap_or(Exit::Done)
}

proptest! {
    /// Whatever lies in a folder that is not ours, or in a report of ours beside our files: all of it survives.
    #[test]
    fn what_is_not_ours_survives(
        things in prop::collection::vec(things(), 1..4),
        ours in any::<bool>(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        let mut names = BTreeSet::new();
        for thing in &things {
            let (Thing::File(path, _) | Thing::ReadOnly(path) | Thing::Folder(path)) = thing else {
                #[cfg(unix)]
                if let Thing::Link(path, _) = thing && names.insert(*path) { thing.put_into(&out) }
                continue;
            };
            if names.insert(*path) { thing.put_into(&out); }
        }
        if ours && !names.contains("manifest.json") {
            write(&out, "manifest.json", &report(VERSION).to_string());
            write(&out, &format!("ns/pod/app/{META}"), "meta");
        }
        let before = picture(dir.path());
        prop_assert_eq!(try_to_replace(&out), Exit::Usage);
        prop_assert_eq!(picture(dir.path()), before);
    }
}

#[test]
fn the_first_thing_that_is_not_ours_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("coverage");
    write(&out, "manifest.json", &report(VERSION).to_string());
    write(&out, &format!("ns/pod/app/{META}"), "meta");
    assert!(matches!(inspect_report(&out), Ownership::Ours(_)));
    write(&out, "ns/pod/notes.txt", "mine");
    let Ownership::Foreign(why) = inspect_report(&out) else { panic!("it is the user's") };
    assert_eq!(why, "ns/pod/notes.txt in it was not made by podcov-collect");
}

#[test]
fn reports_of_earlier_versions_are_ours() {
    for version in 1..=VERSION {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("coverage");
        write(&out, "manifest.json", &report(version).to_string());
        write(&out, &format!("ns/pod/app/{META}"), "meta");
        assert_eq!(try_to_replace(&out), Exit::Done);
        assert_eq!(picture(dir.path()).len(), 2, "the folder and the new manifest");
    }
}

#[test]
fn a_file_where_the_folder_would_be_survives() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "out", "mine");
    assert_eq!(
        check_ours(&dir.path().join("out")).unwrap_err().downcast_ref::<Failure>().unwrap().exit(),
        Exit::Usage
    );
    assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "mine");
}

/// A report of ours in a folder.
fn own_report(out: &Path) -> OwnFolder {
    write(out, "manifest.json", &report(VERSION).to_string());
    write(out, &format!("ns/pod/app/{META}"), "meta");
    let Ownership::Ours(own) = inspect_report(out) else { panic!("it is ours") };
    own
}

#[test]
fn what_is_no_folder_is_not_ours() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "file", "mine");
    let why = |path: &str| match inspect_report(&dir.path().join(path)) {
        Ownership::Foreign(why) => why,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(why("file"), "it is not a folder");
    assert!(why("file/below").contains("file/below"), "nothing can be known of it");
    #[cfg(unix)]
    {
        own_report(&dir.path().join("out"));
        fs::os::unix::fs::symlink("out", dir.path().join("link")).unwrap();
        assert_eq!(why("link"), "it is not a folder");
    }
    assert!(matches!(inspect_report(&dir.path().join("new")), Ownership::Nothing));
}

/// A file of a staging folder has a coverage file's name, and is where podcov-collect puts such files.
#[test]
fn only_coverage_files_in_their_places_make_a_staging_folder_ours() {
    for (path, ours) in [
        (format!("ns/pod/app/{META}"), true),
        (format!("ns/pod/{META}"), false),
        (format!("ns/pod/app/deeper/{META}"), false),
        ("ns/pod/app/notes.txt".to_owned(), false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(
            dir.path(),
            "manifest.json",
            &json!({"version": VERSION, "podcov": "", "containers": []}).to_string(),
        );
        write(dir.path(), &path, "");
        assert_eq!(matches!(inspect_staging(dir.path()), Ownership::Ours(_)), ours, "{path}");
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(inspect_staging(dir.path()), Ownership::Nothing));
}

#[test]
fn what_is_gone_needs_no_removal_and_what_has_come_stays() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let own = own_report(&out);
    fs::remove_file(out.join("ns/pod/app").join(META)).unwrap();
    own.remove(&out).unwrap();
    assert!(!out.exists());

    let own = own_report(&out);
    fs::remove_file(out.join("ns/pod/app").join(META)).unwrap();
    write(&out, &format!("ns/pod/app/{META}/notes.txt"), "mine");
    let before = picture(&out);
    own.remove(&out).unwrap_err();
    assert_eq!(picture(&out), before, "with the manifest, that tells that the rest is ours");
}

#[cfg(target_os = "linux")]
#[test]
fn a_mount_is_seen() {
    assert!(is_mounted(Path::new("/proc"), Path::new("/")));
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("plain")).unwrap();
    assert!(!is_mounted(&dir.path().join("plain"), dir.path()));
    assert!(!is_mounted(&dir.path().join("nothing"), dir.path()));
}
