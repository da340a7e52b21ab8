//! Which pods belong to the run: Skaffold's environment, or the same by flag.

use podcov_exit::{Exit, Failure};

/// The label that Skaffold puts on every object of a run, pod templates included.
const RUN_ID_LABEL: &str = "skaffold.dev/run-id";

/// Which pods and containers are meant. Skaffold's hook environment gives the defaults.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "clap", derive(clap::Args), command(next_help_heading = "Pods"))]
pub struct SelectArgs {
    /// A namespace to look in; may be given several times or comma separated [default: the context's]
    #[cfg_attr(
        feature = "clap",
        arg(
            short,
            long = "namespace",
            env = "SKAFFOLD_NAMESPACES",
            value_delimiter = ',',
            value_name = "NAME"
        )
    )]
    pub namespaces: Vec<String>,

    /// Look in all namespaces (needs the right to list pods in all of them)
    #[cfg_attr(feature = "clap", arg(short = 'A', long))]
    pub all_namespaces: bool,

    /// The Skaffold run whose pods are meant (label skaffold.dev/run-id)
    #[cfg_attr(feature = "clap", arg(long, env = "SKAFFOLD_RUN_ID", value_name = "ID"))]
    pub run_id: Option<String>,

    /// A label selector that the pods must match as well
    #[cfg_attr(feature = "clap", arg(short = 'l', long, value_name = "SELECTOR"))]
    pub selector: Option<String>,

    /// Only pods whose name matches this pattern (`*` stands for anything)
    #[cfg_attr(feature = "clap", arg(long, value_name = "PATTERN"))]
    pub pod: Option<String>,

    /// Only containers whose name matches this pattern (`*` stands for anything)
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "PATTERN"))]
    pub container: Option<String>,

    /// The folder with the counter files in the containers [default: each container's GOCOVERDIR]
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR"))]
    pub coverdir: Option<String>,
}

/// [`SelectArgs`] checked, against one cluster's default namespace.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The namespaces to look in; `None` for all of them.
    pub namespaces: Option<Vec<String>>,
    /// The label selector that covers run and user's wish.
    pub labels: String,
    /// The Skaffold run, if there is one.
    pub run_id: Option<String>,
    pod: Option<String>,
    container: Option<String>,
    coverdir: Option<String>,
}

impl SelectArgs {
    /// Checks the arguments.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 when nothing says which pods are meant.
    pub fn scope(&self, default_namespace: &str) -> anyhow::Result<Scope> {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let run_id = given(&self.run_id);
        let by_run = run_id.as_ref().map(|id| format!("{RUN_ID_LABEL}={id}"));
        let labels: Vec<String> = by_run.into_iter().chain(given(&self.selector)).collect();
        if labels.is_empty() && given(&self.pod).is_none() {
            return Err(Failure::new(Exit::Usage, "nothing says which pods are meant")
                .with_hint(
                    "Skaffold sets SKAFFOLD_RUN_ID for its hooks; by hand give --run-id, --selector or --pod",
                )
                .into());
        }
        Ok(Scope {
            namespaces: (!self.all_namespaces).then(|| self.namespaces_or(default_namespace)),
            labels: labels.join(","),
            run_id,
            pod: given(&self.pod),
            container: given(&self.container),
            coverdir: given(&self.coverdir),
        })
    }

    /// Checks the arguments for what is not in a cluster: without any, all that is there is meant.
    #[must_use]
    pub fn stored_scope(&self) -> Scope {
        let given = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
        let named = self.namespaces.iter().any(|name| !name.trim().is_empty()) && !self.all_namespaces;
        Scope {
            namespaces: named.then(|| self.namespaces_or("")),
            labels: String::new(),
            run_id: given(&self.run_id),
            pod: given(&self.pod),
            container: given(&self.container),
            coverdir: None,
        }
    }

    fn namespaces_or(&self, default: &str) -> Vec<String> {
        let mut named: Vec<String> =
            self.namespaces.iter().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).collect();
        named.sort();
        named.dedup();
        if named.is_empty() { vec![default.to_owned()] } else { named }
    }
}

impl Scope {
    /// The same pods but for the run: those that carry no run's label. `None` where the scope is no run's.
    ///
    /// A folder that the user named says nothing of a pod that he did not choose.
    #[must_use]
    pub fn of_no_run(&self) -> Option<Self> {
        let by_run = format!("{RUN_ID_LABEL}={}", self.run_id.as_ref()?);
        let labels = self.labels.replacen(&by_run, &format!("!{RUN_ID_LABEL}"), 1);
        Some(Self { labels, run_id: None, coverdir: None, ..self.clone() })
    }

    /// Whether a pod's labels tell no more than that it is of the run, so that its name alone decides.
    #[must_use]
    pub fn selects_by_name(&self) -> bool {
        self.run_id.as_ref().is_some_and(|id| self.labels == format!("{RUN_ID_LABEL}={id}"))
    }

    /// Whether a namespace is looked into.
    #[must_use]
    pub fn wants_namespace(&self, name: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|names| names.iter().any(|one| one == name))
    }

    /// Whether a pod of that name is meant.
    #[must_use]
    pub fn wants_pod(&self, name: &str) -> bool {
        self.pod.as_deref().is_none_or(|pattern| matches(pattern, name))
    }

    /// Whether a container of that name is meant.
    #[must_use]
    pub fn wants_container(&self, name: &str) -> bool {
        self.container.as_deref().is_none_or(|pattern| matches(pattern, name))
    }

    /// The folder that the user named for all containers.
    #[must_use]
    pub fn coverdir(&self) -> Option<&str> {
        self.coverdir.as_deref()
    }

    /// What was chosen of what is stored, in words: ` of run x in namespaces a, b`.
    #[must_use]
    pub fn describe_stored(&self) -> String {
        let part =
            |before: &str, what: &Option<String>| what.iter().map(|what| format!("{before}{what}")).collect();
        let parts: [String; 4] = [
            part(" of run ", &self.run_id),
            part(" in namespaces ", &self.namespaces.as_ref().map(|names| names.join(", "))),
            part(" of pods named ", &self.pod),
            part(" of containers named ", &self.container),
        ];
        parts.concat()
    }

    /// The scope in words, for messages: `label x in namespaces a, b`.
    #[must_use]
    pub fn describe(&self) -> String {
        let pods = match (&self.labels, &self.pod) {
            (labels, None) => format!("pods with label {labels}"),
            (labels, Some(pod)) if labels.is_empty() => format!("pods named {pod}"),
            (labels, Some(pod)) => format!("pods named {pod} with label {labels}"),
        };
        match &self.namespaces {
            None => format!("{pods} in all namespaces"),
            Some(named) if named.len() == 1 => format!("{pods} in namespace {}", named[0]),
            Some(named) => format!("{pods} in namespaces {}", named.join(", ")),
        }
    }
}

/// Matches a name against a pattern in which `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = rest.split('*').collect();
    let Some((last, middle)) = parts.split_last() else { return true };
    for part in middle {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("app", "app", true),
            ("app", "app2", false),
            ("app-*", "app-1", true),
            ("*-db", "shop-db", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn run_id_and_selector_both_hold() {
        let args = SelectArgs {
            run_id: Some("7".into()),
            selector: Some("app=cart".into()),
            namespaces: vec!["b".into(), String::new(), " a".into(), "b".into()],
            ..SelectArgs::default()
        };
        let scope = args.scope("default").unwrap();
        assert_eq!(scope.labels, "skaffold.dev/run-id=7,app=cart");
        assert_eq!(scope.namespaces.unwrap(), ["a", "b"]);
    }

    #[test]
    fn nothing_said_is_wrong_use() {
        let error = SelectArgs::default().scope("default").unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit(), Exit::Usage);
    }
}
