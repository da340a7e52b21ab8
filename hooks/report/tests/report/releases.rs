//! One program, built by several releases of Go, which cut its functions into blocks differently.

use std::path::Path;

use crate::{Desk, copy};

/// The source, and the text profiles of a run each: `go1.26.8.txt`, `go1.27.1.txt` and `go1.27.3.txt`.
fn desk() -> Desk {
    let desk = Desk(tempfile::tempdir().expect("a temporary folder"));
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/covdata/tests");
    copy(&tests.join("programs/blocks"), &desk.path("blocks"));
    copy(&tests.join("fixtures/releases"), &desk.path("blocks"));
    desk
}

const EACH: [&str; 3] = ["go1.26.8.txt", "go1.27.1.txt", "go1.27.3.txt"];

#[test]
fn each_alone_and_all_together_have_the_same_statements() {
    let desk = desk();
    let inputs = [&EACH[..1], &EACH[1..2], &EACH[2..], &EACH[..2], &EACH[1..], &[EACH[0], EACH[2]], &EACH];
    for inputs in inputs {
        let inputs = inputs.join(" ");
        let ended = desk.report_in("blocks", &inputs);
        assert_eq!(ended.code, Some(0), "{inputs}: {ended:?}");
        assert_eq!(
            ended.stdout, " 70.0%  7 of 10  example.com/blocks\ncoverage: 70.0% of statements\n",
            "{inputs}: {}",
            ended.stderr
        );
        let ended = desk.report_in("blocks", &format!("func {inputs}"));
        assert_eq!(
            ended.stdout, "example.com/blocks/main.go:8:\tmain\t\t70.0%\ntotal\t\t\t\t(statements)\t70.0%\n",
            "{inputs}"
        );
        let json = desk.report_in("blocks", &format!("json {inputs}")).stdout;
        assert!(json.contains(r#""name":"main","line":8,"covered":7,"statements":10"#), "{inputs}: {json}");
        // Each line that has code is in what each release makes of it.
        let lcov = desk.report_in("blocks", &format!("lcov {inputs}")).stdout;
        let lines: Vec<&str> = lcov.lines().filter(|line| line.starts_with("DA:")).collect();
        let expected = [
            "DA:8,1", "DA:9,1", "DA:10,1", "DA:13,1", "DA:15,1", "DA:16,1", "DA:17,0", "DA:18,1", "DA:19,0",
            "DA:21,0", "DA:23,1",
        ];
        let ones = lines.iter().map(|line| {
            if line.ends_with(",0") {
                (*line).to_owned()
            } else {
                line.rsplit_once(',').unwrap().0.to_owned() + ",1"
            }
        });
        assert_eq!(ones.collect::<Vec<_>>(), expected, "{inputs}");
    }
}

#[test]
fn a_gate_with_a_baseline_of_another_release_does_not_move() {
    let desk = desk();
    for before in EACH {
        assert_eq!(desk.report_in("blocks", &format!("json {before} -o before.json")).code, Some(0));
        for now in EACH {
            for baseline in [before, "before.json"] {
                let ended = desk.report_in("blocks", &format!("gate {now} --baseline {baseline}"));
                assert_eq!(ended.code, Some(0), "{now} {before}: {ended:?}");
                assert!(ended.stdout.starts_with("coverage: 70.0%"), "{now} {before}: {}", ended.stdout);
            }
        }
    }
}

#[test]
fn what_was_joined_and_what_could_not_be_put_right_is_said() {
    let desk = desk();
    let joined = desk.report_in("blocks", "percent go1.26.8.txt go1.27.3.txt");
    assert_eq!(
        joined.stderr,
        "podcov-report: warning: the inputs were built by several releases of Go, which cut example.com/blocks/main.go into \
         blocks differently: each statement counts once, and go tool covdata gives other numbers\n"
    );
    let json = desk.report_in("blocks", "json go1.26.8.txt go1.27.3.txt").stdout;
    assert!(json.contains(r#""joined":true"#), "{json}");
    // The source is not there.
    let alone = desk.report("blocks/go1.27.1.txt --root blocks/..");
    fs_err::remove_file(desk.path("blocks/main.go")).unwrap();
    let without = desk.report("blocks/go1.27.1.txt");
    assert!(alone.stdout.ends_with("coverage: 70.0% of statements\n"), "{alone:?}");
    assert!(without.stderr.contains("Go 1.27.0 or 1.27.1 built example.com/blocks/main.go"), "{without:?}");
}
