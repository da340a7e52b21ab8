//! The commands of `go tool covdata`, with its flags.

use std::process::Stdio;

use crate::Desk;

#[test]
fn it_stands_in_for_go_tool_covdata() {
    let desk = Desk::new();
    for args in [
        "percent -i a",
        "percent -i=a,b",
        "percent -i a,b -pkg sample/lib",
        "percent -pkg=sample/cmd/...,sample/lib -i=b,a",
        "func -i a,b",
        "func -i=b -pkg=sample/shapes",
        "pkglist -i a,b",
        "pkglist -i a -pkg=.../lib",
    ] {
        let (ours, go) = (desk.report(args), desk.covdata(args));
        assert_eq!((ours.code, ours.stderr.as_str()), (Some(0), ""), "{args}");
        assert_eq!(ours.stdout, go.stdout, "{args}");
        assert!(!go.stdout.is_empty(), "{args}");
    }
}

#[test]
fn files_as_go_writes_them() {
    let desk = Desk::new();
    for args in ["textfmt -i a,b -o=", "percent -i=a,b -o ", "textfmt -i b -pkg=sample/lib -o "] {
        let (ours, go) = (desk.report(&format!("{args}ours.txt")), desk.covdata(&format!("{args}go.txt")));
        assert_eq!((ours.code, ours.stderr), (Some(0), String::new()), "{args}");
        assert_eq!((ours.stdout, desk.read("ours.txt")), (go.stdout, desk.read("go.txt")), "{args}");
    }
    // Go requires a file.
    assert_eq!(desk.report("textfmt -i a").stdout, {
        desk.covdata("textfmt -i a -o go.txt");
        desk.read("go.txt")
    });
}

#[test]
fn folders_that_go_reads_as_its_own() {
    let desk = Desk::new();
    for (number, args) in [
        "merge -i a,b",
        "merge -i=a,b -pcombine",
        "merge -i a,b -pkg=sample/lib",
        "merge -i a,b -pcombine=true -pkg=sample/...",
    ]
    .into_iter()
    .enumerate()
    {
        fs_err::create_dir(desk.path(&format!("go{number}"))).unwrap();
        assert_eq!(desk.report(&format!("{args} -o ours{number}")).code, Some(0), "{args}");
        assert_eq!(desk.covdata(&format!("{args} -o go{number}")).code, Some(0), "{args}");
        let read = |folder: &str| {
            desk.covdata(&format!("textfmt -i {folder}{number} -o {folder}.txt"));
            (
                desk.covdata(&format!("percent -i {folder}{number}")).stdout,
                desk.read(&format!("{folder}.txt")),
            )
        };
        assert_eq!(read("ours"), read("go"), "{args}");
        let names = |folder: &str| {
            let entries = fs_err::read_dir(desk.path(&format!("{folder}{number}"))).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut metas: Vec<_> = names.filter(|name| name.starts_with("covmeta.")).collect();
            metas.sort();
            metas
        };
        assert_eq!(names("ours"), names("go"), "{args}");
    }
}

#[test]
fn subtract_and_intersect() {
    let desk = Desk::new();
    assert_eq!(desk.report("subtract -i b,b -o none").code, Some(0));
    assert!(desk.report("none").stdout.ends_with("coverage: 0.0% of statements\n"));
    assert_eq!(desk.report("intersect -i=b,b -o=all").code, Some(0));
    assert_eq!(desk.report("all").stdout, desk.report("b").stdout);
    // Across binaries: the coverage of lib that one has too is removed from two and three.
    assert_eq!(desk.report("subtract b a -o rest").code, Some(0));
    let lib = |args: &str| desk.covdata(&format!("percent -pkg=sample/lib -i {args}")).stdout;
    assert_ne!(lib("rest"), lib("b"));
    assert_eq!(
        desk.report("subtract b -o out").stderr.lines().next(),
        Some("podcov-report: error: at least two inputs are needed")
    );
}

/// The statements that ran, and all of them, by a text profile of Go's.
fn statements(text: &str) -> (u64, u64) {
    let blocks = text.lines().skip(1).map(|line| {
        let mut numbers = line.rsplit(' ').map(|number| number.parse::<u64>().expect("a number"));
        (numbers.next().expect("a count"), numbers.next().expect("a number of statements"))
    });
    blocks.fold((0, 0), |(covered, total), (count, statements)| {
        (covered + if count > 0 { statements } else { 0 }, total + statements)
    })
}

#[test]
fn the_summary() {
    let desk = Desk::new();
    let ended = desk.report("a b");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let go = desk.covdata("percent -i a,b").stdout;
    let mut packages = 0;
    for line in go.lines().filter(|line| line.ends_with(" of statements")) {
        let (package, percent) = line.rsplit_once("\t\tcoverage: ").unwrap();
        let (package, percent) =
            (package.rsplit('\t').next().unwrap(), percent.replace(" of statements", ""));
        let has =
            |line: &str| line.trim_start().starts_with(&percent) && line.ends_with(&format!("  {package}"));
        assert!(ended.stdout.lines().any(has), "{line} in\n{}", ended.stdout);
        packages += 1;
    }
    assert_eq!(packages, 6);
    assert_eq!(desk.covdata("textfmt -i a,b -o go.txt").code, Some(0));
    let (covered, total) = statements(&desk.read("go.txt"));
    let percent = 100.0 * covered as f64 / total as f64;
    assert!(
        ended.stdout.ends_with(&format!("\ncoverage: {percent:.1}% of statements\n")),
        "{}",
        ended.stdout
    );
    // Folders in folders, and what podcov-collect leaves.
    crate::copy(&desk.path("a"), &desk.path("reports/coverage/shop/pod/one"));
    crate::copy(&desk.path("b"), &desk.path("reports/coverage/shop/pod/two"));
    assert_eq!(desk.report("").stdout, ended.stdout);
}

#[test]
fn unit_tests_and_programs_in_one_total() {
    let desk = Desk::new();
    desk.write("shop/lib/lib_test.go", "package lib\n\nimport \"testing\"\n\nfunc TestSum(t *testing.T) {\n\tif Sum([]int{1, 2}) != 3 || Classify(-1) != \"negative\" {\n\t\tt.Fatal()\n\t}\n}\n");
    let profile = desk.path("unit.out").display().to_string();
    let flags = ["test", "-covermode=count", "-coverpkg=./lib", "-coverprofile", &profile, "./lib"];
    assert_eq!(crate::go(&desk.path("shop"), &flags).code, Some(0));
    // Alone, it has the same result as with Go's other tool, function by function.
    let func = crate::go(&desk.path("shop"), &["tool", "cover", &format!("-func={profile}")]).stdout;
    let ours = desk.report_in("shop", "func ../unit.out");
    assert_eq!((ours.code, ours.stderr.as_str()), (Some(0), ""));
    let words = |text: &str| {
        text.replace("total:", "total").split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words(&ours.stdout), words(&func));

    // Together, each block counts once.
    let ended = desk.report("merge a unit.out -o merged.out");
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    desk.covdata("textfmt -i a -o a.txt");
    let count = |text: &str| {
        let blocks = text.lines().filter(|line| line.starts_with("sample/lib/"));
        blocks
            .map(|line| {
                line.rsplit_once(' ').map(|(block, n)| (block.to_owned(), n.parse::<u32>().unwrap())).unwrap()
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let (unit, program, merged) =
        (count(&desk.read("unit.out")), count(&desk.read("a.txt")), count(&desk.read("merged.out")));
    assert_eq!((unit.len(), program.len()), (merged.len(), merged.len()));
    for (block, count) in merged {
        assert_eq!(count, unit[&block] + program[&block], "{block}");
    }
    let cover = crate::go(&desk.path("shop"), &["tool", "cover", "-func=../merged.out"]);
    assert_eq!(cover.code, Some(0), "{}", cover.stderr);
}

#[test]
fn what_is_wrong_is_said_and_shows_in_the_exit_code() {
    let desk = Desk::new();
    let good = desk.report("a").stdout;
    let counters = |folder: &str| {
        let mut entries = fs_err::read_dir(desk.path(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries.find(|path| path.to_string_lossy().contains("covcounters.")).unwrap()
    };
    // A cut counter file beside whole ones, and one without meta-data.
    let bytes = fs_err::read(counters("b")).unwrap();
    let orphan = desk.path("a").join(counters("b").file_name().unwrap());
    fs_err::write(&orphan, &bytes).unwrap();
    let ended = desk.report("a");
    assert_eq!((ended.code, &ended.stdout), (Some(4), &good));
    assert!(ended.stderr.contains("no meta-data file covmeta."), "{}", ended.stderr);
    fs_err::write(&orphan, &bytes[..bytes.len() - 1]).unwrap();
    let ended = desk.report("percent -i a,b");
    fs_err::remove_file(&orphan).unwrap();
    assert_eq!((ended.code, ended.stdout), (Some(4), desk.covdata("percent -i a,b").stdout));
    assert!(ended.stderr.contains("the file does not end in a footer"), "{}", ended.stderr);

    for (args, code, says) in [
        ("missing a", 4, "missing: no such file or folder"),
        ("missing", 4, "there are no coverage data in the input"),
        ("htlm a/no", 4, "hint: nor is there such a command: podcov-report --help lists them"),
        ("-i .", 4, "hint: folders in those of -i are not read"),
        ("shop/go.mod", 4, "not a text profile"),
        ("merge -i a,b -o a", 2, "a is an input as well"),
        ("merge a b -o b/merged/all", 2, "b/merged/all is an input as well, or in one"),
        ("json a --root missing", 2, "--root missing: there is no such folder"),
        ("--pkg sample/lib percent a", 2, "inputs and selections come after the command"),
        ("", 2, "no input, and no folder reports/coverage"),
        ("percent a --pkg", 2, "a value is required"),
    ] {
        let ended = desk.report(args);
        assert_eq!(ended.code, Some(code), "{args}: {ended:?}");
        assert!(ended.stderr.contains(says), "{args}: {}", ended.stderr);
    }
}

#[test]
fn versions_of_the_source_are_told_apart() {
    let desk = Desk::new();
    desk.covdata("textfmt -i a -o old.txt");
    // As if a line had been added to lib.
    let changed: String = desk
        .read("old.txt")
        .lines()
        .map(|line| {
            let moved =
                line.strip_prefix("sample/lib/lib.go:10.").map(|rest| format!("sample/lib/lib.go:9.{rest}"));
            moved.unwrap_or_else(|| line.to_owned()) + "\n"
        })
        .collect();
    assert_ne!(changed, desk.read("old.txt"));
    desk.write("new.txt", &changed);
    let ended = desk.report("func a new.txt --root shop");
    assert_eq!(ended.code, Some(0));
    assert_eq!(
        ended.stderr,
        "podcov-report: warning: the inputs were built from different versions of sample/lib/lib.go: \
         the statements of all versions count\n"
    );
}

/// Each problem of the data is reported once, however many results are made.
#[test]
fn each_warning_is_printed_once() {
    let desk = Desk::new();
    desk.write("new.txt", "mode: count\nsample/lib/lib.go:9.1,30.2 1 1\n");
    for args in ["percent a new.txt -o both.txt", "percent a new.txt -o filtered.txt --exclude no/**"] {
        let ended = desk.report(args);
        assert_eq!(ended.stderr.matches("built from different versions").count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stderr.matches("--exclude no/**").count(), usize::from(args.contains("--exclude")));
    }
}

/// Runs a line in bash with this `podcov-report`. Gives its stdout and stderr.
pub(crate) fn shell(desk: &Desk, line: &str) -> (String, String) {
    let mut command = std::process::Command::new("bash");
    let line = format!(
        "set -o pipefail; podcov-report() {{ {} \"$@\"; }}; {line}",
        env!("CARGO_BIN_EXE_podcov-report")
    );
    let ended = crate::ended(command.args(["-c", &line]).current_dir(desk.path(".")));
    (ended.stdout, ended.stderr)
}

#[test]
fn a_pipe_that_is_closed_is_no_error_and_hides_none() {
    let desk = Desk::new();
    assert_eq!(shell(&desk, "podcov-report func a b | true; echo $?"), ("0\n".to_owned(), String::new()));
    let closed = |args: &str| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_podcov-report"));
        let child = command
            .args(args.split_whitespace())
            .current_dir(desk.path("."))
            .stdout(writer)
            .stderr(Stdio::piped());
        let ended = child.spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(!said.to_lowercase().contains("pipe"), "{said}");
        ended.status.code()
    };
    assert_eq!(closed("gate a --fail-under 100"), Some(1));
    assert_eq!(closed("percent a missing"), Some(4));
    assert_eq!(closed("textfmt a -o -"), Some(0));
}

#[test]
fn where_a_path_leads_is_written() {
    let desk = Desk::new();
    let whole = desk.report("textfmt a").stdout;
    // The file is not replaced: later output is appended.
    let (_, said) =
        shell(&desk, "{ echo before; podcov-report textfmt a -o /dev/stdout; echo after; } > out");
    assert_eq!((said.as_str(), desk.read("out")), ("", format!("before\n{whole}after\n")));
    assert_eq!(shell(&desk, "podcov-report textfmt a -o /dev/stdout | cat").0, whole);

    desk.write("real", "mode: set\n");
    let (_, said) =
        shell(&desk, "ln -s real link; chmod 600 real; podcov-report textfmt a -o link; ls -l real link");
    assert_eq!((said.as_str(), desk.read("real")), ("", whole.clone()));
    let listed = shell(&desk, "stat -c '%F %a' link real").0;
    assert_eq!(listed, "symbolic link 777\nregular file 600\n");

    // And read.
    let (read, said) = shell(&desk, "cat real | podcov-report percent /dev/stdin");
    assert_eq!((read, said.as_str()), (desk.report("percent real").stdout, ""));
}

#[test]
fn flags_of_all_commands_may_come_first() {
    let desk = Desk::new();
    let percent = desk.report("percent a").stdout;
    for args in [
        "--defer-failure percent a",
        "-v percent a",
        "--state-dir state percent a",
        "percent a --state-dir state",
    ] {
        let ended = desk.report(args);
        assert_eq!((ended.code, &ended.stdout), (Some(0), &percent), "{args}: {ended:?}");
    }
}

#[test]
fn files_of_others_in_a_folder() {
    let desk = Desk::new();
    let good = desk.report("percent a").stdout;
    for name in ["coverprofile.out", "coverprofile.1.out", "coverprofile.2"] {
        desk.write(&format!("a/{name}"), "somebody's own");
    }
    desk.write("a/covmeta.old/notes", "somebody's own");
    let ended = desk.report("percent a");
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), good.as_str(), ""));
}

#[test]
fn a_text_profile_of_mode_set_holds_0_and_1() {
    let desk = Desk::new();
    desk.write("set.out", "mode: set\nm/a.go:1.1,2.2 3 5\nm/a.go:3.1,4.2 1 0\n");
    desk.write("count.out", "mode: count\nm/a.go:1.1,2.2 3 5\n");
    assert_eq!(desk.report("textfmt set.out").stdout, "mode: set\nm/a.go:1.1,2.2 3 1\nm/a.go:3.1,4.2 1 0\n");
    let both = desk.report("textfmt set.out count.out").stdout;
    assert_eq!(both, "mode: count\nm/a.go:1.1,2.2 3 6\nm/a.go:3.1,4.2 1 0\n");
}
