//! A change of a file: as a patch, or made.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use fs_err as fs;
use tempfile::NamedTempFile;

/// How many lines around a change a patch shows.
const CONTEXT: usize = 3;

/// A change of a file's text.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) file: PathBuf,
    pub(crate) before: String,
    pub(crate) after: String,
}

impl Change {
    /// The change as a unified diff of one hunk.
    pub(crate) fn diff(&self) -> String {
        let (before, after): (Vec<&str>, Vec<&str>) =
            (self.before.split_inclusive('\n').collect(), self.after.split_inclusive('\n').collect());
        let same =
            |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
        let start = same(&mut before.iter().zip(&after));
        let most = before.len().min(after.len()) - start;
        let end = same(&mut before.iter().rev().zip(after.iter().rev())).min(most);
        let first = start.saturating_sub(CONTEXT);
        let (last_before, last_after) = (
            (before.len() - end + CONTEXT).min(before.len()),
            (after.len() - end + CONTEXT).min(after.len()),
        );
        let file = self.file.display();
        let mut diff = format!("--- a/{file}\n+++ b/{file}\n");
        let _ = writeln!(
            diff,
            "@@ -{},{} +{},{} @@",
            first + 1,
            last_before - first,
            first + 1,
            last_after - first
        );
        let parts = [
            (' ', &before[first..start]),
            ('-', &before[start..before.len() - end]),
            ('+', &after[start..after.len() - end]),
            (' ', &before[before.len() - end..last_before]),
        ];
        for (mark, lines) in parts {
            for line in lines {
                diff.push(mark);
                diff.push_str(line);
                if !line.ends_with('\n') {
                    diff.push_str("\n\\ No newline at end of file\n");
                }
            }
        }
        diff
    }

    /// Replaces the file by one with the new text, in one step.
    pub(crate) fn write(&self) -> io::Result<()> {
        let folder = self.file.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        let mut draft = NamedTempFile::new_in(folder)?;
        draft.write_all(self.after.as_bytes())?;
        let permissions = fs::metadata(&self.file)?.permissions();
        fs::set_permissions(draft.path(), permissions)?;
        draft.persist(&self.file).map_err(|error| error.error)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_shows_what_is_around() {
        let diff = |before: &str, after: &str| {
            Change { file: "f".into(), before: before.to_owned(), after: after.to_owned() }.diff()
        };
        assert_eq!(
            diff("1\n2\n3\n4\n5\n", "1\n2\n3\n4\nx\n5\n"),
            "--- a/f\n+++ b/f\n@@ -2,4 +2,5 @@\n 2\n 3\n 4\n+x\n 5\n"
        );
        assert_eq!(diff("a\nb\nc\n", "a\nB\nc\n"), "--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        assert_eq!(
            diff("a", "a\nb\n"),
            "--- a/f\n+++ b/f\n@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n"
        );
    }
}
