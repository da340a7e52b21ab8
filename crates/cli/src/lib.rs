//! What every podcov binary does the same way: arguments, errors as one line, logging, shutdown, progress.
//!
//! A binary's `main` is one call of [`main`]; everything else is a library function that takes its arguments
//! and a [`Shutdown`] and gives an [`Exit`] or an error.

mod deferred;
mod output;
mod progress;
mod seen;
mod shutdown;
mod url;

pub use deferred::{Deferred, RunState, StateArgs};
pub use output::{print, print_text, say};
pub use progress::Progress;
pub use seen::{CollectNote, SeenPod, SeenPods};
pub use shutdown::{INTERRUPT, Request, Shutdown};

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::Resettable;
use podcov_exit::{Exit, Failure};
use tracing_subscriber::EnvFilter;

use output::LogLine;
use url::without_url_secrets;

/// The flags that every binary has.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct CommonArgs {
    /// Log to stderr what is done (-v: steps, -vv: requests, -vvv: everything)
    #[arg(short, long, action = clap::ArgAction::Count, global = true, help_heading = "Output")]
    pub verbose: u8,
}

/// Runs a binary: parses its arguments, sets up logging and signals, and turns the outcome into an exit code.
///
/// An error is printed as one line with its chain, then its hint, if any, on a line of its own.
pub fn main<A, F>(
    name: &str,
    args: impl IntoIterator<Item = OsString>,
    common: fn(&A) -> &CommonArgs,
    run: impl FnOnce(A, Shutdown) -> F,
) -> ExitCode
where
    A: clap::Parser,
    F: Future<Output = anyhow::Result<Exit>>,
{
    let args: A = parse(args);
    start_logging(common(&args).verbose);
    main_with(name, |shutdown| run(args, shutdown))
}

/// [`main`] for a program that works on files alone: signals end it as usual.
pub fn main_blocking<A: clap::Parser>(
    name: &str,
    args: impl IntoIterator<Item = OsString>,
    common: fn(&A) -> &CommonArgs,
    run: impl FnOnce(A) -> anyhow::Result<Exit>,
) -> ExitCode {
    let args: A = parse(args);
    start_logging(common(&args).verbose);
    match run(args) {
        Ok(exit) => exit.into(),
        Err(error) => report(name, &error),
    }
}

/// Reads arguments as clap's derive does, or ends the process with clap's message. A variable that is set to nothing
/// counts as unset, because templates of manifests and hooks leave such variables.
pub fn parse<A: clap::Parser>(args: impl IntoIterator<Item = OsString>) -> A {
    let parsed = without_empty_variables(A::command())
        .try_get_matches_from(args)
        .and_then(|matches| A::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        // clap repeats the value that it refuses.
        let text = error.render().to_string();
        let safe = without_url_secrets(&text);
        if safe == text || !error.use_stderr() {
            error.exit()
        }
        let _ = std::io::Write::write_all(&mut std::io::stderr(), safe.as_bytes());
        std::process::exit(error.exit_code())
    })
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty =
        |arg: &clap::Arg| arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
    command
        .mut_args(|arg| if is_empty(&arg) { arg.env(Resettable::Reset) } else { arg })
        .mut_subcommands(without_empty_variables)
}

/// [`main`] for a program that has read its arguments already.
pub fn main_with<F>(name: &str, run: impl FnOnce(Shutdown) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<Exit>>,
{
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => return report(name, &anyhow::Error::from(e).context("cannot start the async runtime")),
    };
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::on_signals()?;
        run(shutdown).await
    });
    // A task that still runs must not keep the process: all that matters has been awaited.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => report(name, &error),
    }
}

/// A number with its noun: `1 file`, `2 files`.
#[must_use]
pub fn count(number: usize, thing: &str) -> String {
    count_of(number, thing, &format!("{thing}s"))
}

/// The same of a noun with a plural of its own: `1 loss`, `2 losses`.
#[must_use]
pub fn count_of(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Prints the error that ends a program, and its hint. Returns the exit code.
pub fn report(name: &str, error: &anyhow::Error) -> ExitCode {
    say(name, format_args!("error: {error:#}"));
    let failure = error.downcast_ref::<Failure>();
    if let Some(hint) = failure.and_then(Failure::hint) {
        say(name, format_args!("hint: {hint}"));
    }
    failure.map_or(Exit::Usage, Failure::exit).into()
}

fn start_logging(verbose: u8) {
    let level = match verbose {
        0 => "warn,kube=error,kube_client=error,kube_runtime=error",
        1 => "info,podcov=debug,kube=warn",
        2 => "debug,hyper=info,rustls=info",
        _ => "trace",
    };
    // RUST_LOG is for those who debug podcov itself.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let has_colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || LogLine { has_colours })
        .with_ansi(has_colours)
        .with_target(verbose > 1);
    // A single warning needs no time; a log does.
    let _ = if verbose == 0 { lines.without_time().try_init() } else { lines.try_init() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_no_several() {
        assert_eq!([0, 1, 2].map(|number| count(number, "file")), ["0 files", "1 file", "2 files"]);
    }
}
