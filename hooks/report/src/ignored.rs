//! The command that lists the comments that ignore statements.

use anyhow::Result;
use podcov_exit::Exit;
use report::{Filter, IgnoreComment, Report};

use crate::comments::say_unknown;
use crate::input::{InputArgs, NothingSelected};
use crate::output;

pub(crate) fn ignored(input: &InputArgs) -> Result<Exit> {
    let files = input.load()?;
    let data = input.read(&files, NothingSelected::Fails)?;
    let filter = Filter { ignored: true, ..input.filter() };
    let report = Report::new(input.selected(&data), input.sources()?, &filter);
    say_unknown(&report, &input.messages);
    output::print(|out| {
        for (file, IgnoreComment { line, reason, statements, ran }) in report.ignore_comments() {
            let count = podcov_cli::count(*statements, "statement");
            let ran = if *ran { ", which ran" } else { "" };
            let reason = if reason.is_empty() { "no reason, so it has no effect" } else { reason };
            writeln!(out, "{file}:{line}: {count}{ran}: {reason}")?;
        }
        let statements = report.ignored_statements();
        let all = report.total().total + statements as u64;
        writeln!(out, "--skip-ignored leaves out {statements} of {all} statements")
    })?;
    Ok(input.messages.exit())
}
