//! Gates, and the lines changed since a revision.

use std::process::Command;

use serde_json::{Value, json};

use crate::{Desk, copy};

#[test]
fn what_falls_short() {
    let desk = Desk::new();
    // Three: 14 of 14. Native: 3 of 3. Shapes: 33 of 39, a.go 16 of 17, b.go 17 of 22. Two: 3 of 3. Lib: by Go.
    let gate = |args: &str| {
        desk.report_in("shop", &format!("gate ../b --pkg sample/cmd/three,sample/shapes {args}"))
    };
    let ended = gate("--fail-under 88 --fail-under-package 84% --fail-under-file 77.2");
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "coverage: 88.7% of statements\nall coverage gates passed\n")
    );
    let ended = gate("--fail-under 88.7 --fail-under-package 85 --fail-under-file 80");
    assert_eq!(ended.code, Some(1));
    assert_eq!(
        ended.stdout,
        "88.68% < 88.70%  total: 47 of 53\n 84.6% < 85.0%   package sample/shapes: 33 of 39\n\
         \u{20}77.3% < 80.0%   file shapes/b.go: 17 of 22\n3 coverage gates failed\n"
    );
    for (args, says) in [
        ("", "no gate is given"),
        ("--fail-under 101", "must be from 0 to 100"),
        ("--fail-under x", "not a percentage"),
        ("--allow-decrease 1 --fail-under 1", "--baseline"),
        ("--baseline missing", "cannot read the baseline"),
        ("--baseline go.mod", "neither what `podcov-report json` writes nor a text profile"),
    ] {
        let ended = gate(args);
        assert_eq!(ended.code, Some(2), "{args}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args}: {}", ended.stderr);
    }
}

#[test]
fn the_result_as_json() {
    let desk = Desk::new();
    assert_eq!(desk.report("json b --pkg sample/cmd/three -o before.json").code, Some(0));
    let gate = |args: &str| {
        let args = format!("gate ../b --pkg sample/cmd/three,sample/shapes --json {args}");
        let ended = desk.report_in("shop", &args);
        (ended.code, serde_json::from_str::<Value>(&ended.stdout).expect("a document"))
    };
    let (code, found) =
        gate("--fail-under 80 --fail-under-file 80 --baseline ../before.json --allow-decrease 1");
    assert_eq!(code, Some(1));
    let percent = |covered: u32, total: u32| 100.0 * f64::from(covered) / f64::from(total);
    let part = |name: &str, covered: u32, total: u32, passed: bool| {
        json!({
            "name": name, "covered": covered, "total": total, "percent": percent(covered, total), "passed": passed,
        })
    };
    assert_eq!(
        found,
        json!({
            "version": 1, "podcov": env!("CARGO_PKG_VERSION"), "passed": false, "complete": true,
            "covered": 47, "statements": 53, "percent": percent(47, 53), "ignored_statements": 0,
            "rules": [
                {"rule": "fail-under", "required": 80.0, "unit": "statements", "passed": true, "parts": [part("total", 47, 53, true)]},
                {"rule": "baseline", "required": 99.0, "because": "the baseline has 100.0%, 1 points less allowed",
                 "unit": "statements", "passed": false, "parts": [part("total", 47, 53, false)]},
                {"rule": "fail-under-file", "required": 80.0, "unit": "statements", "passed": false, "parts": [
                    part("cmd/three/main.go", 14, 14, true),
                    part("shapes/a.go", 16, 17, true),
                    part("shapes/b.go", 17, 22, false),
                ]},
            ],
            "require_all_packages": false, "packages_without_data": [],
        })
    );
    let (code, found) = gate("--fail-under 80");
    assert_eq!((code, &found["passed"]), (Some(0), &true.into()));
    let ended = desk.report("gate b missing --fail-under 80 --json --pkg sample/cmd/three");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &found["passed"], &found["complete"]), (Some(4), &true.into(), &false.into()));
}

#[test]
fn a_baseline() {
    let desk = Desk::new();
    // As some editors and shells write it.
    let mark = |file: &str| desk.write(&format!("marked.{file}"), &format!("\u{feff}{}", desk.read(file)));
    for (file, args) in [("before.json", "json b -o before.json"), ("before.out", "textfmt b -o before.out")]
    {
        assert_eq!(desk.report(args).code, Some(0));
        assert_eq!(desk.report(&format!("gate b --baseline {file}")).code, Some(0));
        mark(file);
        assert_eq!(desk.report(&format!("gate b --baseline marked.{file}")).code, Some(0));
        // What one ran of one and lib alone is less.
        let ended = desk.report(&format!("gate a --baseline {file}"));
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stdout.contains("(the baseline has "), "{}", ended.stdout);
        assert_eq!(desk.report(&format!("gate a --baseline {file} --allow-decrease 60")).code, Some(0));
        assert_eq!(desk.report(&format!("gate a --baseline {file} --allow-decrease 0.1")).code, Some(1));
    }
}

#[test]
fn a_baseline_is_of_the_same_selection() {
    let desk = Desk::new();
    assert_eq!(desk.report("textfmt b -o all.out").code, Some(0));
    for selection in ["--pkg sample/lib", "--exclude */shapes/*"] {
        let ended = desk.report(&format!("gate b --baseline all.out {selection}"));
        assert_eq!(ended.code, Some(0), "{selection}: {ended:?}");
    }
    desk.write("none.out", "mode: set\n");
    let ended = desk.report("gate b --baseline none.out");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(
        ended.stderr.contains("cannot use none.out as the baseline: it has no statements"),
        "{}",
        ended.stderr
    );
}

#[test]
fn what_is_allowed_does_not_fall_short() {
    let desk = Desk::new();
    let profile = |covered: u32| {
        format!("mode: set\nm/a.go:1.1,2.2 {covered} 1\nm/a.go:3.1,4.2 {} 0\n", 1000 - covered)
    };
    desk.write("before.out", &profile(644));
    for (now, code) in [(639, 0), (638, 1)] {
        desk.write("now.out", &profile(now));
        let ended = desk.report("gate now.out --baseline before.out --allow-decrease 0.5");
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
}

#[test]
fn nothing_passes_no_gate() {
    let desk = Desk::new();
    for (selection, code, says) in [
        ("--pkg sample/libb", 2, "--pkg sample/libb: the coverage data have no such package"),
        ("--pkg sample/empty", 4, "there are no statements to check"),
        ("--exclude **", 4, "there are no statements to check"),
    ] {
        let ended = desk.report(&format!("gate a b --fail-under 1 {selection}"));
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{selection}");
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
    // As in Go, no pattern chooses all.
    assert_eq!(desk.report("percent -i b --pkg=").stdout, desk.covdata("percent -i b -pkg=").stdout);
    assert_eq!(desk.report("gate b --fail-under 99 --pkg=").code, Some(1));
}

#[test]
fn incomplete_data_pass_no_gate() {
    let desk = Desk::new();
    assert_eq!(desk.report("gate b missing --fail-under 1").code, Some(4));
    assert_eq!(desk.report("gate b missing --fail-under 100").code, Some(1));
}

/// Runs git in the sample module.
pub(crate) fn git(desk: &Desk, args: &str) {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]);
    let ended = crate::ended(command.args(args.split_whitespace()).current_dir(desk.path("shop")));
    assert_eq!(ended.code, Some(0), "git {args}: {}", ended.stderr);
}

#[test]
fn changed_lines() {
    let desk = Desk::new();
    // The program that ran is of the changed source; what it was before is another.
    copy(&desk.path("shop"), &desk.path("now"));
    let b = desk.read("shop/shapes/b.go");
    let before = b
        .replace("return 100", "return 99")
        .replace("shape = &circle{size}", "shape = &circle{0}")
        .replace("\tgoto end\n", "\tpanic(\"stop\")\n");
    desk.write("shop/shapes/b.go", &before.replace("func _() { panic(\"never called\") }\n", ""));
    fs_err::remove_file(desk.path("shop/native/cgo.go")).unwrap();
    git(&desk, "init -q");
    git(&desk, "add -A");
    git(&desk, "commit -qm before");
    git(&desk, "branch base");
    // One change is committed, one in the index, one in the files alone, and one file is new.
    desk.write(
        "shop/shapes/b.go",
        &b.replace("\tgoto end\n", "\tpanic(\"stop\")\n").replace("&circle{size}", "&circle{0}"),
    );
    git(&desk, "commit -qam first");
    desk.write("shop/shapes/b.go", &b.replace("\tgoto end\n", "\tpanic(\"stop\")\n"));
    git(&desk, "add -A");
    fs_err::copy(desk.path("now/shapes/b.go"), desk.path("shop/shapes/b.go")).unwrap();
    fs_err::copy(desk.path("now/native/cgo.go"), desk.path("shop/native/cgo.go")).unwrap();

    let ended = desk.report_in("shop", "diff ../b --since base");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "100.0%  4 of 4 lines  native/cgo.go\n 33.3%  1 of 3 lines  shapes/b.go: not 42, 46\n\
         changed lines: 71.4% (5 of 7)\n"
    );
    let ended = desk.report_in("shop", "diff ../b --since base --github");
    assert_eq!(
        ended.stdout,
        "::warning file=shapes/b.go,line=42,endLine=42,title=Not covered::No test ran this changed line\n\
         ::warning file=shapes/b.go,line=46,endLine=46,title=Not covered::No test ran this changed line\n"
    );
    let ended = desk.report_in("shop", "diff ../b --since base --json");
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = json!({
        "version": 1, "podcov": env!("CARGO_PKG_VERSION"), "since": "base", "complete": true,
        "covered": 5, "lines": 7, "percent": 500.0 / 7.0,
        "files": [
            {"path": "native/cgo.go", "covered": 4, "lines": 4, "percent": 100.0, "uncovered": []},
            {"path": "shapes/b.go", "covered": 1, "lines": 3, "percent": 100.0 / 3.0, "uncovered": [[42, 42], [46, 46]]},
        ],
        "without_data": [],
    });
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), expected);
    let ended = desk.report_in("shop", "diff ../b --since base --sarif");
    let sarif: Value = serde_json::from_str(&ended.stdout).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let places: Vec<_> = results.iter().map(|result| &result["locations"][0]["physicalLocation"]).collect();
    let place = |line: u32| {
        json!({
            "artifactLocation": {"uri": "shapes/b.go", "uriBaseId": "%SRCROOT%"}, "region": {"startLine": line, "endLine": line},
        })
    };
    assert_eq!(places, [&place(42), &place(46)]);
    // What the schema and the text of SARIF 2.1.0 require of these objects.
    assert_eq!((&sarif["version"], sarif["runs"].as_array().unwrap().len()), (&"2.1.0".into(), 1));
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "podcov-report");
    for result in results {
        let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap() as usize];
        assert_eq!((&rule["id"], &result["level"]), (&result["ruleId"], &"warning".into()));
        assert_eq!(result["message"]["text"], "No test ran this changed line");
        assert!(run["originalUriBaseIds"]["%SRCROOT%"]["description"]["text"].is_string());
    }
    assert_eq!(desk.report_in("shop", "diff ../b --since base --sarif --json").code, Some(2));
    // Below another root, too, the paths are the repository's.
    let ended = desk.report_in("shop", "diff ../b --since base --sarif --root shapes");
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), sarif, "{}", ended.stderr);
    let ended = desk.report_in("shop", "diff ../b --since base --github --root shapes");
    assert!(ended.stdout.starts_with("::warning file=shapes/b.go,line=42,"), "{ended:?}");
    let ended = desk.report_in("shop", "gate ../b --since base --fail-under-changed 72 --json");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((ended.code, &found["changed_files"]), (Some(1), &expected["files"]));
    assert_eq!(
        found["rules"][0]["parts"],
        json!([
            {"name": "changed lines", "covered": 5, "total": 7, "percent": 500.0 / 7.0, "passed": false}
        ])
    );
    // Below a root that is a link.
    #[cfg(unix)]
    std::os::unix::fs::symlink(desk.path("shop"), desk.path("link")).unwrap();
    let ended = desk.report_in("shop", "gate ../b --since base --fail-under-changed 72 --root ../link");
    assert_eq!((ended.code, cfg!(unix)), (Some(1), true), "{ended:?}");
    // From a folder inside, too.
    let ended = desk.report_in("shop/lib", "gate ../../b --since base --fail-under-changed 72");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(
        ended.stdout,
        "71.4% < 72.0%  changed lines: 5 of 7\n1 coverage gate failed\n\
         podcov-report diff prints which changed lines did not run\n"
    );
    assert_eq!(desk.report_in("shop", "gate ../b --since base --fail-under-changed 71").code, Some(0));
    assert_eq!(
        desk.report_in("shop", "diff ../b --since HEAD --pkg sample/lib").stdout,
        "changed lines: none that can run\n"
    );

    // Whatever git is told otherwise.
    let expected = desk.report_in("shop", "diff ../b --since base").stdout;
    desk.write("shop/.gitattributes", "*.go -diff\n");
    for (name, value) in
        [("diff.interHunkContext", "20"), ("diff.renames", "false"), ("diff.noprefix", "true")]
    {
        git(&desk, &format!("config {name} {value}"));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_podcov-report"));
    command.args(["diff", "../b", "--since", "base"]).current_dir(desk.path("shop"));
    let ended = crate::ended(command.env("GIT_DIFF_OPTS", "-u5").env_remove("GOWORK"));
    assert_eq!((ended.code, ended.stdout), (Some(0), expected), "{}", ended.stderr);

    // What changed and is no part of the program.
    desk.write("shop/tool/tool.go", "package tool\n\nfunc Tool() {}\n");
    desk.write("shop/tool/tool_test.go", "package tool\n\nfunc test() {}\n");
    desk.write("shop/tool/types.go", "package tool\n\ntype T int\n");
    let ended = desk.report_in("shop", "diff ../b --since base");
    let warning = "podcov-report: warning: tool/tool.go changed, but has no coverage data: does the program contain it, \
                   and -coverpkg name it?\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), warning));
    let ended = desk.report_in("shop", "diff ../b --since base --json");
    let found: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(found["without_data"], json!(["tool/tool.go"]));
    let ended = desk.report_in("shop", "diff ../b --since base --pkg ./tool/...,./lib");
    assert!(ended.code == Some(0) && ended.stderr.ends_with(warning), "{}", ended.stderr);
    let ended = desk.report_in("shop", "diff ../b --since base --pkg ./lib");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let ended = desk.report_in("shop", "diff ../b --since base --exclude tool/*");
    assert!(ended.code == Some(0) && !ended.stderr.contains("has no coverage data"), "{}", ended.stderr);

    let ended = desk.report_in("shop", "gate ../b --since nowhere --fail-under-changed 72");
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("cannot tell what changed since nowhere: git merge-base"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_failure_that_podcov_test_left() {
    let desk = Desk::new();
    let state = desk.path("state");
    let ends = |args: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podcov-report"));
        command.args(args.split_whitespace()).current_dir(desk.path("."));
        crate::ended(command.env("SKAFFOLD_RUN_ID", "run-1").env("PODCOV_STATE_DIR", &state))
    };
    let recorded = r#"{"kind":"podcov deferred failures 2","failures":[{"hook":1,"command":"go","code":3}]}"#;
    desk.write("state/failure-run-1.json", recorded);
    assert_eq!(ends("percent b --defer-failure").code, Some(0));
    let ended = ends("percent b");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stderr, "podcov-report: error: the tests failed: go ended with exit code 3\n");
    assert_eq!(ends("percent b").code, Some(0));
}
