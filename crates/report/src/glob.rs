//! Globs for files.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

/// A glob: `*` and `?` stop at a slash, `**` does not. One without a slash is for the last part of a path, so that
/// `*.pb.go` means such files in any folder.
#[derive(Debug, Clone)]
pub struct Glob {
    matcher: GlobMatcher,
    last_part: bool,
}

/// Any number of globs.
#[derive(Debug, Clone, Default)]
pub struct Globs(Vec<Glob>);

impl FromStr for Glob {
    type Err = globset::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let glob = GlobBuilder::new(text).literal_separator(true).build()?;
        Ok(Self { matcher: glob.compile_matcher(), last_part: !text.contains('/') })
    }
}

impl FromIterator<Glob> for Globs {
    fn from_iter<I: IntoIterator<Item = Glob>>(globs: I) -> Self {
        Self(globs.into_iter().collect())
    }
}

impl Glob {
    /// Whether it matches a path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        let last = path.rsplit('/').next().unwrap_or_default();
        self.matcher.is_match(if self.last_part { last } else { path })
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.matcher.glob().fmt(f)
    }
}

impl Globs {
    /// Whether any of them matches a path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (glob, yes, no) in [
            ("*.pb.go", "a/b/c.pb.go", "a/b.pb.go/c.go"),
            ("**/mocks/**", "m/x/mocks/a/b.go", "m/x/mocks.go"),
            ("m/*/a.go", "m/x/a.go", "m/x/y/a.go"),
            ("m/**", "m/x/y.go", "n/m/x.go"),
        ] {
            let globs: Globs = [glob.parse().unwrap()].into_iter().collect();
            assert!(globs.matches(yes) && !globs.matches(no), "{glob}");
        }
        assert!("a[".parse::<Glob>().is_err());
    }
}
