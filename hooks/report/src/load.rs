//! Loads the inputs: folders, text profiles, what is in storage, and suites of these.

use std::path::{Path, PathBuf};

use anyhow::Result;
use covdata::FileName;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_profile::{Builder, Files};
use podcov_storage::Address;

use crate::earlier::Earlier;
use crate::fetch::{Fetched, fetch};
use crate::input::InputArgs;
use crate::paths::{is_same_file, real};
use crate::suites::{self, SuiteSource};

/// The default folder that podcov-collect writes to.
const COLLECTED: &str = "reports/coverage";

/// Adds a folder to the input.
type AddFolder = fn(&mut Builder, &Path);

impl InputArgs {
    /// Loads the inputs.
    pub(crate) fn load(&self) -> Result<Files> {
        if self.suites.is_given() {
            return self.load_suites();
        }
        let tree: AddFolder = |builder, dir| builder.add_tree(dir);
        let flat: AddFolder = |builder, dir| builder.add_dir(dir);
        let listed = self.i.iter().filter(|path| !path.as_os_str().is_empty());
        let mut inputs: Vec<(&Path, AddFolder)> = listed.map(|path| (path.as_path(), flat)).collect();
        inputs.extend(self.inputs.iter().map(|path| (path.as_path(), tree)));
        let fetched = self.fetch(&self.from)?;
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

    /// Loads the inputs of each suite.
    fn load_suites(&self) -> Result<Files> {
        let Self { inputs, i, from, .. } = self;
        if inputs.len() + i.len() + from.len() > 0 {
            let first = inputs.first().or(i.first()).map(|path| path.display().to_string());
            let first = first.or(from.first().map(Address::to_string)).unwrap_or_default();
            return Err(Failure::new(Exit::Usage, format!("{first} belongs to no suite"))
                .with_hint(format!("with --suite each input has a suite: --suite e2e={first}"))
                .into());
        }
        self.suites.check_carried()?;
        let sources = self.suites.sources()?;
        let addresses = sources.iter().flat_map(|source| &source.inputs).filter_map(|input| match input {
            suites::Input::Storage(address) => Some(address.clone()),
            suites::Input::Path(_) | suites::Input::Carried(_) => None,
        });
        let fetched = self.fetch(&addresses.collect::<Vec<_>>())?;
        let mut folders = fetched.iter().flat_map(|fetched| &fetched.folders);
        let mut builder = Builder::new();
        for (number, SuiteSource { suite, inputs }) in sources.iter().enumerate() {
            if number > 0 {
                builder.next_input();
            }
            if let Some(note) = suite.note() {
                self.messages.warn(format_args!("suite {note}"));
            }
            for input in inputs {
                let path = match input {
                    suites::Input::Path(path) => Some(path),
                    suites::Input::Storage(_) => folders.next(),
                    suites::Input::Carried(file) => {
                        builder.add_text_bytes(file, carried_profile(file, &suite.name)?);
                        None
                    }
                };
                path.map_or(Ok(()), |path| {
                    add_input(&mut builder, path, |builder, dir| builder.add_tree(dir))
                })?;
            }
        }
        Ok(builder.load())
    }

    /// Whether files in a folder would be read as input.
    pub(crate) fn reads(&self, folder: &Path) -> bool {
        let folder = real(folder);
        let collected = [PathBuf::from(COLLECTED)];
        let none = self.i.is_empty() && self.inputs.is_empty() && self.from.is_empty();
        let mut trees = self.inputs.iter().chain(collected.iter().filter(|_| none));
        self.i.iter().any(|dir| real(dir) == folder) || trees.any(|tree| folder.starts_with(real(tree)))
    }

    /// Refuses an output that is an input as well: the coverage in it would be lost.
    pub(crate) fn check_output(&self, output: &Path) -> Result<()> {
        let inputs = self.inputs.iter().chain(&self.i).chain(self.suites.files());
        if output.is_file() && inputs.into_iter().any(|input| is_same_file(output, input)) {
            return Err(Failure::new(Exit::Usage, format!("{} is an input as well", output.display()))
                .with_hint("give another file with -o: the result would replace the input")
                .into());
        }
        Ok(())
    }

    /// The inputs from storage, which are fetched only once.
    fn fetch(&self, addresses: &[Address]) -> Result<Option<&Fetched>> {
        if addresses.is_empty() {
            return Ok(None);
        }
        if self.fetched.get().is_none() {
            let _ = self.fetched.set(fetch(addresses)?);
        }
        Ok(self.fetched.get())
    }
}

fn add_input(builder: &mut Builder, path: &Path, add_folder: AddFolder) -> Result<()> {
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
        // A pipe, which ends when its writer closes it.
        builder.add_text_bytes(path, fs::read(path).or_exit(Exit::Usage, "cannot read an input")?);
    } else {
        builder.add_text(path);
    }
    Ok(())
}

/// The text profile of a file with a suite's coverage of an earlier time.
fn carried_profile(file: &Path, suite: &str) -> Result<Vec<u8>> {
    let bytes = match Earlier::read(file, "cannot read the coverage that is to be carried forward")? {
        Earlier::Profile(bytes) => return Ok(bytes),
        Earlier::Json(bytes) => bytes,
    };
    let text = report::text_profile(&bytes, suite).map_err(|error| {
        let what = format!("cannot carry suite {suite} forward from {}: {error}", file.display());
        Failure::new(Exit::Usage, what).with_hint(
            "give what podcov-report textfmt writes, or podcov-report json without --skip-ignored and skip_ignored in podcov.toml",
        )
    })?;
    Ok(text.into_bytes())
}
