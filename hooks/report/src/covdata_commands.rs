//! The commands of `go tool covdata`, and the summary.

use std::path::{Path, PathBuf};

use anyhow::Result;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_profile::Data;
use report::summary::{SuiteSummary, Summary};

use crate::formats::write_reports;
use crate::input::{InputArgs, NothingSelected};
use crate::messages::and_more;
use crate::output;
use crate::suites::is_by_suite;

#[derive(Debug, clap::Args)]
pub(crate) struct Input {
    #[command(flatten)]
    pub(crate) input: InputArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Percent {
    #[command(flatten)]
    input: InputArgs,

    /// Write a text profile too
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Textfmt {
    #[command(flatten)]
    input: InputArgs,

    /// The file to write; with `{suite}` in its name, one for each suite [default: stdout]
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Merge {
    #[command(flatten)]
    input: InputArgs,

    /// The folder to write. If an input is a text profile, or files are left out: the text profile to write
    #[arg(short, value_name = "DIR")]
    output: PathBuf,

    /// Combine all binaries into one, with each function once
    #[arg(long)]
    pcombine: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetOperation {
    #[command(flatten)]
    input: InputArgs,

    /// The folder to write. If the first input is a text profile, or files are left out: the text profile to write
    #[arg(short, value_name = "DIR")]
    output: PathBuf,
}

/// Loads the inputs of a command that has no suites.
fn load(input: &InputArgs, command: &str) -> Result<podcov_profile::Files> {
    input.suites.refuse(command)?;
    input.refuse_config(command)?;
    input.load()
}

pub(crate) fn summary(Input { input }: &Input) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    if input.suites.is_given() {
        let (suites, packages) = (input.suites.suites()?, input.suite_summary(&data)?);
        output::print(|out| write!(out, "{}", SuiteSummary { suites: &suites, packages: &packages }))?;
    } else {
        let percent = input.summary(&data)?;
        output::print(|out| write!(out, "{}", Summary(&percent)))?;
    }
    input.say_without_data(&input.packages_without_data(&data)?);
    Ok(input.messages.exit())
}

pub(crate) fn percent(Percent { input, output }: &Percent) -> Result<Exit> {
    let files = load(input, "percent")?;
    let data = input.read(&files, NothingSelected::IsPrinted)?;
    if let Some(path) = output {
        input.write_text(&data, Some(path))?;
    }
    let percent = input.percent(&data)?;
    output::print(|out| write!(out, "{percent}"))?;
    Ok(input.messages.exit())
}

pub(crate) fn func(Input { input }: &Input) -> Result<Exit> {
    let files = load(input, "func")?;
    let data = input.read(&files, NothingSelected::IsPrinted)?;
    input.print_functions(&data)?;
    Ok(input.messages.exit())
}

pub(crate) fn textfmt(Textfmt { input, output }: &Textfmt) -> Result<Exit> {
    input.refuse_config("textfmt")?;
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::IsPrinted)?;
    if output.as_deref().is_some_and(is_by_suite) {
        let report = input.report(&data)?;
        write_reports(input, output.as_deref(), output::Format::Text, &report, |report, mut out| {
            report.profile().write_text(&mut out)
        })?;
    } else {
        input.write_text(&data, output.as_deref())?;
    }
    Ok(input.messages.exit())
}

pub(crate) fn pkglist(Input { input }: &Input) -> Result<Exit> {
    let files = load(input, "pkglist")?;
    let data = input.read(&files, NothingSelected::IsPrinted)?;
    let profile = input.profile(&data)?;
    output::print(|out| profile.packages().iter().try_for_each(|package| writeln!(out, "{}", package.path)))?;
    Ok(input.messages.exit())
}

pub(crate) fn merge(Merge { input, output, pcombine }: &Merge) -> Result<Exit> {
    let files = load(input, "merge")?;
    let data = input.read(&files, NothingSelected::IsPrinted)?;
    write(input, &data, output, *pcombine)?;
    Ok(input.messages.exit())
}

pub(crate) fn subtract(args: &SetOperation) -> Result<Exit> {
    let files = load(&args.input, "subtract")?;
    set_operation(args, &files, Data::subtract)
}

pub(crate) fn intersect(args: &SetOperation) -> Result<Exit> {
    let files = load(&args.input, "intersect")?;
    set_operation(args, &files, Data::intersect)
}

fn set_operation<'f>(
    args: &SetOperation,
    files: &'f podcov_profile::Files,
    operation: fn(&mut Data<'f>, &Data<'_>),
) -> Result<Exit> {
    if files.inputs() < 2 {
        return Err(Failure::new(Exit::Usage, "at least two inputs are needed").into());
    }
    let mut first = None;
    args.input.read_each(files, |data| match &mut first {
        None => first = Some(data),
        Some(first) => operation(first, &data),
    })?;
    if let Some(first) = first {
        write(&args.input, &first, &args.output, false)?;
    }
    Ok(args.input.messages.exit())
}

/// Writes a folder; a text profile if coverage files cannot hold the data.
fn write(input: &InputArgs, data: &Data<'_>, to: &Path, combine: bool) -> Result<()> {
    if data.has_text() || input.leaves_out_files() {
        if to.is_dir() {
            let why = if data.has_text() { "an input is a text profile" } else { "files are left out" };
            return Err(Failure::new(Exit::Usage, format!("{} is a folder, and {why}", to.display()))
                .with_hint("give a file with -o: the result is a text profile")
                .into());
        }
        return input.write_text(data, Some(to));
    }
    if input.reads(to) {
        return Err(Failure::new(Exit::Usage, format!("{} is an input as well, or in one", to.display()))
            .with_hint("write to another folder: what is in this one would count twice from then on")
            .into());
    }
    let is_selected = |path: &str| input.selects(path);
    if combine && let several @ [first, ..] = &data.files_of_several_programs(is_selected)[..] {
        // Not a warning: who reads the file later would not see that its numbers are those of no program.
        let what = format!(
            "different programs were built from {first}{}, which would be one file in one binary",
            and_more(several.len())
        );
        return Err(Failure::new(Exit::Usage, what)
            .with_hint(
                "leave these programs out by --pkg, or merge without --pcombine, which keeps them apart",
            )
            .into());
    }
    let files = match (combine, input.selects_all()) {
        // Each binary alone has the blocks that its release of Go makes, but one binary of all has one kind.
        (true, _) => data.combined_files(is_selected).map(|(files, findings)| {
            input.say_findings(&findings);
            files
        }),
        (false, false) => data.selected_files(is_selected),
        (false, true) => data.files(),
    };
    let files = files.or_exit(Exit::Usage, "the result does not fit Go's format")?;
    output::write_folder(to, &files)
}
