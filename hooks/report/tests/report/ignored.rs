//! Statements that comments ignore.

use serde_json::Value;

use crate::Desk;

/// The sample module with comments at the ends of lines, so that no block moves.
fn desk() -> Desk {
    let desk = Desk::new();
    let source = desk.read("shop/shapes/b.go");
    let source = source
        .replace("shape = square{size}\n", "shape = square{size} // podcov:ignore no squares here\n")
        .replace("case <-stop:\n", "case <-stop: // podcov:ignore nobody stops\n")
        .replace("sum += n\n", "sum += n // podcov:ignore too simple\n")
        .replace("return s.side * s.side }\n", "return s.side * s.side } // podcov:ignore\n");
    desk.write("shop/shapes/b.go", &format!("{source}\n// podcov:ignore what was here\n"));
    desk
}

#[test]
fn ignored_statements_do_not_count_if_asked() {
    let desk = desk();
    let selection = "../b --pkg sample/shapes";
    let report = |command: &str| desk.report_in("shop", &format!("{command} {selection}"));
    assert_eq!(report("percent").stdout, "\tsample/shapes\t\tcoverage: 84.6% of statements\n");
    let ended = report("percent --skip-ignored");
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "\tsample/shapes\t\tcoverage: 88.9% of statements\n")
    );
    assert_eq!(
        ended.stderr,
        "podcov-report: warning: shapes/b.go:14: podcov:ignore without a reason ignores nothing: write `// podcov:ignore REASON`\n\
         podcov-report: warning: shapes/b.go:58: podcov:ignore is at no statement, block or function: put it into the line \
         before, or at the end of a line\n\
         podcov-report: warning: shapes/b.go:40: ignored statements ran, so they can be tested: remove podcov:ignore\n\
         podcov-report: 3 statements are ignored by comments; podcov-report ignored lists them\n"
    );
    let gaps = report("gaps --skip-ignored").stdout;
    let places: Vec<&str> = gaps.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(places, ["shapes/a.go:23:", "shapes/b.go:14:", "shapes/b.go:46:", "shapes/b.go:48:", "4"]);
    // Lines of ignored statements are no lines of the file.
    let lines = |command: &str| {
        let text = report(command).stdout;
        let lines = text.lines().filter_map(|line| line.strip_prefix("DA:")?.split(',').next()?.parse().ok());
        lines.collect::<Vec<u32>>()
    };
    let mut expected = lines("lcov --exclude a.go");
    expected.retain(|line| ![22, 40, 42].contains(line));
    assert_eq!(lines("lcov --exclude a.go --skip-ignored"), expected);
    let ended = report("gate --fail-under 85 --skip-ignored --json");
    let gate: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(
        (ended.code, &gate["statements"], &gate["ignored_statements"]),
        (Some(0), &36.into(), &3.into())
    );
    assert_eq!(report("gate --fail-under 85").code, Some(1));
    // A text profile without them keeps its meaning.
    assert_eq!(report("textfmt --skip-ignored -o ../left.out").code, Some(0));
    assert_eq!(desk.report("left.out").stdout.lines().last(), Some("coverage: 88.9% of statements"));
}

/// What comments ignore counts in no suite: its numbers are those of the suite alone.
#[test]
fn ignored_statements_count_in_no_suite() {
    let desk = desk();
    let document = |args: &str| -> Value {
        let ended = desk.report_in("shop", &format!("json {args} --pkg sample/shapes"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.stdout).expect("JSON")
    };
    let suites = "--suite unit=../a --suite e2e=../b";
    let [whole, left] = [document(suites), document(&format!("{suites} --skip-ignored"))];
    assert_eq!((&left["statements"], &left["ignored_statements"]), (&36.into(), &3.into()));
    // One of the three statements ran, in one suite.
    let covered = |document: &Value| {
        [0, 1].map(|suite| document["suites"][suite]["covered"].as_u64().expect("a number"))
    };
    let sums = [&whole, &left].map(|document| covered(document).iter().sum::<u64>());
    assert_eq!(sums[0], sums[1] + 1);
    // The unit tests have no such package.
    let alone = document("../b --skip-ignored");
    for number in ["covered", "statements", "percent"] {
        assert_eq!(left["suites"][1][number], alone[number], "{number}");
    }
    assert_eq!(left["suites"][0]["covered"], 0);
    let ended = desk.report_in("shop", &format!("{suites} --skip-ignored --pkg sample/shapes"));
    let columns: Vec<&str> =
        ended.stdout.lines().nth(1).unwrap_or_default().split_whitespace().take(3).collect();
    let percents = [&left, &left["suites"][0], &left["suites"][1]];
    let percents = percents.map(|part| format!("{:.1}%", part["percent"].as_f64().expect("a number")));
    assert_eq!(columns, percents);
}

#[test]
fn the_list_of_comments() {
    let desk = desk();
    let ended = desk.report_in("shop", "ignored ../b --pkg sample/shapes");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "shapes/b.go:14: 0 statements: no reason, so it has no effect\n\
         shapes/b.go:22: 1 statement: no squares here\n\
         shapes/b.go:40: 1 statement, which ran: too simple\n\
         shapes/b.go:41: 1 statement: nobody stops\n\
         shapes/b.go:58: 0 statements: what was here\n\
         --skip-ignored leaves out 3 of 39 statements\n"
    );
}

/// In the source of now, each statement is a line further down. Lines are so long that it has each block's end.
#[test]
fn comments_of_another_version_ignore_nothing() {
    let desk = desk();
    let source = desk.read("shop/shapes/b.go");
    let selection = "../b --pkg sample/shapes --skip-ignored";
    let long = |line: &str| match line.contains("podcov:ignore") {
        true => format!("{line}\n"),
        false => format!("{line} // {}\n", "-".repeat(70)),
    };
    let new = source.lines().map(long).collect::<String>().replacen('\n', "\n// New.\n", 1);
    desk.write("shop/shapes/b.go", &new.replacen("// New.", &long("// New."), 1));
    let ended = desk.report_in("shop", &format!("percent {selection}"));
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(4), "\tsample/shapes\t\tcoverage: 84.6% of statements\n")
    );
    assert_eq!(
        ended.stderr,
        "podcov-report: error: cannot tell which statements of shapes/b.go are ignored, so all count: the source was not \
         found, or does not fit\n"
    );
    // Without comments there is nothing to know.
    desk.write("shop/shapes/b.go", &source.replace("podcov:ignore", "ignored"));
    assert_eq!(desk.report_in("shop", &format!("percent {selection}")).code, Some(0));
    // What has been left out once may be again.
    desk.write("shop/shapes/b.go", &source);
    assert_eq!(desk.report_in("shop", &format!("textfmt {selection} -o ../left.out")).code, Some(0));
    let ended = desk.report_in("shop", "percent ../left.out --skip-ignored");
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(0), "\tsample/shapes\t\tcoverage: 88.9% of statements\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_source_that_is_not_there_ignores_nothing() {
    let desk = desk();
    fs_err::remove_file(desk.path("shop/shapes/a.go")).unwrap();
    for command in ["ignored", "percent --skip-ignored", "markdown --skip-ignored"] {
        let ended = desk.report_in("shop", &format!("{command} ../b --pkg sample/shapes"));
        assert_eq!(ended.code, Some(4), "{command}: {ended:?}");
        assert!(
            ended.stderr.contains("cannot tell which statements of shapes/a.go are ignored"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(desk.report_in("shop", "percent ../b --pkg sample/shapes").code, Some(0));
}
