//! The results for committed files. Their content is known from the programs' sources, the expected results from Go's tool.

use crate::fixtures::{FOLDERS, folder};
use crate::go;

#[test]
fn percentages_and_counts_are_gos() {
    for name in FOLDERS {
        let (profile, problems) = go::read_dirs([folder(name)]);
        assert!(problems.is_empty(), "{name}: {problems:?}");
        let percent = fs_err::read_to_string(folder(name).join("percent.txt")).unwrap();
        assert_eq!(profile.percent().to_string(), percent, "{name}");
        let textfmt = fs_err::read_to_string(folder(name).join("textfmt.txt")).unwrap();
        assert_eq!(go::text(&profile), textfmt, "{name}");
    }
}

#[test]
fn the_total_is_over_all_packages() {
    // One: 7 of 9 statements. Two: 3 of 3. Lib: 16 of 18. Empty and types: none.
    let (profile, _) = go::read_dirs([folder("count")]);
    let total = profile.percent().total();
    assert_eq!((total.covered, total.total), (26, 30));
    assert_eq!(total.to_string(), "coverage: 86.7% of statements");
}

#[test]
fn functions_of_a_profile() {
    let (profile, _) = go::read_dirs([folder("count")]);
    let functions = profile.functions();
    let of_two = functions.functions.iter().filter(|function| function.package == "sample/cmd/two");
    let of_two: Vec<_> = of_two.map(|f| (f.file, f.line, &*f.name, f.literal, f.coverage.covered)).collect();
    let file = "sample/cmd/two/main.go";
    assert_eq!(of_two, [(file, 11, "func.L11.C13", true, 1), (file, 13, "main", false, 2)]);
    assert_eq!(functions.total(), profile.percent().total());
}
