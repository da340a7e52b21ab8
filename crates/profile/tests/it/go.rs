//! Builds and runs the sample programs with the `go` command, and gets Go's results for their coverage.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use podcov_profile::{Builder, Data, Findings, Problem, Profile};

/// The profile and the problems of a builder's files. Names are borrowed from the files, which stay in memory until the
/// process ends.
pub(crate) fn read(builder: Builder) -> (Profile<'static>, Vec<Problem>) {
    let (data, problems) = Box::leak(Box::new(builder.load())).read();
    let data: &Data<'_> = Box::leak(Box::new(data));
    let profile = data.profile();
    // The results that are made package by package are the same.
    assert_eq!(data.percent(|_| true).0, profile.percent());
    let written = |write: &dyn Fn(&mut Vec<u8>) -> std::io::Result<Findings<'static>>| {
        let mut text = Vec::new();
        write(&mut text).expect("memory takes everything");
        String::from_utf8(text).expect("text")
    };
    assert_eq!(written(&|text| data.write_functions(|_| true, text)), profile.functions().to_string());
    assert_eq!(written(&|lines| data.write_text(|_| true, lines)), text(&profile));
    (profile, problems)
}

/// The profile and the problems of folders.
pub(crate) fn read_dirs<P: AsRef<Path>>(
    dirs: impl IntoIterator<Item = P>,
) -> (Profile<'static>, Vec<Problem>) {
    let mut builder = Builder::new();
    dirs.into_iter().for_each(|dir| builder.add_dir(dir));
    read(builder)
}

/// The sources of a Go module in `tests/programs`.
pub(crate) fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../covdata/tests/programs").join(name)
}

/// Runs `go` in a folder and gives what it printed.
pub(crate) fn go<S: AsRef<std::ffi::OsStr>>(dir: &Path, args: impl IntoIterator<Item = S>) -> String {
    // The toolchain on this machine, nothing from the network.
    go_with(&[("GOTOOLCHAIN", "local"), ("GOPROXY", "off")], dir, args)
}

fn go_with<S: AsRef<std::ffi::OsStr>>(
    environment: &[(&str, &str)],
    dir: &Path,
    args: impl IntoIterator<Item = S>,
) -> String {
    let mut command = Command::new("go");
    // No workspace around the module.
    command.envs([("GOWORK", "off"), ("GO111MODULE", "on"), ("GOFLAGS", "-buildvcs=false")]);
    command.envs(environment.iter().copied()).env_remove("GOCOVERDIR").args(args).current_dir(dir);
    let output = command.output().expect("these tests need the `go` command, 1.24 or later, in PATH");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("go prints UTF-8")
}

/// Builds all commands of a module for coverage into the folder `bin`.
pub(crate) fn build(module: &Path, mode: &str, bin: &Path) {
    build_with(&[("GOTOOLCHAIN", "local"), ("GOPROXY", "off")], module, mode, bin);
}

/// As [`build`], with another toolchain, which the `go` command fetches, or other settings.
pub(crate) fn build_with(environment: &[(&str, &str)], module: &Path, mode: &str, bin: &Path) {
    let (mode, bin) = (format!("-covermode={mode}"), format!("{}/", bin.display()));
    go_with(environment, module, ["build", "-trimpath", "-cover", &mode, "-o", &bin, "./..."]);
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

/// What `go tool covdata textfmt` writes for these folders.
pub(crate) fn textfmt(dirs: &[&Path]) -> String {
    let out = tempfile::NamedTempFile::new().expect("a temporary file");
    let out = out.path();
    go(Path::new("."), ["tool", "covdata", "textfmt", "-i", &join(dirs), "-o", &out.display().to_string()]);
    fs_err::read_to_string(out).expect("go has written it")
}

/// What `go tool covdata func` prints for these folders.
pub(crate) fn func(dirs: &[&Path]) -> String {
    go(Path::new("."), ["tool", "covdata", "func", "-i", &join(dirs)])
}

/// The text profile of a profile.
pub(crate) fn text(profile: &Profile<'_>) -> String {
    let mut text = Vec::new();
    profile.write_text(&mut text).expect("memory takes everything");
    String::from_utf8(text).expect("names are UTF-8")
}

/// The total that `go tool cover -func` prints for a text profile, in the module it is of.
pub(crate) fn cover_total(module: &Path, profile: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs_err::write(file.path(), profile).expect("a temporary file can be written");
    let table = go(module, ["tool", "cover", &format!("-func={}", file.path().display())]);
    table.split_whitespace().last().expect("a total").to_owned()
}

/// Runs `go tool covdata` with input folders and an output folder, which it makes.
pub(crate) fn covdata(command: &str, dirs: &[&Path], flags: &[&str], out: &Path) {
    fs_err::create_dir(out).expect("a new folder");
    let (dirs, out) = (join(dirs), out.display().to_string());
    let args = ["tool", "covdata", command, "-i", &dirs, "-o", &out];
    go(Path::new("."), args.into_iter().chain(flags.iter().copied()));
}

pub(crate) fn join(dirs: &[&Path]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(",")
}
