//! Which module of a crate uses which other, as their files say.
//!
//! Read are the declarations of modules, `use`, and paths that begin with `crate`, `self`, `super` or a module's name. A
//! name that a module passes on (`pub use`) counts as the name's own module. A parent that has child modules does not
//! use them by that. Not seen are what macros make and methods that a module adds to another's type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::tokens::{Token, read};

/// A crate's modules by their paths, as in `crate::forward::dial`.
#[derive(Default)]
pub(crate) struct Modules(BTreeMap<String, Module>);

#[derive(Default)]
struct Module {
    children: BTreeSet<String>,
    /// What `use` brings in: the name, and the path that it stands for.
    imports: BTreeMap<String, Vec<String>>,
    /// All paths that the module's code has.
    paths: BTreeSet<Vec<String>>,
}

impl Modules {
    /// Reads a crate, from its `lib.rs` or `main.rs`.
    pub(crate) fn of_crate(root: &Path) -> Self {
        let mut modules = Self::default();
        modules.add("crate", root, folder_of(root));
        modules
    }

    /// Adds a module with all that are in it. `folder` is where its child modules are.
    fn add(&mut self, path: &str, file: &Path, folder: &Path) {
        let tokens = read(file);
        let mut children = Vec::new();
        let mut uses = Vec::new();
        let mut names = BTreeSet::new();
        let module = self.0.entry(path.to_owned()).or_default();
        let mut i = 0;
        while i < tokens.len() {
            let rest = &tokens[i..];
            match rest {
                [word, Token::Name(name), Token::Mark(end), ..] if word.is("mod") => {
                    assert_eq!(
                        *end,
                        ';',
                        "{}: mod {name} is within the file, which is not read",
                        file.display()
                    );
                    children.push((name.clone(), child_file(&tokens[..i], file, folder, name)));
                    i += 3;
                }
                // `impl Trait + use<…>` imports nothing.
                [word, next, ..] if word.is("use") && *next != Token::Mark('<') => {
                    let is_public = i > 0 && (tokens[i - 1].is("pub") || tokens[i - 1] == Token::Mark(')'));
                    let length =
                        rest.iter().position(|token| *token == Token::Mark(';')).expect("a `use` ends");
                    for (name, path) in tree(&rest[1..length]) {
                        uses.push((name, path, is_public));
                    }
                    i += length;
                }
                [Token::Name(_), Token::Colons, ..] => {
                    let mut path = Vec::new();
                    while let Some(Token::Name(name)) = tokens.get(i) {
                        path.push(name.clone());
                        i += 1;
                        if tokens.get(i) != Some(&Token::Colons) {
                            break;
                        }
                        i += 1;
                    }
                    names.insert(path[0].clone());
                    module.paths.insert(path);
                }
                [Token::Name(name), ..] => {
                    names.insert(name.clone());
                    i += 1;
                }
                _ => i += 1,
            }
        }
        for (name, path, is_public) in uses {
            // What is only passed on is no use, but where the module's own code has the name too.
            if !is_public || names.contains(&name) {
                module.paths.insert(path.clone());
            }
            module.imports.insert(name, path);
        }
        module.children = children.iter().map(|(name, _)| name.clone()).collect();
        for (name, file) in children {
            let is_folder = file.file_name() == Some("mod.rs".as_ref());
            let folder = if is_folder { folder_of(&file).to_owned() } else { file.with_extension("") };
            self.add(&format!("{path}::{name}"), &file, &folder);
        }
    }

    /// The module whose item a path in `from` is, if it is one of this crate's.
    fn resolve(&self, from: &str, path: &[String]) -> Option<&str> {
        let mut at = from.to_owned();
        match path[0].as_str() {
            "crate" => "crate".clone_into(&mut at),
            "self" | "super" => {}
            first if self.0[from].children.contains(first) => {}
            _ => return None,
        }
        for name in path {
            let module = &self.0[&at];
            match name.as_str() {
                "crate" | "self" => {}
                "super" => at.truncate(at.rfind("::").expect("super of a crate's root")),
                _ if module.children.contains(name) => at = format!("{at}::{name}"),
                _ => {
                    // Through what the module imports, if it is that.
                    let import = module.imports.get(name).filter(|import| *import != path);
                    if let Some(import) = import.and_then(|import| self.resolve(&at, import)) {
                        return Some(import);
                    }
                    break;
                }
            }
        }
        self.0.get_key_value(&at).map(|(path, _)| path.as_str())
    }

    /// For each module the others that it uses, with one path that does.
    fn uses(&self) -> BTreeMap<&str, BTreeMap<&str, String>> {
        let mut uses: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
        for (from, module) in &self.0 {
            let used = uses.entry(from).or_default();
            for path in &module.paths {
                if let Some(to) = self.resolve(from, path).filter(|to| to != from) {
                    used.entry(to).or_insert_with(|| path.join("::"));
                }
            }
        }
        uses
    }

    /// The circles: for each group of modules that all reach each other a shortest way round, a line a step.
    pub(crate) fn circles(&self) -> Vec<String> {
        let uses = self.uses();
        let mut known = BTreeSet::new();
        let mut circles = Vec::new();
        for &start in uses.keys() {
            if known.contains(start) {
                continue;
            }
            if let Some(way) = shortest_way_back(&uses, start) {
                known.extend(group(&uses, start));
                let step = |pair: &[&str]| format!("{} uses {}", pair[0], uses[pair[0]][pair[1]]);
                circles.push(way.windows(2).map(step).collect::<Vec<_>>().join("\n"));
            }
        }
        circles
    }
}

type Uses<'a> = BTreeMap<&'a str, BTreeMap<&'a str, String>>;

/// The modules from `start` round to `start`.
fn shortest_way_back<'a>(uses: &Uses<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for &next in uses[way[way.len() - 1]].keys() {
            let longer = [way.as_slice(), &[next]].concat();
            if next == start {
                return Some(longer);
            }
            if seen.insert(next) {
                ways.push_back(longer);
            }
        }
    }
    None
}

/// The modules that `start` reaches and that reach it.
fn group<'a>(uses: &Uses<'a>, start: &'a str) -> BTreeSet<&'a str> {
    let reached = |from: &'a str| {
        let mut seen = BTreeSet::from([from]);
        let mut todo = vec![from];
        while let Some(module) = todo.pop() {
            todo.extend(uses[module].keys().filter(|next| seen.insert(**next)));
        }
        seen
    };
    reached(start).into_iter().filter(|module| reached(module).contains(start)).collect()
}

/// The file of a child module that is declared after `before`.
fn child_file(before: &[Token], file: &Path, folder: &Path, name: &str) -> PathBuf {
    let before: Vec<_> =
        before.iter().rev().take_while(|token| !matches!(token, Token::Mark(';' | '}'))).collect();
    let given = before.iter().position(|token| token.is("path")).and_then(|i| match before[..i] {
        [.., Token::Text(path), Token::Mark('=')] => Some(path),
        _ => None,
    });
    match given {
        Some(path) => folder_of(file).join(path),
        None => [format!("{name}.rs"), format!("{name}/mod.rs")]
            .map(|path| folder.join(path))
            .into_iter()
            .find(|path| path.is_file())
            .unwrap_or_else(|| panic!("{}: mod {name} has no file", file.display())),
    }
}

/// The folder that a file is in.
fn folder_of(file: &Path) -> &Path {
    file.parent().expect("a file is in a folder")
}

/// The names that a `use` brings in, and the path of each. A `*` is the module's whole path.
fn tree(tokens: &[Token]) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    // The path before each `{` that is open, and the one that is being read.
    let mut outer: Vec<Vec<String>> = vec![Vec::new()];
    let mut path: Vec<String> = Vec::new();
    let mut alias = None;
    let mut tokens = tokens.iter().chain([&Token::Mark(',')]);
    while let Some(token) = tokens.next() {
        match token {
            Token::Name(word) if word == "as" => alias = tokens.next().and_then(Token::name),
            Token::Name(name) => path.push(name.clone()),
            Token::Mark('{') => outer.push(path.clone()),
            Token::Mark(end @ (',' | '}')) => {
                if path.len() > outer[outer.len() - 1].len() {
                    // `a::{self}` brings in `a`.
                    path.pop_if(|last| last == "self");
                    let name = alias.take().or(path.last().map(String::as_str)).expect("a path has a name");
                    found.push((name.to_owned(), path.clone()));
                }
                if *end == '}' {
                    outer.pop();
                }
                path.clone_from(&outer[outer.len() - 1]);
            }
            _ => {}
        }
    }
    found
}
