//! Flushing by a shell in the container: signal the program once, and look until each process has a new counter file.

use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::time::Duration;

use covdata::{FileName, MetaFile, Mode};
use podcov_cluster::{Cluster, CoverVolume, Error, Fate, Target};
use tokio::time::Instant;

use crate::flush::Request;
use crate::pause::Pause;
use crate::process::{self, Process, ProcessFilter, without_file};
use crate::session::{EarlyExit, Opening, ReadBack, Session, ShellReply};

/// That a container's processes have written their counters.
pub(crate) struct Evidence {
    /// The shell that has seen it.
    pub(crate) session: Session,
    /// The new counter files.
    pub(crate) files: Vec<String>,
    /// The processes that were signalled.
    pub(crate) processes: Vec<Process>,
}

/// Why a shell could not flush a container.
pub(crate) struct ShellFailure {
    /// There is none.
    pub(crate) no_shell: bool,
    pub(crate) why: String,
}

/// Why a try failed.
pub(crate) enum ShellError {
    /// On the way to the shell or back: another try may succeed.
    Cluster(Error),
    /// The container has answered, and another try would give the same answer.
    Final(String),
}

impl fmt::Display for ShellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster(e) => e.fmt(f),
            Self::Final(message) => f.write_str(message),
        }
    }
}

impl From<Error> for ShellError {
    fn from(error: Error) -> Self {
        Self::Cluster(error)
    }
}

/// What is known of a target from one connection to the next.
#[derive(Default)]
struct Progress {
    /// The counter files before the signal.
    before: BTreeSet<String>,
    /// The processes that are signalled, of which each must write.
    processes: Vec<Process>,
    /// When the shell was told to send the signal. It is told once: where the connection broke before its answer,
    /// nobody knows whether it did, and a second signal could end a program that has just been started again.
    signalled_at: Option<Instant>,
    /// The shell has said that it sent it.
    sent: bool,
}

/// Tries until there are new counter files and `then` has done with them, or another try makes no sense.
pub(crate) async fn flush<T>(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    signal: &str,
    then: impl AsyncFn(Evidence) -> Result<T, ShellError>,
) -> Result<T, ShellFailure> {
    let mut progress = Progress::default();
    let begun = Instant::now();
    let mut pause = Pause::default();
    loop {
        let done = match attempt(cluster, target, request, signal, &mut progress).await {
            Ok(evidence) => then(evidence).await,
            Err(error) => Err(error),
        };
        let error = match done {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let fate = cluster.what_became_of(&target.container).await;
        let since = progress.signalled_at.unwrap_or(begun);
        let again = since.elapsed() < request.timeout && may_pass(&error, fate.as_ref(), &progress);
        if !again {
            let no_shell = matches!(error, ShellError::Cluster(Error::NoProgram { .. }));
            return Err(ShellFailure { no_shell, why: message(&error, fate, target, signal, &progress) });
        }
        tracing::info!("{}: {error}; trying again", target.container);
        pause.wait().await;
    }
}

/// Whether another try may succeed.
fn may_pass(error: &ShellError, fate: Option<&Fate>, progress: &Progress) -> bool {
    let ShellError::Cluster(error) = error else { return false };
    match fate {
        // A program that writes as the signal ends it is restarted on the same folder: look there.
        _ if progress.signalled_at.is_some() => true,
        Some(Fate::Over(_)) => false,
        // Whatever the runtime said: the container was between two lives.
        Some(Fate::Restarting(_) | Fate::Restarted) => true,
        None => error.is_transient(),
    }
}

async fn attempt(
    cluster: &Cluster,
    target: &Target,
    request: &Request<'_>,
    signal: &str,
    progress: &mut Progress,
) -> Result<Evidence, ShellError> {
    let name = match request.processes {
        ProcessFilter::Name(name) => Some(name),
        ProcessFilter::Covered | ProcessFilter::Id(_) => None,
    };
    let opening = Opening { list_processes: progress.signalled_at.is_none(), name };
    let mut session = Session::open(cluster, target, &opening).await?;
    let failed = |exit: EarlyExit| exit.into_error(target);
    let meta = session.names().await?.map_err(failed)?;
    let listed = session.names().await?.map_err(failed)?;
    if progress.signalled_at.is_none() {
        let candidates = session.processes().await?.map_err(failed)?;
        progress.processes = process::select(&candidates, request.processes).map_err(ShellError::Final)?;
        progress.before = listed;
        progress.signalled_at = Some(Instant::now());
        let processes = &progress.processes;
        tracing::info!("{}: SIG{signal} to {}", target.container, process::list(processes));
        // A program that ends on the signal takes the shell with it, perhaps before that has answered.
        let (sent, said) = session.signal(signal, processes).await?.map_err(failed)?;
        let unsent: Vec<_> = processes.iter().filter(|process| !sent.contains(&process.pid)).collect();
        if !unsent.is_empty() {
            let said = if said.is_empty() { "it has ended".to_owned() } else { said };
            let unsent = process::list(unsent);
            return Err(ShellError::Final(format!(
                "SIG{signal} could not be sent to process {unsent}: {said}"
            )));
        }
        progress.sent = true;
    }
    let deadline = progress.signalled_at.unwrap_or_else(Instant::now) + request.timeout;

    let mut pause = Pause::default();
    let (mut some, mut missing) = (false, progress.processes.clone());
    loop {
        let reply = session.count(&progress.processes).await?;
        if reply != ShellReply::Count(progress.before.len()) {
            let files: BTreeSet<_> = session.list().await?.difference(&progress.before).cloned().collect();
            missing = without_file(&progress.processes, &files);
            some = !files.is_empty();
            if missing.is_empty() {
                let (files, processes) = (files.into_iter().collect(), progress.processes.clone());
                return Ok(Evidence { session, files, processes });
            }
        }
        let of_which = match missing.len() {
            1 if some => format!(" of process {}", process::list(&missing)),
            2.. if some => format!(" of the processes {}", process::list(&missing)),
            _ => String::new(),
        };
        if reply == ShellReply::Gone {
            return Err(ShellError::Final(format!(
                "the process has ended after SIG{signal} and written nothing{of_which}"
            )));
        }
        if Instant::now() < deadline {
            pause.wait().await;
            continue;
        }
        let waited = format!(
            "no counter file{of_which} appeared within {}s of SIG{signal}",
            request.timeout.as_secs_f32()
        );
        return Err(ShellError::Final(match (progress.sent, some) {
            (false, _) => format!(
                "{waited}; the connection broke as the signal was sent, so it may not have arrived: try again"
            ),
            (true, true) => waited,
            (true, false) => with_reason(waited, session, target, signal, &meta).await,
        }));
    }
}

/// Fails if the program ends on the signal and what it wrote goes with its container. Waits, until the time is over,
/// where the signal is one that programs end on: the file is there before its process has ended.
pub(crate) async fn check_that_files_stay(
    evidence: &mut Evidence,
    target: &Target,
    signal: &str,
    timeout: Duration,
) -> Result<(), ShellError> {
    let number = |number: &str| matches!(number, "1" | "2" | "3" | "6" | "9" | "15");
    let ends = matches!(signal, "HUP" | "INT" | "QUIT" | "ABRT" | "KILL" | "TERM") || number(signal);
    if target.volume != CoverVolume::None || !ends {
        return Ok(());
    }
    let deadline = Instant::now() + timeout;
    let mut pause = Pause::default();
    while Instant::now() < deadline {
        match evidence.session.count(&evidence.processes).await {
            Ok(ShellReply::Count(_)) => pause.wait().await,
            // The shell ends with the container.
            Ok(ShellReply::Gone) | Err(_) => {
                return Err(ShellError::Final(on_no_volume("the process has ended", target, signal)));
            }
        }
    }
    Ok(())
}

impl EarlyExit {
    fn into_error(self, target: &Target) -> ShellError {
        let message = self.message(target);
        if self.was_killed() {
            ShellError::Cluster(Error::Broken(message))
        } else {
            ShellError::Final(message)
        }
    }
}

/// Reads the new files back and checks each; `false` where the image has no tar to read them with.
pub(crate) async fn verify(session: Session, new: &[String]) -> Result<bool, ShellError> {
    let archive = match session.take(new).await? {
        ReadBack::Archive(bytes) => bytes,
        ReadBack::NoTar => return Ok(false),
        ReadBack::Failed(message) => return Err(ShellError::Cluster(Error::Broken(message))),
    };
    let broken =
        |e: std::io::Error| ShellError::Cluster(Error::Broken(format!("reading new counter files: {e}")));
    let mut whole = BTreeSet::new();
    for entry in tar::Archive::new(&archive[..]).entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(broken)?;
        let checked = name.parse::<FileName>().and_then(|parsed| covdata::check(&parsed, &bytes));
        checked.map_err(|e| ShellError::Final(format!("{name} is not a whole counter file: {e}")))?;
        whole.insert(name);
    }
    match new.iter().find(|name| !whole.contains(*name)) {
        Some(missing) => Err(ShellError::Cluster(Error::Broken(format!("{missing} did not come")))),
        None => Ok(true),
    }
}

/// Adds the likely reason why nothing appeared: the meta-data tells some.
async fn with_reason(
    waited: String,
    session: Session,
    target: &Target,
    signal: &str,
    meta: &BTreeSet<String>,
) -> String {
    let Some(first) = meta.first() else {
        return format!(
            "{waited}, and {} holds no meta-data file; is the program built with -cover, and may it write there?",
            target.dir
        );
    };
    let mode = match session.take(std::slice::from_ref(first)).await {
        Ok(ReadBack::Archive(bytes)) => mode_of(&bytes),
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

fn message(
    error: &ShellError,
    fate: Option<Fate>,
    target: &Target,
    signal: &str,
    progress: &Progress,
) -> String {
    match (error, fate) {
        (_, Some(fate)) if progress.signalled_at.is_some() => after_signal(&fate, target, signal),
        (ShellError::Final(message), _) => message.clone(),
        (ShellError::Cluster(Error::NoProgram { .. }), None) => {
            "the image has no shell, which is needed to send the signal and to see the new files: no sh on the \
             container's PATH"
                .to_owned()
        }
        (ShellError::Cluster(e), None) => e.to_string(),
        (ShellError::Cluster(e), Some(fate)) => format!("{fate} ({e})"),
    }
}

/// Why a container that ended after the signal has no new counter file.
fn after_signal(fate: &Fate, target: &Target, signal: &str) -> String {
    match (fate, target.volume) {
        (Fate::Restarting(_) | Fate::Restarted, CoverVolume::None) => {
            on_no_volume(&fate.to_string(), target, signal)
        }
        _ => format!(
            "{fate} after SIG{signal}; does the program handle that signal? If it is meant to end on it, Kubernetes \
             may take longer to start it again: see --timeout"
        ),
    }
}

fn on_no_volume(what: &str, target: &Target, signal: &str) -> String {
    format!(
        "{what} after SIG{signal}, and GOCOVERDIR is on no volume: whatever the program wrote to {} at its end is gone; \
         mount a volume there, an emptyDir will do",
        target.dir
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container between two lives is tried again, whatever the runtime's message.
    #[test]
    fn what_is_tried_again() {
        let between =
            ["failed to create exec: container not created: not found", "cannot exec in a stopped container"];
        let no_shell = Error::NoProgram { program: "sh".into(), message: "no such file or directory".into() };
        let errors = between.map(|words| Error::ExecFailed(words.into())).into_iter().chain([no_shell]);
        let starting = [Fate::Restarting("the container stopped running (Error)".into()), Fate::Restarted];
        let over = Fate::Over("the pod is gone".into());
        for error in errors.map(ShellError::Cluster) {
            let again = |fate| may_pass(&error, fate, &Progress::default());
            assert!(starting.iter().all(|fate| again(Some(fate))), "{error}");
            assert!(!again(Some(&over)), "{error}");
            let signalled = Progress { signalled_at: Some(Instant::now()), ..Progress::default() };
            assert!(may_pass(&error, Some(&over), &signalled), "{error}");
        }
        let answered = ShellError::Final("the container runs no Go program".into());
        assert!(!may_pass(&answered, Some(&Fate::Restarted), &Progress::default()));
    }
}
