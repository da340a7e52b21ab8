//! No crate points up.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

/// The layers from below. A crate may use those of lower layers. Their tests may use any.
const LAYERS: [&[&str]; 10] = [
    // What the rest is made of: Go's formats, protocols, exit codes.
    &["covdata", "podcov-control", "podcov-exit", "podcov-spdy"],
    // What many files of one format are together, and what a process would write.
    &["livecov", "podcov-profile"],
    // One outside thing each: what is read, a cluster, storage, an archive.
    &["report", "podcov-cluster", "podcov-storage", "podcov-unpack"],
    // The ways into a container.
    &["podcov-reach"],
    // The command line.
    &["podcov-cli"],
    // The programs.
    &[
        "podcov-agent",
        "podcov-collect",
        "podcov-init",
        "podcov-inject",
        "podcov-report",
        "podcov-signal",
        "podcov-test",
    ],
    // Several of these in one process.
    &["podcov-run"],
    // What checks whether these have what they need.
    &["podcov-doctor"],
    // All of them in one program.
    &["podcov"],
    // What tests, the demo and releases need.
    &["podcov-e2e", "podcov-fuzz", "podcov-node", "podcov-packaging", "podcov-skaffold", "podcov-testbed"],
];

/// Where the command line begins.
const CLI: usize = 4;

/// What only the command line, programs and tests may use.
const FOR_CLI: [&str; 3] = ["clap", "indicatif", "tracing-subscriber"];

/// What `cargo metadata` knows of the workspace.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`.
    kind: Option<String>,
    optional: bool,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
    src_path: PathBuf,
}

fn packages() -> Vec<Package> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version=1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo is there");
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Metadata = serde_json::from_slice(&cargo.stdout).expect("cargo's format");
    metadata.packages
}

/// The roots of the packages' libraries and programs, with the package's name.
pub(crate) fn roots() -> Vec<(String, PathBuf)> {
    let mut roots = Vec::new();
    for package in packages() {
        for target in package.targets {
            if target.kind.iter().any(|kind| kind == "lib" || kind == "bin") {
                roots.push((package.name.clone(), target.src_path));
            }
        }
    }
    roots
}

/// Whether `package` may not depend on `name`.
fn is_wrong(layers: &[&[&str]], package: &str, name: &str, optional: bool) -> bool {
    let layer = |name: &str| layers.iter().position(|layer| layer.contains(&name));
    let own = layer(package).unwrap_or_else(|| panic!("{package} is in no layer"));
    match layer(name) {
        // Tests' crates use each other.
        Some(other) => other > own || (other == own && own + 1 < layers.len()),
        None => own < CLI && !optional && FOR_CLI.contains(&name),
    }
}

#[test]
fn no_crate_points_up() {
    let packages = packages();
    let mut names: Vec<_> = packages.iter().map(|package| package.name.as_str()).collect();
    let mut listed = LAYERS.concat();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed, "the layers do not list the workspace's packages");
    for Package { name, dependencies, .. } in &packages {
        let built = dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        let wrong: Vec<_> = built
            .filter(|dependency| is_wrong(&LAYERS, name, &dependency.name, dependency.optional))
            .map(|dependency| dependency.name.as_str())
            .collect();
        assert!(wrong.is_empty(), "{name} may not depend on {}", wrong.join(", "));
    }
}

#[test]
fn a_dependency_on_a_higher_layer_is_found() {
    let layers: [&[&str]; 6] =
        [&["low"], &["mid", "beside"], &["high"], &["higher"], &["cli"], &["tests", "demo"]];
    let wrong = |package, name, optional| is_wrong(&layers, package, name, optional);
    assert!(!wrong("mid", "low", false) && !wrong("tests", "demo", false) && !wrong("mid", "serde", false));
    assert!(wrong("low", "mid", false) && wrong("low", "high", true) && wrong("mid", "beside", false));
    assert!(wrong("mid", "clap", false) && !wrong("mid", "clap", true) && !wrong("cli", "clap", false));
}
