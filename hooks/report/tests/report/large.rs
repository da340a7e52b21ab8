//! A program with 3 MB of meta-data and hundreds of counter files. It tests the code that only large data use: the work on
//! all processors, and the comparison of counter files with each other.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use covdata::CounterFile;
use tempfile::TempDir;

use crate::Ended;

/// Folders of coverage data. `a` and `b` are of one program, `c` is of another that has some of its packages, and `d` has
/// one counter file of `b`.
struct Large {
    data: &'static Path,
    out: TempDir,
}

impl Large {
    /// Builds and runs the programs, once for all tests of this version of them.
    fn new() -> Self {
        static DATA: OnceLock<PathBuf> = OnceLock::new();
        let data = DATA.get_or_init(|| {
            let sources = sources();
            crate::made_once("large", &(&sources, RUNS), |folder| build_and_run(&sources, folder))
        });
        Self { data, out: tempfile::tempdir().expect("a temporary folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.out.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).expect("a file of this test's")
    }

    /// podcov-report with arguments separated by spaces; in those of `-i=` folders of the data by their names.
    fn report(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podcov-report"));
        command.args(self.args(args)).current_dir(self.out.path());
        command
    }

    /// Runs `go tool covdata` in the same way.
    fn covdata(&self, args: &str) -> String {
        let args = self.args(args);
        let args: Vec<&str> =
            ["tool", "covdata"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let ended = crate::go(self.out.path(), &args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        ended.stdout
    }

    fn args(&self, args: &str) -> Vec<String> {
        let args = args.split_whitespace().map(|arg| match arg.strip_prefix("-i=") {
            Some(list) => {
                let folder = |name| {
                    let of_data = self.data.join(name);
                    if of_data.exists() { of_data } else { self.path(name) }.display().to_string()
                };
                format!("-i={}", list.split(',').map(folder).collect::<Vec<_>>().join(","))
            }
            None => arg.to_owned(),
        });
        args.collect()
    }
}

/// Runs podcov-report and gives what it printed.
fn printed(command: &mut Command) -> String {
    let Ended { code, stdout, stderr } = crate::ended(command);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{command:?}");
    stdout
}

#[test]
fn every_command_gives_what_gos_tool_gives() {
    let large = Large::new();
    assert_sizes(&large);
    for args in [
        "percent -i=a",
        "percent -i=c,b,a",
        "percent -i=a,c -pkg=large/odd,large/pkg00",
        "func -i=a",
        "func -i=a,c",
        "func -i=b -pkg=large/cmd/...,large/odd",
        "pkglist -i=a,c",
    ] {
        let ours = printed(&mut large.report(args));
        assert!(ours == large.covdata(args) && !ours.is_empty(), "{args}");
    }
    for args in ["textfmt -i=a", "textfmt -i=a,b,c", "textfmt -i=a -pkg=large/odd,large/pkg07"] {
        printed(&mut large.report(&format!("{args} -o ours.txt")));
        large.covdata(&format!("{args} -o go.txt"));
        assert!(large.read("ours.txt") == large.read("go.txt"), "{args}");
    }
    for (number, args) in [
        "merge -i=a,b,c",
        "merge -i=a,c -pcombine",
        "merge -i=a,c -pkg=large/pkg0...",
        "merge -i=b,c -pcombine -pkg=large/odd,large/pkg00",
        "subtract -i=a,b",
        "subtract -i=b,a",
        // Of several counter files in an input but the first, Go keeps what ran in each, not in any.
        "intersect -i=a,d",
    ]
    .into_iter()
    .enumerate()
    {
        let [ours, go] = ["ours", "go"].map(|of| format!("{of}{number}"));
        fs_err::create_dir(large.path(&go)).unwrap();
        printed(&mut large.report(&format!("{args} -o {ours}")));
        large.covdata(&format!("{args} -o {go}"));
        let metas = |folder: &str| {
            let paths = fs_err::read_dir(large.path(folder)).unwrap().map(|entry| entry.unwrap().path());
            let metas = paths.filter(|path| path.to_string_lossy().contains("covmeta."));
            let mut metas: Vec<_> = metas
                .map(|path| (path.file_name().unwrap().to_owned(), fs_err::read(path).unwrap()))
                .collect();
            metas.sort();
            metas
        };
        assert!(metas(&ours) == metas(&go), "{args}");
        for folder in [&ours, &go] {
            large.covdata(&format!("textfmt -i={folder} -o {folder}.txt"));
        }
        assert!(large.read(&format!("{ours}.txt")) == large.read(&format!("{go}.txt")), "{args}");
    }
}

/// Asserts that the data exceed all limits from which on other code is used.
fn assert_sizes(large: &Large) {
    let files = |folder: &str, name: &str| {
        let paths = fs_err::read_dir(large.data.join(folder))
            .expect("a folder")
            .map(|entry| entry.expect("an entry").path());
        let mut paths: Vec<_> = paths.filter(|path| path.to_string_lossy().contains(name)).collect();
        paths.sort();
        paths.into_iter().map(|path| fs_err::read(path).expect("a file")).collect::<Vec<_>>()
    };
    let [meta] = files("a", "covmeta.").try_into().expect("one file");
    assert!(meta.len() > 2_800_000, "{} bytes of meta-data", meta.len());
    let counters = files("a", "covcounters.");
    assert!(counters.len() >= RUNS, "{} counter files", counters.len());
    // Half of them are the same but for one package; the others have other counts in every few functions.
    let functions = |bytes: &[u8]| {
        let functions = CounterFile::parse(bytes).expect("a whole file");
        let functions = functions.functions();
        functions.map(|f| (f.package, f.function, f.counters().collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    let first = functions(&counters[0]);
    assert!(first.len() > 1_000);
    let in_first: std::collections::HashSet<_> = first.iter().collect();
    let shares: Vec<f64> = counters
        .iter()
        .map(|bytes| {
            let functions = functions(bytes);
            functions.iter().filter(|function| in_first.contains(function)).count() as f64
                / functions.len() as f64
        })
        .collect();
    assert!(shares.iter().filter(|share| **share > 0.8).count() > RUNS / 3, "{shares:?}");
    assert!(shares.iter().filter(|share| **share < 0.5).count() > RUNS / 3, "{shares:?}");
}

#[test]
fn without_threads_it_is_the_same() {
    let large = Large::new();
    for args in ["percent -i=a", "func -i=a", "textfmt -i=a,c -o -"] {
        // No machine has memory for a stack of this size, so no thread can be started.
        let alone = printed(large.report(args).env("RUST_MIN_STACK", "281474976710656"));
        assert!(alone == printed(&mut large.report(args)), "{args}");
    }
}

/// Memory is for sums, one of each kind a processor, not for inputs.
#[test]
#[cfg(target_os = "linux")]
fn many_inputs_take_the_memory_of_a_few() {
    let large = Large::new();
    let processors = std::thread::available_parallelism().unwrap().get();
    let limit = 48_000 + 12_000 * processors;
    let limited = |args: &str| {
        let mut command = Command::new("sh");
        let script = format!("ulimit -d {limit} && exec \"$0\" \"$@\"");
        let program = env!("CARGO_BIN_EXE_podcov-report");
        command.args(["-c", &script, program]).args(large.args(args)).current_dir(large.out.path());
        printed(&mut command)
    };
    // One counter file, which its meta-data is not beside, in each of very many inputs.
    let of_d = fs_err::read_dir(large.data.join("d")).unwrap().map(|entry| entry.unwrap().path());
    let counters = of_d.filter(|path| path.to_string_lossy().contains("covcounters.")).max().unwrap();
    fs_err::create_dir(large.path("one")).unwrap();
    fs_err::copy(&counters, large.path("one").join(counters.file_name().unwrap())).unwrap();
    let list = format!("b{}", ",one".repeat(400 * processors));
    let few = printed(&mut large.report("percent -i=b"));
    assert!(limited(&format!("percent -i={list}")) == few);
    assert!(limited(&format!("intersect -i={list} -o none")).is_empty());

    let text = printed(&mut large.report("textfmt -i=b"));
    assert!(text.len() > 2_000_000, "{}", text.len());
    fs_err::write(large.path("b.txt"), text).unwrap();
    let list = vec!["b.txt"; 20 * processors].join(" ");
    assert_eq!(limited(&format!("percent {list}")), printed(&mut large.report("percent b.txt")));
}

/// How many counter files the folder `a` has, and one more for the end of the program.
const RUNS: usize = 300;

/// Writes the sources, builds them, and runs the programs.
fn build_and_run(sources: &[(String, String)], folder: &Path) {
    let module = folder.join("module");
    for (path, text) in sources {
        let path = module.join(path);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder for sources");
        fs_err::write(path, text).expect("a source file");
    }
    // Without optimization, which takes longer than all the rest.
    let flags =
        ["build", "-trimpath", "-cover", "-covermode=atomic", "-gcflags=-N -l", "-ldflags=-s -w", "-o"];
    let bin = format!("{}/", folder.join("bin").display());
    let built = crate::go(&module, &[&flags[..], &[&bin, "./cmd/..."]].concat());
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    for (data, program, runs, seed) in [("a", "all", RUNS, "1"), ("b", "all", 3, "2"), ("c", "some", 3, "3")]
    {
        let data = folder.join(data);
        fs_err::create_dir(&data).expect("a folder for coverage data");
        let mut command = Command::new(folder.join("bin").join(program));
        command.env("GOCOVERDIR", &data).arg(&data).args([&runs.to_string(), seed]);
        let ended = crate::ended(&mut command);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    }
    let (b, d) = (folder.join("b"), folder.join("d"));
    fs_err::create_dir(&d).expect("a folder for coverage data");
    for name in ["covmeta.", "covcounters."] {
        let of_b = fs_err::read_dir(&b).expect("a folder").map(|entry| entry.expect("an entry").path());
        let last = of_b.filter(|path| path.to_string_lossy().contains(name)).max().expect("a coverage file");
        fs_err::copy(&last, d.join(last.file_name().expect("a name"))).expect("a copy");
    }
    for done in [&module, &folder.join("bin")] {
        fs_err::remove_dir_all(done).expect("what was just made");
    }
}

/// How many packages there are of many functions, and how many functions each has.
const PACKAGES: usize = 48;
const FUNCTIONS: usize = 300;

/// The paths and texts of a Go module with two commands.
fn sources() -> Vec<(String, String)> {
    // Long names make large meta-data of code that is built soon.
    let long = "ANameAsLongAsThoseInGeneratedClients".repeat(4);
    let mut sources = vec![
        ("go.mod".to_owned(), "module large\n\ngo 1.24\n".to_owned()),
        ("run/run.go".to_owned(), RUN.to_owned()),
        ("types/types.go".to_owned(), "package types\n\ntype Number int\n".to_owned()),
        ("odd/odd.go".to_owned(), odd()),
        ("odd/a.go".to_owned(), "package odd\n\nfunc init() {\n\tcalls++\n}\n".to_owned()),
    ];
    for package in 0..PACKAGES {
        let mut all = format!("package pkg{package:02}\n\nvar All = []func(int) int{{\n");
        for file in ["one", "two"] {
            let mut text = format!("package pkg{package:02}\n");
            for function in 0..FUNCTIONS / 2 {
                let name = format!("F{file}{function:03}{long}");
                let _ = writeln!(all, "\t{name},");
                let _ = write!(
                    text,
                    "\nfunc {name}(n int) int {{\n\tif n > 3 {{\n\t\treturn n + {function}\n\t}}\n\
                     \tfor n%5 != 0 {{\n\t\tn++\n\t}}\n\treturn n\n}}\n"
                );
            }
            sources.push((format!("pkg{package:02}/{file}.go"), text));
        }
        sources.push((format!("pkg{package:02}/all.go"), all + "}\n"));
    }
    for (command, packages) in [("all", PACKAGES), ("some", 10)] {
        let mut imports = String::new();
        let mut all = String::new();
        for package in 0..packages {
            let _ = writeln!(imports, "\t\"large/pkg{package:02}\"");
            let _ = writeln!(all, "\t\tpkg{package:02}.All,");
        }
        let text = format!(
            "package main\n\nimport (\n\t\"large/odd\"\n{imports}\t\"large/run\"\n\t\"large/types\"\n)\n\n\
             func main() {{\n\trun.Run([][]func(int) int{{\n\t\todd.All,\n{all}\t}})\n\t_ = types.Number(1)\n}}\n"
        );
        sources.push((format!("cmd/{command}/main.go"), text));
    }
    sources
}

/// Unusual code: function literals outside of functions, several functions of one name, names that are not
/// ASCII, lines beyond 16,384, and long lines.
fn odd() -> String {
    let long = "+ n ".repeat(60);
    let blank = "\n".repeat(20_000);
    format!(
        "package odd\n\nvar calls int\n\nvar literal = func(n int) int {{ return n }}\n\n\
         func init() {{\n\tcalls++\n}}\n\nfunc init() {{\n\tcalls += 2\n}}\n\n\
         type größe int\n\nfunc (g größe) Höhe(n int) int {{\n\tif n > 2 {{ return n {long}}} else if n > 1 {{ return int(g) }}\n\treturn 0\n}}\n\
         {blank}func Last(n int) int {{\n\tfor range n {{\n\t\tfunc() {{ calls++ }}()\n\t}}\n\treturn calls\n}}\n\n\
         var All = []func(int) int{{literal, größe(1).Höhe, Last}}\n"
    )
}

/// Writes a counter file for each of many runs: every second one is the same but for one package.
const RUN: &str = r#"package run

import (
	"os"
	"runtime/coverage"
	"strconv"
)

func Run(packages [][]func(int) int) {
	runs, _ := strconv.Atoi(os.Args[2])
	seed, _ := strconv.Atoi(os.Args[3])
	random := uint32(seed)
	for run := range runs {
		if err := coverage.ClearCounters(); err != nil {
			panic(err)
		}
		for number, functions := range packages {
			if number%8 != 0 && number != run%len(packages) {
				continue
			}
			for index, function := range functions {
				random = random*1664525 + 1013904223
				n := index % 7
				if run%2 == 1 {
					n = int(random>>24) % 7
				}
				if n == 6 {
					n = 1000
				}
				for range n {
					function(n)
				}
			}
		}
		if err := coverage.WriteCountersDir(os.Args[1]); err != nil {
			panic(err)
		}
	}
}
"#;
