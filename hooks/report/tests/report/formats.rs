//! The formats, as far as they can be judged here; real readers judge them in the e2e tests.

use serde_json::Value;

use crate::Desk;

#[test]
fn json_holds_what_the_text_profile_holds() {
    let desk = Desk::new();
    let ended = desk.report_in("shop", "json ../a ../b");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let json: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&json["version"], &json["mode"]), (&1.into(), &"count".into()));
    desk.covdata("textfmt -i a,b -o go.txt");
    let list = |value: &Value| value.as_array().unwrap().clone();
    let mut lines = vec!["mode: count".to_owned()];
    for package in list(&json["packages"]) {
        for file in list(&package["files"]) {
            let name = file["name"].as_str().unwrap();
            assert_eq!(name.strip_prefix("sample/"), file["path"].as_str());
            for block in list(&file["blocks"]) {
                let n: Vec<u64> = list(&block).iter().map(|number| number.as_u64().unwrap()).collect();
                lines.push(format!("{name}:{}.{},{}.{} {} {}", n[0], n[1], n[2], n[3], n[4], n[5]));
            }
        }
    }
    assert_eq!(lines.join("\n") + "\n", desk.read("go.txt"));
    let packages: Vec<_> =
        list(&json["packages"]).iter().map(|p| p["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(packages.join("\n") + "\n", desk.covdata("pkglist -i a,b").stdout);
    let names = list(&json["packages"])
        .into_iter()
        .flat_map(|p| list(&p["files"]))
        .flat_map(|f| list(&f["functions"]));
    let names: Vec<_> = names.map(|f| f["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.contains(&"*circle.Area".to_owned()), "{names:?}");
}

#[test]
fn lcov_of_a_function() {
    let desk = Desk::new();
    let ended = desk.report_in("shop", "lcov ../b --pkg sample/shapes");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let of = |file: &str| {
        let records = ended.stdout.split("end_of_record\n");
        records.map(str::to_owned).find(|record| record.contains(&format!("SF:{file}\n"))).expect("a record")
    };
    let b = of("shapes/b.go");
    // `default:` never says that it ran; its `panic` ran once, and of the branches of Sum the last alone.
    for line in
        ["FN:18,Of", "FNDA:2,Of", "FNDA:0,square.Area", "DA:22,0", "DA:24,1", "DA:26,1", "DA:46,0", "DA:50,1"]
    {
        assert!(b.lines().any(|other| other == line), "{line} in\n{b}");
    }
    // Blank lines, comments and braces are no lines of code.
    for line in [3, 16, 17, 27, 29, 44] {
        assert!(!b.contains(&format!("DA:{line},")), "{line} in\n{b}");
    }
    // Two functions init in one file.
    assert!(of("shapes/a.go").contains("FN:19,init\n"));
}

#[test]
fn markdown_and_badge() {
    let desk = Desk::new();
    assert_eq!(desk.report("json a -o before.json").code, Some(0));
    let markdown = desk.report("markdown a b --baseline before.json").stdout;
    assert!(markdown.starts_with("### Go coverage: ") && markdown.contains(" points).\n"), "{markdown}");
    assert!(markdown.contains("| `sample/cmd/two` | 100.0% | 3 of 3 |\n"), "{markdown}");
    assert!(markdown.contains("| `sample/types` | - | 0 of 0 |\n"), "{markdown}");
    let badge = desk.report("badge a b --label go").stdout;
    assert!(badge.contains(">go</text>") && badge.trim_end().ends_with("</svg>"), "{badge}");
}

/// Blocks after `//line`: they have no columns, and may end on a line before their first.
#[test]
fn blocks_that_end_before_they_begin() {
    let desk = Desk::new();
    desk.write("odd.out", "mode: set\nsample/lib/lib.go:9.0,3.0 1 1\nsample/lib/lib.go:5.0,6.0 1 1\n");
    for format in ["lcov", "cobertura", "json", "html -o -", "func", "textfmt"] {
        let ended = desk.report_in("shop", &format!("{format} ../odd.out"));
        assert_eq!(ended.code, Some(0), "{format}: {ended:?}");
    }
}

#[test]
fn a_file_is_replaced_when_the_new_one_is_whole() {
    let desk = Desk::new();
    assert_eq!(desk.report("json b -o out.json").code, Some(0));
    let old = desk.read("out.json");
    assert_eq!(desk.report("json missing -o out.json").code, Some(4));
    assert_eq!(desk.read("out.json"), old);
    assert_eq!(desk.report("json a -o out.json").code, Some(0));
    assert_ne!(desk.read("out.json"), old);
    assert!(desk.read("out.json").starts_with("{\"version\":1,"));
    let ended = desk.report("json a -o no/such/folder.json");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("cannot write no/such/folder.json"), "{}", ended.stderr);
    assert_eq!(desk.report("json a -o /dev/null").code, Some(0));
    let left = fs_err::read_dir(desk.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(!left.into_iter().any(|name| name.to_string_lossy().ends_with(".tmp")));
}

/// One block over four billion lines a thousand times: lines of a file that cannot be so long.
#[test]
fn ranges_of_absurd_length() {
    let desk = Desk::new();
    let blocks: String = (1..=1000).map(|column| format!("m/a.go:1.{column},4294967295.1 1 1\n")).collect();
    desk.write("huge.out", &format!("mode: set\n{blocks}m/b.go:3.1,5.2 1 1\n"));
    let ended = desk.report("lcov huge.out");
    let lines: Vec<&str> = ended.stdout.lines().filter(|line| line.starts_with("DA:")).collect();
    assert_eq!((ended.code, lines), (Some(0), vec!["DA:1,1", "DA:3,1", "DA:4,1", "DA:5,1"]));
    let xml = desk.report("cobertura huge.out").stdout;
    assert!(xml.contains("lines-covered=\"4\" lines-valid=\"4\""), "{xml}");
}

#[test]
fn characters_that_xml_cannot_hold() {
    let desk = Desk::new();
    desk.write("odd.out", "mode: set\nm/\u{fffe}\u{1}.go:1.1,2.2 1 1\n");
    for command in ["cobertura odd.out".to_owned(), "badge odd.out --label a\u{ffff}\u{1}b".to_owned()] {
        let ended = desk.report(&command);
        assert_eq!(ended.code, Some(0));
        assert!(!ended.stdout.contains(['\u{fffe}', '\u{ffff}', '\u{1}']), "{}", ended.stdout);
    }
}

#[test]
fn a_page_on_stdout_is_a_page_alone() {
    let desk = Desk::new();
    let page = desk.report("html a -o -").stdout;
    assert!(page.ends_with("</html>\n"));
    #[cfg(unix)]
    assert_eq!(desk.report("html a -o /dev/stdout").stdout, page);
    assert!(desk.report("html a").stdout.starts_with("coverage.html: coverage: "));
}
