//! Gates: the percentages that coverage must reach, and the check of a report.

use std::fmt;

use podcov_profile::Coverage;
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

/// A required percentage that was not reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Shortfall {
    /// The part with this coverage: `total`, `suite e2e`, `package x`, `file y` or `changed lines`.
    pub what: String,
    /// Its coverage.
    pub has: Coverage,
    /// The required percentage.
    pub needs: f64,
    /// The reason for the required percentage, if it is not a flag.
    pub because: Option<String>,
}

/// The required percentages that were not reached. [`Display`](fmt::Display) gives a table with a line for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Shortfalls(pub Vec<Shortfall>);

/// Checks a report, and the changed lines where [`Rules::changed`] asks for them. A part without
/// statements never fails; the caller has to check whether the whole report has no statements.
#[must_use]
pub fn check(report: &Report<'_>, changed: &[ChangedFile], rules: &Rules) -> Shortfalls {
    let mut out = Vec::new();
    let mut check = |what: String, has: Coverage, needs: Option<f64>, because: Option<String>| {
        if let (Some(percent), Some(needs)) = (has.percent(), needs)
            && percent < needs - ROUNDING
        {
            out.push(Shortfall { what, has, needs, because });
        }
    };
    let total = report.total();
    check("total".to_owned(), total, rules.total, None);
    if let Some((baseline, allowed)) = rules.baseline {
        let because = format!("the baseline has {}", summary::percent(baseline));
        let because =
            if allowed > 0.0 { format!("{because}, {allowed} points less allowed") } else { because };
        check("total".to_owned(), total, baseline.percent().map(|percent| percent - allowed), Some(because));
    }
    for (suite, has) in report.suites().iter().zip(report.suite_coverage().each) {
        let needs = rules.suites.iter().find(|(name, _)| *name == suite.name).map(|(_, needs)| *needs);
        check(format!("suite {}", suite.name), has, needs, suite.note());
    }
    for package in report.profile().packages() {
        let has = package.files.iter().flat_map(|file| &file.blocks).collect();
        check(format!("package {}", package.path), has, rules.package, None);
    }
    for file in report.files() {
        check(format!("file {}", file.shown), file.coverage(), rules.file, None);
    }
    check(CHANGED.to_owned(), changed_total(changed), rules.changed, None);
    Shortfalls(out)
}

/// The coverage of changed lines, over all files.
#[must_use]
pub fn changed_total(changed: &[ChangedFile]) -> Coverage {
    changed.iter().map(|file| Coverage { covered: file.covered as u64, total: file.lines as u64 }).sum()
}

/// The largest rounding error of a difference of two percentages.
const ROUNDING: f64 = 1e-9;

/// The value of [`Shortfall::what`] for the changed lines.
pub const CHANGED: &str = "changed lines";

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

impl fmt::Display for Shortfalls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<[String; 3]> = self.0.iter().map(Shortfall::row).collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let (has, needs) = (width(0), width(1));
        rows.iter().try_for_each(|[a, b, c]| writeln!(f, "{a:>has$} < {b:<needs$}  {c}"))
    }
}

impl Shortfall {
    fn row(&self) -> [String; 3] {
        let percent = self.has.percent().unwrap_or_default();
        // Enough digits to show that it is lower.
        let digits =
            (1..6).find(|&digits| format!("{percent:.digits$}") != format!("{:.digits$}", self.needs));
        let digits = digits.unwrap_or(6);
        let what = text::printable(&self.what);
        let because = self.because.as_ref().map_or_else(String::new, |because| format!(" ({because})"));
        let Coverage { covered, total } = self.has;
        [
            format!("{percent:.digits$}%"),
            format!("{:.digits$}%", self.needs),
            format!("{what}: {covered} of {total}{because}"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_shows_the_difference() {
        let shortfall = |what: &str, covered, total, needs, because: Option<&str>| Shortfall {
            what: what.to_owned(),
            has: Coverage { covered, total },
            needs,
            because: because.map(str::to_owned),
        };
        let table = Shortfalls(vec![
            shortfall("total", 7996, 10_000, 80.0, None),
            shortfall("package m/\na", 1, 3, 100.0, Some("the baseline has 100.0%")),
        ]);
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
