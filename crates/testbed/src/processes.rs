//! Every process the testbed starts, so that none outlives it.
//!
//! Each is the leader of a process group of its own, and belongs to an owner, a container. Should the testbed be
//! killed itself, a janitor process, which reads its pipe to the end, does the ending.

use std::{
    collections::HashMap,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{ChildStdin, Stdio},
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use rustix::process::{self as sys, Pid, Signal, WaitOptions};
use tokio::process::{Child, Command};

/// Told a group at its start and end, as `+ ID` and `- ID`; ends those left, and the folder, when told no more.
const JANITOR: &str = r#"
trap '' INT TERM HUP
groups=
while read -r what group; do
    left=
    for one in $groups; do [ "$one" = "$group" ] || left="$left $one"; done
    groups=$left
    if [ "$what" = + ]; then groups="$groups $group"; fi
done
for one in $groups; do if [ "$one" -gt 1 ]; then kill -s KILL -- "-$one"; fi; done
rm -rf -- "$1"
"#;

/// The processes there are.
#[derive(Debug)]
pub(crate) struct Processes {
    /// Held for reading while a process starts: none starts once this is true.
    closed: RwLock<bool>,
    groups: Mutex<HashMap<Pid, Group>>,
    janitor: Mutex<Option<(std::process::Child, ChildStdin)>>,
}

#[derive(Debug)]
struct Group {
    owner: String,
    /// The leader has ended; others of the group have not.
    headless: bool,
}

impl Processes {
    /// `root` is the folder the janitor removes.
    pub(crate) fn new(root: &Path) -> io::Result<Self> {
        let mut janitor = std::process::Command::new("/bin/sh")
            .args(["-c", JANITOR, "testbed-janitor"])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let stdin = janitor.stdin.take().ok_or_else(|| io::Error::other("the janitor has no stdin"))?;
        Ok(Self {
            closed: RwLock::new(false),
            groups: Mutex::default(),
            janitor: Mutex::new(Some((janitor, stdin))),
        })
    }

    /// Starts a process in a group of its own. `ended` must be called once it was waited for.
    pub(crate) fn spawn(&self, owner: &str, command: &mut Command) -> io::Result<(Child, Pid)> {
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if *closed {
            return Err(io::Error::other("the testbed is shut down"));
        }
        command.process_group(0);
        let child = loop {
            match command.spawn() {
                // Another thread's fork still holds the script or program open for writing; it is about to exec.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
                other => break other?,
            }
        };
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let pid = id.ok_or_else(|| io::Error::other("a process just started has no id"))?;
        self.groups().insert(pid, Group { owner: owner.to_owned(), headless: false });
        self.tell_janitor('+', pid);
        Ok((child, pid))
    }

    /// A group's leader was waited for. What it left running stays until its owner ends.
    pub(crate) fn ended(&self, pid: Pid) {
        let mut groups = self.groups();
        if sys::test_kill_process_group(pid).is_err() {
            groups.remove(&pid);
            self.tell_janitor('-', pid);
        } else if let Some(group) = groups.get_mut(&pid) {
            group.headless = true;
        }
    }

    /// Kills whatever an owner still has.
    pub(crate) fn kill_owned(&self, owner: &str) {
        let mut groups = self.groups();
        groups.retain(|pid, group| {
            if group.owner != owner {
                return true;
            }
            kill_group(*pid);
            if group.headless {
                self.tell_janitor('-', *pid);
            }
            !group.headless
        });
    }

    /// Kills everything, waits for it, and lets nothing start any more.
    pub(crate) fn close(&self) {
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        let groups = std::mem::take(&mut *self.groups());
        for pid in groups.keys() {
            kill_group(*pid);
        }
        for (pid, _) in groups.iter().filter(|(_, group)| !group.headless) {
            // The runtime may have waited for it first.
            let _ = sys::waitpid(Some(*pid), WaitOptions::empty());
        }
        let janitor = self.janitor.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((mut janitor, stdin)) = janitor {
            // Both fail only if it is gone already. It is killed while its pipe is open, so it removes nothing.
            let _ = janitor.kill();
            let _ = janitor.wait();
            drop(stdin);
        }
    }

    fn tell_janitor(&self, what: char, pid: Pid) {
        let mut janitor = self.janitor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, stdin)) = janitor.as_mut() {
            // Without a janitor only a killed testbed would leave something behind.
            let _ = writeln!(stdin, "{what} {}", pid.as_raw_pid());
        }
    }

    fn groups(&self) -> MutexGuard<'_, HashMap<Pid, Group>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends SIGKILL to a whole group, which may be gone by now.
fn kill_group(pid: Pid) {
    // Group 1 is never ours, and 0 and -1 would mean other processes altogether.
    if pid.as_raw_pid() > 1 {
        let _ = sys::kill_process_group(pid, Signal::KILL);
    }
}
