//! podcov-signal: the signal sender.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_cli::main("podcov-signal", |args: &podcov_signal::Args| &args.common, podcov_signal::run)
}
