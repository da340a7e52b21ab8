//! Reads coverage from folders and text profiles, and writes the results of `go tool covdata`, reports, and gates.

mod cobertura;
mod comments;
mod config;
mod covdata_commands;
mod diff;
mod earlier;
mod export;
mod fetch;
mod formats;
mod gaps;
mod gates;
mod ignored;
mod input;
mod load;
mod messages;
mod numbered;
mod output;
mod paths;
mod selection;
mod suites;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use podcov_cli::{CommonArgs, StateArgs};
use podcov_exit::{Exit, Failure};

use messages::NAME;

pub use config::{Configured, configured};
pub use gates::percentage;

/// Reads, merges and renders Go coverage, and gates on it, without the Go toolchain.
///
/// An INPUT is a folder of coverage files (GOCOVERDIR, or one that podcov-collect wrote, with all folders in it) or a
/// text profile (`go test -coverprofile`); all are merged. Without a command the coverage of each package and in
/// total is printed. The commands percent, func, textfmt, pkglist, merge, subtract and intersect take the flags of
/// `go tool covdata` and print what it prints.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version)]
#[command(
    override_usage = "podcov-report [OPTIONS] [INPUT]...\n       podcov-report <COMMAND> [OPTIONS] [INPUT]..."
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    summary: covdata_commands::Input,

    /// The ID of the Skaffold run. If podcov-test deferred a failure of that run, this hook fails
    #[arg(long, env = "SKAFFOLD_RUN_ID", value_name = "ID", global = true, help_heading = "Run")]
    run_id: Option<String>,

    /// Leave a failure of podcov-test to a later hook
    #[arg(long, global = true, help_heading = "Run")]
    defer_failure: bool,

    #[command(flatten)]
    state: StateArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the coverage of each package, as `go tool covdata percent`
    Percent(covdata_commands::Percent),
    /// Print the coverage of each function, as `go tool covdata func`
    Func(covdata_commands::Input),
    /// Write a text profile, for `go tool cover` and others
    Textfmt(covdata_commands::Textfmt),
    /// Print the packages' import paths
    Pkglist(covdata_commands::Input),
    /// Merge folders of coverage files into one
    Merge(covdata_commands::Merge),
    /// Write the first input without the coverage of the others
    Subtract(covdata_commands::SetOperation),
    /// Write the first input with only the coverage that all others have too
    Intersect(covdata_commands::SetOperation),
    /// Write one HTML file with the source, what ran in it and what did not
    Html(formats::Html),
    /// Write an LCOV tracefile
    Lcov(formats::Format),
    /// Write Cobertura's XML
    Cobertura(cobertura::Cobertura),
    /// Write coverage.out, lcov.info and coverage.xml into a folder, for editors and other tools
    Export(export::Export),
    /// Write podcov's own JSON
    Json(formats::Format),
    /// Write Markdown, for the summary of a CI job
    Markdown(formats::Markdown),
    /// Write a badge, an SVG
    Badge(formats::Badge),
    /// End with exit code 1 if coverage is below what is required
    Gate(gates::Gate),
    /// Print which changed lines did not run
    Diff(diff::Diff),
    /// Print what did not run, the most statements first
    Gaps(gaps::Gaps),
    /// Print the comments that --skip-ignored follows, with their reasons
    Ignored(covdata_commands::Input),
}

/// Runs podcov-report with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_cli::main_blocking(NAME, go_flags(args), |args: &Args| &args.common, run)
}

/// Adds the second dash to Go's flags of several letters.
fn go_flags(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut after_flags = false;
    let args = args.into_iter().map(|arg| {
        after_flags |= arg == "--";
        let text = if after_flags { "" } else { arg.to_str().unwrap_or_default() };
        // Go accepts one dash or two, and a value for boolean flags.
        let flag = text.strip_prefix("--").or_else(|| text.strip_prefix('-')).unwrap_or_default();
        match flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value))) {
            ("pcombine", Some("false")) => None,
            ("pcombine", None | Some("true")) => Some("--pcombine".into()),
            ("pkg", None) => Some("--pkg".into()),
            ("pkg", Some(pattern)) => Some(format!("--pkg={pattern}").into()),
            ("i" | "o", None) => Some(format!("-{flag}").into()),
            ("i" | "o", Some(value)) => Some(format!("-{}={value}", &flag[..1]).into()),
            _ => Some(arg),
        }
    });
    args.flatten().collect()
}

/// Runs podcov-report.
///
/// # Errors
/// A [`podcov_exit::Failure`] if there is no result. A file that could not be used is reported on stderr and by the exit
/// code.
pub fn run(mut args: Args) -> Result<Exit> {
    if args.command.is_some() && args.summary.input.is_given() {
        return Err(Failure::new(Exit::Usage, "inputs and selections come after the command").into());
    }
    configure(&mut args)?;
    let exit = match args.command {
        None => covdata_commands::summary(&args.summary),
        Some(Command::Percent(args)) => covdata_commands::percent(&args),
        Some(Command::Func(args)) => covdata_commands::func(&args),
        Some(Command::Textfmt(args)) => covdata_commands::textfmt(&args),
        Some(Command::Pkglist(args)) => covdata_commands::pkglist(&args),
        Some(Command::Merge(args)) => covdata_commands::merge(&args),
        Some(Command::Subtract(args)) => covdata_commands::subtract(&args),
        Some(Command::Intersect(args)) => covdata_commands::intersect(&args),
        Some(Command::Html(args)) => formats::html(&args),
        Some(Command::Lcov(args)) => formats::lcov(&args),
        Some(Command::Cobertura(args)) => cobertura::cobertura(&args),
        Some(Command::Export(args)) => export::export(&args),
        Some(Command::Json(args)) => formats::json(&args),
        Some(Command::Markdown(args)) => formats::markdown(&args),
        Some(Command::Badge(args)) => formats::badge(&args),
        Some(Command::Gate(args)) => gates::gate(&args),
        Some(Command::Diff(args)) => diff::diff(&args),
        Some(Command::Gaps(args)) => gaps::gaps(&args),
        Some(Command::Ignored(args)) => ignored::ignored(&args.input),
    }?;
    let run = args.state.run(args.run_id.as_deref().filter(|id| !id.is_empty()));
    run.end(NAME, exit, args.defer_failure)
}

/// Completes flags by podcov.toml. Go's commands do as Go's: they do not read it.
fn configure(args: &mut Args) -> Result<()> {
    let input = match &mut args.command {
        None => &mut args.summary.input,
        Some(
            Command::Percent(_)
            | Command::Func(_)
            | Command::Textfmt(_)
            | Command::Pkglist(_)
            | Command::Merge(_)
            | Command::Subtract(_)
            | Command::Intersect(_),
        ) => return Ok(()),
        Some(Command::Html(html)) => &mut html.input,
        Some(Command::Lcov(format) | Command::Json(format)) => &mut format.input,
        Some(Command::Cobertura(cobertura)) => &mut cobertura.input,
        Some(Command::Export(export)) => &mut export.input,
        Some(Command::Gaps(gaps)) => &mut gaps.input,
        Some(Command::Ignored(ignored)) => &mut ignored.input,
        Some(Command::Markdown(markdown)) => &mut markdown.format.input,
        Some(Command::Badge(badge)) => &mut badge.format.input,
        Some(Command::Gate(gate)) => return gate.configure(),
        Some(Command::Diff(diff)) => return diff.configure(),
    };
    input.configure().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_one_dash() {
        let given = "podcov-report merge -i=a,b --i=c=d --i e -pcombine --pcombine=true -pcombine=false -pkg=x -pkg --o f \
                     -pkgs -v -- -pkg";
        let expected = "podcov-report merge -i=a,b -i=c=d -i e --pcombine --pcombine --pkg=x --pkg -o f -pkgs -v -- -pkg";
        let words = |line: &str| line.split_whitespace().map(OsString::from).collect::<Vec<_>>();
        assert_eq!(go_flags(words(given)), words(expected));
    }
}
