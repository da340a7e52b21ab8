//! Profiles for the examples, without the one that they have, and for other kinds of projects.

use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A copy of an example, without its profiles.
fn example(name: &str) -> TempDir {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let dir = tempfile::tempdir().expect("a folder");
    let copied = Command::new("cp").arg("-r").arg(top.join("examples").join(name)).arg(dir.path()).status();
    assert!(copied.expect("cp").success());
    let config = dir.path().join(name).join("skaffold.yaml");
    let text = fs::read_to_string(&config).expect("a file");
    let (without, _) = text.split_once("profiles:\n").expect("the example has a profile");
    fs::write(config, without).expect("a file");
    dir
}

fn init(folder: &Path, line: &str, command: &[&str]) -> Output {
    let mut init = Command::new(env!("CARGO_BIN_EXE_podcov-init"));
    init.args(line.split_whitespace())
        .arg("--")
        .args(command)
        .current_dir(folder)
        .output()
        .expect("cargo has built it")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Applies what is shown by git, and compares that with what `--write` makes of the same project. Gives the configuration.
fn applied(folder: &Path, line: &str) -> Value {
    let tests = ["go", "test", "./integration/..."];
    let shown = init(folder, line, &tests);
    assert!(shown.status.success(), "{shown:?}");
    let read = || -> Vec<String> {
        let files = ["skaffold.yaml", "Dockerfile"].map(|name| folder.join(name));
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    };
    let before = read();
    let patch = tempfile::NamedTempFile::new().expect("a file");
    fs::write(patch.path(), &shown.stdout).expect("a file");
    let git = |flags: &[&str]| {
        let mut git = Command::new("git");
        let output =
            git.arg("apply").args(flags).arg(patch.path()).current_dir(folder).output().expect("git");
        assert!(output.status.success(), "{}\n{}", text(&output.stderr), text(&shown.stdout));
    };
    git(&[]);
    let patched = read();
    assert_ne!(patched, before);
    git(&["--reverse"]);
    assert_eq!(read(), before);
    let written = init(folder, &format!("--write {line}"), &tests);
    assert!(written.status.success() && written.stdout.is_empty(), "{written:?}");
    assert_eq!(read(), patched);
    serde_saphyr::from_str(&patched[0]).expect("YAML")
}

fn hook(target: &str, port: &str) -> Value {
    json!({"host": {"command": ["podcov", "run", target, port, "--", "go", "test", "./integration/..."]}})
}

#[test]
fn the_examples() {
    for (name, line, target, port, artifacts) in [
        (
            "zero-touch",
            "",
            "service/zero-touch",
            "80",
            json!([{"image": "zero-touch", "context": ".", "ko": {"flags": ["-cover"]}}]),
        ),
        (
            "system",
            "",
            "service/system",
            "80",
            json!([{"image": "system", "context": ".", "ko": {"flags": ["-cover"]}}]),
        ),
        (
            "wrapper",
            "",
            "service/wrapper",
            "80",
            json!([{"image": "wrapper", "context": ".", "ko": {"flags": ["-cover"]}}]),
        ),
        (
            "services",
            "--target service/cart",
            "service/cart",
            "8080",
            json!([
                {"image": "catalog", "context": ".", "ko": {"main": "./catalog", "flags": ["-cover"]}},
                {"image": "cart", "context": ".", "ko": {"main": "./cart", "flags": ["-cover"]}},
            ]),
        ),
    ] {
        let dir = example(name);
        let folder = dir.path().join(name);
        let config = applied(&folder, line);
        let profile = json!({
            "name": "coverage", "build": {"artifacts": artifacts},
            "deploy": {"kubectl": {"hooks": {"after": [hook(target, port)]}}},
        });
        assert_eq!(config["profiles"], json!([profile]), "{name}");
        // A second one of this name is not made.
        let again = init(&folder, line, &["true"]);
        assert_eq!(again.status.code(), Some(2), "{again:?}");
        assert!(text(&again.stderr).contains("has a profile coverage already"), "{again:?}");
    }
}

/// What the page shows.
#[test]
fn the_profile_in_the_page() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/get-started.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, shown) = page.split_once("```diff\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let dir = example("zero-touch");
    let printed = init(&dir.path().join("zero-touch"), "", &["go", "test", "-count=1", "./integration/..."]);
    assert!(printed.status.success(), "{printed:?}");
    assert_eq!(text(&printed.stdout), shown);
}

/// A project with these files.
fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let file = dir.path().join(name);
        fs::create_dir_all(file.parent().expect("a folder")).expect("a file");
        fs::write(file, text).expect("a file");
    }
    dir
}

const SERVICE: &str = "kind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n";

#[test]
fn a_dockerfile_and_a_profile_that_is_there() {
    let config = "# Kept\nbuild:\n  artifacts:\n  - image: web\n  - image: assets\n    custom: {buildCommand: ./assets}\nprofiles:\n- name: dev\n";
    let dockerfile =
        "FROM golang AS build\nRUN go build -o /web .\nFROM scratch\nCOPY --from=build /web /web\n";
    let dir = project(&[("skaffold.yaml", config), ("Dockerfile", dockerfile), ("k8s/web.yaml", SERVICE)]);
    let config = applied(dir.path(), "");
    assert_eq!(config["profiles"][0], json!({"name": "dev"}));
    let profile = &config["profiles"][1];
    assert_eq!(profile["build"]["artifacts"][0]["docker"]["buildArgs"], json!({"GO_BUILD_FLAGS": "-cover"}));
    assert_eq!(profile["build"]["artifacts"][1]["custom"], json!({"buildCommand": "./assets"}));
    assert_eq!(profile["deploy"]["kubectl"]["hooks"]["after"], json!([hook("service/web", "80")]));
    let edited = fs::read_to_string(dir.path().join("Dockerfile")).unwrap();
    assert!(edited.contains("ARG GO_BUILD_FLAGS\nRUN go build $GO_BUILD_FLAGS -o /web .\n"), "{edited}");
    assert!(fs::read_to_string(dir.path().join("skaffold.yaml")).unwrap().starts_with("# Kept\n"));
}

#[test]
fn a_helm_chart() {
    let config = "build: {artifacts: [{image: web, ko: {}}]}\ndeploy: {helm: {releases: [{name: web, chartPath: chart}]}}\n";
    let dir = project(&[("skaffold.yaml", config)]);
    let config = applied(dir.path(), "--target service/web --port http");
    let helm = &config["profiles"][0]["deploy"]["helm"];
    assert_eq!(helm["releases"], json!([{"name": "web", "chartPath": "chart"}]));
    assert_eq!(helm["hooks"]["after"], json!([hook("service/web", "http")]));
}

/// Several modules in one file, and manifests as Skaffold had them up to v2beta29.
#[test]
fn a_module_with_manifests_at_its_deployer() {
    let first = "metadata: {name: tools}\ndeploy: {kubectl: {}}\n";
    let second = "metadata: {name: web}\nbuild:\n  artifacts:\n  - image: web\n    ko: {}\ndeploy:\n  kubectl:\n    manifests:\n    - deploy/*.yaml\n";
    let config = format!("{first}---\n{second}---\n{first}");
    let dir = project(&[("skaffold.yaml", &config), ("deploy/web.yaml", SERVICE)]);
    let made = init(dir.path(), "--write", &["true"]);
    assert!(made.status.success(), "{made:?}");
    let written = fs::read_to_string(dir.path().join("skaffold.yaml")).unwrap();
    let profile = written.strip_prefix(&format!("{first}---\n{second}")).expect("what was there stays");
    let profile = profile.strip_suffix(&format!("---\n{first}")).expect("what was there stays");
    let profile: Value = serde_saphyr::from_str(profile).unwrap();
    let kubectl = &profile["profiles"][0]["deploy"]["kubectl"];
    assert_eq!(kubectl["manifests"], json!(["deploy/*.yaml"]));
    assert_eq!(
        kubectl["hooks"]["after"][0]["host"]["command"],
        json!(["podcov", "run", "service/web", "80", "--", "true"])
    );
    let named = init(dir.path(), "--module tools --no-target", &["true"]);
    assert!(text(&named.stderr).contains("no artifact can be built with -cover: there is none"), "{named:?}");
}

#[test]
fn tests_without_a_target_and_a_file_that_only_requires_others() {
    let config = "build: {artifacts: [{image: worker, ko: {}}]}\n";
    let dir = project(&[("skaffold.yaml", config), ("k8s/pod.yaml", "kind: Pod\n")]);
    let config = applied(dir.path(), "--no-target");
    let command = json!(["podcov", "run", "--", "go", "test", "./integration/..."]);
    assert_eq!(config["profiles"][0]["deploy"]["kubectl"]["hooks"]["after"][0]["host"]["command"], command);
    let dir = project(&[("skaffold.yaml", "requires:\n- path: ./cart\n- path: ./web\n")]);
    let failed = init(dir.path(), "", &["true"]);
    assert_eq!(
        text(&failed.stderr),
        "podcov-init: error: skaffold.yaml builds no artifacts itself\n\
         podcov-init: hint: give the one that does with --filename; it requires ./cart, ./web\n"
    );
}

/// Each error names the choices, and the flag.
#[test]
fn what_is_not_known_is_not_guessed() {
    let ko = "build: {artifacts: [{image: web, ko: {}}]}\n";
    let both = &*format!("{ko}deploy: {{kubectl: {{}}, helm: {{}}}}\n");
    let two = &*format!("{SERVICE}---\n{}", SERVICE.replace("web", "cart"));
    let ports = &*SERVICE.replace("[{port: 80}]", "[{port: 80}, {port: 81}]");
    let custom = "build: {artifacts: [{image: web, custom: {}}]}\n";
    for (config, services, command, error, hint) in [
        (
            ko,
            SERVICE,
            "",
            "the command that runs the tests is not known",
            "write it at the end: podcov-init -- ",
        ),
        (
            ko,
            two,
            "true",
            "which of these the tests are run against is not known: service/web port 80, service/cart port 80",
            "name one with --target and --port",
        ),
        (
            ko,
            ports,
            "true",
            "which of these the tests are run against is not known: service/web port 80, service/web port 81",
            "name one with --target and --port",
        ),
        (
            ko,
            "kind: Pod\n",
            "true",
            "the manifests have no service with a port",
            "--target KIND/NAME --port PORT",
        ),
        (
            both,
            SERVICE,
            "true",
            "the services of the manifests are not known: a Helm chart makes them",
            "--target",
        ),
        (
            custom,
            SERVICE,
            "true",
            "no artifact can be built with -cover: artifact web is left as it is: its builder is custom",
            "by hand",
        ),
    ] {
        let dir = project(&[("skaffold.yaml", config), ("k8s/web.yaml", services)]);
        let words: Vec<&str> = command.split_whitespace().collect();
        let failed = init(dir.path(), "", &words);
        let stderr = text(&failed.stderr);
        assert_eq!((failed.status.code(), text(&failed.stdout).as_str()), (Some(2), ""), "{stderr}");
        assert!(stderr.starts_with(&format!("podcov-init: error: {error}")), "{stderr}");
        assert!(stderr.lines().nth(1).is_some_and(|line| line.contains(hint)), "{stderr}");
        assert_eq!(fs::read_to_string(dir.path().join("skaffold.yaml")).unwrap(), config);
    }
    let dir = project(&[("skaffold.yaml", both)]);
    let failed = init(dir.path(), "--target service/web --port 80", &["true"]);
    assert!(
        text(&failed.stderr)
            .contains("which deployer's hooks are to run the tests is not known: helm, kubectl"),
        "{failed:?}"
    );
    assert!(
        init(dir.path(), "--target service/web --port 80 --deployer kubectl", &["true"]).status.success()
    );
}
