//! Reports for people and for other tools.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use podcov_exit::Exit;
use report::{Report, badge, html, json, markdown};

use crate::gates::baseline;
use crate::input::{InputArgs, NothingSelected};
use crate::output;

#[derive(Debug, clap::Args)]
pub(crate) struct Format {
    #[command(flatten)]
    input: InputArgs,

    /// The file to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Html {
    #[command(flatten)]
    input: InputArgs,

    /// The file to write; `-` is stdout
    #[arg(short, long, value_name = "FILE", default_value = "coverage.html")]
    output: PathBuf,

    /// The title of the page
    #[arg(long, value_name = "TEXT", default_value = "Go coverage")]
    title: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Markdown {
    #[command(flatten)]
    format: Format,

    /// Coverage to compare the total with: a file of `podcov-report json`, or a text profile
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Badge {
    #[command(flatten)]
    format: Format,

    /// The text before the percentage
    #[arg(long, value_name = "TEXT", default_value = "coverage")]
    label: String,
}

/// Writes a format that has lines, which needs the source.
pub(crate) fn write(
    args: &Format,
    format: output::Format,
    write: fn(&Report<'_>, &mut dyn Write) -> io::Result<()>,
) -> Result<Exit> {
    with_report(args, format, |report, out| {
        args.input.say_missing(report);
        write(report, out)
    })
}

pub(crate) fn html(Html { input, output, title }: &Html) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let report = input.report(&data)?;
    input.say_missing(&report);
    // Only the page itself may be written to stdout.
    let is_stdout = output::is_stdout(output);
    output::write(Some(output), output::Format::Html, |out| html::write(&report, title, out))?;
    if !is_stdout {
        let wrote = format!("{}: {}", output.display(), report.total());
        output::print(|out| writeln!(out, "{wrote}"))?;
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
    output::write(output.as_deref(), output::Format::Markdown, |out| markdown::write(&report, before, out))?;
    Ok(input.messages.exit())
}

pub(crate) fn badge(Badge { format, label }: &Badge) -> Result<Exit> {
    with_report(format, output::Format::Badge, |report, out| badge::write(report.total(), label, out))
}

fn with_report(
    Format { input, output }: &Format,
    format: output::Format,
    write: impl FnOnce(&Report<'_>, &mut dyn Write) -> io::Result<()>,
) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let report = input.report(&data)?;
    output::write(output.as_deref(), format, |out| write(&report, out))?;
    Ok(input.messages.exit())
}
