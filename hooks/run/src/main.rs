//! podcov-run: tests, coverage and gates in one process.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_run::main(std::env::args_os())
}
