//! Cobertura's XML: of changed files alone, and in parts that a service takes.

use std::path::PathBuf;

use anyhow::Result;
use podcov_exit::{Exit, Failure};
use report::cobertura;

use crate::diff::{changes, without_data};
use crate::formats::write_reports;
use crate::input::{InputArgs, NothingSelected};
use crate::numbered;
use crate::output::Format;
use crate::suites::is_by_suite;

#[derive(Debug, clap::Args)]
pub(crate) struct Cobertura {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// The file to write; with `{suite}` in its name, one for each suite [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Only files with lines that are new or changed since the last common ancestor of this git revision and HEAD
    #[arg(long, value_name = "REVISION")]
    since: Option<String>,

    /// Write several files of at most N bytes each: for `-o NAME.xml` NAME-1.xml, NAME-2.xml and so on
    #[arg(long, value_name = "N", requires = "output")]
    max_bytes: Option<usize>,
}

pub(crate) fn cobertura(Cobertura { input, output, since, max_bytes }: &Cobertura) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let mut profile = input.selected(&data);
    let changes = since.as_deref().map(|since| changes(input, since)).transpose()?;
    if let Some(changes) = &changes {
        let sources = input.sources()?;
        for package in profile.packages_mut() {
            package.files.retain(|file| changes.contains(&sources.find(file.name).shown));
        }
        profile.packages_mut().retain(|package| !package.files.is_empty());
    }
    let report = input.report_of(&data, profile)?;
    input.say_missing(&report);
    if let Some(changes) = &changes {
        without_data(input, &report, changes)?;
    }
    match (max_bytes, output) {
        (Some(_), Some(path)) if is_by_suite(path) => {
            let failure =
                Failure::new(Exit::Usage, "--max-bytes numbers the files, and {suite} names them by suites");
            return Err(failure.with_hint("leave out one of the two").into());
        }
        (Some(max_bytes), Some(path)) => {
            let documents = cobertura::split(&report, *max_bytes).map_err(|(file, bytes)| {
                let what = format!("--max-bytes {max_bytes}: the part of {file} alone has {bytes} bytes");
                Failure::new(Exit::Usage, what)
                    .with_hint("allow more bytes, or leave the file out by --exclude")
            })?;
            numbered::write(path, Format::Cobertura, &documents)?;
        }
        _ => {
            write_reports(input, output.as_deref(), Format::Cobertura, &report, cobertura::write)?;
        }
    }
    Ok(input.messages.exit())
}
