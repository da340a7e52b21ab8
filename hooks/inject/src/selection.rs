//! Which workloads of a stream are changed.

use std::collections::BTreeMap;

use anyhow::Result;
use globset::{Glob, GlobMatcher};
use podcov_exit::{Exit, Failure, ResultExt};
use serde_json::Value;

use crate::args::Args;

/// A kind of object that has pods.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// As manifests name it.
    pub(crate) name: &'static str,
    /// The API group; empty for the core group.
    group: &'static str,
    /// As kubectl takes it; the first is what messages have.
    aliases: &'static [&'static str],
    /// The keys that lead to the pod's template; none for a pod.
    pub(crate) template: &'static [&'static str],
}

const TEMPLATE: &[&str] = &["spec", "template"];

/// All of them.
const KINDS: [Kind; 8] = [
    Kind {
        name: "Deployment",
        group: "apps",
        aliases: &["deployment", "deployments", "deploy"],
        template: TEMPLATE,
    },
    Kind {
        name: "StatefulSet",
        group: "apps",
        aliases: &["statefulset", "statefulsets", "sts"],
        template: TEMPLATE,
    },
    Kind {
        name: "DaemonSet",
        group: "apps",
        aliases: &["daemonset", "daemonsets", "ds"],
        template: TEMPLATE,
    },
    Kind {
        name: "ReplicaSet",
        group: "apps",
        aliases: &["replicaset", "replicasets", "rs"],
        template: TEMPLATE,
    },
    Kind {
        name: "ReplicationController",
        group: "",
        aliases: &["replicationcontroller", "replicationcontrollers", "rc"],
        template: TEMPLATE,
    },
    Kind { name: "Job", group: "batch", aliases: &["job", "jobs"], template: TEMPLATE },
    Kind {
        name: "CronJob",
        group: "batch",
        aliases: &["cronjob", "cronjobs", "cj"],
        template: &["spec", "jobTemplate", "spec", "template"],
    },
    Kind { name: "Pod", group: "", aliases: &["pod", "pods", "po"], template: &[] },
];

impl Kind {
    /// That of an object, if it is one of these.
    pub(crate) fn of(object: &Value) -> Option<&'static Self> {
        let (kind, version) = (object["kind"].as_str()?, object["apiVersion"].as_str()?);
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        KINDS.iter().find(|one| one.name == kind && one.group == group)
    }

    /// As messages name it.
    pub(crate) fn word(&self) -> &'static str {
        self.aliases[0]
    }

    /// The pod's template in an object, or the pod.
    pub(crate) fn pod<'a>(&self, object: &'a Value) -> &'a Value {
        self.template.iter().fold(object, |at, key| &at[*key])
    }
}

/// Whether a text may have an object of these kinds, or a list of objects.
pub(crate) fn may_have_pods(text: &str) -> bool {
    let mut kinds = text.lines().filter(|line| line.contains("kind"));
    kinds.any(|line| line.contains("List") || KINDS.iter().any(|kind| line.contains(kind.name)))
}

/// What the arguments select.
#[derive(Debug)]
pub(crate) struct Selection {
    /// Each with whether it was found.
    workloads: Vec<(&'static Kind, String, bool)>,
    labels: Vec<Requirement>,
    container: Option<GlobMatcher>,
    /// Whether a pod was selected, and whether a container was.
    found: (bool, bool),
}

/// What a label selector requires of a label.
#[derive(Debug, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

impl Selection {
    /// Checks the arguments.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 when one is wrong.
    pub(crate) fn of(args: &Args) -> Result<Self> {
        let mut workloads = Vec::new();
        for text in &args.workloads {
            let (kind, name) = text.split_once('/').unwrap_or((text, ""));
            let kind = KINDS.iter().find(|one| one.aliases.contains(&kind.to_ascii_lowercase().as_str()));
            match kind.filter(|_| !name.is_empty()) {
                Some(kind) => workloads.push((kind, name.to_owned(), false)),
                None => {
                    return Err(Failure::new(Exit::Usage, format!("{text} names no workload"))
                        .with_hint("write KIND/NAME, for example deployment/cart")
                        .into());
                }
            }
        }
        let labels = args.selector.as_deref().map(requirements).transpose();
        let labels = labels.map_err(|part| {
            Failure::new(Exit::Usage, format!("--selector has no requirement of a label: {part:?}"))
        })?;
        let container = args.container.as_deref().filter(|text| !text.is_empty()).map(Glob::new).transpose();
        let container = container.or_exit(Exit::Usage, "--container has no pattern of names")?;
        Ok(Self {
            workloads,
            labels: labels.unwrap_or_default(),
            container: container.map(|glob| glob.compile_matcher()),
            found: (false, false),
        })
    }

    /// Whether an object's pods are to be changed.
    pub(crate) fn selects(&mut self, kind: &Kind, object: &Value) -> bool {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let mut is_named = self.workloads.is_empty();
        for (of, named, found) in &mut self.workloads {
            if *of == kind && named == name {
                (*found, is_named) = (true, true);
            }
        }
        let labels = kind.pod(object)["metadata"]["labels"].as_object();
        let labels: BTreeMap<&str, &str> = labels
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
            .collect();
        let selects = is_named && self.labels.iter().all(|one| one.holds(&labels));
        self.found.0 |= selects;
        selects
    }

    /// Whether a container of a selected pod is to be changed.
    pub(crate) fn selects_container(&mut self, name: &str) -> bool {
        let selects = self.container.as_ref().is_none_or(|pattern| pattern.is_match(name));
        self.found.1 |= selects;
        selects
    }

    /// What was asked for and is not there.
    pub(crate) fn missing(&self) -> Option<String> {
        if let Some((kind, name, _)) = self.workloads.iter().find(|(.., found)| !found) {
            return Some(format!("the manifests have no {}/{name}", kind.word()));
        }
        if !self.found.0 && !self.labels.is_empty() {
            return Some("the manifests have no pods that --selector matches".to_owned());
        }
        (self.container.is_some() && !self.found.1)
            .then(|| "no container has a name that --container matches".to_owned())
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<&str, &str>) -> bool {
        let is_in = |name: &String, values: &[String]| {
            labels.get(name.as_str()).is_some_and(|value| values.iter().any(|one| one == value))
        };
        match self {
            Self::In(name, values) => is_in(name, values),
            Self::NotIn(name, values) => !is_in(name, values),
            Self::Exists(name) => labels.contains_key(name.as_str()),
            Self::Missing(name) => !labels.contains_key(name.as_str()),
        }
    }
}

/// A label selector, as kubectl takes it. The error is the part that is none.
fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut depth = 0_usize;
    let parts = text.split(|c: char| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).map(|part| requirement(part).ok_or_else(|| part.to_owned())).collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    let word = |text: &str| {
        let text = text.trim();
        let is_part = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        (!text.is_empty() && text.chars().all(is_part)).then(|| text.to_owned())
    };
    // A value may be empty.
    let value = |text: &str| if text.trim().is_empty() { Some(String::new()) } else { word(text) };
    if let Some((name, one)) = part.split_once("!=") {
        return Some(Requirement::NotIn(word(name)?, vec![value(one)?]));
    }
    if let Some((name, one)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return Some(Requirement::In(word(name)?, vec![value(one)?]));
    }
    if let Some(list) = part.strip_suffix(')') {
        let (head, list) = list.split_once('(')?;
        let values = list.split(',').map(value).collect::<Option<Vec<_>>>()?;
        let (name, operator) = head.trim().rsplit_once(char::is_whitespace)?;
        return match operator {
            "in" => Some(Requirement::In(word(name)?, values)),
            "notin" => Some(Requirement::NotIn(word(name)?, values)),
            _ => None,
        };
    }
    match part.strip_prefix('!') {
        Some(name) => Some(Requirement::Missing(word(name)?)),
        None => Some(Requirement::Exists(word(part)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_selected_as_by_kubectl() {
        let labels = BTreeMap::from([("app", "cart"), ("app.kubernetes.io/part-of", "shop"), ("empty", "")]);
        for (selector, holds) in [
            ("app=cart", true),
            ("app == cart,app.kubernetes.io/part-of=shop", true),
            ("app=web", false),
            ("app!=web", true),
            ("tier!=web", true),
            ("app in (web, cart),app.kubernetes.io/part-of", true),
            ("app notin (web,cart)", false),
            ("tier notin (web)", true),
            ("!tier", true),
            ("!app", false),
            ("tier", false),
            ("empty=", true),
        ] {
            let all = requirements(selector).unwrap();
            assert_eq!(all.iter().all(|one| one.holds(&labels)), holds, "{selector}");
        }
        for wrong in ["", "app=cart,", "app within (cart)", "app in cart)", "a b", "=x"] {
            assert!(requirements(wrong).is_err(), "{wrong}");
        }
    }
}
