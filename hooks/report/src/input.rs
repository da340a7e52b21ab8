//! What is read: folders and text profiles, and which packages of them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use covdata::{Builder, Data, FileName, Files, PackagePattern, Problem, Profile};
use podcov_cli::{Exit, Failure, say};

use crate::NAME;

/// Where podcov-collect puts its reports, unless told otherwise.
const COLLECTED: &str = "reports/coverage";

#[derive(Debug, clap::Args)]
pub(crate) struct InputArgs {
    /// Folders of coverage files, and text profiles
    ///
    /// Folders are read with all folders in them. Without any: reports/coverage, where podcov-collect writes.
    #[arg(value_name = "INPUT")]
    inputs: Vec<PathBuf>,

    /// Folders or text profiles with commas between them, as Go has it: not the folders in them
    #[arg(short, value_name = "DIR,DIR", value_delimiter = ',', help_heading = "Input")]
    i: Vec<PathBuf>,

    /// Only packages of these import paths; `...` stands for any string
    #[arg(long, value_name = "PATTERN,PATTERN", help_heading = "Input")]
    pkg: Option<PackagePattern>,
}

impl InputArgs {
    /// Which packages were asked for.
    pub(crate) fn pattern(&self) -> Option<&PackagePattern> {
        self.pkg.as_ref()
    }

    /// The profile of the packages that were asked for. Says which files are of several versions.
    pub(crate) fn profile<'a>(&self, data: &'a Data<'_>) -> Profile<'a> {
        let mut profile = data.profile();
        if let Some(pattern) = &self.pkg {
            profile.packages_mut().retain(|package| pattern.matches(package.path));
        }
        let mixed: Vec<&str> = profile.files().filter(|file| file.mixed).map(|file| file.name).collect();
        if let Some(first) = mixed.first() {
            let more = if mixed.len() > 1 { format!(" and {} more", mixed.len() - 1) } else { String::new() };
            say(
                NAME,
                format_args!(
                    "warning: the inputs were built from different versions of {first}{more}: \
                     both versions' statements count"
                ),
            );
        }
        profile
    }

    /// Loads the inputs.
    pub(crate) fn load(&self) -> Result<Files> {
        type AddFolder = fn(&mut Builder, &Path);
        let tree: AddFolder = |builder, dir| builder.add_tree(dir);
        let flat: AddFolder = |builder, dir| builder.add_dir(dir);
        let mut inputs: Vec<(&Path, AddFolder)> = self
            .i
            .iter()
            .filter(|path| !path.as_os_str().is_empty())
            .map(|path| (path.as_path(), flat))
            .collect();
        inputs.extend(self.inputs.iter().map(|path| (path.as_path(), tree)));
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

    /// The paths of all inputs, as given.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.i.iter().chain(&self.inputs)
    }
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
    builder.add_text(path);
    Ok(())
}

/// Says what was wrong with files, and how the process ends with it.
pub(crate) fn report(problems: &[Problem]) -> Exit {
    for problem in problems {
        say(NAME, format_args!("error: {problem}"));
    }
    if problems.is_empty() { Exit::Done } else { Exit::Incomplete }
}
