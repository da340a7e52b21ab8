//! Making the program write its counters, with the evidence that it has.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use covdata::{FileName, MetaFile, Mode};
use fs_err as fs;
use livecov::process::{Process, ProcessError};
use podcov_control::Signal;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::process::Pid;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::files;
use crate::live_files::LiveFiles;
use crate::program::{Program, State};

/// How a program is made to write its counters.
pub(crate) struct Flush {
    folder: PathBuf,
    live: Arc<LiveFiles>,
    signal: Signal,
    timeout: Duration,
    /// One flush at a time: the new file of one would count as evidence for another.
    turn: Mutex<()>,
    /// The files that have been written on a signal, and not at a program's end.
    flushed: std::sync::Mutex<BTreeSet<String>>,
}

impl Flush {
    pub(crate) fn new(folder: PathBuf, live: Arc<LiveFiles>, signal: Signal, timeout: Duration) -> Self {
        Self { folder, live, signal, timeout, turn: Mutex::new(()), flushed: std::sync::Mutex::default() }
    }

    /// Sends the program a signal, the default one if none is given, and returns the names of its new counter files once they are complete.
    ///
    /// # Errors
    /// Why there are no new files.
    pub(crate) async fn flush(
        &self,
        program: &Program,
        signal: Option<Signal>,
    ) -> Result<Vec<String>, String> {
        let signal = signal.unwrap_or(self.signal);
        let _turn = self.turn.lock().await;
        let State::Running(pid) = program.state() else { return Err("the program does not run".to_owned()) };
        if !program.handles(signal.number()) {
            return Err(format!(
                "the program does not handle {signal}, which would end it; has it just started?"
            ));
        }
        let failed = |e: io::Error| e.to_string();
        let mut changes = Changes::of(&self.folder);
        let before = files::list(&self.folder).map_err(failed)?;
        let mut state = program.watch();
        let mut writes_itself = None;
        program.signal(signal.number()).map_err(failed)?;
        let deadline = Instant::now() + self.timeout;
        loop {
            let running = *state.borrow_and_update() == State::Running(pid);
            let mut now = files::list(&self.folder).map_err(failed)?;
            now.retain(|name, parsed| {
                files::has_counts(parsed) && !before.contains_key(name) && self.live.made(name).is_none()
            });
            let own = now.values().any(|parsed| files::written_by(parsed, number(pid)));
            // What a process that the program has started wrote at its end says nothing about the program, unless that is
            // a shell, say, which has it written.
            let evidence = own
                || !now.is_empty() && {
                    let writes = match writes_itself {
                        Some(writes) => writes,
                        None => is_covered(pid).await,
                    };
                    writes_itself = Some(writes);
                    !writes
                };
            if evidence {
                if let (true, Ok(mut flushed)) = (running, self.flushed.lock()) {
                    flushed.extend(now.keys().cloned());
                }
                return now.into_iter().map(|(name, parsed)| self.checked(name, &parsed)).collect();
            }
            if !running {
                return Err(format!(
                    "the program ended after {signal} and wrote nothing; does it handle that signal?"
                ));
            }
            let changed = async {
                tokio::select! {
                    changed = changes.next() => changed,
                    _ = state.changed() => Ok(()),
                }
            };
            match timeout_at(deadline, changed).await {
                Ok(changed) => changed.map_err(failed)?,
                Err(_) => return Err(self.why_nothing_came(signal)),
            }
        }
    }

    /// Whether a file was written on a signal.
    pub(crate) fn has_flushed(&self, name: &str) -> bool {
        self.flushed.lock().is_ok_and(|flushed| flushed.contains(name))
    }

    fn checked(&self, name: String, parsed: &FileName) -> Result<String, String> {
        let bytes = fs::read(self.folder.join(&name)).map_err(|e| e.to_string())?;
        covdata::check(parsed, &bytes).map_err(|e| format!("{name} is not a whole counter file: {e}"))?;
        Ok(name)
    }

    fn why_nothing_came(&self, signal: Signal) -> String {
        let waited = format!("no counter file appeared within {}s of {signal}", self.timeout.as_secs_f32());
        let listed = files::list(&self.folder).unwrap_or_default();
        let mut metas = listed.iter().filter(|(_, parsed)| matches!(parsed, FileName::Meta { .. }));
        let Some((name, _)) = metas.next() else {
            return format!(
                "{waited}, and {} holds no meta-data file; is the program built with -cover, and may it write there?",
                self.folder.display()
            );
        };
        let bytes = fs::read(self.folder.join(name)).unwrap_or_default();
        match MetaFile::parse(&bytes).map(|meta| meta.mode) {
            Ok(mode @ (Mode::Set | Mode::Count)) => format!(
                "{waited}; the program is built with -covermode={mode}, and only -covermode=atomic can write while \
                 it runs"
            ),
            _ => {
                format!("{waited}; is the program built with -covermode=atomic and does it handle {signal}?")
            }
        }
    }
}

fn number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Whether a process runs a program that is built with `-cover`, as far as can be told.
async fn is_covered(pid: Pid) -> bool {
    let find = move || Process::open(number(pid))?.program();
    match tokio::task::spawn_blocking(find).await {
        Ok(Err(ProcessError::Coverage(error))) => {
            !matches!(error, livecov::Error::NotElf | livecov::Error::NotGo | livecov::Error::NotCovered)
        }
        outcome => matches!(outcome, Ok(Ok(_))),
    }
}

/// Events of a folder, by inotify, whose descriptor is read like a pipe. None where the node's limit for a user
/// (`fs.inotify.max_user_instances`) is used up.
struct Changes(Option<pipe::Receiver>);

/// How often to look where there are no events.
const LOOK: Duration = Duration::from_millis(50);

impl Changes {
    /// Watches from now on.
    fn of(folder: &Path) -> Self {
        let watch = || {
            let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
            inotify::add_watch(&inotify, folder, WatchFlags::MOVED_TO | WatchFlags::CLOSE_WRITE)?;
            pipe::Receiver::from_owned_fd_unchecked(inotify)
        };
        Self(watch().ok())
    }

    /// Returns when the folder has changed since the last call, or may have.
    async fn next(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Some(changes) => changes.read(&mut [0; 4096]).await.map(drop),
            None => {
                tokio::time::sleep(LOOK).await;
                Ok(())
            }
        }
    }
}
