//! The tokens of a Rust file, as far as imports need them: no comments, no text, and nothing that only tests have.

use std::path::Path;

/// A part of a file that imports can be read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A name or keyword.
    Name(String),
    /// The text of a string, for `#[path = "…"]`.
    Text(String),
    /// `::`
    Colons,
    /// Any other character.
    Mark(char),
}

impl Token {
    /// The name, if it is one.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name() == Some(name)
    }
}

/// Reads a file's tokens, without the items under `#[cfg(test)]` and `#[cfg(all(test, …))]`.
pub(crate) fn read(file: &Path) -> Vec<Token> {
    let text = fs_err::read_to_string(file).expect("a file of a crate");
    without_tests(&tokens(&text))
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\n');
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let start = i;
        match at(i) {
            c if c.is_whitespace() => i += 1,
            '/' if at(i + 1) == '/' => {
                while at(i) != '\n' {
                    i += 1;
                }
            }
            '/' if at(i + 1) == '*' => {
                i += 2;
                while i < chars.len() && (at(i), at(i + 1)) != ('*', '/') {
                    i += 1;
                }
                i += 2;
            }
            '"' => {
                i += 1;
                while i < chars.len() && at(i) != '"' {
                    i += if at(i) == '\\' { 2 } else { 1 };
                }
                i += 1;
                tokens.push(Token::Text(chars[start + 1..(i - 1).min(chars.len())].iter().collect()));
            }
            // A character, else a lifetime.
            '\'' if at(i + 1) == '\\' => {
                i += 3;
                while at(i) != '\'' {
                    i += 1;
                }
                i += 1;
            }
            '\'' if at(i + 2) == '\'' => i += 3,
            ':' if at(i + 1) == ':' => {
                i += 2;
                tokens.push(Token::Colons);
            }
            c if is_name(c) => {
                while is_name(at(i)) {
                    i += 1;
                }
                let name: String = chars[start..i].iter().collect();
                let hashes = chars[i..].iter().take_while(|&&c| c == '#').count();
                if matches!(name.as_str(), "r" | "br") && at(i + hashes) == '"' {
                    let end: Vec<char> =
                        std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                    i += hashes + 1;
                    while i < chars.len() && !chars[i..].starts_with(&end) {
                        i += 1;
                    }
                    i += end.len();
                } else {
                    tokens.push(Token::Name(name));
                }
            }
            c => {
                i += 1;
                tokens.push(Token::Mark(c));
            }
        }
    }
    tokens
}

fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let attribute = |text: &str| self::tokens(text);
    let starts = [attribute("#[cfg(test)]"), attribute("#[cfg(all(test,")];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let [token, next @ ..] = rest {
        if starts.iter().any(|start| rest.starts_with(start)) {
            rest = &rest[end_of_item(rest)..];
        } else {
            kept.push(token.clone());
            rest = next;
        }
    }
    kept
}

/// Where an item ends: after its `;`, or after the `}` of its body.
fn end_of_item(tokens: &[Token]) -> usize {
    let mut depth = 0_usize;
    for (i, token) in tokens.iter().enumerate() {
        match token {
            Token::Mark('{' | '(' | '[') => depth += 1,
            Token::Mark(c @ ('}' | ')' | ']')) => {
                depth -= 1;
                if depth == 0 && *c == '}' {
                    return i + 1;
                }
            }
            Token::Mark(';') if depth == 0 => return i + 1,
            _ => {}
        }
    }
    tokens.len()
}

#[test]
fn comments_text_and_tests_are_not_read() {
    let text = r##"
        /// crate::a
        fn f<'a>(c: char) -> &'a str { if c == '"' || c == '\'' { "crate::b \" }" } else { r#"crate::"c"# } }
        /* crate::d */
        #[cfg(test)]
        mod tests { use crate::e; fn g() {} }
        #[cfg(all(test, unix))]
        mod f;
        use crate::g;
    "##;
    let names: Vec<_> =
        without_tests(&tokens(text)).iter().filter_map(|t| t.name().map(str::to_owned)).collect();
    let read = "fn f a c char a str if c c else use crate g";
    assert_eq!(names.join(" "), read);
}
