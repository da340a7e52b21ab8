//! The inputs, the selection of packages and files, and the sources.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_profile::{
    Coverage, Data, Files, Finding, Findings, PackageSuites, Percent, Problem, Profile, RenamedFile,
};
use podcov_storage::Address;
use report::{Filter, Glob, NoSource, Report, Sources, changes};

use crate::comments::say_ignored;
use crate::config::Config;
use crate::fetch::Fetched;
use crate::messages::{Messages, and_more};
use crate::output::{self, Format};
use crate::selection::PackageSelection;
use crate::suites::SuiteArgs;

#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// Folders of coverage files, and text profiles
    ///
    /// Folders are read with all folders in them, but links to folders are not followed. If no input is given,
    /// reports/coverage is read, where podcov-collect writes.
    #[arg(value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Folders or text profiles, separated by commas. As in Go, the folders in these folders are not read
    #[arg(short, value_name = "DIR,DIR", value_delimiter = ',', help_heading = "Input")]
    pub(crate) i: Vec<PathBuf>,

    /// Read what podcov-agent has uploaded to storage too: gs://, s3:// or az:// with bucket and folder, of one
    /// run or of all; may be given several times
    #[arg(long, value_name = "ADDRESS", help_heading = "Input")]
    pub(crate) from: Vec<Address>,

    #[command(flatten)]
    pub(crate) suites: SuiteArgs,

    /// The file with the project's suites, selections and gates [default: podcov.toml in this folder or above it, up to the
    /// git repository's]. Flags win over it. Go's commands do not read it
    #[arg(long, value_name = "FILE", help_heading = "Input")]
    config: Option<PathBuf>,

    #[arg(skip)]
    pub(crate) fetched: OnceLock<Fetched>,

    /// Only packages of these import paths; `...` stands for any string. `./x` and `./...` are packages of the module
    /// whose go.mod is in this folder or above it
    #[arg(long, value_name = "PATTERN,PATTERN", help_heading = "Input")]
    pkg: Option<String>,

    /// What `./x` in `pkg` is relative to; empty for the current folder.
    #[arg(skip)]
    pkg_folder: PathBuf,

    #[arg(skip)]
    selection: OnceLock<Option<PackageSelection>>,

    #[arg(skip)]
    sources: OnceLock<Sources>,

    /// Messages about the input
    #[arg(skip)]
    pub(crate) messages: Messages,

    /// Leave out files whose name or path matches, e.g. '**/mocks/**' or '*.pb.go'; may be given several times
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    exclude: Vec<Glob>,

    /// Leave out files that are marked as generated ("// Code generated … DO NOT EDIT.")
    #[arg(long, help_heading = "Input")]
    skip_generated: bool,

    /// Leave out statements that a comment in the source marks: `// podcov:ignore REASON`
    #[arg(long, help_heading = "Input")]
    skip_ignored: bool,

    /// The folder that paths in reports are relative to [default: the git repository's, else this one]
    #[arg(long, value_name = "DIR", help_heading = "Source")]
    root: Option<PathBuf>,

    /// Look for sources whose names begin with FROM in TO, if go.mod, go.work and vendor do not lead to them
    #[arg(long, value_name = "FROM=TO", value_parser = mapping, help_heading = "Source")]
    map: Vec<(String, PathBuf)>,
}

/// How to treat a selection that selects no package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NothingSelected {
    /// An error: the report would be empty.
    Fails,
    /// A result, as in Go.
    IsPrinted,
}

impl InputArgs {
    /// Reads podcov.toml, and takes from it what no flag gives.
    pub(crate) fn configure(&mut self) -> Result<Config> {
        let config = Config::load(self.config.as_deref())?;
        if self.inputs.len() + self.i.len() + self.from.len() == 0 {
            self.suites.configure(config.suites());
        }
        if self.exclude.is_empty() {
            self.exclude = config.exclude();
        }
        if self.pkg.is_none() {
            (self.pkg, self.pkg_folder) = (config.pkg(), config.folder.clone());
        }
        if self.map.is_empty() {
            self.map = config.map()?;
        }
        self.skip_generated |= config.skip_generated;
        self.skip_ignored |= config.skip_ignored;
        self.root = self.root.take().or_else(|| config.root.clone());
        Ok(config)
    }

    /// Refuses --config for a command that gives the output of Go's.
    pub(crate) fn refuse_config(&self, command: &str) -> Result<()> {
        let Some(file) = &self.config else { return Ok(()) };
        let what = format!(
            "--config {}: {command} is one of the commands of go tool covdata, which do not read podcov.toml",
            file.display()
        );
        Err(Failure::new(Exit::Usage, what).with_hint("leave out --config").into())
    }

    /// Reads the files as one input, suites apart too, and reports their problems.
    pub(crate) fn read<'f>(&self, files: &'f Files, nothing: NothingSelected) -> Result<Data<'f>> {
        let (mut data, problems) = if self.suites.is_given() { files.read_suites() } else { files.read() };
        self.say_problems(&problems);
        self.not_empty(&data)?;
        for (suite, _) in self.suites.suites()?.iter().zip(data.suites()).filter(|(_, data)| data.is_empty())
        {
            self.messages.error(format_args!("there are no coverage data of suite {}", suite.name));
        }
        self.identify(&mut data)?;
        self.check_selection(&data, nothing)?;
        Ok(data)
    }

    /// Reads the files of each input separately, one input after the other.
    pub(crate) fn read_each<'f>(&self, files: &'f Files, mut each: impl FnMut(Data<'f>)) -> Result<()> {
        let mut checks = Vec::new();
        let mut identified = Ok(());
        let identify = |all: &mut Data<'f>| identified = self.identify(all);
        let problems = files.read_each(identify, |data| {
            // Warnings about patterns are only for the first input, because the results are taken from it.
            let checked = self.not_empty(&data).and_then(|()| match checks.len() {
                0 => self.check_selection(&data, NothingSelected::IsPrinted),
                _ => Ok(()),
            });
            checks.push(checked);
            each(data);
        });
        // The files' problems explain why an input is empty, so they come first.
        self.say_problems(&problems);
        identified.and(checks.into_iter().collect())
    }

    /// Renames files that a program was built from: their new names have the import path of their package.
    pub(crate) fn identify(&self, data: &mut Data<'_>) -> Result<()> {
        if data.path_names().is_empty() {
            return Ok(());
        }
        let sources = self.sources()?;
        let known: HashSet<String> = data.file_names().map(str::to_owned).collect();
        let import_name = |name: &str| {
            let file = sources.find(name).file?;
            let import = format!("{}/{}", sources.package_of(&file)?, file.file_name()?.to_str()?);
            let is_mapped = self.map.iter().any(|(from, _)| name.starts_with(from.as_str()));
            (is_mapped || known.contains(&import)).then_some(import)
        };
        let undecided = data.identify(import_name, |name, blocks| sources.fits(name, blocks));
        if let [first, ..] = &undecided.by_hash[..] {
            self.messages.warn(format_args!(
                "several programs were built from {first}{}, and only their hashes tell them apart: they are reported \
                 separately. If they are one program, its source was changed between the builds, and the statements of all \
                 versions count",
                and_more(undecided.by_hash.len())
            ));
        }
        for RenamedFile { from, to } in &undecided.names {
            self.messages.warn(format_args!(
                "different programs were built from {from}, and the source does not tell which of them has {to}: they are \
                 reported separately"
            ));
        }
        for RenamedFile { from, to } in data.renamed() {
            tracing::info!("{from} is reported as {to}");
        }
        Ok(())
    }

    /// Whether a package is selected.
    pub(crate) fn selects(&self, path: &str) -> bool {
        self.selection().is_none_or(|selection| selection.matches(path))
    }

    /// Whether all packages are selected.
    pub(crate) fn selects_all(&self) -> bool {
        self.selection().is_none()
    }

    fn selection(&self) -> Option<&PackageSelection> {
        let selection = self.selection.get_or_init(|| {
            let work = std::path::absolute(Path::new(".").join(&self.pkg_folder)).unwrap_or_default();
            PackageSelection::new(self.pkg.as_deref().unwrap_or_default(), &work)
        });
        selection.as_ref()
    }

    /// Reports patterns that match no package of the data.
    fn check_selection(&self, data: &Data<'_>, nothing: NothingSelected) -> Result<()> {
        let Some(selection) = self.selection() else { return Ok(()) };
        let paths: Vec<&str> = data.package_paths().collect();
        let unmatched = selection.unmatched(&paths);
        if nothing == NothingSelected::Fails && !paths.iter().any(|path| selection.matches(path)) {
            let which = if unmatched.is_empty() { "--pkg".to_owned() } else { unmatched.join(", ") };
            return Err(Failure::new(
                Exit::Usage,
                format!("{which}: the coverage data have no such package"),
            )
            .with_hint("podcov-report pkglist prints those that they have")
            .into());
        }
        for pattern in unmatched {
            self.messages.warn(format_args!("{pattern}: the coverage data have no such package"));
        }
        Ok(())
    }

    /// The coverage of the selected data. Where Go's own numbers are wrong, those of the source are used.
    pub(crate) fn summary(&self, data: &Data<'_>) -> Result<Percent> {
        if !self.leaves_out_files() {
            let (percent, findings) = data.percent(|path| self.selects(path));
            if !has_repeated(&findings) {
                self.say_findings(&findings);
                return Ok(percent);
            }
        }
        Ok(self.report(data)?.profile().percent())
    }

    /// As [`summary`](Self::summary), by suite.
    pub(crate) fn suite_summary(&self, data: &Data<'_>) -> Result<Vec<PackageSuites>> {
        if !self.leaves_out_files() {
            let (packages, findings) = data.suite_percent(|path| self.selects(path));
            if !has_repeated(&findings) {
                self.say_findings(&findings);
                return Ok(packages);
            }
        }
        let (report, suites) = (self.report(data)?, data.suites().len());
        let packages = report.profile().packages().iter();
        Ok(packages.map(|package| PackageSuites::of(package, suites)).collect())
    }

    /// The coverage of the selected data, with the numbers of Go's tool.
    pub(crate) fn percent(&self, data: &Data<'_>) -> Result<Percent> {
        if self.leaves_out_files() {
            return Ok(self.profile(data)?.percent());
        }
        let (percent, findings) = data.percent(|path| self.selects(path));
        self.say_findings(&findings);
        Ok(percent)
    }

    /// Prints the coverage of each function of the selected data.
    pub(crate) fn print_functions(&self, data: &Data<'_>) -> Result<()> {
        // The functions of a text profile are in the source.
        if self.leaves_out_files() || data.has_text() {
            let report = self.report(data)?;
            if data.has_text() {
                self.say_missing(&report);
            }
            let functions = report.into_profile().functions();
            return output::print(|out| write!(out, "{functions}"));
        }
        let mut findings = Vec::new();
        output::print(|mut out| {
            findings = data.write_functions(|path| self.selects(path), &mut out)?;
            Ok(())
        })?;
        self.say_findings(&findings);
        Ok(())
    }

    /// Writes the text profile of the selected data.
    pub(crate) fn write_text(&self, data: &Data<'_>, path: Option<&Path>) -> Result<()> {
        path.map_or(Ok(()), |path| self.check_output(path))?;
        if self.leaves_out_files() {
            let profile = self.profile(data)?;
            return output::write(path, Format::Text, |mut out| profile.write_text(&mut out));
        }
        let mut findings = Vec::new();
        output::write(path, Format::Text, |mut out| {
            findings = data.write_text(|path| self.selects(path), &mut out)?;
            Ok(())
        })?;
        self.say_findings(&findings);
        Ok(())
    }

    /// Whether some files, or parts of them, are to be left out.
    pub(crate) fn leaves_out_files(&self) -> bool {
        !self.exclude.is_empty() || self.skip_generated || self.skip_ignored
    }

    /// The selected data. Reports the findings about their files.
    pub(crate) fn profile<'a>(&self, data: &'a Data<'_>) -> Result<Profile<'a>> {
        if self.leaves_out_files() {
            return Ok(self.report(data)?.into_profile());
        }
        let profile = self.selected(data);
        self.say_findings(&findings(&profile));
        Ok(profile)
    }

    /// The selected data, with their source. Reports patterns of --exclude that leave out nothing, and files of which it is
    /// not known whether they are generated.
    pub(crate) fn report<'a>(&self, data: &'a Data<'_>) -> Result<Report<'a>> {
        self.report_of(data, self.selected(data))
    }

    /// As [`report`](Self::report), of some of the selected data.
    pub(crate) fn report_of<'a>(&self, data: &'a Data<'_>, profile: Profile<'a>) -> Result<Report<'a>> {
        let sources = self.sources()?;
        // The patterns are matched with all files: a file that another flag leaves out is no mistake in this one.
        let names: HashSet<&str> =
            if self.exclude.is_empty() { HashSet::new() } else { data.file_names().collect() };
        let fits = |glob: &Glob| {
            names.iter().any(|name| glob.matches(name) || glob.matches(&sources.find(name).shown))
        };
        for glob in self.exclude.iter().filter(|glob| !fits(glob)) {
            let what = "the coverage data have no such file; a folder is DIR/**";
            self.messages.warn(format_args!("--exclude {glob}: {what}"));
        }
        let report = self.with_sources(data, profile)?.with_suites(self.suites.suites()?);
        self.say_findings(&findings(report.profile()));
        if let [first, ..] = report.undetermined() {
            let which = format!("{first}{}", and_more(report.undetermined().len()));
            self.messages.error(format_args!(
                "--skip-generated: cannot tell whether {which} is generated, so it counts: {}",
                NoSource::NotFound.kind()
            ));
        }
        say_ignored(&report, &self.messages);
        Ok(report)
    }

    /// A profile of the data, with its source.
    pub(crate) fn with_sources<'a>(&self, data: &'a Data<'_>, profile: Profile<'a>) -> Result<Report<'a>> {
        Ok(Report::new(profile, self.sources()?, &self.filter()).with_renamed(data.renamed()))
    }

    /// The coverage of other data, with the same selection.
    pub(crate) fn total(&self, data: &Data<'_>) -> Result<Coverage> {
        Ok(Report::new(self.selected(data), self.sources()?, &self.filter()).total())
    }

    /// Finds the folders of sources.
    pub(crate) fn sources(&self) -> Result<&Sources> {
        if self.sources.get().is_none() {
            let work = std::path::absolute(".").or_exit(Exit::Usage, "cannot tell the current folder")?;
            let sources = Sources::discover(&self.root()?, &work, &self.map);
            if sources.is_cut() {
                self.messages.warn(format_args!(
                    "looked for go.mod in {} folders below {} and stopped there: give a folder with fewer by --root, or \
                     the place of sources by --map",
                    report::MAX_FOLDERS,
                    sources.root().display()
                ));
            }
            let _ = self.sources.set(sources);
        }
        self.sources.get().ok_or_else(|| unreachable!("it was set just now"))
    }

    /// The files that are left out.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            exclude: self.exclude.iter().cloned().collect(),
            generated: self.skip_generated,
            ignored: self.skip_ignored,
        }
    }

    /// The folder that paths in reports are relative to.
    pub(crate) fn root(&self) -> Result<PathBuf> {
        let here = std::path::absolute(".").or_exit(Exit::Usage, "cannot tell the current folder")?;
        Ok(match &self.root {
            Some(root) if !root.is_dir() => {
                let why = format!("--root {}: there is no such folder", root.display());
                return Err(Failure::new(Exit::Usage, why).into());
            }
            Some(root) => std::path::absolute(root).or_exit(Exit::Usage, "cannot tell the current folder")?,
            None => changes::repository(&here).unwrap_or(here),
        })
    }

    /// The selected packages of the user's modules that have code and no coverage data.
    pub(crate) fn packages_without_data(&self, data: &Data<'_>) -> Result<Vec<String>> {
        let (known, files) = (data.package_paths(), data.file_names());
        let mut packages = report::without_data(self.sources()?, &self.filter(), known, files);
        packages.retain(|path| self.selects(path));
        Ok(packages)
    }

    /// Reports packages that have code but no coverage data.
    pub(crate) fn say_without_data(&self, packages: &[String]) {
        if let [first, ..] = packages {
            self.messages.warn(format_args!(
                "there are no coverage data of package {first}{}, which {} code: is it built into the program, and does \
                 -coverpkg name it?",
                and_more(packages.len()),
                if packages.len() == 1 { "has" } else { "have" },
            ));
        }
    }

    /// Reports findings about files, each kind once.
    pub(crate) fn say_findings(&self, findings: &[(&str, Finding)]) {
        for kind in [Finding::Joined, Finding::Repeated, Finding::LineDirectives, Finding::Mixed] {
            let mut files = findings.iter().filter(|(_, finding)| *finding == kind).map(|(file, _)| *file);
            let Some(first) = files.next() else { continue };
            self.messages.warn(kind.message(&format!("{first}{}", and_more(1 + files.count()))));
        }
    }

    /// Reports sources that were not found. Reports are made without them.
    pub(crate) fn say_missing(&self, report: &Report<'_>) {
        let mut missing = BTreeMap::<String, Vec<&str>>::new();
        for (file, error) in report.missing() {
            missing.entry(error.kind().to_owned()).or_default().push(file.shown);
        }
        for (why, files) in missing {
            self.messages.warn(format_args!("{}{}: {why}", files[0], and_more(files.len())));
        }
    }

    /// Whether any of these flags or arguments is given.
    pub(crate) fn is_given(&self) -> bool {
        let Self {
            inputs,
            i,
            from,
            suites,
            config,
            pkg,
            exclude,
            skip_generated,
            skip_ignored,
            root,
            map,
            ..
        } = self;
        let lists = inputs.len() + i.len() + from.len() + exclude.len() + map.len();
        let flags = suites.is_given() || *skip_generated || *skip_ignored;
        lists > 0 || flags || config.is_some() || pkg.is_some() || root.is_some()
    }

    /// The profile of the selected packages.
    pub(crate) fn selected<'a>(&self, data: &'a Data<'_>) -> Profile<'a> {
        let mut profile = data.profile();
        profile.packages_mut().retain(|package| self.selects(package.path));
        profile
    }

    /// Reports problems of files.
    fn say_problems(&self, problems: &[Problem]) {
        problems.iter().for_each(|problem| self.messages.error(problem));
        if self.fetched.get().is_some_and(|fetched| fetched.lost) {
            self.messages.set_incomplete();
        }
    }

    fn not_empty(&self, data: &Data<'_>) -> Result<()> {
        if !data.is_empty() {
            return Ok(());
        }
        let hint = if self.inputs.iter().any(|path| !path.exists() && is_word(path)) {
            "nor is there such a command: podcov-report --help lists them"
        } else if self.i.is_empty() {
            "a program that is built with -cover writes coverage files into GOCOVERDIR when it exits cleanly"
        } else {
            "folders in those of -i are not read, as in Go; name them without -i to have them read"
        };
        Err(Failure::new(Exit::Incomplete, "there are no coverage data in the input").with_hint(hint).into())
    }
}

/// The findings about the files of a profile.
pub(crate) fn findings<'a>(profile: &Profile<'a>) -> Findings<'a> {
    profile.files().filter_map(|file| Some((file.name, file.finding?))).collect()
}

/// Whether Go may have repeated numbers of statements, which the source tells apart.
fn has_repeated(findings: &[(&str, Finding)]) -> bool {
    findings.iter().any(|(_, finding)| *finding == Finding::Repeated)
}

/// Whether the path looks like a command with a typing error.
fn is_word(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_lowercase()))
}

fn mapping(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => {
            let to = std::path::absolute(to).map_err(|error| error.to_string())?;
            Ok((from.to_owned(), to))
        }
        _ => Err("not of the form FROM=TO".to_owned()),
    }
}
