//! Comments that leave statements out of the result: `// podcov:ignore REASON`.
//!
//! A comment on a line of its own is for what begins in the next line of code: a statement, a function or a case, say. One at the
//! end of a line is for the block or case that begins there, else for the statement or function that ends there, else for the
//! statement that it is in.

use podcov_profile::{Block, FileProfile};
use tree_sitter::{Node, Parser};

use crate::golang::{self, Statement, place};

/// A comment that begins with `podcov:ignore`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoreComment {
    /// Its line, from 1.
    pub line: u32,
    /// Why the statements are left out. Without a reason, the comment has no effect.
    pub reason: String,
    /// How many statements it leaves out.
    pub statements: usize,
    /// Whether one of them ran.
    pub ran: bool,
}

/// What the comments of a file ignore.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ignored {
    pub(crate) comments: Vec<IgnoreComment>,
    /// How many statements all comments together leave out.
    pub(crate) statements: usize,
}

/// The comments of a source file, and the statements that they can leave out.
#[derive(Debug, Default)]
pub(crate) struct IgnoreComments {
    comments: Vec<(IgnoreComment, Option<Extent>)>,
    statements: Vec<Statement>,
}

/// From a place to the place after its end: lines and columns from 1.
type Extent = ((u32, u32), (u32, u32));

/// The text that such a comment begins with.
const MARK: &str = "podcov:ignore";

impl IgnoreComments {
    /// Reads the comments of a source file. `None` if it has some, and a syntax error, so that it is not known what they are for.
    pub(crate) fn of(source: &str) -> Option<Self> {
        if !source.contains(MARK) {
            return Some(Self::default());
        }
        let mut parser = Parser::new();
        parser.set_language(&tree_sitter_go::LANGUAGE.into()).ok()?;
        let tree = parser.parse(source, None)?;
        let (mut comments, mut parts) = (Vec::new(), Vec::new());
        let mut nodes = vec![tree.root_node()];
        while let Some(node) = nodes.pop() {
            if node.kind() == "comment" {
                comments.extend(reason(&source[node.byte_range()]).map(|reason| (node, reason)));
            }
            add_parts(node, &mut parts);
            nodes.extend(node.children(&mut node.walk()));
        }
        comments.sort_by_key(|(node, _)| node.start_byte());
        if comments.is_empty() {
            return Some(Self::default());
        }
        let comment = |(node, reason): (Node<'_>, &str)| {
            let (line, _) = place(node.start_position());
            let comment = IgnoreComment { line, reason: reason.to_owned(), statements: 0, ran: false };
            (comment, extent(source, node, &parts))
        };
        let comments = comments.into_iter().map(comment).collect();
        Some(Self { comments, statements: golang::statements(source)? })
    }

    /// Whether there is no comment.
    pub(crate) fn is_empty(&self) -> bool {
        self.comments.is_empty()
    }

    /// Whether a comment ignores a statement.
    pub(crate) fn ignores(&self, statement: &Statement) -> bool {
        self.comments.iter().any(|(comment, extent)| {
            !comment.reason.is_empty()
                && extent.is_some_and(|(start, end)| (start..end).contains(&statement.start))
        })
    }

    /// Leaves out the statements. A block of which statements stay is cut at those that go.
    pub(crate) fn apply(mut self, file: &mut FileProfile<'_>) -> Ignored {
        if self.comments.is_empty() {
            return Ignored::default();
        }
        let (mut statements, mut blocks, mut rows) = (0, Vec::new(), Vec::new());
        for (row, &block) in file.blocks.iter().enumerate() {
            let own = &self.statements[golang::within(&self.statements, &block.unit)];
            let mut ignored = vec![false; own.len()];
            for (comment, extent) in &mut self.comments {
                let Some((start, end)) = extent.filter(|_| !comment.reason.is_empty()) else { continue };
                for (statement, ignored) in own.iter().zip(&mut ignored) {
                    if (start..end).contains(&statement.start) {
                        *ignored = true;
                        comment.statements += 1;
                        comment.ran |= block.count > 0;
                    }
                }
            }
            let before = blocks.len();
            cut(block, own, &ignored, &mut blocks);
            let left: u32 = blocks[before..].iter().map(|piece| piece.unit.statements).sum();
            // With the last statement of a block, a label that counts goes too.
            statements += block.unit.statements.saturating_sub(left) as usize;
            rows.resize(blocks.len(), row);
        }
        file.blocks = blocks;
        for counts in file.suites.iter_mut().filter(|counts| !counts.is_empty()) {
            *counts = rows.iter().map(|&row| counts[row]).collect();
        }
        Ignored { comments: self.comments.into_iter().map(|(comment, _)| comment).collect(), statements }
    }
}

/// Adds the pieces of a block that are left without some of its statements.
fn cut(block: Block, own: &[Statement], ignored: &[bool], blocks: &mut Vec<Block>) {
    if !ignored.contains(&true) {
        blocks.push(block);
        return;
    }
    // Up to Go 1.26 a label counts as a statement too. It stays as long as a statement does.
    let mut more = block.unit.statements.saturating_sub(own.len() as u32);
    let mut start = 0;
    for run in ignored.chunk_by(|a, b| a == b) {
        let end = start + run.len();
        if !run[0] {
            let mut piece = block;
            if start > 0 {
                (piece.unit.start_line, piece.unit.start_column) = own[start].start;
            }
            if let Some(next) = own.get(end) {
                (piece.unit.end_line, piece.unit.end_column) = next.start;
            }
            piece.unit.statements = run.len() as u32 + std::mem::take(&mut more);
            blocks.push(piece);
        }
        start = end;
    }
}

/// The text after the mark.
fn reason(comment: &str) -> Option<&str> {
    let rest = comment.strip_prefix("//")?.trim_start().strip_prefix(MARK)?;
    (rest.is_empty() || rest.starts_with(char::is_whitespace)).then(|| rest.trim())
}

/// A part of the source that a comment can be for.
struct Part {
    /// The bytes of the part.
    start: usize,
    end: usize,
    /// The byte of its `{` or `:`, if a comment after that is for the part.
    opener: Option<usize>,
    /// Whether a comment in the middle can be for it.
    is_statement: bool,
    extent: Extent,
}

fn add_parts(node: Node<'_>, parts: &mut Vec<Part>) {
    let mut add = |node: Node<'_>, opener: Option<Node<'_>>, is_statement| {
        let from = opener.map_or_else(|| node.start_position(), |opener| opener.start_position());
        parts.push(Part {
            start: node.start_byte(),
            end: node.end_byte(),
            opener: opener.map(|opener| opener.start_byte()),
            is_statement,
            extent: (place(from), place(node.end_position())),
        });
    };
    let child = |kind: &str| node.children(&mut node.walk()).find(|child| child.kind() == kind);
    match node.kind() {
        "statement_list" => {
            node.named_children(&mut node.walk()).for_each(|statement| add(statement, None, true));
        }
        "block" | "expression_switch_statement" | "type_switch_statement" | "select_statement" => {
            add(node, child("{"), false);
        }
        "expression_case" | "type_case" | "communication_case" | "default_case" => {
            add(node, child(":"), false);
        }
        "function_declaration"
        | "method_declaration"
        | "func_literal"
        | "var_declaration"
        | "var_spec"
        | "keyed_element" => add(node, None, false),
        _ => {}
    }
}

/// What a comment is for.
fn extent(source: &str, comment: Node<'_>, parts: &[Part]) -> Option<Extent> {
    let at = comment.start_byte();
    let line = source[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let before = source[line..at].trim_end();
    let size = |part: &&Part| part.end - part.start;
    let part = if before.is_empty() {
        let next = next_code(source, comment.end_byte())?;
        parts.iter().filter(|part| part.start == next).max_by_key(size)
    } else {
        let last = line + before.len() - 1;
        let end = line + before.trim_end_matches([',', ';']).len();
        let opened = || parts.iter().find(|part| part.opener == Some(last));
        let ended = || parts.iter().filter(|part| part.end == end).max_by_key(size);
        let around = || {
            let around =
                parts.iter().filter(|part| part.is_statement && (part.start..part.end).contains(&at));
            around.min_by_key(size)
        };
        opened().or_else(ended).or_else(around)
    };
    part.map(|part| part.extent)
}

/// Where the code begins in the line after a comment, and after further comments. A blank line ends the search.
fn next_code(source: &str, mut end: usize) -> Option<usize> {
    loop {
        let line = end + source[end..].find('\n')? + 1;
        let rest = &source[line..];
        let code = rest.trim_start_matches([' ', '\t']);
        if !code.starts_with("//") {
            return (!code.starts_with(['\r', '\n'])).then_some(line + rest.len() - code.len());
        }
        end = line;
    }
}

#[cfg(test)]
mod tests {
    use covdata::Unit;

    use super::*;

    /// The places of the statements that stay, and the comments' lines with the numbers of statements that go.
    fn ignored(body: &str) -> (Vec<u32>, Vec<(u32, usize)>) {
        let source = format!("package p\n{body}");
        let comments = IgnoreComments::of(&source).expect("it is valid");
        // A block for each statement.
        let statements = golang::statements(&source).expect("it is valid");
        let block = |statement: &Statement| {
            let (start_line, start_column) = statement.start;
            let (end_line, end_column) = (start_line, start_column + 1);
            let unit = Unit { start_line, start_column, end_line, end_column, statements: 1 };
            Block { unit, count: 0, function: None }
        };
        let mut file =
            FileProfile { blocks: statements.iter().map(block).collect(), ..FileProfile::default() };
        let Ignored { comments, statements: ignored } = comments.apply(&mut file);
        assert_eq!(statements.len() - file.blocks.len(), ignored, "{source}");
        let lines = file.blocks.iter().map(|block| block.unit.start_line).collect();
        (lines, comments.iter().map(|comment| (comment.line, comment.statements)).collect())
    }

    #[test]
    fn what_a_comment_is_for() {
        for (name, body, stays, comments) in [
            (
                "a statement, from the line above",
                "func f() {\n\ta()\n\t// podcov:ignore why\n\tb(func() {\n\t\tc()\n\t})\n\td()\n}\n",
                &[3, 8][..],
                &[(4, 2)][..],
            ),
            (
                "a statement, at its end",
                "func f() {\n\ta()\n\tb() // podcov:ignore why\n\tc()\n}\n",
                &[3, 5],
                &[(4, 1)],
            ),
            (
                "a statement of several lines",
                "func f() {\n\tif x {\n\t\ta()\n\t} // podcov:ignore why\n\tb()\n}\n",
                &[6],
                &[(5, 2)],
            ),
            (
                "a statement, in its middle",
                "func f() {\n\ta(1, // podcov:ignore why\n\t\t2)\n\tb()\n}\n",
                &[5],
                &[(3, 1)],
            ),
            (
                "a block",
                "func f() {\n\tif x { // podcov:ignore why\n\t\ta()\n\t\tb()\n\t} else {\n\t\tc()\n\t}\n}\n",
                &[3, 7],
                &[(3, 2)],
            ),
            (
                "a block after else",
                "func f() {\n\tif x {\n\t\ta()\n\t} else { //podcov:ignore why\n\t\tb()\n\t}\n}\n",
                &[3, 4],
                &[(5, 1)],
            ),
            (
                "a case",
                "func f() {\n\tswitch x {\n\tcase 1: // podcov:ignore why\n\t\ta()\n\t// podcov:ignore why\n\tdefault:\n\t\tb()\n\t}\n}\n",
                &[3],
                &[(4, 1), (6, 1)],
            ),
            (
                "all cases",
                "func f() {\n\tselect { // podcov:ignore why\n\tcase <-x:\n\t\ta()\n\tdefault:\n\t\tb()\n\t}\n}\n",
                &[3],
                &[(3, 2)],
            ),
            (
                "a function, from its comment",
                "// F does.\n//\n// podcov:ignore why\n// More.\nfunc F() {\n\ta()\n}\nfunc g() { b() }\n",
                &[9],
                &[(4, 1)],
            ),
            (
                "a function, at its brace",
                "func f() { // podcov:ignore why\n\ta()\n}\nfunc g() { b() }\n",
                &[5],
                &[(2, 1)],
            ),
            (
                "a method in one line",
                "func (t *T) f() { a() } // podcov:ignore why\nfunc g() { b() }\n",
                &[3],
                &[(2, 1)],
            ),
            (
                "a closure",
                "func f() {\n\ta(\n\t\t// podcov:ignore why\n\t\tfunc() { b() },\n\t)\n\tdefer func() { // podcov:ignore why\n\t\tc()\n\t}()\n}\n",
                &[3, 7],
                &[(4, 1), (7, 1)],
            ),
            (
                "a closure in a list",
                "var m = M{\n\t// podcov:ignore why\n\t\"a\": func() { a() },\n\t\"b\": func() { b() },\n\t\"c\": func() { c() }, // podcov:ignore why\n}\n",
                &[5],
                &[(3, 1), (6, 1)],
            ),
            ("a variable", "// podcov:ignore why\nvar f = func() {\n\ta()\n}\n", &[], &[(2, 1)]),
            (
                "a labelled loop",
                "func f() {\nloop: // podcov:ignore why\n\tfor {\n\t\tbreak loop\n\t}\n\ta()\n}\n",
                &[7],
                &[(3, 2)],
            ),
            (
                "one in the other",
                "func f() { // podcov:ignore why\n\ta() // podcov:ignore why\n}\n",
                &[],
                &[(2, 1), (3, 1)],
            ),
            (
                "no reason",
                "func f() {\n\ta() // podcov:ignore\n\tb() //podcov:ignore \n}\n",
                &[3, 4],
                &[(3, 0), (4, 0)],
            ),
            (
                "nothing that follows",
                "func f() {\n\ta()\n\t// podcov:ignore why\n\n\tb()\n\t// podcov:ignore why\n}\n",
                &[3, 6],
                &[(4, 0), (7, 0)],
            ),
            (
                "no comment of ours",
                "func f() {\n\ta() // podcov:ignored why\n\tb(\"// podcov:ignore why\") // see podcov:ignore why\n}\n",
                &[3, 4],
                &[],
            ),
        ] {
            assert_eq!(ignored(body), (stays.to_vec(), comments.to_vec()), "{name}");
        }
    }

    const SOURCE: &str = "package p\n\nfunc f() {\n\ta()\n\tb() // podcov:ignore why\n\tc()\n\n\t// podcov:ignore never\n\tif d() {\n\t\te()\n\t}\n}\n";

    /// A block's first line and column, last line and column, and number of statements.
    type Place = (u32, u32, u32, u32, u32);

    fn applied(blocks: &[(Place, u32)]) -> (Vec<Place>, Vec<IgnoreComment>) {
        let block =
            |&((start_line, start_column, end_line, end_column, statements), count): &(Place, u32)| Block {
                unit: Unit { start_line, start_column, end_line, end_column, statements },
                count,
                function: None,
            };
        let suites = vec![blocks.iter().map(|(_, count)| count + 10).collect()];
        let mut file =
            FileProfile { blocks: blocks.iter().map(block).collect(), suites, ..FileProfile::default() };
        let sum = |file: &FileProfile<'_>| file.blocks.iter().map(|block| block.unit.statements).sum::<u32>();
        let before = sum(&file);
        let Ignored { comments, statements } =
            IgnoreComments::of(SOURCE).expect("it is valid").apply(&mut file);
        assert_eq!(sum(&file) + statements as u32, before, "each statement stays or is ignored");
        let of_suite: Vec<u32> = file.blocks.iter().map(|block| block.count + 10).collect();
        assert_eq!(file.suites, [of_suite], "a suite's counts are those of the blocks that are left");
        let units = file.blocks.iter().map(|block| block.unit);
        let places = units.map(|u| (u.start_line, u.start_column, u.end_line, u.end_column, u.statements));
        (places.collect(), comments)
    }

    #[test]
    fn blocks_of_each_release_are_cut() {
        let old = [((3, 10, 9, 9, 4), 1), ((9, 9, 11, 3, 1), 0)];
        let (pieces, comments) = applied(&old);
        assert_eq!(pieces, [(3, 10, 5, 2, 1), (6, 2, 9, 2, 1)]);
        let comment = |line, reason: &str, statements| IgnoreComment {
            line,
            reason: reason.to_owned(),
            statements,
            ran: true,
        };
        assert_eq!(comments, [comment(5, "why", 1), comment(8, "never", 2)]);
        let new = [((4, 2, 7, 1, 3), 7), ((9, 2, 9, 9, 1), 1), ((10, 3, 11, 1, 1), 0)];
        let (pieces, again) = applied(&new);
        assert_eq!((pieces, again), (vec![(4, 2, 5, 2, 1), (6, 2, 7, 1, 1)], comments));
    }

    /// Up to Go 1.26 the block before a label counts the label.
    #[test]
    fn a_label_that_counts_stays_with_the_first_piece() {
        let (pieces, _) = applied(&[((3, 10, 7, 1, 4), 1)]);
        assert_eq!(pieces, [(3, 10, 5, 2, 2), (6, 2, 7, 1, 1)]);
        // Without another statement in its block, it goes.
        assert_eq!(applied(&[((5, 2, 6, 1, 2), 1)]).0, []);
    }

    #[test]
    fn a_source_with_an_error_is_not_read() {
        assert!(IgnoreComments::of("package p\nfunc f( { // podcov:ignore why\n").is_none());
        assert!(IgnoreComments::of("package p\nfunc f( {\n").is_some());
    }

    proptest::proptest! {
        #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

        /// Whatever the source is, no statement is lost or counted twice.
        #[test]
        fn statements_stay_or_are_ignored(
            body in proptest::collection::vec(proptest::sample::select(vec![
                "// podcov:ignore é\n", "// podcov:ignore\n", "//podcov:ignore", "\n", "\n\n", "\t", "é", "a()\n", "a(func() { b() }, \n", ")",
                "if x {", "}", "} else {", "switch x {\n", "case 1:", "default:\n", "func f() {\n", "var v = M{", "loop:\n", ",", "`", "/*", "*/",
            ]), 0..30)
        ) {
            let source = format!("package p\n\nfunc f() {{\n{}}}\n", body.concat());
            if let (Some(comments), Some(statements)) = (IgnoreComments::of(&source), golang::statements(&source)) {
                let lines = source.lines().count() as u32 + 1;
                let number = statements.len() as u32;
                let unit = Unit { start_line: 1, start_column: 1, end_line: lines, end_column: 1, statements: number };
                let blocks = vec![Block { unit, count: 1, function: None }];
                let mut file = FileProfile { blocks, ..FileProfile::default() };
                let ignored = comments.apply(&mut file).statements as u32;
                let left: u32 = file.blocks.iter().map(|block| block.unit.statements).sum();
                proptest::prop_assert_eq!(left + ignored, number, "{}", source);
            }
        }
    }
}
