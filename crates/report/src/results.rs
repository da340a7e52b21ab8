//! The results of gates and of changed lines as JSON, for other programs.
//!
//! `version` changes if the meaning of a field changes or a field is removed. It does not change if a field is added.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use podcov_profile::Coverage;
use serde::Serialize;

use crate::changes::ChangedFile;
use crate::gate::{CHANGED, Checked, changed_total};
use crate::json::Statements;

/// The version of both documents.
const VERSION: u32 = 1;

/// The result of a gate.
#[derive(Debug, Clone, Copy)]
pub struct GateResult<'r> {
    /// Whether all gates passed.
    pub passed: bool,
    /// Whether no data are missing.
    pub complete: bool,
    /// The coverage of everything.
    pub total: Coverage,
    /// How many statements are left out because a comment ignores them.
    pub ignored_statements: usize,
    /// The rules.
    pub checked: &'r [Checked],
    /// Whether every package must have data.
    pub require_all_packages: bool,
    /// The packages without data.
    pub packages_without_data: &'r [String],
    /// The changed lines, if a rule requires coverage of them.
    pub changed: Option<&'r [ChangedFile]>,
}

/// The changed lines.
#[derive(Debug, Clone, Copy)]
pub struct DiffResult<'r> {
    /// The revision that the changes are compared with.
    pub since: &'r str,
    /// Whether no data are missing.
    pub complete: bool,
    /// The files with changed lines that can run.
    pub files: &'r [ChangedFile],
    /// The changed files that have functions and no data.
    pub without_data: &'r [String],
}

impl GateResult<'_> {
    /// Writes the document.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let rules = self.checked.iter().map(|checked| RuleJson {
            rule: checked.rule,
            required: checked.required,
            because: checked.because.as_deref(),
            unit: if checked.rule == CHANGED { "lines" } else { "statements" },
            passed: checked.failed().next().is_none(),
            parts: checked
                .parts
                .iter()
                .map(|part| PartJson {
                    name: &part.name,
                    covered: part.has.covered,
                    total: part.has.total,
                    percent: part.has.percent(),
                    passed: checked.passes(part),
                })
                .collect(),
        });
        let document = GateJson {
            version: VERSION,
            podcov: env!("CARGO_PKG_VERSION"),
            passed: self.passed,
            complete: self.complete,
            total: self.total.into(),
            ignored_statements: self.ignored_statements,
            rules: rules.collect(),
            require_all_packages: self.require_all_packages,
            packages_without_data: self.packages_without_data,
            changed_files: self.changed.map(files),
        };
        write(&document, out)
    }
}

impl DiffResult<'_> {
    /// Writes the document.
    ///
    /// # Errors
    ///
    /// Errors of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let document = DiffJson {
            version: VERSION,
            podcov: env!("CARGO_PKG_VERSION"),
            since: self.since,
            complete: self.complete,
            total: changed_total(self.files).into(),
            files: files(self.files),
            without_data: self.without_data,
        };
        write(&document, out)
    }
}

fn files(changed: &[ChangedFile]) -> Vec<FileJson<'_>> {
    let file = |file| FileJson {
        total: changed_total(std::slice::from_ref(file)).into(),
        path: &file.path,
        uncovered: lines(file),
    };
    changed.iter().map(file).collect()
}

fn lines(file: &ChangedFile) -> Vec<[u32; 2]> {
    file.uncovered.iter().map(|lines: &RangeInclusive<u32>| [*lines.start(), *lines.end()]).collect()
}

fn write(document: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, document)?;
    out.write_all(b"\n")
}

#[derive(Serialize)]
struct GateJson<'r> {
    version: u32,
    podcov: &'static str,
    passed: bool,
    complete: bool,
    #[serde(flatten)]
    total: Statements,
    ignored_statements: usize,
    rules: Vec<RuleJson<'r>>,
    require_all_packages: bool,
    packages_without_data: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    changed_files: Option<Vec<FileJson<'r>>>,
}

#[derive(Serialize)]
struct RuleJson<'r> {
    rule: &'static str,
    required: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'r str>,
    unit: &'static str,
    passed: bool,
    parts: Vec<PartJson<'r>>,
}

#[derive(Serialize)]
struct PartJson<'r> {
    name: &'r str,
    covered: u64,
    total: u64,
    percent: Option<f64>,
    passed: bool,
}

#[derive(Serialize)]
struct DiffJson<'r> {
    version: u32,
    podcov: &'static str,
    since: &'r str,
    complete: bool,
    #[serde(flatten)]
    total: Lines,
    files: Vec<FileJson<'r>>,
    without_data: &'r [String],
}

#[derive(Serialize)]
struct FileJson<'r> {
    path: &'r str,
    #[serde(flatten)]
    total: Lines,
    uncovered: Vec<[u32; 2]>,
}

/// How many changed lines ran, of how many that can.
#[derive(Serialize)]
struct Lines {
    covered: u64,
    lines: u64,
    percent: Option<f64>,
}

impl From<Coverage> for Lines {
    fn from(coverage: Coverage) -> Self {
        Self { covered: coverage.covered, lines: coverage.total, percent: coverage.percent() }
    }
}
