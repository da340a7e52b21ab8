//! The way by a shell in the container: signal the program once, look until each process has a new counter file, and have
//! tar send the files. All on one connection, for an exec costs the node far more than what it does.
//!
//! Only the container's own processes are ever signalled: `session.sh` says how they are told from others.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use covdata::{FileName, MetaFile, Mode};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use podcov_cluster::{Cluster, CoverDir, CoverVolume, Error, Exec, Fate, Output, Pauses, Target};
use podcov_control::{Action, Signal};
use tokio::time::Instant;

use crate::archive::{ArchiveStream, tar_failed};
use crate::fault::Fault;
use crate::goal::{Goal, Instruction};
use crate::names;
use crate::process::{self, Process, ProcessFilter, without_file};
use crate::prospect::{CoverageFiles, CoveredProgram, FolderState, Prospect};
use crate::session::{
    EarlyExit, NO_FILES, NO_FOLDER, NO_TAR, Opening, ReadBack, Session, ShellReply, without_comments,
};
use crate::tar::STALL;
use crate::way::{Way, WayKind, WrittenCounters, explain};

/// What runs in the container where nothing is asked of the program, with the function `all` of `tar.sh` or `names.sh`.
/// Arguments: the folder, the exit code if there is nothing in it (empty: an error's).
const ARCHIVE_SCRIPT: &str = r#"
none=$2
cd -- "${1:-$GOCOVERDIR}" || exit ${none:-41}
command -v tar >/dev/null 2>&1 || exit 42
all
"#;

/// What runs in the container to see what there is. Argument: the folder. Nothing is written: some shells take root for one
/// who may write everywhere, so the folder's file system must not be mounted read-only.
const FACILITIES_SCRIPT: &str = r#"
cd -- "${1:-$GOCOVERDIR}" 2>/dev/null || exit 0
here=$(pwd -P)/ best= options=
while read -r device at kind how rest; do
  case $here in "${at%/}/"*) [ ${#at} -lt ${#best} ] || best=$at options=$how ;; esac
done 2>/dev/null </proc/self/mounts
case $options in ro | ro,*) ;; *) [ ! -w . ] || echo writable ;; esac
! command -v tar >/dev/null 2>&1 || echo tar
"#;

/// The pauses between two looks at the container's files or processes.
const LOOKS: Pauses = Pauses::new(Duration::from_millis(5), 2, Duration::from_millis(200));

/// The way.
pub(crate) const SHELL: WayKind = WayKind {
    name: "exec-sh-tar",
    create: |cluster, target, goal| {
        Box::new(Shell { cluster, target, goal, state: SignalState::default(), connection: None })
    },
};

struct Shell<'a> {
    cluster: &'a Cluster,
    target: &'a Target,
    goal: Goal<'a>,
    state: SignalState,
    connection: Option<Connection>,
}

/// What is known of a container from one connection to the next.
#[derive(Default)]
struct SignalState {
    /// The counter files before the signal.
    before: BTreeSet<String>,
    /// The processes that are signalled, of which each must write.
    processes: Vec<Process>,
    /// When the shell was told to send the signal. It is told once: where the connection broke before its answer,
    /// nobody knows whether it did, and a second signal could end a program that has just been started again.
    signalled_at: Option<Instant>,
    outcome: SignalOutcome,
}

/// What the shell has said about the signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum SignalOutcome {
    /// Nothing: the connection may have broken before.
    #[default]
    Unknown,
    /// A process did not get it.
    NotSent,
    /// Every process got it.
    Sent,
    /// The processes have ended since, and one of them has written nothing.
    EndedSilently,
    /// They have written, and ended since.
    EndedAfterWriting,
}

enum Connection {
    /// To a shell that takes commands.
    Session(Session),
    /// To one that sends the archive.
    Archive(Exec),
}

impl Way for Shell<'_> {
    fn name(&self) -> &'static str {
        SHELL.name
    }

    fn open(&mut self) -> BoxFuture<'_, Result<(), Fault>> {
        async {
            let connection = match self.goal.instruction() {
                Some(instruction) => {
                    let name = match instruction.processes {
                        ProcessFilter::Name(name) => Some(name),
                        ProcessFilter::Covered | ProcessFilter::Id(_) => None,
                    };
                    let opening = Opening { list_processes: self.state.signalled_at.is_none(), name };
                    Session::open(self.cluster, self.target, &opening).await.map(Connection::Session)
                }
                None => {
                    let dir = self.target.dir.path();
                    let script = without_comments(&[names::sending(&self.goal), ARCHIVE_SCRIPT]);
                    let none = if self.goal.maybe_none() { "0" } else { "" };
                    let command = ["sh", "-c", &script, "podcov", dir, none];
                    let exec = self.cluster.exec(&self.target.container, &command, false, STALL).await;
                    exec.map(Connection::Archive)
                }
            };
            self.connection = Some(connection.map_err(|error| self.fault(&error))?);
            Ok(())
        }
        .boxed()
    }

    fn flush(&mut self) -> BoxFuture<'_, Result<WrittenCounters, Fault>> {
        async {
            let (mut session, files) = self.written().await?;
            self.check_that_files_stay(&mut session).await?;
            let verified = self.verify(session, &files).await?;
            Ok(WrittenCounters { processes: self.state.processes.clone(), files, verified })
        }
        .boxed()
    }

    fn archive(&mut self) -> BoxFuture<'_, Result<Option<ArchiveStream>, Fault>> {
        async {
            let (begun, exec) = if self.goal.instruction().is_some() {
                let (session, _) = self.written().await?;
                let taken = session.take_all().await.map_err(|e| self.fault(&e))?;
                let Some(taken) = taken.map_err(|e| self.early_exit(&e))? else { return Ok(None) };
                taken
            } else {
                match self.connection.take() {
                    Some(Connection::Archive(exec)) => (Bytes::new(), exec),
                    _ => return Err(Fault::Passing("the shell does not run".to_owned())),
                }
            };
            let target = self.target.clone();
            let meaning = move |end: Result<(i32, &str), &Error>| match end {
                Ok((NO_FOLDER, said)) => no_folder(&target, said),
                Ok((NO_TAR, _)) => Fault::Absent("the image has no tar".to_owned()),
                Ok((NO_FILES, _)) if agent_alone_knows_the_folder(&target) => unknown_folder(),
                Ok((NO_FILES, _)) => Fault::Final(no_files(&target)),
                Ok((code, said)) => tar_failed(code, said),
                Err(Error::NoProgram { .. }) => Fault::Absent(no_shell(&target)),
                Err(error) => Fault::of(error),
            };
            Ok(Some(ArchiveStream::of_exec(SHELL.name, begun, exec, meaning)))
        }
        .boxed()
    }

    fn examine(&mut self, _may_add: bool) -> BoxFuture<'_, Result<Prospect, Fault>> {
        async {
            if self.goal.instruction().is_some() {
                return self.look().await;
            }
            let stream = self.archive().await?.expect("the shell sends names");
            Ok(Prospect { files: Some(names::in_lines(stream).await?), ..Prospect::default() })
        }
        .boxed()
    }

    fn explain(&self, fault: &Fault, fate: &Fate) -> String {
        if self.state.signalled_at.is_none() {
            return explain(fault, fate);
        }
        explain_after_signal(self.target, self.signal(), self.state.outcome, fault, fate)
    }
}

impl<'a> Shell<'a> {
    fn instruction(&self) -> &Instruction<'a> {
        self.goal.instruction().expect("a shell looks for new files where a program was asked for something")
    }

    /// The signal that makes the program write.
    fn signal(&self) -> Signal {
        match self.instruction().action {
            Action::Flush { signal } => signal.unwrap_or(Signal::FLUSH),
            Action::Stop => unreachable!("no plan has a shell stop a program"),
        }
    }

    /// What an error on the way to the shell or back means.
    fn fault(&self, error: &Error) -> Fault {
        match error {
            // A program that writes as the signal ends it is restarted on the same folder: look there, whatever the runtime
            // says meanwhile.
            _ if self.state.signalled_at.is_some() => Fault::Passing(error.to_string()),
            Error::NoProgram { .. } if self.goal.instruction().is_some() => Fault::Absent(
                "the image has no shell, which is needed to send the signal and to see the new files: no sh on the \
                 container's PATH"
                    .to_owned(),
            ),
            Error::NoProgram { .. } => Fault::Absent(no_shell(self.target)),
            error => Fault::of(error),
        }
    }

    fn early_exit(&self, exit: &EarlyExit) -> Fault {
        match exit {
            _ if exit.was_killed() => Fault::Passing(exit.to_string()),
            // No other way may ask the program again.
            _ if exit.has_no_folder() && self.state.signalled_at.is_some() => Fault::Final(exit.to_string()),
            _ if exit.has_no_folder() => no_folder(self.target, &exit.to_string()),
            _ => Fault::Final(exit.to_string()),
        }
    }

    /// What a signal would reach, and where the programs would write. None is sent.
    async fn look(&mut self) -> Result<Prospect, Fault> {
        let Some(Connection::Session(mut session)) = self.connection.take() else {
            return Err(Fault::Passing("the shell does not run".to_owned()));
        };
        let meta = match session.names().await.map_err(|e| self.fault(&e))? {
            Ok(meta) => meta,
            Err(exit) if exit.has_no_folder() && !agent_alone_knows_the_folder(self.target) => {
                return Ok(Prospect { folder: Some(FolderState::Missing), ..Prospect::default() });
            }
            Err(exit) => return Err(self.early_exit(&exit)),
        };
        let counters = session.names().await.map_err(|e| self.fault(&e))?.map_err(|e| self.early_exit(&e))?;
        let mut files = CoverageFiles::default();
        meta.iter().chain(&counters).for_each(|name| files.add(name));
        let candidates =
            session.processes().await.map_err(|e| self.fault(&e))?.map_err(|e| self.early_exit(&e))?;
        let others = process::without_coverage(&candidates);
        let filter = self.instruction().processes;
        let has_none = others.len() == candidates.len() && !candidates.is_empty();
        let selected = match has_none && filter == ProcessFilter::Covered {
            true => Vec::new(),
            false => process::select(&candidates, filter).map_err(Fault::Final)?,
        };
        let mode = match meta.first() {
            Some(first) => match session.take(std::slice::from_ref(first)).await {
                Ok(ReadBack::Archive(bytes)) => mode_of(&bytes),
                _ => None,
            },
            None => None,
        };
        let (is_writable, has_tar) = self.facilities().await?;
        let folder = match (is_writable, meta.is_empty()) {
            (false, _) => FolderState::ReadOnly,
            (true, true) => FolderState::WithoutMetaData,
            (true, false) => FolderState::HasMetaData,
        };
        let covered = selected.iter().map(|process| {
            let process = format!("process {process}");
            CoveredProgram { process, mode, ..CoveredProgram::default() }
        });
        Ok(Prospect {
            covered: covered.collect(),
            others,
            folder: Some(folder),
            files: Some(files),
            has_tar: Some(has_tar),
            ..Prospect::default()
        })
    }

    /// Whether the folder may be written to, and whether the image has tar.
    async fn facilities(&self) -> Result<(bool, bool), Fault> {
        let command = ["sh", "-c", FACILITIES_SCRIPT, "podcov", self.target.dir.path()];
        let exec = self.cluster.exec(&self.target.container, &command, false, STALL).await;
        let mut exec = exec.map_err(|e| self.fault(&e))?;
        let mut said = Vec::new();
        while let Some(output) = exec.next().await.map_err(|e| self.fault(&e))? {
            if let Output::Stdout(data) = output {
                said.extend_from_slice(&data);
            }
        }
        exec.end().await.map_err(|e| self.fault(&e))?;
        let said = String::from_utf8_lossy(&said);
        let has = |word: &str| said.lines().any(|line| line == word);
        Ok((has("writable"), has("tar")))
    }

    /// Has the processes signalled, unless they have been, and waits until each has a new counter file. Gives the names of
    /// the new files.
    async fn written(&mut self) -> Result<(Session, Vec<String>), Fault> {
        let Some(Connection::Session(mut session)) = self.connection.take() else {
            return Err(Fault::Passing("the shell does not run".to_owned()));
        };
        let meta = session.names().await.map_err(|e| self.fault(&e))?.map_err(|e| self.early_exit(&e))?;
        let listed = session.names().await.map_err(|e| self.fault(&e))?.map_err(|e| self.early_exit(&e))?;
        if self.state.signalled_at.is_none() {
            let candidates =
                session.processes().await.map_err(|e| self.fault(&e))?.map_err(|e| self.early_exit(&e))?;
            self.state.processes =
                process::select(&candidates, self.instruction().processes).map_err(Fault::Final)?;
            self.state.before = listed;
            self.send_signal(&mut session).await?;
        }
        let signal = self.signal();
        let waited = self.instruction().timeout;
        let deadline = self.state.signalled_at.unwrap_or_else(Instant::now) + waited;
        let mut pauses = LOOKS;
        let (mut some, mut missing) = (false, self.state.processes.clone());
        loop {
            let reply = session.count(&self.state.processes).await.map_err(|e| self.fault(&e))?;
            if reply == ShellReply::Killed {
                return Err(Fault::Passing("the shell was killed".to_owned()));
            }
            if reply != ShellReply::Count(self.state.before.len()) {
                let now = session.list().await.map_err(|e| self.fault(&e))?;
                let files: BTreeSet<_> = now.difference(&self.state.before).cloned().collect();
                missing = without_file(&self.state.processes, &files);
                some = !files.is_empty();
                if missing.is_empty() {
                    return Ok((session, files.into_iter().collect()));
                }
            }
            let of_which = match missing.len() {
                1 if some => format!(" of process {}", process::list(&missing)),
                2.. if some => format!(" of the processes {}", process::list(&missing)),
                _ => String::new(),
            };
            if reply == ShellReply::Gone {
                self.state.outcome = SignalOutcome::EndedSilently;
                return Err(Fault::Final(format!(
                    "the process has ended after {signal} and written nothing{of_which}"
                )));
            }
            if Instant::now() < deadline {
                pauses.wait().await;
                continue;
            }
            let waited =
                format!("no counter file{of_which} appeared within {}s of {signal}", waited.as_secs_f32());
            return Err(Fault::Final(match (self.state.outcome == SignalOutcome::Sent, some) {
                (false, _) => format!(
                    "{waited}; the connection broke as the signal was sent, so it may not have arrived: try again"
                ),
                (true, true) => waited,
                (true, false) => self.with_likely_reason(waited, session, &meta).await,
            }));
        }
    }

    async fn send_signal(&mut self, session: &mut Session) -> Result<(), Fault> {
        let signal = self.signal();
        self.state.signalled_at = Some(Instant::now());
        tracing::info!("{}: {signal} to {}", self.target.container, process::list(&self.state.processes));
        // A program that ends on the signal takes the shell with it, perhaps before that has answered.
        let reply = session.signal(signal, &self.state.processes).await;
        let reply = reply.map_err(|e| self.fault(&e))?.map_err(|e| self.early_exit(&e))?;
        let unsent = process::settle(&mut self.state.processes, &reply.sent, &reply.ended);
        if !unsent.is_empty() {
            self.state.outcome = SignalOutcome::NotSent;
            let why = if reply.said.is_empty() { "it has ended" } else { &reply.said };
            return Err(Fault::Final(format!(
                "{signal} could not be sent to process {}: {why}",
                process::list(&unsent)
            )));
        }
        self.state.outcome = SignalOutcome::Sent;
        Ok(())
    }

    /// Fails if the program ends on the signal and what it wrote goes with its container. Waits, until the time is over,
    /// where the signal is one that programs end on: the file is there before its process has ended.
    async fn check_that_files_stay(&mut self, session: &mut Session) -> Result<(), Fault> {
        if self.target.volume != CoverVolume::None || !self.signal().ends_programs() {
            return Ok(());
        }
        let deadline = self.state.signalled_at.unwrap_or_else(Instant::now) + self.instruction().timeout;
        let mut pauses = LOOKS;
        while Instant::now() < deadline {
            match session.count(&self.state.processes).await.map_err(|e| self.fault(&e))? {
                ShellReply::Count(_) => pauses.wait().await,
                ShellReply::Gone | ShellReply::Killed => {
                    self.state.outcome = SignalOutcome::EndedAfterWriting;
                    let lost = lost_without_volume(self.target, self.signal(), "the process has ended");
                    return Err(Fault::Final(lost));
                }
            }
        }
        Ok(())
    }

    /// Reads the new files back and checks each; `false` where the image has no tar to read them with.
    async fn verify(&self, session: Session, new: &[String]) -> Result<bool, Fault> {
        let archive = match session.take(new).await.map_err(|e| self.fault(&e))? {
            ReadBack::Archive(bytes) => bytes,
            ReadBack::NoTar => return Ok(false),
            ReadBack::Failed(message) => return Err(Fault::Passing(message)),
        };
        let broken = |e: std::io::Error| Fault::Passing(format!("reading new counter files: {e}"));
        let mut whole = BTreeSet::new();
        for entry in tar::Archive::new(&archive[..]).entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).map_err(broken)?;
            let checked = name.parse::<FileName>().and_then(|parsed| covdata::check(&parsed, &bytes));
            checked.map_err(|e| Fault::Final(format!("{name} is not a whole counter file: {e}")))?;
            whole.insert(name);
        }
        match new.iter().find(|name| !whole.contains(*name)) {
            Some(missing) => Err(Fault::Passing(format!("tar did not send {missing}"))),
            None => Ok(true),
        }
    }

    /// Adds the likely reason why nothing appeared: the meta-data tells some.
    async fn with_likely_reason(&self, waited: String, session: Session, meta: &BTreeSet<String>) -> String {
        let Some(first) = meta.first() else {
            return format!(
                "{waited}, and {} holds no meta-data file; is the program built with -cover, and may it write there?",
                self.target.dir
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
            _ => format!(
                "{waited}; is the program built with -covermode=atomic and does it handle {}?",
                self.signal()
            ),
        }
    }
}

/// The message for the last fault, after the shell was told to send the signal.
fn explain_after_signal(
    target: &Target,
    signal: Signal,
    outcome: SignalOutcome,
    fault: &Fault,
    fate: &Fate,
) -> String {
    let is_restarted = matches!(fate, Fate::Restarting(_) | Fate::Restarted);
    let end = if outcome == SignalOutcome::EndedAfterWriting
        || (is_restarted && target.volume == CoverVolume::None)
    {
        lost_without_volume(target, signal, &fate.to_string())
    } else {
        format!(
            "{fate} after {signal}; does the program handle that signal? If it is meant to end on it, Kubernetes may \
             take longer to start it again: see --timeout"
        )
    };
    match (fault, outcome) {
        (Fault::Final(why), SignalOutcome::NotSent) => format!("{why}; {fate}"),
        (Fault::Final(why), SignalOutcome::Unknown | SignalOutcome::Sent) => format!("{why}; {end}"),
        // The fault is the end.
        _ => end,
    }
}

/// That what a program wrote when it ended went with its container, to which `event` happened.
fn lost_without_volume(target: &Target, signal: Signal, event: &str) -> String {
    format!(
        "{event} after {signal}, and GOCOVERDIR is on no volume: whatever the program wrote to {} at its end is gone; \
         mount a volume there, an emptyDir will do",
        target.dir
    )
}

fn mode_of(archive: &[u8]) -> Option<Mode> {
    let mut archive = tar::Archive::new(archive);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut bytes = Vec::new();
    entry.read_to_end(&mut bytes).ok()?;
    MetaFile::parse(&bytes).ok().map(|meta| meta.mode)
}

/// The agent sets GOCOVERDIR for its program alone: a shell finds no folder, whatever there is.
fn agent_alone_knows_the_folder(target: &Target) -> bool {
    target.expects_agent() && target.dir == CoverDir::Env
}

fn unknown_folder() -> Fault {
    Fault::Absent("a shell in the container knows no GOCOVERDIR".to_owned())
}

fn no_folder(target: &Target, said: &str) -> Fault {
    if agent_alone_knows_the_folder(target) {
        return unknown_folder();
    }
    Fault::Final(format!("there is no folder {} to look for counter files in ({said})", target.dir))
}

fn no_shell(target: &Target) -> String {
    match target.dir {
        CoverDir::Path(_) => "the image has no shell".to_owned(),
        CoverDir::Env | CoverDir::Unset => {
            "the image has no shell, so $GOCOVERDIR cannot be read; name it with --coverdir".to_owned()
        }
    }
}

/// The message for a folder that has been read and has no coverage file.
#[must_use]
pub fn no_files(target: &Target) -> String {
    format!(
        "{} holds no coverage files; is the program built with -cover, and may it write there?",
        target.dir
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::target;

    /// A restart hides no reason that is not the end itself.
    #[test]
    fn the_reason_for_a_failure_after_the_signal_is_named() {
        let with = |volume| Target { volume, ..target(CoverDir::Path("/cov".into()), None) };
        let told = |target: &Target, outcome, fault: Fault, fate| {
            explain_after_signal(target, Signal::FLUSH, outcome, &fault, &fate)
        };
        let end = "the container was restarted after SIGUSR1; does the program handle that signal? If it is meant to end \
                   on it, Kubernetes may take longer to start it again: see --timeout";
        let target = with(CoverVolume::EmptyDir);
        let corrupt = Fault::Final("covcounters.1 is not a whole counter file".into());
        assert_eq!(
            told(&target, SignalOutcome::Sent, corrupt, Fate::Restarted),
            format!("covcounters.1 is not a whole counter file; {end}")
        );
        let ended = || Fault::Final("the process has ended after SIGUSR1 and written nothing".into());
        assert_eq!(told(&target, SignalOutcome::EndedSilently, ended(), Fate::Restarted), end);
        assert_eq!(told(&target, SignalOutcome::Sent, Fault::Passing("cut".into()), Fate::Restarted), end);
        let lost = "the container was restarted after SIGUSR1, and GOCOVERDIR is on no volume: whatever the program \
                    wrote to /cov at its end is gone; mount a volume there, an emptyDir will do";
        let target = with(CoverVolume::None);
        assert_eq!(told(&target, SignalOutcome::EndedSilently, ended(), Fate::Restarted), lost);
        let unsent = Fault::Final("SIGUSR1 could not be sent to process 7 (app): it has ended".into());
        assert_eq!(
            told(&target, SignalOutcome::NotSent, unsent, Fate::Restarted),
            "SIGUSR1 could not be sent to process 7 (app): it has ended; the container was restarted"
        );
    }

    /// As with `restartPolicy: Never`. Asking whether it handles the signal would mislead: it has written.
    #[test]
    fn what_went_with_a_container_that_is_over_is_named() {
        let target = Target { volume: CoverVolume::None, ..target(CoverDir::Path("/cov".into()), None) };
        let over = Fate::Over("the container stopped running (Completed, exit code 0)".to_owned());
        let told = |outcome| {
            let fault = Fault::Final("it has ended".into());
            explain_after_signal(&target, Signal::FLUSH, outcome, &fault, &over)
        };
        assert_eq!(
            told(SignalOutcome::EndedAfterWriting),
            "the container stopped running (Completed, exit code 0) after SIGUSR1, and GOCOVERDIR is on no volume: \
             whatever the program wrote to /cov at its end is gone; mount a volume there, an emptyDir will do"
        );
        assert_eq!(
            told(SignalOutcome::EndedSilently),
            "the container stopped running (Completed, exit code 0) after SIGUSR1; does the program handle that signal? \
             If it is meant to end on it, Kubernetes may take longer to start it again: see --timeout"
        );
    }
}
