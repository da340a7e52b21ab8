//! Suites: each is counted over the blocks of all.

use podcov_profile::{Builder, Coverage, Data, PackageSuites, Profile, SuiteCoverage};
use proptest::prelude::*;

use crate::fixtures::files;
use crate::go;
use crate::releases::{Blocks, written};

/// The text profiles of one program by Go 1.26 and 1.27.
const GO_1_26: &str = include_str!("../../../covdata/tests/fixtures/releases/go1.26.8.txt");
const GO_1_27: &str = include_str!("../../../covdata/tests/fixtures/releases/go1.27.3.txt");

/// The profile of some suites, each with its text profiles.
fn of_texts(suites: &[&[&str]]) -> Profile<'static> {
    let mut builder = Builder::new();
    for (suite, texts) in suites.iter().enumerate() {
        if suite > 0 {
            builder.next_input();
        }
        for (number, text) in texts.iter().enumerate() {
            builder.add_text_bytes(format!("{suite}-{number}.out"), text.as_bytes());
        }
    }
    profile(builder)
}

fn profile(builder: Builder) -> Profile<'static> {
    let (data, problems) = Box::leak(Box::new(builder.load())).read_suites();
    assert!(problems.is_empty(), "{problems:?}");
    profile_of(data)
}

/// The profile of some suites. The sums by package are those of its files, however they are made.
fn profile_of(data: Data<'static>) -> Profile<'static> {
    let data: &Data<'_> = Box::leak(Box::new(data));
    let (profile, suites) = (data.profile(), data.suites().len());
    let packages = profile.packages().iter().map(|package| PackageSuites::of(package, suites));
    assert_eq!(data.suite_percent(|_| true).0, packages.collect::<Vec<_>>());
    profile
}

/// How many statements the suites ran, over all files.
fn total(profile: &Profile<'_>) -> SuiteCoverage {
    let mut files = profile.files();
    let mut sum = files.next().expect("a file").suite_coverage();
    files.for_each(|file| sum += file.suite_coverage());
    sum
}

/// A profile without the counts of suites.
fn without_suites(mut profile: Profile<'static>) -> Profile<'static> {
    let files = profile.packages_mut().iter_mut().flat_map(|package| &mut package.files);
    files.for_each(|file| file.suites.clear());
    profile
}

/// Each run of the recorded programs is a suite.
#[test]
fn suites_of_binaries_have_what_each_alone_has() {
    for folder in ["count", "set", "atomic", "go1.20"] {
        let files = files(folder);
        let (metas, counters): (Vec<_>, Vec<_>) =
            files.iter().partition(|(name, _)| name.to_string().starts_with("covmeta"));
        assert_eq!((metas.len(), counters.len()), (2, 3), "{folder}");
        let builder_of = |suites: &[&[usize]]| {
            let mut builder = Builder::new();
            for (number, suite) in suites.iter().enumerate() {
                if number > 0 {
                    builder.next_input();
                }
                for (name, bytes) in &metas {
                    builder.add_file(format!("{number}/{name}"), bytes);
                }
                for (name, bytes) in suite.iter().map(|&counter| counters[counter]) {
                    builder.add_file(format!("{number}/{name}"), bytes);
                }
            }
            builder
        };
        let read_suites =
            |suites: &[&[usize]]| profile_of(Box::leak(Box::new(builder_of(suites).load())).read_suites().0);
        let suites = read_suites(&[&[0], &[1, 2]]);
        assert_eq!(without_suites(suites.clone()), go::read(builder_of(&[&[0, 1, 2]])).0, "{folder}");
        for (suite, counters) in [&[0][..], &[1, 2]].into_iter().enumerate() {
            assert_eq!(suites.of_suite(suite), go::read(builder_of(&[counters])).0, "{folder}");
        }
    }
}

#[test]
fn suites_by_several_releases_meet_on_the_finest_blocks() {
    let all = Coverage { covered: 7, total: 10 };
    let suites = total(&of_texts(&[&[GO_1_26], &[GO_1_27]]));
    assert_eq!(suites.each, [all, all]);
    assert_eq!(suites.only, [Coverage { covered: 0, total: 10 }; 2]);
    assert_eq!((suites.several.covered, suites.none.covered), (7, 3));
}

#[test]
fn the_counts_of_suites_add_up_to_those_of_all() {
    let old = "mode: count\na.go:1.10,9.2 3 2\n";
    let new = "mode: count\na.go:2.2,4.1 1 5\na.go:6.2,8.1 2 0\n";
    let repeated = "mode: count\na.go:2.2,4.1 3 5\na.go:6.2,8.1 3 1\n";
    let counts = |suites: &[&[&str]]| {
        let profile = of_texts(suites);
        let file = profile.files().next().expect("a file");
        (file.suites.clone(), file.blocks.iter().map(|block| block.count).collect::<Vec<_>>())
    };
    assert_eq!(counts(&[&[old], &[new]]), (vec![vec![2, 2], vec![5, 0]], vec![7, 2]));
    // The block began to run as often as the piece that ran most.
    assert_eq!(counts(&[&[old], &[repeated]]), (vec![vec![2], vec![5]], vec![7]));
    assert_eq!(counts(&[&[old, new], &[repeated]]), (vec![vec![7, 2], vec![5, 1]], vec![12, 3]));
    // Of mode set, a run counts once.
    let set = "mode: set\na.go:2.2,4.1 1 1\na.go:6.2,8.1 2 1\n";
    assert_eq!(counts(&[&[set, set], &[new]]), (vec![vec![2, 2], vec![5, 0]], vec![7, 2]));
    assert_eq!(counts(&[&[set, set], &[set]]), (vec![vec![1, 1], vec![1, 1]], vec![1, 1]));
}

/// A file that one suite does not contain counts there as not run: all columns have one denominator.
#[test]
fn a_suite_counts_the_statements_that_only_others_contain() {
    let (unit, e2e) = ("mode: set\na/a.go:1.1,2.2 3 1\n", "mode: set\nb/b.go:1.1,2.2 2 1\n");
    let suites = total(&of_texts(&[&[unit], &[e2e], &[]]));
    assert_eq!(suites.each, [3, 2, 0].map(|covered| Coverage { covered, total: 5 }));
    // So it is where two versions of a file's source meet.
    let other = "mode: set\na/a.go:1.1,9.2 4 1\n";
    let suites = total(&of_texts(&[&[unit], &[other]]));
    assert_eq!(suites.each, [3, 4].map(|covered| Coverage { covered, total: 7 }));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// Suites by several releases of Go, in any order: what each ran, what only one ran, and what none ran.
    #[test]
    fn only_and_several_and_none_are_the_whole(
        blocks in prop::collection::vec((1_u32..5, any::<bool>(), any::<[bool; 3]>()), 1..12),
        order in Just([0_usize, 1, 2]).prop_shuffle(),
    ) {
        let blocks: Blocks = blocks;
        let inputs = order.map(|input| written(&blocks, input));
        let sum = |is_counted: &dyn Fn([bool; 3]) -> bool| {
            let counted = (0..blocks.len()).filter(|&row| is_counted([0, 1, 2].map(|suite| inputs[suite].1[row])));
            counted.map(|row| u64::from(blocks[row].0)).sum::<u64>()
        };
        let runs = |ran: [bool; 3]| ran.into_iter().filter(|ran| *ran).count();
        let all = sum(&|_| true);
        let profile = of_texts(&[&[&inputs[0].0], &[&inputs[1].0], &[&inputs[2].0]]);
        let suites = total(&profile);
        let covered = |list: &[Coverage]| list.iter().map(|coverage| coverage.covered).collect::<Vec<_>>();
        prop_assert_eq!(covered(&suites.each), [0, 1, 2].map(|suite| sum(&|ran| ran[suite])));
        let only = [0, 1, 2].map(|suite| sum(&|ran| ran[suite] && runs(ran) == 1));
        prop_assert_eq!(covered(&suites.only), only);
        prop_assert_eq!(suites.several, Coverage { covered: sum(&|ran| runs(ran) > 1), total: all });
        prop_assert_eq!(suites.none, Coverage { covered: sum(&|ran| runs(ran) == 0), total: all });
        prop_assert_eq!(only.into_iter().sum::<u64>() + suites.several.covered + suites.none.covered, all);
        prop_assert_eq!(profile.percent().total().covered, all - suites.none.covered);
    }
}
