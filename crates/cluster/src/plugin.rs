//! Credential plugins: programs that the kubeconfig names and that print credentials, by the protocol of
//! <https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>.
//!
//! Nothing that a plugin is given or prints gets into a message but the last line of its standard error, without the
//! secrets that are known. Dropping a run ends the plugin.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use kube::config::{ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use podcov_exit::is_printable;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::Error;

/// How long a plugin may take. It may wait for a person to log in with a browser.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(180);

/// What a plugin may print: credentials are a few kilobytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// How much of the end of its standard error is kept.
const MAX_TAIL: usize = 4096;

/// Shorter values are too common to be told from words.
const MIN_SECRET: usize = 4;

/// A plugin, ready to be run.
pub(crate) struct Plugin {
    config: ExecConfig,
    /// For messages: the command's file name.
    name: String,
    cluster: Option<ExecAuthCluster>,
    time_limit: Duration,
}

/// What a plugin has issued.
pub(crate) struct Issued {
    pub(crate) token: Option<String>,
    /// A client certificate and its key, PEM.
    pub(crate) certificate: Option<(String, String)>,
    pub(crate) expires: Option<Timestamp>,
}

impl Plugin {
    /// Checks a kubeconfig's `exec`. `cluster` is handed to the plugin where the kubeconfig says so.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub(crate) fn new(
        config: ExecConfig,
        cluster: impl FnOnce() -> Result<ExecAuthCluster, Error>,
        time_limit: Duration,
    ) -> Result<Self, Error> {
        let Some(command) = config.command.as_deref().filter(|command| !command.is_empty()) else {
            return Err(Error::Config("the user's exec has no command".to_owned()));
        };
        let name = std::path::Path::new(command).file_name().unwrap_or(command.as_ref());
        let name = name.to_string_lossy().into_owned();
        let version = config.api_version.as_deref().unwrap_or_default();
        let known = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];
        if !known.contains(&version) {
            return Err(Error::Config(format!(
                "credential plugin {name}: apiVersion {version:?} is not supported; update the plugin and set {} in \
                 the user's exec",
                known[0]
            )));
        }
        let cluster = config.provide_cluster_info.then(cluster).transpose()?;
        Ok(Self { config, name, cluster, time_limit })
    }

    /// Runs the plugin.
    ///
    /// # Errors
    /// [`Error::Plugin`], [`Error::Config`] when there is no such program.
    pub(crate) async fn run(&self) -> Result<Issued, Error> {
        let interactive = self.interactive()?;
        let mut stderr = Tail::default();
        let child = self.start(interactive)?;
        let finished = tokio::time::timeout(self.time_limit, finish(child, &mut stderr)).await;
        match finished {
            Err(_) => {
                let limit = self.time_limit.as_secs_f32();
                Err(self.failed(&format!("it did not end within {limit}s"), &stderr))
            }
            Ok(Err(e)) => Err(self.failed(&e.to_string(), &stderr)),
            Ok(Ok((status, _))) if !status.success() => {
                let how = match status.code() {
                    Some(code) => format!("it ended with exit code {code}"),
                    None => "a signal ended it".to_owned(),
                };
                Err(self.failed(&how, &stderr))
            }
            Ok(Ok((_, stdout))) => self.read(&stdout).map_err(|why| self.failed(&why, &stderr)),
        }
    }

    /// Whether a person at a terminal may be asked.
    fn interactive(&self) -> Result<bool, Error> {
        use std::io::IsTerminal;
        let terminal = std::io::stdin().is_terminal();
        match self.config.interactive_mode {
            Some(ExecInteractiveMode::Never) => Ok(false),
            Some(ExecInteractiveMode::Always) if !terminal => {
                let why = "it asks for input (interactiveMode: Always), and standard input is no terminal";
                Err(self.failed(why, &Tail::default()))
            }
            _ => Ok(terminal),
        }
    }

    fn start(&self, interactive: bool) -> Result<Running, Error> {
        let spec = match &self.cluster {
            Some(cluster) => json!({"interactive": interactive, "cluster": cluster}),
            None => json!({"interactive": interactive}),
        };
        let info = json!({"apiVersion": self.config.api_version, "kind": "ExecCredential", "spec": spec});
        let mut command = Command::new(self.config.command.as_deref().unwrap_or_default());
        command.args(self.config.args.iter().flatten());
        command.envs(self.environment()).env("KUBERNETES_EXEC_INFO", info.to_string());
        command.stdout(Stdio::piped()).kill_on_drop(true);
        if interactive {
            // A person answers: the plugin has the terminal, and Ctrl-C there reaches it too.
            command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
        } else {
            command.stdin(Stdio::null()).stderr(Stdio::piped());
            #[cfg(unix)]
            command.process_group(0);
        }
        match command.spawn() {
            Ok(child) => Ok(Running { child, has_group: !interactive }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let hint = self.config.install_hint.as_deref().map(|hint| format!("; {}", hint.trim()));
                Err(Error::Config(format!(
                    "credential plugin {}: there is no such program{}",
                    self.name,
                    hint.unwrap_or_default()
                )))
            }
            Err(e) => Err(self.failed(&format!("it cannot be started: {e}"), &Tail::default())),
        }
    }

    fn environment(&self) -> impl Iterator<Item = (&String, &String)> {
        let variables = self.config.env.iter().flatten();
        variables.filter_map(|variable| Some((variable.get("name")?, variable.get("value")?)))
    }

    /// Reads what the plugin printed.
    fn read(&self, stdout: &[u8]) -> Result<Issued, String> {
        #[derive(Deserialize)]
        struct Credential {
            #[serde(rename = "apiVersion")]
            api_version: String,
            kind: String,
            status: Option<Status>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Status {
            expiration_timestamp: Option<String>,
            token: Option<String>,
            client_certificate_data: Option<String>,
            client_key_data: Option<String>,
        }
        // The parser's message could quote what was printed.
        let credential: Credential =
            serde_json::from_slice(stdout).map_err(|_| "it printed no ExecCredential in JSON".to_owned())?;
        if credential.kind != "ExecCredential" {
            return Err("it printed an object of another kind than ExecCredential".to_owned());
        }
        if self.config.api_version.as_ref() != Some(&credential.api_version) {
            return Err("its answer has another apiVersion than the kubeconfig names for it".to_owned());
        }
        let status = credential.status.ok_or("its answer has no status")?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let certificate = match (given(status.client_certificate_data), given(status.client_key_data)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(
                    "its answer has one of clientCertificateData and clientKeyData without the other".into(),
                );
            }
        };
        let token = given(status.token);
        if token.is_none() && certificate.is_none() {
            return Err("its answer has neither a token nor a client certificate".to_owned());
        }
        let expires = given(status.expiration_timestamp).map(|time| time.parse()).transpose();
        let expires = expires.map_err(|_| "its answer's expirationTimestamp is not a time".to_owned())?;
        Ok(Issued { token, certificate, expires })
    }

    pub(crate) fn failed(&self, how: &str, stderr: &Tail) -> Error {
        let said = match stderr.last_line() {
            line if line.is_empty() => String::new(),
            line => format!(": {}", self.without_secrets(&line)),
        };
        Error::Plugin { name: self.name.clone(), message: format!("{how}{said}") }
    }

    /// Takes out of a message what the plugin was given: values of its environment and of its flags.
    fn without_secrets(&self, message: &str) -> String {
        let mut secrets: Vec<String> = self.environment().map(|(_, value)| value.clone()).collect();
        let args: Vec<&str> = self.config.args.iter().flatten().map(String::as_str).collect();
        for (at, arg) in args.iter().enumerate() {
            match arg.split_once('=') {
                Some((_, value)) => secrets.push(value.to_owned()),
                // `--flag value`: the value.
                None if at > 0 && args[at - 1].starts_with('-') && !arg.starts_with('-') => {
                    secrets.push((*arg).to_owned());
                }
                None => {}
            }
        }
        // It also has the environment of this process.
        let telling = ["TOKEN", "SECRET", "PASSWORD", "KEY", "CREDENTIAL", "CONNECTION_STRING", "SAS"];
        secrets.extend(std::env::vars_os().filter_map(|(name, value)| {
            let name = name.to_string_lossy().to_ascii_uppercase();
            telling.iter().any(|word| name.contains(word)).then(|| value.into_string().ok())?
        }));
        // One that has several lines is printed in several.
        let mut secrets: Vec<&str> = secrets.iter().flat_map(|secret| secret.lines()).collect();
        secrets.retain(|secret| secret.len() >= MIN_SECRET);
        // The longest first: one may be a part of another.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.iter().fold(message.to_owned(), |message, secret| message.replace(secret, "***"))
    }
}

/// A plugin that runs. Dropping it kills the plugin, and what it has started where it has a process group of its own.
struct Running {
    child: Child,
    has_group: bool,
}

impl Drop for Running {
    fn drop(&mut self) {
        #[cfg(unix)]
        if self.has_group
            && let Some(group) =
                self.child.id().and_then(|id| rustix::process::Pid::from_raw(id.cast_signed()))
        {
            // It has no id once it has been waited for.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        #[cfg(not(unix))]
        let _ = self.has_group;
    }
}

/// Waits for the end of the plugin and of its output.
async fn finish(mut running: Running, stderr: &mut Tail) -> std::io::Result<(ExitStatus, Vec<u8>)> {
    let out = running.child.stdout.take();
    let mut err = running.child.stderr.take();
    let mut output = Vec::new();
    let ended = async {
        if let Some(out) = out {
            out.take(MAX_OUTPUT).read_to_end(&mut output).await?;
        }
        running.child.wait().await
    };
    let status = match &mut err {
        // What the plugin leaves in the background may hold its standard error open: that is not waited for.
        Some(err) => tokio::select! {
            status = ended => status?,
            never = stderr.follow(err) => match never {},
        },
        None => ended.await?,
    };
    // What the plugin has written before its end is in the pipe.
    #[cfg(unix)]
    if let Some(err) = err {
        stderr.drain(&err);
    }
    Ok((status, output))
}

/// The end of what a plugin says.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    /// Its beginning is missing.
    cut: bool,
}

impl Tail {
    async fn follow(&mut self, mut stream: impl AsyncRead + Unpin) -> std::convert::Infallible {
        let mut chunk = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut chunk).await {
            self.push(&chunk[..n]);
        }
        std::future::pending().await
    }

    /// Takes what is there now, of a pipe that does not block.
    #[cfg(unix)]
    fn drain(&mut self, pipe: impl std::os::fd::AsFd) {
        let mut chunk = [0; 1024];
        while let Ok(n @ 1..) = rustix::io::read(&pipe, &mut chunk) {
            self.push(&chunk[..n]);
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let surplus = self.bytes.len().saturating_sub(MAX_TAIL);
        self.bytes.drain(..surplus);
        self.cut |= surplus > 0;
    }

    /// The last line that is not empty, without what is not printable.
    fn last_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        // The first line may be the rest of one, and begin with the rest of a secret.
        let whole = if self.cut { text.split_once('\n').map_or("", |(_, rest)| rest) } else { &text };
        let line = whole.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|&c| is_printable(c)).collect()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn plugin(script: &str, args: &[&str], time_limit: Duration) -> Plugin {
        let args = [&["-c", script], args].concat();
        let config = serde_json::json!({
            "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh",
            "args": args,
            "env": [{"name": "CLIENT_SECRET", "value": "from-the-environment"}, {"name": "SHORT", "value": "a"}],
        });
        let config = serde_json::from_value(config).expect("a plugin's configuration");
        Plugin::new(config, || Ok(ExecAuthCluster::default()), time_limit).expect("a plugin")
    }

    async fn error_of(script: &str, args: &[&str]) -> String {
        plugin(script, args, Duration::from_secs(300)).run().await.err().expect("it fails").to_string()
    }

    #[tokio::test]
    async fn only_the_last_line_is_told_and_no_secret() {
        assert_eq!(
            error_of("echo first >&2; printf 'log\\033[31m in\\n\\n' >&2; echo on-stdout; exit 3", &[]).await,
            "credential plugin sh: it ended with exit code 3: log[31m in"
        );
        let args = ["sh", "get-token", "--id", "from-a-flag", "--key=after-the-sign"];
        assert_eq!(
            error_of("echo \"a $CLIENT_SECRET $1 $3 $4\" >&2; exit 1", &args).await,
            "credential plugin sh: it ended with exit code 1: a *** get-token *** --key=***"
        );
        // The beginning of a line that is longer than what is kept may be the rest of a secret.
        let long =
            "i=0; while [ $i -lt 2000 ]; do printf %s \"$CLIENT_SECRET\" >&2; i=$((i + 1)); done; exit 1";
        assert_eq!(error_of(long, &[]).await, "credential plugin sh: it ended with exit code 1");
        assert_eq!(
            error_of("echo 'from-the-environment{'", &[]).await,
            "credential plugin sh: it printed no ExecCredential in JSON"
        );
    }

    #[tokio::test]
    async fn one_that_hangs_is_ended_with_all_it_has_started() {
        let folder = tempfile::tempdir().unwrap();
        let alive = folder.path().join("alive");
        rustix::fs::mknodat(rustix::fs::CWD, &alive, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let reader = tokio::task::spawn_blocking({
            let alive = alive.clone();
            move || fs_err::read(alive)
        });
        let script = format!("exec 3>{}; echo waiting >&2; sleep 100000 & sleep 100000", alive.display());
        let error =
            plugin(&script, &[], Duration::from_secs(2)).run().await.err().expect("it fails").to_string();
        assert!(error.starts_with("credential plugin sh: it did not end within 2s"), "{error}");
        // The fifo ends for its reader when nobody has it open any more.
        tokio::time::timeout(Duration::from_secs(300), reader).await.unwrap().unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_it_leaves_in_the_background_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let until = folder.path().join("until");
        rustix::fs::mknodat(rustix::fs::CWD, &until, rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
            .unwrap();
        let answer = r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}"#;
        // It has standard error open until the test writes.
        let script = format!("cat {} >/dev/null & echo '{answer}'", until.display());
        let issued = plugin(&script, &[], Duration::from_secs(300)).run().await.unwrap();
        assert_eq!(issued.token.as_deref(), Some("t"));
        tokio::task::spawn_blocking(move || fs_err::write(until, "")).await.unwrap().unwrap();
    }
}
