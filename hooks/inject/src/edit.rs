//! Changes of a document: as lines that are added to its text, and of its value.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::block::{Lines, Mapping, NO_BLOCK};

/// A step from a value to one in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Key(&'static str),
    Item(usize),
}

/// Something that a mapping gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addition {
    /// The steps to the mapping.
    pub(crate) path: Vec<Step>,
    /// The key.
    pub(crate) key: &'static str,
    /// What the key gets.
    pub(crate) what: What,
}

/// What a key gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A value.
    Value(Yaml),
    /// One more item in its list: the first one, for a list's end is harder to tell.
    Item(Yaml),
}

/// YAML of one line or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Yaml {
    pub(crate) text: String,
    pub(crate) value: Value,
}

impl Yaml {
    /// Of a text that is YAML.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let value = serde_saphyr::from_str(&text).expect("the text is YAML of podcov-inject's");
        Self { text, value }
    }
}

/// Makes the changes of a document's value.
pub(crate) fn change_value(document: &mut Value, additions: &[Addition]) {
    for Addition { path, key, what } in additions {
        let mapping = path.iter().fold(&mut *document, |at, step| match step {
            Step::Key(key) => &mut at[*key],
            Step::Item(number) => &mut at[*number],
        });
        match what {
            What::Value(yaml) => mapping[*key] = yaml.value.clone(),
            What::Item(yaml) => match mapping[*key].as_array_mut() {
                Some(list) => list.insert(0, yaml.value.clone()),
                None => mapping[*key] = Value::Array(vec![yaml.value.clone()]),
            },
        }
    }
}

/// The text of a document with the changes.
///
/// # Errors
/// Why it cannot be edited.
pub(crate) fn change_text(text: &str, document: &Value, additions: &[Addition]) -> Result<String, String> {
    let mut edits = Edits { lines: Lines::of(text), before: BTreeMap::new(), instead: BTreeMap::new() };
    for addition in additions {
        edits.add(addition)?;
    }
    let edited = edits.finish();
    // What was not understood shows: the rest is as it was.
    let mut expected = document.clone();
    change_value(&mut expected, additions);
    match serde_saphyr::from_str::<Value>(&edited) {
        Ok(value) if value == expected => Ok(edited),
        _ => Err(NO_BLOCK.to_owned()),
    }
}

struct Edits<'a> {
    lines: Lines<'a>,
    /// What comes before a line.
    before: BTreeMap<usize, String>,
    /// What comes in its place.
    instead: BTreeMap<usize, String>,
}

impl Edits<'_> {
    fn add(&mut self, addition: &Addition) -> Result<(), String> {
        let Addition { path, key, what } = addition;
        let mapping = self.find(path)?;
        let column = mapping.column;
        let entry = self.lines.entry(&mapping, key);
        let (What::Value(yaml) | What::Item(yaml)) = what;
        let Some(entry) = entry else {
            let text = match what {
                What::Value(yaml) => format!("{key}: {}\n", yaml.text),
                What::Item(yaml) => format!("{key}:\n{}", item(yaml, self.offset(&mapping))),
            };
            // A list's item begins in the line of its first key.
            let before = self.lines.begins_a_line(&mapping).then_some(mapping.lines.start);
            let at = self.lines.after_short(&mapping).or(before).ok_or(NO_BLOCK)?;
            self.insert(at, column, &text);
            return Ok(());
        };
        if !matches!(what, What::Item(_)) {
            return Err(NO_BLOCK.to_owned());
        }
        let line = self.lines.all()[entry.line];
        match (entry.value, self.lines.first_item(&entry)) {
            (_, Some((first, at))) => self.insert(first, at, &item(yaml, 0)),
            ("" | "null" | "~" | "[]", None) => {
                let head = line.split_once(':').map_or(line, |(head, _)| head);
                self.instead.insert(entry.line, format!("{head}:\n"));
                self.insert(entry.line + 1, column, &item(yaml, 0));
            }
            (list, None) if list.starts_with('[') => {
                let (head, rest) = line.split_once('[').ok_or(NO_BLOCK)?;
                let comma = if rest.trim_start().starts_with(']') { "" } else { ", " };
                self.instead.insert(entry.line, format!("{head}[{}{comma}{rest}", yaml.value));
            }
            _ => return Err(NO_BLOCK.to_owned()),
        }
        Ok(())
    }

    fn find(&self, path: &[Step]) -> Result<Mapping, String> {
        let mut mapping = self.lines.top().ok_or(NO_BLOCK)?;
        let mut steps = path.iter().peekable();
        while let Some(Step::Key(key)) = steps.next() {
            let entry = self.lines.entry(&mapping, key).ok_or(NO_BLOCK)?;
            mapping = match steps.peek() {
                Some(Step::Item(number)) => {
                    steps.next();
                    self.lines.items(&entry)?.into_iter().nth(*number).ok_or(NO_BLOCK)?
                }
                _ => self.lines.mapping(&entry)?,
            };
        }
        Ok(mapping)
    }

    /// How much further to the right than its key a list is: as the mapping's own lists are.
    fn offset(&self, mapping: &Mapping) -> usize {
        let lists = ["containers", "env", "ports", "args", "command", "volumeMounts", "volumes"];
        let entries = lists.iter().filter_map(|key| self.lines.entry(mapping, key));
        let columns = entries.filter_map(|entry| self.lines.first_item(&entry).map(|(_, at)| at));
        columns.map(|at| at - mapping.column).next().unwrap_or(0)
    }

    /// Adds lines before another one, all in or right of a column.
    fn insert(&mut self, at: usize, column: usize, text: &str) {
        let space = " ".repeat(column);
        let before = self.before.entry(at).or_default();
        text.lines().for_each(|line| before.push_str(&format!("{space}{line}\n")));
    }

    fn finish(&self) -> String {
        let lines = self.lines.all();
        let has_returns = lines.first().is_some_and(|line| line.ends_with("\r\n"));
        let own = |text: &str| if has_returns { text.replace('\n', "\r\n") } else { text.to_owned() };
        let mut edited = String::new();
        for (number, line) in lines.iter().map(|line| Some(*line)).chain([None]).enumerate() {
            if let Some(before) = self.before.get(&number) {
                if !edited.is_empty() && !edited.ends_with('\n') {
                    edited.push_str(&own("\n"));
                }
                edited.push_str(&own(before));
            }
            match (self.instead.get(&number), line) {
                // A line that was changed within keeps its end.
                (Some(instead), _) if instead.ends_with("\r\n") => edited.push_str(instead),
                (Some(instead), _) => edited.push_str(&own(instead)),
                (None, Some(line)) => edited.push_str(line),
                (None, None) => {}
            }
        }
        edited
    }
}

/// A list's item, whose dash is in this column.
fn item(yaml: &Yaml, column: usize) -> String {
    let space = " ".repeat(column);
    let mut text = String::new();
    for (number, line) in yaml.text.lines().enumerate() {
        text.push_str(&format!("{space}{}{line}\n", if number == 0 { "- " } else { "  " }));
    }
    text
}
