//! Where sources are found, and what is left out.

use std::process::Command;

use crate::{Desk, go};

/// The names in reports of a profile's files, for a run in a folder of the desk, and the messages on stderr.
fn shown(desk: &Desk, folder: &str, args: &str) -> (Vec<String>, String) {
    let ended = desk.report_in(folder, &format!("lcov {args}"));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let files = ended.stdout.lines().filter_map(|line| line.strip_prefix("SF:")).map(str::to_owned);
    (files.collect(), ended.stderr)
}

#[test]
fn a_module_from_its_folder_from_above_and_from_inside() {
    let desk = Desk::new();
    for (folder, first, says) in [
        ("shop", "cmd/three/main.go", ""),
        (".", "shop/cmd/three/main.go", ""),
        // Above the working folder; no git repository tells the root.
        ("shop/lib", "", ""),
    ] {
        let data = "../".repeat(if folder == "." { 0 } else { folder.split('/').count() }) + "b";
        let (files, stderr) = shown(&desk, folder, &data);
        assert_eq!(stderr, says, "{folder}");
        let expected = if first.is_empty() {
            desk.path("shop/cmd/three/main.go").display().to_string()
        } else {
            first.to_owned()
        };
        assert!(files.contains(&expected), "{folder}: {files:?}");
        assert_eq!(files.len(), 6, "{files:?}");
    }
    let (files, _) = shown(&desk, "shop/lib", "../../b --root ..");
    assert!(files.contains(&"cmd/three/main.go".to_owned()), "{files:?}");
}

#[test]
fn a_repository_is_the_root() {
    let desk = Desk::new();
    assert!(Command::new("git").args(["init", "-q"]).current_dir(desk.path(".")).status().unwrap().success());
    let (files, _) = shown(&desk, "shop/lib", "../../b");
    assert!(files.contains(&"shop/cmd/three/main.go".to_owned()), "{files:?}");
}

#[cfg(unix)]
#[test]
fn a_root_that_is_a_link() {
    let desk = Desk::new();
    std::os::unix::fs::symlink(desk.path("shop"), desk.path("link")).unwrap();
    for folder in ["shop", "link", "."] {
        let data = if folder == "." { "b --root link" } else { "../b --root ../link" };
        let (files, stderr) = shown(&desk, folder, data);
        assert!(files.contains(&"cmd/three/main.go".to_owned()), "{folder}: {files:?}");
        assert_eq!(stderr, "", "{folder}");
    }
}

#[test]
fn workspaces_replacements_and_vendored_packages() {
    let desk = Desk::new();
    // A module in a workspace, one that a replace directive names, and one in a vendor folder.
    desk.write("mono/go.work", "go 1.24\n\nuse (\n\t./services/one\n\t./other\n)\n");
    desk.write(
        "mono/services/one/go.mod",
        "module example.com/one\n\nreplace example.com/two v1.0.0 => ../../libs/two\n",
    );
    desk.write("mono/services/one/a.go", "package one\n\nfunc A() int { return 1 }\n");
    desk.write("mono/other/go.mod", "module \"example.com/one/sub\" // longer than the module above\n");
    desk.write("mono/other/b.go", "package sub\n\nfunc B() int { return 1 }\n");
    desk.write("mono/libs/two/x/c.go", "package x\n\nfunc C() int { return 1 }\n");
    desk.write(
        "mono/services/one/vendor/example.com/three/d.go",
        "package three\n\nfunc D() int { return 1 }\n",
    );
    let names = [
        "example.com/one/a.go",
        "example.com/one/sub/b.go",
        "example.com/three/d.go",
        "example.com/two/x/c.go",
    ];
    let lines: String = names.iter().map(|name| format!("{name}:3.14,3.25 1 1\n")).collect();
    desk.write("cover.out", &format!("mode: set\n{lines}"));
    let (files, stderr) = shown(&desk, "mono", "../cover.out");
    assert_eq!(stderr, "");
    assert_eq!(
        files,
        ["services/one/a.go", "other/b.go", "services/one/vendor/example.com/three/d.go", "libs/two/x/c.go"]
    );
    // Functions of a text profile are in the source.
    let functions = desk.report_in("mono", "func ../cover.out").stdout;
    let functions: Vec<_> = functions.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!(functions, ["A", "B", "D", "C", "(statements)"]);
}

#[test]
fn maps_and_absolute_names() {
    let desk = Desk::new();
    desk.write(
        "cover.out",
        "mode: set\n/src/app/lib/lib.go:8.34,10.26 2 1\ngitlab.local/x/lib/lib.go:8.34,10.26 2 1\n",
    );
    let (files, stderr) = shown(&desk, ".", "cover.out");
    assert_eq!(files, ["src/app/lib/lib.go", "gitlab.local/x/lib/lib.go"]);
    assert_eq!(
        stderr,
        "podcov-report: warning: /src/app/lib/lib.go: reports show Go files below --root, in modules' folders, the module \
         cache and GOROOT alone; if the source is elsewhere, use --map FROM=TO\n\
         podcov-report: warning: gitlab.local/x/lib/lib.go: the source was not found; run this in the module's folder, or \
         use --map FROM=TO\n"
    );
    let (files, stderr) = shown(&desk, ".", "cover.out --map /src/app=shop --map gitlab.local/x=shop");
    assert_eq!((files, stderr), (vec!["shop/lib/lib.go".to_owned(); 2], String::new()));
    assert_eq!(desk.report("lcov cover.out --map x").code, Some(2));
}

/// The output, with the files in an HTML page decompressed.
fn unpacked(text: &str) -> String {
    use base64::Engine;
    use std::io::Read;
    let mut out = text.to_owned();
    for packed in text.split("class=\"file\"").skip(1) {
        let packed = packed.split_once('>').expect("a script").1.split_once('<').expect("its end").0;
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed).expect("base64");
        flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut out).expect("gzip");
    }
    out
}

#[test]
fn files_of_the_host_are_in_no_report() {
    let desk = Desk::new();
    let secret = "package p\n\nfunc HostSecret() {\n\tprintln(1)\n}\n";
    for file in ["home/id_rsa", "home/x.go", "shop/.git/config", "shop/.env", "shop/lib/key.pem"] {
        desk.write(file, secret);
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("../../home/x.go", desk.path("shop/lib/link.go")).unwrap();
    desk.write("shop/lib/seen.go", &secret.replace("HostSecret", "Seen"));
    let home = desk.path("home").display().to_string();
    let names = [
        format!("{home}/id_rsa"),
        format!("{home}/x.go"),
        "sample/../home/x.go".to_owned(),
        "sample/../home/id_rsa".to_owned(),
        "sample/lib/../../home/x.go".to_owned(),
        "../home/x.go".to_owned(),
        "sample/.git/config".to_owned(),
        "sample/.env".to_owned(),
        "sample/lib/key.pem".to_owned(),
        "sample/lib/link.go".to_owned(),
    ];
    let lines: String = names.iter().map(|name| format!("{name}:3.19,5.2 1 1\n")).collect();
    desk.write("cover.out", &format!("mode: set\nsample/lib/seen.go:3.13,5.2 1 1\n{lines}"));
    for command in
        ["html -o -", "lcov", "cobertura", "json", "markdown", "badge", "func", "textfmt", "percent"]
    {
        let ended = desk.report_in("shop", &format!("{command} ../cover.out"));
        assert_eq!(ended.code, Some(0), "{command}: {}", ended.stderr);
        let text = unpacked(&ended.stdout);
        assert!(!text.contains("HostSecret"), "{command}: {text}");
        let shows_source = ["html -o -", "lcov", "cobertura", "json", "func"].contains(&command);
        assert_eq!(text.contains("Seen"), shows_source, "{command}");
        // Readers of these open the files that are named there.
        for line in text.lines().filter(|line| line.starts_with("SF:") || line.contains(" filename=")) {
            let file = line.split_once(" filename=").map_or(line, |(_, rest)| rest);
            assert!(!file.contains("..") && !file.contains(&home), "{command}: {line}");
        }
    }
    // A file that is generated is told by its source too.
    desk.write("home/x.go", &format!("// Code generated by x. DO NOT EDIT.\n\n{secret}"));
    let json = desk.report_in("shop", "json ../cover.out --skip-generated");
    assert_eq!(json.code, Some(4), "{}", json.stderr);
    assert!(json.stdout.contains("home/x.go"));
}

#[test]
fn a_program_built_from_files() {
    let desk = Desk::new();
    desk.write("plain/main.go", "package main\n\nfunc main() { println() }\n");
    assert_eq!(go(&desk.path("plain"), &["build", "-cover", "-o", "bin", "main.go"]).code, Some(0));
    fs_err::create_dir(desk.path("data")).unwrap();
    let mut program = Command::new(desk.path("plain/bin"));
    assert!(program.env("GOCOVERDIR", desk.path("data")).status().unwrap().success());
    let (files, stderr) = shown(&desk, ".", "data");
    assert_eq!((files, stderr), (vec!["plain/main.go".to_owned()], String::new()));
}

#[test]
fn another_version_of_the_source_is_told() {
    let desk = Desk::new();
    desk.write("shop/shapes/b.go", "package shapes\n");
    let (files, stderr) = shown(&desk, "shop", "../b");
    assert_eq!(
        stderr,
        "podcov-report: warning: shapes/b.go: the source has changed since the program was built\n"
    );
    assert!(files.contains(&"shapes/b.go".to_owned()));
}

/// Text profiles do not name functions; the source does, if it is that of the program.
#[test]
fn functions_of_text_profiles() {
    let desk = Desk::new();
    assert_eq!(desk.report("textfmt b -o b.out").code, Some(0));
    let functions = |input: &str| {
        let ended = desk.report_in("shop", &format!("json {input}"));
        let json: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        let packages = json["packages"].as_array().unwrap().clone();
        let files = packages.into_iter().flat_map(|package| package["files"].as_array().unwrap().clone());
        let of_file = |file: serde_json::Value| (file["path"].clone(), file["functions"].clone());
        (
            files
                .map(of_file)
                .filter(|(_, functions)| functions[0] != serde_json::Value::Null)
                .collect::<Vec<_>>(),
            ended.stderr,
        )
    };
    let (named, said) = functions("../b");
    assert!(named.len() > 5 && said.is_empty(), "{said}");
    assert_eq!(functions("../b.out"), (named, said));

    // The same lines are in other functions, or in none.
    let source = desk.read("shop/lib/lib.go");
    desk.write("shop/lib/lib.go", &format!("{}{source}", "// New.\n".repeat(4)));
    let ended = desk.report_in("shop", "func ../b.out");
    assert_eq!(
        ended.stderr,
        "podcov-report: warning: lib/lib.go: the source has changed since the program was built\n"
    );
    let names: Vec<&str> = ended
        .stdout
        .lines()
        .filter(|line| line.starts_with("sample/lib/lib.go"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    assert!(!names.is_empty() && names.iter().all(|name| *name == "?"), "{}", ended.stdout);
}

#[test]
fn generated_and_excluded_files() {
    let desk = Desk::new();
    let source = desk.read("shop/shapes/a.go");
    desk.write("shop/shapes/a.go", &format!("// Code generated by hand. DO NOT EDIT.\n{source}"));
    let all = desk.report_in("shop", "json ../b").stdout;
    let without = |args: &str| {
        let ended = desk.report_in("shop", &format!("json ../b {args}"));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ["shapes/a.go", "shapes/b.go", "lib/lib.go", "cmd/two/main.go", "cmd/three/main.go"]
            .map(|file| ended.stdout.contains(&format!("\"path\":\"{file}\"")))
    };
    assert!(all.contains("\"path\":\"shapes/a.go\""));
    assert_eq!(without("--skip-generated"), [false, true, true, true, true]);
    // What another flag leaves out is no mistake in this one; each mistake is named once.
    let ended = desk
        .report_in("shop", "percent ../b --pkg sample/lib --exclude shapes/** --exclude no/** -o ../x.out");
    let warning =
        "podcov-report: warning: --exclude no/**: the coverage data have no such file; a folder is DIR/**\n";
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), warning));
    assert_eq!(without("--exclude main.go"), [true, true, true, false, false]);
    assert_eq!(without("--exclude cmd/** --exclude sample/lib/*"), [true, true, false, false, false]);
    // The commands of Go's tool can leave out files too.
    let percent = desk.report_in("shop", "percent -i ../b --exclude **/shapes/a.go").stdout;
    assert_ne!(percent, desk.report_in("shop", "percent -i ../b").stdout);
    assert_eq!(desk.report("json b --exclude a[").code, Some(2));
    let ended = desk.report_in("shop", "json ../b --exclude lib/ --exclude lib/** --exclude two");
    let warning = |glob: &str| {
        format!(
            "podcov-report: warning: --exclude {glob}: the coverage data have no such file; a folder is DIR/**\n"
        )
    };
    assert_eq!((ended.code, ended.stderr), (Some(0), warning("lib/") + &warning("two")));
}
