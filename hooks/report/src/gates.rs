//! The command that checks coverage.

use std::path::{Path, PathBuf};

use anyhow::Result;
use podcov_exit::{Exit, Failure};
use podcov_profile::{Builder, Coverage, Data};
use report::gate::{self, FailureTable, Rules, check};
use report::results::GateResult;

use crate::config::Percentage;
use crate::diff::{ChangedLines, SINCE, changed_lines};
use crate::earlier::Earlier;
use crate::input::{InputArgs, NothingSelected};
use crate::output::{self, Format};
use crate::suites::named;

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Gate {
    #[command(flatten)]
    input: InputArgs,

    /// Fail if a lower percentage of all statements ran
    #[arg(long, value_name = "PERCENT", value_parser = percentage, help_heading = "Gates")]
    fail_under: Option<f64>,

    /// Fail if a suite ran a lower percentage of all statements; may be given several times
    #[arg(long, value_name = "NAME=PERCENT", value_parser = suite_percentage, help_heading = "Gates")]
    fail_under_suite: Vec<(String, f64)>,

    /// Fail if a lower percentage of the statements of any package ran
    #[arg(long, value_name = "PERCENT", value_parser = percentage, help_heading = "Gates")]
    fail_under_package: Option<f64>,

    /// Fail if a lower percentage of the statements of any file ran
    #[arg(long, value_name = "PERCENT", value_parser = percentage, help_heading = "Gates")]
    fail_under_file: Option<f64>,

    /// Fail if the total is lower than in this file: one that `podcov-report json` wrote for the same selection, or a text
    /// profile, to which the same selection is applied
    #[arg(long, value_name = "FILE", help_heading = "Gates")]
    baseline: Option<PathBuf>,

    /// How many percentage points the total may be lower than in the baseline [default: 0]
    #[arg(long, value_name = "POINTS", value_parser = percentage, help_heading = "Gates")]
    allow_decrease: Option<f64>,

    /// Fail if a lower percentage of the lines changed since --since ran
    #[arg(long, value_name = "PERCENT", value_parser = percentage, help_heading = "Gates")]
    fail_under_changed: Option<f64>,

    /// The git revision that changes are compared with; they count from its last common ancestor with HEAD
    /// [default: origin/HEAD]
    #[arg(long, value_name = "REVISION", help_heading = "Gates")]
    since: Option<String>,

    /// Fail if a package of the module has code but no coverage data. With --pkg only selected packages are checked, and
    /// files of --exclude do not count
    #[arg(long, help_heading = "Gates")]
    require_all_packages: bool,

    /// Print JSON instead: what each gate requires, and what was found
    #[arg(long)]
    json: bool,
}

impl Gate {
    /// Takes from podcov.toml what no flag gives.
    pub(crate) fn configure(&mut self) -> Result<()> {
        let gates = self.input.configure()?.gates;
        let or =
            |own: &mut Option<f64>, gate: Option<Percentage>| *own = own.or(gate.map(|percent| percent.0));
        or(&mut self.fail_under, gates.fail_under);
        or(&mut self.fail_under_package, gates.fail_under_package);
        or(&mut self.fail_under_file, gates.fail_under_file);
        or(&mut self.fail_under_changed, gates.fail_under_changed);
        or(&mut self.allow_decrease, gates.allow_decrease);
        if self.fail_under_suite.is_empty() {
            self.fail_under_suite = gates.fail_under_suite();
        }
        self.since = self.since.take().or(gates.since);
        self.baseline = self.baseline.take().or(gates.baseline);
        self.require_all_packages |= gates.require_all_packages;
        Ok(())
    }
}

pub(crate) fn gate(args: &Gate) -> Result<Exit> {
    let mut rules = Rules {
        total: args.fail_under,
        package: args.fail_under_package,
        file: args.fail_under_file,
        baseline: None,
        changed: args.fail_under_changed,
        suites: args.fail_under_suite.clone(),
    };
    args.input
        .suites
        .check_names("--fail-under-suite", args.fail_under_suite.iter().map(|(name, _)| name.as_str()))?;
    if rules.is_empty() && args.baseline.is_none() && !args.require_all_packages {
        return Err(Failure::new(Exit::Usage, "no gate is given")
            .with_hint(
                "give --fail-under, --fail-under-suite, --fail-under-package, --fail-under-file, --fail-under-changed, --baseline or \
                 --require-all-packages",
            )
            .into());
    }
    if args.allow_decrease.is_some() && args.baseline.is_none() {
        return Err(Failure::new(Exit::Usage, "--allow-decrease has a meaning only with --baseline")
            .with_hint("give the baseline too, or --fail-under")
            .into());
    }
    let files = args.input.load()?;
    let data = args.input.read(&files, NothingSelected::Fails)?;
    if let Some(file) = &args.baseline {
        rules.baseline = Some((baseline(&args.input, &data, file)?, args.allow_decrease.unwrap_or_default()));
    }
    let report = args.input.report(&data)?;
    if report.total().total == 0 {
        return Err(Failure::new(Exit::Incomplete, "there are no statements to check")
            .with_hint(
                "do --pkg and --exclude fit, and does the program contain what it is to cover (-coverpkg)?",
            )
            .into());
    }
    let changed = match rules.changed {
        Some(_) => changed_lines(&args.input, &report, args.since.as_deref().unwrap_or(SINCE))?,
        None => ChangedLines::default(),
    };
    let without_data = args.input.packages_without_data(&data)?;
    if !args.require_all_packages {
        args.input.say_without_data(&without_data);
    }
    let checked = check(&report, &changed.files, &rules);
    let missing = if args.require_all_packages { without_data.as_slice() } else { &[] };
    let failed = checked.iter().map(|checked| checked.failed().count()).sum::<usize>() + missing.len();
    let exit = args.input.messages.exit();
    if args.json {
        let result = GateResult {
            passed: failed == 0,
            complete: exit == Exit::Done,
            total: report.total(),
            ignored_statements: report.ignored_statements(),
            checked: &checked,
            require_all_packages: args.require_all_packages,
            packages_without_data: &without_data,
            changed: rules.changed.map(|_| changed.files.as_slice()),
        };
        output::write(None, Format::Json, |out| result.write(out))?;
        return Ok(if failed == 0 { exit } else { Exit::FellShort });
    }
    output::print(|out| {
        if failed == 0 {
            writeln!(out, "{}", report.total())?;
            return writeln!(out, "all coverage gates passed");
        }
        write!(out, "{}", FailureTable(&checked))?;
        missing.iter().try_for_each(|path| writeln!(out, "no coverage data of package {path}"))?;
        writeln!(out, "{} failed", podcov_cli::count(failed, "coverage gate"))?;
        if checked.iter().any(|checked| checked.rule == gate::CHANGED && checked.failed().next().is_some()) {
            writeln!(out, "podcov-report diff prints which changed lines did not run")?;
        }
        Ok(())
    })?;
    Ok(if failed == 0 { exit } else { Exit::FellShort })
}

/// Reads the baseline's total. Of a text profile, only the selected packages and files count, by the names that they have in
/// the data that are compared with it.
pub(crate) fn baseline(input: &InputArgs, data: &Data<'_>, path: &Path) -> Result<Coverage> {
    let unusable = |why: &str| {
        Failure::new(Exit::Usage, format!("cannot use {} as the baseline: {why}", path.display()))
    };
    let before = match Earlier::read(path, "cannot read the baseline")? {
        Earlier::Profile(bytes) => {
            let mut builder = Builder::new();
            builder.add_text_bytes(path, bytes);
            let files = builder.load();
            let (mut before, problems) = files.read();
            if let Some(problem) = problems.first() {
                return Err(unusable(&problem.to_string()).into());
            }
            before.identify_as(data);
            input.identify(&mut before)?;
            input.total(&before)?
        }
        Earlier::Json(bytes) => gate::baseline(&bytes).map_err(|error| unusable(&error))?,
    };
    if before.total == 0 {
        return Err(unusable("it has no statements").into());
    }
    Ok(before)
}

fn suite_percentage(text: &str) -> Result<(String, f64), String> {
    let (name, percent) = named(text, "PERCENT")?;
    Ok((name, percentage(percent)?))
}

/// Reads a percentage, with or without its sign: for clap's `value_parser`.
///
/// # Errors
/// When it is no number from 0 to 100.
pub fn percentage(text: &str) -> Result<f64, String> {
    let value: f64 =
        text.strip_suffix('%').unwrap_or(text).parse().map_err(|_| "not a percentage".to_owned())?;
    if (0.0..=100.0).contains(&value) { Ok(value) } else { Err("must be from 0 to 100".to_owned()) }
}
