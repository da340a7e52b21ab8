//! One target: make it write its counters, by its agent or by a shell, and have what it wrote checked or sent.

use std::cell::Cell;
use std::time::Duration;

use podcov_cluster::{Cluster, Container, Error, Fate, Target};
use podcov_control::{NotASignal, Signal};
use serde::Serialize;
use tokio::time::Instant;

use crate::agent::{self, Agent};
use crate::archive_stream::ArchiveStream;
use crate::pause::Pause;
use crate::process::{Process, ProcessFilter};
use crate::shell::{self, Evidence, ShellError, ShellFailure};

/// How much longer than a program an agent gets: it knows better why nothing came.
const GRACE: Duration = Duration::from_secs(5);

/// How long an agent that the container's spec speaks of may refuse connections until it counts as absent. The kubelet
/// may be starting its container again, of which the pod's status tells a second or two late.
const REFUSAL_LIMIT: Duration = Duration::from_secs(5);

/// The signal where none is named.
const DEFAULT_SIGNAL: &str = "USR1";

/// What is asked of every target.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the program is to do.
    pub ask: Ask<'a>,
    /// Which of the container's processes get the signal.
    pub processes: ProcessFilter<'a>,
    /// From the signal to the counters.
    pub timeout: Duration,
}

/// What a program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Write its counters.
    Flush {
        /// The signal that makes it, as `kill -s` takes it. `None`: the one that its podcov-agent was told, else USR1.
        signal: Option<&'a str>,
    },
    /// Shut down gracefully, which takes a podcov-agent.
    Stop,
}

/// The result of flushing one target.
#[derive(Debug, Serialize)]
pub struct Flushed {
    /// The container.
    #[serde(flatten)]
    pub container: Container,
    /// How it was asked.
    pub way: Way,
    /// The processes that were signalled, where that was done by a shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
    /// The new counter files.
    pub files: Vec<String>,
    /// They were read back and are whole. Without tar in the image they could not be; Go renames a file to its final
    /// name only when it is whole.
    pub verified: bool,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How a container is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Through its podcov-agent.
    Agent,
    /// By a shell in it.
    Exec,
}

/// Asks one target and returns when its new counter files are there and have been checked.
pub async fn flush(cluster: &Cluster, target: &Target, request: &Request<'_>) -> Flushed {
    let by_agent = async |mut agent: Agent| match request.ask {
        Ask::Flush { signal } => agent.flush(signal).await,
        Ask::Stop => agent.stop().await.map(|()| Vec::new()),
    };
    let by_shell = async |signal: &str| {
        let then = async |mut evidence: Evidence| {
            shell::check_that_files_stay(&mut evidence, target, signal, request.timeout).await?;
            let Evidence { session, files, processes } = evidence;
            let verified = shell::verify(session, &files).await?;
            Ok((files, processes, verified))
        };
        shell::flush(cluster, target, request, signal, then).await
    };
    let (way, outcome) = by_agent_or_shell(cluster, target, request, by_agent, by_shell).await;
    let container = target.container.clone();
    let outcome = outcome.map(|done| match done {
        // The agent has read them.
        Done::Agent(files) => (files, Vec::new(), true),
        Done::Shell(done) => done,
    });
    match outcome {
        Ok((files, processes, verified)) => {
            tracing::info!("{container}: {} new counter files, verified: {verified}", files.len());
            Flushed { container, way, processes, files, verified, error: None }
        }
        Err(error) => Flushed {
            container,
            way,
            processes: Vec::new(),
            files: Vec::new(),
            verified: false,
            error: Some(error),
        },
    }
}

/// Asks one target and, when its new counter files are there, has all of its coverage files sent on the same
/// connection.
///
/// # Errors
/// Why there are no new counter files, or why nothing can be sent.
pub async fn flush_and_take(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
) -> Result<ArchiveStream, String> {
    let by_agent = async |agent: Agent| agent.coverage(Some(request.ask)).await;
    let by_shell = async |signal: &str| {
        let then = async |evidence: Evidence| {
            let stream = evidence.session.take_all().await?;
            stream.ok_or_else(|| ShellError::Final("the image has no tar".to_owned()))
        };
        shell::flush(cluster, target, request, signal, then).await
    };
    match by_agent_or_shell(cluster, target, request, by_agent, by_shell).await.1? {
        Done::Agent(coverage) => Ok(ArchiveStream::Agent(coverage)),
        Done::Shell(stream) => Ok(stream),
    }
}

/// The result of either way.
enum Done<A, S> {
    Agent(A),
    Shell(S),
}

/// Asks the container's agent where its spec speaks of one, else a shell, else an agent all the same: it may be in the
/// image.
async fn by_agent_or_shell<A, S>(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    by_agent: impl AsyncFn(Agent) -> Result<A, agent::Failed>,
    by_shell: impl AsyncFnOnce(&str) -> Result<S, ShellFailure>,
) -> (Way, Result<Done<A, S>, String>) {
    // The agent signals its own program and no other process.
    let stop = request.ask == Ask::Stop;
    let agent_may = stop || request.processes == ProcessFilter::Covered;
    let expected = agent_may && target.expects_agent();
    let patience = if expected { REFUSAL_LIMIT } else { Duration::ZERO };
    let ask_agent = async || ask_agent(cluster, target, request, &by_agent, patience).await;
    let mut no_agent = None;
    if stop || expected {
        match ask_agent().await {
            Ok(done) => return (Way::Agent, Ok(Done::Agent(done))),
            Err(agent::Failed::NoAgent(why)) => no_agent = Some(why),
            // An exec may be allowed where a port-forward is not.
            Err(agent::Failed::Cluster(error @ Error::Refused { code: 403, .. })) => {
                tracing::info!("{}: {error}", target.container);
                no_agent = Some(error.to_string());
            }
            Err(failed) => return (Way::Agent, Err(failed.to_string())),
        }
    }
    let Ask::Flush { signal } = request.ask else {
        let why = no_agent.unwrap_or_default();
        return (Way::Agent, Err(format!("it takes a podcov-agent to stop a program in good order: {why}")));
    };
    let failure = match by_shell(signal.unwrap_or(DEFAULT_SIGNAL)).await {
        Ok(done) => return (Way::Exec, Ok(Done::Shell(done))),
        Err(failure) => failure,
    };
    match (failure.no_shell, no_agent) {
        (true, None) if agent_may => match ask_agent().await {
            Ok(done) => (Way::Agent, Ok(Done::Agent(done))),
            Err(agent::Failed::NoAgent(_)) => (Way::Exec, Err(failure.why)),
            Err(failed) => (Way::Agent, Err(failed.to_string())),
        },
        (true, Some(why)) => (Way::Exec, Err(format!("{}; and no podcov-agent: {why}", failure.why))),
        _ => (Way::Exec, Err(failure.why)),
    }
}

/// Asks the agent, again where the connection broke, and while its container is starting again. One that refuses
/// connections is asked again for as long as `patience`.
async fn ask_agent<A>(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    by_agent: &impl AsyncFn(Agent) -> Result<A, agent::Failed>,
    patience: Duration,
) -> Result<A, agent::Failed> {
    let begun = Instant::now();
    let mut pause = Pause::default();
    loop {
        let connected = Cell::new(false);
        let asked = async {
            let agent = Agent::connect(cluster, target).await?;
            connected.set(true);
            by_agent(agent).await
        };
        let failed = match tokio::time::timeout(request.timeout + GRACE, asked).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failed)) => failed,
            Err(_) => agent::Failed::Cluster(Error::Stalled(request.timeout + GRACE)),
        };
        if let agent::Failed::Cluster(error) = &failed
            && request.ask == Ask::Stop
            && connected.get()
        {
            // Stopped twice, the program that has just been started again would end too.
            return Err(agent::Failed::Said(format!(
                "{error}; podcov-agent has been asked to stop the program, and its answer did not come"
            )));
        }
        let elapsed = begun.elapsed();
        let fate = match &failed {
            agent::Failed::NoAgent(_) if elapsed >= patience => {
                cluster.what_became_of(&target.container).await
            }
            _ => None,
        };
        if elapsed >= request.timeout || !may_pass(&failed, elapsed < patience, fate.as_ref()) {
            return Err(failed);
        }
        tracing::info!("{}: {failed}; trying again", target.container);
        pause.wait().await;
    }
}

/// Whether an agent may answer when it is asked again: `patient` if it may still refuse connections, else where its
/// container is starting again.
fn may_pass(failed: &agent::Failed, patient: bool, fate: Option<&Fate>) -> bool {
    match failed {
        agent::Failed::Cluster(error) => error.is_transient(),
        agent::Failed::NoAgent(_) => patient || matches!(fate, Some(Fate::Restarting(_) | Fate::Restarted)),
        agent::Failed::Said(_) => false,
    }
}

/// The name of a signal, without `SIG`: for clap's `value_parser`.
///
/// # Errors
/// When it is no signal's name or number.
pub fn signal_name(text: &str) -> Result<String, NotASignal> {
    text.parse().map(Signal::name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_may_come_back_is_asked_again() {
        let refused = agent::Failed::NoAgent("nothing listens there".to_owned());
        let restarting =
            Fate::Restarting("the container stopped running (Completed, exit code 0)".to_owned());
        for (patient, fate, again) in [
            (true, None, true),
            (false, None, false),
            (false, Some(restarting), true),
            (false, Some(Fate::Restarted), true),
            (false, Some(Fate::Over("the pod is gone".to_owned())), false),
        ] {
            assert_eq!(may_pass(&refused, patient, fate.as_ref()), again, "{patient} {fate:?}");
        }
        let said = agent::Failed::Said("the program handles no such signal".to_owned());
        assert!(!may_pass(&said, true, Some(&Fate::Restarted)));
    }
}
