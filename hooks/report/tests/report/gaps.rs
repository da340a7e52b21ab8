//! What did not run, ranked.

use serde_json::{Value, json};

use crate::Desk;

#[test]
fn gaps_for_people() {
    let desk = Desk::new();
    let ended = desk.report_in("shop", "gaps ../b --pkg sample/shapes");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ended.stdout,
        "shapes/a.go:23:  1 statement   line 23  init\n\
         shapes/b.go:14:  1 statement   line 14  square.Area, which did not run\n\
         shapes/b.go:22:  1 statement   line 22  Of\n\
         shapes/b.go:42:  1 statement   line 42  Sum\n\
         shapes/b.go:46:  1 statement   line 46  Sum\n\
         shapes/b.go:48:  1 statement   line 48  Sum\n\
         6 of 39 statements did not run, in 6 gaps\n"
    );
    let ended = desk.report_in("shop", "gaps ../b --pkg sample/shapes --limit 1");
    assert_eq!(
        ended.stdout,
        "shapes/a.go:23:  1 statement   line 23  init\n\
         6 of 39 statements did not run, in 6 gaps (1 listed; --limit 0 lists all)\n"
    );
    assert_eq!(desk.report_in("shop", "gaps ../b --pkg sample/cmd/three").stdout, "all 14 statements ran\n");
    assert_eq!(desk.report_in("shop", "gaps ../a --pkg sample/types").stdout, "there are no statements\n");
}

/// However the data came: a text profile does not name functions, and its source tells them.
#[test]
fn text_profiles_and_selections_have_the_same_gaps() {
    let desk = Desk::new();
    assert_eq!(desk.report("textfmt a b -o all.out").code, Some(0));
    let expected = desk.report_in("shop", "gaps ../a ../b --limit 0").stdout;
    assert!(expected.contains(" statements did not run, in "), "{expected}");
    for args in ["../all.out", "../a ../b --exclude nothing.go", "../a ../all.out"] {
        assert_eq!(desk.report_in("shop", &format!("gaps {args} --limit 0")).stdout, expected, "{args}");
    }
}

#[test]
fn a_line_of_json_for_each_gap() {
    let desk = Desk::new();
    let ended = desk.report_in("shop", "gaps ../a ../b --json");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.is_sorted_by_key(|gap| std::cmp::Reverse(gap["statements"].as_u64())), "{}", ended.stdout);
    let gap = |file: &str, line: u32| {
        lines.iter().find(|gap| gap["file"] == file && gap["first_line"] == line).cloned()
    };
    let area = json!({
        "file": "shapes/b.go", "package": "sample/shapes", "function": "square.Area", "first_line": 14, "last_line": 14,
        "statements": 1, "whole_function": true, "source": "func (s square) Area() float64  { return s.side * s.side }",
    });
    assert_eq!(gap("shapes/b.go", 14), Some(area));
    let of = json!({
        "file": "shapes/b.go", "package": "sample/shapes", "function": "Of", "first_line": 22, "last_line": 22,
        "statements": 1, "whole_function": false, "source": "\t\tshape = square{size}",
    });
    assert_eq!(gap("shapes/b.go", 22), Some(of));

    // Every field is in the schema, and every field that it requires is there.
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/gaps.schema.json");
    let schema: Value = serde_json::from_str(&fs_err::read_to_string(schema).unwrap()).unwrap();
    for gap in &lines {
        let fields = gap.as_object().unwrap();
        assert!(fields.keys().all(|field| schema["properties"].get(field).is_some()), "{gap}");
        let required = schema["required"].as_array().unwrap();
        assert!(required.iter().all(|field| fields.contains_key(field.as_str().unwrap())), "{gap}");
    }
}

#[test]
fn gaps_without_a_source() {
    let desk = Desk::new();
    desk.write("elsewhere/notes.txt", "");
    let ended = desk.report_in("elsewhere", "gaps ../b --pkg sample/shapes --json");
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("the source was not found"), "{}", ended.stderr);
    let first: Value = serde_json::from_str(ended.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["file"], &first["function"]), (&"sample/shapes/a.go".into(), &"init".into()));
    assert_eq!(first.get("source"), None);
    // Neither is a source of another version shown.
    desk.write("shop/shapes/a.go", "package shapes\n");
    let ended = desk.report_in("shop", "gaps ../b --pkg sample/shapes --json");
    assert!(ended.stderr.contains("shapes/a.go: the source has changed"), "{}", ended.stderr);
    let first: Value = serde_json::from_str(ended.stdout.lines().next().unwrap()).unwrap();
    assert_eq!((&first["file"], first.get("source")), (&"shapes/a.go".into(), None));
}
