//! podcov-collect: the counter-data collector.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_collect::main(std::env::args_os())
}
