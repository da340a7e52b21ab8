//! LCOV tracefiles, for `genhtml` and many services. Format: `man geninfo`, section FILES.

use std::collections::HashMap;
use std::io::{self, Write};

use crate::lines::line_counts;
use crate::{FileFunction, Report, ReportFile};

/// Writes an LCOV tracefile: lines and functions.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(report: &Report<'_>, out: &mut dyn Write) -> io::Result<()> {
    for file in report.files() {
        let source = file.read().ok();
        let lines = line_counts(file.profile, source.as_deref());
        if lines.is_empty() {
            // genhtml reports an error for a file without lines.
            continue;
        }
        writeln!(out, "TN:\nSF:{}", one_line(&place(&file)))?;
        let mut names = HashMap::new();
        let functions: Vec<(u32, String, u32)> = file
            .functions()
            .filter_map(|FileFunction { name, first_line, last_line, count, .. }| {
                // Some readers report an error if a function begins at a line without a count.
                let (&line, _) = lines.range(first_line..=last_line).next()?;
                Some((line, unique(&mut names, name), count))
            })
            .collect();
        for (line, name, _) in &functions {
            writeln!(out, "FN:{line},{name}")?;
        }
        for (_, name, count) in &functions {
            writeln!(out, "FNDA:{count},{name}")?;
        }
        let ran = functions.iter().filter(|(_, _, count)| *count > 0).count();
        writeln!(out, "FNF:{}\nFNH:{ran}", functions.len())?;
        for (line, count) in &lines {
            writeln!(out, "DA:{line},{count}")?;
        }
        let ran = lines.values().filter(|&&count| count > 0).count();
        writeln!(out, "LF:{}\nLH:{ran}\nend_of_record", lines.len())?;
    }
    Ok(())
}

/// The path of the source file from the root.
fn place(file: &ReportFile<'_>) -> String {
    match file.path {
        Some(path) if file.shown == file.profile.name => path.display().to_string(),
        _ => file.location().into_owned(),
    }
}

/// A function's name, followed by a number if an earlier function has the same name. Commas are replaced, because a comma
/// would end the name.
fn unique(names: &mut HashMap<String, u32>, name: &str) -> String {
    let name = one_line(name).replace(',', ";");
    let earlier = names.entry(name.clone()).or_default();
    *earlier += 1;
    if *earlier == 1 { name } else { format!("{name}.{}", *earlier - 1) }
}

/// Text without characters that end a line.
fn one_line(text: &str) -> String {
    crate::text::printable(text)
}
