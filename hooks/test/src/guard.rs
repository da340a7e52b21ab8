//! A guard process for the command and all processes that it starts.
//!
//! A hook can be killed at any moment: Skaffold's cancel is a SIGKILL. What the command had started would live on, and
//! Skaffold would wait for it, because it holds the hook's output open. So the command runs in a process group of its
//! own, under a guard. The guard is this same program in another process group, and all stopping is its work: that of
//! the command, and that of what the command leaves behind.
//!
//! podcov-test and its guard are joined by a pipe. Each byte in it is the number of a signal that podcov-test got. Its
//! end tells that podcov-test has ended.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;
use fs_err as fs;
use podcov_cli::{Shutdown, say};
use podcov_exit::{Exit, Failure, ResultExt};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::process::{self, Pid, WaitId, WaitIdOptions, WaitOptions};
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::args::NAME;
use crate::command::{self, Command, CommandEnd};

/// The first argument of a guard. No target looks like this; it is not documented for users.
pub(crate) const GUARD: &str = "--guard-command-while-open";

/// The names of at most this many processes are printed.
const NAMED: usize = 5;

/// Runs the command under a guard, to the end of both.
pub(crate) async fn run(command: &Command<'_>, shutdown: &Shutdown) -> Result<CommandEnd> {
    let (mut guard, mut pipe) = start(command).or_exit(
        Exit::Command(126),
        format!(
            "{}: cannot be run: podcov-test could not start itself again as its guard",
            command.program.to_string_lossy()
        ),
    )?;
    let mut requests = 0;
    let status = loop {
        tokio::select! {
            status = guard.wait() => break status,
            request = shutdown.nth(requests) => {
                requests += 1;
                // A guard that has ended needs no signal.
                let _ = pipe.write_all(&[request.signal]);
            }
        }
    };
    command::ended(status, requests > 0)
}

fn start(command: &Command<'_>) -> io::Result<(Child, PipeWriter)> {
    let Command { program, arguments, environment, grace } = command;
    let (from_us, to_guard) = rustix::pipe::pipe()?;
    fcntl_setfd(&to_guard, FdFlags::CLOEXEC)?;
    let own = own_program()?;
    let mut guard = tokio::process::Command::new(&own);
    guard.arg0(NAME).arg(GUARD).arg(from_us.as_raw_fd().to_string()).arg(grace.as_secs_f64().to_string());
    guard.arg(program).args(*arguments).envs(*environment).process_group(0);
    let guard = guard.spawn();
    let guard = guard.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", own.display())))?;
    Ok((guard, to_guard.into()))
}

/// The file of this program.
fn own_program() -> io::Result<PathBuf> {
    // On Linux this is the file that is running, even if it was replaced or removed.
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}

/// The work of a guard: runs the command, and ends with its exit code when it and its process group have ended.
///
/// The guard itself outlives every signal but SIGKILL.
pub(crate) async fn guard(arguments: &[OsString]) -> Result<Exit> {
    let [pipe, grace, program, rest @ ..] = arguments else {
        return Err(Failure::new(Exit::Usage, "a guard is started by podcov-test alone").into());
    };
    let grace = podcov_exit::seconds(&grace.to_string_lossy()).map_err(anyhow::Error::msg)?;
    // What is started from /proc/self/exe is called "exe".
    let _ = fs::write("/proc/self/comm", NAME);
    let requests = read_requests(&pipe.to_string_lossy())?;
    // The children of what the command has started become the guard's when their parents end.
    #[cfg(target_os = "linux")]
    let _ = process::set_child_subreaper(Some(process::getpid()));
    let child_ended = signal(SignalKind::child())?;
    let command = std::process::Command::new(program).args(rest).process_group(0).spawn();
    let command = command.map_err(|e| command::cannot_start(program, &e))?;
    let group = Group { leader: Pid::from_child(&command), ended: None };
    let name = program.to_string_lossy().into_owned();
    let status = Guard { group, name, grace, asked: 0, next: None }.watch(requests, child_ended).await?;
    Ok(Exit::Command(command::code(status)))
}

/// A message through the pipe.
enum Request {
    Stop(process::Signal),
    /// podcov-test has ended.
    Gone,
}

fn read_requests(pipe: &str) -> io::Result<mpsc::UnboundedReceiver<Request>> {
    // A file of the guard's own, so that the command does not inherit it. The end that the guard was given stays open in
    // both, which does no harm: it is the reading end.
    let mut pipe = fs::File::open(format!("/dev/fd/{pipe}"))?;
    let (sender, requests) = mpsc::unbounded_channel();
    std::thread::Builder::new().spawn(move || {
        let mut byte = [0];
        loop {
            let request = match pipe.read(&mut byte) {
                Ok(1..) => process::Signal::from_named_raw(byte[0].into()).map(Request::Stop),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => None,
                Ok(0) | Err(_) => Some(Request::Gone),
            };
            let is_last = matches!(request, Some(Request::Gone));
            // Without a receiver the guard has ended.
            if request.is_some_and(|request| sender.send(request).is_err()) || is_last {
                return;
            }
        }
    })?;
    Ok(requests)
}

/// The command's process group.
struct Group {
    /// The command, whose number is also the group's.
    leader: Pid,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Reaps the processes that have ended. Returns whether any of the group is left.
    fn reap(&mut self) -> io::Result<bool> {
        loop {
            match process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.leader => {
                    self.ended = Some(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Ok(self.is_left()),
                Err(Errno::CHILD) if self.ended.is_some() => return Ok(self.is_left()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Whether any process of the group is left. On Linux the eldest of them is a child of the guard; while it is, no
    /// other group can have the number.
    #[cfg(target_os = "linux")]
    fn is_left(&self) -> bool {
        let any = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(process::waitid(WaitId::Pgid(Some(self.leader)), any), Err(Errno::CHILD))
    }

    #[cfg(not(target_os = "linux"))]
    fn is_left(&self) -> bool {
        process::test_kill_process_group(self.leader).is_ok()
    }

    fn signal(&self, signal: process::Signal) {
        if self.ended.is_none() || self.is_left() {
            let _ = process::kill_process_group(self.leader, signal);
        }
    }

    /// The processes that are left, by name.
    fn names(&self) -> String {
        let names: Vec<String> = processes_of(self.leader).collect();
        match names.len() {
            0 => "other processes".to_owned(),
            len @ 1..=NAMED => names[..len].join(", "),
            len => format!("{} and {} more", names[..NAMED].join(", "), len - NAMED),
        }
    }
}

/// The processes of a group, each as `NAME (PID)`. Without /proc there are none.
fn processes_of(group: Pid) -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let stat = fs::read(entry.path().join("stat")).ok()?;
        // `PID (NAME) STATE PARENT GROUP …`, where a name may hold anything.
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let (pid, rest) = stat.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let is_zombie = fields.next() == Some("Z");
        let is_of_group = fields.nth(1) == Some(group.as_raw_nonzero().to_string().as_str());
        (is_of_group && !is_zombie).then(|| format!("{name} ({pid})"))
    })
}

struct Guard {
    group: Group,
    /// The command's name.
    name: String,
    grace: Duration,
    /// How many requests to stop have come.
    asked: usize,
    /// What to do next, and when.
    next: Option<(Instant, Step)>,
}

#[derive(Clone, Copy)]
enum Step {
    /// Sends SIGTERM to the processes that the command has left behind.
    Terminate,
    /// Kills the group.
    Kill,
}

impl Guard {
    /// Watches over the group until the last of it has ended. Gives how the command ended.
    async fn watch(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        mut child_ended: tokio::signal::unix::Signal,
    ) -> Result<ExitStatus> {
        let mut was_running = true;
        loop {
            let is_left = self.group.reap()?;
            if let Some(status) = self.group.ended {
                if !is_left {
                    return Ok(status);
                }
                if std::mem::take(&mut was_running) {
                    self.command_ended();
                }
            }
            let at = self.next.map_or_else(Instant::now, |(at, _)| at);
            tokio::select! {
                _ = child_ended.recv() => {}
                Some(request) = requests.recv() => self.request(&request),
                () = tokio::time::sleep_until(at), if self.next.is_some() => {
                    self.step();
                    // Only on Linux does the guard learn when the rest has ended.
                    if let (None, Some(status)) = (self.next, self.group.ended) && cfg!(not(target_os = "linux")) {
                        return Ok(status);
                    }
                }
            }
        }
    }

    fn request(&mut self, request: &Request) {
        match request {
            // It has got the signal already.
            Request::Gone if self.asked > 0 => return,
            Request::Gone => self.group.signal(process::Signal::INT),
            Request::Stop(_) if self.asked > 0 => {
                self.next = None;
                self.group.signal(process::Signal::KILL);
            }
            Request::Stop(signal) => self.group.signal(*signal),
        }
        self.asked += 1;
        if self.asked == 1 {
            self.next = Some((Instant::now() + self.grace, Step::Kill));
        }
    }

    /// The command has ended, and processes of its group are left. They get time to end by themselves,
    /// as a `tee` does after its shell.
    fn command_ended(&mut self) {
        if self.asked > 0 {
            // A shell's background processes ignore SIGINT.
            self.group.signal(process::Signal::TERM);
        } else {
            self.next = Some((Instant::now() + self.grace, Step::Terminate));
        }
    }

    fn step(&mut self) {
        match self.next.take() {
            Some((_, Step::Terminate)) => {
                self.say(format_args!(
                    "{} has ended and left {} running; sending SIGTERM (setsid starts what is to go on)",
                    self.name,
                    self.group.names()
                ));
                self.group.signal(process::Signal::TERM);
                self.next = Some((Instant::now() + self.grace, Step::Kill));
            }
            Some((_, Step::Kill)) => {
                self.say(command::killed_late(&self.group.names(), self.grace));
                self.group.signal(process::Signal::KILL);
            }
            None => {}
        }
    }

    fn say(&self, message: impl Display) {
        say(NAME, message);
    }
}
