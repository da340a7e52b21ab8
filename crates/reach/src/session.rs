//! The conversation with a shell in the container: one exec for listing, signal, waiting and reading back.
//!
//! The shell's builtins alone serve (`cd`, `echo`, `kill`, `read`, patterns), so the image needs no `ls`, `sleep`
//! or `kill`, and `grep` only to tell a program that is built with `-cover` from another Go program. The host decides
//! when to look again, so nothing in the container has to wait.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use podcov_cluster::{Cluster, Error, Exec, Output, Target};
use podcov_control::Signal;

use crate::process::{Candidate, Process};

/// A shell that answers nothing for this long counts as broken.
const STALL: Duration = Duration::from_secs(15);

/// The most that is read back to be verified, 64 MiB: a counter file of the largest programs has some 100 KB.
const MOST: usize = 64 << 20;

/// A function of the shell, `all`, which sends the coverage files; see there.
pub(crate) const TAR_SCRIPT: &str = include_str!("tar.sh");
/// Functions of the shell that tell which processes are the container's; see there.
pub(crate) const OURS_SCRIPT: &str = include_str!("ours.sh");
/// Functions that tell it from a shell in an ephemeral container too; see there.
pub(crate) const BESIDE_SCRIPT: &str = include_str!("beside.sh");
const SCRIPT: &str = include_str!("session.sh");

/// Scripts, one after the other: for `sh -c`. Comments are left out, for the request carries it all.
#[must_use]
pub(crate) fn without_comments(scripts: &[&str]) -> String {
    let lines = scripts.iter().flat_map(|script| script.lines()).map(str::trim_start);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The scripts' exit codes: the folder is not there, tar is not, no coverage file is.
pub(crate) const NO_FOLDER: i32 = 41;
pub(crate) const NO_TAR: i32 = 42;
pub(crate) const NO_FILES: i32 = 43;

/// How a session begins.
pub(crate) struct Opening<'a> {
    /// Have the container's processes listed.
    pub(crate) list_processes: bool,
    /// The name of the processes that are asked for.
    pub(crate) name: Option<&'a str>,
}

/// A shell in a container.
pub(crate) struct Session {
    exec: Exec,
    unread: VecDeque<u8>,
    stderr: String,
}

/// The shell's answer to a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ShellReply {
    /// There are so many counter files.
    Count(usize),
    /// None of the processes that were signalled is there any more.
    Gone,
    /// The shell was killed, as everything in a container is when its first process ends.
    Killed,
}

/// What came of a signal.
pub(crate) struct SignalReply {
    /// The IDs of the processes that it was sent to.
    pub(crate) sent: BTreeSet<u32>,
    /// The IDs of those that were gone already.
    pub(crate) ended: BTreeSet<u32>,
    /// What the shell said about the others.
    pub(crate) said: String,
}

/// What came when files were asked for.
pub(crate) enum ReadBack {
    Archive(Vec<u8>),
    NoTar,
    Failed(String),
}

/// The script ended before it should.
pub(crate) struct EarlyExit {
    code: i32,
    stderr: String,
}

impl Session {
    pub(crate) async fn open(
        cluster: &Cluster,
        target: &Target,
        opening: &Opening<'_>,
    ) -> Result<Self, Error> {
        let dir = target.dir.path();
        let script = without_comments(&[TAR_SCRIPT, OURS_SCRIPT, SCRIPT]);
        let shared = if target.shares_process_ids { "shared" } else { "" };
        let find = if opening.list_processes { "find" } else { "" };
        let name = opening.name.unwrap_or_default();
        let command = ["sh", "-c", &script, "podcov", dir, "/proc", name, shared, find];
        let exec = cluster.exec(&target.container, &command, true, STALL).await?;
        Ok(Self { exec, unread: VecDeque::new(), stderr: String::new() })
    }

    /// A listing of coverage files.
    pub(crate) async fn names(&mut self) -> Result<Result<BTreeSet<String>, EarlyExit>, Error> {
        // Any other name is nobody's evidence, and goes into no command line.
        self.listed(|line| line.parse::<covdata::FileName>().is_ok().then_some(line)).await
    }

    /// The container's own processes, without this shell.
    pub(crate) async fn processes(&mut self) -> Result<Result<Vec<Candidate>, EarlyExit>, Error> {
        self.listed(|line| Candidate::parse(&line)).await
    }

    /// What `parse` takes of the lines up to one with a dot.
    async fn listed<T, C: Default + Extend<T>>(
        &mut self,
        parse: impl Fn(String) -> Option<T>,
    ) -> Result<Result<C, EarlyExit>, Error> {
        let mut list = C::default();
        loop {
            match self.line().await? {
                Some(line) if line == "." => return Ok(Ok(list)),
                Some(line) => list.extend(parse(line)),
                None => return Ok(Err(self.early_exit()?)),
            }
        }
    }

    /// Sends a signal to processes of the container.
    pub(crate) async fn signal(
        &mut self,
        signal: Signal,
        processes: &[Process],
    ) -> Result<Result<SignalReply, EarlyExit>, Error> {
        // Not every shell knows the names of all.
        self.exec.write(format!("signal {} {}\n", signal.for_kill(), pids(processes)).as_bytes()).await?;
        let pids = |list: &str| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        let (mut said, mut ended) = (Vec::new(), BTreeSet::new());
        loop {
            let Some(line) = self.line().await? else { return Ok(Err(self.early_exit()?)) };
            if let Some(list) = line.strip_prefix("signalled") {
                return Ok(Ok(SignalReply { sent: pids(list), ended, said: said.join("; ") }));
            }
            match line.strip_prefix("ended") {
                Some(list) => ended = pids(list),
                None if said.len() < 10 => said.push(line),
                None => {}
            }
        }
    }

    /// Counts the counter files.
    pub(crate) async fn count(&mut self, processes: &[Process]) -> Result<ShellReply, Error> {
        self.exec.write(format!("count {}\n", pids(processes)).as_bytes()).await?;
        let Some(line) = self.line().await? else {
            return if self.early_exit()?.was_killed() { Ok(ShellReply::Killed) } else { Err(ended()) };
        };
        match line.parse() {
            Ok(count) => Ok(ShellReply::Count(count)),
            Err(_) if line == "gone" => Ok(ShellReply::Gone),
            Err(_) => Err(Error::Broken(format!("the shell said {line:?}"))),
        }
    }

    pub(crate) async fn list(&mut self) -> Result<BTreeSet<String>, Error> {
        self.exec.write(b"names\n").await?;
        self.names().await?.map_err(|_| ended())
    }

    /// Asks for files; the shell ends with it. The names are such as [`Session::names`] gives.
    pub(crate) async fn take(mut self, names: &[String]) -> Result<ReadBack, Error> {
        self.exec.write(format!("take {}\n", names.join(" ")).as_bytes()).await?;
        match self.line().await?.as_deref() {
            Some("tar") => {}
            Some(_) => return Ok(ReadBack::NoTar),
            None => return Ok(ReadBack::Failed(self.early_exit()?.to_string())),
        }
        let mut archive: Vec<u8> = self.unread.drain(..).collect();
        while let Some(output) = self.exec.next().await? {
            match output {
                Output::Stdout(data) if archive.len() + data.len() > MOST => {
                    return Ok(ReadBack::Failed(format!("new counter files of over {} MiB", MOST >> 20)));
                }
                Output::Stdout(data) => archive.extend_from_slice(&data),
                Output::Stderr(data) => self.stderr.push_str(&String::from_utf8_lossy(&data)),
            }
        }
        match self.exec.end().await? {
            0 => Ok(ReadBack::Archive(archive)),
            code => Ok(ReadBack::Failed(format!("tar ended with exit code {code}: {}", self.stderr.trim()))),
        }
    }

    /// Asks for all coverage files of the folder: what has come of them already, and the exec that brings the rest. `None`
    /// if the image has no tar.
    pub(crate) async fn take_all(mut self) -> Result<Result<Option<(Bytes, Exec)>, EarlyExit>, Error> {
        self.exec.write(b"all\n").await?;
        Ok(match self.line().await?.as_deref() {
            Some("tar") => Ok(Some((self.unread.into_iter().collect(), self.exec))),
            Some(_) => Ok(None),
            None => Err(self.early_exit()?),
        })
    }

    /// The next line of the shell's output; `None` at its end.
    async fn line(&mut self) -> Result<Option<String>, Error> {
        loop {
            if let Some(end) = self.unread.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(Some(String::from_utf8_lossy(&line[..end]).into_owned()));
            }
            match self.exec.next().await? {
                Some(Output::Stdout(data)) if self.unread.len() + data.len() <= MOST => {
                    self.unread.extend(data);
                }
                Some(Output::Stdout(_)) => {
                    return Err(Error::Broken("the shell does not stop talking".into()));
                }
                Some(Output::Stderr(data)) if self.stderr.len() < 4096 => {
                    self.stderr.push_str(&String::from_utf8_lossy(&data));
                }
                Some(Output::Stderr(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// How the script ended before its time.
    fn early_exit(&mut self) -> Result<EarlyExit, Error> {
        let code = self.exec.ended()?;
        Ok(EarlyExit { code, stderr: std::mem::take(&mut self.stderr) })
    }
}

impl EarlyExit {
    /// By a signal, as everything in a container is when its first process ends.
    pub(crate) fn was_killed(&self) -> bool {
        self.code > 128
    }

    /// The folder is not there.
    pub(crate) fn has_no_folder(&self) -> bool {
        self.code == NO_FOLDER
    }
}

impl fmt::Display for EarlyExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the shell ended with exit code {}: {}", self.code, self.stderr.trim())
    }
}

fn pids(processes: &[Process]) -> String {
    processes.iter().map(|process| process.pid.to_string()).collect::<Vec<_>>().join(" ")
}

fn ended() -> Error {
    Error::Broken("the shell ended".into())
}

#[cfg(test)]
#[path = "session_tests.rs"]
pub(crate) mod tests;
