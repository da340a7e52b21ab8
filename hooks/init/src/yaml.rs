//! skaffold.yaml as text: its comments and its order stay.

use std::ops::Range;

use serde_json::{Map, Value};

/// The widest list that is written on one line.
const WIDEST: usize = 120;

/// The keys that come first in a map.
const FIRST: [&str; 3] = ["name", "image", "context"];

/// One of a file's configurations.
#[derive(Debug)]
pub(crate) struct Module {
    /// Its value.
    pub(crate) config: Value,
    /// Where it is in the file's text.
    pub(crate) place: Range<usize>,
}

/// Reads the configuration that is to be changed: that of the name, else the only one that builds artifacts.
///
/// # Errors
/// Why it is not known, or cannot be read.
pub(crate) fn parse(text: &str, name: Option<&str>) -> Result<Module, String> {
    let mut modules = Vec::new();
    for place in places(text) {
        let config: Value = serde_saphyr::from_str(&text[place.clone()])
            .map_err(|error| format!("it is no YAML: {error}"))?;
        if !config.is_object() {
            return Err("it is no configuration of Skaffold's".to_owned());
        }
        modules.push(Module { config, place });
    }
    let name_of = |module: &Module| module.config["metadata"]["name"].as_str().map(str::to_owned);
    let names: Vec<String> = modules.iter().map(|module| name_of(module).unwrap_or_default()).collect();
    let has_several = modules.len() > 1;
    if let Some(name) = name {
        let named = modules.into_iter().find(|module| name_of(module).as_deref() == Some(name));
        return named.ok_or_else(|| format!("it has no module {name}; it has: {}", names.join(", ")));
    }
    if has_several {
        modules.retain(|module| module.config["build"]["artifacts"].is_array());
    }
    match (modules.pop(), modules.is_empty()) {
        (Some(only), true) => Ok(only),
        (Some(_), false) => Err(format!(
            "it has several modules that build artifacts; name one with --module: {}",
            names.join(", ")
        )),
        (None, _) if has_several => Err("none of its modules builds artifacts".to_owned()),
        (None, _) => Err("it is empty".to_owned()),
    }
}

/// Where a text has documents with content.
fn places(text: &str) -> Vec<Range<usize>> {
    let is_marker = |line: &str| line.trim_end() == "---" || line.starts_with("--- ");
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        at += line.len();
        if is_marker(line) {
            starts.push(at);
        }
    }
    let ends = starts.iter().skip(1).map(|start| {
        let before = text[..*start].trim_end_matches(['\n', '\r']);
        before.rfind('\n').map_or(0, |end| end + 1)
    });
    let ends = ends.chain([text.len()]).collect::<Vec<_>>();
    let is_content = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let places = starts.iter().zip(ends).map(|(start, end)| *start..end.max(*start));
    places.filter(|place| text[place.clone()].lines().any(is_content)).collect()
}

/// The text with one more profile.
///
/// # Errors
/// Why it cannot be edited.
pub(crate) fn with_profile(text: &str, module: &Module, profile: &Value) -> Result<String, String> {
    let Module { config, place } = module;
    let edited = edited(&text[place.clone()], config, profile)?;
    Ok([&text[..place.start], &edited, &text[place.end..]].concat())
}

/// A configuration's text with one more profile.
fn edited(text: &str, config: &Value, profile: &Value) -> Result<String, String> {
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
    match serde_saphyr::from_str::<Value>(&edited) {
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

    fn edit(text: &str) -> Result<String, String> {
        let profile = json!({"name": "coverage", "deploy": {"kubectl": {"hooks": {"after": [
            {"host": {"command": ["podcov", "run", "service/web", "80", "--", "sh", "-c", "go test"]}}
        ]}}}});
        with_profile(text, &parse(text, None).unwrap(), &profile)
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
        assert_eq!(edit(head).unwrap(), format!("{head}profiles:\n{ITEM}"));
        assert_eq!(edit(head.trim_end()).unwrap(), format!("{head}profiles:\n{ITEM}"));
        let one = format!(
            "{head}profiles:\n  - name: dev\n    build: {{}}\n\n# About what follows\nmetadata: {{}}\n"
        );
        let (before, after) = one.split_once("\n\n#").unwrap();
        assert_eq!(edit(&one).unwrap(), format!("{before}\n{ITEM}\n#{after}"));
        let flush = "profiles:\n- name: dev\n";
        let item: String = ITEM.lines().map(|line| format!("{}\n", &line[2..])).collect();
        assert_eq!(edit(flush).unwrap(), format!("{flush}{item}"));
        assert!(edit("profiles: [{name: dev}]\n").is_err());
    }

    #[test]
    fn a_module_among_several_is_found() {
        let one = "metadata: {name: one}\nbuild:\n  artifacts: [{image: a}]\n";
        let other = "# Of another\nmetadata: {name: other}\ndeploy: {}\n";
        let text = format!("# A comment\n---\n{one}---\n{other}");
        assert_eq!(edit(&text).unwrap(), format!("# A comment\n---\n{one}profiles:\n{ITEM}---\n{other}"));
        let named = |name| parse(&text, Some(name)).map(|module| text[module.place].to_owned());
        assert_eq!(named("other"), Ok(other.to_owned()));
        assert_eq!(named("third").unwrap_err(), "it has no module third; it has: one, other");
        let both = format!("{one}---\n{one}");
        assert!(parse(&both, None).unwrap_err().contains("name one with --module"));
        assert!(parse(&format!("{other}---\n{other}"), None).unwrap_err().contains("builds artifacts"));
        assert!(parse("# nothing\n", None).is_err());
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
