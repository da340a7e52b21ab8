//! skaffold.yaml as text: its comments and its order stay.

use serde_json::{Map, Value};

/// The widest list that is written on one line.
const WIDEST: usize = 120;

/// The keys that come first in a map.
const FIRST: [&str; 3] = ["name", "image", "context"];

/// Reads a configuration.
///
/// # Errors
/// Why it cannot be read, or not be edited.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|error| format!("it is no YAML: {error}"))?;
    match (documents.pop(), documents.is_empty()) {
        (Some(config), true) if config.is_object() => Ok(config),
        (Some(_), true) => Err("it is no configuration of Skaffold's".to_owned()),
        (Some(_), false) => {
            Err("it has several documents; write the one to be changed into a file of its own".to_owned())
        }
        (None, _) => Err("it is empty".to_owned()),
    }
}

/// The text with one more profile.
///
/// # Errors
/// Why it cannot be edited.
pub(crate) fn with_profile(text: &str, config: &Value, profile: &Value) -> Result<String, String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    if let Some(last) = lines.last_mut().filter(|line| !line.ends_with('\n')) {
        last.push('\n');
    }
    let is_top = |line: &str| !line.starts_with([' ', '#', '-', '\n', '\r']) && !line.trim().is_empty();
    let at = lines.iter().position(|line| line.starts_with("profiles:"));
    let (place, indent) = match at {
        None => {
            lines.push("profiles:\n".to_owned());
            (lines.len(), 2)
        }
        Some(at) => {
            let value = lines[at]["profiles:".len()..].split('#').next().unwrap_or_default().trim();
            let after = at + 1;
            let end =
                lines[after..].iter().position(|line| is_top(line)).map_or(lines.len(), |more| after + more);
            let first = lines[after..end].iter().find(|line| line.trim_start().starts_with("- "));
            let first = first.filter(|_| value.is_empty());
            let first = first.ok_or("its profiles are no list with an item a line")?;
            let indent = first.len() - first.trim_start().len();
            // What ends the list are its own lines, not the comments of what comes next.
            let is_own = |line: &String| {
                let own = line.len() - line.trim_start().len();
                !line.trim().is_empty() && (own > indent || line.trim_start().starts_with("- "))
            };
            let last = lines[after..end].iter().rposition(is_own).map_or(end, |last| after + last + 1);
            (last, indent)
        }
    };
    let mut item = String::new();
    write_value(&Value::Array(vec![profile.clone()]), indent, &mut item);
    lines.insert(place, item);
    let edited = lines.concat();
    // What was there is as it was.
    let mut expected = config.clone();
    match expected["profiles"].as_array_mut() {
        Some(profiles) => profiles.push(profile.clone()),
        None => expected["profiles"] = Value::Array(vec![profile.clone()]),
    }
    match parse(&edited) {
        Ok(config) if config == expected => Ok(edited),
        _ => {
            Err("it is written in a way that is not edited here; take the profile from README.md".to_owned())
        }
    }
}

/// Writes a value as lines that begin this far to the right.
fn write_value(value: &Value, indent: usize, out: &mut String) {
    let space = " ".repeat(indent);
    match value {
        Value::Array(items) => {
            for item in items {
                let mut text = String::new();
                write_value(item, indent + 2, &mut text);
                out.push_str(&format!("{space}- {}", text.trim_start()));
            }
        }
        Value::Object(fields) => {
            for (name, value) in ordered(fields) {
                match on_one_line(value).filter(|line| indent + name.len() + line.len() < WIDEST) {
                    Some(line) => out.push_str(&format!("{space}{name}: {line}\n")),
                    None => {
                        out.push_str(&format!("{space}{name}:\n"));
                        write_value(value, indent + 2, out);
                    }
                }
            }
        }
        scalar => out.push_str(&format!("{space}{}\n", write_scalar(scalar))),
    }
}

fn ordered(fields: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let rank = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(name, _)| rank(name));
    fields
}

/// A scalar, an empty collection, or a list of scalars.
fn on_one_line(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => fields.is_empty().then(|| "{}".to_owned()),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => None,
        Value::Array(items) => {
            Some(format!("[{}]", items.iter().map(write_scalar).collect::<Vec<_>>().join(", ")))
        }
        scalar => Some(write_scalar(scalar)),
    }
}

/// A text without quotes only where nothing else could be read.
fn write_scalar(value: &Value) -> String {
    let Value::String(text) = value else { return value.to_string() };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-=@".contains(c);
    let is_word = !text.is_empty()
        && text.chars().all(is_plain)
        && !text.starts_with(['=', '@'])
        && *text != "-"
        && serde_saphyr::from_str::<Value>(text).is_ok_and(|read| read == *value);
    if is_word { text.clone() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn edited(text: &str) -> Result<String, String> {
        let profile = json!({"name": "coverage", "deploy": {"kubectl": {"hooks": {"after": [
            {"host": {"command": ["podcov", "run", "service/web", "80", "--", "sh", "-c", "go test"]}}
        ]}}}});
        with_profile(text, &parse(text).unwrap(), &profile)
    }

    const ITEM: &str = "  - name: coverage
    deploy:
      kubectl:
        hooks:
          after:
            - host:
                command: [podcov, run, service/web, \"80\", --, sh, -c, \"go test\"]
";

    #[test]
    fn a_profile_is_added_and_all_else_stays() {
        let head = "# A comment\nkind: Config   # and another\n";
        assert_eq!(edited(head).unwrap(), format!("{head}profiles:\n{ITEM}"));
        assert_eq!(edited(head.trim_end()).unwrap(), format!("{head}profiles:\n{ITEM}"));
        let one = format!(
            "{head}profiles:\n  - name: dev\n    build: {{}}\n\n# About what follows\nmetadata: {{}}\n"
        );
        let (before, after) = one.split_once("\n\n#").unwrap();
        assert_eq!(edited(&one).unwrap(), format!("{before}\n{ITEM}\n#{after}"));
        let flush = "profiles:\n- name: dev\n";
        let item: String = ITEM.lines().map(|line| format!("{}\n", &line[2..])).collect();
        assert_eq!(edited(flush).unwrap(), format!("{flush}{item}"));
        assert!(edited("profiles: [{name: dev}]\n").is_err());
    }

    #[test]
    fn texts_are_read_as_they_were() {
        for text in [
            "80", "true", "null", "a b", "a: b", "*x", "-", "-cover", "~", "", "1.5", "=", "x\"y", "./...",
            "no",
        ] {
            let value = json!([text, {"k": text}]);
            let mut yaml = String::new();
            write_value(&value, 0, &mut yaml);
            assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), value, "{yaml}");
        }
    }
}
