//! The selection of packages by `--pkg`.

use std::path::Path;

use podcov_profile::PackagePattern;

/// The patterns of `--pkg`. Relative patterns (`./...`) are resolved through `go.mod`, as the `go` command does; Go's covdata
/// tool accepts them, but they match nothing.
#[derive(Debug)]
pub(crate) struct PackageSelection {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// The text that the user gave.
    text: String,
    /// The pattern of import paths.
    pattern: PackagePattern,
    /// If it is relative, a text that tells what it stands for, or why that is not known.
    meaning: Option<String>,
}

impl PackageSelection {
    /// Parses patterns that are separated by commas. Relative ones are relative to `work`. `None` if the text is empty: as in
    /// Go, all packages are selected.
    pub(crate) fn new(text: &str, work: &Path) -> Option<Self> {
        let pattern = |text: &str| {
            let (import, meaning) = match report::import_pattern(work, text) {
                None => (text.to_owned(), None),
                Some(Ok(import)) => (import.clone(), Some(format!("it stands for {import}"))),
                Some(Err(error)) => (text.to_owned(), Some(error.to_string())),
            };
            let Ok(pattern) = import.parse();
            Pattern { text: text.to_owned(), pattern, meaning }
        };
        let patterns = text.split(',').filter(|text| !text.is_empty()).map(pattern);
        (!text.is_empty()).then(|| Self { patterns: patterns.collect() })
    }

    /// Whether a package is selected.
    pub(crate) fn matches(&self, path: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.pattern.matches(path))
    }

    /// The patterns that match none of these packages, each with its meaning.
    pub(crate) fn unmatched(&self, paths: &[&str]) -> Vec<String> {
        let unmatched =
            self.patterns.iter().filter(|pattern| !paths.iter().any(|path| pattern.pattern.matches(path)));
        let named = unmatched.map(|Pattern { text, meaning, .. }| match meaning {
            Some(meaning) => format!("--pkg {text} ({meaning})"),
            None => format!("--pkg {text}"),
        });
        named.collect()
    }
}
