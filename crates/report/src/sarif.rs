//! SARIF 2.1.0, for the services and editors that show findings of many tools: changed lines that did not run.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::changes::ChangedFile;

/// The rule's name.
const RULE: &str = "uncovered-changed-lines";

/// Writes a result for each range of changed lines that did not run. Paths are relative to the repository's top folder.
///
/// # Errors
///
/// Errors of `out`.
pub fn write(changed: &[ChangedFile], out: &mut dyn Write) -> io::Result<()> {
    let results = changed.iter().flat_map(|file| file.uncovered.iter().map(|lines| result(file, lines)));
    let document = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "podcov-report",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [{
                    "id": RULE,
                    "name": "UncoveredChangedLines",
                    "shortDescription": { "text": "Changed lines that no test ran" },
                    "fullDescription": { "text": "The lines are new or changed, they can run, and no input of the report covers them." },
                    "help": { "text": "Add a test that runs these lines." },
                    "defaultConfiguration": { "level": "warning" },
                }],
            } },
            "originalUriBaseIds": { BASE: { "description": { "text": "The repository's top folder" } } },
            "results": results.collect::<Vec<_>>(),
        }],
    });
    serde_json::to_writer(&mut *out, &document)?;
    out.write_all(b"\n")
}

/// The name of the folder that paths are relative to, as GitHub has it.
const BASE: &str = "%SRCROOT%";

fn result(file: &ChangedFile, lines: &RangeInclusive<u32>) -> Value {
    json!({
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": "warning",
        "message": { "text": file.message(lines) },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": uri(&file.path), "uriBaseId": BASE },
            "region": { "startLine": lines.start(), "endLine": lines.end() },
        } }],
    })
}

/// A path as a relative URI. RFC 3986: what is neither unreserved nor a slash is escaped.
fn uri(path: &str) -> String {
    path.bytes().fold(String::new(), |mut uri, byte| {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            byte => write!(uri, "%{byte:02X}").expect("a string takes all"),
        }
        uri
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_uris() {
        for (path, escaped) in [
            ("a/b_c-d.go", "a/b_c-d.go"),
            ("a b/100%.go", "a%20b/100%25.go"),
            ("ö:#?.go", "%C3%B6%3A%23%3F.go"),
        ] {
            assert_eq!(uri(path), escaped);
        }
    }
}
