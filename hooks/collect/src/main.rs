//! podcov-collect: the counter-data collector.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_cli::main("podcov-collect", |args: &podcov_collect::Args| &args.common, podcov_collect::run)
}
