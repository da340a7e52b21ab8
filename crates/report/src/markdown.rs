//! Markdown, for the summary of a CI job or a comment on a pull request.

use std::io::{self, Write};

use podcov_profile::Coverage;

use crate::summary::percent;
use crate::{Report, ReportFile, text};

/// The largest number of packages that are not folded, and of files that are listed with the most uncovered statements.
const PACKAGES: usize = 20;
const FILES: usize = 10;

/// Writes the total, its difference from a baseline if there is one, the packages, and the files with the most statements
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

    let mut packages: Vec<(&str, Coverage)> = Vec::new();
    for package in report.profile().packages() {
        packages.push((package.path, package.files.iter().flat_map(|file| &file.blocks).collect()));
    }
    table(out, "Package", packages.iter().take(PACKAGES).copied())?;
    if let Some(more) = packages.get(PACKAGES..).filter(|more| !more.is_empty()) {
        writeln!(out, "<details><summary>{} more packages</summary>\n", more.len())?;
        table(out, "Package", more.iter().copied())?;
        writeln!(out, "</details>\n")?;
    }

    let lacks = |file: &ReportFile<'_>| file.coverage().total - file.coverage().covered;
    let mut files: Vec<ReportFile<'_>> = report.files().filter(|file| lacks(file) > 0).collect();
    files.sort_by_key(|file| std::cmp::Reverse(lacks(file)));
    if files.is_empty() {
        return Ok(());
    }
    writeln!(out, "<details><summary>Files with the most statements that did not run</summary>\n")?;
    table(out, "File", files.iter().take(FILES).map(|file| (file.shown, file.coverage())))?;
    writeln!(out, "</details>")
}

fn table<'r>(
    out: &mut dyn Write,
    what: &str,
    rows: impl Iterator<Item = (&'r str, Coverage)>,
) -> io::Result<()> {
    writeln!(out, "| {what} | Coverage | Statements |\n|---|---:|---:|")?;
    for (name, coverage) in rows {
        writeln!(
            out,
            "| {} | {} | {} of {} |",
            code(name),
            percent(coverage),
            coverage.covered,
            coverage.total
        )?;
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
