//! podcov-report: merge, report, gate.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args = podcov_report::go_flags(std::env::args_os());
    podcov_cli::main_blocking(
        "podcov-report",
        args,
        |args: &podcov_report::Args| &args.common,
        podcov_report::run,
    )
}
