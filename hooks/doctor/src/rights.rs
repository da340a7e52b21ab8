//! The user's rights in the namespaces of the run, which docs/security.md lists.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use podcov_cluster::forward::Kind;
use podcov_cluster::{Cluster, Error, Right};

use crate::check::{Check, Group};
use crate::needs::{Method, Needs};

/// From this release on the API server asks for `create` too where a connection to a pod is opened.
const CREATE_SINCE: u32 = 35;

/// The rights to the objects of a kind that the hooks need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rule {
    group: &'static str,
    pub(crate) resource: &'static str,
    verbs: &'static [&'static str],
    /// What fails without it.
    fails: &'static str,
    /// It depends on the images whether it is needed.
    is_for_some: bool,
}

pub(crate) const PODS: Rule = Rule {
    group: "",
    resource: "pods",
    verbs: &["get", "list", "watch"],
    fails: "all hooks but podcov-report",
    is_for_some: false,
};
const EXEC: Rule = Rule {
    group: "",
    resource: "pods/exec",
    verbs: &["get", "create"],
    fails: "podcov-run, podcov-signal and podcov-collect",
    is_for_some: true,
};
pub(crate) const PORT_FORWARD: Rule = Rule {
    group: "",
    resource: "pods/portforward",
    verbs: &["get", "create"],
    fails: "podcov-test and podcov-run, and all hooks that ask a podcov-agent",
    is_for_some: true,
};
const EPHEMERAL: Rule = Rule {
    group: "",
    resource: "pods/ephemeralcontainers",
    verbs: &["patch"],
    fails: "podcov-run and podcov-collect --live, where an image has no shell",
    is_for_some: true,
};

/// The rule that lets a target be looked up, if that is no pod.
pub(crate) fn rule_of(kind: Kind) -> Option<Rule> {
    let (group, resource) = match kind {
        Kind::Service => ("", "services"),
        Kind::Deployment => ("apps", "deployments"),
        Kind::StatefulSet => ("apps", "statefulsets"),
        Kind::ReplicaSet => ("apps", "replicasets"),
        Kind::Pod => return None,
    };
    let fails = "podcov-test and podcov-run";
    Some(Rule { group, resource, verbs: &["get"], fails, is_for_some: false })
}

/// The rules that a way to a container takes.
pub(crate) fn rules_of_way(way: &str) -> &'static [Rule] {
    match way {
        "agent" | "sidecar" => &[PORT_FORWARD],
        "ephemeral" => &[EPHEMERAL, EXEC],
        _ => &[EXEC],
    }
}

/// The answers about the rules in a namespace.
#[derive(Debug)]
struct Review {
    /// `None` for all namespaces.
    namespace: Option<String>,
    rule: Rule,
    /// The verbs that are not allowed.
    missing: Vec<&'static str>,
    /// Why it is not known, if it is not.
    unknown: Option<String>,
}

/// The answers about all rules.
#[derive(Debug, Default)]
pub(crate) struct Rights(Vec<Review>);

/// The rules that hooks need.
fn rules(needs: &Needs) -> BTreeSet<Rule> {
    let mut rules = BTreeSet::new();
    if !needs.routes.is_empty() {
        rules.extend([PODS, PORT_FORWARD]);
        rules.extend(needs.routes.iter().filter_map(|route| rule_of(route.target.kind)));
    }
    match needs.method {
        Method::Live => rules.extend([PODS, EXEC, PORT_FORWARD, EPHEMERAL]),
        Method::Signal(_) => rules.extend([PODS, EXEC, PORT_FORWARD]),
        Method::Stop => rules.extend([PODS, PORT_FORWARD]),
        Method::Stored(_) => {}
    }
    rules
}

impl Rights {
    /// Asks for the rights in these namespaces. `minor` is the API server's release.
    pub(crate) async fn ask(
        cluster: &Cluster,
        namespaces: &BTreeSet<Option<String>>,
        needs: &Needs,
        minor: Option<u32>,
    ) -> Self {
        let rules = rules(needs);
        let pairs = namespaces.iter().flat_map(|namespace| rules.iter().map(move |rule| (namespace, *rule)));
        let reviews = pairs.map(async |(namespace, rule)| {
            let is_needed =
                |verb: &&&str| **verb != "create" || minor.is_none_or(|minor| minor >= CREATE_SINCE);
            let answers = rule.verbs.iter().filter(is_needed).map(async |verb| {
                let right = Right { group: rule.group, resource: rule.resource, verb };
                (*verb, cluster.may(namespace.as_deref(), right).await)
            });
            review(namespace.clone(), rule, join_all(answers).await)
        });
        Self(join_all(reviews).await)
    }

    /// Whether the rights of a rule are missing in a namespace.
    pub(crate) fn lacks(&self, namespace: &str, rule: &Rule) -> bool {
        let is_meant = |review: &&Review| {
            review.rule == *rule && review.namespace.as_deref().is_none_or(|name| name == namespace)
        };
        self.0.iter().filter(is_meant).any(|review| !review.missing.is_empty())
    }

    /// The checks. `needed` are the rules that some container turned out to need.
    pub(crate) fn checks(&self, needs: &Needs, needed: &BTreeSet<Rule>) -> Vec<Check> {
        self.0.iter().map(|review| review.check(needs, needed)).collect()
    }
}

fn review(
    namespace: Option<String>,
    rule: Rule,
    answers: Vec<(&'static str, Result<bool, Error>)>,
) -> Review {
    let mut review = Review { namespace, rule, missing: Vec::new(), unknown: None };
    for (verb, answer) in answers {
        match answer {
            Ok(true) => {}
            Ok(false) => review.missing.push(verb),
            Err(error) => review.unknown = Some(error.to_string()),
        }
    }
    review
}

impl Review {
    fn check(&self, needs: &Needs, needed: &BTreeSet<Rule>) -> Check {
        let Rule { group, resource, verbs, fails, is_for_some } = self.rule;
        let place = self
            .namespace
            .as_ref()
            .map_or_else(|| "in all namespaces".to_owned(), |name| format!("in namespace {name}"));
        let check = Check::new(Group::Rights, "right", format!("{resource} {place}"));
        if let Some(why) = &self.unknown {
            return check.unknown(format!("your rights are not known: {why}"), "");
        }
        if self.missing.is_empty() {
            return check.ok(format!("you may {}", verbs.join(", ")));
        }
        let message = format!("you may not {}, which {fails} need", self.missing.join(", "));
        let kind = if self.namespace.is_some() { "Role" } else { "ClusterRole" };
        let fix = format!(
            "add this rule to your {kind} (docs/security.md has all rules): {{apiGroups: [\"{group}\"], \
             resources: [{resource}], verbs: [{}]}}",
            verbs.join(", ")
        );
        let is_for_tests = self.rule == PORT_FORWARD && !needs.routes.is_empty();
        match is_for_some && !is_for_tests && !needed.contains(&self.rule) {
            true => check.warning(message, fix),
            false => check.error(message, fix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    fn check(rule: Rule, missing: &[&'static str], routes: &str, needed: &[Rule]) -> Check {
        let missing = missing.to_vec();
        let review = Review { namespace: Some("shop".into()), rule, missing, unknown: None };
        let words: Vec<String> = routes.split_whitespace().map(str::to_owned).collect();
        let routes = podcov_test::parse_routes(&words, &[]).unwrap();
        let needs = Needs { routes, ..Needs::default() };
        review.check(&needs, &needed.iter().copied().collect())
    }

    #[test]
    fn a_missing_right_is_an_error_where_something_needs_it() {
        assert_eq!(check(PODS, &[], "", &[]).level, Level::Ok);
        let list = check(PODS, &["list"], "", &[]);
        assert_eq!(list.level, Level::Error);
        assert_eq!(list.message, "you may not list, which all hooks but podcov-report need");
        assert_eq!(
            list.fix.unwrap(),
            "add this rule to your Role (docs/security.md has all rules): {apiGroups: [\"\"], resources: [pods], \
             verbs: [get, list, watch]}"
        );
        for (rule, routes, needed, level) in [
            (EXEC, "", vec![], Level::Warning),
            (EXEC, "", vec![EXEC], Level::Error),
            (PORT_FORWARD, "", vec![EXEC], Level::Warning),
            (PORT_FORWARD, "svc/web 80", vec![], Level::Error),
            (EPHEMERAL, "svc/web 80", vec![], Level::Warning),
            (rule_of(Kind::Service).unwrap(), "svc/web 80", vec![], Level::Error),
        ] {
            assert_eq!(check(rule, &["get"], routes, &needed).level, level, "{rule:?} {routes} {needed:?}");
        }
    }

    #[test]
    fn the_rules_are_those_of_what_is_to_be_done() {
        let resources = |method| {
            let rules = rules(&Needs { method, ..Needs::default() });
            rules.into_iter().map(|rule| rule.resource).collect::<Vec<_>>()
        };
        assert_eq!(resources(Method::Stop), ["pods", "pods/portforward"]);
        assert_eq!(
            resources(Method::Live),
            ["pods", "pods/ephemeralcontainers", "pods/exec", "pods/portforward"]
        );
        assert_eq!(resources(Method::Stored("file:///x".parse().unwrap())), [""; 0]);
    }
}
