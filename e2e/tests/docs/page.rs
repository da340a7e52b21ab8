//! A page of Markdown, as far as the tests need it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::top;

/// A page.
pub(crate) struct Page {
    /// Its path from the top of the repository.
    pub(crate) name: String,
    /// Its fenced blocks: the language, and the text.
    pub(crate) blocks: Vec<(String, String)>,
    /// All other lines.
    pub(crate) prose: Vec<String>,
}

/// README.md, docs/ and the READMEs of the examples.
pub(crate) fn pages() -> Result<Vec<Page>> {
    let mut paths = vec![PathBuf::from("README.md")];
    for entry in fs::read_dir(top().join("docs"))? {
        paths.push(Path::new("docs").join(entry?.file_name()));
    }
    for entry in fs::read_dir(top().join("examples"))? {
        paths.push(Path::new("examples").join(entry?.file_name()).join("README.md"));
    }
    paths.retain(|path| path.extension().is_some_and(|end| end == "md") && top().join(path).is_file());
    paths.sort();
    ensure!(paths.len() > 10, "only {paths:?}");
    paths.into_iter().map(|path| Page::read(&path)).collect()
}

/// The page of this path.
pub(crate) fn page(path: &str) -> Result<Page> {
    Page::read(Path::new(path))
}

impl Page {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(top().join(path))?;
        let name = path.display().to_string();
        let (mut blocks, mut prose) = (Vec::new(), Vec::new());
        let mut open: Option<(String, String)> = None;
        for line in text.lines() {
            match (&mut open, line.strip_prefix("```")) {
                (None, Some(language)) => open = Some((language.to_owned(), String::new())),
                (None, None) => prose.push(line.to_owned()),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (Some((_, block)), None) => {
                    block.push_str(line);
                    block.push('\n');
                }
            }
        }
        ensure!(open.is_none(), "{name}: a block has no end");
        Ok(Self { name, blocks, prose })
    }

    /// The code in its prose: what is between backticks.
    pub(crate) fn code(&self) -> Vec<&str> {
        self.prose.iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
    }

    /// The targets of its links and pictures.
    pub(crate) fn links(&self) -> Vec<&str> {
        let ends = self.prose.iter().flat_map(|line| line.split("](").skip(1));
        ends.filter_map(|rest| rest.split(')').next()).collect()
    }

    /// The anchors of its headings, as GitHub makes them.
    pub(crate) fn anchors(&self) -> Vec<String> {
        let headings = self.prose.iter().filter(|line| line.starts_with('#'));
        let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
        let anchor = |text: &str| text.to_lowercase().chars().filter(kept).collect::<String>();
        headings.map(|line| anchor(line.trim_start_matches('#').trim()).replace(' ', "-")).collect()
    }

    /// The cells of its tables' rows, without heads and rules, under the heading of this text.
    pub(crate) fn rows(&self, heading: &str) -> Result<Vec<Vec<&str>>> {
        let from = self.prose.iter().position(|line| line.trim_start_matches('#').trim() == heading);
        let lines = &self.prose[from.with_context(|| format!("{} has no {heading}", self.name))? + 1..];
        let lines = lines.iter().take_while(|line| !line.starts_with("## "));
        let rows = lines.filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
        let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").map(str::trim).collect()).collect();
        ensure!(rows.len() > 1, "{}: no table below {heading}", self.name);
        Ok(rows[1..].to_vec())
    }

    /// What one would type: the lines of shell blocks, and what is between backticks.
    pub(crate) fn commands(&self) -> Vec<Vec<String>> {
        let blocks = self.blocks.iter().filter(|(language, _)| language == "sh");
        let lines = blocks.flat_map(|(_, block)| block.lines());
        lines.chain(self.code()).flat_map(split_commands).collect()
    }
}

/// The commands of a shell's line, each as its words.
fn split_commands(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words, mut word) = (Vec::new(), Vec::new(), String::new());
    let mut quote = None;
    for c in line.chars().chain([';']) {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (Some(_), _) => word.push(c),
            (None, '#') if word.is_empty() => {
                commands.push(std::mem::take(&mut words));
                break;
            }
            (None, ';' | '|' | '&') => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
                commands.push(std::mem::take(&mut words));
            }
            (None, _) if c.is_whitespace() => {
                words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty()));
            }
            (None, _) => word.push(c),
        }
    }
    commands.retain(|command| !command.is_empty());
    commands
}
