//! Which packages `--pkg` selects.

use std::path::Path;

use covdata::PackagePattern;

/// The packages of some patterns. Relative ones (`./...`), which Go's own tool takes and matches with nothing, are
/// resolved through `go.mod`, as by the `go` command.
#[derive(Debug)]
pub(crate) struct PackageSelection {
    patterns: Vec<Pattern>,
}

#[derive(Debug)]
struct Pattern {
    /// As it was given.
    text: String,
    /// For import paths.
    pattern: PackagePattern,
    /// What it stands for, if it is relative; or why that is not known.
    meaning: Option<String>,
}

impl PackageSelection {
    /// Reads patterns with commas between them; relative ones are so to `work`. `None` where the text is empty: all
    /// packages are selected, as in Go.
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

    /// The patterns that match none of these packages, each with what it stands for.
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
