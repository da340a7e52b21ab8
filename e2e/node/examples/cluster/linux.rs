//! The command line.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use podcov_node::Folder;

/// A real Kubernetes of one node on this machine.
#[derive(Parser)]
struct Args {
    /// Where its programs lie and its state goes
    #[arg(long, default_value = "target/e2e")]
    folder: PathBuf,

    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Start a cluster that stays, unless one is there, and print how to reach it
    Up,
    /// End it
    Down,
    /// Run a command with a cluster there and the variables set that say how to reach it
    Run {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// What the others start: the process that keeps a cluster
    #[command(hide = true)]
    Keep {
        /// Keep it when standard input ends
        #[arg(long)]
        stay: bool,
    },
    /// What that one starts: process 1 of the cluster's namespaces
    #[command(hide = true)]
    Init,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> ExitCode {
    let args = Args::parse();
    // The process that started those two prints their errors.
    let prefix = if matches!(args.what, What::Keep { .. } | What::Init) { "" } else { "cluster: error: " };
    match run(args).await {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("{prefix}{error:#}");
            1.into()
        }
    }
}

async fn run(args: Args) -> Result<u8> {
    let folder = Folder::at(&args.folder)?;
    match args.what {
        What::Up => {
            for (name, value) in podcov_node::up(&folder).await?.environment() {
                println!("export {name}={}", value.display());
            }
        }
        What::Down => podcov_node::down(&folder).await?,
        What::Run { command } => {
            let status = podcov_node::with(&folder, &command).await?;
            let code = status.code().or(status.signal().map(|signal| 128 + signal));
            return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
        What::Keep { stay } => podcov_node::keep(&folder, stay).await?,
        What::Init => podcov_node::init(&folder).await?,
    }
    Ok(0)
}
