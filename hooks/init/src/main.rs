//! podcov-init: gives a project a coverage profile.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_init::main(std::env::args_os())
}
