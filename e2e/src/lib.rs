//! Runs the hooks as whole programs, as a user or Skaffold does: against the embedded cluster ([`World`]) or a real
//! one ([`Space`]).

pub mod dist;
mod open;
mod space;
mod static_pod;

pub use open::{Open, ask};
pub use space::{Service, Space, is_ready};
pub use static_pod::StaticPod;

use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use fs_err as fs;
use podcov_testbed::Testbed;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpSocket;
use tokio::process::{Child, Command};

/// A hook that has not ended by now never will. No test expects it.
const HUNG: Duration = Duration::from_secs(300);

/// A port of this machine where nobody listens. No other program is given it while this is kept, but one may listen on
/// it that asks for its number.
pub struct ReservedPort {
    /// Its number.
    pub number: u16,
    _socket: TcpSocket,
}

impl ReservedPort {
    /// One that is free.
    ///
    /// # Errors
    /// When there is none.
    pub fn new() -> Result<Self> {
        let socket = TcpSocket::new_v4()?;
        // The one who listens later sets it too, as Rust's listeners do.
        socket.set_reuseaddr(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        Ok(Self { number: socket.local_addr()?.port(), _socket: socket })
    }
}

/// A folder to run hooks in, and the embedded cluster they see.
pub struct World {
    /// The cluster.
    pub bed: Testbed,
    desk: Desk,
}

impl World {
    /// An empty cluster and an empty folder.
    ///
    /// # Errors
    /// When the testbed cannot start.
    pub async fn new() -> Result<Self> {
        let bed = Testbed::start().await?;
        let desk = Desk::new(bed.kubeconfig())?;
        Ok(Self { bed, desk })
    }
}

impl Deref for World {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

/// A folder to run hooks in, and the environment they run with.
pub struct Desk {
    dir: TempDir,
    environment: Vec<(&'static str, OsString)>,
}

/// How a hook ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code, 128 + n if a signal ended it.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// A hook that runs.
pub struct Running {
    child: Child,
}

impl Desk {
    /// An empty folder, and a kubeconfig.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(kubeconfig: &Path) -> Result<Self> {
        Ok(Self { dir: tempfile::tempdir()?, environment: vec![("KUBECONFIG", kubeconfig.into())] })
    }

    /// The same with a variable more for every hook.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// The folder the hooks run in.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A hook, ready to be started, in an environment of its own.
    pub fn command<S: AsRef<OsStr>>(&self, hook: &str, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(program(hook));
        command.args(args).current_dir(self.dir()).env_clear();
        for kept in ["PATH", "HOME", "GOCACHE", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Runs a hook to its end. `line` is split at white space.
    ///
    /// # Errors
    /// When it cannot be started or hangs.
    pub async fn run(&self, hook: &str, line: &str) -> Result<Ended> {
        run(self.command(hook, line.split_whitespace())).await
    }

    /// The files under a folder of this world's, by path from there, sorted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn files(&self, folder: &str) -> Result<Vec<String>> {
        let root = self.dir().join(folder);
        let mut files = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                match entry.file_type()?.is_dir() {
                    true => folders.push(entry.path()),
                    false => files.push(entry.path().strip_prefix(&root)?.display().to_string()),
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// A folder of the report.
    pub fn report(&self, folder: &str) -> PathBuf {
        self.dir().join("reports/coverage").join(folder)
    }

    /// The report's manifest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn manifest(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&fs::read(self.report("manifest.json"))?)?)
    }
}

/// Runs a command to its end.
///
/// # Errors
/// When it cannot be started or hangs.
pub async fn run(command: Command) -> Result<Ended> {
    start(command)?.end().await
}

/// Starts a command.
///
/// # Errors
/// When it cannot be started.
pub fn start(mut command: Command) -> Result<Running> {
    let program = command.as_std().get_program().to_owned();
    let child = command.spawn();
    let child = child.with_context(|| format!("{}: `make test` builds it", program.display()))?;
    Ok(Running { child })
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it hangs.
    pub async fn end(mut self) -> Result<Ended> {
        use std::os::unix::process::ExitStatusExt;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (mut out, mut err) = (self.child.stdout.take(), self.child.stderr.take());
        let reading = async {
            if let Some(out) = &mut out {
                out.read_to_end(&mut stdout).await?;
            }
            anyhow::Ok(())
        };
        let reading_errors = async {
            if let Some(err) = &mut err {
                err.read_to_end(&mut stderr).await?;
            }
            anyhow::Ok(())
        };
        let all = async { tokio::try_join!(reading, reading_errors, async { Ok(self.child.wait().await?) }) };
        let ((), (), status) = tokio::time::timeout(HUNG, all).await.context("the hook hangs")??;
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n)).unwrap_or(-1);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Ended { code, stdout: text(stdout), stderr: text(stderr) })
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("it has ended")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Its standard input, where that is a pipe.
    pub fn stdin(&mut self) -> Option<tokio::process::ChildStdin> {
        self.child.stdin.take()
    }

    /// The next line it prints.
    ///
    /// # Errors
    /// When it prints none.
    pub async fn first_line(&mut self) -> Result<String> {
        let out = self.child.stdout.as_mut().context("no output")?;
        let mut line = String::new();
        tokio::time::timeout(HUNG, BufReader::with_capacity(1, out).read_line(&mut line)).await??;
        ensure!(!line.is_empty(), "it printed nothing");
        Ok(line.trim_end().to_owned())
    }
}

/// A hook's program as `make test` has built it, beside the test's own.
pub fn program(name: &str) -> PathBuf {
    let mut path = std::env::current_exe().unwrap_or_default();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.join(name)
}

/// Copies a program that is to be run. Another process does it: one that is forked here meanwhile would hold the file open, and
/// it could not be run.
///
/// # Errors
/// When it cannot be copied.
pub fn copy_program(from: &Path, to: &Path) -> Result<()> {
    let copied = std::process::Command::new("cp").arg("--remove-destination").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp {} {}: {copied}", from.display(), to.display());
    Ok(())
}

/// Whether a program of that name is on PATH.
pub fn on_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// The top of the repository.
pub fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What `go tool covdata percent` prints for these folders.
///
/// # Errors
/// When there is no Go, or it refuses a folder.
pub fn go_percent<P: AsRef<Path>>(folders: impl IntoIterator<Item = P>) -> Result<String> {
    let folders: Vec<_> = folders.into_iter().map(|f| f.as_ref().display().to_string()).collect();
    let percent = std::process::Command::new("go")
        .args(["tool", "covdata", "percent", "-i", &folders.join(",")])
        .output()?;
    ensure!(percent.status.success(), "{}", String::from_utf8_lossy(&percent.stderr));
    Ok(String::from_utf8(percent.stdout)?)
}

/// That a summary has each package's percentage as `go tool covdata percent` prints it, of at least one package.
///
/// # Errors
/// When a line is missing.
pub fn as_go_says(summary: &str, go: &str) -> Result<()> {
    let mut packages = 0;
    for line in go.lines() {
        // Go prints no line end after a package without statements.
        let line = line.rsplit_once("\t\t\t").map_or(line.trim_start(), |(_, last)| last);
        let Some((package, coverage)) = line.split_once("\t\tcoverage: ") else { continue };
        let percent = coverage.strip_suffix(" of statements").context("a percentage")?;
        packages += 1;
        let says =
            |line: &str| line.trim_start().starts_with(percent) && line.ends_with(&format!("  {package}"));
        ensure!(summary.lines().any(says), "Go says\n{go}of\n{summary}");
    }
    ensure!(packages > 0, "Go says nothing: {go}");
    Ok(())
}

/// Builds a Go program of the repository, once for all tests, and gives the binary.
///
/// # Errors
/// When there is no Go, or the program does not build.
pub fn go_build(folder: &str, name: &str, flags: &[&str]) -> Result<PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let out = program("tmp").join("podcov-e2e").join(name);
    let mut go = std::process::Command::new("go");
    go.args(["build", "-trimpath"]).args(flags).arg("-o").arg(&out).arg(".").current_dir(top().join(folder));
    let built = go.env("CGO_ENABLED", "0").output().context("go: is it installed?")?;
    if !built.status.success() {
        bail!("go build {folder}: {}", String::from_utf8_lossy(&built.stderr));
    }
    Ok(out)
}
