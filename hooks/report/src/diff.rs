//! The command that prints the lines changed since a revision, and what it shares with gates.

use std::io::{self, Write};
use std::ops::RangeInclusive;

use anyhow::Result;
use podcov_exit::{Exit, Failure, ResultExt};
use report::changes::{self, ChangedFile, Changes, GitError};
use report::gate::changed_total;
use report::results::DiffResult;
use report::{Report, sarif, summary};

use crate::input::{InputArgs, NothingSelected};
use crate::messages::and_more;
use crate::output::{self, Format};

#[derive(Debug, clap::Args)]
pub(crate) struct Diff {
    #[command(flatten)]
    input: InputArgs,

    /// The git revision that changes are compared with; they count from its last common ancestor with HEAD
    /// [default: origin/HEAD]
    #[arg(long, value_name = "REVISION")]
    since: Option<String>,

    #[command(flatten)]
    form: Form,
}

/// The form of the output, if it is not text.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Form {
    /// Print GitHub's annotations instead, a warning at each place
    #[arg(long)]
    github: bool,

    /// Print JSON instead
    #[arg(long)]
    json: bool,

    /// Print SARIF instead, a warning at each place
    #[arg(long)]
    sarif: bool,
}

/// The revision that changes are compared with, if none is given.
pub(crate) const SINCE: &str = "origin/HEAD";

impl Diff {
    /// Takes from podcov.toml what no flag gives.
    pub(crate) fn configure(&mut self) -> Result<()> {
        let gates = self.input.configure()?.gates;
        self.since = self.since.take().or(gates.since);
        Ok(())
    }
}

/// The changed lines that can run.
#[derive(Debug, Default)]
pub(crate) struct ChangedLines {
    pub(crate) files: Vec<ChangedFile>,
    /// The changed files that have functions and no coverage data.
    pub(crate) without_data: Vec<String>,
}

pub(crate) fn diff(Diff { input, since, form }: &Diff) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let report = input.report(&data)?;
    let since = since.as_deref().unwrap_or(SINCE);
    let ChangedLines { mut files, without_data } = changed_lines(input, &report, since)?;
    if form.github || form.sarif {
        // Their readers know the repository, not --root.
        let prefix = changes::prefix(&input.root()?)
            .or_exit(Exit::Usage, "cannot tell where the root is in its repository")?;
        files.iter_mut().for_each(|file| file.path.insert_str(0, &prefix));
    }
    let exit = input.messages.exit();
    if form.json {
        let complete = exit == Exit::Done;
        let result = DiffResult { since, complete, files: &files, without_data: &without_data };
        output::write(None, Format::Json, |out| result.write(out))?;
    } else if form.sarif {
        output::write(None, Format::Json, |out| sarif::write(&files, out))?;
    } else if form.github {
        output::print(|out| {
            let mut places =
                files.iter().flat_map(|file| file.uncovered.iter().map(move |lines| (file, lines)));
            places.try_for_each(|(file, lines)| writeln!(out, "{}", annotation(file, lines)))
        })?;
    } else {
        output::print(|out| write_text(&files, out))?;
    }
    Ok(exit)
}

fn write_text(files: &[ChangedFile], out: &mut dyn Write) -> io::Result<()> {
    for file in files {
        let percent = summary::percent(changed_total(std::slice::from_ref(file)));
        write!(out, "{percent:>6}  {} of {} lines  {}", file.covered, file.lines, file.path)?;
        let places: Vec<String> = file.uncovered.iter().map(range).collect();
        if !places.is_empty() {
            write!(out, ": not {}", places.join(", "))?;
        }
        writeln!(out)?;
    }
    let total = changed_total(files);
    match total.percent() {
        Some(_) => {
            let percent = summary::percent(total);
            writeln!(out, "changed lines: {percent} ({} of {})", total.covered, total.total)
        }
        None => writeln!(out, "changed lines: none that can run"),
    }
}

/// The changes since a revision.
pub(crate) fn changes(input: &InputArgs, since: &str) -> Result<Changes> {
    let changes = Changes::since(&input.root()?, since).map_err(|error| {
        let failure = Failure::new(Exit::Usage, format!("cannot tell what changed since {since}: {error}"));
        match error {
            GitError::Run(_) => failure,
            GitError::Failed { .. } => failure.with_hint(
                "run this in a git repository, or give it with --root; give a revision that is there with --since: a \
                 shallow clone may need `git fetch --unshallow`",
            ),
        }
    })?;
    Ok(changes)
}

/// The changed lines that can run. Reports changed files without coverage data.
pub(crate) fn changed_lines(input: &InputArgs, report: &Report<'_>, since: &str) -> Result<ChangedLines> {
    let changes = changes(input, since)?;
    input.say_missing(report);
    let without_data = without_data(input, report, &changes)?;
    Ok(ChangedLines { files: changes.coverage(report), without_data })
}

/// The changed files that have functions and no coverage data. Reports them.
pub(crate) fn without_data(input: &InputArgs, report: &Report<'_>, changes: &Changes) -> Result<Vec<String>> {
    let sources = input.sources()?;
    let is_selected = |path: &&str| {
        let package = sources.package_of(&sources.root().join(path));
        package.map_or_else(|| input.selects_all(), |package| input.selects(&package))
    };
    let unknown = changes.unknown(report, &input.root()?, &input.filter());
    let without_data: Vec<String> = unknown.into_iter().filter(is_selected).map(str::to_owned).collect();
    if let Some(first) = without_data.first() {
        let which = format!("{first}{}", and_more(without_data.len()));
        input.messages.warn(format_args!(
            "{which} changed, but has no coverage data: does the program contain it, and -coverpkg name it?"
        ));
    }
    Ok(without_data)
}

/// Escapes text for GitHub's workflow commands.
fn annotation(file: &ChangedFile, lines: &RangeInclusive<u32>) -> String {
    let escape = |text: &str| {
        text.replace('%', "%25")
            .replace('\r', "%0D")
            .replace('\n', "%0A")
            .replace(':', "%3A")
            .replace(',', "%2C")
    };
    format!(
        "::warning file={},line={},endLine={},title=Not covered::{}",
        escape(&file.path),
        lines.start(),
        lines.end(),
        file.message(lines),
    )
}

fn range(lines: &RangeInclusive<u32>) -> String {
    if lines.start() == lines.end() {
        lines.start().to_string()
    } else {
        format!("{}-{}", lines.start(), lines.end())
    }
}
