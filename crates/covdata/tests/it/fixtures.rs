//! The committed files, also for the tests of podcov-profile.

use std::path::{Path, PathBuf};

use covdata::{FileName, MetaFile};

pub(crate) const FOLDERS: [&str; 4] = ["set", "count", "atomic", "go1.20"];

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../covdata/tests/fixtures").join(name)
}

/// The coverage files of a fixture folder, by name.
pub(crate) fn files(name: &str) -> Vec<(FileName, Vec<u8>)> {
    let entries = fs_err::read_dir(folder(name)).expect("a fixture folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = paths
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.parse().ok()?;
            Some((name, fs_err::read(path).expect("a fixture")))
        })
        .collect();
    files.sort();
    assert_eq!(files.len(), 5, "{name}: two binaries, three runs");
    files
}

/// The meta-data file of a fixture folder's command, by the name of its main package's folder.
pub(crate) fn meta(name: &str, command: &str) -> (FileName, Vec<u8>) {
    let path = format!("sample/cmd/{command}");
    let has =
        |bytes: &[u8]| MetaFile::parse(bytes).is_ok_and(|file| file.packages.iter().any(|p| p.path == path));
    files(name).into_iter().find(|(_, bytes)| has(bytes)).expect("the command's meta-data")
}
