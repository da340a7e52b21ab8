//! Reports for people and for other tools.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use podcov_exit::{Exit, Failure};
use podcov_profile::Coverage;
use report::{Report, badge, html, json, lcov, markdown};

use crate::gates::baseline;
use crate::input::{InputArgs, NothingSelected};
use crate::output;
use crate::suites::{file_of_suite, is_by_suite};

#[derive(Debug, clap::Args)]
pub(crate) struct Format {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// The file to write; with `{suite}` in its name, one for each suite [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Html {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// The file to write; `-` is stdout. With `{suite}` in its name, one for each suite
    #[arg(short, long, value_name = "FILE", default_value = "coverage.html")]
    output: PathBuf,

    /// The title of the page
    #[arg(long, value_name = "TEXT", default_value = "Go coverage")]
    title: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Markdown {
    #[command(flatten)]
    pub(crate) format: Format,

    /// Coverage to compare the total with: a file of `podcov-report json`, or a text profile
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Badge {
    #[command(flatten)]
    pub(crate) format: Format,

    /// The text before the percentage
    #[arg(long, value_name = "TEXT", default_value = "coverage")]
    label: String,
}

pub(crate) fn lcov(args: &Format) -> Result<Exit> {
    with_report(args, output::Format::Lcov, |report, out| {
        // Each message is printed once, however many files are written.
        args.input.say_missing(report);
        lcov::write(report, out)
    })
}

pub(crate) fn html(Html { input, output, title }: &Html) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let report = input.report(&data)?;
    input.say_missing(&report);
    // Only the page itself may be written to stdout.
    let is_stdout = output::is_stdout(output);
    let write = |report: &Report<'_>, out: &mut dyn Write| html::write(report, title, out);
    for (path, total) in write_reports(input, Some(output), output::Format::Html, &report, write)? {
        if !is_stdout {
            output::print(|out| writeln!(out, "{}: {total}", path.display()))?;
        }
    }
    Ok(input.messages.exit())
}

pub(crate) fn json(args: &Format) -> Result<Exit> {
    with_report(args, output::Format::Json, json::write)
}

pub(crate) fn markdown(
    Markdown { format: Format { input, output }, baseline: file }: &Markdown,
) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let before = file.as_deref().map(|file| baseline(input, &data, file)).transpose()?;
    let report = input.report(&data)?;
    if before.is_some() && output.as_deref().is_some_and(is_by_suite) {
        return Err(Failure::new(
            Exit::Usage,
            "--baseline is compared with the total, and {suite} writes no total",
        )
        .with_hint("leave out one of the two")
        .into());
    }
    write_reports(input, output.as_deref(), output::Format::Markdown, &report, |report, out| {
        markdown::write(report, before, out)
    })?;
    Ok(input.messages.exit())
}

pub(crate) fn badge(Badge { format, label }: &Badge) -> Result<Exit> {
    with_report(format, output::Format::Badge, |report, out| badge::write(report.total(), label, out))
}

fn with_report(
    Format { input, output }: &Format,
    format: output::Format,
    write: impl Fn(&Report<'_>, &mut dyn Write) -> io::Result<()>,
) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let report = input.report(&data)?;
    write_reports(input, output.as_deref(), format, &report, write)?;
    Ok(input.messages.exit())
}

/// Writes a report to a file; if the file's name has a place for a suite's name, the report of each suite to a file of its
/// own. Gives the files, and the coverage in each.
pub(crate) fn write_reports(
    input: &InputArgs,
    output: Option<&Path>,
    format: output::Format,
    report: &Report<'_>,
    write: impl Fn(&Report<'_>, &mut dyn Write) -> io::Result<()>,
) -> Result<Vec<(PathBuf, Coverage)>> {
    let Some(path) = output.filter(|path| is_by_suite(path)) else {
        output.map_or(Ok(()), |path| input.check_output(path))?;
        output::write(output, format, |out| write(report, out))?;
        return Ok(output.map(|path| (path.to_owned(), report.total())).into_iter().collect());
    };
    if report.suites().is_empty() {
        return Err(Failure::new(Exit::Usage, format!("-o {}: there are no suites", path.display()))
            .with_hint("give each input a suite, as in --suite e2e=reports/coverage")
            .into());
    }
    let paths: Vec<PathBuf> = report.suites().iter().map(|suite| file_of_suite(path, &suite.name)).collect();
    // All or none, as far as that can be known before.
    paths.iter().try_for_each(|path| input.check_output(path).and_then(|()| output::check(path, format)))?;
    let mut written = Vec::new();
    for (suite, path) in paths.into_iter().enumerate() {
        let report = report.of_suite(suite);
        output::write(Some(&path), format, |out| write(&report, out))?;
        written.push((path, report.total()));
    }
    Ok(written)
}
