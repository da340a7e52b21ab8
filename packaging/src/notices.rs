//! The licences of what is linked, each text once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err as fs;

use crate::linked::Crate;

/// How files with licences, and with notices that must stay with them, begin.
const BEGINNINGS: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// What is code in spite of such a name.
const CODE: [&str; 6] = ["rs", "toml", "json", "yml", "yaml", "html"];

/// `NAME=FILE`.
pub(crate) fn named_file(text: &str) -> Result<(String, PathBuf)> {
    let (name, file) = text.split_once('=').context("NAME=FILE is required")?;
    Ok((name.to_owned(), file.into()))
}

/// A list of the crates with their licences, and the texts. `apache` is the text of Apache-2.0, for crates that offer it
/// and have no file with it.
///
/// # Errors
/// When a crate has no text and does not offer Apache-2.0.
pub(crate) fn text(crates: &BTreeSet<Crate>, others: &[(String, PathBuf)], apache: &str) -> Result<String> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut list = String::from("podcov's programs have these crates in them, under the licences named:\n\n");
    for one in crates {
        let user = format!("{} {}", one.name, one.version);
        writeln!(list, "{user}: {}", one.license)?;
        let mut texts = Vec::new();
        collect(&one.folder, &mut texts)?;
        if texts.is_empty() {
            ensure!(
                one.license.contains("Apache-2.0"),
                "{user} ({}) has no file with its licence",
                one.license
            );
            texts.push(apache.to_owned());
        }
        for text in texts {
            let users = users.entry(text.trim().replace("\r\n", "\n")).or_default();
            if !users.contains(&user) {
                users.push(user.clone());
            }
        }
    }
    for (name, file) in others {
        users.entry(fs::read_to_string(file)?.trim().to_owned()).or_default().push(name.clone());
    }
    for (text, users) in users {
        write!(list, "\n{}\n{}\n\n{text}\n", "=".repeat(80), users.join(", "))?;
    }
    Ok(list)
}

/// The texts below a folder.
fn collect(folder: &Path, texts: &mut Vec<String>) -> Result<()> {
    let mut paths = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_code = path.extension().is_some_and(|end| CODE.iter().any(|code| end == *code));
        if path.is_dir() {
            collect(&path, texts)?;
        } else if !is_code && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)) {
            texts.push(String::from_utf8_lossy(&fs::read(&path)?).into_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, license: &str, folder: &Path) -> Crate {
        let (name, license) = (name.to_owned(), license.to_owned());
        Crate { name, version: "1.0.0".to_owned(), license, checksum: None, folder: folder.to_owned() }
    }

    #[test]
    fn each_text_is_there_once_with_all_that_use_it() {
        let dir = tempfile::tempdir().unwrap();
        let crates = ["a", "b", "c"].map(|name| dir.path().join(name));
        for folder in &crates {
            fs::create_dir_all(folder.join("src")).unwrap();
        }
        fs::write(crates[0].join("LICENSE-MIT"), "as you like\n").unwrap();
        fs::write(crates[0].join("src/license.rs"), "code").unwrap();
        fs::write(crates[1].join("src/COPYING"), "as you like\r\n").unwrap();
        let [a, b, c] = [("a", "MIT"), ("b", "MIT"), ("c", "MIT OR Apache-2.0")];
        let all = BTreeSet::from([
            named(a.0, a.1, &crates[0]),
            named(b.0, b.1, &crates[1]),
            named(c.0, c.1, &crates[2]),
        ]);
        let text = text(&all, &[], "Apache").unwrap();
        assert_eq!(text.matches("as you like").count(), 1, "{text}");
        assert!(text.contains("\na 1.0.0, b 1.0.0\n\nas you like\n"), "{text}");
        assert!(text.contains("\nc 1.0.0\n\nApache\n") && !text.contains("code"), "{text}");

        let none = BTreeSet::from([named("d", "MIT", &crates[2])]);
        let refused = super::text(&none, &[], "Apache").unwrap_err();
        assert_eq!(refused.to_string(), "d 1.0.0 (MIT) has no file with its licence");
    }
}
