//! `podcov-agent run`: from the program's start to the last upload.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use covdata::FileName;
use podcov_cli::say;
use podcov_control::EndedProcess;
use rustix::process::{Pid, Signal, getpid, set_child_subreaper};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use crate::args::RunArgs;
use crate::control::Agent;
use crate::endpoint::{self, Endpoint};
use crate::flush::Flush;
use crate::interval::{Interval, take_live};
use crate::live_files::LiveFiles;
use crate::profile::Profile;
use crate::program::{End, Fate, Program, State, reap, stop_too};
use crate::restart::Policy;
use crate::runtime::block_on;
use crate::signals::{self, Blocked, SignalEvent, Signals};
use crate::upload::{Uploader, last_deadline};
use crate::{NAME, files, identity, program};

/// The exit code of a Go program that panics.
const PANIC: u8 = 2;

/// Runs the program and gives the exit code to end with: the program's, or 128 + the signal that ended it.
///
/// # Errors
/// When the program could not be started.
pub(crate) fn main(args: &RunArgs, blocked: Blocked) -> Result<u8> {
    block_on(run(args, blocked))?
}

async fn run(args: &RunArgs, blocked: Blocked) -> Result<u8> {
    let shared = &args.shared;
    let identity = identity::identity(shared, &args.program[0]);
    let origin = identity::origin(shared, &identity);
    let folder = Arc::new(files::folder(shared, &origin)?);
    let address = shared.address()?;
    let ports = endpoint::open(shared, args.kill_switch).await?;
    let signals = Signals::new(&blocked).context("cannot read signals")?;
    if getpid() != Pid::INIT {
        // A container's first process gets all orphans anyway.
        set_child_subreaper(Some(getpid())).context("cannot become the parent of orphans")?;
    }
    let live = Arc::new(LiveFiles::new(Arc::clone(&folder)));
    let uploader = address.as_ref().map(|address| {
        let (folder, live, remove) = (Arc::clone(&folder), Arc::clone(&live), args.flush_every.is_some());
        Arc::new(Uploader::new(address.clone(), origin.clone(), folder, live, remove))
    });
    if uploader.is_some() || args.flush_every.is_some() {
        // Start the thread that reads files before the program, which may use up the container's limit of processes.
        drop(tokio::task::spawn_blocking(|| ()));
    }
    let profile = Profile::of(&args.program);
    let before = names(folder.path());
    let (program, pid) =
        Program::start(&args.program, folder.path()).context("cannot start another process")?;
    let agent = Arc::new(Agent {
        program,
        flush: Flush::new(folder.path().to_owned(), Arc::clone(&live), args.flush_signal, args.flush_timeout),
        live,
        folder,
        endpoint: Endpoint::new(identity),
        origin,
        storage: address.as_ref().map(ToString::to_string),
        stop_signal: args.stop_signal,
        stop_asked: watch::Sender::new(None),
        waiting: std::sync::Mutex::default(),
        starts: AtomicU32::new(1),
        scanner: Arc::default(),
        lives: std::sync::Mutex::default(),
    });
    let control = spawn_local(endpoint::serve(ports, Arc::clone(&agent)));
    let mut supervisor = Supervisor {
        args,
        agent: Arc::clone(&agent),
        signals,
        uploader,
        profile,
        before,
        stop: None,
        interval: Arc::default(),
        takes: JoinSet::new(),
        uploads: JoinSet::new(),
    };
    let end = supervisor.until_over(pid).await?;
    supervisor.last_take().await;
    supervisor.last_upload(end).await;
    let _ = control.await;
    Ok(end.code())
}

/// Supervises the program.
struct Supervisor<'a> {
    args: &'a RunArgs,
    agent: Arc<Agent>,
    signals: Signals,
    uploader: Option<Arc<Uploader>>,
    profile: Option<Profile>,
    /// What was in the folder when the program started.
    before: BTreeSet<String>,
    /// When the first stop signal came.
    stop: Option<Instant>,
    interval: Arc<Interval>,
    /// The interval's work, while it is under way.
    takes: JoinSet<()>,
    /// Uploads under way.
    uploads: JoinSet<()>,
}

impl Supervisor<'_> {
    /// Runs until the program has ended and is not to be started again.
    async fn until_over(&mut self, mut pid: Pid) -> Result<End> {
        let mut policy = Policy::new(self.args.restart);
        loop {
            let (started, started_at) = (Instant::now(), identity::nanos());
            let end = self.until_ended(pid).await?;
            self.after(pid, end, started_at).await;
            self.agent.program.set(State::Down(end));
            let asked = self.agent.stop_asked.send_replace(None).is_some();
            let pause = policy.next(end, started.elapsed(), asked).filter(|_| self.stop.is_none());
            let Some(pause) = pause else { return Ok(end) };
            self.upload_soon();
            let after = if pause.is_zero() { String::new() } else { format!(" in {}s", pause.as_secs_f32()) };
            say(NAME, format_args!("the program {end}; starting it again{after}"));
            if self.paused(pause).await? {
                return Ok(end);
            }
            self.before = self.listed().into_keys().collect();
            pid = match self.agent.program.restart(&self.args.program, self.agent.folder.path()) {
                Ok(pid) => pid,
                Err(error) => {
                    say(NAME, format_args!("error: cannot start another process: {error}"));
                    return Ok(end);
                }
            };
            self.agent.starts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Passes signals on until the program has ended.
    async fn until_ended(&mut self, pid: Pid) -> Result<End> {
        let mut flushes = self.args.flush_every.map(|every| {
            let mut interval = interval_at(Instant::now() + every, every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            interval
        });
        let mut kill_after = self.args.kill_after;
        let mut stop_asked = self.agent.stop_asked.subscribe();
        loop {
            let asked = *stop_asked.borrow_and_update();
            let first = self.stop.into_iter().chain(asked).min();
            let kill_at = first.and_then(|stop| Some(stop + kill_after?));
            tokio::select! {
                came = self.signals.next() => match came? {
                    SignalEvent::Child { forward } => {
                        if forward {
                            self.send(Signal::CHILD.as_raw());
                        }
                        match reap(Some(pid)) {
                            Some(Fate::Ended(end)) => return Ok(end),
                            Some(Fate::Stopped(signal)) => stop_too(signal),
                            None => {}
                        }
                    }
                    SignalEvent::Forward(number) => {
                        self.note(number);
                        self.send(number);
                    }
                    SignalEvent::Ignore(number) => self.note(number),
                },
                // The time runs from now.
                Ok(()) = stop_asked.changed() => {}
                () = at(kill_at) => {
                    let after = kill_after.take().unwrap_or_default().as_secs_f32();
                    say(NAME, format_args!("the program still runs {after}s after the stop signal: killing it"));
                    self.send(Signal::KILL.as_raw());
                }
                () = tick(&mut flushes) => self.take_soon(),
                Some(_) = self.takes.join_next() => {
                    // Else the last one is still under way.
                    if self.uploads.is_empty() {
                        self.upload_soon();
                    }
                }
                Some(_) = self.uploads.join_next() => {}
            }
        }
    }

    /// Waits before the next start. Whether a stop signal has come meanwhile.
    async fn paused(&mut self, pause: Duration) -> Result<bool> {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                came = self.signals.next() => match came? {
                    SignalEvent::Child { .. } => drop(reap(None)),
                    SignalEvent::Forward(number) | SignalEvent::Ignore(number) if signals::is_stop(number) => {
                        self.stop = Some(Instant::now());
                        return Ok(true);
                    }
                    SignalEvent::Forward(_) | SignalEvent::Ignore(_) => {}
                },
                () = sleep_until(until) => return Ok(false),
            }
        }
    }

    /// Notes that a stop signal has come.
    fn note(&mut self, number: i32) {
        if signals::is_stop(number) && self.stop.is_none() {
            self.stop = Some(Instant::now());
            // Files that exist can be uploaded before the program has ended.
            self.upload_soon();
        }
    }

    fn send(&self, number: i32) {
        if let Err(error) = self.agent.program.signal(number) {
            say(NAME, format_args!("error: {} cannot be passed on: {error}", signals::name(number)));
        }
    }

    /// Takes care of the files that the program has left; prints a line if there are none.
    async fn after(&mut self, pid: Pid, end: End, started: u64) {
        let number = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or_default();
        let taken = self.profile.as_mut().map(|profile| profile.take(number, self.agent.folder.path()));
        if let Some(Err(error)) = &taken {
            say(NAME, format_args!("error: the text profile cannot be taken: {error}"));
            if let Some(uploader) = &self.uploader {
                uploader.lose(format!("the text profile: {error}"));
            }
        }
        if let (Some(Ok(false)), Some(profile)) = (&taken, &self.profile) {
            say(
                NAME,
                format_args!(
                    "warning: the program wrote no text profile to {profile}; may it write to TMPDIR?"
                ),
            );
        }
        let unread = self.settle(number).await;
        let folder = self.agent.folder.path().display();
        let listed = self.listed();
        // In a folder that outlives the container, an earlier process with the same ID may have written files.
        let mut new = listed.iter().filter(|(name, _)| self.is_new(name));
        let wrote = new.any(|(_, parsed)| files::written_by(parsed, number));
        self.note_life(number, end, started, &listed, unread);
        match end {
            _ if wrote => {}
            // The reason has been printed.
            End::Exit(program::NOT_EXECUTABLE | program::NOT_FOUND) => {}
            _ if let Some(unread) = unread => {
                say(
                    NAME,
                    format_args!(
                        "warning: the program {end} without writing its counters; at most what it counted in its last \
                         {:.2}s is lost",
                        unread.as_secs_f32()
                    ),
                );
            }
            End::Signal(signal) if self.args.flush_every.is_some() => {
                let signal = signals::name(signal);
                say(
                    NAME,
                    format_args!(
                        "warning: {signal} ended the program; what it counted since the last flush is lost"
                    ),
                );
            }
            End::Signal(signal) => {
                let signal = signals::name(signal);
                say(
                    NAME,
                    format_args!(
                        "warning: {signal} ended the program before it wrote its counters, which it does when main \
                         returns or calls os.Exit; does it handle that signal?"
                    ),
                );
            }
            End::Exit(_) if listed.is_empty() => {
                say(
                    NAME,
                    format_args!("warning: the program left nothing in {folder}; is it built with -cover?"),
                );
            }
            End::Exit(_) => say(NAME, format_args!("warning: the program wrote no counters to {folder}")),
        }
    }

    /// Removes snapshots of what the program's processes have written themselves. Gives how long ago a process that has
    /// ended was read, if it was.
    async fn settle(&self, pid: u32) -> Option<Duration> {
        self.args.flush_every?;
        let live = Arc::clone(&self.agent.live);
        let settled = tokio::task::spawn_blocking(move || (live.unread_for(pid), live.settle())).await;
        let (unread, settled) = settled.ok()?;
        if let Err(error) = settled {
            say(NAME, format_args!("error: what was counted may be there twice: {error}"));
        }
        unread
    }

    /// The coverage files in the folder, and those that were removed from it since they were uploaded.
    fn listed(&self) -> BTreeMap<String, FileName> {
        let mut listed = files::list(self.agent.folder.path()).unwrap_or_default();
        listed.extend(self.uploader.iter().flat_map(|uploader| uploader.removed()));
        listed
    }

    /// Whether a file came from the program that runs now, and not from a snapshot of it.
    fn is_new(&self, name: &str) -> bool {
        !self.before.contains(name) && self.agent.live.made(name).is_none()
    }

    /// Records how the process ended, and whether it wrote its counters then. A process that a signal kills cannot.
    fn note_life(
        &self,
        pid: u32,
        end: End,
        started: u64,
        listed: &BTreeMap<String, FileName>,
        unread: Option<Duration>,
    ) {
        // Go writes counters at each exit except after a signal or a panic, whose exit code is 2. A program may also exit
        // with that code by itself: then there is a file that no flush has asked for.
        let panicked = end == End::Exit(PANIC);
        let new = || listed.iter().filter(|(name, _)| self.is_new(name));
        // By the program, or by one that it has started, as a shell does.
        let unasked = || {
            new().any(|(name, file)| {
                matches!(file, FileName::Counters { .. } | FileName::Text { .. })
                    && !self.agent.flush.has_flushed(name)
            })
        };
        let counters_written = match end {
            // It never ran.
            End::Exit(program::NOT_EXECUTABLE | program::NOT_FOUND) => true,
            End::Exit(_) => unasked() || !panicked && new().any(|(_, file)| files::written_by(file, pid)),
            End::Signal(number) if signals::is_request_to_end(number) => unasked(),
            End::Signal(_) => false,
        };
        let signal = match end {
            End::Signal(number) => Some(number),
            End::Exit(_) => None,
        };
        let [started, ended] = [started, identity::nanos()].map(|nanos| nanos / 1_000_000_000);
        let unread = unread.map(|unread| u64::try_from(unread.as_millis()).unwrap_or(u64::MAX));
        let life = EndedProcess { started, ended, exit_code: end.code(), signal, counters_written, unread };
        self.agent.add_life(life);
        // One that was never read has lost all that it counted.
        if let Some(uploader) = self.uploader.as_ref().filter(|_| self.args.flush_every.is_some()) {
            uploader.set_loss(self.agent.lives().loss());
        }
    }

    fn upload_soon(&mut self) {
        if let Some(uploader) = &self.uploader {
            let (uploader, deadline) = (Arc::clone(uploader), Instant::now() + self.args.shared.deadline);
            self.uploads.spawn_local(async move { uploader.upload(deadline, None).await });
        }
    }

    fn take_soon(&mut self) {
        if !self.takes.is_empty() {
            // The last one is still under way.
            return;
        }
        let (interval, agent) = (Arc::clone(&self.interval), Arc::clone(&self.agent));
        // Without a storage, each signal would leave one more file in the folder.
        let by_signal = self.uploader.is_some();
        self.takes.spawn_local(async move { interval.take(&agent, by_signal).await });
    }

    /// Takes what processes have counted that are still there when the program has ended: in a container they end now.
    async fn last_take(&self) {
        if self.args.flush_every.is_some()
            && let Err(error) = take_live(&self.agent).await
        {
            say(NAME, format_args!("error: no snapshot was taken: {error}"));
        }
    }

    /// Uploads the rest, while callers of the control endpoint still get their answers.
    async fn last_upload(&mut self, end: End) {
        if let Some(uploader) = &self.uploader {
            let deadline = last_deadline(self.stop, self.args.shared.deadline);
            uploader.upload(deadline, Some(end.code())).await;
        }
        self.agent.program.set(State::Over(end));
        self.agent.endpoint.close();
        self.takes.abort_all();
        self.uploads.abort_all();
    }
}

/// The names of the coverage files in a folder.
fn names(folder: &Path) -> BTreeSet<String> {
    files::list(folder).unwrap_or_default().into_keys().collect()
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => drop(interval.tick().await),
        None => std::future::pending().await,
    }
}
