//! What no input covers: runs of blocks that did not run, and functions that did not run at all.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::io::{self, Write};

use podcov_profile::{Coverage, FileProfile, PackageProfile, Profile, parallel};
use serde::Serialize;

use crate::lines::code_range;
use crate::{Report, ReportFile, golang, text};

/// Blocks of one function that follow each other and did not run. Serialized, it is a line of `gaps --json`, of which
/// docs/gaps.schema.json is the schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap<'r> {
    /// The file's path from the root, with slashes; its name in the data where it is not below the root, or was not found.
    pub file: &'r str,
    /// The import path of its package.
    pub package: &'r str,
    /// The function's name, with the receiver's type before it; `None` where it is not known.
    pub function: Option<&'r str>,
    /// The first line that did not run; of a whole function the one that it begins in.
    pub first_line: u32,
    /// The last line that did not run.
    pub last_line: u32,
    /// How many statements did not run.
    pub statements: u64,
    /// Whether no statement of the function ran.
    pub whole_function: bool,
    /// The text of these lines; `None` where there is no source that fits the data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The gaps of a whole profile.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GapTotal {
    /// How many there are.
    pub gaps: usize,
    /// The coverage of all statements.
    pub coverage: Coverage,
}

impl GapTotal {
    /// Counts the gaps of a profile.
    #[must_use]
    pub fn of(profile: &Profile<'_>) -> Self {
        let files = files(profile);
        let totals = parallel::map(&files, |&(package, file)| Self {
            gaps: runs(package, file, None).count(),
            coverage: file.blocks.iter().collect(),
        });
        totals.into_iter().fold(Self::default(), |sum, file| Self {
            gaps: sum.gaps + file.gaps,
            coverage: sum.coverage + file.coverage,
        })
    }
}

/// Leaves only the files with the largest gaps, of which `limit` will be shown: sources are then read for these files alone.
pub fn retain_largest(profile: &mut Profile<'_>, limit: usize) {
    let files = files(profile);
    let sizes = parallel::map(&files, |&(package, file)| {
        runs(package, file, None).map(|run| run.statements).collect::<Vec<_>>()
    });
    let sizes = files
        .iter()
        .zip(sizes)
        .flat_map(|((_, file), sizes)| sizes.into_iter().map(|size| (size, file.name)));
    let mut sizes: Vec<_> = sizes.collect();
    // A stable sort, as in `find`: gaps of one size stay in the profile's order.
    sizes.sort_by_key(|(statements, _)| Reverse(*statements));
    let names: HashSet<&str> = sizes.into_iter().take(limit).map(|(_, name)| name).collect();
    for package in profile.packages_mut() {
        package.files.retain(|file| names.contains(file.name));
    }
}

/// All gaps, those with the most statements first, then by package, file and line.
#[must_use]
pub fn find<'r>(report: &'r Report<'_>) -> Vec<Gap<'r>> {
    let files: Vec<_> = report.files().collect();
    let mut gaps: Vec<_> = parallel::map(&files, of_file).into_iter().flatten().collect();
    gaps.sort_by_key(|gap| Reverse(gap.statements));
    gaps
}

fn of_file<'r>(file: &ReportFile<'r>) -> Vec<Gap<'r>> {
    let source = file.read().ok();
    let code = source.as_deref().map(golang::code_lines);
    let lines: Option<Vec<&str>> = source.as_deref().map(|source| source.lines().collect());
    let gaps = runs(file.package, file.profile, code.as_deref()).map(|run| Gap {
        file: file.shown,
        package: file.package.path,
        function: Some(run.function).filter(|name| *name != "?"),
        first_line: run.first_line,
        last_line: run.last_line,
        statements: run.statements,
        whole_function: run.whole_function,
        source: lines
            .as_ref()
            .and_then(|lines| lines.get(run.first_line.checked_sub(1)? as usize..run.last_line as usize))
            .map(|lines| lines.join("\n")),
    });
    gaps.collect()
}

/// Writes a line for each gap, which begins as editors know places (`file:line:`), and the total.
///
/// # Errors
///
/// Errors of `out`.
pub fn write_text(gaps: &[Gap<'_>], total: GapTotal, out: &mut dyn Write) -> io::Result<()> {
    let rows: Vec<[String; 4]> = gaps.iter().map(Gap::row).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let [places, statements, lines] = [width(0), width(1), width(2)];
    for [place, number, range, function] in &rows {
        writeln!(out, "{place:<places$}  {number:>statements$}  {range:<lines$}  {function}")?;
    }
    let Coverage { covered, total: all } = total.coverage;
    match (all, all - covered) {
        (0, _) => writeln!(out, "there are no statements"),
        (_, 0) => writeln!(out, "all {all} statements ran"),
        (_, missed) => {
            let noun = if total.gaps == 1 { "gap" } else { "gaps" };
            write!(out, "{missed} of {all} statements did not run, in {} {noun}", total.gaps)?;
            if gaps.len() < total.gaps {
                write!(out, " ({} listed; --limit 0 lists all)", gaps.len())?;
            }
            writeln!(out)
        }
    }
}

/// Writes each gap as a line of JSON.
///
/// # Errors
///
/// Errors of `out`.
pub fn write_json(gaps: &[Gap<'_>], out: &mut dyn Write) -> io::Result<()> {
    gaps.iter().try_for_each(|gap| {
        serde_json::to_writer(&mut *out, gap)?;
        out.write_all(b"\n")
    })
}

impl Gap<'_> {
    fn row(&self) -> [String; 4] {
        let Self { first_line, last_line, statements, .. } = self;
        let noun = if *statements == 1 { "statement " } else { "statements" };
        let lines = if first_line == last_line {
            format!("line {first_line}")
        } else {
            format!("lines {first_line}-{last_line}")
        };
        let function = text::printable(self.function.unwrap_or("?"));
        let function = if self.whole_function { format!("{function}, which did not run") } else { function };
        [
            format!("{}:{first_line}:", text::printable(self.file)),
            format!("{statements} {noun}"),
            lines,
            function,
        ]
    }
}

/// The blocks of a gap.
struct Run<'p> {
    function: &'p str,
    first_line: u32,
    last_line: u32,
    statements: u64,
    whole_function: bool,
}

/// The gaps of a file. `code` is of [`golang::code_lines`]: without it, a gap may begin in the line before its first
/// statement, and end in the one after its last.
fn runs<'p>(
    package: &'p PackageProfile<'_>,
    file: &'p FileProfile<'_>,
    code: Option<&[Option<(u32, u32)>]>,
) -> impl Iterator<Item = Run<'p>> {
    package.functions_of(file).flat_map(move |function| {
        let blocks: Vec<_> = function.blocks.iter().filter(|block| block.unit.statements > 0).collect();
        let whole_function = blocks.iter().all(|block| block.count == 0);
        let runs = blocks.chunk_by(|a, b| (a.count == 0) == (b.count == 0)).filter(|run| run[0].count == 0);
        let runs = runs.map(|run| {
            let ranges = run.iter().map(|block| code_range(&block.unit, code));
            let whole = ranges.reduce(|(first, last), range| (first.min(range.0), last.max(range.1)));
            let (first, last) = with_code(whole.unwrap_or_default(), code);
            Run {
                function: function.name,
                first_line: if whole_function { first.min(function.line) } else { first },
                last_line: last.max(first),
                statements: run.iter().map(|block| u64::from(block.unit.statements)).sum(),
                whole_function,
            }
        });
        runs.collect::<Vec<_>>()
    })
}

/// A range without lines at its start and end that have no code.
fn with_code((mut first, mut last): (u32, u32), code: Option<&[Option<(u32, u32)>]>) -> (u32, u32) {
    let is_blank = |line: u32| code.and_then(|code| code.get((line as usize).wrapping_sub(1))) == Some(&None);
    while first < last && is_blank(first) {
        first += 1;
    }
    while first < last && is_blank(last) {
        last -= 1;
    }
    (first, last)
}

fn files<'p, 'a>(profile: &'p Profile<'a>) -> Vec<(&'p PackageProfile<'a>, &'p FileProfile<'a>)> {
    let packages = profile.packages().iter();
    packages.flat_map(|package| package.files.iter().map(move |file| (package, file))).collect()
}

#[cfg(test)]
mod tests {
    use podcov_profile::Builder;

    use super::*;
    use crate::{Filter, Sources};

    /// The gaps of a text profile of one file whose source has this text, as their rows.
    fn rows(source: &str, blocks: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("go.mod"), "module m\n").unwrap();
        fs_err::write(dir.path().join("a.go"), source).unwrap();
        let mut builder = Builder::new();
        builder.add_text_bytes("a.out", format!("mode: count\n{blocks}"));
        let files = builder.load();
        let data = files.read().0;
        let sources = Sources::discover(dir.path(), dir.path(), &[]);
        let report = Report::new(data.profile(), &sources, &Filter::default());
        let gaps = find(&report);
        assert_eq!(GapTotal::of(report.profile()).gaps, gaps.len());
        gaps.iter().map(|gap| gap.row().join(" ")).collect()
    }

    const SOURCE: &str = "package m\n\nfunc f(x int) {\n\tif x > 0 {\n\t\t// why\n\t\tx++\n\t\tif x > 5 {\n\t\t\tx--\n\t\t}\n\t}\n\
                          \tx++\n\tif x > 9 {\n\t\tx--\n\t}\n}\n\nfunc g() {\n\tf(1)\n}\n";

    #[test]
    fn releases_of_go_give_the_same_gaps() {
        let old = "m/a.go:3.15,4.11 1 1\nm/a.go:4.11,7.12 2 0\nm/a.go:7.12,9.4 1 0\nm/a.go:11.2,12.11 2 1\nm/a.go:12.11,14.3 1 0\n\
                   m/a.go:17.10,19.2 1 0\n";
        let new = "m/a.go:4.2,4.11 1 1\nm/a.go:6.3,7.12 2 0\nm/a.go:8.4,9.1 1 0\nm/a.go:11.2,12.11 2 1\nm/a.go:13.3,14.1 1 0\n\
                   m/a.go:18.2,19.1 1 0\n";
        let expected = [
            "a.go:6: 3 statements lines 6-8 f",
            "a.go:13: 1 statement  line 13 f",
            "a.go:17: 1 statement  lines 17-18 g, which did not run",
        ];
        assert_eq!(rows(SOURCE, old), expected);
        assert_eq!(rows(SOURCE, new), expected);
    }

    #[test]
    fn blocks_without_statements_are_no_gaps_and_end_none() {
        let blocks = "m/a.go:4.2,4.11 1 1\nm/a.go:6.3,6.6 1 0\nm/a.go:7.3,7.3 0 1\nm/a.go:8.4,9.1 1 0\nm/a.go:11.2,12.11 0 0\n";
        assert_eq!(rows(SOURCE, blocks), ["a.go:6: 2 statements lines 6-8 f"]);
    }

    #[test]
    fn only_the_files_with_the_largest_gaps_are_left() {
        let text = "mode: set\nm/a.go:1.1,2.2 3 0\nm/a.go:3.1,4.2 9 1\nm/a.go:5.1,6.2 1 0\nm/b.go:1.1,2.2 7 1\nm/c.go:1.1,2.2 2 0\n\
                    m/d.go:1.1,2.2 2 0\nn/e.go:1.1,2.2 5 0\n";
        for (limit, names) in [
            (0, &[][..]),
            (1, &["n/e.go"]),
            (3, &["m/a.go", "m/c.go", "n/e.go"]),
            (usize::MAX, &["m/a.go", "m/c.go", "m/d.go", "n/e.go"]),
        ] {
            let mut builder = Builder::new();
            builder.add_text_bytes("a.out", text);
            let files = builder.load();
            let data = files.read().0;
            let mut profile = data.profile();
            retain_largest(&mut profile, limit);
            assert_eq!(profile.files().map(|file| file.name).collect::<Vec<_>>(), names, "{limit}");
        }
    }
}
