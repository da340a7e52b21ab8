//! The lines changed since a git revision, and whether they ran.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;

use crate::golang;
use crate::lines::line_counts;
use crate::sources::{Found, read_text};
use crate::{Filter, Report};

/// For each Go file by its path from the root, the lines that are new or changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    files: BTreeMap<String, Vec<RangeInclusive<u32>>>,
}

/// The changed lines of one file that can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path from the root.
    pub path: String,
    /// How many of them ran.
    pub covered: usize,
    /// How many there are.
    pub lines: usize,
    /// Those that did not run, in order, lines that follow each other as one.
    pub uncovered: Vec<RangeInclusive<u32>>,
}

impl ChangedFile {
    /// The message for people about some of the uncovered lines.
    #[must_use]
    pub fn message(&self, lines: &RangeInclusive<u32>) -> &'static str {
        if lines.start() == lines.end() {
            "No test ran this changed line"
        } else {
            "No test ran these changed lines"
        }
    }
}

/// Why the changed lines cannot be determined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitError {
    /// git cannot be run.
    #[error("git cannot be run: {0}")]
    Run(String),
    /// git failed.
    #[error("git {command}: {message}")]
    Failed {
        /// Its arguments.
        command: String,
        /// Its message.
        message: String,
    },
}

/// The path of a folder from its repository's top folder, with a slash at its end; empty for that folder.
///
/// # Errors
///
/// [`GitError`]
pub fn prefix(folder: &Path) -> Result<String, GitError> {
    Ok(git(folder, &["rev-parse", "--show-prefix"])?.trim_end_matches('\n').to_owned())
}

impl Changes {
    /// The differences between the working files and the last common ancestor of `revision` and HEAD. Untracked files are
    /// included.
    ///
    /// # Errors
    ///
    /// [`GitError`]
    pub fn since(root: &Path, revision: &str) -> Result<Self, GitError> {
        let base = git(root, &["merge-base", revision, "HEAD"])?;
        let text = git(
            root,
            &[
                "-c",
                "core.quotePath=off",
                "diff",
                "--unified=0",
                "--inter-hunk-context=0",
                "--text",
                "--find-renames",
                "--no-color",
                "--no-ext-diff",
                "--no-textconv",
                "--src-prefix=a/",
                "--dst-prefix=b/",
                "--relative",
                base.trim(),
                "--",
                "*.go",
            ],
        )?;
        let mut changes = Self::parse(&text);
        let new = git(root, &["ls-files", "-z", "--others", "--exclude-standard", "--", "*.go"])?;
        for path in new.split('\0').filter(|path| !path.is_empty()) {
            changes.files.entry(path.to_owned()).or_default().push(1..=u32::MAX);
        }
        Ok(changes)
    }

    /// Whether a file has changed. Its path is relative to the root.
    #[must_use]
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }

    /// Reads `git diff --unified=0`.
    #[must_use]
    pub fn parse(diff: &str) -> Self {
        let mut files = BTreeMap::<String, Vec<RangeInclusive<u32>>>::new();
        let mut file = None;
        // The number of lines of the hunk that follow. Their text may look like a header.
        let (mut old_left, mut new_left) = (0, 0);
        for line in diff.split('\n') {
            if old_left > 0 && line.starts_with('-') {
                old_left -= 1;
            } else if new_left > 0 && line.starts_with('+') {
                new_left -= 1;
            } else if let Some(path) = line.strip_prefix("+++ ") {
                let path = unquoted(path.trim_end_matches('\t'));
                file = path.strip_prefix("b/").map(str::to_owned);
            } else if let Some(((_, old), (start, new))) = line.strip_prefix("@@ -").and_then(hunk) {
                (old_left, new_left) = (old, new);
                if let (Some(file), Some(last)) = (&file, new.checked_sub(1)) {
                    files.entry(file.clone()).or_default().push(start..=start.saturating_add(last));
                }
            }
        }
        Self { files }
    }

    /// The changed files with functions that are not in the report, without test files: the program does not contain them,
    /// or was built without coverage of them. Paths are relative to `root`.
    #[must_use]
    pub fn unknown(&self, report: &Report<'_>, root: &Path, filter: &Filter) -> Vec<&str> {
        let known: HashSet<&str> = report.files().map(|file| file.shown).collect();
        let unknown = self.files.keys().filter(|path| {
            let folders = path.split('/');
            let is_product = !path.ends_with("_test.go")
                && !folders
                    .into_iter()
                    .any(|part| part == "testdata" || part == "vendor" || part.starts_with(['.', '_']));
            let found = Found { file: Some(root.join(path)), shown: (*path).clone(), refused: false };
            let has_functions = || {
                let source = read_text(&root.join(path)).unwrap_or_default();
                golang::functions(&source).iter().any(|function| !function.literal)
            };
            is_product
                && !known.contains(path.as_str())
                && !filter.leaves_out(path, &found)
                && has_functions()
        });
        unknown.map(String::as_str).collect()
    }

    /// The changed lines of each file that can run. A changed file that is not in the report has none: it is not covered,
    /// or has no code.
    #[must_use]
    pub fn coverage(&self, report: &Report<'_>) -> Vec<ChangedFile> {
        let files = report.files().filter_map(|file| {
            let changed = self.files.get(file.shown)?;
            let source = file.read().ok();
            let counts = line_counts(file.profile, source.as_deref());
            let lines: Vec<(u32, u32)> = counts
                .into_iter()
                .filter(|(line, _)| changed.iter().any(|changed| changed.contains(line)))
                .collect();
            let covered = lines.iter().filter(|(_, count)| *count > 0).count();
            let mut uncovered = Vec::<RangeInclusive<u32>>::new();
            for &(line, _) in lines.iter().filter(|(_, count)| *count == 0) {
                match uncovered.last_mut() {
                    Some(last) if last.end() + 1 == line => *last = *last.start()..=line,
                    _ => uncovered.push(line..=line),
                }
            }
            let path = file.shown.to_owned();
            (!lines.is_empty()).then_some(ChangedFile { path, covered, lines: lines.len(), uncovered })
        });
        files.collect()
    }
}

/// The first line and the number of lines before and after: `3,2 +7 @@ func x`.
fn hunk(text: &str) -> Option<((u32, u32), (u32, u32))> {
    let (old, rest) = text.split_once(" +")?;
    let (new, _) = rest.split_once(" @@")?;
    let range = |text: &str| {
        let (start, count) = text.split_once(',').unwrap_or((text, "1"));
        Some((start.parse().ok()?, count.parse().ok()?))
    };
    Some((range(old)?, range(new)?))
}

/// A path as git has it where it holds a quote, a backslash or a control character: in quotes, escaped as in C. git:
/// `quote_c_style` in `quote.c`.
fn unquoted(path: &str) -> Cow<'_, str> {
    let Some(quoted) = path.strip_prefix('"').and_then(|path| path.strip_suffix('"')) else {
        return Cow::Borrowed(path);
    };
    let (mut bytes, mut rest) = (Vec::new(), quoted.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        let octal = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        let (byte, taken) = match (byte, octal, after.first()) {
            (b'\\', Some(byte), _) => (byte, 3),
            (b'\\', None, Some(&escaped)) => match b"abtnvfr".iter().position(|&letter| letter == escaped) {
                Some(number) => (7 + number as u8, 1),
                None => (escaped, 1),
            },
            _ => (byte, 0),
        };
        bytes.push(byte);
        rest = &after[taken..];
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn git(folder: &Path, args: &[&str]) -> Result<String, GitError> {
    let mut command = Command::new("git");
    // The user's settings must not change the format of the output.
    command.env_remove("GIT_DIFF_OPTS").env_remove("GIT_EXTERNAL_DIFF");
    let output =
        command.arg("-C").arg(folder).args(args).output().map_err(|e| GitError::Run(e.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let message = if message.is_empty() { format!("ended with {}", output.status) } else { message };
    Err(GitError::Failed { command: args.join(" "), message })
}

/// The top folder of the repository that a folder is in.
#[must_use]
pub fn repository(folder: &Path) -> Option<std::path::PathBuf> {
    folder.ancestors().find(|folder| folder.join(".git").exists()).map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hunks() {
        let diff = "diff --git a/x/a.go b/x/a.go\nindex 1..2 100644\n--- a/x/a.go\n+++ b/x/a.go\n\
                    @@ -3 +3,2 @@ func f() {\n-\told\n+\tnew\n+++ b/not/a/file.go\n@@ -9,2 +10,0 @@\n--- a/gone\n-gone\n\
                    @@ -20,0 +20 @@\n+x\ndiff --git a/b.go b/b.go\ndeleted file mode 100644\n--- a/b.go\n+++ /dev/null\n\
                    @@ -1,2 +0,0 @@\n-package b\n-\ndiff --git a/my file.go b/my file.go\n--- /dev/null\n+++ b/my file.go\t\n\
                    @@ -0,0 +1,2 @@\n+package b\n+\n";
        let changes = Changes::parse(diff);
        let files: Vec<_> =
            changes.files.iter().map(|(file, lines)| (file.as_str(), lines.as_slice())).collect();
        assert_eq!(files, [("my file.go", [1..=2].as_slice()), ("x/a.go", &[3..=4, 20..=20])]);
    }

    #[test]
    fn quoted_paths() {
        for (path, plain) in [
            ("b/a b.go", "b/a b.go"),
            (r#""b/a\"b\\c\td.go""#, "b/a\"b\\c\td.go"),
            (r#""b/\303\266\001.go""#, "b/ö\u{1}.go"),
            (r#""\"#, r#""\"#),
            (r#""\1""#, "1"),
            ("\"", "\""),
            ("", ""),
        ] {
            assert_eq!(unquoted(path), plain);
        }
    }

    #[test]
    fn anything_is_read() {
        for text in
            ["", "@@", "@@ -1 +x @@", "+++ ", "@@ -1 +4294967295,9 @@\n", "+++ b/a\n@@ -1 +4294967295,9 @@\n"]
        {
            let _ = Changes::parse(text);
        }
    }
}
