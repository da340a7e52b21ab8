//! The paths a container sees, and where they are on the host.
//!
//! There is no mount namespace: what a manifest or a command names by its path in the container is put into host
//! paths as text, in environment values and arguments, scripts included.

/// Pairs of a path in the container and its place on the host.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paths(Vec<(String, String)>);

impl Paths {
    pub(crate) fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut pairs: Vec<_> = pairs
            .into_iter()
            .map(|(from, to)| (from.trim_end_matches('/').to_owned(), to))
            .filter(|(from, _)| from.starts_with('/'))
            .collect();
        // The longest first: a mount may lie below another.
        pairs.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        Self(pairs)
    }

    /// These pairs and one more set.
    pub(crate) fn with(&self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        Self::new(self.0.iter().cloned().chain(more))
    }

    /// The text with every path of the container replaced that stands as a path of its own.
    pub(crate) fn apply(&self, text: &str) -> String {
        let mut result = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(slash) = rest.find('/') {
            let (before, at) = rest.split_at(slash);
            result.push_str(before);
            let found = if starts_path(&text[..text.len() - at.len()]) {
                self.0.iter().find(|(from, _)| at.strip_prefix(from.as_str()).is_some_and(ends_path))
            } else {
                None
            };
            let length = match found {
                Some((from, to)) => {
                    result.push_str(to);
                    from.len()
                }
                None => {
                    result.push('/');
                    1
                }
            };
            rest = &at[length..];
        }
        result.push_str(rest);
        result
    }
}

/// Whether a path may start after this text: not in the middle of another, but after an option like tar's `-C`.
fn starts_path(before: &str) -> bool {
    let joins = |c: char| c.is_ascii_alphanumeric() || "_.-/*?})]$~".contains(c);
    if !before.ends_with(joins) {
        return true;
    }
    let word = before.rsplit([' ', '\t', '\n', '"', '\'', ';', '(']).next().unwrap_or_default();
    word.len() == 2 && word.starts_with('-') && word.ends_with(|c: char| c.is_ascii_alphabetic())
}

fn ends_path(after: &str) -> bool {
    !after.starts_with(|c: char| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_paths_only() {
        let pairs = [
            ("/coverage-data", "/host/cov"),
            ("/coverage-data/deep/", "/host/deep"),
            ("/tmp", "/host/tmp"),
            ("/tmp/bed", "/tmp/bed"),
            ("/proc/1", "/proc/4242"),
        ];
        let paths = Paths::new(pairs.map(|(from, to)| (from.to_owned(), to.to_owned())));
        for (text, expected) in [
            ("/coverage-data", "/host/cov"),
            ("/coverage-data/x", "/host/cov/x"),
            ("/coverage-data/deep/x", "/host/deep/x"),
            ("a=/coverage-data:/coverage-data", "a=/host/cov:/host/cov"),
            ("tar -C/coverage-data -cf - .", "tar -C/host/cov -cf - ."),
            ("ls '/coverage-data'; cat /proc/1/environ", "ls '/host/cov'; cat /proc/4242/environ"),
            (
                "/coverage-data2 x/coverage-data /coverage-data.old",
                "/coverage-data2 x/coverage-data /coverage-data.old",
            ),
            ("/proc/12/x $r/coverage-data", "/proc/12/x $r/coverage-data"),
            ("/tmp/x /tmp/bed/pods/tmp", "/host/tmp/x /tmp/bed/pods/tmp"),
            ("no path", "no path"),
            ("/", "/"),
        ] {
            assert_eq!(paths.apply(text), expected);
        }
    }
}
