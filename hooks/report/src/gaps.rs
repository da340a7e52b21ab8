//! The command that lists what did not run.

use anyhow::Result;
use podcov_exit::Exit;
use podcov_profile::Finding;
use report::gaps::{self, GapTotal};

use crate::input::{InputArgs, NothingSelected, findings};
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(crate) struct Gaps {
    #[command(flatten)]
    pub(crate) input: InputArgs,

    /// How many gaps to print, those with the most statements first; 0 prints all [default: 20, with --json all]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Print each gap as a line of JSON, with the source of its lines
    #[arg(long)]
    json: bool,
}

pub(crate) fn gaps(Gaps { input, limit, json }: &Gaps) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let limit = match limit.unwrap_or(if *json { 0 } else { 20 }) {
        0 => usize::MAX,
        limit => limit,
    };
    let mut profile = input.selected(&data);
    // The source tells the functions of a text profile, which files are left out, and which statements Go has repeated. In
    // all other cases only the sources of what is printed are read.
    let needs_sources = data.has_text()
        || input.leaves_out_files()
        || profile.files().any(|file| file.finding == Some(Finding::Repeated));
    let (report, total) = if needs_sources {
        let report = input.report(&data)?;
        let total = GapTotal::of(report.profile());
        (report, total)
    } else {
        input.say_findings(&findings(&profile));
        let total = GapTotal::of(&profile);
        gaps::retain_largest(&mut profile, limit);
        (input.with_sources(&data, profile)?, total)
    };
    input.say_missing(&report);
    let mut found = gaps::find(&report);
    found.truncate(limit);
    if *json {
        output::write(None, Format::Json, |out| gaps::write_json(&found, out))?;
    } else {
        output::print(|out| gaps::write_text(&found, total, out))?;
    }
    Ok(input.messages.exit())
}
