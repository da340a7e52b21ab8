//! One file, one name: programs that were built from files.

use std::path::Path;
use std::process::Command;

use crate::{Desk, copy, go};

fn empty_desk() -> Desk {
    Desk(tempfile::tempdir().expect("a temporary folder"))
}

/// Builds a program from files of a module that stands in the folder `workspace` for it, as an image's build does, and runs
/// it with a folder for its data.
fn built_from_files(desk: &Desk, module: &str, files: &[&str], data: &str) {
    let workspace = desk.path("workspace");
    copy(&desk.path(module), &workspace);
    let app = desk.path(&format!("{data}-app")).display().to_string();
    let built = go(&workspace, &[&["build", "-cover", "-o", &app], files].concat());
    assert_eq!(built.code, Some(0), "{built:?}");
    fs_err::remove_dir_all(workspace).expect("the copy can go");
    fs_err::create_dir_all(desk.path(data)).expect("a folder for coverage data");
    let ran =
        Command::new(app).env("GOCOVERDIR", desk.path(data)).output().expect("the program was just built");
    assert!(ran.status.success());
}

#[test]
fn a_program_built_from_files_and_its_unit_tests_have_the_file_once() {
    let desk = empty_desk();
    copy(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/covdata/tests/programs/fromfile"),
        &desk.path("ws"),
    );
    built_from_files(&desk, "ws", &["cmd/main.go"], "data");
    let tested = go(&desk.path("ws"), &["test", "-coverprofile=../unit.out", "./..."]);
    assert_eq!(tested.code, Some(0), "{tested:?}");
    let both = " 75.0%  3 of 4  example.com/ws/cmd\n 50.0%  1 of 2  example.com/ws/internal/x\n\
                coverage: 66.7% of statements\n";
    for inputs in ["data unit.out", "unit.out data"] {
        let ended = desk.report(inputs);
        assert_eq!(
            (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
            (Some(0), both, ""),
            "{inputs}"
        );
    }
    let path = desk.path("workspace/cmd/main.go").display().to_string();
    let ended = desk.report("data unit.out -v");
    assert!(
        ended.stderr.contains(&format!("{path} is reported as example.com/ws/cmd/main.go")),
        "{}",
        ended.stderr
    );
    let json: serde_json::Value = serde_json::from_str(&desk.report("json data unit.out").stdout).unwrap();
    assert_eq!(json["renamed"], serde_json::json!([{ "from": path, "to": "example.com/ws/cmd/main.go" }]));
    // Alone it is as Go has it.
    assert_eq!(desk.report("percent -i data").stdout, desk.covdata("percent -i data").stdout);
    // A text profile of the same program has its names, as a baseline too.
    assert_eq!(desk.report("textfmt data -o data.out").code, Some(0));
    assert_eq!(desk.report("data unit.out data.out").stdout, both);
    let ended = desk.report("gate data unit.out --baseline data.out --pkg example.com/ws/cmd");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    let ended = desk.report("markdown data unit.out --baseline data.out --pkg example.com/ws/cmd");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
    // Alone it tells of no module, but --map does.
    assert_eq!(desk.report("data.out unit.out").stdout.lines().count(), 4, "twice");
    let map = format!("--map {}=ws --root ws", desk.path("workspace").display());
    let ended = desk.report(&format!("data.out unit.out {map}"));
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), both), "{}", ended.stderr);
    let percent = desk.report(&format!("percent data {map}")).stdout;
    assert!(percent.starts_with("\texample.com/ws/cmd\t\tcoverage: 75.0%"), "{percent}");
}

#[test]
fn two_programs_built_at_one_path_stay_apart() {
    let desk = empty_desk();
    for (name, body) in [("a", "println(1)"), ("b", "println(2)\n\tprintln(3)")] {
        desk.write(&format!("{name}/go.mod"), &format!("module example.com/{name}\n\ngo 1.22\n"));
        desk.write(&format!("{name}/x/x.go"), &format!("package x\n\nfunc X() {{\n\t{body}\n}}\n"));
        // The first function is the same in both.
        desk.write(
            &format!("{name}/main.go"),
            &format!(
                "package main\n\nimport \"example.com/{name}/x\"\n\nfunc main() {{\n\trun()\n}}\n\nfunc run() {{\n\tx.X()\n\t{body}\n}}\n"
            ),
        );
        built_from_files(&desk, name, &["main.go"], &format!("data-{name}"));
    }
    let ended = desk.report("percent data-a data-b");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "\tcommand-line-arguments (example.com/a)\t\tcoverage: 100.0% of statements\n\
         \tcommand-line-arguments (example.com/b)\t\tcoverage: 100.0% of statements\n\
         \texample.com/a/x\t\tcoverage: 100.0% of statements\n\texample.com/b/x\t\tcoverage: 100.0% of statements\n"
    );
    let total = desk.report("data-a data-b").stdout;
    assert!(total.contains("3 of 3  command-line-arguments (example.com/a)"), "{total}");
    assert!(total.contains("4 of 4  command-line-arguments (example.com/b)"), "{total}");
    // The same program, built again from what was changed, is one.
    desk.write("a/x/x.go", "package x\n\nfunc X() {\n\tprintln(4)\n\tprintln(5)\n}\n");
    built_from_files(&desk, "a", &["main.go"], "data-later");
    let packages = desk.report("pkglist data-a data-later").stdout;
    assert_eq!(packages, "command-line-arguments\nexample.com/a/x\n");
}

#[test]
fn programs_of_which_nothing_tells_their_module_are_told_apart_by_their_blocks() {
    let desk = empty_desk();
    for (name, body) in [("a", "println(1)"), ("b", "println(2)\n\tprintln(3)")] {
        desk.write(&format!("{name}/go.mod"), &format!("module example.com/{name}\n\ngo 1.22\n"));
        desk.write(&format!("{name}/main.go"), &format!("package main\n\nfunc main() {{\n\t{body}\n}}\n"));
        built_from_files(&desk, name, &["main.go"], &format!("data-{name}"));
    }
    let ended = desk.report("data-a data-b");
    let warning = format!(
        "several programs were built from {}, and only their hashes tell them apart: they are reported separately. If \
         they are one program, its source was changed between the builds, and the statements of all versions count",
        desk.path("workspace/main.go").display()
    );
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [first, second, "coverage: 100.0% of statements"] = lines[..] else { panic!("{lines:?}") };
    let mut statements = [first, second].map(|line| line.split("  ").nth(1).unwrap().trim());
    statements.sort_unstable();
    assert_eq!(statements, ["1 of 1", "2 of 2"], "{lines:?}");
}

#[test]
fn of_two_programs_the_one_that_fits_the_mapped_source_has_its_name() {
    let desk = empty_desk();
    two_programs(&desk);
    let workspace = desk.path("workspace").display().to_string();
    let report = || desk.report(&format!("data-b data-a --map {workspace}=a --root a"));
    let ended = report();
    let x = "100.0%  1 of 1  example.com/a/x\n100.0%  1 of 1  example.com/b/x\n";
    let total = "coverage: 100.0% of statements\n";
    assert_eq!(
        ended.stdout,
        format!(
            "100.0%  3 of 3  command-line-arguments (example.com/b)\n100.0%  2 of 2  example.com/a\n{x}{total}"
        ),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("different programs"), "{}", ended.stderr);
    desk.write("a/main.go", "package main\n\nfunc main() {\n}\n");
    let ended = report();
    let apart = "100.0%  2 of 2  command-line-arguments (example.com/a)\n\
                 100.0%  3 of 3  command-line-arguments (example.com/b)\n";
    assert_eq!(ended.stdout, format!("{apart}{x}{total}"), "{}", ended.stderr);
    let warning = format!(
        "different programs were built from {workspace}/main.go, and the source does not tell which of them has \
         example.com/a/main.go: they are reported separately"
    );
    assert!(ended.stderr.contains(&warning), "{}", ended.stderr);
}

/// Two programs that were built at one path from different modules, whose first function is the same: `data-a`, `data-b`.
fn two_programs(desk: &Desk) {
    for (name, body) in [("a", "println(1)"), ("b", "println(2)\n\tprintln(3)")] {
        desk.write(&format!("{name}/go.mod"), &format!("module example.com/{name}\n\ngo 1.22\n"));
        desk.write(&format!("{name}/x/x.go"), "package x\n\nfunc X() {\n\tprintln(0)\n}\n");
        desk.write(
            &format!("{name}/main.go"),
            &format!(
                "package main\n\nimport \"example.com/{name}/x\"\n\nfunc main() {{\n\tx.X()\n\t{body}\n}}\n"
            ),
        );
        built_from_files(desk, name, &["main.go"], &format!("data-{name}"));
    }
}

#[test]
fn two_programs_built_at_one_path_are_not_combined_into_one() {
    let desk = empty_desk();
    two_programs(&desk);
    let ended = desk.report("merge data-a data-b -o out --pcombine");
    let path = desk.path("workspace/main.go").display().to_string();
    let message = format!("different programs were built from {path}, which would be one file in one binary");
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains(&message), "{}", ended.stderr);
    assert!(!desk.path("out").exists());
    // What is left out, and one program, can be.
    for args in ["data-a data-b -o x --pkg example.com/...", "data-a -o a"] {
        let ended = desk.report(&format!("merge --pcombine {args}"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args}");
    }
    assert_eq!(desk.report("pkglist x").stdout, "example.com/a/x\nexample.com/b/x\n");
}

#[test]
fn sets_of_programs_built_at_one_path_have_one_name_for_each() {
    let desk = empty_desk();
    two_programs(&desk);
    fs_err::create_dir(desk.path("both")).expect("a new folder");
    for name in ["data-a", "data-b"] {
        copy(&desk.path(name), &desk.path("both"));
    }
    // Only main.go of program a is in both inputs: what ran of it.
    assert_eq!(desk.report("intersect data-a both -o common").code, Some(0));
    let covered = |folder: &str| desk.report(&format!("percent {folder}")).stdout;
    assert_eq!(covered("common"), covered("data-a"));
    assert!(
        covered("common").contains("command-line-arguments\t\tcoverage: 100.0%"),
        "{}",
        covered("common")
    );
    assert_eq!(desk.report("subtract data-a both -o rest").code, Some(0));
    assert!(covered("rest").contains("command-line-arguments\t\tcoverage: 0.0%"), "{}", covered("rest"));
}
