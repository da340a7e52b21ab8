//! Why a pod does not run, in the words of the scheduler, the kubelet and the runtime.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::pod::not_running;
use crate::{Cluster, Error};

/// What keeps a pod from running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The container; `None` if the pod has not got as far as its containers.
    pub container: Option<String>,
    /// Kubernetes' word: `Unschedulable`, `ImagePullBackOff`, …
    pub reason: String,
    /// The same as a sentence, if Kubernetes has one.
    pub message: Option<String>,
}

impl Cluster {
    /// What keeps a pod, or one container of it, from running; `None` if it runs, is gone, or is just being started.
    ///
    /// # Errors
    /// The API server's refusal, or that it could not be reached.
    pub async fn find_trouble(
        &self,
        namespace: &str,
        pod: &str,
        container: Option<&str>,
    ) -> Result<Option<Trouble>, Error> {
        let pods = self.api::<Pod>(namespace);
        let pod = self.ask("reading the pod", pods.get_opt(pod)).await?;
        Ok(pod.and_then(|pod| trouble_of(&pod, container)))
    }
}

fn trouble_of(pod: &Pod, container: Option<&str>) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let unscheduled = conditions.into_iter().find(|one| one.type_ == "PodScheduled" && one.status == "False");
    if let Some(unscheduled) = unscheduled {
        let reason = unscheduled.reason.clone().unwrap_or_else(|| "not scheduled".to_owned());
        return Some(Trouble { container: None, reason, message: unscheduled.message.clone() });
    }
    let statuses = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    let mut statuses = statuses.filter(|one| container.is_none_or(|name| one.name == name));
    statuses.find_map(trouble_of_container)
}

fn trouble_of_container(status: &ContainerStatus) -> Option<Trouble> {
    let state = status.state.as_ref()?;
    let (waiting, ended) = (state.waiting.as_ref(), state.terminated.as_ref());
    let is_starting = waiting.is_some_and(|waiting| {
        matches!(waiting.reason.as_deref(), None | Some("ContainerCreating" | "PodInitializing"))
    });
    let has_succeeded = ended.is_some_and(|ended| ended.exit_code == 0);
    if is_starting || has_succeeded {
        return None;
    }
    let message = waiting.and_then(|waiting| waiting.message.clone());
    let message = message.or_else(|| ended.and_then(|ended| ended.message.clone()));
    Some(Trouble { container: Some(status.name.clone()), reason: not_running(Some(status))?, message })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn trouble(status: &Value) -> Option<(Option<String>, String, Option<String>)> {
        let pod: Pod = serde_json::from_value(json!({"status": status})).unwrap();
        trouble_of(&pod, None).map(|one| (one.container, one.reason, one.message))
    }

    #[test]
    fn why_a_pod_does_not_run() {
        let container = |name: &str, state: Value, last: Value| {
            json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": state, "lastState": last})
        };
        let waiting =
            |reason: &str, message: &str| json!({"waiting": {"reason": reason, "message": message}});
        let some = |text: &str| Some(text.to_owned());
        let full = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"});
        assert_eq!(
            trouble(&json!({"conditions": [full]})),
            Some((None, "Unschedulable".into(), some("0/1 nodes")))
        );
        let running = container("a", json!({"running": {}}), json!({}));
        let pulling = container("b", waiting("ErrImagePull", "not found"), json!({}));
        assert_eq!(
            trouble(&json!({"containerStatuses": [running, pulling]})),
            Some((some("b"), "ErrImagePull".into(), some("not found")))
        );
        let crashing = container(
            "a",
            waiting("CrashLoopBackOff", "back-off 10s"),
            json!({"terminated": {"exitCode": 1, "reason": "Error"}}),
        );
        assert_eq!(
            trouble(&json!({"containerStatuses": [crashing]})),
            Some((some("a"), "CrashLoopBackOff after exit code 1".into(), some("back-off 10s")))
        );
        let migrating = container("migrate", json!({"terminated": {"exitCode": 0}}), json!({}));
        let starting = container("a", waiting("PodInitializing", ""), json!({}));
        assert_eq!(
            trouble(&json!({"initContainerStatuses": [migrating], "containerStatuses": [starting]})),
            None
        );
        assert_eq!(trouble(&json!({})), None);
    }
}
