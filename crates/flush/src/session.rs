//! The conversation with a shell in the container: one exec for listing, signal, waiting and reading back.
//!
//! The shell's builtins alone serve (`cd`, `echo`, `kill`, `read`, patterns), so the image needs no `ls`, `sleep`
//! or `kill`; and the host decides when to look again, so nothing in the container has to wait.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use podcov_cluster::{Cluster, Container, CoverDir, Error, Exec, Output, Target};

use crate::taking::Taking;

/// A shell that answers nothing for this long counts as broken.
const STALL: Duration = Duration::from_secs(15);

/// The most that is read back to be verified, 64 MiB: a counter file of the largest programs has some 100 KB.
const MOST: usize = 64 << 20;

/// A function of the shell, `all`: it becomes a tar of the coverage files in the working directory, or of the whole
/// directory where there are more names than a command line holds. Without any it ends with exit code 43. gzip serves
/// where it is a file on PATH, for tar runs it itself: busybox's shell may have one that nobody else can run.
pub const ALL: &str = r#"
all() {
  set -- covcounters.*
  [ -e "$1" ] || shift
  set -- covmeta.* "$@"
  [ -e "$1" ] || shift
  [ "$#" -gt 0 ] || exit 43
  [ "$#" -le 10000 ] || set -- .
  z=; case $(command -v gzip) in /*) z=z ;; esac
  exec tar -c${z}f - "$@"
}
"#;

/// Arguments: folder, signal (empty: send none), pid, process name (empty: go by pid).
const SCRIPT: &str = r#"
cd -- "${1:-$GOCOVERDIR}" || exit 41
names() { for f in "$1".*; do [ -e "$f" ] && echo "$f"; done; echo .; }
count() { set -- covcounters.*; if [ -e "$1" ]; then echo "$#"; else echo 0; fi; }
pids=$3
alive() { for p in $pids; do kill -s 0 "$p" 2>/dev/null && return; done; return 1; }
if [ -n "$4" ]; then
  pids=
  for p in /proc/[0-9]*; do
    { read -r comm <"$p/comm"; } 2>/dev/null && [ "$comm" = "$4" ] && pids="$pids ${p#/proc/}"
  done
  [ -n "$pids" ] || exit 43
fi
names covmeta
names covcounters
if [ -n "$2" ]; then
  sent=
  for p in $pids; do kill -s "$2" "$p" && sent=y; done
  [ -n "$sent" ] || exit 42
fi
echo signalled $pids
while read -r verb what; do
  case $verb in
    count) if alive; then count; else echo gone; fi ;;
    names) names covcounters ;;
    take) command -v tar >/dev/null 2>&1 || { echo none; exit 0; }
          echo tar; exec tar -cf - $what ;;
    all)  command -v tar >/dev/null 2>&1 || { echo none; exit 0; }
          echo tar; all ;;
    *) exit 0 ;;
  esac
done
"#;

/// How a session begins.
pub(crate) struct Opening<'a> {
    pub(crate) dir: &'a CoverDir,
    pub(crate) signal: &'a str,
    pub(crate) pid: u32,
    pub(crate) process: Option<&'a str>,
}

/// A shell in a container.
pub(crate) struct Session {
    exec: Exec,
    unread: VecDeque<u8>,
    stderr: String,
}

/// The answer to a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// So many counter files.
    Count(usize),
    /// None of the processes that were signalled is there any more.
    Gone,
}

/// What came when files were asked for.
pub(crate) enum Taken {
    Archive(Vec<u8>),
    NoTar,
    Failed(String),
}

/// The script ended before it should.
pub(crate) struct Early {
    code: i32,
    stderr: String,
}

impl Session {
    pub(crate) async fn open(
        cluster: &Cluster,
        container: &Container,
        opening: &Opening<'_>,
    ) -> Result<Self, Error> {
        let dir = match opening.dir {
            CoverDir::Path(path) => path.as_str(),
            CoverDir::Env => "",
        };
        let pid = opening.pid.to_string();
        let process = opening.process.unwrap_or_default();
        let script = format!("{ALL}{SCRIPT}");
        let command = ["sh", "-c", &script, "podcov", dir, opening.signal, &pid, process];
        let exec = cluster.exec(container, &command, true, STALL).await?;
        Ok(Self { exec, unread: VecDeque::new(), stderr: String::new() })
    }

    /// A listing: lines up to one with a dot.
    pub(crate) async fn names(&mut self) -> Result<Result<BTreeSet<String>, Early>, Error> {
        let mut names = BTreeSet::new();
        loop {
            match self.line().await? {
                Some(line) if line == "." => return Ok(Ok(names)),
                Some(line) if line.parse::<covdata::FileName>().is_ok() => {
                    names.insert(line);
                }
                // No name that Go gives: it is nobody's evidence, and it goes into no command line.
                Some(line) => tracing::debug!("not a coverage file: {line}"),
                None => return Ok(Err(self.early().await?)),
            }
        }
    }

    /// The word that the signal has been sent, with the processes that it was sent to.
    pub(crate) async fn signalled(&mut self) -> Result<Result<BTreeSet<u32>, Early>, Error> {
        match self.line().await? {
            Some(line) => Ok(Ok(line.split_whitespace().filter_map(|word| word.parse().ok()).collect())),
            None => Ok(Err(self.early().await?)),
        }
    }

    pub(crate) async fn count(&mut self) -> Result<Heard, Error> {
        self.exec.write(b"count\n").await?;
        let line = self.line().await?.ok_or_else(ended)?;
        match line.parse() {
            Ok(count) => Ok(Heard::Count(count)),
            Err(_) if line == "gone" => Ok(Heard::Gone),
            Err(_) => Err(Error::Broken(format!("the shell said {line:?}"))),
        }
    }

    pub(crate) async fn list(&mut self) -> Result<BTreeSet<String>, Error> {
        self.exec.write(b"names\n").await?;
        self.names().await?.map_err(|_| ended())
    }

    /// Asks for files; the shell ends with it. The names are such as [`Session::names`] gives.
    pub(crate) async fn take(mut self, names: &[String]) -> Result<Taken, Error> {
        self.exec.write(format!("take {}\n", names.join(" ")).as_bytes()).await?;
        if self.line().await?.as_deref() != Some("tar") {
            return Ok(Taken::NoTar);
        }
        let mut archive: Vec<u8> = self.unread.drain(..).collect();
        while let Some(output) = self.exec.next().await? {
            match output {
                Output::Stdout(data) if archive.len() + data.len() > MOST => {
                    return Ok(Taken::Failed(format!("new counter files of over {} MiB", MOST >> 20)));
                }
                Output::Stdout(data) => archive.extend_from_slice(&data),
                Output::Stderr(data) => self.stderr.push_str(&String::from_utf8_lossy(&data)),
            }
        }
        match self.exec.end().await?.code {
            0 => Ok(Taken::Archive(archive)),
            code => Ok(Taken::Failed(format!("tar ended with exit code {code}: {}", self.stderr.trim()))),
        }
    }

    /// Asks for all coverage files of the folder, for the whole folder where there are more names than a command line
    /// holds; the shell ends with it. `None` if the image has no tar.
    pub(crate) async fn take_all(mut self) -> Result<Option<Taking>, Error> {
        self.exec.write(b"all\n").await?;
        if self.line().await?.as_deref() != Some("tar") {
            return Ok(None);
        }
        Ok(Some(Taking::begun(self.unread.into_iter().collect(), self.exec)))
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
    async fn early(&mut self) -> Result<Early, Error> {
        let code = self.exec.ended()?.code;
        Ok(Early { code, stderr: std::mem::take(&mut self.stderr) })
    }
}

impl Early {
    /// By a signal, as everything in a container is when its first process ends.
    pub(crate) fn was_killed(&self) -> bool {
        self.code > 128
    }

    /// What the script's exit code means.
    pub(crate) fn word(&self, target: &Target, signal: &str) -> String {
        let said = self.stderr.trim();
        match self.code {
            41 => format!("there is no folder {} to look for counter files in ({said})", target.dir),
            42 => format!("SIG{signal} could not be sent: {said}"),
            43 => "no process has that name".to_owned(),
            code => format!("the shell ended with exit code {code}: {said}"),
        }
    }
}

fn ended() -> Error {
    Error::Broken("the shell ended".into())
}
