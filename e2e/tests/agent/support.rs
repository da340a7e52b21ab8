//! Starting the agent, and hearing what the program under it says.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use podcov_e2e::{Ended, go_build};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// What has not happened by now never will. No test expects it.
pub(crate) const HUNG: Duration = Duration::from_secs(120);

/// The program of e2e/wrapped, in a counter mode.
pub(crate) fn wrapped(mode: &str) -> Result<PathBuf> {
    go_build("e2e/wrapped", &format!("wrapped-{mode}"), &["-cover", &format!("-covermode={mode}")])
}

/// A folder for coverage files, and the agent's flags and environment.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) flags: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

impl Bench {
    pub(crate) fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let flags = vec!["--control=off".to_owned()];
        Ok(Self { dir, flags, environment: Vec::new() })
    }

    pub(crate) fn flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// The folder of coverage files, which the agent makes.
    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("coverage")
    }

    /// The names in it that start so.
    pub(crate) fn files(&self, start: &str) -> Vec<String> {
        names(&self.folder(), start)
    }

    /// `podcov-agent run`, with an environment of its own.
    pub(crate) fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(podcov_e2e::program("podcov-agent"));
        command.arg("run").args(&self.flags).arg("--").arg(program.as_ref()).args(args);
        command.current_dir(self.dir.path()).env_clear();
        for kept in ["PATH", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.env("GOCOVERDIR", self.folder()).envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub(crate) fn start(&self, program: impl AsRef<Path>, args: &[&str]) -> Result<Agent> {
        Agent::start(self.command(program, args))
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> Result<Ended> {
        self.start(program, args)?.end().await
    }
}

/// The names in a folder that start so, sorted.
pub(crate) fn names(folder: &Path, start: &str) -> Vec<String> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(start)).collect();
    names.sort();
    names
}

/// An agent that runs.
pub(crate) struct Agent {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: Option<BufReader<ChildStderr>>,
    said: String,
}

impl Agent {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        let mut child = command.spawn().context("podcov-agent: `make test` builds it")?;
        let stdout = BufReader::new(child.stdout.take().context("no output")?);
        let stderr = Some(BufReader::new(child.stderr.take().context("no stderr")?));
        Ok(Self { child, stdout, stderr, said: String::new() })
    }

    pub(crate) fn pid(&self) -> Result<Pid> {
        self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("it has ended")
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.pid()?, signal)?)
    }

    /// The port that it has chosen, which is the first that it says.
    pub(crate) async fn port(&mut self) -> Result<u16> {
        let line = self.error().await?;
        let (_, port) = line.rsplit_once(':').with_context(|| line.clone())?;
        port.parse().with_context(|| line.clone())
    }

    /// Gives the program a line of input.
    pub(crate) async fn say(&mut self, line: &str) -> Result<()> {
        let input = self.child.stdin.as_mut().context("no input")?;
        Ok(input.write_all(format!("{line}\n").as_bytes()).await?)
    }

    /// Gives the program a line of input, which it prints when it is done with it.
    pub(crate) async fn tell(&mut self, line: &str) -> Result<()> {
        self.say(line).await?;
        self.hear(line).await
    }

    /// The next line on stderr.
    pub(crate) async fn error(&mut self) -> Result<String> {
        let mut line = String::new();
        let stderr = self.stderr.as_mut().context("stderr is closed")?;
        tokio::time::timeout(HUNG, stderr.read_line(&mut line)).await.context("no word")??;
        Ok(line.trim_end().to_owned())
    }

    /// Reads no more of what it says.
    pub(crate) fn close_stderr(&mut self) {
        self.stderr = None;
    }

    /// The next line that the program prints.
    pub(crate) async fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        tokio::time::timeout(HUNG, self.stdout.read_line(&mut line)).await.context("no line")??;
        self.said.push_str(&line);
        Ok(line.trim_end().to_owned())
    }

    /// Reads lines up to this one.
    pub(crate) async fn hear(&mut self, expected: &str) -> Result<()> {
        while self.line().await? != expected {
            anyhow::ensure!(self.said.ends_with('\n'), "it never said {expected:?}: {}", self.said);
        }
        Ok(())
    }

    /// Waits for its end. Its output is all that it ever printed.
    pub(crate) async fn end(mut self) -> Result<Ended> {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        let mut stderr = String::new();
        let all = async {
            let errors = async {
                match &mut self.stderr {
                    Some(errors) => errors.read_to_string(&mut stderr).await,
                    None => Ok(0),
                }
            };
            tokio::try_join!(self.stdout.read_to_string(&mut self.said), errors)?;
            self.child.wait().await
        };
        let status = tokio::time::timeout(HUNG, all).await.context("the agent hangs")??;
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap_or(-1);
        Ok(Ended { code, stdout: self.said, stderr })
    }
}

/// The shell that can trap every signal.
pub(crate) const BASH: &str = "bash";

/// Whether a process is there, dead or alive.
pub(crate) fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Returns when it holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) -> Result<()> {
    let holds = async {
        while !holds() {
            // procfs gives no events.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(HUNG, holds).await.with_context(|| format!("never: {what}"))
}
