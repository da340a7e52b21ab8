//! One HTML file that a browser opens from disk. It shows the source, and marks which code ran.
//!
//! The page (`report.html`, `report.css`, `suites.js` and `report.js` in this folder) holds an index of all files, and the compressed
//! source and blocks of each file. It decompresses a file when it is opened. It loads nothing from the network.

use std::io::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::write::GzEncoder;
use podcov_profile::{SuiteCoverage, parallel};
use serde::Serialize;

use crate::{FileFunction, Report, ReportFile, json};

const PAGE: &str = include_str!("report.html");
const STYLE: &str = include_str!("report.css");
const SUITES: &str = include_str!("suites.js");
const SCRIPT: &str = include_str!("report.js");

/// Writes the page.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(report: &Report<'_>, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut files: Vec<ReportFile<'_>> = report.files().collect();
    files.sort_by_key(|file| file.shown);
    // Each part of the page up to a place for content.
    let mut parts = PAGE.split("{{");
    out.write_all(parts.next().unwrap_or_default().as_bytes())?;
    for part in parts {
        let (name, text) = part.split_once("}}").unwrap_or((part, ""));
        match name {
            "title" => write!(out, "{}", quick_xml::escape::escape(title))?,
            "style" => out.write_all(STYLE.as_bytes())?,
            "suites" => out.write_all(SUITES.as_bytes())?,
            "script" => out.write_all(SCRIPT.as_bytes())?,
            "index" => write_index(report, title, &files, out)?,
            "files" => write_files(&files, out)?,
            other => return Err(io::Error::other(format!("the page has no {other}"))),
        }
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Index<'r> {
    version: u32,
    title: &'r str,
    mode: Option<String>,
    covered: u64,
    statements: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suites: Vec<IndexSuite<'r>>,
    files: Vec<IndexFile<'r>>,
}

#[derive(Serialize)]
struct IndexSuite<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    carried_from: Option<&'r str>,
}

#[derive(Serialize)]
struct IndexFile<'r> {
    path: &'r str,
    covered: u64,
    statements: u64,
    /// For each suite, the statements that it ran, and those that no other ran.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    suites: Vec<[u64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

fn write_index(
    report: &Report<'_>,
    title: &str,
    files: &[ReportFile<'_>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let total = report.total();
    let index = Index {
        version: 1,
        title,
        mode: report.profile().mode().map(|mode| mode.to_string()),
        covered: total.covered,
        statements: total.total,
        suites: report
            .suites()
            .iter()
            .map(|suite| IndexSuite { name: &suite.name, carried_from: suite.carried_from.as_deref() })
            .collect(),
        files: parallel::map(files, IndexFile::new),
    };
    // In JSON a `<` is part of a string, and in a page it might end the script.
    out.write_all(serde_json::to_string(&index)?.replace('<', "\\u003c").as_bytes())
}

impl<'r> IndexFile<'r> {
    fn new(file: &ReportFile<'r>) -> Self {
        let coverage = file.coverage();
        let problem = file.read().err().map(|error| error.to_string());
        let SuiteCoverage { each, only, .. } = file.profile.suite_coverage();
        let suites = each.iter().zip(only).map(|(each, only)| [each.covered, only.covered]).collect();
        Self { path: file.shown, covered: coverage.covered, statements: coverage.total, suites, problem }
    }
}

#[derive(Serialize)]
struct File<'r> {
    source: Option<String>,
    blocks: Vec<[u32; 6]>,
    /// For each suite, the count of each block.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    suites: &'r [Vec<u32>],
    /// Name, line, statements covered, statements, blocks.
    functions: Vec<(&'r str, u32, u64, u64, usize)>,
}

/// How many files are compressed at a time, so that not all of a large report is in memory.
const AT_A_TIME: usize = 256;

fn write_files(files: &[ReportFile<'_>], out: &mut dyn Write) -> io::Result<()> {
    for (group, files) in files.chunks(AT_A_TIME).enumerate() {
        for (number, packed) in parallel::map(files, pack).into_iter().enumerate() {
            let number = group * AT_A_TIME + number;
            writeln!(
                out,
                "<script type=\"text/plain\" class=\"file\" id=\"file-{number}\">{}</script>",
                packed?
            )?;
        }
    }
    Ok(())
}

fn pack(file: &ReportFile<'_>) -> io::Result<String> {
    let content = File {
        source: file.read().ok(),
        blocks: file.profile.blocks.iter().map(json::block).collect(),
        suites: &file.profile.suites,
        functions: file
            .functions()
            .map(|FileFunction { name, first_line, coverage, blocks, .. }| {
                (name, first_line, coverage.covered, coverage.total, blocks)
            })
            .collect(),
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    // All at once: the encoder clears 32 kB of its output at each write.
    gzip.write_all(&serde_json::to_vec(&content)?)?;
    Ok(BASE64.encode(gzip.finish()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DecompressionStream, which unpacks the sources, is in Chrome since version 80, Firefox 113 and Safari 16.4.
    /// docs/reports.md names these versions, so the script uses nothing newer. Newer style rules stand alone, so that an
    /// older browser ignores them.
    #[test]
    fn the_page_needs_no_later_browser() {
        for later in [
            "??=",
            "||=",
            "&&=",
            ".at(",
            "findLast",
            "replaceAll(",
            "replaceChildren(",
            "Object.hasOwn(",
            "structuredClone(",
            "toSorted(",
            "Promise.any(",
            "static {",
            "class ",
        ] {
            let scripts = [SCRIPT, SUITES];
            assert!(
                !scripts.iter().any(|script| script.contains(later)) && !PAGE.contains(&format!("={later}")),
                "{later}"
            );
        }
        for later in ["inset:", "@layer", "@container", "color-mix(", "oklch("] {
            assert!(!STYLE.contains(later), "{later}");
        }
        let rules = STYLE.lines().filter(|line| !line.trim_start().starts_with("/*"));
        for rule in rules {
            assert!(!rule.contains(": light-dark("), "{rule}");
            // A browser ignores a rule with a selector that it does not know.
            let selector = rule.split('{').next().unwrap_or_default();
            assert!(!selector.contains(":has(") || !selector.contains(','), "{rule}");
        }
    }
}
