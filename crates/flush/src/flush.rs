//! One target: signal it and wait until a new counter file has been written and verified.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::time::Duration;

use covdata::{FileName, MetaFile, Mode};
use podcov_cluster::{Cluster, Container, Error, Target};
use serde::Serialize;
use tokio::time::Instant;

use crate::agent::{self, Agent};
use crate::session::{Early, Heard, Opening, Session, Taken};
use crate::taking::Taking;

/// A listing is asked for again after this long at first, twice as long each time, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// How much longer than a program an agent gets: it knows better why nothing came.
const GRACE: Duration = Duration::from_secs(5);

/// The signal where none is named.
const USUAL_SIGNAL: &str = "USR1";

/// What is asked of every target.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the program is to do.
    pub ask: Ask<'a>,
    /// The process that gets it, as the container counts.
    pub pid: u32,
    /// The processes that get it instead, by their name.
    pub process: Option<&'a str>,
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
    /// End in good order, which takes a podcov-agent.
    Stop,
}

/// What came of one target.
#[derive(Debug, Serialize)]
pub struct Flushed {
    /// The container.
    #[serde(flatten)]
    pub container: Container,
    /// How it was asked.
    pub way: Way,
    /// The new counter files.
    pub files: Vec<String>,
    /// They were read back and are whole. Without tar in the image that Go renames only whole files to a final
    /// name must do.
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

/// What a target was like before the signal, and how far things are.
#[derive(Default)]
struct Progress {
    before: Option<BTreeSet<String>>,
    signalled_at: Option<Instant>,
    /// The processes of a name, of which each must write.
    processes: Option<BTreeSet<u32>>,
}

/// Asks one target and returns when its new counter files are there and have been checked.
pub async fn flush(cluster: &Cluster, target: &Target, request: &Request<'_>) -> Flushed {
    let by_agent = async |mut agent: Agent| match request.ask {
        Ask::Flush { signal } => agent.flush(signal).await,
        Ask::Stop => agent.stop().await.map(|()| Vec::new()),
    };
    let by_exec = async |signal: &str| {
        let then = async |session, new: Vec<String>| {
            let verified = verify(session, &new).await?;
            Ok((new, verified))
        };
        until_done(cluster, target, request, signal, then).await
    };
    let (way, outcome) = one_way_or_other(cluster, target, request, by_agent, by_exec).await;
    let container = target.container.clone();
    let outcome = outcome.map(|done| match done {
        // The agent has read them.
        Done::Agent(files) => (files, true),
        Done::Exec(done) => done,
    });
    match outcome {
        Ok((files, verified)) => {
            tracing::info!("{container}: {} new counter files, verified: {verified}", files.len());
            Flushed { container, way, files, verified, error: None }
        }
        Err(error) => Flushed { container, way, files: Vec::new(), verified: false, error: Some(error) },
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
) -> Result<Taking, String> {
    let by_agent = async |agent: Agent| agent.coverage(Some(request.ask)).await;
    let by_exec = async |signal: &str| {
        let then = async |session: Session, _new| {
            session.take_all().await?.ok_or_else(|| Failed::Said("the image has no tar".to_owned()))
        };
        until_done(cluster, target, request, signal, then).await
    };
    match one_way_or_other(cluster, target, request, by_agent, by_exec).await.1? {
        Done::Agent(coverage) => Ok(Taking::Agent(coverage)),
        Done::Exec(taking) => Ok(taking),
    }
}

/// What has come of either way.
enum Done<A, E> {
    Agent(A),
    Exec(E),
}

/// Asks the container's agent where its spec speaks of one, else a shell, else an agent all the same: it may be in the
/// image.
async fn one_way_or_other<A, E>(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    by_agent: impl AsyncFn(Agent) -> Result<A, agent::Failed>,
    by_exec: impl AsyncFnOnce(&str) -> Result<E, NotDone>,
) -> (Way, Result<Done<A, E>, String>) {
    // The agent signals its own program and no other process.
    let stop = request.ask == Ask::Stop;
    let agent_may = stop || (request.pid == 1 && request.process.is_none());
    let ask_agent = async || ask_agent(cluster, target, request, &by_agent).await;
    let mut no_agent = None;
    if stop || (agent_may && target.agent.is_some_and(|agent| agent.expected)) {
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
    let not_done = match by_exec(signal.unwrap_or(USUAL_SIGNAL)).await {
        Ok(done) => return (Way::Exec, Ok(Done::Exec(done))),
        Err(not_done) => not_done,
    };
    match (not_done.no_shell, no_agent) {
        (true, None) if agent_may => match ask_agent().await {
            Ok(done) => (Way::Agent, Ok(Done::Agent(done))),
            Err(agent::Failed::NoAgent(_)) => (Way::Exec, Err(not_done.why)),
            Err(failed) => (Way::Agent, Err(failed.to_string())),
        },
        (true, Some(why)) => (Way::Exec, Err(format!("{}; and no podcov-agent: {why}", not_done.why))),
        _ => (Way::Exec, Err(not_done.why)),
    }
}

/// Asks the agent, again where the connection broke.
async fn ask_agent<A>(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    by_agent: &impl AsyncFn(Agent) -> Result<A, agent::Failed>,
) -> Result<A, agent::Failed> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let asked = async { by_agent(Agent::connect(cluster, target).await?).await };
        let failed = match tokio::time::timeout(request.timeout + GRACE, asked).await {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failed)) => failed,
            Err(_) => agent::Failed::Cluster(Error::Stalled(request.timeout + GRACE)),
        };
        let again = matches!(&failed, agent::Failed::Cluster(e) if e.is_transient());
        if !again || begun.elapsed() >= request.timeout {
            return Err(failed);
        }
        tracing::info!("{}: {failed}; trying again", target.container);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a shell did not do it.
struct NotDone {
    /// There is none.
    no_shell: bool,
    why: String,
}

/// Tries until there are new counter files and `then` has done with them, or there is no more sense in it.
async fn until_done<T>(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    signal: &str,
    then: impl AsyncFn(Session, Vec<String>) -> Result<T, Failed>,
) -> Result<T, NotDone> {
    let no_shell = |failed: &Failed| matches!(failed, Failed::Cluster(Error::NoProgram { .. }));
    let mut progress = Progress::default();
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let done = match attempt(cluster, target, request, signal, &mut progress).await {
            Ok((session, new)) => then(session, new).await,
            Err(failed) => Err(failed),
        };
        let failed = match done {
            Ok(done) => return Ok(done),
            Err(failed) => failed,
        };
        let became = cluster.what_became_of(&target.container).await;
        let again = match (&failed, progress.signalled_at) {
            (Failed::Said(_), _) => false,
            (Failed::Cluster(e), None) => {
                e.is_transient() && begun.elapsed() < request.timeout && became.is_none()
            }
            // A program that writes as the signal ends it is restarted on the same folder: look there.
            (Failed::Cluster(_), Some(at)) => at.elapsed() < request.timeout,
        };
        if !again {
            let why = word(&failed, became, signal, progress.signalled_at.is_some());
            return Err(NotDone { no_shell: no_shell(&failed), why });
        }
        tracing::info!("{}: {failed}; trying again", target.container);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Why a try failed.
enum Failed {
    /// On the way to the shell or back: another try may get through.
    Cluster(Error),
    /// The container has answered, and that is that.
    Said(String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(e) => e.fmt(f),
            Self::Said(message) => f.write_str(message),
        }
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Cluster(error)
    }
}

async fn attempt(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    asked_signal: &str,
    progress: &mut Progress,
) -> Result<(Session, Vec<String>), Failed> {
    // A connection made anew must not signal again: the program may be about to answer the first one.
    let signal = if progress.signalled_at.is_none() { asked_signal } else { "" };
    let opening = Opening { dir: &target.dir, signal, pid: request.pid, process: request.process };
    let mut session = Session::open(cluster, &target.container, &opening).await?;
    let meta = session.names().await?.map_err(|end| end.failed(target, asked_signal))?;
    let listed = session.names().await?.map_err(|end| end.failed(target, asked_signal))?;
    let before = progress.before.get_or_insert(listed).clone();
    let signalled = match session.signalled().await? {
        Ok(processes) => processes,
        Err(end) => {
            // A program that ends on the signal takes the shell with it, perhaps before that has said a word.
            if end.was_killed() {
                progress.signalled_at.get_or_insert_with(Instant::now);
            }
            return Err(end.failed(target, asked_signal));
        }
    };
    let named = request.process.map(|_| &*progress.processes.get_or_insert(signalled));
    let deadline = *progress.signalled_at.get_or_insert_with(Instant::now) + request.timeout;

    let mut pause = FIRST_PAUSE;
    let (mut some, mut missing) = (false, BTreeSet::new());
    loop {
        let heard = session.count().await?;
        if heard != Heard::Count(before.len()) {
            let now = session.list().await?;
            let new: Vec<String> = now.difference(&before).cloned().collect();
            missing = named.map_or(BTreeSet::new(), |named| without_any(named, &new));
            some = !new.is_empty();
            if some && missing.is_empty() {
                return Ok((session, new));
            }
        }
        let which = match (some, missing.len()) {
            (true, 1) => format!(" of process {}", list(&missing)),
            (true, 2..) => format!(" of the processes {}", list(&missing)),
            _ => String::new(),
        };
        if heard == Heard::Gone {
            return Err(Failed::Said(format!(
                "the process has ended after SIG{asked_signal} and written nothing{which}"
            )));
        }
        if Instant::now() >= deadline && some {
            let timeout = request.timeout.as_secs_f32();
            return Err(Failed::Said(format!(
                "no counter file{which} appeared within {timeout}s of SIG{asked_signal}"
            )));
        }
        if Instant::now() >= deadline {
            return Err(Failed::Said(
                why_nothing_came(session, target, request.timeout, asked_signal, &meta).await,
            ));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// The processes that have written none of these files.
fn without_any(processes: &BTreeSet<u32>, files: &[String]) -> BTreeSet<u32> {
    let wrote = |process: &u32| {
        files.iter().any(|file| matches!(file.parse(), Ok(FileName::Counters { pid, .. }) if pid == *process))
    };
    processes.iter().filter(|process| !wrote(process)).copied().collect()
}

fn list(processes: &BTreeSet<u32>) -> String {
    processes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

impl Early {
    fn failed(&self, target: &Target, signal: &str) -> Failed {
        let word = self.word(target, signal);
        if self.was_killed() { Failed::Cluster(Error::Broken(word)) } else { Failed::Said(word) }
    }
}

/// Reads the new files back and checks each; `false` where the image has no tar to read them with.
async fn verify(session: Session, new: &[String]) -> Result<bool, Failed> {
    let archive = match session.take(new).await? {
        Taken::Archive(bytes) => bytes,
        Taken::NoTar => return Ok(false),
        Taken::Failed(message) => return Err(Failed::Cluster(Error::Broken(message))),
    };
    let broken =
        |e: std::io::Error| Failed::Cluster(Error::Broken(format!("reading new counter files: {e}")));
    let mut whole = BTreeSet::new();
    for entry in tar::Archive::new(&archive[..]).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        let checked = name.parse::<FileName>().and_then(|parsed| covdata::check(&parsed, &bytes));
        checked.map_err(|e| Failed::Said(format!("{name} is not a whole counter file: {e}")))?;
        whole.insert(name);
    }
    match new.iter().find(|name| !whole.contains(*name)) {
        Some(missing) => Err(Failed::Cluster(Error::Broken(format!("{missing} did not come")))),
        None => Ok(true),
    }
}

/// What to say when the time is over: the meta-data tells some of the reasons.
async fn why_nothing_came(
    session: Session,
    target: &Target,
    timeout: Duration,
    signal: &str,
    meta: &BTreeSet<String>,
) -> String {
    let waited = format!("no counter file appeared within {}s of SIG{signal}", timeout.as_secs_f32());
    let Some(first) = meta.first() else {
        return format!(
            "{waited}, and {} holds no meta-data file; is the program built with -cover, and may it write there?",
            target.dir
        );
    };
    let mode = match session.take(std::slice::from_ref(first)).await {
        Ok(Taken::Archive(bytes)) => mode_of(&bytes),
        _ => None,
    };
    match mode {
        Some(mode @ (Mode::Set | Mode::Count)) => format!(
            "{waited}; the program is built with -covermode={mode}, and only -covermode=atomic can write while it runs"
        ),
        _ => format!("{waited}; is the program built with -covermode=atomic and does it handle SIG{signal}?"),
    }
}

fn mode_of(archive: &[u8]) -> Option<Mode> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).ok()?;
    MetaFile::parse(&bytes).ok().map(|meta| meta.mode)
}

fn word(failed: &Failed, became: Option<String>, signal: &str, signalled: bool) -> String {
    match (failed, became) {
        (_, Some(became)) if signalled => {
            format!(
                "{became} after SIG{signal}; does the program handle that signal? If it is meant to end on it, \
                 Kubernetes may take longer to start it again: see --timeout"
            )
        }
        (Failed::Said(message), _) => message.clone(),
        (Failed::Cluster(Error::NoProgram { .. }), None) => {
            "the image has no shell, which is needed to send the signal and to see the new files: no sh on the \
             container's PATH"
                .to_owned()
        }
        (Failed::Cluster(e), None) => e.to_string(),
        (Failed::Cluster(e), Some(became)) => format!("{became} ({e})"),
    }
}

/// `USR1`, `SIGUSR1`, `usr1` or a number, as `kill -s` takes it.
///
/// # Errors
/// When it is none of these.
pub fn signal_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-');
    if is_name && !name.starts_with('-') {
        Ok(name.to_owned())
    } else {
        Err("not a signal's name".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_has_a_file_of_its_own() {
        let file =
            |pid: u32| format!("covcounters.f947a66cccabc27837954e22853b1648.{pid}.1795224885120263464");
        let both = BTreeSet::from([7, 12]);
        assert_eq!(without_any(&both, &[file(12)]), BTreeSet::from([7]));
        assert_eq!(without_any(&both, &[file(1), "covcounters.7".to_owned()]), both);
        assert!(without_any(&both, &[file(12), file(7), file(12)]).is_empty());
        assert_eq!(list(&both), "7, 12");
    }

    #[test]
    fn signal_names() {
        for (text, name) in [("USR1", "USR1"), ("SIGUSR2", "USR2"), ("usr1", "USR1"), ("10", "10")] {
            assert_eq!(signal_name(text).as_deref(), Ok(name));
        }
        for wrong in ["", "SIG", "USR1; reboot", "-9"] {
            assert!(signal_name(wrong).is_err(), "{wrong}");
        }
    }
}
