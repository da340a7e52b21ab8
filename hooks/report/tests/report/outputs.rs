//! Existing files are not damaged, whatever path is given for a result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use crate::Desk;

/// The content of a folder: for each path its kind, its permissions, and its content or its target.
type Content = BTreeMap<PathBuf, (&'static str, bool, Vec<u8>)>;

fn content(folder: &Path) -> Content {
    let mut out = Content::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(dir) = folders.pop() {
        for entry in fs_err::read_dir(&dir).expect("a file of this test's") {
            let path = entry.expect("a file of this test's").path();
            let about = fs_err::symlink_metadata(&path).expect("a file of this test's");
            let (kind, bytes) = if about.is_symlink() {
                (
                    "link",
                    fs_err::read_link(&path)
                        .expect("a file of this test's")
                        .into_os_string()
                        .into_encoded_bytes(),
                )
            } else if about.is_dir() {
                folders.push(path.clone());
                ("folder", Vec::new())
            } else {
                ("file", fs_err::read(&path).expect("a file of this test's"))
            };
            let read_only = !about.is_symlink() && about.permissions().readonly();
            out.insert(
                path.strip_prefix(folder).expect("a file of this test's").to_path_buf(),
                (kind, read_only, bytes),
            );
        }
    }
    out
}

/// Things that people have in their folders: a path, and its text; a link where that begins with `->`.
const THINGS: [(&str, &str); 20] = [
    ("manifest.json", "{\"name\":\"a web app\",\"version\":1}"),
    ("index.html", "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head></html>"),
    ("coverage.html", "<!DOCTYPE html>\n<p>of another tool</p>"),
    ("coverage.json", "{\"total\":{\"lines\":1}}"),
    ("coverage.xml", "<?xml version=\"1.0\"?><coverage version=\"7.4.0\"/>"),
    ("badge.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>"),
    ("README.md", "### Coverage\n"),
    ("main.go", "package main\n"),
    ("oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}"),
    ("index.json", "{\"schemaVersion\":2,\"manifests\":[]}"),
    ("blobs/sha256/0a", "a layer"),
    (".git/HEAD", "ref: refs/heads/main\n"),
    (".git/config", "[core]\n"),
    ("link.html", "->index.html"),
    ("up.json", "->../outside"),
    ("folder", "->../outside-folder"),
    ("nowhere.out", "->../missing/x"),
    ("read-only/notes.txt", "notes"),
    ("deep/x/.keep", "kept"),
    ("read-only.out", "mode: set\n"),
];

const COMMANDS: [&str; 14] = [
    "merge a b",
    "merge a b --pcombine",
    "merge a --pkg sample/lib",
    "subtract b a",
    "intersect b a",
    "textfmt a",
    "html a",
    "lcov a",
    "cobertura a",
    "json a",
    "markdown a",
    "badge a",
    "export a",
    "cobertura a --max-bytes 9000",
];

fn set_read_only(path: &Path, read_only: bool) {
    let mut permissions = fs_err::metadata(path).expect("a file of this test's").permissions();
    permissions.set_readonly(read_only);
    fs_err::set_permissions(path, permissions).expect("a file of this test's");
}

fn make(desk: &Desk, things: &[usize]) {
    fs_err::create_dir_all(desk.path("theirs")).expect("a file of this test's");
    desk.write("outside", "outside");
    desk.write("outside-folder/x", "outside");
    for &(name, text) in things.iter().map(|&number| &THINGS[number]) {
        let path = desk.path("theirs").join(name);
        fs_err::create_dir_all(path.parent().expect("a file of this test's")).expect("a file of this test's");
        match text.strip_prefix("->") {
            #[cfg(unix)]
            Some(to) => std::os::unix::fs::symlink(to, &path).expect("a file of this test's"),
            #[cfg(not(unix))]
            Some(_) => {}
            None => fs_err::write(&path, text).expect("a file of this test's"),
        }
        if name.starts_with("read-only") {
            set_read_only(&path, true);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn a_folder_of_others_survives(
        things in prop::sample::subsequence((0..THINGS.len()).collect::<Vec<_>>(), 1..THINGS.len()),
        command in prop::sample::select(COMMANDS.to_vec()),
        to in prop::option::of(0..THINGS.len()),
    ) {
        let desk = Desk::new();
        make(&desk, &things);
        // Into the folder, or where one of its things is, or would be.
        let to = to.map_or_else(|| "theirs".to_owned(), |number| format!("theirs/{}", THINGS[number].0));
        let before = content(&desk.path("."));
        let ended = desk.report(&format!("{command} -o {to}"));
        let after = content(&desk.path("."));
        for (path, was) in &before {
            prop_assert_eq!(Some(was), after.get(path), "{} -o {}: {}", command, to, path.display());
        }
        let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
        match ended.code {
            Some(0) => prop_assert!(!new.is_empty(), "{} -o {}", command, to),
            code => prop_assert_eq!((code, new), (Some(2), vec![]), "{} -o {}: {}", command, to, ended.stderr),
        }
        for (path, _) in after.iter().filter(|(_, (_, read_only, _))| *read_only) {
            set_read_only(&desk.path(".").join(path), false);
        }
    }
}

#[test]
fn a_report_of_the_same_kind_is_replaced() {
    let desk = Desk::new();
    for (command, file) in ["textfmt", "html", "lcov", "cobertura", "json", "markdown", "badge"]
        .map(|command| (command, format!("x.{command}")))
    {
        let make = |data: &str| desk.report(&format!("{command} {data} -o {file}"));
        assert_eq!(make("a").code, Some(0), "{command}");
        let first = desk.read(&file);
        assert_eq!(make("b").code, Some(0), "{command}");
        assert_ne!(desk.read(&file), first, "{command}");
        // So is what `mktemp` has made.
        desk.write(&file, "");
        assert_eq!(make("a").code, Some(0), "{command}");
        desk.write(&file, "what somebody has written\n");
        let ended = make("a");
        assert_eq!(
            (ended.code, desk.read(&file).as_str()),
            (Some(2), "what somebody has written\n"),
            "{command}"
        );
        assert!(ended.stderr.contains(&format!("{file} is there and is no ")), "{}", ended.stderr);
    }
    // Also under the name that is the default.
    desk.write("coverage.html", "<!DOCTYPE html>\n<html>of go tool cover</html>\n");
    assert_eq!(desk.report("html a").code, Some(2));
    assert!(desk.read("coverage.html").contains("of go tool cover"));
}

#[test]
fn results_are_not_added_to_coverage_files() {
    let desk = Desk::new();
    assert_eq!(desk.report("merge a -o merged").code, Some(0));
    let (before, total) = (content(&desk.path("merged")), desk.report("merged").stdout);
    for command in ["merge b", "merge b --pcombine", "subtract b a", "intersect b a"] {
        let ended = desk.report(&format!("{command} -o merged"));
        assert_eq!(ended.code, Some(2), "{command}");
        assert!(ended.stderr.contains("merged holds coverage files already, as cov"), "{}", ended.stderr);
    }
    assert_eq!((content(&desk.path("merged")), desk.report("merged").stdout), (before, total));
    assert_eq!(desk.report("merge a -o a/../shop/go.mod").code, Some(2));
    let ended = desk.report("textfmt a -o a/coverprofile.1.2");
    assert_eq!((ended.code, desk.path("a/coverprofile.1.2").exists()), (Some(2), false), "{}", ended.stderr);
}

#[cfg(unix)]
#[test]
fn links_and_file_descriptors() {
    let desk = Desk::new();
    let whole = desk.report("textfmt a").stdout;
    // A link to a file that is yet to come.
    std::os::unix::fs::symlink("later.out", desk.path("link")).unwrap();
    assert_eq!(desk.report("textfmt a -o link").code, Some(0));
    assert!(fs_err::symlink_metadata(desk.path("link")).unwrap().is_symlink());
    assert_eq!(desk.read("later.out"), whole);
    // Nobody else's temporary file is written, whatever number the process has.
    let theirs: Vec<String> =
        (0..200).map(|more| format!(".x.out.{}.tmp", std::process::id() + more)).collect();
    for name in &theirs {
        std::os::unix::fs::symlink("shop/go.mod", desk.path(name)).unwrap();
    }
    let module = desk.read("shop/go.mod");
    assert_eq!(desk.report("textfmt a -o x.out").code, Some(0));
    assert_eq!((desk.read("shop/go.mod"), desk.read("x.out")), (module, whole.clone()));
    // Somebody else has the descriptor open.
    let (out, said) = crate::covdata::shell(
        &desk,
        "exec 3>>log; echo before >&3; podcov-report textfmt a -o /dev/fd/3 && podcov-report badge a -o /dev/fd/3; \
         echo after >&3; cat log",
    );
    assert_eq!(said, "");
    assert!(out.starts_with(&format!("before\n{whole}<svg ")) && out.ends_with("</svg>\nafter\n"), "{out}");
}

/// As in a container: a mounted file is written in place, and files of other users are not.
#[cfg(target_os = "linux")]
#[test]
fn mount_points() {
    let desk = Desk::new();
    let in_namespace = |line: &str| {
        let mut command = std::process::Command::new("unshare");
        let line = format!("set -e; podcov_report={}; {line}", env!("CARGO_BIN_EXE_podcov-report"));
        crate::ended(command.args(["-rm", "sh", "-c", &line]).current_dir(desk.path(".")))
    };
    if in_namespace("mkdir m; mount -t tmpfs none m; umount m").code != Some(0) {
        eprintln!("skipped: no mounts may be made here");
        return;
    }
    desk.write("inner", "theirs\n");
    desk.write("outer.out", "mode: set\n");
    let ended =
        in_namespace("mount --bind inner outer.out; ! $podcov_report textfmt a -o outer.out; cat outer.out");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "theirs\n"), "{}", ended.stderr);
    desk.write("inner", "mode: set\n");
    let ended = in_namespace("mount --bind inner outer.out; $podcov_report textfmt a -o outer.out");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        (desk.read("inner"), desk.read("outer.out")),
        (desk.report("textfmt a").stdout, "mode: set\n".to_owned())
    );
    // A folder that is a mount point, with somebody's files.
    let ended = in_namespace(
        "mount -t tmpfs none m; echo theirs >m/index.html; $podcov_report merge a -o m; cat m/index.html",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "theirs\n"), "{}", ended.stderr);
}

/// Its coverage would be lost, and be there no more the next time.
#[test]
fn an_input_is_not_replaced() {
    let desk = Desk::new();
    for name in ["unit.out", "unit/coverage.out"] {
        fs_err::create_dir_all(desk.path("unit")).expect("a file of this test's");
        assert_eq!(desk.report(&format!("textfmt a -o {name}")).code, Some(0));
    }
    fs_err::hard_link(desk.path("unit.out"), desk.path("other.out")).expect("a file of this test's");
    assert_eq!(desk.report("json b -o before.json").code, Some(0));
    let before = content(&desk.path("."));
    for args in [
        "textfmt unit.out b -o unit.out",
        "textfmt unit.out b -o other.out",
        "textfmt -i unit.out,b -o ./unit.out",
        "percent unit.out b -o unit.out",
        "merge unit.out b -o unit.out",
        "export unit/coverage.out b -o unit",
        "textfmt --suite unit=unit.out --suite e2e=b -o {suite}.out",
        "textfmt --suite unit=unit.out --suite e2e=b -o unit.out",
        "json --suite unit=a --suite e2e=gone --carry e2e=before.json -o before.json",
    ] {
        let ended = desk.report(args);
        assert_eq!(ended.code, Some(2), "{args}: {ended:?}");
        assert!(ended.stderr.contains(" is an input as well"), "{args}: {}", ended.stderr);
        assert!(content(&desk.path(".")) == before, "{args}");
    }
}
