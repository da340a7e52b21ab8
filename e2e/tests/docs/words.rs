//! No file has a word or phrase that docs/words.md lists as retired.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::top;

use crate::page::page;

/// What is not podcov's own text, or is still to be rewritten.
const EXEMPT: [&str; 5] =
    ["docs/words.md", "LICENSE", "Cargo.lock", "e2e/fuzz/corpus/", "crates/covdata/tests/fixtures/"];

/// The words of a text in lower case, each with its line; `.` stands for whatever ends a phrase. A comment's or a
/// string's next line goes on with the same phrase.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start().trim_start_matches(['/', '!', '#', '*', '"', '\\', ' ']);
        let mut word = String::new();
        for c in line.chars().chain([' ']) {
            match c {
                _ if c.is_alphanumeric() || c == '_' || c == '\'' => word.extend(c.to_lowercase()),
                _ => {
                    if !word.is_empty() {
                        words.push((number + 1, std::mem::take(&mut word)));
                    }
                    if ".,;:()[]{}|?!".contains(c) {
                        words.push((number + 1, ".".to_owned()));
                    }
                }
            }
        }
    }
    words
}

/// Whether `phrase` is at this place among the words.
fn is_at(words: &[(usize, String)], at: usize, phrase: &[&str]) -> bool {
    words.get(at..at + phrase.len()).is_some_and(|part| part.iter().map(|(_, word)| word).eq(phrase))
}

/// The places of retired phrases in a text: the line, and the phrase.
fn retired<'a>(text: &str, phrases: &[(&'a str, Vec<&'a str>)]) -> Vec<(usize, &'a str)> {
    let words = words(text);
    let mut found = Vec::new();
    for (phrase, exceptions) in phrases {
        let parts: Vec<_> = phrase.split(' ').collect();
        for at in (0..words.len()).filter(|at| is_at(&words, *at, &parts)) {
            let is_exception = |exception: &&str| {
                let parts: Vec<_> = exception.split(' ').collect();
                (at.saturating_sub(parts.len() - 1)..=at).any(|start| is_at(&words, start, &parts))
            };
            if !exceptions.iter().any(is_exception) {
                found.push((words[at].0, *phrase));
            }
        }
    }
    found
}

#[test]
fn no_file_has_a_retired_word() -> Result<()> {
    let page = page("docs/words.md")?;
    let rows = page.rows("Retired words")?;
    let mut phrases = Vec::new();
    for row in &rows {
        let exceptions: Vec<_> = row.get(2).map_or(Vec::new(), |cell| cell.split(", ").collect());
        phrases.extend(row[0].split(", ").map(|phrase| (phrase, exceptions.clone())));
    }
    ensure!(phrases.len() > 20, "{phrases:?}");
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(top()).output().context("git")?;
    ensure!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let (mut looked, mut found) = (0, Vec::new());
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        if EXEMPT.iter().any(|exempt| name.starts_with(exempt)) {
            continue;
        }
        // A picture or a counter file is no text; a file may have been removed since.
        let Ok(text) = fs::read_to_string(top().join(name)) else { continue };
        looked += 1;
        found
            .extend(retired(&text, &phrases).iter().map(|(line, phrase)| format!("{name}:{line}: {phrase}")));
    }
    ensure!(looked > 200, "only {looked} files");
    ensure!(found.is_empty(), "docs/words.md retires these:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn a_phrase_is_found_over_lines_and_an_exception_is_not() {
    let phrases = [("as it were", vec![]), ("forsooth", vec!["he forsooth", "forsooth a lot"])];
    let find = |text: &str| retired(text, &phrases);
    assert_eq!(find("/// It is, as it\n/// were."), [(1, "as it were")]);
    assert_eq!(find("\"As it \\\n     were\""), [(1, "as it were")]);
    assert_eq!(find("as it, were as_it_were"), []);
    assert_eq!(find("and forsooth it"), [(1, "forsooth")]);
    assert_eq!(find("he forsooth; forsooth a\n// lot"), []);
}
