//! The examples for GitHub and GitLab: their lines that call podcov-report do what they say.

use std::path::Path;
use std::process::Command;

use crate::{Desk, copy, ended};

#[test]
fn every_line_for_github_runs() {
    every_line_runs("github/coverage.yaml", 8);
}

#[test]
fn every_line_for_gitlab_runs() {
    every_line_runs("gitlab/coverage.yml", 4);
}

fn every_line_runs(example: &str, count: usize) {
    let desk = Desk::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(example);
    let workflow = fs_err::read_to_string(&file).expect("a file of this test's");
    let lines: Vec<&str> = workflow
        .lines()
        .map(|line| line.trim().trim_start_matches("run: ").trim_start_matches("- "))
        .filter(|line| line.split(' ').next() == Some("podcov-report"))
        .collect();
    assert_eq!(lines.len(), count, "{lines:?}");

    // A clone of a repository whose main branch lacks what is new in it, and what the tests have left there.
    let git = |args: &str| {
        let mut command = Command::new("git");
        command.args([
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@example.com",
            "-c",
            "init.defaultBranch=main",
        ]);
        let ended = ended(command.args(args.split_whitespace()).current_dir(desk.path("shop")));
        assert_eq!(ended.code, Some(0), "git {args}: {}", ended.stderr);
    };
    fs_err::rename(desk.path("shop/native/cgo.go"), desk.path("cgo.go")).expect("a file of this test's");
    git("init -q");
    git("add -A");
    git("commit -qm main");
    git("update-ref refs/remotes/origin/main HEAD");
    fs_err::rename(desk.path("cgo.go"), desk.path("shop/native/cgo.go")).expect("a file of this test's");
    let config = file.with_file_name("podcov.toml");
    if config.exists() {
        fs_err::copy(config, desk.path("shop/podcov.toml")).expect("a file of this test's");
    }
    git("add -A");
    git("commit -qm change");
    copy(&desk.path("b"), &desk.path("shop/reports/coverage/default/pod/app"));
    desk.covdata("textfmt -i a -o shop/unit.out");
    fs_err::create_dir(desk.path("shop/baseline")).expect("a file of this test's");

    let path = Path::new(env!("CARGO_BIN_EXE_podcov-report")).parent().expect("a folder");
    for line in lines {
        let mut shell = Command::new("sh");
        shell.args(["-ec", line]).current_dir(desk.path("shop")).env(
            "PATH",
            std::env::join_paths(
                [path.to_path_buf()]
                    .into_iter()
                    .chain(std::env::split_paths(&std::env::var_os("PATH").expect("a file of this test's"))),
            )
            .expect("a file of this test's"),
        );
        shell.env("GITHUB_STEP_SUMMARY", desk.path("summary.md")).env("GITHUB_REPOSITORY", "acme/shop");
        shell.env("CI_MERGE_REQUEST_DIFF_BASE_SHA", "origin/main").env("CI_PROJECT_PATH", "acme/shop");
        let ended = ended(&mut shell);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{line}\n{}", ended.stdout);
        if line == "podcov-report" {
            let columns: Vec<&str> =
                ended.stdout.lines().next().unwrap_or_default().split_whitespace().collect();
            assert_eq!(columns, ["total", "unit", "integration"]);
            let percentage = ended.stdout.lines().last().and_then(|line| line.strip_prefix("coverage: "));
            assert!(percentage.is_some_and(|line| line.ends_with("% of statements")), "{}", ended.stdout);
        }
        if line.contains(" json ") {
            fs_err::copy(desk.path("shop/coverage.json"), desk.path("shop/baseline/coverage.json"))
                .expect("a file of this test's");
        }
    }
    if example.starts_with("github") {
        let summary = desk.read("summary.md");
        assert!(summary.starts_with("### Go coverage: "), "{summary}");
        assert!(summary.contains("| `unit` |") && summary.contains("| `integration` |"), "{summary}");
        for file in ["coverage-unit.xml", "coverage-integration.xml"] {
            assert!(desk.read(&format!("shop/{file}")).contains("<coverage "), "{file}");
        }
        for file in ["coverage-unit.info", "coverage-integration.info"] {
            assert!(desk.read(&format!("shop/{file}")).starts_with("TN:"), "{file}");
        }
    } else {
        assert!(desk.read("shop/coverage-1.xml").contains("filename=\"native/cgo.go\""));
    }
    assert!(desk.read("shop/coverage.html").contains("acme/shop"));
}
