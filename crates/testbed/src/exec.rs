//! exec: commands in containers over a WebSocket of channels.
//!
//! The first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final status. In version 5 of the
//! protocol `[255, 0]` ends stdin; in version 4 only the end of the connection does.

use std::{
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use axum::{
    extract::{
        FromRequestParts, Request,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code},
    },
    response::Response,
};
use bytes::Bytes;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use rustix::process::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, ChildStdin, Command},
    sync::Mutex,
    time,
};

use crate::{
    api::{
        request::Info,
        status::{Failure, container_of},
    },
    cluster::Cluster,
    faults::Fault,
    kubelet::{self, Target, procfs, tools::CannotRun},
    signals::Route,
};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const CLOSE: u8 = 255;
/// As the container runtime copies.
const CHUNK: usize = 32 * 1024;
/// Clients of version 5 take any other end for a lost connection.
pub(crate) const NORMAL: CloseFrame =
    CloseFrame { code: close_code::NORMAL, reason: Utf8Bytes::from_static("") };
/// How long a client may take to answer the closing of its connection.
const GOODBYE: Duration = Duration::from_secs(5);

/// Answers an exec request; the command runs once the connection is upgraded.
pub(crate) async fn handle(
    cluster: &Arc<Cluster>,
    info: Info,
    request: Request,
    faults: Vec<Fault>,
) -> Result<Response, Failure> {
    let pod = kubelet::pod(cluster, &info.namespace, &info.name)?;
    let container = container_of(&pod, info.query("container"))?;
    if pod.spec.as_ref().is_none_or(|spec| spec.node_name.as_deref().unwrap_or_default().is_empty()) {
        return Err(Failure::bad_request(format!("pod {} does not have a host assigned", info.name)));
    }
    let command: Vec<String> = info.query_all("command").map(str::to_owned).collect();
    if command.is_empty() {
        return Err(Failure::bad_request("you must specify at least 1 command for the container"));
    }
    let (mut parts, _) = request.into_parts();
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, cluster)
        .await
        .map_err(|_| Failure::bad_request("Upgrade request required"))?
        .protocols(["v5.channel.k8s.io", "v4.channel.k8s.io"]);
    let Some(protocol) = upgrade.selected_protocol().cloned() else {
        return Err(Failure::bad_request("unable to negotiate a subprotocol"));
    };
    let session = Session {
        cluster: cluster.clone(),
        container,
        command,
        can_close_stdin: protocol == "v5.channel.k8s.io",
        faults,
        info,
    };
    // The API server translates version 5 itself and so upgrades before it asks the kubelet; version 4 is the
    // kubelet's to upgrade.
    if !session.can_close_stdin && session.target().is_none() {
        return Err(session.not_running());
    }
    Ok(upgrade.on_upgrade(|socket| async move {
        let closing = session.cluster.closing.clone();
        closing.run_until_cancelled(session.run(socket)).await;
    }))
}

struct Session {
    cluster: Arc<Cluster>,
    info: Info,
    container: String,
    command: Vec<String>,
    can_close_stdin: bool,
    faults: Vec<Fault>,
}

type Sink = Arc<Mutex<SplitSink<WebSocket, Message>>>;

/// Why output ends before its end.
enum Cut {
    /// The connection is to drop without a status.
    Connection,
    /// The command is killed.
    Command,
}

impl Session {
    async fn run(self, socket: WebSocket) {
        let (sink, incoming) = socket.split();
        let sink = Arc::new(Mutex::new(sink));
        let mut reader = None;
        // Without a status both halves of the socket go, and the connection drops.
        if let Ok(status) = self.execute(&sink, incoming, &mut reader).await {
            let mut sink = sink.lock().await;
            let mut message = vec![STATUS];
            // A status always serializes; if it did not, the client would see a lost connection.
            if serde_json::to_writer(&mut message, &status).is_ok() {
                // The client may have gone.
                let _ = sink.send(Message::Binary(message.into())).await;
            }
            let _ = sink.send(Message::Close(Some(NORMAL))).await;
            drop(sink);
            if let Some(reader) = &mut reader {
                // Until the client has closed too: ending with data unread would reset the connection.
                let _ = time::timeout(GOODBYE, reader).await;
            }
        }
        if let Some(reader) = reader {
            reader.abort();
        }
    }

    async fn execute(
        &self,
        sink: &Sink,
        incoming: SplitStream<WebSocket>,
        reader: &mut Option<tokio::task::JoinHandle<()>>,
    ) -> Result<Status, Cut> {
        for fault in &self.faults {
            match fault {
                Fault::DeletePod { after: 0 } => self.delete_pod(),
                Fault::ReplaceStdout(bytes) => {
                    *reader = Some(tokio::spawn(read(incoming, None, self.can_close_stdin)));
                    self.output(sink, STDOUT, std::io::Cursor::new(bytes.clone())).await?;
                    return Ok(success());
                }
                _ => {}
            }
        }
        let target = self.target();
        let started = match &target {
            Some(target) => self.start(target).map_err(|CannotRun(why)| Failure::internal(&why)),
            None => Err(self.not_running()),
        };
        let (mut child, pid) = match started {
            Ok(started) => started,
            Err(failure) => {
                *reader = Some(tokio::spawn(read(incoming, None, self.can_close_stdin)));
                return Ok(failure.status().clone());
            }
        };
        *reader = Some(tokio::spawn(read(incoming, child.stdin.take(), self.can_close_stdin)));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let output = async {
            tokio::try_join!(
                async {
                    if let Some(stdout) = stdout { self.output(sink, STDOUT, stdout).await } else { Ok(()) }
                },
                async {
                    if let Some(stderr) = stderr { self.output(sink, STDERR, stderr).await } else { Ok(()) }
                },
            )
        };
        let output = output.await;
        if output.is_err() {
            // Nobody reads what it still writes.
            let _ = child.start_kill();
        }
        let ended = child.wait().await;
        self.cluster.processes.ended(pid);
        match output {
            Err(Cut::Command) => return Ok(Failure::exit_code(128 + Signal::KILL.as_raw()).status().clone()),
            output => output?,
        };
        if self.faults.iter().any(|fault| matches!(fault, Fault::TruncateStdout(_))) {
            return Ok(success());
        }
        Ok(ended.map_or_else(|error| Failure::internal(&error.to_string()).status().clone(), status))
    }

    /// Starts the command; its pipes are there as far as the request wants them.
    fn start(&self, target: &Target) -> Result<(Child, rustix::process::Pid), CannotRun> {
        let failed = |why: &str| {
            CannotRun(format!(
                "error executing command in container: failed to exec in container: failed to start exec \
                 {:?}: OCI runtime exec failed: exec failed: unable to start container process: {why}",
                crate::object::new_digest()
            ))
        };
        let mut command: Vec<String> = self.command.iter().map(|part| target.paths.apply(part)).collect();
        if let Some(proc) = command.iter_mut().find(|part| *part == "/proc") {
            let folder = procfs::create(&self.cluster.root, target);
            *proc = folder.map_err(|error| failed(&error.to_string()))?.to_string_lossy().into_owned();
        }
        let program = target.tools.resolve(&command[0], &target.folder).map_err(|CannotRun(why)| {
            // The name as the client gave it.
            failed(&why.replace(&command[0], &self.command[0]))
        })?;
        let pipe = |is_used: bool| if is_used { Stdio::piped() } else { Stdio::null() };
        let mut process = Command::new(program);
        process
            .args(&command[1..])
            .env_clear()
            .envs(target.env.iter().map(|(key, value)| (key, value)))
            .envs(self.signal_env(target))
            .current_dir(&target.folder)
            .stdin(pipe(self.info.flag("stdin")))
            .stdout(pipe(self.info.flag("stdout")))
            .stderr(pipe(self.info.flag("stderr")));
        let started = self.cluster.processes.spawn(&target.owner, &mut process);
        started.map_err(|error| failed(&error.to_string()))
    }

    /// What the guarded `kill` is told: the process that is pid 1, or to go by way of the testbed.
    fn signal_env(&self, target: &Target) -> Vec<(String, String)> {
        let after = self.faults.iter().find_map(|fault| match fault {
            Fault::DelaySignals(delay) => Some(Some(*delay)),
            Fault::DropSignals => Some(None),
            _ => None,
        });
        // Those of a pod without a process reach nothing.
        let after = after.or_else(|| target.pid.is_none().then_some(None));
        // Always set: 0 refuses every pid, where an empty one would mean the shell itself.
        let mut env = vec![("TESTBED_PID".to_owned(), target.pid.unwrap_or(0).to_string())];
        if let Some(after) = after {
            env.extend(self.cluster.signals.route(Route {
                namespace: self.info.namespace.clone(),
                pod: self.info.name.clone(),
                container: self.container.clone(),
                after,
            }));
        }
        env
    }

    /// Sends a stream to the client on a channel, as the faults have it. A client that has gone does not stop the
    /// command, as in a real cluster.
    async fn output(&self, sink: &Sink, channel: u8, mut from: impl AsyncRead + Unpin) -> Result<(), Cut> {
        let (mut sent, mut silent) = (0, false);
        let mut buffer = vec![0; CHUNK];
        loop {
            buffer[0] = channel;
            let length = from.read(&mut buffer[1..]).await.unwrap_or(0);
            if length == 0 {
                return Ok(());
            }
            let mut data = &buffer[..=length];
            let mut then = None;
            for fault in self.faults.iter().filter(|_| channel == STDOUT) {
                if let Fault::CutStdout(limit)
                | Fault::KillCommand(limit)
                | Fault::TruncateStdout(limit)
                | Fault::DeletePod { after: limit @ 1.. } = fault
                    && sent + length >= *limit
                    && then.is_none()
                {
                    data = &data[..=limit.saturating_sub(sent)];
                    then = Some(fault);
                }
            }
            if !silent && data.len() > 1 {
                let message = Message::Binary(Bytes::copy_from_slice(data));
                silent = sink.lock().await.send(message).await.is_err();
            }
            sent += length;
            match then {
                Some(Fault::CutStdout(_)) => return Err(Cut::Connection),
                Some(Fault::KillCommand(_)) => return Err(Cut::Command),
                Some(Fault::TruncateStdout(_)) => silent = true,
                Some(Fault::DeletePod { .. }) => {
                    self.delete_pod();
                    silent = true;
                }
                _ => {}
            }
        }
    }

    fn target(&self) -> Option<Target> {
        self.cluster.kubelet.target(&self.info.namespace, &self.info.name, &self.container)
    }

    fn not_running(&self) -> Failure {
        Failure::internal(&format!(
            "unable to upgrade connection: container not found ({:?})",
            self.container
        ))
    }

    fn delete_pod(&self) {
        kubelet::delete_pod(&self.cluster, &self.info.namespace, &self.info.name, Some(0));
    }
}

/// Reads the client's messages to their end; stdin goes to the command, if it has any.
async fn read(mut incoming: SplitStream<WebSocket>, mut stdin: Option<ChildStdin>, can_close_stdin: bool) {
    while let Some(Ok(message)) = incoming.next().await {
        let Message::Binary(message) = message else { continue };
        match &message[..] {
            [CLOSE, STDIN] if can_close_stdin => stdin = None,
            [STDIN, data @ ..] => {
                let written = match &mut stdin {
                    Some(stdin) => stdin.write_all(data).await.and(stdin.flush().await),
                    None => Ok(()),
                };
                // The command reads no more; what else is meant for it is thrown away.
                if written.is_err() {
                    stdin = None;
                }
            }
            _ => {}
        }
    }
}

fn success() -> Status {
    Status { status: Some("Success".to_owned()), ..Status::default() }
}

fn status(ended: ExitStatus) -> Status {
    match ended.code().unwrap_or_else(|| 128 + ended.signal().unwrap_or_default()) {
        0 => success(),
        code => Failure::exit_code(code).status().clone(),
    }
}
