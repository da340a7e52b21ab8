//! podcov-packaging: makes a release of the programs that cargo has built. `make dist`, `make release` and `make image` run it.
//!
//! The same programs give the same files, to the bit: there is no clock in it, and no order but that of names.

mod archive;
mod contents;
mod image;
mod linked;
mod notices;
mod platform;
mod release;
mod sbom;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use contents::Release;

/// Makes a release of the programs that cargo has built.
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make the archive of a platform: programs, links, completions, manual pages, licences and SBOM
    Archive {
        /// Rust's name of the platform
        #[arg(long, value_name = "TRIPLE")]
        target: String,
        /// A podcov that runs on this machine, to write completions and manual pages
        #[arg(long, value_name = "FILE")]
        podcov: PathBuf,
        /// The names that podcov is linked under, without `podcov-`
        #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
        commands: Vec<String>,
        /// Licences of what is linked and is no crate, as NAME=FILE
        #[arg(long, value_name = "NAME=FILE", value_parser = notices::named_file)]
        notice: Vec<(String, PathBuf)>,
        /// Further files for the archive's documents
        #[arg(long, value_name = "FILE")]
        document: Vec<PathBuf>,
        /// The time of all files, in seconds since 1970
        #[arg(long, value_name = "SECONDS", env = "SOURCE_DATE_EPOCH")]
        epoch: u64,
        /// The folder for the archive
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// What `cargo build --message-format=json` printed, a file for each build
        #[arg(required = true)]
        messages: Vec<PathBuf>,
    },
    /// Make an image of podcov-agent as an OCI layout, for the platform of each of the programs
    Image {
        /// The folder for the layout, which is replaced
        folder: PathBuf,
        /// Static Linux programs
        #[arg(required = true)]
        agents: Vec<PathBuf>,
    },
    /// Make sums, an install script, a Homebrew formula, a krew manifest and images of the archives in a folder
    Release {
        /// The folder
        folder: PathBuf,
        /// Where the folder's files can be downloaded
        #[arg(long)]
        url: String,
        /// The project's page
        #[arg(long, value_name = "URL")]
        homepage: String,
    },
}

fn main() -> Result<()> {
    match Args::parse().command {
        Command::Archive { target, podcov, commands, notice, document, epoch, out, messages } => {
            let release = Release {
                target: &target,
                podcov: &podcov,
                commands: &commands,
                notices: &notice,
                documents: &document,
                epoch,
            };
            contents::make(&release, &messages, &out)
        }
        Command::Image { folder, agents } => image::of_agents(&folder, &agents),
        Command::Release { folder, url, homepage } => release::make(&folder, &url, &homepage),
    }
}
