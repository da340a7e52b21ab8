//! A YAML document as lines: where its mappings and lists are, by their indentation.
//!
//! Only what is written in block style is found, as renderers and people write manifests. What a line within a value may look
//! like is not understood, so what edits by this compares the result with what it should be.

use std::ops::Range;

use crate::documents::is_marker;

/// The lines of a document, with their ends.
pub(crate) struct Lines<'a>(Vec<&'a str>);

/// A mapping whose keys are in one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) lines: Range<usize>,
    pub(crate) column: usize,
}

/// A key of a mapping, with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// The line of the key.
    pub(crate) line: usize,
    /// The column of the key.
    column: usize,
    /// What comes after the key in its line, without a comment.
    pub(crate) value: &'a str,
    /// The line after the value.
    end: usize,
}

/// What is not found as it has to be.
pub(crate) const NO_BLOCK: &str = "it is not in block style";

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

fn is_content(line: &str) -> bool {
    let text = line.trim_start();
    !text.is_empty() && !text.starts_with('#')
}

/// Whether an item of a list begins here.
fn is_item(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\r', '\n']))
}

impl<'a> Lines<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self(text.split_inclusive('\n').collect())
    }

    pub(crate) fn all(&self) -> &[&'a str] {
        &self.0
    }

    /// The document itself.
    pub(crate) fn top(&self) -> Option<Mapping> {
        let is_first = |line: &&str| is_content(line) && !is_marker(line) && !line.starts_with('%');
        let first = self.0.iter().position(is_first)?;
        let end = self.0.iter().position(|line| line.trim_end() == "...").unwrap_or(self.0.len());
        (first < end).then(|| Mapping { lines: first..end, column: indentation(self.0[first]) })
    }

    /// The keys of a mapping, with their lines.
    fn keys(&self, mapping: &Mapping) -> impl Iterator<Item = (usize, &'a str, &'a str)> {
        let first = mapping.lines.start;
        let column = mapping.column;
        mapping.lines.clone().filter_map(move |number| {
            let line = self.0[number];
            let is_key = number == first || is_content(line) && indentation(line) == column;
            let text = line.get(column..).filter(|text| is_key && !is_item(text))?;
            let (key, value) = text.split_once(':')?;
            value.starts_with([' ', '\r', '\n']).then_some(())?;
            Some((number, key.trim_matches(['"', '\'']), value))
        })
    }

    pub(crate) fn entry(&self, mapping: &Mapping, key: &str) -> Option<Entry<'a>> {
        let (line, _, value) = self.keys(mapping).find(|(_, name, _)| *name == key)?;
        let end = self.keys(mapping).map(|(next, ..)| next).find(|next| *next > line);
        let value = value.trim_start();
        let value = if value.starts_with('#') { "" } else { value.split(" #").next().unwrap_or_default() };
        let end = end.unwrap_or(mapping.lines.end);
        Some(Entry { line, column: mapping.column, value: value.trim(), end })
    }

    /// The line after the first key whose value is in its line.
    pub(crate) fn after_short(&self, mapping: &Mapping) -> Option<usize> {
        let starts: Vec<usize> = self.keys(mapping).map(|(line, ..)| line).collect();
        let ends = starts.iter().skip(1).copied().chain([mapping.lines.end]);
        let mut keys = starts.iter().zip(ends);
        let is_short =
            |(line, end): &(&usize, usize)| !(*line + 1..*end).any(|next| is_content(self.0[next]));
        keys.find(is_short).map(|(line, _)| line + 1)
    }

    /// Whether the first key has a line of its own, and no dash of a list's item before it.
    pub(crate) fn begins_a_line(&self, mapping: &Mapping) -> bool {
        indentation(self.0[mapping.lines.start]) == mapping.column
    }

    /// The first line of a value that is in the lines after its key.
    fn first_of(&self, entry: &Entry<'_>) -> Option<usize> {
        let is_here = entry.value.is_empty() || entry.value.starts_with('&') && !entry.value.contains(' ');
        (entry.line + 1..entry.end).find(|number| is_content(self.0[*number])).filter(|_| is_here)
    }

    /// The mapping that is a key's value.
    pub(crate) fn mapping(&self, entry: &Entry<'_>) -> Result<Mapping, &'static str> {
        let first = self.first_of(entry).ok_or(NO_BLOCK)?;
        let line = self.0[first];
        let column = indentation(line);
        if column <= entry.column || is_item(line.trim_start()) {
            return Err(NO_BLOCK);
        }
        Ok(Mapping { lines: first..entry.end, column })
    }

    /// The line and the column of the first item of the list that is a key's value.
    pub(crate) fn first_item(&self, entry: &Entry<'_>) -> Option<(usize, usize)> {
        let first = self.first_of(entry)?;
        let line = self.0[first];
        is_item(line.trim_start()).then(|| (first, indentation(line)))
    }

    /// The mappings that are the items of the list that is a key's value.
    pub(crate) fn items(&self, entry: &Entry<'_>) -> Result<Vec<Mapping>, &'static str> {
        let (first, at) = self.first_item(entry).ok_or(NO_BLOCK)?;
        let begins = |number: &usize| {
            let line = self.0[*number];
            indentation(line) == at && is_item(line.trim_start())
        };
        let starts: Vec<usize> = (first..entry.end).filter(begins).collect();
        let ends = starts.iter().skip(1).copied().chain([entry.end]);
        starts
            .iter()
            .zip(ends)
            .map(|(start, end)| {
                let after = &self.0[*start][at + 1..];
                if is_content(after) {
                    let column = at + 1 + indentation(after);
                    let begins_otherwise =
                        after.trim_start().starts_with(['{', '[', '*', '&', '!', '|', '>']);
                    return if begins_otherwise {
                        Err(NO_BLOCK)
                    } else {
                        Ok(Mapping { lines: *start..end, column })
                    };
                }
                let first = (start + 1..end).find(|number| is_content(self.0[*number])).ok_or(NO_BLOCK)?;
                Ok(Mapping { lines: first..end, column: indentation(self.0[first]) })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "--- # Source: a\n# A comment\nkind: X\nspec: # why\n  a: |\n    b: 1\n    # no comment\n\n  list:\n  - name: one\n    \
                        x: 1\n  # About the next\n  -\n    name: two\n  - {name: three}\n  last: [] # none\nother: 'a: b'\n";

    #[test]
    fn mappings_and_lists_are_found_by_indentation() {
        let lines = Lines::of(TEXT);
        let top = lines.top().unwrap();
        assert_eq!((top.lines.clone(), top.column), (2..17, 0));
        let spec = lines.mapping(&lines.entry(&top, "spec").unwrap()).unwrap();
        assert_eq!((spec.lines.clone(), spec.column), (4..16, 2));
        assert_eq!(lines.entry(&spec, "b"), None);
        let list = lines.entry(&spec, "list").unwrap();
        assert_eq!((list.line, list.value, list.end), (8, "", 15));
        assert_eq!(lines.items(&list), Err(NO_BLOCK));
        let last = lines.entry(&spec, "last").unwrap();
        assert_eq!((last.value, lines.first_item(&last)), ("[]", None));
        assert_eq!(lines.entry(&top, "other").unwrap().value, "'a: b'");

        let without = TEXT.replace("  - {name: three}\n", "");
        let lines = Lines::of(&without);
        let spec = lines.mapping(&lines.entry(&lines.top().unwrap(), "spec").unwrap()).unwrap();
        let items = lines.items(&lines.entry(&spec, "list").unwrap()).unwrap();
        assert_eq!(items, [Mapping { lines: 9..12, column: 4 }, Mapping { lines: 13..14, column: 4 }]);
        assert_eq!(lines.entry(&items[0], "x").unwrap().line, 10);
        assert_eq!((lines.after_short(&items[0]), lines.after_short(&items[1])), (Some(10), Some(14)));
        assert_eq!(lines.after_short(&spec), Some(15));
    }
}
