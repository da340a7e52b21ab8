//! Runs host hooks under Skaffold's contract.
//!
//! The contract is in `pkg/skaffold/hooks` (`deploy.go`, `env.go`, `host.go`). Two things there are easily missed:
//!
//! - A hook that is cancelled is killed at once. Skaffold means to send SIGINT first and to wait 2 seconds
//!   (`pkg/skaffold/build/misc/graceful.go`), but it starts the hook with `exec.CommandContext`, which kills as soon
//!   as the context ends.
//! - A hook has ended only when its pipe has: a process that it left running with the pipe open keeps Skaffold
//!   waiting, even after the SIGKILL. So it does here.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

/// What Skaffold tells a deploy hook about the run.
#[derive(Debug, Clone)]
pub struct HookEnv {
    /// The run's id, `SKAFFOLD_RUN_ID`.
    pub run_id: String,
    /// The kubeconfig context, `SKAFFOLD_KUBE_CONTEXT`.
    pub kube_context: String,
    /// `SKAFFOLD_NAMESPACES`, before it is joined by commas; see [`crate::post_deploy_namespaces`].
    pub namespaces: Vec<String>,
    /// The directory that Skaffold runs in, `SKAFFOLD_WORK_DIR`.
    pub work_dir: PathBuf,
    /// The environment that Skaffold itself was started with. It comes last, so an exported
    /// `SKAFFOLD_RUN_ID` wins over the run's own.
    pub shell: Vec<(OsString, OsString)>,
}

impl HookEnv {
    /// An environment whose `shell` part is this process's own.
    pub fn new(run_id: &str, kube_context: &str, namespaces: Vec<String>, work_dir: PathBuf) -> Self {
        let shell = std::env::vars_os().collect();
        Self { run_id: run_id.to_owned(), kube_context: kube_context.to_owned(), namespaces, work_dir, shell }
    }

    /// The hook's whole environment; of two entries with one name the later counts.
    pub fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        let own = [
            ("SKAFFOLD_WORK_DIR", self.work_dir.clone().into_os_string()),
            ("SKAFFOLD_RUN_ID", self.run_id.clone().into()),
            ("SKAFFOLD_KUBE_CONTEXT", self.kube_context.clone().into()),
            ("SKAFFOLD_NAMESPACES", self.namespaces.join(",").into()),
        ];
        own.map(|(name, value)| (name.into(), value)).into_iter().chain(self.shell.iter().cloned())
    }
}

/// Runs one hook: stdin is empty, stdout and stderr are one pipe whose content goes to `out`, the environment
/// is `env` alone, and the directory that of the run.
///
/// When `cancel` completes first the process (not its group) is killed.
///
/// # Errors
/// When the hook cannot be started, exits with something other than 0, or is cancelled.
pub async fn run_host_hook(
    hook: &[String],
    env: &HookEnv,
    cancel: impl Future<Output = ()>,
    out: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    let name = hook.join(" ");
    let (mut child, mut pipe) =
        start(hook, env).with_context(|| format!("hook `{name}` could not be started"))?;
    let output = async move {
        tokio::io::copy(&mut pipe, out).await?;
        out.flush().await
    };
    let (ended, copied) = tokio::join!(wait_or_kill(&mut child, cancel), output);
    let lost = || format!("hook `{name}` could not be followed");
    let (status, cancelled) = ended.with_context(lost)?;
    ensure!(!cancelled, "hook `{name}` was cancelled: {status}");
    ensure!(status.success(), "hook `{name}` failed: {status}");
    copied.with_context(lost)
}

fn start(hook: &[String], env: &HookEnv) -> io::Result<(Child, pipe::Receiver)> {
    // Like Go, find a bare name on PATH and any other relative to the directory that the hook runs in.
    let program = &hook[0];
    let program = if program.contains('/') { env.work_dir.join(program) } else { program.into() };
    let (reader, writer) = io::pipe()?;

    // The writing ends go with the command at the end of this function; were one kept, the pipe would not end.
    let child = Command::new(program)
        .args(&hook[1..])
        .current_dir(&env.work_dir)
        .env_clear()
        .envs(env.variables())
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(reader.into())?))
}

/// Waits for the child, or kills it once `cancel` completes; says which.
async fn wait_or_kill(child: &mut Child, cancel: impl Future<Output = ()>) -> io::Result<(ExitStatus, bool)> {
    tokio::select! {
        status = child.wait() => return Ok((status?, false)),
        () = cancel => {}
    }
    child.start_kill()?;
    Ok((child.wait().await?, true))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::path::Path;

    use fs_err as fs;
    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
    use tokio::sync::oneshot;

    use super::*;

    fn sh(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    fn env(work_dir: &Path) -> HookEnv {
        let path = std::env::var_os("PATH").unwrap();
        HookEnv {
            run_id: "run1".to_owned(),
            kube_context: "kind".to_owned(),
            namespaces: vec!["a".to_owned(), "b".to_owned()],
            work_dir: work_dir.to_owned(),
            shell: vec![("PATH".into(), path), ("HOME".into(), "/home/me".into())],
        }
    }

    async fn output(hook: &[String], env: &HookEnv) -> (Result<()>, String) {
        let mut out = Vec::new();
        let result = run_host_hook(hook, env, pending(), &mut out).await;
        (result, String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn the_environment_is_skaffolds_and_then_the_shells() {
        let hook =
            sh("echo $SKAFFOLD_RUN_ID $SKAFFOLD_KUBE_CONTEXT $SKAFFOLD_NAMESPACES $SKAFFOLD_WORK_DIR $HOME");
        let mut env = env(Path::new("/"));
        let (result, text) = output(&hook, &env).await;
        result.unwrap();
        assert_eq!(text, "run1 kind a,b / /home/me\n");

        env.shell.push(("SKAFFOLD_RUN_ID".into(), "exported".into()));
        let (_, text) = output(&hook, &env).await;
        assert!(text.starts_with("exported kind "), "{text}");
    }

    #[tokio::test]
    async fn stdin_is_empty_and_both_outputs_are_one_pipe() {
        let hook = sh("cat; echo one; echo two >&2; echo three; [ -t 1 ] || [ -t 2 ] || echo no terminal");
        let (_, text) = output(&hook, &env(Path::new("/"))).await;
        assert_eq!(text, "one\ntwo\nthree\nno terminal\n");
    }

    #[tokio::test]
    async fn the_program_is_in_the_runs_directory() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        std::os::unix::fs::symlink("/bin/pwd", root.join("where")).unwrap();
        let (_, text) = output(&["./where".to_owned()], &env(&root)).await;
        assert_eq!(text.trim_end(), root.to_str().unwrap());
    }

    #[tokio::test]
    async fn a_failing_hook_is_an_error() {
        let (result, text) = output(&sh("echo first; exit 3"), &env(Path::new("/"))).await;
        assert_eq!(text, "first\n");
        let error = result.unwrap_err().to_string();
        assert_eq!(error, "hook `sh -c echo first; exit 3` failed: exit status: 3");
    }

    #[tokio::test]
    async fn a_program_that_is_not_there() {
        let (result, _) = output(&["./nothing".to_owned()], &env(Path::new("/"))).await;
        assert_eq!(result.unwrap_err().to_string(), "hook `./nothing` could not be started");
    }

    /// Runs a script that prints `ready`, cancels it then, and gives the error and what else it printed.
    async fn cancelled(script: &str) -> (String, String) {
        let (cancel, cancelled) = oneshot::channel::<()>();
        let (mut out, lines) = tokio::io::duplex(1024);
        let (hook, env) = (sh(script), env(Path::new("/")));
        let hook = async {
            let cancelled = async { drop(cancelled.await) };
            let result = run_host_hook(&hook, &env, cancelled, &mut out).await;
            drop(out);
            result
        };
        let reader = async {
            let (mut lines, mut line, mut rest) = (BufReader::new(lines), String::new(), String::new());
            lines.read_line(&mut line).await.unwrap();
            assert_eq!(line, "ready\n");
            cancel.send(()).unwrap();
            lines.read_to_string(&mut rest).await.unwrap();
            rest
        };
        let (result, rest) = tokio::join!(hook, reader);
        (result.unwrap_err().to_string(), rest)
    }

    #[tokio::test]
    async fn cancel_kills_the_hook_at_once() {
        let script = "trap 'echo interrupted; exit 7' INT; echo ready; exec tail -f /dev/null";
        let (error, rest) = cancelled(script).await;
        assert!(error.ends_with("was cancelled: signal: 9 (SIGKILL)"), "{error}");
        assert_eq!(rest, "");
    }

    #[tokio::test]
    async fn cancel_waits_for_what_the_hook_left_with_its_output() {
        // The child that is left has the pipe, and ends after the hook.
        let script = "(tail --pid=$$ -s0.1 -f /dev/null; echo late) & echo ready; exec tail -f /dev/null";
        let (error, rest) = cancelled(script).await;
        assert!(error.ends_with("was cancelled: signal: 9 (SIGKILL)"), "{error}");
        assert_eq!(rest, "late\n");
    }
}
