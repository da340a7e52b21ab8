//! Reads coverage from folders and text profiles, and makes of it what `go tool covdata` makes, and more.

mod covdata_commands;
mod input;
mod output;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use podcov_cli::{CommonArgs, Exit};

use input::InputArgs;

const NAME: &str = "podcov-report";

/// Reads, merges and renders Go coverage, and gates on it: no Go needed.
///
/// An INPUT is a folder of coverage files (GOCOVERDIR, or what podcov-collect wrote, with all folders in it) or a
/// text profile (`go test -coverprofile`). Without a command the coverage of each package and in total is printed.
/// The commands percent, func, textfmt, pkglist, merge, subtract and intersect take the flags of `go tool covdata`
/// and print what it prints.
#[derive(Debug, clap::Parser)]
#[command(name = NAME, version, args_conflicts_with_subcommands = true, subcommand_precedence_over_arg = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    input: InputArgs,

    /// Output
    #[command(flatten)]
    pub common: CommonArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print the coverage of each package, as `go tool covdata percent`
    Percent(Percent),
    /// Print the coverage of each function, as `go tool covdata func`
    Func(Func),
    /// Write a text profile, for `go tool cover` and others
    Textfmt(Textfmt),
    /// Print the packages' import paths
    Pkglist(Pkglist),
    /// Merge folders of coverage files into one
    Merge(Merge),
    /// Take out of the first input what ran in the others
    Subtract(SetOperation),
    /// Keep of the first input what ran in all others too
    Intersect(SetOperation),
}

#[derive(Debug, clap::Args)]
struct Percent {
    #[command(flatten)]
    input: InputArgs,

    /// Write a text profile too
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Func {
    #[command(flatten)]
    input: InputArgs,
}

#[derive(Debug, clap::Args)]
struct Textfmt {
    #[command(flatten)]
    input: InputArgs,

    /// The file; stdout where there is none
    #[arg(short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct Pkglist {
    #[command(flatten)]
    input: InputArgs,
}

#[derive(Debug, clap::Args)]
struct Merge {
    #[command(flatten)]
    input: InputArgs,

    /// The folder; a file, for a text profile, where an input is one
    #[arg(short, value_name = "DIR")]
    output: PathBuf,

    /// Make one binary of all, each function once
    #[arg(long)]
    pcombine: bool,
}

#[derive(Debug, clap::Args)]
struct SetOperation {
    #[command(flatten)]
    input: InputArgs,

    /// The folder; a file, for a text profile, where the first input is one
    #[arg(short, value_name = "DIR")]
    output: PathBuf,
}

/// Gives Go's flags of several letters the second dash that they have here.
pub fn go_flags(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut behind_flags = false;
    let args = args.into_iter().map(|arg| {
        behind_flags |= arg == "--";
        let text = if behind_flags { "" } else { arg.to_str().unwrap_or_default() };
        match text {
            "-pcombine=true" => "--pcombine".into(),
            _ if text == "-pcombine" || text == "-pkg" || text.starts_with("-pkg=") => {
                format!("-{text}").into()
            }
            _ => arg,
        }
    });
    args.collect()
}

/// Runs podcov-report.
///
/// # Errors
/// A [`podcov_cli::Failure`] when there is no result. That a file could not be used is said on stderr and shows in
/// the exit code.
pub fn run(args: Args) -> Result<Exit> {
    match args.command {
        None => covdata_commands::percent(&args.input, None, true),
        Some(Command::Percent(Percent { input, output })) => {
            covdata_commands::percent(&input, output.as_deref(), false)
        }
        Some(Command::Func(Func { input })) => covdata_commands::func(&input),
        Some(Command::Textfmt(Textfmt { input, output })) => {
            covdata_commands::textfmt(&input, output.as_deref())
        }
        Some(Command::Pkglist(Pkglist { input })) => covdata_commands::pkglist(&input),
        Some(Command::Merge(Merge { input, output, pcombine })) => {
            covdata_commands::merge(&input, &output, pcombine)
        }
        Some(Command::Subtract(SetOperation { input, output })) => {
            covdata_commands::set_operation(&input, &output, |first, others| first.subtract(others))
        }
        Some(Command::Intersect(SetOperation { input, output })) => {
            covdata_commands::set_operation(&input, &output, |first, others| first.intersect(others))
        }
    }
}
