//! One source, built by several releases of Go, which cut it into blocks differently.

use std::collections::BTreeMap;
use std::path::PathBuf;

use podcov_profile::{Builder, Coverage, Finding, Profile};
use proptest::prelude::*;

use crate::go::{self, read, text};

/// The text profiles of one program, a run each. 1.27.1 gives each piece of a block the statements of the whole.
const GO_1_26: &str = include_str!("../../../covdata/tests/fixtures/releases/go1.26.8.txt");
const GO_1_27_1: &str = include_str!("../../../covdata/tests/fixtures/releases/go1.27.1.txt");
const GO_1_27: &str = include_str!("../../../covdata/tests/fixtures/releases/go1.27.3.txt");

fn profile_of(texts: &[&str]) -> Profile<'static> {
    let mut builder = Builder::new();
    for (number, text) in texts.iter().enumerate() {
        builder.add_text_bytes(format!("{number}.out"), text.as_bytes());
    }
    let (profile, problems) = read(builder);
    assert!(problems.is_empty(), "{problems:?}");
    profile
}

fn findings(profile: &Profile<'_>) -> Vec<Finding> {
    profile.files().filter_map(|file| file.finding).collect()
}

#[test]
fn a_program_by_any_of_them_together_has_the_statements_of_one() {
    let right = Coverage { covered: 7, total: 10 };
    for texts in [
        &[GO_1_26, GO_1_27][..],
        &[GO_1_27, GO_1_26],
        &[GO_1_26, GO_1_27_1],
        &[GO_1_27_1, GO_1_27],
        &[GO_1_26, GO_1_27_1, GO_1_27],
    ] {
        let profile = profile_of(texts);
        assert_eq!((profile.percent().total(), findings(&profile)), (right, vec![Finding::Joined]));
    }
    assert_eq!(profile_of(&[GO_1_26]).percent().total(), right);
    assert_eq!(profile_of(&[GO_1_27]).percent().total(), right);
    // In one text profile, as `go tool covdata textfmt` writes it of both.
    let both = profile_of(&[&[GO_1_26, GO_1_27].concat()]);
    assert_eq!((both.percent().total(), findings(&both)), (right, vec![Finding::Joined]));
}

#[test]
fn a_coarser_blocks_runs_are_those_of_each_of_its_parts() {
    let old = "mode: count\na.go:1.10,9.2 3 2\n";
    let new = "mode: count\na.go:2.2,4.1 1 5\na.go:6.2,8.1 2 0\n";
    let joined = "mode: count\na.go:2.2,4.1 1 7\na.go:6.2,8.1 2 2\n";
    assert_eq!(text(&profile_of(&[old, new])), joined);
    assert_eq!(text(&profile_of(&[new, old])), joined);
    // Only another release tells how many statements the pieces of 1.27.0 and 1.27.1 have: without it the coarser block is
    // kept.
    let repeated = "mode: count\na.go:2.2,4.1 3 5\na.go:6.2,8.1 3 1\n";
    assert_eq!(text(&profile_of(&[old, repeated])), "mode: count\na.go:1.10,9.2 3 7\n");
    assert_eq!(
        text(&profile_of(&[old, new, repeated])),
        "mode: count\na.go:2.2,4.1 1 12\na.go:6.2,8.1 2 3\n"
    );
    assert_eq!(text(&profile_of(&[new, repeated])), "mode: count\na.go:2.2,4.1 1 10\na.go:6.2,8.1 2 1\n");
}

/// Up to Go 1.26, and in 1.27.0 and 1.27.1, a label is counted as a statement of the block before it.
#[test]
fn a_label_does_not_make_another_source_of_it() {
    let old = "mode: set\na.go:1.10,9.1 3 1\na.go:10.2,12.2 1 1\n";
    let repeated = "mode: set\na.go:2.2,4.1 3 1\na.go:6.2,8.1 3 1\na.go:10.2,11.1 1 1\n";
    let new = "mode: set\na.go:2.2,4.1 1 1\na.go:6.2,8.1 1 1\na.go:10.2,11.1 1 1\n";
    for texts in [&[old, new][..], &[repeated, new], &[new, old, repeated]] {
        let profile = profile_of(texts);
        assert_eq!((text(&profile).as_str(), findings(&profile)), (new, vec![Finding::Joined]), "{texts:?}");
    }
    let (old, one_piece) = ("mode: set\na.go:1.10,9.1 3 1\n", "mode: set\na.go:2.2,4.1 3 1\n");
    assert_eq!(text(&profile_of(&[old, one_piece])), one_piece);
}

/// Up to Go 1.26 a bare block is counted as a statement of the block before it too. So 1.26.8 and 1.27.3 have it of
/// `x++; { x-- }` and of a comment between two statements before such a block.
#[test]
fn a_bare_block_does_not_make_another_source_of_it() {
    let old = "mode: set\na.go:3.19,5.2 2 1\na.go:5.2,7.3 1 1\na.go:9.2,12.2 3 1\na.go:12.2,14.3 1 1\n";
    let repeated = "mode: set\na.go:4.2,5.1 2 1\na.go:6.3,7.1 1 1\na.go:9.2,10.1 3 1\na.go:11.2,12.1 3 1\na.go:13.3,14.1 1 1\n";
    let new = "mode: set\na.go:4.2,5.1 1 1\na.go:6.3,7.1 1 1\na.go:9.2,10.1 1 1\na.go:11.2,12.1 1 1\na.go:13.3,14.1 1 1\n";
    for texts in [&[old, new][..], &[repeated, new], &[new, old, repeated]] {
        let profile = profile_of(texts);
        assert_eq!((text(&profile).as_str(), findings(&profile)), (new, vec![Finding::Joined]), "{texts:?}");
    }
}

#[test]
fn each_block_of_several_in_a_row_has_its_own_repeated_numbers() {
    // The last piece of each is empty.
    let row = |numbers: [u32; 6]| {
        let places = ["2.2,4.1", "5.2,7.1", "8.2,8.2", "9.2,10.1", "11.2,13.1", "14.2,14.2"];
        let lines = places.iter().zip(numbers).map(|(place, number)| format!("a.go:{place} {number} 1\n"));
        format!("mode: set\n{}", lines.collect::<String>())
    };
    let (new, repeated) = (row([2, 2, 0, 2, 2, 0]), row([4; 6]));
    // A piece alone in its file, with a label.
    let (one, with_label) = ("mode: set\na.go:2.2,4.1 1 1\n", "mode: set\na.go:2.2,4.1 2 1\n");
    for (right, other) in [(new.as_str(), repeated.as_str()), (one, with_label)] {
        let profile = profile_of(&[right, other]);
        assert_eq!((text(&profile).as_str(), findings(&profile)), (right, vec![Finding::Joined]));
    }
}

/// From Go 1.27.2 on several statements of a line are just that.
#[test]
fn a_line_of_several_statements_is_not_repeated() {
    let profile = profile_of(&["mode: set\na.go:2.2,3.1 3 1\na.go:4.2,5.1 1 1\n"]);
    assert_eq!(findings(&profile), []);
}

/// Each of a million places would look at all after it.
#[test]
fn many_places_with_two_numbers_take_no_time() {
    let mut profile = "mode: set\n".to_owned();
    for line in 1..=300_000 {
        profile += &format!("a.go:{line}.1,{line}.9 0 0\na.go:{line}.1,{line}.9 5 0\n");
    }
    assert_eq!(findings(&profile_of(&[&profile])), [Finding::Mixed]);
    profile += "a.go:300001.1,300001.9 6 0\na.go:300001.1,300001.9 5 0\n";
    assert_eq!(findings(&profile_of(&[&profile])), [Finding::Mixed]);
}

#[test]
fn numbers_that_nothing_puts_right_are_named() {
    let profile = profile_of(&[GO_1_27_1]);
    assert_eq!(findings(&profile), [Finding::Repeated]);
    assert_eq!(profile.percent().total(), Coverage { covered: 17, total: 22 }, "as Go has it");
}

#[test]
fn another_source_is_not_another_release() {
    for (one, other) in [
        // Blocks that cross.
        ("a.go:1.10,9.2 3 1\n", "a.go:2.2,10.1 3 1\n"),
        // A part too few, a part too many, and a position with two numbers for no known reason.
        ("a.go:1.10,9.2 3 1\n", "a.go:2.2,4.1 1 1\n"),
        ("a.go:1.10,9.2 3 1\n", "a.go:2.2,4.1 2 1\na.go:5.2,7.1 2 1\n"),
        ("a.go:1.10,9.2 3 1\n", "a.go:1.10,9.2 4 1\n"),
        ("a.go:1.10,9.2 3 1\n", "a.go:1.10,8.2 2 1\n"),
        // The numbers of one block add up to that of another.
        ("a.go:2.2,4.1 1 1\na.go:5.2,7.1 2 1\n", "a.go:2.2,4.1 3 1\na.go:5.2,7.1 5 1\n"),
        // Two versions by one release, whose numbers add up by chance or are all 1.
        ("a.go:5.10,9.2 1 1\n", "a.go:5.10,6.9 1 1\na.go:6.9,8.3 1 0\n"),
        ("a.go:5.10,9.2 2 1\n", "a.go:5.10,6.9 1 1\na.go:6.9,8.3 1 0\n"),
        ("a.go:5.2,9.1 2 1\n", "a.go:5.2,6.1 1 1\na.go:7.2,8.1 1 0\n"),
        ("a.go:5.10,9.2 1 1\n", "a.go:6.2,7.1 1 1\na.go:7.2,8.1 1 0\n"),
        // Two versions by Go 1.27: a block ends at column 1, but not at a label.
        ("a.go:2.2,6.1 3 1\n", "a.go:2.2,3.1 1 1\na.go:4.2,5.1 1 1\n"),
        ("a.go:2.2,6.1 3 1\n", "a.go:3.2,4.1 1 1\na.go:5.2,6.1 1 1\n"),
        ("a.go:2.2,6.1 3 1\n", "a.go:2.2,5.1 3 1\n"),
        // One less, without a block that begins where the coarser one ends.
        ("a.go:3.2,4.2 2 1\na.go:4.3,5.2 1 1\n", "a.go:3.2,4.1 1 1\n"),
        // One block of a file that does not fit decides for the whole file.
        ("a.go:1.10,9.2 1 1\na.go:11.10,19.2 1 1\n", "a.go:2.2,8.1 1 1\na.go:11.10,18.2 2 1\n"),
    ] {
        let profile = profile_of(&[&format!("mode: set\n{one}"), &format!("mode: set\n{other}")]);
        assert_eq!(findings(&profile), [Finding::Mixed], "{one}{other}");
        let statements: u64 = [one, other]
            .concat()
            .lines()
            .map(|line| line.as_bytes()[line.len() - 3] - b'0')
            .map(u64::from)
            .sum();
        assert_eq!(profile.percent().total().total, statements, "{one}{other}");
    }
    let directives = "mode: set\na.rl:10.0,20.0 1 1\na.rl:20.0,6.0 1 1\n";
    let later = "mode: set\na.rl:12.2,12.11 1 1\na.rl:14.3,15.1 1 1\n";
    assert_eq!(findings(&profile_of(&[directives, later])), [Finding::LineDirectives]);
    assert_eq!(findings(&profile_of(&[directives])), []);
    // In one input they are no release's pieces of a block.
    let overlapping = profile_of(&["mode: set\na.rl:1.9,7.2 3 1\na.rl:2.2,4.1 1 1\na.rl:5.2,7.1 2 1\n"]);
    assert_eq!((findings(&overlapping), overlapping.percent().total().total), (vec![], 6));
    // A block without a column is not the sum of others, whatever their numbers.
    let (whole, parts) =
        ("mode: set\na.rl:10.0,20.0 3 1\n", "mode: set\na.rl:12.2,14.1 1 1\na.rl:15.2,16.1 2 1\n");
    assert_eq!(findings(&profile_of(&[whole, parts])), [Finding::LineDirectives]);
}

/// A file's finest blocks: how many statements each has, whether it ends a coarser block, and whether each input ran it.
pub(crate) type Blocks = Vec<(u32, bool, [bool; 3])>;

/// The file as an input has it: the first by a later release of Go, and the others by an earlier one.
pub(crate) fn written(blocks: &Blocks, input: usize) -> (String, Vec<bool>) {
    let (mut out, mut ran) = ("mode: set\n".to_owned(), vec![false; blocks.len()]);
    let mut start = 0;
    for last in 0..blocks.len() {
        if last + 1 < blocks.len() && input > 0 && !blocks[last].1 {
            continue;
        }
        let statements: u32 = blocks[start..=last].iter().map(|block| block.0).sum();
        let count = blocks[start].2[input];
        // A coarser block begins before its first part, and ends after its last.
        let (first, end) = match input {
            0 => (format!("{}.2", start * 10 + 2), format!("{}.1", last * 10 + 8)),
            _ => (format!("{}.10", start * 10 + 1), format!("{}.3", last * 10 + 8)),
        };
        out += &format!("a.go:{first},{end} {statements} {}\n", u32::from(count));
        ran[start..=last].fill(count);
        start = last + 1;
    }
    (out, ran)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Inputs of which two are coarser than the other: the statements are those of the finest, and what ran is what ran in
    /// any.
    #[test]
    fn any_partitions(
        blocks in prop::collection::vec((1_u32..5, any::<bool>(), any::<[bool; 3]>()), 1..12),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let inputs = [0, 1, 2].map(|input| written(&blocks, input));
        let mut expected = Coverage::default();
        for (number, (statements, ..)) in blocks.iter().enumerate() {
            expected.total += u64::from(*statements);
            expected.covered += if inputs.iter().any(|(_, ran)| ran[number]) { u64::from(*statements) } else { 0 };
        }
        let texts = order.map(|input| inputs[input].0.as_str());
        let profile = profile_of(&texts);
        prop_assert_eq!(profile.percent().total(), expected, "{:?}", texts);
        prop_assert!(findings(&profile).iter().all(|finding| *finding == Finding::Joined));
        prop_assert_eq!(profile.files().map(|file| file.blocks.len()).sum::<usize>(), blocks.len());
    }
}

/// The coverage of each function, by its file and name.
fn by_function(profile: &Profile<'_>) -> BTreeMap<(String, String), Coverage> {
    let mut out = BTreeMap::<_, Coverage>::new();
    for function in profile.functions().functions {
        *out.entry((function.file.to_owned(), function.name.into_owned())).or_default() += function.coverage;
    }
    out
}

/// Packages of the standard library that need no others of its own.
const PACKAGES: [&str; 5] =
    ["encoding/csv", "go/build/constraint", "regexp/syntax", "text/tabwriter", "text/template/parse"];

const USE_THEM: &str = r#"package main

import (
	"fmt"
	"os"
	"strings"

	"corpus/encoding/csv"
	"corpus/go/build/constraint"
	"corpus/regexp/syntax"
	"corpus/text/tabwriter"
	"corpus/text/template/parse"
)

func main() {
	fmt.Println(csv.NewReader(strings.NewReader("a,\"b\"\n# c\nd,e\n")).ReadAll())
	fmt.Println(constraint.Parse("//go:build linux && (amd64 || !cgo)"))
	re, err := syntax.Parse("a(b|c)*[^d-f]+?$", syntax.Perl)
	fmt.Println(re.Simplify(), err)
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 1, ' ', 0)
	fmt.Fprintln(w, "a\tb\tc")
	fmt.Println(w.Flush())
	fmt.Println(parse.Parse("x", "{{range .}}{{if .X}}{{.}}{{else}}-{{end}}{{end}}", "", ""))
}
"#;

#[test]
fn real_packages_by_several_releases_have_the_numbers_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let module = dir.path().join("corpus");
    let library = PathBuf::from(go::go(dir.path(), ["env", "GOROOT"]).trim()).join("src");
    for package in PACKAGES {
        fs_err::create_dir_all(module.join(package)).unwrap();
        for entry in fs_err::read_dir(library.join(package)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.ends_with(".go") && !name.ends_with("_test.go") {
                fs_err::copy(entry.path(), module.join(package).join(name)).unwrap();
            }
        }
    }
    fs_err::write(module.join("go.mod"), "module corpus\n\ngo 1.24\n").unwrap();
    fs_err::create_dir(module.join("use")).unwrap();
    fs_err::write(module.join("use/main.go"), USE_THEM).unwrap();
    let [old, faulty, new] = ["go1.26.8", "go1.27.1", "go1.27.3"].map(|release| {
        let (bin, data) = (dir.path().join(format!("bin-{release}")), dir.path().join(release));
        go::build_with(&[("GOTOOLCHAIN", release)], &module, "count", &bin);
        assert!(go::run(&bin, "use", &[], &data).status.success());
        data
    });
    let profile = |dirs: &[&PathBuf]| {
        let (profile, problems) = go::read_dirs(dirs);
        assert!(problems.is_empty(), "{problems:?}");
        profile
    };
    let alone = profile(&[&old]);
    let (expected, total) = (by_function(&alone), alone.percent().total());
    assert!(total.total > 2000 && total.covered > 500, "{total:?}");
    assert!(findings(&alone).is_empty());
    // Up to 1.26 Go counts a label that is not a loop's as a statement. There is one in all of this.
    let mut without_label = expected.clone();
    let function = ("corpus/text/template/parse/parse.go".to_owned(), "*Tree.pipeline".to_owned());
    let Coverage { covered, total: statements } =
        without_label.get_mut(&function).expect("the function with a label");
    (*covered, *statements) = (*covered - 1, *statements - 1);
    assert!(by_function(&profile(&[&new])) == without_label);
    assert_ne!(profile(&[&faulty]).percent().total(), total, "Go 1.27.1 counts statements several times");
    for dirs in
        [&[&old, &new][..], &[&old, &faulty], &[&faulty, &new], &[&old, &faulty, &new], &[&new, &old, &old]]
    {
        let joined = profile(dirs);
        let expected = if dirs.contains(&&new) { &without_label } else { &expected };
        assert!(by_function(&joined) == *expected, "{dirs:?}");
        assert!(findings(&joined).iter().all(|finding| *finding == Finding::Joined), "{dirs:?}");
        if dirs.contains(&&old) {
            // With the same lines too.
            let lines = |profile: &Profile<'_>| {
                profile.functions().functions.iter().map(|f| (f.line, f.name.to_string())).collect::<Vec<_>>()
            };
            assert_eq!(lines(&joined), lines(&alone), "{dirs:?}");
        }
    }
}

/// The `go` command hands cgo's output to the compiler, with `//line` directives for the file that the coverage names.
#[test]
fn packages_with_cgo_by_several_releases_have_the_numbers_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["go1.26.8", "go1.27.3"].map(|release| {
        let (bin, data) = (dir.path().join(format!("bin-{release}")), dir.path().join(release));
        let cgo = &[("GOTOOLCHAIN", release), ("CGO_ENABLED", "1")];
        go::build_with(cgo, &go::program("sample"), "count", &bin);
        assert!(go::run(&bin, "three", &[], &data).status.success());
        data
    });
    let profile = |dirs: &[&PathBuf]| {
        let (profile, problems) = go::read_dirs(dirs);
        assert!(problems.is_empty(), "{problems:?}");
        profile
    };
    let expected = by_function(&profile(&[&old]));
    // Of the three statements one returns 0 for 0.
    let twice = ("sample/native/cgo.go".to_owned(), "Twice".to_owned());
    assert_eq!(expected[&twice], Coverage { covered: 3, total: 3 });
    for dirs in [&[&new][..], &[&old, &new], &[&new, &old]] {
        let joined = profile(dirs);
        assert_eq!(by_function(&joined), expected, "{dirs:?}");
        assert!(findings(&joined).iter().all(|finding| *finding == Finding::Joined), "{dirs:?}");
    }
}
