//! Package patterns, as `go tool covdata -pkg` takes them.
//!
//! Go: `MatchSimplePattern` in `cmd/internal/pkgpattern`.

use std::convert::Infallible;
use std::str::FromStr;

/// A pattern for import paths, in which `...` stands for any string, and `/...` at the end also for nothing: `net/...`
/// matches `net` and `net/http`. Several patterns, separated by commas, match what any of them matches. An empty text
/// matches all paths, and commas alone match none, as in Go's tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackagePattern(Option<Vec<String>>);

impl FromStr for PackagePattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let patterns = || text.split(',').filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect();
        Ok(Self((!text.is_empty()).then(patterns)))
    }
}

impl PackagePattern {
    /// Whether an import path is one of these.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|patterns| {
            patterns.iter().any(|pattern| {
                let stem = pattern.strip_suffix("/...");
                matches(pattern, path) || stem.is_some_and(|stem| matches(stem, path))
            })
        })
    }
}

/// Whether the parts between `...` follow each other in the text: the first at its start, the last at its end, each
/// other one at the first place where it fits.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((first, others)) = pattern.split_once("...") else { return pattern == text };
    let (middle, last) =
        others.rsplit_once("...").map_or((None, others), |(middle, last)| (Some(middle), last));
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    for part in middle.into_iter().flat_map(|middle| middle.split("...")) {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_in_go() {
        for (pattern, yes, no) in [
            ("net", &["net"][..], &["net/http", "ne", ""][..]),
            ("net/...", &["net", "net/http", "net/http/internal"], &["network", "x/net"]),
            ("net...", &["net", "network", "net/http"], &["x/net"]),
            (".../b/...", &["a/b", "x/a/b", "a/b/c"], &["b", "a/bc"]),
            ("...", &["", "a", "a/b"], &[]),
            ("a...b...c", &["abc", "a/b/b/c", "axbxc"], &["ab", "ac", "abcd"]),
            ("a,b/...", &["a", "b", "b/c"], &["a/c", ""]),
            ("", &["", "a", "a/b"], &[]),
            (",", &[], &["", "a", ","]),
            ("a.b", &["a.b"], &["axb"]),
        ] {
            let parsed: PackagePattern = pattern.parse().unwrap();
            assert!(yes.iter().all(|path| parsed.matches(path)), "{pattern}");
            assert!(!no.iter().any(|path| parsed.matches(path)), "{pattern}");
        }
    }
}
