//! What is read, what of it is wanted, and where its source is.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;
use covdata::{Builder, Coverage, Data, FileName, Files, PackagePattern, Percent, Problem, Profile};
use fs_err as fs;
use podcov_cli::{Exit, Failure, ResultExt, say};
use podcov_storage::Address;
use report::{Filter, Glob, Report, Sources, changes};

use crate::fetch::{Fetched, fetch};
use crate::{NAME, output};

/// Where podcov-collect puts its reports, unless told otherwise.
const COLLECTED: &str = "reports/coverage";

#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// Folders of coverage files, and text profiles
    ///
    /// Folders are read with all folders in them, but for links. Without any: reports/coverage, where podcov-collect
    /// writes.
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// Folders or text profiles with commas between them, as Go has it: not the folders in them
    #[arg(short, value_name = "DIR,DIR", value_delimiter = ',', help_heading = "Input")]
    i: Vec<PathBuf>,

    /// Read from storage too, where podcov-agent has uploaded to: gs://, s3:// or az:// with bucket and folder, of one
    /// run or of all; may be given several times
    #[arg(long, value_name = "ADDRESS", help_heading = "Input")]
    from: Vec<Address>,

    #[arg(skip)]
    fetched: OnceLock<Fetched>,

    /// Only packages of these import paths; `...` stands for any string
    #[arg(long, value_name = "PATTERN,PATTERN", help_heading = "Input")]
    pkg: Option<PackagePattern>,

    /// Leave out files whose name or path matches, e.g. '**/mocks/**' or '*.pb.go'; may be given several times
    #[arg(long, value_name = "GLOB", help_heading = "Input")]
    exclude: Vec<Glob>,

    /// Leave out files that say they are generated ("// Code generated … DO NOT EDIT.")
    #[arg(long, help_heading = "Input")]
    skip_generated: bool,

    /// The folder that paths in reports are relative to [default: the git repository's, else this one]
    #[arg(long, value_name = "DIR", help_heading = "Source")]
    root: Option<PathBuf>,

    /// Where sources are whose names begin with FROM, if go.mod, go.work and vendor do not tell
    #[arg(long, value_name = "FROM=TO", value_parser = mapping, help_heading = "Source")]
    map: Vec<(String, PathBuf)>,
}

/// What was read: what it holds is borrowed from the files.
pub(crate) struct Read<'f> {
    /// Never given back: that takes its time, and the process ends with it.
    pub(crate) data: ManuallyDrop<Data<'f>>,
    /// Whether all of it could be used.
    pub(crate) exit: Exit,
}

impl InputArgs {
    /// Loads the inputs.
    pub(crate) fn load(&self) -> Result<Files> {
        type AddFolder = fn(&mut Builder, &Path);
        let tree: AddFolder = |builder, dir| builder.add_tree(dir);
        let flat: AddFolder = |builder, dir| builder.add_dir(dir);
        let listed = self.i.iter().filter(|path| !path.as_os_str().is_empty());
        let mut inputs: Vec<(&Path, AddFolder)> = listed.map(|path| (path.as_path(), flat)).collect();
        inputs.extend(self.inputs.iter().map(|path| (path.as_path(), tree)));
        let fetched = self.fetch()?;
        inputs.extend(fetched.iter().flat_map(|fetched| &fetched.folders).map(|dir| (dir.as_path(), tree)));
        if inputs.is_empty() {
            if !Path::new(COLLECTED).is_dir() {
                return Err(Failure::new(Exit::Usage, format!("no input, and no folder {COLLECTED}"))
                    .with_hint("name folders of coverage files (GOCOVERDIR) or text profiles")
                    .into());
            }
            inputs.push((Path::new(COLLECTED), tree));
        }
        let mut builder = Builder::new();
        for (number, (path, add_folder)) in inputs.into_iter().enumerate() {
            if number > 0 {
                builder.next_input();
            }
            add_input(&mut builder, path, add_folder)?;
        }
        Ok(builder.load())
    }

    /// Reads the files as one, and says what is wrong with them.
    pub(crate) fn read<'f>(&self, files: &'f Files) -> Result<Read<'f>> {
        let (data, problems) = files.read();
        let exit = self.say_problems(&problems);
        self.not_empty(&data)?;
        Ok(Read { data: ManuallyDrop::new(data), exit })
    }

    /// Reads the files of each input for itself.
    pub(crate) fn read_each<'f>(&self, files: &'f Files) -> Result<(Vec<Data<'f>>, Exit)> {
        let (each, problems) = files.read_each();
        let exit = self.say_problems(&problems);
        each.iter().try_for_each(|data| self.not_empty(data))?;
        Ok((each, exit))
    }

    /// Whether a package was asked for.
    pub(crate) fn wants(&self, path: &str) -> bool {
        self.pkg.as_ref().is_none_or(|pattern| pattern.matches(path))
    }

    /// Whether all packages are wanted.
    pub(crate) fn wants_all(&self) -> bool {
        self.pkg.is_none()
    }

    /// The coverage of what is wanted of the data.
    pub(crate) fn percent(&self, data: &Data<'_>) -> Result<Percent> {
        if self.leaves_out_files() {
            return Ok(self.profile(data)?.percent());
        }
        let (percent, mixed) = data.percent(|path| self.wants(path));
        say_mixed(&mixed);
        Ok(percent)
    }

    /// Prints the coverage of each function of what is wanted of the data.
    pub(crate) fn print_functions(&self, data: &Data<'_>) -> Result<()> {
        // The functions of a text profile are in the source.
        if self.leaves_out_files() || data.has_text() {
            let report = self.report(data)?;
            if data.has_text() {
                say_missing(&report);
            }
            let functions = report.into_profile().functions();
            return output::write(None, |out| write!(out, "{functions}"));
        }
        write_and_say_mixed(None, |mut out| data.write_functions(|path| self.wants(path), &mut out))
    }

    /// Writes the text profile of what is wanted of the data.
    pub(crate) fn write_text(&self, data: &Data<'_>, path: Option<&Path>) -> Result<()> {
        if self.leaves_out_files() {
            let profile = self.profile(data)?;
            return output::write(path, |mut out| profile.write_text(&mut out));
        }
        write_and_say_mixed(path, |mut out| data.write_text(|path| self.wants(path), &mut out))
    }

    /// Whether some files are to be left out.
    pub(crate) fn leaves_out_files(&self) -> bool {
        !self.exclude.is_empty() || self.skip_generated
    }

    /// What is wanted of the data. Says which files are of several versions.
    pub(crate) fn profile<'a>(&self, data: &'a Data<'_>) -> Result<Profile<'a>> {
        if self.leaves_out_files() {
            return Ok(self.report(data)?.into_profile());
        }
        Ok(self.selected(data))
    }

    /// What is wanted of the data, with its source. Says which patterns leave out nothing.
    pub(crate) fn report<'a>(&self, data: &'a Data<'_>) -> Result<Report<'a>> {
        let (selected, sources) = (self.selected(data), self.sources()?);
        let names: Vec<&str> = selected.files().map(|file| file.name).collect();
        let fits = |glob: &Glob| {
            names.iter().any(|name| glob.matches(name) || glob.matches(&sources.find(name).shown))
        };
        for glob in self.exclude.iter().filter(|glob| !fits(glob)) {
            let what = "the coverage data have no such file; a folder is DIR/**";
            say(NAME, format_args!("warning: --exclude {glob}: {what}"));
        }
        Ok(Report::new(selected, &sources, &self.filter()))
    }

    /// The coverage of what is wanted of other data.
    pub(crate) fn total(&self, data: &Data<'_>) -> Result<Coverage> {
        Ok(Report::new(self.selected(data), &self.sources()?, &self.filter()).total())
    }

    fn sources(&self) -> Result<Sources> {
        let work = std::path::absolute(".")?;
        Ok(Sources::discover(&self.root()?, &work, &self.map))
    }

    /// Which files are left out.
    pub(crate) fn filter(&self) -> Filter {
        Filter { exclude: self.exclude.iter().cloned().collect(), generated: self.skip_generated }
    }

    /// What paths in reports are relative to.
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

    /// Whether any of it is given.
    pub(crate) fn is_given(&self) -> bool {
        let Self { inputs, i, from, fetched: _, pkg, exclude, skip_generated, root, map } = self;
        let lists = inputs.len() + i.len() + from.len() + exclude.len() + map.len();
        lists > 0 || pkg.is_some() || root.is_some() || *skip_generated
    }

    /// Whether files in a folder would be read as input.
    pub(crate) fn reads(&self, folder: &Path) -> bool {
        let folder = real(folder);
        let collected = [PathBuf::from(COLLECTED)];
        let none = self.i.is_empty() && self.inputs.is_empty() && self.from.is_empty();
        let mut trees = self.inputs.iter().chain(collected.iter().filter(|_| none));
        self.i.iter().any(|dir| real(dir) == folder) || trees.any(|tree| folder.starts_with(real(tree)))
    }

    fn selected<'a>(&self, data: &'a Data<'_>) -> Profile<'a> {
        let mut profile = data.profile();
        profile.packages_mut().retain(|package| self.wants(package.path));
        say_mixed(&profile.files().filter(|file| file.mixed).map(|file| file.name).collect::<Vec<_>>());
        profile
    }

    /// What is in storage, once fetched.
    fn fetch(&self) -> Result<Option<&Fetched>> {
        if self.from.is_empty() {
            return Ok(None);
        }
        if self.fetched.get().is_none() {
            let _ = self.fetched.set(fetch(&self.from)?);
        }
        Ok(self.fetched.get())
    }

    /// Says what was wrong with files, and how the process ends with it.
    fn say_problems(&self, problems: &[Problem]) -> Exit {
        for problem in problems {
            say(NAME, format_args!("error: {problem}"));
        }
        let lost = self.fetched.get().is_some_and(|fetched| fetched.lost);
        if problems.is_empty() && !lost { Exit::Done } else { Exit::Incomplete }
    }

    fn not_empty(&self, data: &Data<'_>) -> Result<()> {
        if !data.is_empty() {
            return Ok(());
        }
        let hint = if self.inputs.iter().any(|path| !path.exists() && is_word(path)) {
            "nor is there such a command: podcov-report --help lists them"
        } else if self.i.is_empty() {
            "a program that is built with -cover writes coverage files into GOCOVERDIR when it ends in good order"
        } else {
            "folders in those of -i are not read, as in Go; name them without -i to have them read"
        };
        Err(Failure::new(Exit::Incomplete, "there are no coverage data in the input").with_hint(hint).into())
    }
}

/// Writes to a file, or to stdout, and then says which files are of several versions, which `fill` gives.
fn write_and_say_mixed<'a>(
    path: Option<&Path>,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<Vec<&'a str>>,
) -> Result<()> {
    let mut mixed = Vec::new();
    output::write(path, |out| {
        mixed = fill(out)?;
        Ok(())
    })?;
    say_mixed(&mixed);
    Ok(())
}

/// Says which files are of several versions.
fn say_mixed(files: &[&str]) {
    if let Some(first) = files.first() {
        let more = and_more(files.len());
        say(
            NAME,
            format_args!(
                "warning: the inputs were built from different versions of {first}{more}: \
                 the statements of all versions count"
            ),
        );
    }
}

/// Says which sources are not there. Reports do without them.
pub(crate) fn say_missing(report: &Report<'_>) {
    let mut missing = BTreeMap::<String, Vec<&str>>::new();
    for (file, error) in report.missing() {
        missing.entry(error.kind().to_owned()).or_default().push(file.shown);
    }
    for (why, files) in missing {
        say(NAME, format_args!("warning: {}{}: {why}", files[0], and_more(files.len())));
    }
}

/// Of several the first is named.
pub(crate) fn and_more(count: usize) -> String {
    if count > 1 { format!(" and {} more", count - 1) } else { String::new() }
}

fn add_input(builder: &mut Builder, path: &Path, add_folder: fn(&mut Builder, &Path)) -> Result<()> {
    if path.is_dir() {
        add_folder(builder, path);
        return Ok(());
    }
    let name = path.file_name().and_then(|name| name.to_str());
    if name.is_some_and(|name| name.parse::<FileName>().is_ok()) {
        return Err(Failure::new(Exit::Usage, format!("{} is one coverage file", path.display()))
            .with_hint("name its folder: meta-data and counters belong together")
            .into());
    }
    if path.exists() && !path.is_file() {
        // A pipe, which ends when whoever writes it does.
        builder.add_text_bytes(path, fs::read(path).or_exit(Exit::Usage, "cannot read an input")?);
    } else {
        builder.add_text(path);
    }
    Ok(())
}

/// Whether a command might be meant.
fn is_word(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// A path without links, as far as it exists.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    match there {
        Some((there, real)) => real.join(path.strip_prefix(there).unwrap_or(Path::new(""))),
        None => path,
    }
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
