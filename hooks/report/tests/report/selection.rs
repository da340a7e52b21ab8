//! Which packages are selected, and which are missing.

use crate::Desk;

#[test]
fn relative_patterns_are_those_of_the_go_command() {
    let desk = Desk::new();
    let report = |folder: &str, args: &str| desk.report_in(folder, args);
    for (folder, data, relative, import) in [
        ("shop", "../b", "./...", "sample/..."),
        ("shop", "../b", "./cmd/...", "sample/cmd/..."),
        ("shop", "../b", "./lib,./shapes", "sample/lib,sample/shapes"),
        ("shop/lib", "../../b", ".", "sample/lib"),
        ("shop/lib", "../../b", "../cmd/two", "sample/cmd/two"),
        (".", "b", "./shop/lib/...", "sample/lib"),
    ] {
        for command in ["", "percent", "func", "textfmt", "pkglist", "lcov", "json"] {
            let [relative, import] = [relative, import]
                .map(|pattern| report(folder, &format!("{command} {data} --pkg {pattern}")));
            assert_eq!((relative.code, &relative.stdout), (Some(0), &import.stdout), "{command} {folder}");
            assert!(!import.stdout.is_empty());
        }
    }
}

#[test]
fn patterns_that_match_nothing() {
    let desk = Desk::new();
    let nothing = "the coverage data have no such package";
    for (folder, data, pattern, says) in [
        ("shop", "../b", "nope", format!("--pkg nope: {nothing}")),
        (
            "shop",
            "../b",
            "./nope/...",
            format!("--pkg ./nope/... (it stands for sample/nope/...): {nothing}"),
        ),
        (".", "b", "./...", "--pkg ./... (there is no go.mod at or above ".to_owned()),
        ("shop", "../b", ",", format!("--pkg: {nothing}")),
    ] {
        for command in
            ["", "html", "lcov", "cobertura", "json", "markdown", "badge", "gate --fail-under 1", "diff"]
        {
            let ended = desk.report_in(folder, &format!("{command} {data} --pkg {pattern}"));
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{command} {pattern}");
            assert!(ended.stderr.contains(&says), "{command}: {}", ended.stderr);
        }
        // Go's commands print what Go prints; the reason is said beside it.
        for command in ["percent", "func", "pkglist", "textfmt"] {
            let ended = desk.report_in(folder, &format!("{command} -i {data} -pkg={pattern}"));
            let file = if command == "textfmt" { " -o /dev/stdout" } else { "" };
            let data = data.trim_start_matches("../");
            let go = desk.covdata(&format!("{command} -i {data} -pkg={pattern}{file}"));
            if pattern != "," && command != "func" {
                assert_eq!((ended.code, &ended.stdout), (Some(0), &go.stdout), "{command} {pattern}");
            }
            assert_eq!(ended.stderr.contains(&says), pattern != ",", "{command}: {}", ended.stderr);
        }
    }
    assert!(!desk.path("shop/coverage.html").exists());
    let ended = desk.report("percent b --pkg sample/lib,nope,sample/libb");
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.stderr,
        format!(
            "podcov-report: warning: --pkg nope: {nothing}\npodcov-report: warning: --pkg sample/libb: {nothing}\n"
        )
    );
}

/// A module with packages that were not built, or not for coverage.
fn shop(desk: &Desk) {
    for (file, text) in [
        ("only/types/types.go", "package types\n\ntype T int\n"),
        ("only/tests/a_test.go", "package tests\n\nfunc f() {}\n"),
        ("only/other/a_windows.go", "package other\n\nfunc f() {}\n"),
        ("only/tagged/a.go", "//go:build integration\n\npackage tagged\n\nfunc f() {}\n"),
        ("only/asm/a.go", "package asm\n\nfunc f(x int) int\n"),
        ("only/testdata/x/a.go", "package x\n\nfunc f() {}\n"),
        ("only/_x/a.go", "package x\n\nfunc f() {}\n"),
        ("only/vendor/x/a.go", "package x\n\nfunc f() {}\n"),
        ("nested/go.mod", "module sample/nested\n"),
        ("nested/a.go", "package nested\n\nfunc f() {}\n"),
        ("billing/a.go", "package billing\n\nfunc f() {\n}\n"),
        ("deep/in/it/a.go", "package it\n\nfunc (T) f() {\n}\n"),
    ] {
        desk.write(&format!("shop/{file}"), text);
    }
}

#[test]
fn packages_without_data_are_named() {
    let desk = Desk::new();
    shop(&desk);
    let known = desk.report("pkglist a b").stdout;
    for package in ["sample/native", "sample/lib", "sample/cmd/one"] {
        assert!(known.lines().any(|line| line == package), "{known}");
    }
    // As `go list` has them, but for those without code and those of the data.
    let listed =
        crate::go(&desk.path("shop"), &["list", "-f", "{{if .GoFiles}}{{.ImportPath}}{{end}}", "./..."]);
    let without_code = ["sample/only/types", "sample/only/asm"];
    let missing: Vec<&str> = listed
        .stdout
        .lines()
        .filter(|path| {
            !path.is_empty() && !known.lines().any(|known| known == *path) && !without_code.contains(path)
        })
        .collect();
    assert!(missing.contains(&"sample/billing") && missing.contains(&"sample/deep/in/it"), "{missing:?}");
    let warning = format!(
        "podcov-report: warning: there are no coverage data of package {} and {} more, which have code: is it built into the \
         program, and does -coverpkg name it?\n",
        missing[0],
        missing.len() - 1
    );
    for command in ["", "gate --fail-under 1"] {
        let ended = desk.report_in("shop", &format!("{command} ../a ../b"));
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), warning.as_str()), "{command}");
    }
    let all = |args: &str| desk.report_in("shop", &format!("gate ../a ../b --require-all-packages {args}"));
    let ended = all("");
    let lines: String = missing.iter().map(|path| format!("no coverage data of package {path}\n")).collect();
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), ""));
    assert_eq!(ended.stdout, format!("{lines}{} coverage gates failed\n", missing.len()));
    // What is left out is not missed.
    let excluded: String = missing.iter().map(|path| format!(" --exclude {path}/*")).collect();
    assert_eq!(all(&excluded.replace("sample/", "")).code, Some(0));
    assert_eq!(all("--pkg ./lib,./cmd/...").code, Some(0));
    assert_eq!(all("--pkg ./billing/...,./lib").code, Some(1));
    // Nor is anything of a module of which the data know no package, although its path begins that of another.
    desk.write("nested.out", "mode: set\nsample/nested/a.go:3.10,3.12 1 1\n");
    assert_eq!(desk.report_in("shop", "../nested.out").stderr, "");
    // Of another module's program nothing is missing here.
    desk.write("other.out", "mode: set\nexample.com/x/a.go:1.1,2.2 1 1\n");
    assert_eq!(desk.report_in("shop", "../other.out").stderr, "");
}

/// A wrong `-coverpkg` gives a fine percentage of very little.
#[test]
fn a_program_built_from_files_has_data_of_its_package() {
    let desk = Desk::new();
    desk.write("m/go.mod", "module m\n");
    desk.write("m/cmd/main.go", "package main\n\nfunc main() {\n}\n");
    desk.write("m/x/x.go", "package x\n\nfunc f() {\n}\n");
    let main = desk.path("m/cmd/main.go").display().to_string();
    desk.write("cover.out", &format!("mode: set\n{main}:3.13,4.2 1 1\nm/x/x.go:3.10,4.2 1 1\n"));
    let ended = desk.report_in("m", "gate ../cover.out --require-all-packages");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
}

#[test]
fn whether_a_file_is_generated_is_in_its_source() {
    let desk = Desk::new();
    desk.write("generated.out", include_str!("generated.out"));
    desk.write("g/go.mod", "module g\n");
    desk.write("g/a.go", "package g\n\nfunc f() {\n\tprintln()\n}\n");
    let says = "podcov-report: error: --skip-generated: cannot tell whether zz_generated.go is generated, so it counts: the \
                source was not found; run this in the module's folder, or use --map FROM=TO\n";
    for command in ["gate --fail-under 1", "percent", "json", "textfmt", "", "func"] {
        let ended = desk.report_in("g", &format!("{command} ../generated.out --skip-generated"));
        assert_eq!(ended.code, Some(4), "{command}: {ended:?}");
        assert!(ended.stderr.contains(says), "{command}: {}", ended.stderr);
        assert_eq!(ended.stderr.matches("cannot tell").count(), 1, "{command}");
    }
    let gate = "gate ../generated.out --skip-generated --fail-under 100";
    assert_eq!(desk.report_in("g", &format!("{gate} --exclude zz_*")).code, Some(0));
    desk.write("g/zz_generated.go", "// Code generated by x. DO NOT EDIT.\n\npackage g\n");
    let ended = desk.report_in("g", gate);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
}
