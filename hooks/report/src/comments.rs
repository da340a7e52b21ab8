//! Messages about comments that ignore statements.

use report::{IgnoreComment, Report};

use crate::messages::{Messages, and_more};

/// Reports how many statements are ignored, and the comments that have no effect or are wrong.
pub(crate) fn say_ignored(report: &Report<'_>, messages: &Messages) {
    say_unknown(report, messages);
    let say = |is_one: fn(&IgnoreComment) -> bool, what: &str| {
        let mut found = report.ignore_comments().filter(|(_, comment)| is_one(comment));
        if let Some((file, comment)) = found.next() {
            messages.warn(format_args!("{file}:{}{}: {what}", comment.line, and_more(1 + found.count())));
        }
    };
    say(
        |comment| comment.reason.is_empty(),
        "podcov:ignore without a reason ignores nothing: write `// podcov:ignore REASON`",
    );
    say(
        |comment| !comment.reason.is_empty() && comment.statements == 0,
        "podcov:ignore is at no statement, block or function: put it into the line before, or at the end of a line",
    );
    say(|comment| comment.ran, "ignored statements ran, so they can be tested: remove podcov:ignore");
    let statements = report.ignored_statements();
    if statements > 0 {
        let count = podcov_cli::count(statements, "statement");
        let is = if statements == 1 { "is" } else { "are" };
        messages.note(format_args!("{count} {is} ignored by comments; podcov-report ignored lists them"));
    }
}

/// Reports files of which it is not known what they ignore.
pub(crate) fn say_unknown(report: &Report<'_>, messages: &Messages) {
    let unknown: Vec<&str> = report.without_comments().collect();
    if let [first, ..] = &unknown[..] {
        messages.error(format_args!(
            "cannot tell which statements of {first}{} are ignored, so all count: the source was not found, or does not fit",
            and_more(unknown.len())
        ));
    }
}
