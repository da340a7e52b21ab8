//! Which processes a container has had, as far as its pod's status tells.

use std::fmt;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod};
use k8s_openapi::jiff::Timestamp;

/// The processes of a container, one after the other: the kubelet starts a new one when the last has ended. All times
/// are whole seconds of the node's clock, cut off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// When the first process of the pod was started, or a moment before that where the status does not tell.
    pub pod_started: Option<Timestamp>,
    /// How many processes have ended.
    pub ended: u32,
    /// How the last one of them ended: the kubelet remembers no more.
    pub last: Option<Termination>,
    /// When the process was started that runs now.
    pub running_since: Option<Timestamp>,
    /// The last one has ended, and no other is about to be started.
    pub is_over: bool,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Termination {
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Its exit code, 128 + n where signal n ended it.
    pub exit_code: i32,
    /// The signal that ended it, where the runtime says so.
    pub signal: Option<i32>,
    /// The kubelet's word: `OOMKilled`, `Error`, `Completed`, …
    pub reason: Option<String>,
}

impl History {
    pub(crate) fn of(pod: &Pod, status: Option<&ContainerStatus>) -> Self {
        let state = status.and_then(|status| status.state.as_ref());
        let last = status.and_then(|status| status.last_state.as_ref());
        let terminated = |state: Option<&ContainerState>| state.and_then(|state| state.terminated.clone());
        let running = state.and_then(|state| state.running.as_ref());
        let waiting = state.and_then(|state| state.waiting.as_ref());
        let restarts = status.map_or(0, |status| u32::try_from(status.restart_count).unwrap_or_default());
        let last = terminated(state).or_else(|| terminated(last));
        // A new process counts as a restart once it has been made, which is before it runs. So the last one has ended too
        // where its end is the state, or where the kubelet waits before it makes another.
        let backs_off = waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some("CrashLoopBackOff"));
        let all_ended = backs_off || terminated(state).is_some();
        let ended = (restarts + u32::from(all_ended && last.is_some())).max(u32::from(last.is_some()));
        Self {
            pod_started: first_start(pod),
            ended,
            last: last.as_ref().map(Into::into),
            running_since: running.and_then(|running| running.started_at.as_ref()).map(|time| time.0),
            is_over: terminated(state).is_some(),
        }
    }
}

/// When the first process of a pod was started, init containers included. Where the status has forgotten one of the first
/// processes it is when the kubelet took the pod on, which is a second or more earlier.
fn first_start(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let taken_on = status.start_time.as_ref().map(|time| time.0)?;
    let all =
        [&status.init_container_statuses, &status.container_statuses, &status.ephemeral_container_statuses];
    let mut first: Option<Timestamp> = None;
    for status in all.into_iter().flatten().flatten() {
        let state = match status.restart_count {
            0 => status.state.as_ref(),
            1 => status.last_state.as_ref(),
            _ => None,
        };
        let start = match state {
            Some(ContainerState { running: Some(running), .. }) => running.started_at.as_ref(),
            Some(ContainerState { terminated: Some(ended), .. }) => ended.started_at.as_ref(),
            // It has yet to start.
            Some(ContainerState { waiting: Some(_), .. }) if status.restart_count == 0 => continue,
            _ => None,
        };
        let Some(start) = start else { return Some(taken_on) };
        first = Some(first.map_or(start.0, |first| first.min(start.0)));
    }
    // A container that could not be started has a start in 1970.
    Some(first.map_or(taken_on, |first| first.max(taken_on)))
}

impl From<&ContainerStateTerminated> for Termination {
    fn from(ended: &ContainerStateTerminated) -> Self {
        Self {
            started: ended.started_at.as_ref().map(|time| time.0),
            finished: ended.finished_at.as_ref().map(|time| time.0),
            exit_code: ended.exit_code,
            signal: ended.signal.filter(|signal| *signal != 0),
            reason: ended.reason.clone(),
        }
    }
}

impl fmt::Display for Termination {
    /// `OOMKilled`, `exit code 137, killed`, `exit code 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason.as_deref() {
            Some(reason) if !matches!(reason, "Error" | "Completed") => f.write_str(reason),
            _ => match (self.exit_code, self.signal) {
                (137, _) | (_, Some(9)) => write!(f, "exit code {}, killed", self.exit_code),
                (code, Some(signal)) => write!(f, "exit code {code}, signal {signal}"),
                (2, None) => f.write_str("exit code 2, as after a panic"),
                (code, None) => write!(f, "exit code {code}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_starts_with_its_first_process() {
        let time = |second: i64| format!("2026-01-01T00:00:{second:02}Z");
        let running = |second| json!({"running": {"startedAt": time(second)}});
        let ended = |second| json!({"terminated": {"exitCode": 0, "startedAt": time(second)}});
        let status = |restarts: i32, state: &Value, last: &Value| {
            json!({"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": restarts,
                "state": state, "lastState": last})
        };
        let (waiting, none) = (json!({"waiting": {}}), json!({}));
        for (init, containers, expected) in [
            (vec![], vec![], 10),
            (vec![], vec![status(0, &waiting, &none)], 10),
            (vec![], vec![status(0, &running(13), &none), status(0, &running(12), &none)], 12),
            (vec![], vec![status(0, &running(13), &none), status(0, &waiting, &none)], 13),
            // An init container may write to the same folder.
            (vec![status(0, &ended(11), &none)], vec![status(0, &running(13), &none)], 11),
            (vec![], vec![status(1, &running(20), &ended(12))], 12),
            // When the first of them was started is forgotten.
            (vec![], vec![status(1, &running(20), &none)], 10),
            (vec![], vec![status(2, &running(20), &ended(15)), status(0, &running(13), &none)], 10),
            (
                vec![],
                vec![status(
                    0,
                    &json!({"terminated": {"exitCode": 128, "startedAt": "1970-01-01T00:00:00Z"}}),
                    &none,
                )],
                10,
            ),
        ] {
            let pod = json!({"status": {"startTime": time(10), "initContainerStatuses": init, "containerStatuses": containers}});
            let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
            let expected: Timestamp = time(expected).parse().unwrap();
            assert_eq!(first_start(&pod), Some(expected), "{:?}", pod.status);
        }
    }

    #[test]
    fn how_many_processes_have_ended() {
        let end = json!({"terminated": {"exitCode": 1, "reason": "Error"}});
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let waiting = |reason: &str| json!({"waiting": {"reason": reason}});
        for (restarts, state, last, ended) in [
            (0, running.clone(), json!({}), 0),
            (1, running.clone(), end.clone(), 1),
            // The kubelet keeps no more than the last one, and that not for ever.
            (5, running, json!({}), 5),
            (0, end.clone(), json!({}), 1),
            (1, end.clone(), end.clone(), 2),
            (1, waiting("CrashLoopBackOff"), end.clone(), 2),
            // Made, and not yet running.
            (1, waiting("ContainerCreating"), end.clone(), 1),
            (0, waiting("CreateContainerError"), end, 1),
            (0, waiting("ContainerCreating"), json!({}), 0),
        ] {
            let status: Value = json!({"name": "app", "image": "", "imageID": "", "ready": false,
                "restartCount": restarts, "state": state, "lastState": last});
            let status: ContainerStatus = serde_json::from_value(status.clone()).unwrap();
            assert_eq!(History::of(&Pod::default(), Some(&status)).ended, ended, "{status:?}");
        }
    }
}
