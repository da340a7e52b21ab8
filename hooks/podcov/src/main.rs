//! podcov: all programs in one. `podcov collect` is podcov-collect; so is a link of that name to this program. As
//! `kubectl-podcov` it is a plugin of kubectl.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Command, CommandFactory, FromArgMatches, Parser, Subcommand};
use fs_err as fs;
use podcov_exit::{Exit, ResultExt};

const NAME: &str = "podcov";

/// A program that is a command here.
struct Program {
    /// The command's name; the program's is this after `podcov-`.
    name: &'static str,
    main: fn(Vec<OsString>) -> ExitCode,
    arguments: fn() -> Command,
}

const PROGRAMS: [Program; 8] = [
    Program { name: "run", main: podcov_run::main, arguments: podcov_run::Args::command },
    Program { name: "test", main: podcov_test::main, arguments: podcov_test::Args::command },
    Program { name: "signal", main: podcov_signal::main, arguments: podcov_signal::Args::command },
    Program { name: "collect", main: podcov_collect::main, arguments: podcov_collect::Args::command },
    Program { name: "report", main: podcov_report::main, arguments: podcov_report::Args::command },
    Program { name: "doctor", main: podcov_doctor::main, arguments: podcov_doctor::Args::command },
    Program { name: "init", main: podcov_init::main, arguments: podcov_init::Args::command },
    Program { name: "inject", main: podcov_inject::main, arguments: podcov_inject::Args::command },
];

/// Collects Go code coverage from programs that run in Kubernetes.
#[derive(Parser)]
#[command(name = NAME, version)]
struct Args {
    #[command(subcommand)]
    command: OwnCommand,
}

#[derive(Subcommand)]
enum OwnCommand {
    /// Print a shell's completions of all commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages of all commands into a folder
    Man {
        /// The folder
        dir: PathBuf,
    },
}

fn main() -> ExitCode {
    if let Some(code) = podcov_test::guard() {
        return code;
    }
    let mut args: Vec<OsString> = std::env::args_os().collect();
    let called = args.first().and_then(|path| Path::new(path).file_stem()?.to_str()).unwrap_or_default();
    if let Some(program) = called.strip_prefix("podcov-").and_then(program) {
        return (program.main)(args);
    }
    if let Some(program) = args.get(1).and_then(|name| program(name.to_str()?)) {
        args.splice(..2, [format!("{NAME}-{}", program.name).into()]);
        return (program.main)(args);
    }
    let args = Args::from_arg_matches(&command().get_matches_from(args)).unwrap_or_else(|error| error.exit());
    match run(args.command) {
        Ok(exit) => exit.into(),
        Err(error) => podcov_cli::report(NAME, &error),
    }
}

fn program(name: &str) -> Option<&'static Program> {
    PROGRAMS.iter().find(|program| program.name == name)
}

/// All commands, for their help, completions and manual pages.
fn command() -> Command {
    let programs = PROGRAMS.iter().enumerate();
    Args::command().subcommands(
        programs.map(|(place, program)| (program.arguments)().name(program.name).display_order(place)),
    )
}

fn run(own: OwnCommand) -> Result<Exit> {
    match own {
        OwnCommand::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), NAME, &mut io::stdout());
        }
        OwnCommand::Man { dir } => {
            fs::create_dir_all(&dir).or_exit(Exit::Usage, "cannot make the folder")?;
            clap_mangen::generate_to(command(), &dir)
                .or_exit(Exit::Usage, "cannot write the manual pages")?;
        }
    }
    Ok(Exit::Done)
}
