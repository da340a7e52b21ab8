//! podcov-inject: adds to manifests what coverage needs.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_inject::main(std::env::args_os())
}
