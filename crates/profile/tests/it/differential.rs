//! The same folders, read by this crate and by `go tool covdata`.

use std::path::{Path, PathBuf};

use covdata::{CounterFile, FileName, strip_args};
use podcov_profile::{Builder, Coverage, Data, NewFile, PackagePattern, Profile, Reason};
use tempfile::TempDir;

use crate::go;

/// Asserts that this crate finds nothing wrong with these folders, and Go's percentages.
fn same_percent(dirs: &[&Path]) -> Profile<'static> {
    let (profile, problems) = go::read_dirs(dirs);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(profile.percent().to_string(), go::percent(dirs));
    assert!(profile.percent().total().covered > 0);
    profile
}

/// As [`same_percent`], and the same counts. Go refuses this for a mix of modes.
fn same(dirs: &[&Path]) -> Profile<'static> {
    let profile = same_percent(dirs);
    assert_eq!(go::text(&profile), go::textfmt(dirs));
    assert_eq!(profile.functions().to_string(), go::func(dirs));
    profile
}

/// The sample commands, built for coverage.
struct Sample {
    dir: TempDir,
    bin: PathBuf,
}

impl Sample {
    fn build(mode: &str) -> Self {
        Self::build_from(&go::program("sample"), mode)
    }

    fn build_from(module: &Path, mode: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bin = dir.path().join("bin");
        go::build(module, mode, &bin);
        Self { dir, bin }
    }

    fn build_with(environment: &[(&str, &str)], mode: &str) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let bin = dir.path().join("bin");
        go::build_with(environment, &go::program("sample"), mode, &bin);
        Self { dir, bin }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs a command with the data folder `name`, which it gives.
    fn run(&self, name: &str, program: &str, args: &[&str]) -> PathBuf {
        let data = self.path(name);
        go::run(&self.bin, program, args, &data);
        data
    }
}

fn counter_files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(dir).expect("a data folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let is_counters = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        matches!(name, Some(FileName::Counters { .. }))
    };
    paths.filter(is_counters).collect()
}

#[test]
fn every_mode_and_their_mix() {
    let samples = ["set", "count", "atomic"].map(Sample::build);
    let mut all = Vec::new();
    for sample in &samples {
        // Two binaries with a package in common, several runs each, in one folder and in two.
        let a = sample.run("a", "one", &["add"]);
        same(&[&a]);
        sample.run("a", "two", &[]);
        same(&[&a]);
        let b = sample.run("b", "one", &["join", "", "exit"]);
        sample.run("b", "one", &["join", "more", "args"]);
        assert_eq!(counter_files(&b).len(), 2);
        same(&[&b]);
        same(&[&a, &b]);
        same(&[&b, &a, &a]);
        all.extend([a, b]);
    }
    let all: Vec<_> = all.iter().map(PathBuf::as_path).collect();
    same_percent(&all);
    same_percent(&[all[4], all[1]]);
}

#[test]
fn two_builds_of_a_changed_program() {
    let old = Sample::build("count");
    let changed = tempfile::tempdir().unwrap();
    copy(&go::program("sample"), changed.path(), |text| {
        // Changes the lines of the functions that follow, not of those before.
        text.replace("// Apply calls f and logs.", "\n// Apply calls f and logs.")
            .replace("return \"positive\"", "return \"more than nothing\"")
    });
    let new = Sample::build_from(changed.path(), "count");
    let (old, new) = (old.run("data", "one", &["add", "x"]), new.run("data", "one", &["join"]));
    let (alone, both) = (same(&[&old]), same(&[&old, &new]));
    // The old blocks and the new are all there, as in Go.
    assert!(both.percent().total().total > alone.percent().total().total);
    assert_eq!(mixed(&alone), [""; 0]);
    assert_eq!(mixed(&both), ["sample/lib/lib.go"]);
}

/// The files that have different versions in the inputs.
fn mixed<'a>(profile: &Profile<'a>) -> Vec<&'a str> {
    profile
        .files()
        .filter(|file| file.finding == Some(podcov_profile::Finding::Mixed))
        .map(|file| file.name)
        .collect()
}

#[test]
fn generated_code_whose_blocks_overlap_is_one_version() {
    // As goyacc writes it: several positions in the generated file are one position in the grammar.
    let parser = |step: &str| {
        format!(
            "package parser\n\n//line parser.y:1\nfunc Parse(n int) int {{\n\tif n > 1 {{\n\t\tn{step}\n\t}}\n\treturn n\n}}\n\n\
             //line parser.y:2\nfunc Next(n int) int {{\n\tif n > 2 {{\n\t\tn{step}\n\t}}\n\treturn n\n}}\n"
        )
    };
    let build = |step: &str| {
        let module = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = module.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        };
        write("go.mod", "module shop\n\ngo 1.24\n");
        write("parser/parser.go", &parser(step));
        for command in ["one", "two"] {
            let call = if command == "one" { "Parse(2)" } else { "Next(3)" };
            let main = format!(
                "package main\n\nimport \"shop/parser\"\n\nfunc main() {{\n\tprintln(parser.{call})\n}}\n"
            );
            write(&format!("{command}/main.go"), &main);
        }
        Sample::build_from(module.path(), "count")
    };
    let sample = build("++");
    let (one, two) = (sample.run("one", "one", &[]), sample.run("two", "two", &[]));
    let both = same(&[&one, &two]);
    let file = both.files().find(|file| file.name == "shop/parser/parser.y").unwrap();
    let places: Vec<_> =
        file.blocks.iter().map(|block| (block.unit.start_line, block.unit.end_line)).collect();
    assert!(places.windows(2).any(|two| two[1].0 < two[0].1), "the blocks overlap: {places:?}");
    assert_eq!(mixed(&both), [""; 0]);
    // As text profiles too, and one with the other.
    let text = |dir: &Path| go::textfmt(&[dir]);
    let mut builder = Builder::new();
    builder.add_dir(&one);
    builder.add_text_bytes("two.out", text(&two));
    builder.add_text_bytes("one.out", text(&one));
    assert_eq!(mixed(&go::read(builder).0), [""; 0]);

    // Another version of it is noticed all the same.
    let changed = build("++\n\t\tn++");
    let three = changed.run("three", "one", &[]);
    assert_eq!(mixed(&go::read_dirs([&one, &two, &three]).0), ["shop/parser/parser.y"]);
}

#[test]
fn a_program_that_was_killed_counts_as_not_covered() {
    let sample = Sample::build("set");
    let data = sample.run("data", "one", &["panic"]);
    let (profile, problems) = go::read_dirs([&data]);
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    assert!(matches!(problem.reason, Reason::NoCounters), "{problem}");
    assert_eq!(profile.percent().to_string(), go::percent(&[&data]));
    assert_eq!(profile.percent().total().covered, 0);
    assert!(profile.percent().total().total > 0);
}

/// Go 1.20 is the first release with these files. The toolchains come from where the `go` command gets them.
#[test]
fn every_go_version_and_cgo() {
    let module = go::program("sample");
    for (toolchain, mode, cgo) in [
        ("go1.20.14", "set", "1"),
        ("go1.20.14", "count", "0"),
        ("go1.20.14", "atomic", "1"),
        ("go1.22.12", "set", "0"),
        ("go1.22.12", "count", "1"),
        ("go1.22.12", "atomic", "1"),
        ("local", "set", "1"),
        ("local", "count", "0"),
        ("local", "atomic", "1"),
    ] {
        let sample = Sample::build_with(&[("GOTOOLCHAIN", toolchain), ("CGO_ENABLED", cgo)], mode);
        let three = sample.run("three", "three", &[]);
        let others = sample.run("others", "one", &["add", "x"]);
        sample.run("others", "two", &[]);
        let native = if cgo == "1" { "sample/native/cgo.go" } else { "sample/native/go.go" };
        assert!(same(&[&three]).files().any(|file| file.name == native), "{toolchain} {mode} {cgo}");
        let profile = same(&[&three, &others]);
        // Go's other tool leaves function literals outside of functions out of its total.
        let functions = profile.functions();
        let declared = functions.functions.iter().filter(|function| !function.literal);
        let total = declared.map(|function| function.coverage).sum::<Coverage>().percent().unwrap();
        assert_eq!(
            go::cover_total(&module, &go::text(&profile)),
            format!("{total:.1}%"),
            "{toolchain} {mode} {cgo}"
        );
    }
}

/// The files of a folder: meta-data as it is, counters by what they hold.
fn content(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    describe(entries.map(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        (name.expect("a coverage file"), fs_err::read(path).expect("a file"))
    }))
}

fn describe(files: impl IntoIterator<Item = (FileName, Vec<u8>)>) -> Vec<String> {
    let mut all: Vec<_> = files
        .into_iter()
        .map(|(name, bytes)| {
            assert_eq!(covdata::check(&name, &bytes), Ok(()));
            if matches!(name, FileName::Meta { .. }) {
                return format!("{name} {bytes:?}");
            }
            let file = CounterFile::parse(&bytes).expect("a whole counter file");
            let [segment] = file.segments() else { panic!("one segment") };
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec());
            let mut counters: Vec<_> = file
                .functions()
                .filter(|f| f.counters().any(|counter| counter != 0))
                .map(|f| (f.package, f.function, f.counters().collect::<Vec<_>>()))
                .collect();
            counters.sort_unstable();
            let args: Vec<_> = segment.command_line().into_iter().map(|arg| text(Some(arg))).collect();
            format!(
                "{} {args:?} {:?} {:?} {counters:?}",
                file.hash(),
                text(segment.goos()),
                text(segment.goarch())
            )
        })
        .collect();
    all.sort();
    all
}

fn owned(files: Vec<NewFile<'_>>) -> Vec<String> {
    describe(files.into_iter().map(|(name, bytes)| (name, bytes.into_owned())))
}

#[test]
fn merged_files_are_gos() {
    for mode in ["set", "count", "atomic"] {
        let sample = Sample::build(mode);
        let (a, b) = (sample.run("a", "one", &["add"]), sample.run("b", "two", &[]));
        sample.run("a", "one", &["join"]);
        sample.run("a", "three", &[]);
        sample.run("b", "three", &[]);
        let dirs: &[&Path] = &[&a, &b];
        let mut builder = Builder::new();
        dirs.iter().for_each(|dir| builder.add_dir(dir));
        let files = builder.load();
        let (data, problems) = files.read();
        assert!(problems.is_empty(), "{problems:?}");

        let patterns = "sample/lib,sample/cmd/...";
        let pattern: PackagePattern = patterns.parse().unwrap();
        let is_selected = |path: &str| pattern.matches(path);
        let all = |_: &str| true;
        let cases: [(&str, &[&str], Vec<String>); 4] = [
            ("merged", &[], owned(data.files().unwrap())),
            ("selected", &["-pkg", patterns], owned(data.selected_files(is_selected).unwrap())),
            ("combined", &["-pcombine"], owned(data.combined_files(all).unwrap().0)),
            ("both", &["-pcombine", "-pkg", patterns], owned(data.combined_files(is_selected).unwrap().0)),
        ];
        for (name, flags, files) in cases {
            let out = sample.path(name);
            go::covdata("merge", dirs, flags, &out);
            assert_eq!(files, content(&out), "{mode} {name}");
            same(&[&out]);
        }
        assert_eq!(same(&[&sample.path("merged")]).percent(), same(dirs).percent());
        assert_eq!(same(&[&sample.path("combined")]).percent(), same(dirs).percent());
    }
}

#[test]
fn subtract_and_intersect_on_one_binary_are_gos() {
    for mode in ["set", "count"] {
        let sample = Sample::build(mode);
        let (a, b) =
            (sample.run("a", "one", &["add", "x", "join"]), sample.run("b", "one", &["add", "exit"]));
        sample.run("a", "one", &["", "add"]);
        let mut builder = Builder::new();
        builder.add_dir(&a);
        builder.next_input();
        builder.add_dir(&b);
        let files = builder.load();
        type Operation = for<'a> fn(&mut Data<'a>, &Data<'a>);
        let operations: [(&str, Operation); 2] =
            [("subtract", |a, b| a.subtract(b)), ("intersect", |a, b| a.intersect(b))];
        for (name, operation) in operations {
            let mut each = Vec::new();
            let problems = files.read_each(|_| {}, |data| each.push(data));
            assert!(problems.is_empty(), "{problems:?}");
            let [first, second] = each.as_mut_slice() else { panic!("two inputs") };
            let before = first.profile().percent().total().covered;
            operation(first, second);
            let after = first.profile().percent().total().covered;
            assert!(0 < after && after < before, "{name} {mode}");
            let out = sample.path(name);
            go::covdata(name, &[&a, &b], &[], &out);
            // Go keeps only the facts about the first process.
            let counters = |lines: Vec<String>| -> Vec<String> {
                lines
                    .into_iter()
                    .map(|line| line[line.rfind(" [(").unwrap_or_default()..].to_owned())
                    .collect()
            };
            assert_eq!(counters(owned(first.files().unwrap())), counters(content(&out)), "{name} {mode}");
            same(&[&out]);
        }
    }
}

#[test]
fn set_operations_across_builds_and_text_profiles() {
    // Command one and command two share package lib; Go compares nothing across binaries.
    let sample = Sample::build("count");
    let (one, two) = (sample.run("one", "one", &["add", "x"]), sample.run("two", "two", &[]));
    let text = sample.path("two.out");
    fs_err::write(&text, go::textfmt(&[&two])).unwrap();
    let covered = |profile: &Profile<'_>| {
        let lib = profile.packages().iter().find(|package| package.path == "sample/lib").unwrap();
        let blocks = lib.files.iter().flat_map(|file| &file.blocks).filter(|block| block.count > 0);
        blocks.map(|block| block.unit).collect::<Vec<_>>()
    };
    let (of_one, of_two) = (covered(&go::read_dirs([&one]).0), covered(&go::read_dirs([&two]).0));
    let both: Vec<_> = of_one.iter().filter(|unit| of_two.contains(unit)).copied().collect();
    let only_one: Vec<_> = of_one.iter().filter(|unit| !of_two.contains(unit)).copied().collect();
    assert!(!both.is_empty() && !only_one.is_empty());
    for other in [&two, &text] {
        let mut builder = Builder::new();
        builder.add_dir(&one);
        builder.next_input();
        if other.is_dir() {
            builder.add_dir(other);
        } else {
            builder.add_text(other);
        }
        let files = builder.load();
        let mut each = Vec::new();
        files.read_each(|_| {}, |data| each.push(data));
        let [first, second] = each.as_mut_slice() else { panic!("two inputs") };
        let mut subtracted = first.clone();
        subtracted.subtract(second);
        assert_eq!(covered(&subtracted.profile()), only_one);
        first.intersect(second);
        assert_eq!(covered(&first.profile()), both);
    }
}

#[test]
fn a_text_profile_and_coverage_files_are_one() {
    let sample = Sample::build("count");
    let (one, two) = (sample.run("one", "one", &["add", "x"]), sample.run("two", "two", &[]));
    let mut builder = Builder::new();
    builder.add_dir(&one);
    builder.add_text_bytes("two.out", go::textfmt(&[&two]));
    let (profile, problems) = go::read(builder);
    assert!(problems.is_empty(), "{problems:?}");
    // Packages without statements are not in a text profile.
    assert_eq!(go::text(&profile), go::textfmt(&[&one, &two]));
    assert_eq!(profile.percent().total(), go::read_dirs([&one, &two]).0.percent().total());
}

#[test]
fn gos_tool_reads_stripped_files() {
    let sample = Sample::build("count");
    let data = sample.run("data", "one", &["add", "--token=hunter2"]);
    // A long command line, for lengths of more than one byte.
    sample.run("data", "one", &["join", &"secret".repeat(1000)]);
    let (percent, textfmt) = (go::percent(&[&data]), go::textfmt(&[&data]));
    for path in counter_files(&data) {
        let stripped = strip_args(&fs_err::read(&path).unwrap()).unwrap();
        assert!(stripped.len() < 400, "{}", stripped.len());
        fs_err::write(&path, stripped).unwrap();
    }
    assert_eq!((go::percent(&[&data]), go::textfmt(&[&data])), (percent, textfmt));
    let dump = go::go(Path::new("."), ["tool", "covdata", "debugdump", "-i", &data.display().to_string()]);
    assert!(dump.contains("GOOS=") && dump.contains("GOARCH="), "{dump}");
    assert!(!dump.contains("program args"), "{dump}");
    same(&[&data]);
}

#[test]
fn raw_big_endian_and_saturated_counters_and_several_segments() {
    let recode = Recode::build();
    let sample = Sample::build("count");
    let data = sample.run("data", "one", &["add", "x"]);
    sample.run("data", "one", &["join", ""]);
    let [one, two] = counter_files(&data).try_into().unwrap();
    let expected = same(&[&data]);

    for (flavour, factor) in [("raw", "1"), ("big", "1"), ("uleb", "1")] {
        let out = sample.path(flavour);
        recode.run(flavour, factor, &out, &[&one]);
        recode.run(flavour, factor, &out, &[&two]);
        assert_eq!(same(&[&out]), expected, "{flavour}");
    }
    // 2³¹ as a factor: the sum for a block that ran once in each run is 2³², one more than fits.
    let out = sample.path("saturated");
    recode.run("uleb", "2147483648", &out, &[&one]);
    recode.run("uleb", "2147483648", &out, &[&two]);
    let profile = same(&[&out]);
    let blocks = profile.files().flat_map(|file| &file.blocks);
    assert!(blocks.clone().any(|block| block.count == u32::MAX));
    // Go's tool reads only the first segment, so the expected result is Go's for separate files.
    for flavour in ["raw", "uleb"] {
        let out = sample.path(&format!("{flavour}-segments"));
        let file = recode.run(flavour, "1", &out, &[&one, &two, &one]);
        let (profile, problems) = go::read_dirs([&out]);
        assert!(problems.is_empty(), "{problems:?}");
        recode.run(flavour, "1", &sample.path("thrice"), &[&one]);
        recode.run(flavour, "1", &sample.path("thrice"), &[&two]);
        recode.run(flavour, "1", &sample.path("thrice"), &[&one]);
        assert_eq!(profile, same(&[&sample.path("thrice")]));
        fs_err::remove_dir_all(sample.path("thrice")).unwrap();

        let stripped = strip_args(&fs_err::read(&file).unwrap()).unwrap();
        fs_err::write(&file, stripped).unwrap();
        assert_eq!(go::read_dirs([&out]).0, profile);
        go::percent(&[&out]);
    }
}

/// The program that writes counter files of kinds that Go's runtime does not write.
struct Recode(TempDir);

impl Recode {
    fn build() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (target, rename) =
            (dir.path(), |text: String| text.replace("\"internal/coverage", "\"recode/coverage"));
        copy(&go::program("recode"), target, |text| text);
        let root = go::go(Path::new("."), ["env", "GOROOT"]);
        let source = Path::new(root.trim()).join("src/internal/coverage");
        copy_files(&source, &target.join("coverage"), rename);
        for package in
            ["decodecounter", "encodecounter", "slicereader", "slicewriter", "stringtab", "uleb128"]
        {
            copy_files(&source.join(package), &target.join("coverage").join(package), rename);
        }
        go::go(target, ["build", "-o", "bin", "."]);
        Self(dir)
    }

    /// Writes one counter file, beside the meta-data of the first input.
    fn run(&self, flavour: &str, factor: &str, dir: &Path, inputs: &[&Path]) -> PathBuf {
        fs_err::create_dir_all(dir).expect("a data folder");
        let name = inputs[0].file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        let Some(FileName::Counters { hash, .. }) = name else { panic!("{inputs:?} are counter files") };
        let meta = FileName::Meta { hash }.to_string();
        fs_err::copy(inputs[0].with_file_name(&meta), dir.join(&meta)).expect("the meta-data");
        let number = counter_files(dir).len() as u32;
        let out = dir.join(FileName::Counters { hash, pid: 1, nanos: number.into() }.to_string());
        let mut command = std::process::Command::new(self.0.path().join("bin"));
        let status =
            command.args([flavour, factor]).arg(&out).args(inputs).status().expect("recode was just built");
        assert!(status.success());
        out
    }
}

/// Copies a module's text files, folders and all, changing each.
fn copy(from: &Path, to: &Path, change: impl Fn(String) -> String + Copy) {
    copy_files(from, to, change);
    for entry in fs_err::read_dir(from).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            copy(&path, &to.join(path.file_name().expect("a name")), change);
        }
    }
}

fn copy_files(from: &Path, to: &Path, change: impl Fn(String) -> String) {
    fs_err::create_dir_all(to).expect("a folder for sources");
    for entry in fs_err::read_dir(from).expect("a source folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
        if path.is_file() && !name.ends_with("_test.go") {
            let text = fs_err::read_to_string(&path).expect("a source file");
            fs_err::write(to.join(name), change(text)).expect("a copy");
        }
    }
}

#[test]
fn percentages_are_rounded_as_go_rounds() {
    const LIMIT: u64 = 500;
    let dir = tempfile::tempdir().unwrap();
    let program = format!(
        "package main\n\nimport (\n\"bufio\"\n\"fmt\"\n\"os\"\n)\n\nfunc main() {{\n\
         w := bufio.NewWriter(os.Stdout)\ndefer w.Flush()\n\
         for tot := uint64(1); tot <= {LIMIT}; tot++ {{\nfor cov := uint64(0); cov <= tot; cov++ {{\n\
         fmt.Fprintf(w, \"coverage: %.1f%% of statements\\n\", 100.0*float64(cov)/float64(tot))\n}}\n}}\n}}\n"
    );
    fs_err::write(dir.path().join("main.go"), program).unwrap();
    let output = go::go(dir.path(), ["run", "main.go"]);
    let mut lines = output.lines();
    for total in 1..=LIMIT {
        for covered in 0..=total {
            let coverage = Coverage { covered, total };
            assert_eq!(Some(coverage.to_string().as_str()), lines.next(), "{covered} of {total}");
        }
    }
    assert_eq!(lines.next(), None);
}
