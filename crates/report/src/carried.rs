//! A JSON report read again, as the coverage of a suite that did not run this time.

use std::fmt::Write;

use crate::json::{Document, File, VERSION};

/// The text profile of a report that [`json`](crate::json) wrote: of the suite, if the report has it, else of the whole
/// report, if it has no suites.
///
/// # Errors
///
/// A text that tells why there is none.
pub fn text_profile(bytes: &[u8], suite: &str) -> Result<String, String> {
    let document: Document = serde_json::from_slice(bytes)
        .map_err(|error| format!("neither what `podcov-report json` writes nor a text profile: {error}"))?;
    if document.version != VERSION {
        return Err(format!("a report of version {}, only {VERSION} is known", document.version));
    }
    if document.ignored_statements > 0 {
        // The blocks are cut, so they would count beside the whole ones of other inputs.
        return Err("it lacks statements that comments ignore".to_owned());
    }
    if !document.suites.is_empty() && !document.suites.iter().any(|known| known.name == suite) {
        let names: Vec<&str> = document.suites.iter().map(|suite| suite.name.as_str()).collect();
        return Err(format!("its suites are {}", names.join(", ")));
    }
    let mut text = format!("mode: {}\n", document.mode.as_deref().unwrap_or("set"));
    for File { name, blocks, suites, .. } in document.packages.iter().flat_map(|package| &package.files) {
        let counts = suites.iter().find(|counts| counts.name == suite).map(|counts| &counts.counts);
        for (row, [start_line, start_column, end_line, end_column, statements, count]) in
            blocks.iter().enumerate()
        {
            let count = match (document.suites.is_empty(), counts) {
                (true, _) => Some(count),
                (false, Some(counts)) => counts.get(row),
                (false, None) => Some(&0),
            };
            let count = count.ok_or_else(|| format!("{name} has fewer counts than blocks"))?;
            let _ = writeln!(
                text,
                "{name}:{start_line}.{start_column},{end_line}.{end_column} {statements} {count}"
            );
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::summary::tests::with_report;

    #[test]
    fn a_suite_of_a_report_is_its_text_profile() {
        let mut report = Vec::new();
        with_report(|with| json::write(with, &mut report)).unwrap();
        let unit = "mode: set\nm/a/a.go:1.1,2.2 3 1\nm/a/a.go:3.1,4.2 5 1\nm/b/b.go:1.1,2.2 1 0\nm/b/b.go:3.1,4.2 1 0\n";
        assert_eq!(text_profile(&report, "unit").as_deref(), Ok(unit));
        assert_eq!(text_profile(&report, "load"), Err("its suites are unit, e2e".to_owned()));
        let mut alone = Vec::new();
        with_report(|with| json::write(&with.of_suite(0), &mut alone)).unwrap();
        assert_eq!(text_profile(&alone, "load").as_deref(), Ok(unit));
        assert!(text_profile(b"{\"version\":2}", "unit").is_err());
    }
}
