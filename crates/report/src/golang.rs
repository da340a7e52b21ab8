//! Go source, as far as reports need it: functions, generated files, lines with code.

use std::ops::Range;

use covdata::Unit;
use tree_sitter::{Node, Parser};

/// A function or method with a body, or a function literal outside of any function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionExtent {
    /// Its name, with the receiver's type before it as Go's coverage data has it: `Cart.Add`, `*Cart.Add`, and
    /// `Add` alone where the type has parameters. A literal's is `func.L3.C9`, after its place.
    pub name: String,
    /// Whether it is a literal.
    pub literal: bool,
    /// Where it starts: line from 1, column in bytes from 1.
    pub start: (u32, u32),
    /// The position after its last byte.
    pub end: (u32, u32),
}

/// The functions of a source file, in order. If the source is not valid, those that can be found.
#[must_use]
pub fn functions(source: &str) -> Vec<FunctionExtent> {
    let mut parser = Parser::new();
    // The grammar is compiled in, and a test checks that its version fits the library's.
    if parser.set_language(&tree_sitter_go::LANGUAGE.into()).is_err() {
        return Vec::new();
    }
    let Some(tree) = parser.parse(source, None) else { return Vec::new() };
    let mut found = Vec::new();
    // The nodes that are still to be visited, the next one last.
    let mut nodes = vec![tree.root_node()];
    while let Some(node) = nodes.pop() {
        match node.kind() {
            "function_declaration" | "method_declaration" => found.extend(function(node, source)),
            "func_literal" => {
                let (start, end) = (place(node.start_position()), place(node.end_position()));
                found.push(FunctionExtent {
                    name: format!("func.L{}.C{}", start.0, start.1),
                    literal: true,
                    start,
                    end,
                });
            }
            _ => {
                let before = nodes.len();
                nodes.extend(node.children(&mut node.walk()));
                nodes[before..].reverse();
            }
        }
    }
    found
}

/// The function of a file's that a place is in.
pub(crate) fn function_at(extents: &[FunctionExtent], place: (u32, u32)) -> Option<&FunctionExtent> {
    let extent = &extents[extents.partition_point(|extent| extent.start <= place).checked_sub(1)?];
    (place < extent.end).then_some(extent)
}

fn function(node: Node<'_>, source: &str) -> Option<FunctionExtent> {
    node.child_by_field_name("body")?;
    let text = |node: Node<'_>| source.get(node.byte_range()).unwrap_or_default();
    let mut name = text(node.child_by_field_name("name")?).to_owned();
    if let Some(receiver) = node.child_by_field_name("receiver").and_then(|list| list.named_child(0)) {
        let declared = receiver.child_by_field_name("type");
        let (star, plain) = match declared {
            Some(pointer) if pointer.kind() == "pointer_type" => ("*", pointer.named_child(0)),
            other => ("", other),
        };
        if let Some(plain) = plain.filter(|plain| plain.kind() == "type_identifier") {
            name = format!("{star}{}.{name}", text(plain));
        }
    }
    let (start, end) = (place(node.start_position()), place(node.end_position()));
    Some(FunctionExtent { name, literal: false, start, end })
}

/// Line and column from 1.
pub(crate) fn place(point: tree_sitter::Point) -> (u32, u32) {
    (point.row as u32 + 1, point.column as u32 + 1)
}

/// Whether a source file has the comment that marks generated files: a line of its own before the package clause. See
/// `go help generate`.
#[must_use]
pub fn is_generated(source: &str) -> bool {
    let before_package = source.lines().take_while(|line| !line.starts_with("package "));
    before_package
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .any(|line| line.starts_with("// Code generated ") && line.ends_with(" DO NOT EDIT."))
}

/// Whether a source file has a `//line` directive that names a file of this base name. See "Compiler Directives" in
/// `go doc cmd/compile`.
#[must_use]
pub(crate) fn has_line_directive(source: &str, name: &str) -> bool {
    let directives = source.lines().filter_map(|line| {
        // `//line` only counts at the start of a line, `/*line` anywhere.
        let general = line.split_once("/*line ").and_then(|(_, rest)| rest.split_once("*/"));
        line.strip_prefix("//line ").or_else(|| general.map(|(place, _)| place))
    });
    let mut files = directives.map(|place| {
        // `file:line` or `file:line:column`; what comes last of the file may be a colon and digits as well.
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let cut = |text| match str::rsplit_once(text, ':') {
            Some((file, number)) if is_number(number.trim()) => file,
            _ => text,
        };
        cut(cut(place.trim()))
    });
    files.any(|file| file.rsplit(['/', '\\']).next() == Some(name))
}

/// A statement that Go's coverage counts. Line and column from 1, as in [`FunctionExtent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Statement {
    /// Where it starts.
    pub(crate) start: (u32, u32),
    /// The position after its last byte.
    pub(crate) end: (u32, u32),
}

/// The statements that Go's coverage counts, by their start. That is each one of a block's or a case's list, an `if` after
/// `else`, and a label only together with a loop, switch or select. `None` if the source has a syntax error.
#[must_use]
pub(crate) fn statements(source: &str) -> Option<Vec<Statement>> {
    let mut parser = Parser::new();
    if parser.set_language(&tree_sitter_go::LANGUAGE.into()).is_err() {
        return None;
    }
    let tree = parser.parse(source, None).filter(|tree| !tree.root_node().has_error())?;
    let statement =
        |node: Node<'_>| Statement { start: place(node.start_position()), end: place(node.end_position()) };
    let is_blank = |name: Node<'_>| &source[name.byte_range()] == "_";
    let mut found = Vec::new();
    let mut nodes = vec![tree.root_node()];
    while let Some(node) = nodes.pop() {
        // Go does not count functions that nobody can call.
        if node.child_by_field_name("body").is_some()
            && node.child_by_field_name("name").is_some_and(is_blank)
        {
            continue;
        }
        let children: Vec<_> = node.named_children(&mut node.walk()).collect();
        if node.kind() == "statement_list" {
            let statements =
                children.iter().filter(|child| !matches!(child.kind(), "comment" | "empty_statement"));
            found.extend(statements.map(|node| {
                let inner = node.named_child(1).filter(|_| node.kind() == "labeled_statement");
                let is_loop = |inner: &Node<'_>| {
                    matches!(
                        inner.kind(),
                        "for_statement"
                            | "expression_switch_statement"
                            | "type_switch_statement"
                            | "select_statement"
                    )
                };
                statement(inner.filter(|inner| !is_loop(inner)).unwrap_or(*node))
            }));
        }
        // For Go, an `if` after `else` is a block of its own.
        let after_else = node.child_by_field_name("alternative").filter(|node| node.kind() == "if_statement");
        found.extend(after_else.map(statement));
        nodes.extend(children);
    }
    found.sort_unstable();
    Some(found)
}

/// Which of these statements begin in a block.
pub(crate) fn within(statements: &[Statement], block: &Unit) -> Range<usize> {
    let bound = |place| statements.partition_point(|statement| statement.start < place);
    let start = bound((block.start_line, block.start_column));
    start..bound((block.end_line, block.end_column)).max(start)
}

/// For each line where its code that can run begins and where its last character is, columns in bytes from 1: what is
/// neither white space nor a comment nor punctuation.
#[must_use]
pub(crate) fn code_lines(source: &str) -> Vec<Option<(u32, u32)>> {
    let mut lines = vec![None];
    let mut line_start = 0;
    // The end of the comment or literal that the text is in.
    let mut until: Option<&str> = None;
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let line = lines.last_mut().expect("there is one from the start");
        let mut taken = c.len_utf8();
        let mut is_code = false;
        match until {
            Some(end) if rest.starts_with(end) => {
                taken = end.len();
                until = None;
            }
            Some("\"" | "'") if c == '\\' => taken += rest[1..].chars().next().map_or(0, char::len_utf8),
            // A literal of several lines is code on each.
            Some("`") => is_code = c != '\n',
            // No other goes on in the next line, in valid source.
            Some("\"" | "'") if c == '\n' => until = None,
            Some(_) => {}
            None if rest.starts_with("//") => until = Some("\n"),
            None if rest.starts_with("/*") => (until, taken) = (Some("*/"), 2),
            None => {
                until = ["\"", "'", "`"].into_iter().find(|quote| rest.starts_with(quote));
                is_code = until.is_some() || c.is_alphanumeric() || c == '_';
            }
        }
        let at = source.len() - rest.len();
        if is_code {
            let column = (at - line_start + 1) as u32;
            *line = Some((line.map_or(column, |(first, _)| first), column));
        }
        let (text, after) = rest.split_at(taken);
        for (newline, _) in text.match_indices('\n') {
            lines.push(None);
            line_start = at + newline + 1;
        }
        rest = after;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_and_methods() {
        let source = "package p\n\nvar f = func() {}\n\nfunc plain() int {\n\treturn 1\n}\n\n\
                      func (c Cart) Add() { }\nfunc (c *Cart) Remove() { g(func() {}) }\n\
                      func (*Tree[K, V]) Put() {\n}\nfunc Map[T any](t T) T { return t }\nfunc asm()\n";
        let found = functions(source);
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.start, f.end)).collect();
        assert_eq!(
            found,
            [
                ("func.L3.C9", (3, 9), (3, 18)),
                ("plain", (5, 1), (7, 2)),
                ("Cart.Add", (9, 1), (9, 24)),
                ("*Cart.Remove", (10, 1), (10, 41)),
                ("Put", (11, 1), (12, 2)),
                ("Map", (13, 1), (13, 36)),
            ]
        );
    }

    #[test]
    fn invalid_source_gives_what_can_be_found() {
        assert_eq!(functions(""), []);
        assert_eq!(functions("func ("), []);
        assert!(functions("package p\nfunc a() {}\nfunc b( {\nfunc c() {}\n").iter().any(|f| f.name == "a"));
    }

    #[test]
    fn generated_files() {
        assert!(is_generated("// Code generated by x. DO NOT EDIT.\n\npackage p\n"));
        assert!(is_generated("// Licence\r\n\r\n// Code generated by x. DO NOT EDIT.\r\npackage p\r\n"));
        assert!(!is_generated("package p\n// Code generated by x. DO NOT EDIT.\n"));
        assert!(!is_generated("// Code generated by x. DO NOT EDIT. Really.\npackage p\n"));
        assert!(!is_generated(" // Code generated by x. DO NOT EDIT.\npackage p\n"));
    }

    #[test]
    fn line_directives() {
        for line in [
            "//line expr.y:12",
            "//line gen/expr.y:12:3",
            "x /*line /abs/expr.y:1:1*/ y",
            "//line expr.y:12\r",
        ] {
            assert!(has_line_directive(&format!("package p\n{line}\n"), "expr.y"), "{line}");
        }
        for line in
            ["//line expr.yy:12", "// line expr.y:12", "\t//line expr.y:12", "//line expr.y:12:3:4", "expr.y"]
        {
            assert!(!has_line_directive(&format!("package p\n{line}\n"), "expr.y"), "{line}");
        }
    }

    fn code_lines(source: &str) -> Vec<bool> {
        super::code_lines(source).iter().map(Option::is_some).collect()
    }

    #[test]
    fn where_code_is() {
        assert_eq!(
            super::code_lines("\tif x { // é\n\t}\n/*\n*/ \"é\" }"),
            [Some((2, 5)), None, None, Some((4, 4))]
        );
    }

    #[test]
    fn statements_that_count() {
        let source = "package p\n\nfunc f(x int) {\n\ta := 1 // one\n\tif b := 2; a > b {\n\t\tx++\n\t} else if c {\n\t}\nnext:\n\tx--\n\
                      loop:\n\tfor i := 0; i < 3; i++ {\n\t\tswitch y := x; y {\n\t\tcase 1:\n\t\t\tbreak loop\n\t\t}\n\t}\n\
                      \tg(func() { h() })\n\tselect {\n\tcase v := <-c:\n\t\tg(v)\n\t}\n\tvar (\n\t\tz = 1\n\t)\n}\n\nfunc _() {\n\tx()\n}\n";
        let expected = [
            (4, 2),
            (5, 2),
            (6, 3),
            (7, 9),
            (10, 2),
            (11, 1),
            (13, 3),
            (15, 4),
            (18, 2),
            (18, 13),
            (19, 2),
            (21, 3),
            (23, 2),
        ];
        let found = statements(source).expect("it is valid");
        assert_eq!(found.iter().map(|statement| statement.start).collect::<Vec<_>>(), expected);
        assert_eq!((found[1].end, found[4].end), ((8, 3), (10, 5)), "an if with its else, and x--");
        assert_eq!(statements("package p\n\nfunc f() {\n\ta(\n\tb()\n}\n"), None, "a syntax error");
    }

    #[test]
    fn lines_with_code() {
        for line in ["x++", "\treturn", "} else if a {", "case \"\":", "_ = `", "é()", "/* a */ b", "\"//\""]
        {
            assert_eq!(code_lines(line), [true], "{line}");
        }
        for line in ["", "\t", "}", "\t})", ") {", "// x", "} // x\\", "/* a */ }", "/*", "/**/"] {
            assert_eq!(code_lines(line), [false], "{line}");
        }
        for (source, expected) in [
            ("a\n/* b\nc */ d\ne\n", &[true, false, true, true, false][..]),
            ("/*\na\n*/\nb", &[false, false, false, true]),
            ("s := `\n// no comment\n\n`\nb", &[true, true, false, false, true]),
            ("'\"'\n// x\n'\\''\n/* \" */\n\"\\\"/*\"\nb", &[true, false, true, false, true, true]),
            ("\"not closed\nb // é\r\n}\n", &[true, true, false, false]),
            ("\"\\", &[true]),
        ] {
            assert_eq!(code_lines(source), expected, "{source}");
        }
    }
}
