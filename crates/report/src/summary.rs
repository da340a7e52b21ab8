//! The tables for people in a terminal or a log: a line for each package, the total, and a column for each suite.

use std::fmt;

use podcov_profile::{Coverage, PackageSuites, Percent, SuiteCoverage};

use crate::suites::{Suite, shares};
use crate::text;

/// The coverage of each package and in total. [`Display`](fmt::Display) gives the table, plain text without control
/// characters, even if the packages' names have some.
#[derive(Debug, Clone, Copy)]
pub struct Summary<'p>(pub &'p Percent);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |number: fn(Coverage) -> u64| {
            let widest = self.0.packages.iter().map(|package| number(package.coverage)).max();
            widest.unwrap_or_default().to_string().len()
        };
        let (covered, total) = (width(|coverage| coverage.covered), width(|coverage| coverage.total));
        for package in &self.0.packages {
            let path = text::printable(&package.path);
            let Coverage { covered: c, total: t } = package.coverage;
            writeln!(f, "{:>6}  {c:>covered$} of {t:>total$}  {path}", percent(package.coverage))?;
        }
        writeln!(f, "{}", self.0.total())
    }
}

/// The coverage of each package in total and by suite, and the total. [`Display`](fmt::Display) gives the table, as
/// [`Summary`] does.
#[derive(Debug, Clone, Copy)]
pub struct SuiteSummary<'r> {
    /// The suites.
    pub suites: &'r [Suite],
    /// What they ran.
    pub packages: &'r [PackageSuites],
}

impl fmt::Display for SuiteSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { suites, packages } = *self;
        let mut coverage = SuiteCoverage::of(suites.len());
        packages.iter().for_each(|package| coverage += package.coverage.clone());
        let covered =
            |of: &SuiteCoverage| Coverage { covered: of.none.total - of.none.covered, total: of.none.total };
        let total = covered(&coverage);
        let width = |number: u64| number.to_string().len();
        let (some, all) = (width(total.covered.max(coverage.none.covered)), width(total.total));
        let counts = |Coverage { covered: c, total: t }: Coverage| format!("{c:>some$} of {t:>all$}");
        // The total's column has the width of a percentage.
        write!(f, "{:>6}", "total")?;
        suites.iter().try_for_each(|suite| write!(f, "  {:>6}", suite.name))?;
        writeln!(f)?;
        let row = |f: &mut fmt::Formatter<'_>, name: &str, total: Coverage, each: &[Coverage]| {
            write!(f, "{:>6}", percent(total))?;
            for (suite, coverage) in suites.iter().zip(each) {
                write!(f, "  {:>1$}", percent(*coverage), suite.name.chars().count().max(6))?;
            }
            writeln!(f, "  {}  {}", counts(total), text::printable(name))
        };
        for PackageSuites { path, coverage } in packages {
            row(f, path, covered(coverage), &coverage.each)?;
        }
        row(f, "all packages", total, &coverage.each)?;
        for (what, share) in shares(suites, &coverage) {
            writeln!(f, "{:>6}  {}  {what}", percent(share), counts(share))?;
        }
        suites.iter().filter_map(Suite::note).try_for_each(|note| writeln!(f, "{note}"))?;
        writeln!(f, "{total}")
    }
}

/// A percentage with one decimal; a dash if there is no statement.
#[must_use]
pub fn percent(coverage: Coverage) -> String {
    coverage.percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}%"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{Filter, Report, Sources};
    use podcov_profile::{Builder, PackagePercent};

    /// The suites `unit` and `e2e`, a text profile each; the second is carried forward.
    pub(crate) fn with_report<R>(use_it: impl FnOnce(&Report<'_>) -> R) -> R {
        let mut builder = Builder::new();
        builder.add_text_bytes("unit.out", "mode: set\nm/a/a.go:1.1,2.2 3 1\nm/a/a.go:3.1,4.2 5 1\n");
        builder.next_input();
        let e2e = "mode: set\nm/a/a.go:1.1,2.2 3 1\nm/a/a.go:3.1,4.2 5 0\nm/b/b.go:1.1,2.2 1 1\nm/b/b.go:3.1,4.2 1 0\n";
        builder.add_text_bytes("e2e.out", e2e);
        let files = builder.load();
        let (data, problems) = files.read_suites();
        assert!(problems.is_empty());
        let report = Report::new(data.profile(), &Sources::default(), &Filter::default());
        let suite = |name: &str, carried_from: Option<&str>| Suite {
            name: name.to_owned(),
            carried_from: carried_from.map(str::to_owned),
        };
        use_it(&report.with_suites(vec![suite("unit", None), suite("e2e", Some("old.json"))]))
    }

    #[test]
    fn columns_are_aligned_and_names_harmless() {
        let package = |path: &str, covered, total| PackagePercent {
            path: path.to_owned(),
            coverage: Coverage { covered, total },
        };
        let packages =
            vec![package("m/a", 5, 5), package("m/empty", 0, 0), package("m/\u{1b}[31mred", 80, 123)];
        assert_eq!(
            Summary(&Percent { packages }).to_string(),
            "100.0%   5 of   5  m/a\n     -   0 of   0  m/empty\n 65.0%  80 of 123  m/\u{fffd}[31mred\n\
             coverage: 66.4% of statements\n"
        );
    }

    #[test]
    fn a_column_for_each_suite_and_what_each_alone_ran() {
        let table = with_report(|report| {
            let packages = report.profile().packages().iter();
            let packages: Vec<_> = packages.map(|package| PackageSuites::of(package, 2)).collect();
            SuiteSummary { suites: report.suites(), packages: &packages }.to_string()
        });
        let expected = " total    unit     e2e\n\
                        100.0%  100.0%   37.5%  8 of  8  m/a\n \
                         50.0%    0.0%   50.0%  1 of  2  m/b\n \
                         90.0%   80.0%   40.0%  9 of 10  all packages\n \
                         50.0%  5 of 10  only unit\n \
                         10.0%  1 of 10  only e2e\n \
                         30.0%  3 of 10  in several suites\n \
                         10.0%  1 of 10  in no suite\n\
                        e2e did not run: its coverage is carried forward from old.json\n\
                        coverage: 90.0% of statements\n";
        assert_eq!(table, expected, "{table}");
    }

    #[test]
    fn a_suites_report_has_its_counts_on_all_blocks() {
        let totals = with_report(|report| [0, 1].map(|suite| report.of_suite(suite).total()));
        assert_eq!(totals, [Coverage { covered: 8, total: 10 }, Coverage { covered: 4, total: 10 }]);
    }
}
