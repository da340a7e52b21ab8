//! Cobertura's XML, for GitLab, Jenkins, Azure and others. Format: `coverage-04.dtd`.
//!
//! Its classes are files here. Rates are of lines. A line of a function is in the function's list and in the file's, as in
//! Cobertura's own files: readers take the file's (pycobertura, diff-cover), or all by their numbers (GitLab, Codecov).

use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use podcov_profile::parallel;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use crate::lines::line_counts;
use crate::{FileFunction, Report, ReportFile, text};

/// Writes Cobertura's XML.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    write_classes(&classes(report), now(), out)
}

/// The report as several documents of at most `max_bytes` each: every file is in one of them, and the totals of each are those of
/// its files.
///
/// # Errors
///
/// The path of a file that is too large for a document, and how many bytes that would have.
pub fn split(report: &Report<'_>, max_bytes: usize) -> Result<Vec<Vec<u8>>, (String, usize)> {
    let (classes, time) = (classes(report), now());
    let (mut documents, mut open) = (Vec::new(), vec![classes.as_slice()]);
    while let Some(part) = open.pop() {
        let mut document = Vec::new();
        write_classes(part, time, &mut document).expect("memory takes all");
        if document.len() <= max_bytes {
            documents.push(document);
        } else if part.len() < 2 {
            let name = part.first().map_or("no file", |class| class.file.shown);
            return Err((name.to_owned(), document.len()));
        } else {
            // By halves, so that the documents have about one size.
            let (first, second) = part.split_at(part.len() / 2);
            open.extend([second, first]);
        }
    }
    Ok(documents)
}

fn classes<'r>(report: &'r Report<'_>) -> Vec<Class<'r>> {
    let files: Vec<_> = report.files().collect();
    parallel::map(&files, |file| Class::new(*file))
}

/// Milliseconds since 1970.
fn now() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

fn write_classes(classes: &[Class<'_>], millis: u128, out: &mut dyn Write) -> io::Result<()> {
    let total = classes.iter().map(|class| class.lines).fold(Rate::default(), Rate::add);
    // A line for each element. Spaces before it would be a third of the file, and services have limits.
    let mut xml = Writer::new_with_indent(out, b' ', 0);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.write_event(Event::DocType(BytesText::from_escaped(
        "coverage SYSTEM \"http://cobertura.sourceforge.net/xml/coverage-04.dtd\"",
    )))?;
    xml.create_element("coverage")
        .with_attributes([
            ("line-rate", total.text().as_str()),
            ("branch-rate", "0"),
            ("lines-covered", &total.covered.to_string()),
            ("lines-valid", &total.valid.to_string()),
            ("branches-covered", "0"),
            ("branches-valid", "0"),
            ("complexity", "0"),
            ("version", concat!("podcov ", env!("CARGO_PKG_VERSION"))),
            ("timestamp", &millis.to_string()),
        ])
        .write_inner_content(|xml| {
            xml.create_element("sources").write_inner_content(|xml| {
                xml.create_element("source").write_text_content(BytesText::new(".")).map(drop)
            })?;
            xml.create_element("packages")
                .write_inner_content(|xml| {
                    classes
                        .chunk_by(|a, b| a.file.package.path == b.file.package.path)
                        .try_for_each(|classes| package(xml, classes))
                })
                .map(drop)
        })?;
    xml.into_inner().write_all(b"\n")
}

fn package(xml: &mut Writer<impl Write>, classes: &[Class<'_>]) -> io::Result<()> {
    let rate = classes.iter().map(|class| class.lines).fold(Rate::default(), Rate::add);
    xml.create_element("package")
        .with_attributes([
            ("name", text::xml(classes[0].file.package.path).as_str()),
            ("line-rate", &rate.text()),
            ("branch-rate", "0"),
            ("complexity", "0"),
        ])
        .write_inner_content(|xml| {
            xml.create_element("classes")
                .write_inner_content(|xml| classes.iter().try_for_each(|class| class.write(xml)))
                .map(drop)
        })
        .map(drop)
}

struct Class<'r> {
    file: ReportFile<'r>,
    counts: Vec<(u32, u32)>,
    lines: Rate,
}

impl<'r> Class<'r> {
    fn new(file: ReportFile<'r>) -> Self {
        let source = file.read().ok();
        let counts: Vec<_> = line_counts(file.profile, source.as_deref()).into_iter().collect();
        Self { file, lines: Rate::of(&counts), counts }
    }

    fn write(&self, xml: &mut Writer<impl Write>) -> io::Result<()> {
        let shown = text::xml(&self.file.location());
        let name = shown.rsplit('/').next().unwrap_or_default();
        xml.create_element("class")
            .with_attributes([
                ("name", name),
                ("filename", &shown),
                ("line-rate", &self.lines.text()),
                ("branch-rate", "0"),
                ("complexity", "0"),
            ])
            .write_inner_content(|xml| {
                xml.create_element("methods").write_inner_content(|xml| {
                    self.file.functions().try_for_each(|function| self.method(xml, &function))
                })?;
                write_lines(xml, &self.counts)
            })
            .map(drop)
    }

    fn method(&self, xml: &mut Writer<impl Write>, function: &FileFunction<'_>) -> io::Result<()> {
        let start = self.counts.partition_point(|(line, _)| *line < function.first_line);
        let end = self.counts.partition_point(|(line, _)| *line <= function.last_line);
        let counts = &self.counts[start..end.max(start)];
        xml.create_element("method")
            .with_attributes([
                ("name", text::xml(function.name).as_str()),
                ("signature", ""),
                ("line-rate", &Rate::of(counts).text()),
                ("branch-rate", "0"),
                ("complexity", "0"),
            ])
            .write_inner_content(|xml| write_lines(xml, counts))
            .map(drop)
    }
}

fn write_lines(xml: &mut Writer<impl Write>, counts: &[(u32, u32)]) -> io::Result<()> {
    xml.create_element("lines")
        .write_inner_content(|xml| {
            counts.iter().try_for_each(|(line, count)| {
                xml.create_element("line")
                    .with_attributes([("number", line.to_string().as_str()), ("hits", &count.to_string())])
                    .write_empty()
                    .map(drop)
            })
        })
        .map(drop)
}

/// How many lines ran, of how many.
#[derive(Clone, Copy, Default)]
struct Rate {
    covered: usize,
    valid: usize,
}

impl Rate {
    fn of(counts: &[(u32, u32)]) -> Self {
        Self { covered: counts.iter().filter(|(_, count)| *count > 0).count(), valid: counts.len() }
    }

    fn add(self, other: Self) -> Self {
        Self { covered: self.covered + other.covered, valid: self.valid + other.valid }
    }

    /// From 0 to 1. What has no lines lacks none.
    fn text(self) -> String {
        if self.valid == 0 {
            "1".to_owned()
        } else {
            format!("{:.4}", self.covered as f64 / self.valid as f64)
        }
    }
}
