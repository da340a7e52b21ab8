//! Reads those parts of `go.mod` and `go.work` files that tell where a package's source is.
//!
//! Grammar: <https://go.dev/ref/mod#go-mod-file-grammar>. The parser skips what it does not know,
//! because the `go` command has accepted the file.

/// The modules and folders that a `go.mod` or `go.work` names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GoMod {
    /// `module`: its path.
    pub module: Option<String>,
    /// `use`, in `go.work`: the folders of modules.
    pub uses: Vec<String>,
    /// `require`: modules and their versions.
    pub requires: Vec<(String, String)>,
    /// `replace`: a module, and its replacement.
    pub replaces: Vec<(String, Replacement)>,
}

/// The replacement of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replacement {
    /// A folder, relative to the folder of the file.
    Folder(String),
    /// Another module, and its version.
    Module(String, String),
}

impl GoMod {
    /// Reads the file's text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut out = Self::default();
        let mut block = None;
        for line in text.lines() {
            let mut words = words(line);
            match (&block, words.as_slice()) {
                (_, []) => {}
                (Some(_), [")"]) => block = None,
                (None, [verb, "("]) => block = Some((*verb).to_owned()),
                (Some(verb), _) => out.directive(verb, &words),
                (None, _) => {
                    let verb = words.remove(0);
                    out.directive(verb, &words);
                }
            }
        }
        out
    }

    fn directive(&mut self, verb: &str, words: &[&str]) {
        match (verb, words) {
            ("module", [path]) => self.module = Some((*path).to_owned()),
            ("use", [folder]) => self.uses.push((*folder).to_owned()),
            ("require", [path, version, ..]) => {
                self.requires.push(((*path).to_owned(), (*version).to_owned()));
            }
            ("replace", [path, "=>", to @ ..] | [path, _, "=>", to @ ..]) => {
                let replacement = match to {
                    [folder] => Replacement::Folder((*folder).to_owned()),
                    [module, version] => Replacement::Module((*module).to_owned(), (*version).to_owned()),
                    _ => return,
                };
                self.replaces.push(((*path).to_owned(), replacement));
            }
            _ => {}
        }
    }
}

/// The words of a line up to a comment. White space separates words, and each parenthesis is a word. Quoted words lose their
/// quotes; escapes in them are not decoded, because names of folders do not need them.
fn words(line: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() && !rest.starts_with("//") {
        let quote = rest.chars().next().filter(|first| matches!(first, '"' | '`'));
        if let Some(quote) = quote {
            let inner = &rest[1..];
            let end = inner.find(quote).unwrap_or(inner.len());
            words.push(&inner[..end]);
            rest = inner.get(end + 1..).unwrap_or_default();
        } else if rest.starts_with(['(', ')']) {
            words.push(&rest[..1]);
            rest = &rest[1..];
        } else {
            let ends = |c: char| c.is_whitespace() || matches!(c, '(' | ')');
            let mut end = rest.find(ends).unwrap_or(rest.len());
            if let Some(comment) = rest[..end].find("//") {
                end = comment;
            }
            words.push(&rest[..end]);
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module() {
        let text = "// A comment\nmodule \"example.com/shop\" // another\n\ngo 1.26\n\nrequire (\n\
                    \tgithub.com/a/b v1.2.3 // indirect\n\tgolang.org/x/c v0.1.0\n)\nrequire d.org/d v2.0.0\n\
                    replace github.com/a/b => ../b\nreplace (\n\tgolang.org/x/c v0.1.0 => `./my c`\n\
                    \td.org/d => e.org/e v3.0.0\n)\nexclude x v1.0.0\nretract [v1.0.0, v1.9.9]\n";
        let found = GoMod::parse(text);
        assert_eq!(found.module.as_deref(), Some("example.com/shop"));
        let requires = [("github.com/a/b", "v1.2.3"), ("golang.org/x/c", "v0.1.0"), ("d.org/d", "v2.0.0")];
        assert_eq!(found.requires, requires.map(|(a, b)| (a.to_owned(), b.to_owned())));
        let replaces = [
            ("github.com/a/b", Replacement::Folder("../b".into())),
            ("golang.org/x/c", Replacement::Folder("./my c".into())),
            ("d.org/d", Replacement::Module("e.org/e".into(), "v3.0.0".into())),
        ];
        assert_eq!(found.replaces, replaces.map(|(a, b)| (a.to_owned(), b)));
    }

    #[test]
    fn a_workspace() {
        let found = GoMod::parse("go 1.26\nuse ./a\nuse(\n./b//comment\n\t./c\n)\n");
        assert_eq!(found.uses, ["./a", "./b", "./c"]);
    }

    #[test]
    fn anything_is_read() {
        for text in ["", "module", "module (", "(((", "\"", "replace a =>", "replace => b", ")\n)", "use `"] {
            assert_eq!(GoMod::parse(text).module, None, "{text}");
        }
    }
}
