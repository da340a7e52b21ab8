//! Suites beside each other: columns, files and gates for each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::{Desk, copy};

/// The inputs of the sample module as suites.
const SUITES: &str = "--suite unit=../a --suite e2e=../b";

fn json(desk: &Desk, args: &str) -> Value {
    let ended = desk.report_in("shop", &format!("json {args}"));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{args}");
    serde_json::from_str(&ended.stdout).expect("JSON")
}

/// The sum over the blocks of Go's text profiles that `is_counted` selects: by whether `unit` and `e2e` ran them.
fn statements(desk: &Desk, is_counted: impl Fn(bool, bool) -> bool) -> u64 {
    let blocks = |folder: &str| {
        let text = desk.covdata(&format!("textfmt -i {folder} -o {folder}.out"));
        assert_eq!(text.code, Some(0), "{text:?}");
        let text = desk.read(&format!("{folder}.out"));
        let blocks = text.lines().skip(1).filter_map(|line| {
            let (block, count) = line.rsplit_once(' ')?;
            Some((block.to_owned(), count != "0"))
        });
        blocks.collect::<BTreeMap<_, _>>()
    };
    let (a, b) = (blocks("a"), blocks("b"));
    let all: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let ran = |blocks: &BTreeMap<String, bool>, block: &String| blocks.get(block).is_some_and(|ran| *ran);
    let counted = all.into_iter().filter(|block| is_counted(ran(&a, block), ran(&b, block)));
    counted.filter_map(|block| block.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

#[test]
fn the_table_has_a_column_for_each_and_adds_up() {
    let desk = Desk::new();
    let [all, unit, e2e] =
        [statements(&desk, |_, _| true), statements(&desk, |a, _| a), statements(&desk, |_, b| b)];
    let shares = [
        ("only unit", statements(&desk, |a, b| a && !b)),
        ("only e2e", statements(&desk, |a, b| b && !a)),
        ("in several suites", statements(&desk, |a, b| a && b)),
        ("in no suite", statements(&desk, |a, b| !a && !b)),
    ];
    assert!(shares.iter().all(|(_, number)| *number > 0), "{shares:?}");
    assert_eq!(shares.iter().map(|(_, number)| number).sum::<u64>(), all);
    let percent = |number: u64| format!("{:.1}%", 100.0 * number as f64 / all as f64);

    let plain = desk.report_in("shop", "../a ../b");
    let ended = desk.report_in("shop", SUITES);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), plain.stderr.as_str()));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = ended.stdout.lines().map(words).collect();
    assert_eq!(lines[0], ["total", "unit", "e2e"]);
    // Without the columns of suites it is the table without suites.
    let packages: Vec<_> =
        plain.stdout.lines().filter(|line| !line.starts_with("coverage")).map(words).collect();
    for (with, without) in lines[1..].iter().zip(&packages) {
        assert_eq!([&with[..1], &with[3..]].concat(), *without);
    }
    let covered = all - shares[3].1;
    let text = |number: u64| format!("{number} of {all}");
    let rest = &lines[1 + packages.len()..];
    let expected =
        format!("{} {} {} {} all packages", percent(covered), percent(unit), percent(e2e), text(covered));
    assert_eq!(rest[0], words(&expected));
    for ((name, number), line) in shares.iter().zip(&rest[1..]) {
        assert_eq!(*line, words(&format!("{} {} {name}", percent(*number), text(*number))));
    }
    assert_eq!(plain.stdout.lines().last(), ended.stdout.lines().last());
}

#[test]
fn json_has_each_suites_counts_and_is_else_the_same() {
    let desk = Desk::new();
    let with = json(&desk, SUITES);
    let mut without = with.clone();
    without.as_object_mut().unwrap().remove("suites");
    for package in without["packages"].as_array_mut().unwrap() {
        package.as_object_mut().unwrap().remove("suites");
        for file in package["files"].as_array_mut().unwrap() {
            file.as_object_mut().unwrap().remove("suites");
        }
    }
    assert_eq!(without, json(&desk, "../a ../b"));
    let suites = with["suites"].as_array().unwrap();
    let names: Vec<_> = suites.iter().map(|suite| suite["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["unit", "e2e"]);
    assert_eq!(suites[0]["only"]["covered"], statements(&desk, |a, b| a && !b));
    // A suite's blocks in the files that its own run has too.
    for (suite, folder) in [("unit", "../a"), ("e2e", "../b")] {
        let alone = json(&desk, folder);
        let mut compared = 0;
        for file in files(&alone) {
            let merged = files(&with).into_iter().find(|other| other["name"] == file["name"]).unwrap();
            let counts = merged["suites"].as_array().into_iter().flatten();
            let counts =
                counts.filter(|counts| counts["name"] == suite).map(|counts| &counts["counts"]).next();
            for (row, block) in file["blocks"].as_array().unwrap().iter().enumerate() {
                let count = counts.map_or(0, |counts| counts[row].as_u64().unwrap());
                assert_eq!(
                    (&merged["blocks"][row].as_array().unwrap()[..5], count),
                    (&block.as_array().unwrap()[..5], block[5].as_u64().unwrap())
                );
                compared += 1;
            }
        }
        assert!(compared > 20, "{compared}");
    }
}

fn files(document: &Value) -> Vec<Value> {
    let packages = document["packages"].as_array().into_iter().flatten();
    packages.flat_map(|package| package["files"].as_array().cloned().unwrap_or_default()).collect()
}

/// What Go 1.26 and 1.27 made of one source are one set of blocks.
#[test]
fn suites_of_two_releases_meet() {
    let desk = Desk(tempfile::tempdir().unwrap());
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/covdata/tests");
    copy(&tests.join("programs/blocks"), &desk.path("blocks"));
    copy(&tests.join("fixtures/releases"), &desk.path("blocks"));
    for (one, other) in [("go1.26.8", "go1.27.3"), ("go1.26.8", "go1.27.1"), ("go1.27.1", "go1.27.3")] {
        let ended = desk.report_in("blocks", &format!("--suite unit={one}.txt --suite e2e={other}.txt"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(
            ended.stdout,
            " total    unit     e2e\n 70.0%   70.0%   70.0%  7 of 10  example.com/blocks\n \
             70.0%   70.0%   70.0%  7 of 10  all packages\n  0.0%  0 of 10  only unit\n  0.0%  0 of 10  only e2e\n \
             70.0%  7 of 10  in several suites\n 30.0%  3 of 10  in no suite\ncoverage: 70.0% of statements\n"
        );
    }
}

#[test]
fn a_file_for_each_suite() {
    let desk = Desk::new();
    let merged = |suite: &str| statements(&desk, |a, b| if suite == "unit" { a } else { b });
    for (command, output) in [
        ("lcov", "out-{suite}.info"),
        ("cobertura", "out-{suite}.xml"),
        ("json", "out-{suite}.json"),
        ("markdown", "out-{suite}.md"),
        ("badge", "out-{suite}.svg"),
        ("html", "out-{suite}.html"),
        ("textfmt", "out-{suite}.out"),
    ] {
        let args = format!("{command} {SUITES} -o {output}");
        // The second time, the files are replaced.
        for _ in 0..2 {
            let ended = desk.report_in("shop", &args);
            assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{command}");
        }
        assert!(!desk.path(&format!("shop/{output}")).exists(), "{output}");
    }
    for suite in ["unit", "e2e"] {
        let report: Value = serde_json::from_str(&desk.read(&format!("shop/out-{suite}.json"))).unwrap();
        assert_eq!((&report["covered"], &report["suites"]), (&merged(suite).into(), &Value::Null));
        assert_eq!(report["statements"], statements(&desk, |_, _| true));
        // The text profile has the same blocks.
        let ended = desk.report_in("shop", &format!("json out-{suite}.out"));
        let text: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((&text["covered"], &text["statements"]), (&report["covered"], &report["statements"]));
    }
    // A file that is no report stays, and then no other is written either.
    desk.write("shop/new-e2e.info", "mine\n");
    let ended = desk.report_in("shop", &format!("lcov {SUITES} -o new-{{suite}}.info"));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("new-e2e.info is there and is no LCOV tracefile"), "{}", ended.stderr);
    assert!(!desk.path("shop/new-unit.info").exists());
    for (args, message) in [
        ("lcov ../a -o x-{suite}.info", "-o x-{suite}.info: there are no suites"),
        (
            &format!("markdown {SUITES} --baseline out-unit.json -o x-{{suite}}.md"),
            "--baseline is compared with the total",
        ),
    ] {
        let ended = desk.report_in("shop", args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

#[test]
fn a_gate_for_each_suite() {
    let desk = Desk::new();
    let all = statements(&desk, |_, _| true);
    let unit = statements(&desk, |a, _| a);
    let share = 100.0 * unit as f64 / all as f64;
    let gate = |args: &str| desk.report_in("shop", &format!("gate {SUITES} {args}"));
    let ended = gate(&format!("--fail-under-suite unit={:.3} --fail-under-suite e2e=1%", share - 0.001));
    assert_eq!((ended.code, ended.stdout.lines().last()), (Some(0), Some("all coverage gates passed")));
    let ended = gate("--fail-under-suite unit=100 --fail-under-suite e2e=1");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stdout.contains(&format!("suite unit: {unit} of {all}\n1 coverage gate failed\n")),
        "{}",
        ended.stdout
    );
    for (args, message) in [
        ("--fail-under-suite load=1", "--fail-under-suite load: there is no such suite"),
        ("--fail-under-suite unit=1 --fail-under-suite unit=2", "--fail-under-suite unit is given twice"),
        ("--fail-under-suite unit=101", "must be from 0 to 100"),
        ("--fail-under-suite 80", "not of the form NAME=PERCENT"),
    ] {
        let ended = gate(args);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

#[test]
fn what_is_no_suite_is_refused() {
    let desk = Desk::new();
    for (args, message) in [
        (&format!("{SUITES} ../a")[..], "../a belongs to no suite"),
        (&format!("json {SUITES} -i ../b"), "../b belongs to no suite"),
        (&format!("json {SUITES} --from file:///x"), "file:///x belongs to no suite"),
        ("--suite unit=../a --suite e2e=../a", "is an input of suite unit and of suite e2e"),
        (
            "--suite unit=../a --suite e2e=..",
            "../a is in .., and they are inputs of suite unit and of suite e2e",
        ),
        (
            "--suite unit=.. --suite e2e=../shop/../a",
            "../shop/../a is in .., and they are inputs of suite unit",
        ),
        (
            "--suite unit=file:///x --suite e2e=file:///x",
            "file:///x is an input of suite unit and of suite e2e",
        ),
        ("--suite unit=../a --suite UNIT=../b", "the suites unit and UNIT differ in case alone"),
        ("--suite ../a", "not of the form NAME=INPUT"),
        ("--suite a/b=../a", "`a/b` is no name of a suite"),
    ] {
        let ended = desk.report_in("shop", args);
        assert_eq!(ended.code, Some(2), "{args}: {ended:?}");
        assert!(ended.stderr.contains(message), "{args}: {}", ended.stderr);
    }
    for command in ["percent", "func", "pkglist", "merge -o x", "subtract -o x", "intersect -o x"] {
        let ended = desk.report_in("shop", &format!("{command} {SUITES}"));
        assert_eq!(ended.code, Some(2), "{command}: {ended:?}");
        assert!(ended.stderr.contains("which has no suites"), "{command}: {}", ended.stderr);
    }
}

#[test]
fn a_suite_without_data_is_an_error_and_the_others_are_shown() {
    let desk = Desk::new();
    fs_err::create_dir(desk.path("empty")).unwrap();
    let ended = desk.report_in("shop", "--suite unit=../a --suite e2e=../empty");
    assert_eq!(ended.code, Some(4), "{ended:?}");
    let first = ended.stderr.lines().next();
    assert_eq!(first, Some("podcov-report: error: there are no coverage data of suite e2e"));
    assert!(ended.stdout.starts_with(" total    unit     e2e\n"), "{}", ended.stdout);
}

/// Several inputs of one name, and storage.
#[test]
fn a_suite_of_several_inputs() {
    let desk = Desk::new();
    let both = json(&desk, "--suite all=../a --suite all=../b");
    let plain = json(&desk, "../a ../b");
    let names = |document: &Value| document["suites"].as_array().map_or(0, Vec::len);
    assert_eq!((names(&both), &both["suites"][0]["covered"]), (1, &plain["covered"]));
    assert_eq!(both["suites"][0]["only"]["covered"], plain["covered"]);
}

#[test]
fn a_suite_that_did_not_run_is_carried_forward() {
    let desk = Desk::new();
    assert_eq!(desk.report_in("shop", &format!("json {SUITES} -o before.json")).code, Some(0));
    assert_eq!(desk.report_in("shop", "json ../b -o alone.json").code, Some(0));
    assert_eq!(desk.report_in("shop", "textfmt ../b -o e2e.out").code, Some(0));
    let both = json(&desk, SUITES);
    for file in ["before.json", "alone.json", "e2e.out"] {
        let args = format!("--suite unit=../a --suite e2e=../gone --carry e2e={file}");
        let note = format!("e2e did not run: its coverage is carried forward from {file}");
        let ended = desk.report_in("shop", &format!("json {args}"));
        assert_eq!(ended.code, Some(0), "{file}: {ended:?}");
        assert_eq!(ended.stderr, format!("podcov-report: warning: suite {note}\n"));
        let mut carried: Value = serde_json::from_str(&ended.stdout).unwrap();
        let from = carried["suites"][1].as_object_mut().unwrap().remove("carried_from");
        assert_eq!(from, Some(file.into()));
        assert_eq!(carried["suites"], both["suites"], "{file}");
        assert_eq!((&carried["covered"], &carried["statements"]), (&both["covered"], &both["statements"]));
        // Each output for people has it too.
        for command in ["", "markdown"] {
            let ended = desk.report_in("shop", &format!("{command} {args}"));
            assert!(ended.stdout.replace('`', "").contains(&note), "{command}: {}", ended.stdout);
        }
        let gate = desk.report_in("shop", &format!("gate {args} --fail-under-suite e2e=100"));
        assert!(gate.stdout.contains(&format!("({note})")), "{}", gate.stdout);
        assert_eq!(desk.report_in("shop", &format!("html {args}")).code, Some(0));
        assert!(desk.read("shop/coverage.html").contains(&format!(r#""carried_from":"{file}""#)));
    }
    // A suite that has an input is not carried forward, even if the input is empty.
    fs_err::create_dir(desk.path("empty")).unwrap();
    for (input, code) in [("../b", Some(0)), ("../empty", Some(4))] {
        let args = format!("json --suite unit=../a --suite e2e={input} --carry e2e=before.json");
        let ended = desk.report_in("shop", &args);
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(!ended.stdout.contains("carried_from") && !ended.stderr.contains("carried"), "{input}");
    }
    let source = desk.read("shop/lib/lib.go").replace("sum += v\n", "sum += v // podcov:ignore why\n");
    desk.write("shop/lib/lib.go", &source);
    assert_eq!(desk.report_in("shop", "json ../b --skip-ignored -o cut.json").code, Some(0));
    let cut: Value = serde_json::from_str(&desk.read("shop/cut.json")).unwrap();
    assert!(cut["ignored_statements"].as_u64().unwrap() > 0);
    desk.write("shop/wrong.json", "{}");
    assert_eq!(desk.report_in("shop", "json --suite load=../b -o load.json").code, Some(0));
    for (carry, message) in [
        ("load=before.json", "--carry load: there is no such suite"),
        ("e2e=none.json", "cannot read the coverage that is to be carried forward"),
        ("e2e=wrong.json", "cannot carry suite e2e forward from wrong.json: neither what"),
        ("e2e=load.json", "cannot carry suite e2e forward from load.json: its suites are load"),
        (
            "e2e=cut.json",
            "cannot carry suite e2e forward from cut.json: it lacks statements that comments ignore",
        ),
        ("e2e", "not of the form NAME=FILE"),
    ] {
        let ended = desk.report_in("shop", &format!("--suite unit=../a --suite e2e=../gone --carry {carry}"));
        assert_eq!(ended.code, Some(2), "{carry}: {ended:?}");
        assert!(ended.stderr.contains(message), "{carry}: {}", ended.stderr);
    }
}
