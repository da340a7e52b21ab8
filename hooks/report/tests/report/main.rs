//! podcov-report as a whole program, beside Go's own tools where these do the same.

mod cobertura;
mod config;
mod covdata;
mod formats;
mod gaps;
mod gates;
mod identity;
mod ignored;
mod large;
mod outputs;
mod releases;
mod selection;
mod sources;
mod suites;
mod workflow;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// A folder with a Go module, what runs of its commands left, and room for results.
struct Desk(TempDir);

/// How a program ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Desk {
    /// The sample module, built for coverage and run: `one` in the folder `a`, `two` and `three` in `b`.
    fn new() -> Self {
        // Built once: the programs hold no path.
        static BUILT: OnceLock<PathBuf> = OnceLock::new();
        let built = BUILT.get_or_init(|| made_once("sample", &files(&sample()), build_and_run));
        let dir = tempfile::tempdir().expect("a temporary folder");
        for folder in ["shop", "a", "b"] {
            copy(&built.join(folder), &dir.path().join(folder));
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs podcov-report in this folder, with arguments separated by spaces.
    fn report(&self, args: &str) -> Ended {
        self.report_in(".", args)
    }

    /// As [`report`](Self::report), in a folder of this one.
    fn report_in(&self, folder: &str, args: &str) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podcov-report"));
        command.args(args.split_whitespace()).current_dir(self.path(folder));
        for variable in ["SKAFFOLD_RUN_ID", "SKAFFOLD_WORK_DIR", "PODCOV_STATE_DIR", "GOWORK"] {
            command.env_remove(variable);
        }
        ended(&mut command)
    }

    /// Runs `go tool covdata` in this folder.
    fn covdata(&self, args: &str) -> Ended {
        let args: Vec<&str> = ["tool", "covdata"].into_iter().chain(args.split_whitespace()).collect();
        go(self.0.path(), &args)
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).expect("a file of this test's")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder of this test's");
        fs_err::write(path, text).expect("a file of this test's");
    }
}

/// Builds the sample module in a folder, and runs its commands.
fn build_and_run(dir: &Path) {
    copy(&sample(), &dir.join("shop"));
    let bin = format!("{}/", dir.join("bin").display());
    let flags = ["build", "-trimpath", "-cover", "-covermode=count", "-o", &bin, "./..."];
    assert_eq!(go(&dir.join("shop"), &flags).code, Some(0));
    for (data, program, args) in [
        ("a", "one", &["add", "x"][..]),
        ("a", "one", &["join", "--token=secret"]),
        ("b", "two", &[]),
        ("b", "three", &[]),
    ] {
        let data = dir.join(data);
        fs_err::create_dir_all(&data).expect("a folder for coverage data");
        let mut command = Command::new(dir.join("bin").join(program));
        command.args(args).env("GOCOVERDIR", data);
        assert!(command.output().expect("the program was just built").status.success());
    }
}

/// The path of a folder that `make` has filled, once for each release of Go and each `key`. Later test processes use it
/// again, so it is below the build's folder: a temporary folder in a `static` would never be removed.
fn made_once(name: &str, key: &impl Hash, make: impl FnOnce(&Path)) -> PathBuf {
    let mut hash = DefaultHasher::new();
    (go(Path::new("."), &["version"]).stdout, key).hash(&mut hash);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = root.join(format!("{name}-{:016x}", hash.finish()));
    if !folder.exists() {
        fs_err::create_dir_all(root).expect("the tests' folder");
        let new = tempfile::tempdir_in(root).expect("a temporary folder");
        make(new.path());
        let renamed = fs_err::rename(new.path(), &folder);
        assert!(renamed.is_ok() || folder.exists(), "{renamed:?}");
    }
    folder
}

/// Runs `go` with the toolchain on this machine and nothing from the network.
fn go(dir: &Path, args: &[&str]) -> Ended {
    let mut command = Command::new("go");
    command.envs([
        ("GOTOOLCHAIN", "local"),
        ("GOPROXY", "off"),
        ("GOWORK", "off"),
        ("GOFLAGS", "-buildvcs=false"),
    ]);
    ended(command.args(args).current_dir(dir))
}

fn ended(command: &mut Command) -> Ended {
    let output = command.output().expect("the program is there");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The sources of the sample module.
fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/covdata/tests/programs/sample")
}

/// The files in a folder and in the folders in it, and their content, in order.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs_err::read_dir(folder).expect("a folder");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let files = paths.into_iter().flat_map(|path| match path.is_dir() {
        true => files(&path),
        false => vec![(path.clone(), fs_err::read(path).expect("a file"))],
    });
    files.collect()
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).expect("a new folder");
    for entry in fs_err::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs_err::copy(entry.path(), target).expect("a copy");
        }
    }
}
