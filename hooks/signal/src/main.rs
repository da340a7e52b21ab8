//! podcov-signal: the signal sender.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_signal::main(std::env::args_os())
}
