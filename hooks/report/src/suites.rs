//! `--suite`: parts of the input, such as unit and end-to-end tests, that are counted apart.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::Result;
use podcov_exit::{Exit, Failure};
use podcov_storage::Address;
use report::suites::Suite;

use crate::paths::real;

#[derive(Debug, clap::Args)]
pub(crate) struct SuiteArgs {
    /// Count an input as a suite, apart from the others and merged with them: a folder, a text profile or an address of
    /// storage. May be given several times; several inputs of one name are one suite. Not for the commands of
    /// `go tool covdata`, but for textfmt
    #[arg(long, value_name = "NAME=INPUT", value_parser = suite_input, help_heading = "Input")]
    suite: Vec<SuiteInput>,

    /// Use the coverage of an earlier time for a suite, if none of its inputs exists: a file of `podcov-report json`, or a
    /// text profile. May be given several times
    #[arg(long, value_name = "NAME=FILE", value_parser = carried, help_heading = "Input")]
    carry: Vec<(String, PathBuf)>,

    #[arg(skip)]
    sources: OnceLock<Vec<SuiteSource>>,
}

/// One input of a suite.
#[derive(Debug, Clone)]
pub(crate) struct SuiteInput {
    pub(crate) name: String,
    pub(crate) input: Input,
}

/// Where coverage is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Input {
    /// A folder or a text profile.
    Path(PathBuf),
    Storage(Address),
    /// The file with the coverage of an earlier time.
    Carried(PathBuf),
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) | Self::Carried(path) => path.display().fmt(f),
            Self::Storage(address) => address.fmt(f),
        }
    }
}

/// A suite and its inputs.
#[derive(Debug)]
pub(crate) struct SuiteSource {
    pub(crate) suite: Suite,
    pub(crate) inputs: Vec<Input>,
}

impl SuiteArgs {
    /// Whether there are suites.
    pub(crate) fn is_given(&self) -> bool {
        self.suite.len() + self.carry.len() > 0
    }

    /// Sets the suites, if no flag gives any.
    pub(crate) fn configure(&mut self, suites: Vec<SuiteInput>) {
        if self.suite.is_empty() {
            self.suite = suites;
        }
    }

    /// The paths that are given: of inputs, and of coverage of an earlier time.
    pub(crate) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let inputs = self.suite.iter().filter_map(|suite| match &suite.input {
            Input::Path(path) | Input::Carried(path) => Some(path),
            Input::Storage(_) => None,
        });
        inputs.chain(self.carry.iter().map(|(_, path)| path))
    }

    /// The suites, in the order in which they are given first.
    pub(crate) fn sources(&self) -> Result<&[SuiteSource]> {
        if self.sources.get().is_none() {
            let mut sources = sources(&self.suite)?;
            self.carry_forward(&mut sources);
            let _ = self.sources.set(sources);
        }
        Ok(self.sources.get().map_or(&[], Vec::as_slice))
    }

    /// The suites without their inputs.
    pub(crate) fn suites(&self) -> Result<Vec<Suite>> {
        Ok(self.sources()?.iter().map(|source| source.suite.clone()).collect())
    }

    /// Checks the names that a flag gives: each is a suite's, and is given once.
    pub(crate) fn check_names<'n>(&self, flag: &str, names: impl Iterator<Item = &'n str>) -> Result<()> {
        let mut seen = HashSet::new();
        for name in names {
            if !seen.insert(name) {
                return Err(Failure::new(Exit::Usage, format!("{flag} {name} is given twice"))
                    .with_hint("give it once for each suite")
                    .into());
            }
            if !self.suites()?.iter().any(|suite| suite.name == name) {
                return Err(Failure::new(Exit::Usage, format!("{flag} {name}: there is no such suite"))
                    .with_hint(format!("give its input too, as in --suite {name}=reports/coverage"))
                    .into());
            }
        }
        Ok(())
    }

    /// Checks the names of suites that are carried forward.
    pub(crate) fn check_carried(&self) -> Result<()> {
        self.check_names("--carry", self.carry.iter().map(|(name, _)| name.as_str()))
    }

    /// Gives suites that did not run the file with their coverage of an earlier time.
    fn carry_forward(&self, sources: &mut [SuiteSource]) {
        let is_missing = |input: &Input| matches!(input, Input::Path(path) if !path.exists());
        for source in sources.iter_mut().filter(|source| source.inputs.iter().all(is_missing)) {
            if let Some((_, file)) = self.carry.iter().find(|(name, _)| *name == source.suite.name) {
                source.suite.carried_from = Some(file.display().to_string());
                source.inputs = vec![Input::Carried(file.clone())];
            }
        }
    }

    /// Refuses suites for a command that gives the output of Go's.
    pub(crate) fn refuse(&self, command: &str) -> Result<()> {
        if !self.is_given() {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Usage,
            format!("{command} is a command of go tool covdata, which has no suites"),
        )
        .with_hint("name its inputs without --suite, or use summary, json, markdown or html")
        .into())
    }
}

fn sources(inputs: &[SuiteInput]) -> Result<Vec<SuiteSource>> {
    let refuse = |what: String, hint: &str| Err(Failure::new(Exit::Usage, what).with_hint(hint).into());
    let mut sources = Vec::<SuiteSource>::new();
    for (number, SuiteInput { name, input }) in inputs.iter().enumerate() {
        for other in &inputs[..number] {
            let (suite, hint) = (&other.name, "give each input to one suite: it would count twice");
            if is_same_input(input, &other.input) {
                return refuse(format!("{input} is an input of suite {suite} and of suite {name}"), hint);
            }
            let pairs = [(input, &other.input), (&other.input, input)];
            if let Some((inner, outer)) = pairs.into_iter().find(|(inner, outer)| is_in(inner, outer)) {
                let what = format!(
                    "{inner} is in {outer}, and they are inputs of suite {suite} and of suite {name}"
                );
                return refuse(what, hint);
            }
        }
        let same = |source: &&mut SuiteSource| source.suite.name.eq_ignore_ascii_case(name);
        match sources.iter_mut().find(same) {
            Some(source) if source.suite.name != *name => {
                let what = format!("the suites {} and {name} differ in case alone", source.suite.name);
                return refuse(what, "give them different names: files of {suite} in -o might have one name");
            }
            Some(source) => source.inputs.push(input.clone()),
            None => {
                let suite = Suite { name: name.clone(), carried_from: None };
                sources.push(SuiteSource { suite, inputs: vec![input.clone()] });
            }
        }
    }
    Ok(sources)
}

/// Whether two inputs are one.
fn is_same_input(input: &Input, other: &Input) -> bool {
    match (input, other) {
        (Input::Path(path), Input::Path(other)) => real(path) == real(other),
        _ => input == other,
    }
}

/// Whether a folder is in the other input, so that it is read with that. Text profiles in folders are not.
fn is_in(inner: &Input, outer: &Input) -> bool {
    match (inner, outer) {
        (Input::Path(inner), Input::Path(outer)) => inner.is_dir() && real(inner).starts_with(real(outer)),
        _ => false,
    }
}

/// Parses `NAME=INPUT`.
pub(crate) fn suite_input(text: &str) -> Result<SuiteInput, String> {
    let (name, input) = named(text, "INPUT")?;
    Ok(SuiteInput { name, input: input_of(input)? })
}

/// Parses `NAME=FILE`.
fn carried(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = named(text, "FILE")?;
    Ok((name, file.into()))
}

/// Parses `NAME=VALUE`, where the name is a suite's.
pub(crate) fn named<'t>(text: &'t str, value: &str) -> Result<(String, &'t str), String> {
    match text.split_once('=') {
        Some((name, rest)) if !rest.is_empty() => Ok((suite_name(name)?, rest)),
        _ => Err(format!("not of the form NAME={value}")),
    }
}

/// Checks the name of a suite, which may become a part of a file's name.
pub(crate) fn suite_name(name: &str) -> Result<String, String> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= 64 && name.bytes().all(is_part) {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "`{name}` is no name of a suite: up to 64 letters, digits, `-`, `_` and `.`, of which the first is a letter or \
             a digit"
        ))
    }
}

/// A text with `://` is an address, all others are paths.
pub(crate) fn input_of(text: &str) -> Result<Input, String> {
    if text.contains("://") {
        return Ok(Input::Storage(text.parse().map_err(|error: podcov_storage::Error| error.to_string())?));
    }
    Ok(Input::Path(text.into()))
}

/// The place of a suite's name in the name of a file.
const PLACE: &str = "{suite}";

/// Whether there is to be a file for each suite: the name of the output has a place for the suite's name.
pub(crate) fn is_by_suite(output: &Path) -> bool {
    output.to_str().is_some_and(|name| name.contains(PLACE))
}

/// The file for a suite.
pub(crate) fn file_of_suite(output: &Path, suite: &str) -> PathBuf {
    output.to_str().unwrap_or_default().replace(PLACE, suite).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_suites_are_parts_of_files_names() {
        for name in ["unit", "e2e", "Go-1.27_x"] {
            assert_eq!(suite_name(name), Ok(name.to_owned()));
        }
        for name in ["", "-x", ".x", "a/b", "a b", "a=b", "ü", &"x".repeat(65)] {
            assert!(suite_name(name).unwrap_err().contains(&format!("`{name}`")));
        }
    }

    #[test]
    fn an_input_belongs_to_one_suite() {
        let parsed = |texts: &[&str]| {
            let inputs: Vec<SuiteInput> = texts.iter().map(|text| suite_input(text).unwrap()).collect();
            sources(&inputs)
        };
        let two = parsed(&["unit=a", "e2e=b", "unit=c"]).unwrap();
        let inputs = |number: usize| two[number].inputs.len();
        assert_eq!((two[0].suite.name.as_str(), inputs(0), inputs(1)), ("unit", 2, 1));
        for (given, message) in [
            (["unit=a", "e2e=a"], "a is an input of suite unit and of suite e2e"),
            (["unit=a", "unit=a"], "a is an input of suite unit and of suite unit"),
            (["unit=a", "Unit=b"], "the suites unit and Unit differ in case alone"),
        ] {
            assert_eq!(parsed(&given).unwrap_err().to_string(), message);
        }
        for text in ["unit", "unit=", "=a", "a b=c", "unit=ftp://x/y"] {
            assert!(suite_input(text).is_err(), "{text}");
        }
    }
}
