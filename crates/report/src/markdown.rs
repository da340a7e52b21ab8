//! Markdown, for the summary of a CI job or a comment on a pull request.

use std::io::{self, Write};

use podcov_profile::{Coverage, SuiteCoverage};

use crate::suites::{Suite, shares};
use crate::summary::percent;
use crate::{Report, ReportFile, text};

/// The largest number of packages that are not folded, and of files that are listed with the most uncovered statements.
const PACKAGES: usize = 20;
const FILES: usize = 10;

/// Writes the total, its difference from a baseline if there is one, the suites if there are some, the packages, and the files with the most statements
/// that did not run.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(report: &Report<'_>, baseline: Option<Coverage>, out: &mut dyn Write) -> io::Result<()> {
    let total = report.total();
    writeln!(out, "### Go coverage: {}\n", percent(total))?;
    write!(out, "{} of {} statements ran", total.covered, total.total)?;
    if let (Some(now), Some(before)) = (total.percent(), baseline.and_then(Coverage::percent)) {
        // A difference that is printed as 0 must not have a minus sign.
        let change = now - before;
        let change = if change.abs() < 0.05 { 0.0 } else { change };
        write!(out, ", {} before ({change:+.1} points)", percent(baseline.unwrap_or_default()))?;
    }
    writeln!(out, ".\n")?;

    let suites = report.suites();
    if !suites.is_empty() {
        let coverage = report.suite_coverage();
        let row = |(name, coverage): (String, Coverage)| (name, coverage, Vec::new());
        let each = suites.iter().map(|suite| suite.name.clone()).zip(coverage.each.iter().copied());
        let rows: Vec<Row> = each.chain(shares(suites, &coverage)).map(row).collect();
        table(out, "Suite", &[], &rows)?;
        for suite in suites {
            if let Some(file) = &suite.carried_from {
                let suite = code(&suite.name);
                writeln!(out, "{suite} did not run: its coverage is carried forward from {}.\n", code(file))?;
            }
        }
    }
    let packages = report.profile().packages().iter().map(|package| {
        let coverage = package.files.iter().flat_map(|file| &file.blocks).collect();
        (package.path.to_owned(), coverage, SuiteCoverage::sum(suites.len(), &package.files).each)
    });
    let packages: Vec<Row> = packages.collect();
    table(out, "Package", suites, &packages[..packages.len().min(PACKAGES)])?;
    if let Some(more) = packages.get(PACKAGES..).filter(|more| !more.is_empty()) {
        writeln!(out, "<details><summary>{} more packages</summary>\n", more.len())?;
        table(out, "Package", suites, more)?;
        writeln!(out, "</details>\n")?;
    }

    let lacks = |file: &ReportFile<'_>| file.coverage().total - file.coverage().covered;
    let mut files: Vec<ReportFile<'_>> = report.files().filter(|file| lacks(file) > 0).collect();
    files.sort_by_key(|file| std::cmp::Reverse(lacks(file)));
    if files.is_empty() {
        return Ok(());
    }
    writeln!(out, "<details><summary>Files with the most statements that did not run</summary>\n")?;
    let rows = files
        .iter()
        .take(FILES)
        .map(|file| (file.shown.to_owned(), file.coverage(), file.profile.suite_coverage().each));
    table(out, "File", suites, &rows.collect::<Vec<Row>>())?;
    writeln!(out, "</details>")
}

/// A name, its coverage, and its coverage by each suite.
type Row = (String, Coverage, Vec<Coverage>);

fn table(out: &mut dyn Write, what: &str, suites: &[Suite], rows: &[Row]) -> io::Result<()> {
    write!(out, "| {what} | Coverage |")?;
    suites.iter().try_for_each(|suite| write!(out, " {} |", code(&suite.name)))?;
    writeln!(out, " Statements |\n|---|---:|{}---:|", "---:|".repeat(suites.len()))?;
    for (name, coverage, each) in rows {
        write!(out, "| {} | {} |", code(name), percent(*coverage))?;
        each.iter().try_for_each(|coverage| write!(out, " {} |", percent(*coverage)))?;
        writeln!(out, " {} of {} |", coverage.covered, coverage.total)?;
    }
    writeln!(out)
}

/// Formats a name as code in a table's cell. The name may have any characters.
fn code(name: &str) -> String {
    let name = text::printable(name).replace('|', "\\|");
    if !name.contains('`') {
        return format!("`{name}`");
    }
    // The code is delimited by more backticks than the name has in a row.
    let longest = name.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest + 1);
    format!("{fence} {name} {fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_code() {
        for (name, written) in [
            ("m/a", "`m/a`"),
            ("a|b", "`a\\|b`"),
            ("a`b", "`` a`b ``"),
            ("``<img src=x>`", "``` ``<img src=x>` ```"),
        ] {
            assert_eq!(code(name), written);
        }
    }

    #[test]
    fn suites_are_columns_and_what_each_alone_ran() {
        let written = crate::summary::tests::with_report(|report| {
            let mut out = Vec::new();
            write(report, None, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        });
        let expected = "### Go coverage: 90.0%\n\n9 of 10 statements ran.\n\n\
            | Suite | Coverage | Statements |\n|---|---:|---:|\n\
            | `unit` | 80.0% | 8 of 10 |\n| `e2e` | 40.0% | 4 of 10 |\n\
            | `only unit` | 50.0% | 5 of 10 |\n| `only e2e` | 10.0% | 1 of 10 |\n\
            | `in several suites` | 30.0% | 3 of 10 |\n| `in no suite` | 10.0% | 1 of 10 |\n\n\
            `e2e` did not run: its coverage is carried forward from `old.json`.\n\n\
            | Package | Coverage | `unit` | `e2e` | Statements |\n|---|---:|---:|---:|---:|\n\
            | `m/a` | 100.0% | 100.0% | 37.5% | 8 of 8 |\n| `m/b` | 50.0% | 0.0% | 50.0% | 1 of 2 |\n\n\
            <details><summary>Files with the most statements that did not run</summary>\n\n\
            | File | Coverage | `unit` | `e2e` | Statements |\n|---|---:|---:|---:|---:|\n\
            | `m/b/b.go` | 50.0% | 0.0% | 50.0% | 1 of 2 |\n\n</details>\n";
        assert_eq!(written, expected, "{written}");
    }

    #[test]
    fn no_change_is_none_down() {
        let written = |now: u64| {
            let text = format!("mode: set\nm/a.go:1.1,2.2 {now} 1\nm/a.go:3.1,4.2 {} 0\n", 10_000 - now);
            let mut builder = podcov_profile::Builder::new();
            builder.add_text_bytes("a.out", text);
            let files = builder.load();
            let data = files.read().0;
            let report = Report::new(data.profile(), &crate::Sources::default(), &crate::Filter::default());
            let mut out = Vec::new();
            write(&report, Some(Coverage { covered: 5_000, total: 10_000 }), &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            text.split_once('(').unwrap().1.split_once(')').unwrap().0.to_owned()
        };
        for (now, change) in [
            (4_999, "+0.0 points"),
            (5_000, "+0.0 points"),
            (5_001, "+0.0 points"),
            (4_994, "-0.1 points"),
            (5_006, "+0.1 points"),
        ] {
            assert_eq!(written(now), change, "{now}");
        }
    }
}
