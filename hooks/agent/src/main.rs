//! podcov-agent: the wrapper in the container.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    podcov_agent::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("podcov-agent: error: it runs in Linux containers alone");
    ExitCode::from(2)
}
