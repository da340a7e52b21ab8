//! podcov's own JSON format, with all results, for other programs and as the baseline of a gate.
//!
//! `version` changes if the meaning of a field changes or a field is removed. It does not change if a field is added.

use std::io::{self, Write};

use podcov_profile::{Coverage, FileProfile, Finding, SuiteCoverage};
use serde::{Deserialize, Serialize};

use crate::Report;

/// The version of this format.
pub const VERSION: u32 = 1;

/// The whole document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version of the format: 1.
    pub version: u32,
    /// The podcov that wrote it.
    pub podcov: String,
    /// `set`, `count` or `atomic`; null where there was no data.
    pub mode: Option<String>,
    /// The coverage of all files.
    #[serde(flatten)]
    pub total: Statements,
    /// The statements that comments ignore, if these are left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ignored_statements: usize,
    /// The suites, if the report has some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<Suite>,
    /// The packages, sorted by import path.
    pub packages: Vec<Package>,
    /// The files that have another name in the coverage data, because a program was built from files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub renamed: Vec<Renamed>,
}

/// A file that has another name in the coverage data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Renamed {
    /// Its name in the data.
    pub from: String,
    /// Its name in this document.
    pub to: String,
}

/// A suite, over all files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Its name.
    pub name: String,
    /// The statements that it ran, of those of all suites.
    #[serde(flatten)]
    pub total: Statements,
    /// The statements that no other suite ran.
    pub only: Statements,
    /// If it did not run this time: the file that its coverage is carried forward from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried_from: Option<String>,
}

/// A suite's coverage of a package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteTotal {
    /// The suite's name.
    pub name: String,
    /// The statements that it ran, of those of all suites.
    #[serde(flatten)]
    pub total: Statements,
}

/// A suite's coverage of a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SuiteCounts {
    /// The suite's name.
    pub name: String,
    /// The statements that it ran, of those of all suites.
    #[serde(flatten)]
    pub total: Statements,
    /// How often it ran each of the file's blocks, in their order.
    pub counts: Vec<u32>,
}

/// How many statements ran, of how many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Statements {
    /// Statements that ran.
    pub covered: u64,
    /// All statements.
    pub statements: u64,
    /// From 0 to 100, not rounded; null where there is no statement.
    pub percent: Option<f64>,
}

/// A package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Package {
    /// Its import path.
    pub path: String,
    /// The coverage of its files.
    #[serde(flatten)]
    pub total: Statements,
    /// The coverage by each suite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<SuiteTotal>,
    /// Its files, sorted by name.
    pub files: Vec<File>,
}

/// A source file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct File {
    /// Import path, slash, base name.
    pub name: String,
    /// Its path from the root, with slashes; the name where it is not below the root, or was not found.
    pub path: String,
    /// The coverage of its blocks.
    #[serde(flatten)]
    pub total: Statements,
    /// Whether the inputs were built from different versions of the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub mixed: bool,
    /// Whether the inputs were built by several releases of Go, and their blocks were joined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub joined: bool,
    /// Its functions, in order.
    pub functions: Vec<Function>,
    /// Its blocks, in order. Each has first line, first column, last line, column after the end (all from 1, columns in bytes), number of
    /// statements, count.
    pub blocks: Vec<[u32; 6]>,
    /// The suites that ran some of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suites: Vec<SuiteCounts>,
}

/// A function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// Its name, with the receiver's type before it; null where it is not known.
    pub name: Option<String>,
    /// Where its first block starts.
    pub line: u32,
    /// Whether it is a function literal outside of any function, which has a made-up name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub literal: bool,
    /// The coverage of its blocks.
    #[serde(flatten)]
    pub total: Statements,
}

impl From<Coverage> for Statements {
    fn from(coverage: Coverage) -> Self {
        Self { covered: coverage.covered, statements: coverage.total, percent: coverage.percent() }
    }
}

impl Statements {
    /// Gives it as a [`Coverage`].
    #[must_use]
    pub fn coverage(self) -> Coverage {
        Coverage { covered: self.covered, total: self.statements }
    }
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Makes the document of a report.
#[must_use]
pub fn document(report: &Report<'_>) -> Document {
    let files: Vec<_> = report.files().collect();
    let mut files = files.into_iter().peekable();
    let packages = report.profile().packages().iter().map(|package| {
        let files = std::iter::from_fn(|| files.next_if(|file| file.package.path == package.path));
        let files: Vec<File> = files
            .map(|file| File {
                name: file.profile.name.to_owned(),
                path: file.shown.to_owned(),
                total: file.coverage().into(),
                mixed: matches!(file.profile.finding, Some(Finding::Mixed | Finding::LineDirectives)),
                joined: file.profile.finding == Some(Finding::Joined),
                functions: file
                    .functions()
                    .map(|function| Function {
                        name: Some(function.name.to_owned()).filter(|name| name != "?"),
                        line: function.first_line,
                        literal: function.literal,
                        total: function.coverage.into(),
                    })
                    .collect(),
                blocks: file.profile.blocks.iter().map(block).collect(),
                suites: suite_counts(report, file.profile),
            })
            .collect();
        let total = files.iter().map(|file| file.total.coverage()).sum::<Coverage>();
        let suites =
            report.suites().iter().zip(SuiteCoverage::sum(report.suites().len(), &package.files).each);
        let suites =
            suites.map(|(suite, total)| SuiteTotal { name: suite.name.clone(), total: total.into() });
        Package { path: package.path.to_owned(), total: total.into(), suites: suites.collect(), files }
    });
    let packages = packages.collect();
    let SuiteCoverage { each, only, .. } = report.suite_coverage();
    let suites = report.suites().iter().zip(each).zip(only).map(|((suite, total), only)| Suite {
        name: suite.name.clone(),
        total: total.into(),
        only: only.into(),
        carried_from: suite.carried_from.clone(),
    });
    Document {
        version: VERSION,
        podcov: env!("CARGO_PKG_VERSION").to_owned(),
        mode: report.profile().mode().map(|mode| mode.to_string()),
        total: report.total().into(),
        ignored_statements: report.ignored_statements(),
        suites: suites.collect(),
        packages,
        renamed: report
            .renamed()
            .iter()
            .map(|file| Renamed { from: file.from.clone(), to: file.to.clone() })
            .collect(),
    }
}

fn suite_counts(report: &Report<'_>, file: &FileProfile<'_>) -> Vec<SuiteCounts> {
    let suites = report.suites().iter().zip(&file.suites).zip(file.suite_coverage().each);
    // Not each file is run by each suite, and there may be many of both.
    let ran = suites.filter(|((_, counts), _)| counts.iter().any(|count| *count != 0));
    ran.map(|((suite, counts), total)| SuiteCounts {
        name: suite.name.clone(),
        total: total.into(),
        counts: counts.clone(),
    })
    .collect()
}

pub(crate) fn block(block: &podcov_profile::Block) -> [u32; 6] {
    let unit = block.unit;
    [unit.start_line, unit.start_column, unit.end_line, unit.end_column, unit.statements, block.count]
}

/// Writes a report as JSON.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &document(report))?;
    out.write_all(b"\n")
}
