//! One container's files: asked for over exec, unpacked as they arrive, asked for again when the stream breaks.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use bytes::{Buf, Bytes};
use podcov_cluster::{Cluster, CoverDir, Error, Fate, Output, Target};
use podcov_control::Lives;
use podcov_flush::{ArchiveStream, NoArchive, Request, with_tar_script};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::manifest::{Collected, Way, report_folder};
use podcov_unpack::{Rules, Unpacked, unpack};

/// Nothing for so long means that the connection is dead.
const STALL: Duration = Duration::from_secs(30);

/// Pieces of a stream that wait to be unpacked; a piece is at most some 32 KiB.
const PIECES: usize = 16;

/// The first pause between two tries; each next one is three times as long. By default some 3 seconds in all, which a
/// kubelet or an API server takes to be back after a restart.
const PAUSE: Duration = Duration::from_millis(250);

/// How long a container that has just ended may take to run again, whatever its exec says meanwhile.
const RESTART_LIMIT: Duration = Duration::from_secs(30);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What runs in the container, with the function `all` of [`with_tar_script`]. Exit codes 41 to 43 are the script's own.
const SCRIPT: &str = r#"
cd -- "${1:-$GOCOVERDIR}" || exit 41
command -v tar >/dev/null 2>&1 || exit 42
all
"#;

/// How a transfer is done.
pub(crate) struct Transfer<'a> {
    pub(crate) cluster: &'a Cluster,
    /// The signal that makes the programs write first.
    pub(crate) flush: Option<Request<'a>>,
    /// The report's staging folder.
    pub(crate) staging: &'a Path,
    pub(crate) rules: Rules,
    /// How many tries each container gets.
    pub(crate) tries: u32,
    /// How long a try may take.
    pub(crate) timeout: Duration,
    /// What unpacks: so that an interrupted run can wait until nobody writes any more.
    pub(crate) tracker: &'a TaskTracker,
}

/// A try that gave less than everything.
struct Shortfall {
    message: String,
    kind: ShortfallKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShortfallKind {
    /// Another try may give more.
    Passing,
    /// The container lacks what this way takes; another way may do.
    Lack,
    /// No way led to the files. While a container is starting, none does.
    NoWay,
    /// Another try would give the same.
    Final,
}

impl Shortfall {
    fn last(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: ShortfallKind::Final }
    }

    fn passing(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: ShortfallKind::Passing }
    }

    fn lack(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: ShortfallKind::Lack }
    }

    fn no_way(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: ShortfallKind::NoWay }
    }

    /// Whether another try may give more, where this has happened to the container meanwhile. An agent that the
    /// container's spec speaks of refuses connections before the pod's status tells that the container starts again.
    fn may_pass(&self, target: &Target, fate: Option<&Fate>) -> bool {
        match self.kind {
            ShortfallKind::Passing => true,
            ShortfallKind::NoWay => {
                target.expects_agent() || matches!(fate, Some(Fate::Restarting(_) | Fate::Restarted))
            }
            ShortfallKind::Lack | ShortfallKind::Final => false,
        }
    }
}

impl Transfer<'_> {
    /// Collects one container. What could not be had is in [`Collected::errors`].
    ///
    /// # Errors
    /// When the staging folder cannot be written.
    pub(crate) async fn collect(&self, target: &Target) -> Result<Collected> {
        let container = &target.container;
        let folder = report_folder(&container.namespace, &container.pod, &container.container);
        let mut collected = Collected::new(container, folder);
        let folder = self.staging.join(&collected.folder);
        let mut pause = PAUSE;
        collected.way = first_way(target);
        let mut lacks = Vec::new();
        let (mut taking, unflushed) = match &self.flush {
            Some(request) => match podcov_flush::flush_and_take(self.cluster, target, request).await {
                Ok(taking) => (Some(taking), None),
                // What was written before is taken all the same.
                Err(why) => (None, Some(why)),
            },
            None => (None, None),
        };
        let mut restart_deadline = None;
        loop {
            collected.attempts += 1;
            let shortfalls = self.attempt(target, &folder, &mut collected, &mut lacks, taking.take()).await?;
            if shortfalls.is_empty() {
                break;
            }
            let fate = self.cluster.what_became_of(container).await;
            let again = shortfalls.iter().all(|shortfall| shortfall.may_pass(target, fate.as_ref()));
            if again && matches!(fate, Some(Fate::Restarting(_))) {
                let deadline = *restart_deadline.get_or_insert_with(|| Instant::now() + RESTART_LIMIT);
                if self.runs_again(target, deadline).await {
                    // What was tried while it did not run says nothing about it.
                    collected.attempts -= 1;
                    lacks.clear();
                    collected.way = first_way(target);
                    continue;
                }
            }
            if !again || collected.attempts >= self.tries {
                collected.errors = shortfalls.into_iter().map(|s| s.message).collect();
                collected.errors.extend(fate.map(|fate| fate.to_string()));
                break;
            }
            for shortfall in &shortfalls {
                tracing::info!("{container}: {}; trying again", shortfall.message);
            }
            if shortfalls.iter().any(|shortfall| shortfall.kind == ShortfallKind::NoWay) {
                lacks.clear();
                collected.way = first_way(target);
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
        }
        collected.errors.extend(unflushed);
        collected.errors.extend(collected.agent_lives.as_ref().and_then(Lives::loss));
        Ok(collected)
    }

    /// Waits until the kubelet has started the container again; whether it has by then.
    async fn runs_again(&self, target: &Target, deadline: Instant) -> bool {
        let mut pause = PAUSE;
        while Instant::now() < deadline {
            match self.cluster.what_became_of(&target.container).await {
                Some(Fate::Restarting(_)) => tokio::time::sleep(pause).await,
                Some(Fate::Over(_)) => return false,
                Some(Fate::Restarted) | None => return true,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        false
    }

    async fn attempt(
        &self,
        target: &Target,
        folder: &Path,
        collected: &mut Collected,
        lacks: &mut Vec<(Way, String)>,
        mut taking: Option<ArchiveStream>,
    ) -> Result<Vec<Shortfall>> {
        if let Some(taking) = &taking {
            collected.way = if taking.is_agents() { Way::Agent } else { Way::ExecShTar };
        }
        let (unpacked, end) = loop {
            let way = collected.way;
            let stream = self.stream(target, folder, way, taking.take(), &mut collected.agent_lives);
            let streamed = tokio::time::timeout(self.timeout, stream).await;
            let streamed = streamed.unwrap_or_else(|_| {
                Ok(Err(Shortfall::passing(format!("not done within {}s", self.timeout.as_secs_f32()))))
            })?;
            let lack = match &streamed {
                Ok((_, end)) => lack(target, way, end),
                Err(shortfall) => (shortfall.kind == ShortfallKind::Lack).then(|| shortfall.message.clone()),
            };
            let Some(lack) = lack else {
                match streamed {
                    Ok(both) => break both,
                    Err(shortfall) => return Ok(vec![shortfall]),
                }
            };
            tracing::debug!("{}: {lack}", target.container);
            if matches!(streamed, Ok((_, Ok(_)))) {
                // A shell has looked for tar: there is none to try without it.
                lacks.push((Way::ExecTar, lack.clone()));
            }
            lacks.push((way, lack));
            let untried = ways(target).find(|way| lacks.iter().all(|(tried, _)| tried != way));
            let Some(next) = untried else { return Ok(vec![Shortfall::no_way(no_way(target, lacks))]) };
            collected.way = next;
        };
        collected.gzip = unpacked.gzip;
        // What an earlier try brought is whole, and Go never writes a name twice: it stays.
        collected.files.extend(unpacked.files.iter().cloned());
        collected.files.sort();
        collected.files.dedup();
        Ok(shortfalls(target, &unpacked, end))
    }

    /// Runs tar in the container, unless an exec is there that has begun with it, and unpacks what comes. The outer
    /// error is the disk's.
    async fn stream(
        &self,
        target: &Target,
        folder: &Path,
        way: Way,
        taking: Option<ArchiveStream>,
        agent_lives: &mut Option<Lives>,
    ) -> Result<Result<(Unpacked, Result<i32, Error>), Shortfall>> {
        let dir = match &target.dir {
            CoverDir::Path(path) => path.as_str(),
            CoverDir::Env => "",
        };
        let script = with_tar_script(SCRIPT);
        let exec = async |command: &[&str]| {
            let exec = self.cluster.exec(&target.container, command, false, STALL).await;
            exec.map(|exec| ArchiveStream::begun(Bytes::new(), exec)).map_err(NoArchive::Unreachable)
        };
        let taking = match (taking, way) {
            (Some(taking), _) => Ok(taking),
            (None, Way::Agent) => ArchiveStream::from_agent(self.cluster, target).await,
            (None, Way::ExecShTar) => exec(&["sh", "-c", &script, "podcov", dir]).await,
            (None, Way::ExecTar) => exec(&["tar", "-C", dir, "-cf", "-", "."]).await,
            (None, Way::Storage) => Err(NoArchive::Said("it is in storage".to_owned())),
        };
        let mut taking = match taking {
            Ok(taking) => taking,
            Err(NoArchive::NoAgent(why)) => return Ok(Err(Shortfall::lack(why))),
            Err(NoArchive::Said(what)) => return Ok(Err(Shortfall::last(what))),
            Err(NoArchive::Unreachable(e)) if e.is_transient() => {
                return Ok(Err(Shortfall::passing(e.to_string())));
            }
            // Exec may be allowed where port-forward is not.
            Err(NoArchive::Unreachable(e)) if way == Way::Agent => {
                return Ok(Err(Shortfall::lack(e.to_string())));
            }
            Err(NoArchive::Unreachable(e)) => return Ok(Err(Shortfall::no_way(with_hint(&e)))),
        };
        *agent_lives = taking.lives().cloned().or(agent_lives.take());
        let (pieces, receiver) = mpsc::channel(PIECES);
        let (rules, into): (_, PathBuf) = (self.rules, folder.to_owned());
        let asked_for_all = way != Way::ExecTar;
        let unpacking =
            self.tracker.spawn_blocking(move || unpack(Pieces::from(receiver), &into, rules, asked_for_all));
        let mut stderr = String::new();
        let end = loop {
            match taking.next().await {
                Ok(Some(Output::Stdout(data))) => {
                    // Whoever stopped listening has seen enough.
                    if pieces.send(Ok(data)).await.is_err() {
                        break Ok(0);
                    }
                }
                Ok(Some(Output::Stderr(data))) if stderr.len() < 4096 => {
                    stderr.push_str(&String::from_utf8_lossy(&data));
                }
                Ok(Some(Output::Stderr(_))) => {}
                Ok(None) => break taking.code(),
                Err(e) => {
                    let _ = pieces.send(Err(io::Error::other(e.to_string()))).await;
                    break Err(e);
                }
            }
        };
        drop(pieces);
        let unpacked = match unpacking.await {
            Ok(unpacked) => unpacked?,
            // A fault of ours, which must not cost the other containers.
            Err(panic) => return Ok(Err(unpacking_failed(&panic))),
        };
        if !stderr.trim().is_empty() {
            tracing::debug!("{}: {}", target.container, stderr.trim());
        }
        let end = match end {
            Ok(code) if code != 0 && !stderr.trim().is_empty() && !(41..=43).contains(&code) => {
                Err(Error::ExecFailed(format!("tar ended with exit code {code}: {}", stderr.trim())))
            }
            end => end,
        };
        Ok(Ok((unpacked, end)))
    }
}

fn unpacking_failed(panic: &JoinError) -> Shortfall {
    Shortfall::last(format!(
        "its archive could not be unpacked ({panic}); this is a fault of podcov-collect's"
    ))
}

/// The ways to a container's files, the likeliest first. Without a shell the folder's name must be known.
fn ways(target: &Target) -> impl Iterator<Item = Way> {
    let agent = target.agent.map(|_| Way::Agent);
    let tar = matches!(target.dir, CoverDir::Path(_)).then_some(Way::ExecTar);
    let first = agent.filter(|_| target.expects_agent());
    let last = agent.filter(|_| !target.expects_agent());
    first.into_iter().chain([Way::ExecShTar]).chain(tar).chain(last)
}

/// The way to try first.
fn first_way(target: &Target) -> Way {
    ways(target).next().expect("a shell is always among them")
}

/// What a container lacks of what a way takes, if that is why it failed.
fn lack(target: &Target, way: Way, end: &Result<i32, Error>) -> Option<String> {
    match end {
        // The agent sets GOCOVERDIR for its program alone: a shell knows of no folder.
        Ok(41 | 43) if way == Way::ExecShTar && target.expects_agent() && target.dir == CoverDir::Env => {
            Some("a shell in the container knows no GOCOVERDIR".to_owned())
        }
        Ok(42) if way == Way::ExecShTar => Some("the image has no tar".to_owned()),
        Err(Error::NoProgram { .. }) if way == Way::ExecTar => {
            Some("the image has neither a shell nor tar".to_owned())
        }
        Err(Error::NoProgram { program, .. }) => Some(format!("the image has no {program}")),
        _ => None,
    }
}

/// What to say when no way led to the files.
fn no_way(target: &Target, lacks: &[(Way, String)]) -> String {
    let of = |way| lacks.iter().find(|(tried, _)| *tried == way).map(|(_, lack)| lack.as_str());
    let exec = of(Way::ExecTar).or(of(Way::ExecShTar)).unwrap_or_default();
    let unnamed = match target.dir {
        CoverDir::Env if of(Way::ExecTar).is_none() => {
            ", so $GOCOVERDIR cannot be read; name it with --coverdir"
        }
        _ => "",
    };
    match of(Way::Agent) {
        Some(agent) if target.expects_agent() => {
            format!("{exec}{unnamed}; no podcov-agent: {agent}")
        }
        _ => format!("{exec}{unnamed}"),
    }
}

/// What is missing after a try.
fn shortfalls(target: &Target, unpacked: &Unpacked, end: Result<i32, Error>) -> Vec<Shortfall> {
    let mut found: Vec<Shortfall> = Vec::new();
    found.extend(unpacked.refused.iter().map(|what| Shortfall::last(format!("refused: {what}"))));
    found.extend(unpacked.corrupt.iter().map(Shortfall::passing));
    match end {
        Ok(0) => {}
        Ok(41) => return vec![Shortfall::last(format!("there is no folder {}", target.dir))],
        Ok(43) => return vec![Shortfall::last(nothing_there(target))],
        Ok(code) => found.push(Shortfall::passing(format!("tar ended with exit code {code}"))),
        // The archive was cut by it, which is said below.
        Err(Error::Broken(_) | Error::Stalled(_)) => {}
        Err(e) => return vec![Shortfall::passing(e.to_string())],
    }
    if let Some(cut) = &unpacked.cut
        && unpacked.refused.is_empty()
    {
        found.push(Shortfall::passing(format!("the stream was cut: {cut}")));
    }
    if found.is_empty() && unpacked.files.is_empty() {
        found.push(Shortfall::last(nothing_there(target)));
    }
    found
}

fn nothing_there(target: &Target) -> String {
    format!(
        "{} holds no coverage files; is the program built with -cover, and may it write there?",
        target.dir
    )
}

fn with_hint(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// The pieces of a stream as a blocking reader.
struct Pieces {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl From<mpsc::Receiver<io::Result<Bytes>>> for Pieces {
    fn from(receiver: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        Self { receiver, current: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.receiver.blocking_recv() {
                Some(piece) => self.current = piece?,
                None => return Ok(0),
            }
        }
        let n = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..n]);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use podcov_cluster::{AgentPort, Container, CoverVolume};

    use super::*;

    #[test]
    fn what_is_tried_again() {
        let target = |expected| Target {
            container: Container {
                namespace: "shop".into(),
                pod: "cart-1".into(),
                uid: "u".into(),
                container: "app".into(),
                image: "i".into(),
                image_id: "i".into(),
                restarts: 0,
            },
            dir: CoverDir::Env,
            volume: CoverVolume::Unknown,
            shares_process_ids: false,
            hostname: None,
            agent: Some(AgentPort { port: 1, expected, sure: true }),
            history: Default::default(),
        };
        let restarting = Fate::Restarting("the container stopped running (Error)".into());
        let over = Fate::Over("the pod is gone".into());
        let no_way = Shortfall::no_way("the image has no sh");
        assert!(
            [Some(&restarting), Some(&Fate::Restarted)]
                .iter()
                .all(|fate| no_way.may_pass(&target(false), *fate))
        );
        assert!([Some(&over), None].iter().all(|fate| !no_way.may_pass(&target(false), *fate)));
        assert!(no_way.may_pass(&target(true), None), "its agent may be starting");
        assert!(Shortfall::passing("the stream was cut").may_pass(&target(false), None));
        assert!(!Shortfall::last("refused: x").may_pass(&target(true), Some(&restarting)));
        // Where the agent alone knows the folder, a shell that finds none says nothing about the program.
        for code in [41, 43] {
            assert!(lack(&target(true), Way::ExecShTar, &Ok(code)).is_some());
            assert!(lack(&target(false), Way::ExecShTar, &Ok(code)).is_none());
        }
    }
}
