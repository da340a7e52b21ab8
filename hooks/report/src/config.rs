//! podcov.toml: inputs, selections and gates of a project, in place of flags.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};
use report::{Glob, changes};
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::paths::real;
use crate::suites::{Input, SuiteInput, input_of, suite_name};

/// The file's name.
const NAME: &str = "podcov.toml";

/// What the file has. Its paths are relative to its folder until [`Config::load`] has completed them.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    suites: Entries<SuiteName, OneOrMore<Parsed<Input>>>,
    exclude: OneOrMore<Parsed<Glob>>,
    pkg: OneOrMore<Text>,
    pub(crate) skip_generated: bool,
    pub(crate) skip_ignored: bool,
    pub(crate) root: Option<PathBuf>,
    map: Entries<Text, Text>,
    pub(crate) gates: Gates,
    /// The file's folder; empty if that is the current one.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
}

/// The gates, each as the flag of its name.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of gates")]
pub(crate) struct Gates {
    pub(crate) fail_under: Option<Percentage>,
    fail_under_suite: Entries<SuiteName, Percentage>,
    pub(crate) fail_under_package: Option<Percentage>,
    pub(crate) fail_under_file: Option<Percentage>,
    pub(crate) fail_under_changed: Option<Percentage>,
    pub(crate) since: Option<String>,
    pub(crate) baseline: Option<PathBuf>,
    pub(crate) allow_decrease: Option<Percentage>,
    pub(crate) require_all_packages: bool,
}

impl Config {
    /// Loads a file: the given one, or the podcov.toml that is nearest at or above the current folder, up to the git
    /// repository's top folder. Without one, nothing is configured.
    pub(crate) fn load(given: Option<&Path>) -> Result<Self> {
        let Some(path) = given.map(Path::to_owned).or_else(find) else { return Ok(Self::default()) };
        let text = fs::read_to_string(&path).or_exit(Exit::Usage, "cannot read the configuration")?;
        let mut config: Self = toml::from_str(&text).map_err(|error| failure(&path, &text, &error))?;
        config.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let folder = &config.folder;
        for path in [&mut config.root, &mut config.gates.baseline].into_iter().flatten() {
            *path = folder.join(&path);
        }
        for Parsed(input) in config.suites.0.iter_mut().flat_map(|(_, inputs)| &mut inputs.0) {
            if let Input::Path(path) = input {
                *path = folder.join(&path);
            }
        }
        Ok(config)
    }

    /// The inputs of suites.
    pub(crate) fn suites(&self) -> Vec<SuiteInput> {
        let inputs =
            self.suites.0.iter().flat_map(|(name, inputs)| inputs.0.iter().map(move |input| (name, input)));
        inputs.map(|(name, input)| SuiteInput { name: name.0.clone(), input: input.0.clone() }).collect()
    }

    /// The files to leave out.
    pub(crate) fn exclude(&self) -> Vec<Glob> {
        self.exclude.0.iter().map(|glob| glob.0.clone()).collect()
    }

    /// The patterns of packages, as the flag has them.
    pub(crate) fn pkg(&self) -> Option<String> {
        let patterns: Vec<&str> = self.pkg.0.iter().map(|pattern| pattern.0.as_str()).collect();
        (!patterns.is_empty()).then(|| patterns.join(","))
    }

    /// Where to find sources.
    pub(crate) fn map(&self) -> Result<Vec<(String, PathBuf)>> {
        let absolute = |to: &str| std::path::absolute(self.folder.join(to));
        let map = self.map.0.iter().map(|(from, to)| Ok((from.0.clone(), absolute(&to.0)?)));
        map.collect::<std::io::Result<_>>().or_exit(Exit::Usage, "cannot tell the current folder")
    }
}

/// What a project's podcov.toml has, for programs that check its gates.
#[derive(Debug)]
pub struct Configured(Config);

impl Configured {
    /// Whether there are gates.
    #[must_use]
    pub fn has_gates(&self) -> bool {
        self.0.gates.is_any()
    }

    /// The file that the total is compared with.
    #[must_use]
    pub fn baseline(&self) -> Option<&Path> {
        self.0.gates.baseline.as_deref()
    }

    /// Whether there are suites, which are then the inputs.
    #[must_use]
    pub fn has_suites(&self) -> bool {
        !self.0.suites.0.is_empty()
    }

    /// Checks that what will be written into a folder is an input of a suite.
    ///
    /// # Errors
    /// When no suite has the folder, one around it or one in it.
    pub fn check_reads(&self, folder: &Path) -> Result<()> {
        let (inputs, folder) = (self.0.suites(), real(folder));
        let reads = |input: &Input| match input {
            Input::Path(path) => folder.starts_with(real(path)) || real(path).starts_with(&folder),
            Input::Storage(_) | Input::Carried(_) => false,
        };
        if inputs.iter().any(|suite| reads(&suite.input)) {
            return Ok(());
        }
        let inputs: Vec<String> = inputs.iter().map(|suite| suite.input.to_string()).collect();
        let what = format!(
            "no suite of {} reads {}, so its gates would not see this run; the suites' inputs are {}",
            self.0.folder.join(NAME).display(),
            folder.display(),
            inputs.join(", ")
        );
        Err(Failure::new(Exit::Usage, what)
            .with_hint("give one of these folders with --out, or make that folder an input of a suite")
            .into())
    }
}

/// Reads the podcov.toml of the current folder's project, if it has one.
///
/// # Errors
/// When the file cannot be read, or has something wrong.
pub fn configured() -> Result<Configured> {
    Config::load(None).map(Configured)
}

impl Gates {
    fn is_any(&self) -> bool {
        let percentages =
            [self.fail_under, self.fail_under_package, self.fail_under_file, self.fail_under_changed];
        percentages.iter().any(Option::is_some)
            || !self.fail_under_suite.0.is_empty()
            || self.baseline.is_some()
            || self.require_all_packages
    }

    /// The least percentage of each suite.
    pub(crate) fn fail_under_suite(&self) -> Vec<(String, f64)> {
        self.fail_under_suite.0.iter().map(|(name, percent)| (name.0.clone(), percent.0)).collect()
    }
}

fn find() -> Option<PathBuf> {
    let here = std::path::absolute(".").ok()?;
    let top = changes::repository(&here).unwrap_or_else(|| here.clone());
    let mut files =
        here.ancestors().take_while(|folder| folder.starts_with(&top)).map(|folder| folder.join(NAME));
    let found = files.find(|path| path.is_file())?;
    // Paths in messages are shorter so.
    Some(found.strip_prefix(&here).map(Path::to_owned).unwrap_or(found))
}

/// The error for a wrong file: its line, and what was expected there.
fn failure(path: &Path, text: &str, error: &toml::de::Error) -> Failure {
    let Range { start, .. } = error.span().unwrap_or_default();
    let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    let message = error.message().replace('\n', ", ");
    Failure::new(Exit::Usage, format!("{}:{line}: {message}", path.display()))
        .with_hint("docs/reports.md lists the keys of podcov.toml")
}

/// A table with keys that the user chooses, in the file's order.
#[derive(Debug)]
struct Entries<K, V>(Vec<(K, V)>);

/// A single value, or a list of values.
#[derive(Debug)]
struct OneOrMore<T>(Vec<T>);

/// A text that is parsed.
#[derive(Debug)]
struct Parsed<T>(T);

/// A text that is not empty.
#[derive(Debug)]
struct Text(String);

/// The name of a suite.
#[derive(Debug)]
struct SuiteName(String);

/// A number from 0 to 100.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Percentage(pub(crate) f64);

impl<K, V> Default for Entries<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Default for OneOrMore<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Entries<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Table<K, V>(PhantomData<(K, V)>);
        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Table<K, V> {
            type Value = Entries<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Table(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for List<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMore(vec![T::deserialize(StrDeserializer::new(text))?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(OneOrMore(items))
            }
        }
        deserializer.deserialize_any(List(PhantomData))
    }
}

/// Parses a string. An error in here is known to be at the string's place.
struct StringVisitor<T>(fn(&str) -> Result<T, String>);

impl<T> Visitor<'_> for StringVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        self.0(text).map_err(E::custom)
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let parse = |text: &str| text.parse().map(Self).map_err(|error: T::Err| error.to_string());
        deserializer.deserialize_any(StringVisitor(parse))
    }
}

impl FromStr for Input {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        input_of(&full(text)?.0)
    }
}

fn full(text: &str) -> Result<Text, String> {
    if text.is_empty() {
        Err("expected a string that is not empty".to_owned())
    } else {
        Ok(Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringVisitor(full))
    }
}

impl<'de> Deserialize<'de> for SuiteName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StringVisitor(|name| suite_name(name).map(Self)))
    }
}

impl<'de> Deserialize<'de> for Percentage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = f64;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number from 0 to 100")
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
                if (0.0..=100.0).contains(&number) {
                    Ok(number)
                } else {
                    Err(E::invalid_value(Unexpected::Float(number), &self))
                }
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
                if (0..=100).contains(&number) {
                    Ok(number as f64)
                } else {
                    Err(E::invalid_value(Unexpected::Signed(number), &self))
                }
            }
        }
        deserializer.deserialize_any(Number).map(Self)
    }
}
