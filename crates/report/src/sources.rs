//! Where a profile's source files are on this machine.
//!
//! A profile names a file by its package's import path and base name. A module's folder takes the place of its path:
//! the module of a `go.mod` at or above the folder that one works in, those of its `go.work`, those below the root,
//! what a `replace` names, the `vendor` folder, and the module cache.

use std::collections::BTreeMap;
use std::env;
use std::path::{Component, Path, PathBuf};

use fs_err as fs;

use crate::gomod::{GoMod, Replacement};

/// Finds source files.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// What paths in reports are relative to.
    root: PathBuf,
    /// What the user says: prefixes of names, and what takes their place. The longest first.
    maps: Vec<(String, PathBuf)>,
    /// Folders by the import path that they stand for, the longest path first.
    folders: Vec<(String, PathBuf)>,
    /// `vendor` folders, and the standard library's, in which the import path is the path.
    roots: Vec<PathBuf>,
}

/// Where a source file is, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The file, if it was found.
    pub file: Option<PathBuf>,
    /// What reports call it: its path from the root, with slashes; the profile's name for it where it is not below the
    /// root, or was not found.
    pub shown: String,
}

/// How deep modules are looked for below the root, and in how many folders.
const MAX_DEPTH: usize = 6;
const MAX_FOLDERS: usize = 20_000;

impl Sources {
    /// Looks for modules. `root` is what paths in reports are relative to, `work` the folder that one works in, and
    /// `maps` what the user says: prefixes of names, and what takes their place.
    #[must_use]
    pub fn discover(root: &Path, work: &Path, maps: &[(String, PathBuf)]) -> Self {
        let mut sources = Self { root: clean(root), maps: maps.to_vec(), ..Self::default() };
        sources.maps.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
        let mut modules = Vec::new();
        let off = env::var_os("GOWORK").is_some_and(|value| value == "off");
        if let Some(workspace) = above(work, "go.work").filter(|_| !off) {
            sources.workspace(&workspace, &mut modules);
        }
        modules.extend(above(work, "go.mod"));
        below(root, &mut modules);
        let mut requires = BTreeMap::new();
        for module in modules {
            sources.module(&module, &mut requires);
        }
        if let Some(cache) = module_cache() {
            for (path, version) in requires {
                sources
                    .folders
                    .push((path.clone(), cache.join(format!("{}@{}", escape(&path), escape(&version)))));
            }
        }
        // Those found first stand before others of the same path.
        sources.folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        let go = env::var_os("GOROOT").map_or_else(|| PathBuf::from("/usr/local/go"), PathBuf::from);
        sources.roots.push(go.join("src"));
        sources
    }

    /// Looks for a file by a profile's name for it.
    #[must_use]
    pub fn find(&self, name: &str) -> Found {
        let candidates = self.candidates(name);
        match candidates.iter().find(|path| path.is_file()) {
            Some(file) => {
                Found { shown: self.shown(file).unwrap_or_else(|| name.to_owned()), file: Some(file.clone()) }
            }
            // Where it would be in a module of this root is better than nothing.
            None => {
                let place = self
                    .folders
                    .iter()
                    .find_map(|(path, folder)| self.shown(&folder.join(inside(name, path)?)));
                Found { file: None, shown: place.unwrap_or_else(|| name.to_owned()) }
            }
        }
    }

    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for (from, to) in &self.maps {
            if let Some(rest) = inside(name, from) {
                out.push(to.join(rest));
            }
        }
        if Path::new(name).is_absolute() {
            out.push(PathBuf::from(name));
            return out;
        }
        for (path, folder) in &self.folders {
            if let Some(rest) = inside(name, path) {
                out.push(folder.join(rest));
            }
        }
        out.extend(self.roots.iter().map(|root| root.join(name)));
        // Built from files with -trimpath, or named relative to where the tests ran.
        out.push(self.root.join(name.strip_prefix("command-line-arguments/").unwrap_or(name)));
        out
    }

    /// A path from the root, with slashes; `None` where it is not below the root.
    fn shown(&self, path: &Path) -> Option<String> {
        let parts =
            path.strip_prefix(&self.root).ok()?.components().filter(|part| *part != Component::CurDir);
        Some(parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/"))
    }

    fn workspace(&mut self, file: &Path, modules: &mut Vec<PathBuf>) {
        let (Ok(text), Some(folder)) = (fs::read_to_string(file), file.parent()) else { return };
        let parsed = GoMod::parse(&text);
        modules.extend(parsed.uses.iter().map(|used| clean(&folder.join(used)).join("go.mod")));
        self.replaces(&parsed, folder, &mut BTreeMap::new());
        self.roots.push(folder.join("vendor"));
    }

    fn module(&mut self, file: &Path, requires: &mut BTreeMap<String, String>) {
        let (Ok(text), Some(folder)) = (fs::read_to_string(file), file.parent()) else { return };
        let parsed = GoMod::parse(&text);
        if let Some(module) = &parsed.module {
            self.folders.push((module.clone(), folder.to_path_buf()));
        }
        for (path, version) in &parsed.requires {
            requires.entry(path.clone()).or_insert_with(|| version.clone());
        }
        self.replaces(&parsed, folder, requires);
        self.roots.push(folder.join("vendor"));
    }

    fn replaces(&mut self, parsed: &GoMod, folder: &Path, requires: &mut BTreeMap<String, String>) {
        for (path, replacement) in &parsed.replaces {
            match replacement {
                Replacement::Folder(to) => self.folders.push((path.clone(), clean(&folder.join(to)))),
                Replacement::Module(module, version) => {
                    requires.remove(path);
                    if let Some(cache) = module_cache() {
                        let to = cache.join(format!("{}@{}", escape(module), escape(version)));
                        self.folders.push((path.clone(), to));
                    }
                }
            }
        }
    }
}

/// The rest of a name that lies in a folder.
fn inside<'n>(name: &'n str, folder: &str) -> Option<&'n str> {
    let rest = name.strip_prefix(folder.strip_suffix('/').unwrap_or(folder))?;
    rest.strip_prefix('/').filter(|rest| !rest.is_empty())
}

/// The file of this name in a folder or the nearest one above it.
fn above(folder: &Path, name: &str) -> Option<PathBuf> {
    folder.ancestors().map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The `go.mod` files in a folder and below it, those nearer first; not in folders that the `go` command ignores.
fn below(root: &Path, modules: &mut Vec<PathBuf>) {
    let mut level = vec![root.to_path_buf()];
    let mut seen = 0;
    for _ in 0..MAX_DEPTH {
        let mut next = Vec::new();
        for folder in level {
            seen += 1;
            if seen > MAX_FOLDERS {
                return;
            }
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.filter_map(Result::ok) {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                if name == "go.mod" {
                    modules.push(entry.path());
                } else if !name.starts_with(['.', '_'])
                    && !matches!(&*name, "vendor" | "testdata" | "node_modules" | "target")
                    && entry.file_type().is_ok_and(|kind| kind.is_dir())
                {
                    next.push(entry.path());
                }
            }
        }
        next.sort();
        level = next;
    }
}

/// Where the `go` command keeps modules.
fn module_cache() -> Option<PathBuf> {
    let given = env::var_os("GOMODCACHE").map(PathBuf::from);
    let path = env::var_os("GOPATH").and_then(|paths| env::split_paths(&paths).next());
    let home = || env::home_dir().map(|home| home.join("go"));
    given.or_else(|| Some(path.or_else(home)?.join("pkg/mod")))
}

/// A module's path or version as a folder's name: an exclamation mark stands for a capital letter.
fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| [c.is_ascii_uppercase().then_some('!'), Some(c.to_ascii_lowercase())])
        .flatten()
        .collect()
}

/// A path without `.` and `..` in it, as far as they can be taken out.
fn clean(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut out, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.file_name().is_some() => drop(out.pop()),
            part => out.push(part),
        }
        out
    })
}
