//! podcov-doctor: checks what the hooks need.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_doctor::main(std::env::args_os())
}
