//! Label and field selectors, as list and watch take them.

use serde_json::Value;

use crate::object;

/// A label selector and a field selector; both must match.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads the `labelSelector` and `fieldSelector` of a request; the error is the server's own message.
    pub(crate) fn parse(labels: &str, fields: &str) -> Result<Self, String> {
        Ok(Self { labels: parse_labels(labels)?, fields: parse_fields(fields)? })
    }

    /// Whether it selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|requirement| requirement.matches(object))
            && self.fields.iter().all(|(path, equal, value)| (field(object, path) == value) == *equal)
    }
}

impl Requirement {
    fn matches(&self, object: &Value) -> bool {
        let value = object::label(object, &self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|one| one == value)),
            Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|one| one != value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, String> {
    split_outside_parentheses(text).map(parse_requirement).collect()
}

/// The parts between commas; a comma in `in (a,b)` does not separate.
fn split_outside_parentheses(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let separator = move |c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    text.split(separator).map(str::trim).filter(|part| !part.is_empty())
}

fn parse_requirement(part: &str) -> Result<Requirement, String> {
    let requirement = |key: &str, operator| {
        let key = key.trim();
        let valid = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        if key.is_empty() || !key.chars().all(valid) {
            return Err(format!(
                "unable to parse requirement: <nil>: Invalid value: {key:?}: name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
            ));
        }
        Ok(Requirement { key: key.to_owned(), operator })
    };
    if let Some(rest) = part.strip_suffix(')') {
        let found = rest.split_once('(').and_then(|(left, values)| {
            let values = values.split(',').map(|value| value.trim().to_owned()).collect();
            let (key, operator) = left.trim_end().rsplit_once(char::is_whitespace)?;
            match operator {
                "in" => Some((key, Operator::In(values))),
                "notin" => Some((key, Operator::NotIn(values))),
                _ => None,
            }
        });
        let (key, operator) = found
            .ok_or_else(|| format!("unable to parse requirement: found '{part}', expected: in, notin"))?;
        return requirement(key, operator);
    }
    if let Some(key) = part.strip_prefix('!') {
        return requirement(key, Operator::DoesNotExist);
    }
    if let Some((key, value)) = part.split_once("!=") {
        return requirement(key, Operator::NotIn(vec![value.trim().to_owned()]));
    }
    if let Some((key, value)) = part.split_once('=') {
        let value = value.strip_prefix('=').unwrap_or(value).trim();
        return requirement(key, Operator::In(vec![value.to_owned()]));
    }
    requirement(part, Operator::Exists)
}

/// The fields the API server can select by, of which a kind has some.
const FIELDS: [&str; 7] = [
    "metadata.name",
    "metadata.namespace",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.serviceAccountName",
    "status.phase",
    "status.podIP",
];

fn parse_fields(text: &str) -> Result<Vec<(String, bool, String)>, String> {
    let parse = |part: &str| {
        let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = part.split_once('=') {
            (path, true, value.strip_prefix('=').unwrap_or(value))
        } else {
            return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
        };
        if !FIELDS.contains(&path) {
            return Err(format!("field label not supported: {path}"));
        }
        Ok((path.to_owned(), equal, value.to_owned()))
    };
    text.split(',').filter(|part| !part.is_empty()).map(parse).collect()
}

fn field<'a>(object: &'a Value, path: &str) -> &'a str {
    let found = path.split('.').try_fold(object, |at, key| at.get(key));
    found.and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn label_selectors() {
        let pod = json!({"metadata": {"labels": {"app": "shop", "skaffold.dev/run-id": "7", "empty": ""}}});
        for (selector, expected) in [
            ("", true),
            ("app=shop", true),
            ("app==shop", true),
            ("app = shop , skaffold.dev/run-id=7", true),
            ("app=other", false),
            ("app!=other", true),
            ("missing!=x", true),
            ("app in (a, shop)", true),
            ("app in (a,b)", false),
            ("app notin (a,b),app", true),
            ("app notin (shop)", false),
            ("missing notin (shop)", true),
            ("app", true),
            ("!app", false),
            ("!missing", true),
            ("empty=", true),
        ] {
            let parsed = Selector::parse(selector, "").unwrap();
            assert_eq!(parsed.matches(&pod), expected, "{selector}");
        }
        for wrong in ["a b", "app among (x)", "=x", "$x=1"] {
            assert!(Selector::parse(wrong, "").is_err(), "{wrong}");
        }
    }

    #[test]
    fn field_selectors() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"phase": "Running"}});
        for (selector, expected) in [
            ("metadata.name=a", true),
            ("metadata.name==b", false),
            ("status.phase!=Pending,metadata.name=a", true),
            ("status.podIP=", true),
        ] {
            assert_eq!(Selector::parse("", selector).unwrap().matches(&pod), expected, "{selector}");
        }
        let error = Selector::parse("", "spec.colour=red").unwrap_err();
        assert_eq!(error, "field label not supported: spec.colour");
    }
}
