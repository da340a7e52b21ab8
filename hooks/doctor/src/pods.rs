//! The pods of the run: they are there, and run.

use futures_util::future::join_all;
use podcov_cluster::{Cluster, Error, Found, Scope, Skipped, Target, Trouble, Why};

use crate::check::{Check, Group, Level};
use crate::rights::{PODS, Rights};

/// The checks of a scope's pods, and the containers that the hooks would reach.
pub(crate) async fn check(cluster: &Cluster, scope: &Scope, rights: &Rights) -> (Vec<Check>, Vec<Target>) {
    let Found { targets, skipped, unlisted } = match cluster.find_targets(scope).await {
        Ok(found) => found,
        Err(error) => return (vec![unlisted_scope(cluster, scope, &error, rights)], Vec::new()),
    };
    let mut checks = Vec::new();
    for namespace in &unlisted {
        let check = Check::new(Group::Pods, "pods-listed", format!("namespace {}", namespace.namespace));
        checks.push(match rights.lacks(&namespace.namespace, &PODS) {
            true => check.unknown("its pods are not known without the right to list them", ""),
            false => check.error(namespace, "leave it out of --namespace, or see docs/security.md (RBAC)"),
        });
    }
    if targets.is_empty() && skipped.is_empty() && unlisted.is_empty() {
        checks.push(no_pods(cluster, scope));
        return (checks, targets);
    }
    let troubles =
        skipped.iter().map(|one| cluster.find_trouble(&one.namespace, &one.pod, one.container.as_deref()));
    for (skipped, trouble) in skipped.iter().zip(join_all(troubles).await) {
        checks.push(judge(skipped, trouble, cluster.context()));
    }
    let mut pods: Vec<_> = targets.iter().map(|t| (&t.container.namespace, &t.container.pod)).collect();
    pods.dedup();
    for (namespace, pod) in pods {
        checks.push(Check::new(Group::Pods, "pod-runs", format!("pod {namespace}/{pod}")).ok("it runs"));
    }
    (checks, targets)
}

fn unlisted_scope(cluster: &Cluster, scope: &Scope, error: &Error, rights: &Rights) -> Check {
    let check = Check::new(Group::Pods, "pods-listed", scope.describe());
    let lacks =
        scope.sets.iter().any(|set| rights.lacks(set.namespace.as_deref().unwrap_or_default(), &PODS));
    match error {
        _ if lacks => check.unknown("not known without the right to list pods", ""),
        Error::NotFound(_) => check.error(
            error,
            format!(
                "`kubectl --context {} get namespaces` shows which there are; Skaffold passes those that it deploys to, \
                 else give --namespace",
                cluster.context()
            ),
        ),
        error => check.error(error, error.hint().unwrap_or_default()),
    }
}

fn no_pods(cluster: &Cluster, scope: &Scope) -> Check {
    let namespace = match &scope.sets[..] {
        [one] => {
            one.namespace.as_ref().map_or("--all-namespaces".to_owned(), |name| format!("--namespace {name}"))
        }
        _ => "--all-namespaces".to_owned(),
    };
    let kubectl = format!("kubectl --context {} {namespace}", cluster.context());
    let fix = match &scope.run_id {
        Some(_) => format!(
            "`{kubectl} get pods -L skaffold.dev/run-id` shows the pods and their runs; is it still deployed, is this its \
             namespace, and does Skaffold label it (a deployer of its own may not)?"
        ),
        None => format!("`{kubectl} get pods --show-labels` shows the pods and their labels"),
    };
    Check::new(Group::Pods, "pods-exist", scope.describe()).error("there are none", fix)
}

/// What keeps a pod or a container from being reached.
fn judge(skipped: &Skipped, trouble: Result<Option<Trouble>, Error>, context: &str) -> Check {
    let Skipped { namespace, pod, container, why, .. } = skipped;
    let kubectl = format!("kubectl --context {context} --namespace {namespace}");
    let trouble = trouble.unwrap_or_default();
    let container = container.clone().or_else(|| trouble.as_ref().and_then(|one| one.container.clone()));
    let of = container.as_ref().map(|name| format!(" container {name}")).unwrap_or_default();
    let check = Check::new(Group::Pods, "pod-runs", format!("pod {namespace}/{pod}{of}"));
    match (why, trouble) {
        (Why::Terminating, _) => check.ok("it is terminating, so it is skipped"),
        (Why::NoContainer, _) => check.ok("no container has the name that --container selects"),
        (Why::Completed, _) => check.error(
            "it has completed; its files can no longer be copied",
            "podcov-agent uploads them before it ends (docs/storage.md); beside a program that cannot be changed it runs as \
             a sidecar (docs/agent.md)",
        ),
        (_, Some(Trouble { container: in_trouble, reason, message })) => {
            let message = message.map(|message| format!(": {message}")).unwrap_or_default();
            let flag = in_trouble.map(|name| format!(" --container {name}")).unwrap_or_default();
            check.error(
                format!("it does not run: {reason}{message}"),
                fix(&reason, &format!("{kubectl} logs {pod}{flag} --previous"), &format!("{kubectl} describe pod {pod}")),
            )
        }
        (Why::NoProcess | Why::NotRunning(_) | Why::Restarting(_), None) => {
            let level = if why.is_loss() { Level::Error } else { Level::Ok };
            check.found(level, why, "")
        }
        (Why::Pending | Why::NoCoverDir, None) => check.warning(
            why,
            format!("it may be starting: `{kubectl} wait pod/{pod} --for=condition=Ready`"),
        ),
    }
}

/// What to do about Kubernetes' reason.
fn fix(reason: &str, logs: &str, describe: &str) -> String {
    let word = reason.split(' ').next().unwrap_or_default();
    match word {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => format!(
            "`{describe}` shows the image; has it been pushed to a registry that the cluster pulls from (skaffold \
             --default-repo), and may the cluster pull it (imagePullSecrets)?"
        ),
        "CrashLoopBackOff" | "Error" | "OOMKilled" => format!("`{logs}` shows why it ended"),
        "Unschedulable" => format!("`{describe}` shows why no node takes it"),
        _ => format!("`{describe}` shows why"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(why: Why, container: Option<&str>, trouble: Option<(&str, &str)>) -> Check {
        let skipped = Skipped {
            namespace: "shop".into(),
            pod: "web-1".into(),
            uid: "u".into(),
            container: container.map(str::to_owned),
            why,
            history: None,
        };
        let trouble = trouble.map(|(reason, message)| Trouble {
            container: Some("app".into()),
            reason: reason.into(),
            message: Some(message.into()),
        });
        judge(&skipped, Ok(trouble), "kind")
    }

    #[test]
    fn kubernetes_reason_leads_to_what_to_do() {
        let pulling = judged(Why::Pending, None, Some(("ImagePullBackOff", "Back-off pulling image x")));
        assert_eq!(pulling.level, Level::Error);
        assert_eq!(pulling.subject, "pod shop/web-1 container app");
        assert_eq!(pulling.message, "it does not run: ImagePullBackOff: Back-off pulling image x");
        let fix = pulling.fix.unwrap();
        assert!(fix.starts_with("`kubectl --context kind --namespace shop describe pod web-1`"), "{fix}");
        let crashing = judged(
            Why::NotRunning("CrashLoopBackOff after exit code 1".into()),
            Some("app"),
            Some(("CrashLoopBackOff after exit code 1", "back-off")),
        );
        assert_eq!(
            crashing.fix.unwrap(),
            "`kubectl --context kind --namespace shop logs web-1 --container app --previous` shows why it ended"
        );
    }

    #[test]
    fn what_a_run_has_replaced_is_no_error() {
        for (why, level) in [
            (Why::Terminating, Level::Ok),
            (Why::NoProcess, Level::Ok),
            (Why::Pending, Level::Warning),
            (Why::Completed, Level::Error),
            (Why::NotRunning("Completed, exit code 0".into()), Level::Error),
        ] {
            assert_eq!(judged(why.clone(), None, None).level, level, "{why}");
        }
    }
}
