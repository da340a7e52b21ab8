//! The `go` command: builds the sample programs, runs them, and says what their coverage is.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use covdata::Profile;

/// The sources of a Go module in `tests/programs`.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// Runs `go` in a folder and gives what it printed.
pub(crate) fn go<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> String {
    let mut command = Command::new("go");
    // The toolchain on this machine, nothing from the network, no workspace around the module.
    command.envs([("GOTOOLCHAIN", "local"), ("GOPROXY", "off"), ("GOWORK", "off"), ("GO111MODULE", "on")]);
    command.env("GOFLAGS", "-buildvcs=false").env_remove("GOCOVERDIR").args(args).current_dir(dir);
    let output = command.output().expect("these tests need the `go` command, 1.20 or later, in PATH");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("go prints UTF-8")
}

/// Builds all commands of a module for coverage into the folder `bin`.
pub(crate) fn build(module: &Path, mode: &str, bin: &Path) {
    let (mode, bin) = (format!("-covermode={mode}"), format!("{}/", bin.display()));
    go(module, ["build", "-trimpath", "-cover", &mode, "-o", &bin, "./..."]);
}

/// Runs a program that was built for coverage, with a folder for its data.
pub(crate) fn run(bin: &Path, program: &str, args: &[&str], data: &Path) -> Output {
    fs_err::create_dir_all(data).expect("a folder for coverage data");
    let mut command = Command::new(bin.join(program));
    command.args(args).env("GOCOVERDIR", data).output().expect("the program was just built")
}

/// What `go tool covdata percent` prints for these folders.
pub(crate) fn percent(dirs: &[&Path]) -> String {
    go(Path::new("."), ["tool", "covdata", "percent", "-i", &join(dirs)])
}

/// The lines of `go tool covdata textfmt` for these folders, sorted.
pub(crate) fn textfmt(dirs: &[&Path]) -> Vec<String> {
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let out = out.path();
    go(Path::new("."), ["tool", "covdata", "textfmt", "-i", &join(dirs), "-o", &out.display().to_string()]);
    sorted(&fs_err::read_to_string(out).expect("go has written it"))
}

/// The same lines made from a profile.
pub(crate) fn lines(profile: &Profile) -> Vec<String> {
    let mut text = format!("mode: {}\n", profile.mode().expect("some meta-data"));
    for package in profile.packages() {
        for block in &package.blocks {
            let function = package.functions[block.function as usize];
            let (file, unit) = (&package.strings[function.file as usize], block.unit);
            let start = format!("{}.{}", unit.start_line, unit.start_column);
            let end = format!("{}.{}", unit.end_line, unit.end_column);
            text += &format!("{file}:{start},{end} {} {}\n", unit.statements, block.count);
        }
    }
    sorted(&text)
}

pub(crate) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn join(dirs: &[&Path]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(",")
}
