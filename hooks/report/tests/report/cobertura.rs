//! Cobertura's XML for services that take a part of it, and the files that editors look for.

use crate::Desk;
use crate::gates::git;

/// The values of an attribute, in order.
fn values<'x>(xml: &'x str, attribute: &str) -> Vec<&'x str> {
    let pieces = xml.split(attribute).skip(1);
    pieces.filter_map(|rest| rest.strip_prefix("=\"")?.split('"').next()).collect()
}

/// The sample module in a folder of a repository, in which one file has changed since `base`.
fn repository() -> Desk {
    let desk = Desk::new();
    fs_err::rename(desk.path("shop"), desk.path("module")).expect("a folder of this test's");
    fs_err::create_dir_all(desk.path("shop/services")).expect("a folder of this test's");
    fs_err::rename(desk.path("module"), desk.path("shop/services/shop")).expect("a folder of this test's");
    let file = "shop/services/shop/shapes/b.go";
    let now = desk.read(file);
    desk.write(file, &now.replace("return 100", "return 99"));
    git(&desk, "init -q");
    git(&desk, "add -A");
    git(&desk, "commit -qm before");
    git(&desk, "branch base");
    desk.write(file, &now);
    desk
}

/// GitHub and GitLab take the path of a file from the repository's top folder, wherever the report was made.
#[test]
fn changed_files_by_their_paths_from_the_top() {
    let desk = repository();
    for folder in ["shop", "shop/services/shop/lib"] {
        let data = if folder == "shop" { "../b" } else { "../../../../b" };
        let all = desk.report_in(folder, &format!("cobertura {data}")).stdout;
        assert!(values(&all, "filename").contains(&"services/shop/shapes/a.go"), "{all}");
        let ended = desk.report_in(folder, &format!("cobertura {data} --since base"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
        assert_eq!(values(&ended.stdout, "filename"), ["services/shop/shapes/b.go"]);
        assert_eq!(ended.stdout.matches("<source>.</source>").count(), 1);
        // The totals are those of what is in it, as in LCOV.
        let lcov = desk.report_in(folder, &format!("lcov {data}")).stdout;
        let record = lcov.split("end_of_record").find(|record| record.contains("shapes/b.go")).unwrap();
        let sum = |key: &str| record.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
        assert_eq!(values(&ended.stdout, "lines-valid"), [sum("LF:")]);
        assert_eq!(values(&ended.stdout, "lines-covered"), [sum("LH:")]);
    }
    let none = desk.report_in("shop", "cobertura ../b --since base --exclude b.go");
    assert_eq!((none.code, values(&none.stdout, "lines-valid")), (Some(0), vec!["0"]));
    let ended = desk.report_in("shop", "cobertura ../b --since nowhere");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("cannot tell what changed since nowhere"), "{}", ended.stderr);
}

#[test]
fn parts_of_a_size() {
    let desk = Desk::new();
    let whole = desk.report("cobertura a b").stdout;
    let largest = 4500;
    assert!(whole.len() > 2 * largest);
    let command = format!("cobertura a b --max-bytes {largest} -o parts/x.xml");
    desk.write("parts/x-1.xml", "");
    assert_eq!(desk.report(&command).code, Some(0));
    let parts = || {
        let names = (1..).map(|number| format!("parts/x-{number}.xml"));
        names.take_while(|name| desk.path(name).exists()).map(|name| desk.read(&name)).collect::<Vec<_>>()
    };
    let first = parts();
    assert!(first.len() > 2 && !desk.path("parts/x.xml").exists(), "{}", first.len());
    let number = |xml: &str, key| values(xml, key)[0].parse::<u32>().unwrap();
    for key in ["lines-valid", "lines-covered"] {
        assert_eq!(first.iter().map(|part| number(part, key)).sum::<u32>(), number(&whole, key), "{key}");
    }
    let files: Vec<&str> = first.iter().flat_map(|part| values(part, "filename")).collect();
    assert_eq!(files, values(&whole, "filename"));
    for part in &first {
        assert!(
            part.len() <= largest && part.starts_with("<?xml ") && part.ends_with("</coverage>\n"),
            "{part}"
        );
    }
    // The parts that an earlier run has left would count too.
    // Also after a gap. Another name is no part.
    for name in ["parts/x-9.xml", "parts/x-12.xml", "parts/x-09.xml", "parts/y-9.xml"] {
        desk.write(name, &first[0]);
    }
    assert_eq!(desk.report("cobertura a b --max-bytes 10485760 -o parts/x.xml").code, Some(0));
    assert_eq!(parts().len(), 1);
    let there = |name: &&str| desk.path(name).exists();
    let names = ["parts/x-9.xml", "parts/x-12.xml", "parts/x-09.xml", "parts/y-9.xml"];
    assert_eq!(names.iter().filter(|name| there(name)).count(), 2);
    assert!(there(&names[2]) && there(&names[3]));
    // Somebody else's file stays, and nothing is written.
    desk.write("parts/x-2.xml", "<mine/>");
    let before = desk.read("parts/x-1.xml");
    for command in [command.as_str(), "cobertura a --max-bytes 10485760 -o parts/x.xml"] {
        let ended = desk.report(command);
        assert!(
            ended.code == Some(2) && ended.stderr.contains("parts/x-2.xml is there and is no "),
            "{}",
            ended.stderr
        );
    }
    assert_eq!((desk.read("parts/x-1.xml"), desk.read("parts/x-2.xml")), (before, "<mine/>".to_owned()));

    let ended = desk.report("cobertura a b --max-bytes 1000 -o y.xml");
    assert_eq!((ended.code, desk.path("y-1.xml").exists()), (Some(2), false));
    assert!(ended.stderr.contains("--max-bytes 1000: the part of "), "{}", ended.stderr);
    assert_eq!(desk.report("cobertura a b --max-bytes 1000 --exclude ** -o y.xml").code, Some(0));
    assert_eq!(desk.report("cobertura a b --max-bytes 1 --exclude ** -o z.xml").code, Some(2));
    assert_eq!(desk.report("cobertura a b --max-bytes 9000").code, Some(2));
    assert_eq!(desk.report("cobertura a b --max-bytes 9000 -o -").code, Some(2));
}

#[test]
fn files_for_editors() {
    let desk = Desk::new();
    let ended = desk.report_in("shop", "export ../b --pkg sample/shapes -o out/coverage");
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (Some(0), "out/coverage: coverage.out, lcov.info, coverage.xml: coverage: 84.6% of statements\n", "")
    );
    // Editors take a relative path for the end of a longer one, so the paths are absolute; else the files are what the
    // commands print.
    let shop = fs_err::canonicalize(desk.path("shop")).expect("a folder of this test's");
    let shop = shop.to_str().expect("UTF-8").replace('\\', "/");
    let absolute = ["a.go", "b.go"].map(|name| format!("{shop}/shapes/{name}"));
    let lcov = desk.read("shop/out/coverage/lcov.info");
    assert_eq!(lcov.lines().filter_map(|line| line.strip_prefix("SF:")).collect::<Vec<_>>(), absolute);
    assert_eq!(values(&desk.read("shop/out/coverage/coverage.xml"), "filename"), absolute);
    let same = |file: &str, command: &str| {
        let printed = desk.report_in("shop", &format!("{command} ../b --pkg sample/shapes")).stdout;
        // Cobertura has the time.
        let without_time =
            |xml: String| xml.replace(values(&xml, "timestamp").first().unwrap_or(&"none"), "");
        let [written, printed] = [desk.read(&format!("shop/out/coverage/{file}")), printed].map(without_time);
        assert_eq!(written.replace(&format!("{shop}/"), ""), printed, "{file}");
    };
    same("coverage.out", "textfmt");
    same("lcov.info", "lcov");
    same("coverage.xml", "cobertura");
    // All are replaced, or none.
    assert_eq!(desk.report_in("shop", "export ../a -o out/coverage").code, Some(0));
    let before = desk.read("shop/out/coverage/coverage.out");
    desk.write("shop/out/coverage/coverage.xml", "<coverage/>");
    let ended = desk.report_in("shop", "export ../b -o out/coverage");
    assert!(
        ended.code == Some(2) && ended.stderr.contains("coverage.xml is there and is no "),
        "{}",
        ended.stderr
    );
    assert_eq!(desk.read("shop/out/coverage/coverage.out"), before);
}
