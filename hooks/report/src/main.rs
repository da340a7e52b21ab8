//! podcov-report: merge, report, gate.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_report::main(std::env::args_os())
}
