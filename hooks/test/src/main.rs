//! podcov-test: the port-forward test runner.

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(unix)]
    if let Some(code) = podcov_test::guard() {
        return code;
    }
    podcov_cli::main("podcov-test", |args: &podcov_test::Args| &args.common, podcov_test::run)
}
