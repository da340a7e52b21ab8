//! Which pods belong to the run: Skaffold's environment, or the same by flag.

use globset::{Glob, GlobMatcher};
use podcov_exit::{Exit, Failure, ResultExt};

use crate::{PodSet, Pods};

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

    /// Only pods of this Skaffold run (label skaffold.dev/run-id)
    #[cfg_attr(feature = "clap", arg(long, env = "SKAFFOLD_RUN_ID", value_name = "ID"))]
    pub run_id: Option<String>,

    /// A label selector that the pods must match as well
    #[cfg_attr(feature = "clap", arg(short = 'l', long, value_name = "SELECTOR"))]
    pub selector: Option<String>,

    /// Only pods whose name matches this pattern: `*`, `?`, `[ab]` or `{a,b}`
    #[cfg_attr(feature = "clap", arg(long, value_name = "PATTERN"))]
    pub pod: Option<String>,

    /// Only containers whose name matches this pattern: `*`, `?`, `[ab]` or `{a,b}`
    #[cfg_attr(feature = "clap", arg(short, long, value_name = "PATTERN"))]
    pub container: Option<String>,

    /// The folder with the counter files in the containers [default: each container's GOCOVERDIR]
    #[cfg_attr(feature = "clap", arg(long, value_name = "DIR"))]
    pub coverdir: Option<String>,
}

/// [`SelectArgs`] checked, against one cluster's default namespace.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The pods, before those that have another name than the user asked for are left out. They are in one namespace or
    /// several, or in all.
    pub sets: Vec<PodSet>,
    /// The Skaffold run, if there is one.
    pub run_id: Option<String>,
    /// Containers are meant too that set no GOCOVERDIR and mention no podcov-agent.
    pub all_containers: bool,
    /// Containers are meant too whose programs a podcov-agent beside them reads from their memory.
    pub by_sidecar: bool,
    /// The notes of tests are of these pods, and of no others of the run.
    pub is_noted: bool,
    pod: Option<GlobMatcher>,
    container: Option<GlobMatcher>,
    coverdir: Option<String>,
}

impl SelectArgs {
    /// Checks the arguments.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 when neither a run, nor a selector, nor a pod is given, or a pattern is wrong.
    pub fn scope(&self, default_namespace: &str) -> anyhow::Result<Scope> {
        if !self.selects() {
            return Err(Failure::new(Exit::Usage, "no pods are selected")
                .with_hint(
                    "Skaffold sets SKAFFOLD_RUN_ID for its hooks; by hand give --run-id, --selector or --pod",
                )
                .into());
        }
        let run_id = given(&self.run_id);
        let by_run = run_id.as_ref().map(|id| format!("{RUN_ID_LABEL}={id}"));
        let labels: Vec<String> = by_run.into_iter().chain(given(&self.selector)).collect();
        Ok(Scope {
            sets: sets(
                (!self.all_namespaces).then(|| self.namespaces_or(default_namespace)),
                &labels.join(","),
            ),
            run_id,
            all_containers: false,
            by_sidecar: false,
            is_noted: false,
            pod: pattern("--pod", &self.pod)?,
            container: pattern("--container", &self.container)?,
            coverdir: given(&self.coverdir),
        })
    }

    /// Whether a run, a selector or a pod is given.
    #[must_use]
    pub fn selects(&self) -> bool {
        [&self.run_id, &self.selector, &self.pod].into_iter().any(|text| given(text).is_some())
    }

    /// Checks the arguments of a program that has targets too: without a run and a selector the pods are those of the
    /// targets, of which the patterns of pods and containers select.
    ///
    /// # Errors
    /// As [`Self::scope`], if there are no targets either.
    pub fn scope_or_targets(
        &self,
        default_namespace: &str,
        mut of_targets: Vec<PodSet>,
    ) -> anyhow::Result<Scope> {
        if of_targets.is_empty() || given(&self.run_id).is_some() || given(&self.selector).is_some() {
            return self.scope(default_namespace);
        }
        of_targets.sort_by(|a, b| a.namespace.cmp(&b.namespace));
        let scope = self.stored_scope()?;
        Ok(Scope { sets: of_targets, coverdir: given(&self.coverdir), ..scope })
    }

    /// Checks the arguments for what is not in a cluster: without any, all that is there is meant.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 when a pattern is none.
    pub fn stored_scope(&self) -> anyhow::Result<Scope> {
        let named = self.namespaces.iter().any(|name| !name.trim().is_empty()) && !self.all_namespaces;
        Ok(Scope {
            sets: sets(named.then(|| self.namespaces_or("")), ""),
            run_id: given(&self.run_id),
            all_containers: false,
            by_sidecar: false,
            is_noted: false,
            pod: pattern("--pod", &self.pod)?,
            container: pattern("--container", &self.container)?,
            coverdir: None,
        })
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
    /// A folder that the user named says nothing of a pod that he did not choose, and neither does a memory that might be read.
    #[must_use]
    pub fn of_no_run(&self) -> Option<Self> {
        let by_run = format!("{RUN_ID_LABEL}={}", self.run_id.as_ref()?);
        let mut sets = self.sets.clone();
        for set in &mut sets {
            if let Pods::Labelled(labels) = &mut set.pods {
                *labels = labels.replacen(&by_run, &format!("!{RUN_ID_LABEL}"), 1);
            }
        }
        Some(Self { sets, run_id: None, coverdir: None, all_containers: false, ..self.clone() })
    }

    /// Whether a pod that was noted is selected if its name is: its labels tell no more than that it is of the run.
    #[must_use]
    pub fn selects_by_name(&self) -> bool {
        if self.is_noted {
            return true;
        }
        let by_run = self.run_id.as_ref().map(|id| format!("{RUN_ID_LABEL}={id}"));
        self.sets.iter().all(|set| match &set.pods {
            Pods::Labelled(labels) => labels.is_empty() || by_run.as_ref() == Some(labels),
            Pods::Named(_) => true,
        })
    }

    /// Whether a namespace is looked into.
    #[must_use]
    pub fn wants_namespace(&self, name: &str) -> bool {
        self.sets.iter().any(|set| set.namespace.as_ref().is_none_or(|one| one == name))
    }

    /// Whether a pod of that name is meant.
    #[must_use]
    pub fn wants_pod(&self, name: &str) -> bool {
        self.pod.as_ref().is_none_or(|pattern| pattern.is_match(name))
    }

    /// Whether a container of that name is meant.
    #[must_use]
    pub fn wants_container(&self, name: &str) -> bool {
        self.container.as_ref().is_none_or(|pattern| pattern.is_match(name))
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
            part(" in namespaces ", &self.namespaces().map(|names| names.join(", "))),
            part(" of pods named ", &self.pod.as_ref().map(text)),
            part(" of containers named ", &self.container.as_ref().map(text)),
        ];
        parts.concat()
    }

    /// The scope in words, for messages: `label x in namespaces a, b`.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut pods: Vec<String> = self.sets.iter().map(|set| set.pods.to_string()).collect();
        pods.dedup();
        let named = self.pod.as_ref().map(|pod| format!(" named {}", text(pod))).unwrap_or_default();
        let pods = pods.join(", ") + &named;
        match self.namespaces().as_deref() {
            None => format!("{pods} in all namespaces"),
            Some([one]) => format!("{pods} in namespace {one}"),
            Some(several) => format!("{pods} in namespaces {}", several.join(", ")),
        }
    }

    /// The namespaces to look in; `None` for all of them.
    fn namespaces(&self) -> Option<Vec<&str>> {
        let mut names: Vec<&str> =
            self.sets.iter().map(|set| set.namespace.as_deref()).collect::<Option<_>>()?;
        names.dedup();
        Some(names)
    }
}

/// The pods with these labels in each of the namespaces, or in all.
fn sets(namespaces: Option<Vec<String>>, labels: &str) -> Vec<PodSet> {
    let set = |namespace| PodSet { namespace, pods: Pods::Labelled(labels.to_owned()) };
    namespaces.map_or_else(|| vec![set(None)], |names| names.into_iter().map(Some).map(set).collect())
}

/// An argument that says something.
fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

/// The pattern that a flag has, if it has one.
fn pattern(flag: &str, text: &Option<String>) -> anyhow::Result<Option<GlobMatcher>> {
    let glob = given(text).map(|text| Glob::new(&text)).transpose();
    let glob = glob.or_exit(Exit::Usage, format!("{flag} has no pattern of names"))?;
    Ok(glob.map(|glob| glob.compile_matcher()))
}

/// A pattern as it was written.
fn text(pattern: &GlobMatcher) -> String {
    pattern.glob().to_string()
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
            ("*", "a.b", true),
            ("app-?", "app-1", true),
            ("{cart,web}-*", "web-1", true),
            ("", "any", true),
        ] {
            let args = SelectArgs { pod: Some(pattern.to_owned()), ..SelectArgs::default() };
            let scope = args.stored_scope().unwrap();
            assert_eq!(scope.wants_pod(name), expected, "{pattern} against {name}");
        }
        let args = SelectArgs { pod: Some("app-[".to_owned()), ..SelectArgs::default() };
        let error = args.scope("default").unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit(), Exit::Usage);
        let said = "--pod has no pattern of names: error parsing glob 'app-[': unclosed character class; missing ']'";
        assert_eq!(format!("{error:#}"), said);
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
        assert_eq!(scope.describe(), "pods with label skaffold.dev/run-id=7,app=cart in namespaces a, b");
        assert_eq!(scope.sets.len(), 2);
    }

    #[test]
    fn the_targets_pods_serve_where_no_run_and_no_selector_is_given() {
        let of_target =
            || vec![PodSet { namespace: Some("shop".into()), pods: Pods::Labelled("app=web".into()) }];
        let described = |args: SelectArgs, of_targets| {
            args.scope_or_targets("default", of_targets).map(|one| one.describe())
        };
        let given = |text: &str| Some(text.to_owned());
        for (args, with_target, without) in [
            (SelectArgs::default(), "pods with label app=web in namespace shop", None),
            (
                SelectArgs { pod: given("web-*"), ..SelectArgs::default() },
                "pods with label app=web named web-* in namespace shop",
                Some("pods named web-* in namespace default"),
            ),
            (
                SelectArgs { selector: given("app=db"), ..SelectArgs::default() },
                "pods with label app=db in namespace default",
                Some("pods with label app=db in namespace default"),
            ),
            (
                SelectArgs { run_id: given("7"), pod: given("web-*"), ..SelectArgs::default() },
                "pods with label skaffold.dev/run-id=7 named web-* in namespace default",
                Some("pods with label skaffold.dev/run-id=7 named web-* in namespace default"),
            ),
            // As Skaffold's variable is outside of a run.
            (
                SelectArgs { run_id: given(""), ..SelectArgs::default() },
                "pods with label app=web in namespace shop",
                None,
            ),
        ] {
            assert_eq!(args.selects(), without.is_some(), "{args:?}");
            assert_eq!(described(args.clone(), of_target()).unwrap(), with_target, "{args:?}");
            assert_eq!(described(args.clone(), Vec::new()).ok().as_deref(), without, "{args:?}");
        }
    }

    #[test]
    fn nothing_said_is_wrong_use() {
        let error = SelectArgs::default().scope("default").unwrap_err();
        assert_eq!(error.downcast_ref::<Failure>().unwrap().exit(), Exit::Usage);
    }
}
