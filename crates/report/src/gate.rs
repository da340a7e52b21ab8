//! Gates: the percentages that coverage must reach, and the check of a report.

use std::fmt;

use podcov_profile::{Coverage, PackageProfile};
use serde::Deserialize;

use crate::changes::ChangedFile;
use crate::json::VERSION;
use crate::{Report, summary, text};

/// The required coverage; all percentages are from 0 to 100.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The least percentage of all statements.
    pub total: Option<f64>,
    /// The least percentage of each package's statements.
    pub package: Option<f64>,
    /// The least percentage of each file's statements.
    pub file: Option<f64>,
    /// The coverage before, and by how many percentage points the total may be lower.
    pub baseline: Option<(Coverage, f64)>,
    /// The least percentage of the changed lines.
    pub changed: Option<f64>,
    /// The least percentage of all statements that a suite must have run, by its name.
    pub suites: Vec<(String, f64)>,
}

impl Rules {
    /// Whether nothing is required.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { total, package, file, baseline, changed, suites } = self;
        total.or(*package).or(*file).or(*changed).is_none() && baseline.is_none() && suites.is_empty()
    }
}

/// A rule, and everything that it was applied to.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The name of the rule's flag, without dashes.
    pub rule: &'static str,
    /// The required percentage.
    pub required: f64,
    /// The reason for the required percentage, if it is not a flag.
    pub because: Option<String>,
    /// What it was applied to, and the coverage of that.
    pub parts: Vec<Part>,
}

/// What a rule is applied to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its kind: `suite`, `package` or `file`; empty where the name says it.
    pub kind: &'static str,
    /// `total`, a suite's name, a package's import path, a file's path, or `changed lines`.
    pub name: String,
    /// Its coverage: of lines if these are the changed ones, else of statements.
    pub has: Coverage,
}

/// The table of what failed: a line for each part. [`Display`](fmt::Display) gives it.
#[derive(Debug, Clone, Copy)]
pub struct FailureTable<'c>(pub &'c [Checked]);

/// Applies the rules to a report, and [`Rules::changed`] to the changed lines. A part without statements never fails; the
/// caller has to check whether the whole report has no statements.
#[must_use]
pub fn check(report: &Report<'_>, changed: &[ChangedFile], rules: &Rules) -> Vec<Checked> {
    let part = |kind, name: &str, has| Part { kind, name: name.to_owned(), has };
    let total = || vec![part("", "total", report.total())];
    let packages = || {
        let packages = report.profile().packages().iter();
        let blocks =
            |package: &PackageProfile<'_>| package.files.iter().flat_map(|file| &file.blocks).collect();
        packages.map(|package| part("package", package.path, blocks(package))).collect()
    };
    let files = || report.files().map(|file| part("file", file.shown, file.coverage())).collect();
    let lines = || vec![part("", "changed lines", changed_total(changed))];
    let baseline = rules.baseline.and_then(|(baseline, allowed)| {
        let because = format!("the baseline has {}", summary::percent(baseline));
        let because =
            if allowed > 0.0 { format!("{because}, {allowed} points less allowed") } else { because };
        Some((baseline.percent()? - allowed, because))
    });
    let flag = |rule, required: Option<f64>, parts: &dyn Fn() -> Vec<Part>| {
        Some(Checked { rule, required: required?, because: None, parts: parts() })
    };
    let suites = report.suites().iter().zip(report.suite_coverage().each).filter_map(|(suite, has)| {
        let (_, required) = rules.suites.iter().find(|(name, _)| *name == suite.name)?;
        let parts = vec![part("suite", &suite.name, has)];
        Some(Checked { rule: "fail-under-suite", required: *required, because: suite.note(), parts })
    });
    let baseline = baseline.map(|(required, because)| Checked {
        rule: "baseline",
        required,
        because: Some(because),
        parts: total(),
    });
    let mut checked: Vec<_> =
        flag("fail-under", rules.total, &total).into_iter().chain(baseline).chain(suites).collect();
    checked.extend(flag("fail-under-package", rules.package, &packages));
    checked.extend(flag("fail-under-file", rules.file, &files));
    checked.extend(flag(CHANGED, rules.changed, &lines));
    checked
}

impl Checked {
    /// Whether a part has the required percentage.
    #[must_use]
    pub fn passes(&self, part: &Part) -> bool {
        part.has.percent().is_none_or(|percent| percent >= self.required - ROUNDING)
    }

    /// The parts that do not have it.
    pub fn failed(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| !self.passes(part))
    }
}

/// The coverage of changed lines, over all files.
#[must_use]
pub fn changed_total(changed: &[ChangedFile]) -> Coverage {
    changed.iter().map(|file| Coverage { covered: file.covered as u64, total: file.lines as u64 }).sum()
}

/// The largest rounding error of a difference of two percentages.
const ROUNDING: f64 = 1e-9;

/// The value of [`Checked::rule`] for the changed lines.
pub const CHANGED: &str = "fail-under-changed";

/// Reads a baseline: what [`json`](crate::json) wrote.
///
/// # Errors
///
/// A text that tells why it is no baseline.
pub fn baseline(bytes: &[u8]) -> Result<Coverage, String> {
    #[derive(Deserialize)]
    struct Total {
        version: u32,
        covered: u64,
        statements: u64,
    }
    let total: Total = serde_json::from_slice(bytes)
        .map_err(|error| format!("neither what `podcov-report json` writes nor a text profile: {error}"))?;
    if total.version != VERSION {
        return Err(format!("a report of version {}, only {VERSION} is known", total.version));
    }
    if total.covered > total.statements {
        return Err(format!("{} of {} statements covered", total.covered, total.statements));
    }
    Ok(Coverage { covered: total.covered, total: total.statements })
}

impl fmt::Display for FailureTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().flat_map(|checked| checked.failed().map(|part| row(checked, part)));
        let rows: Vec<[String; 3]> = rows.collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (has, needs) = (width(0), width(1));
        rows.iter().try_for_each(|[a, b, c]| writeln!(f, "{a:>has$} < {b:<needs$}  {c}"))
    }
}

fn row(checked: &Checked, part: &Part) -> [String; 3] {
    let percent = part.has.percent().unwrap_or_default();
    // Enough digits to show that it is lower.
    let digits =
        (1..6).find(|&digits| format!("{percent:.digits$}") != format!("{:.digits$}", checked.required));
    let digits = digits.unwrap_or(6);
    let name = text::printable(&part.name);
    let what = if part.kind.is_empty() { name } else { format!("{} {name}", part.kind) };
    let because = checked.because.as_ref().map_or_else(String::new, |because| format!(" ({because})"));
    let Coverage { covered, total } = part.has;
    [
        format!("{percent:.digits$}%"),
        format!("{:.digits$}%", checked.required),
        format!("{what}: {covered} of {total}{because}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_the_difference() {
        let checked = |rule, kind, name: &str, covered, total, required, because: Option<&str>| Checked {
            rule,
            required,
            because: because.map(str::to_owned),
            parts: vec![
                Part { kind, name: name.to_owned(), has: Coverage { covered, total } },
                Part { kind, name: "passes".to_owned(), has: Coverage { covered: 1, total: 1 } },
                Part { kind, name: "empty".to_owned(), has: Coverage::default() },
            ],
        };
        let all = [
            checked("fail-under", "", "total", 7996, 10_000, 80.0, None),
            checked("baseline", "package", "m/\na", 1, 3, 100.0, Some("the baseline has 100.0%")),
        ];
        let table = FailureTable(&all);
        assert_eq!(
            table.to_string(),
            "79.96% < 80.00%  total: 7996 of 10000\n 33.3% < 100.0%  package m/\u{fffd}a: 1 of 3 (the baseline has 100.0%)\n"
        );
    }

    #[test]
    fn baselines() {
        let json = br#"{"version":1,"covered":3,"statements":4,"packages":[]}"#;
        assert_eq!(baseline(json), Ok(Coverage { covered: 3, total: 4 }));
        for wrong in [
            &br#"{"version":2,"covered":3,"statements":4}"#[..],
            br#"{"version":1,"covered":5,"statements":4}"#,
            br#"{"version":1}"#,
            b"mode: set\nx\n",
            b"",
        ] {
            assert!(baseline(wrong).is_err());
        }
    }
}
