//! podcov-test: the port-forward test runner.

use std::process::ExitCode;

fn main() -> ExitCode {
    podcov_test::main(std::env::args_os())
}
