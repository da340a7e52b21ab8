//! The first process of a container: starts a Go program, passes every signal on, and takes care of its coverage files.
//!
//! One thread starts, signals and reaps, so a process is never signalled after it was reaped. Other threads only read
//! files. The modules, from the inside out: [`signals`](mod@signals) and [`program`] know processes, [`containers`] whose
//! they are, [`files`] and [`profile`] coverage files, [`live_files`] and [`flush`] both; [`upload`] knows storage,
//! [`endpoint`] HTTP, [`control`] what is answered; [`run`] brings them together. As a sidecar ([`watch`]) it starts no
//! program, and reads those of other containers.

#![cfg(target_os = "linux")]

mod args;
mod containers;
mod control;
mod endpoint;
mod files;
mod flush;
mod identity;
mod install;
mod interval;
mod live_files;
mod profile;
mod program;
mod restart;
mod run;
mod runtime;
mod signals;
mod snapshot;
mod tarball;
mod unread;
mod upload;
mod watch;
mod write_timeout;

use std::process::ExitCode;

use podcov_cli::report;

use args::{Args, Command, NAME};

/// Runs podcov-agent.
#[must_use]
pub fn main() -> ExitCode {
    // Before there is a second thread: all of them must leave the signals to the one that passes them on.
    let signals = signals::block();
    let outcome = match podcov_cli::parse::<Args>(std::env::args_os()).command {
        Command::Run(args) => {
            signals.map_err(anyhow::Error::from).and_then(|signals| run::main(&args, signals))
        }
        Command::Exec { agent, program } => Ok(program::become_program(agent, &program)),
        Command::Install(args) => install::install(&args.dir).map(|()| 0),
        Command::Snapshot(args) => snapshot::main(&args),
        Command::Watch(args) => {
            signals.map_err(anyhow::Error::from).and_then(|signals| watch::main(&args, signals))
        }
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => report(NAME, &error),
    }
}
