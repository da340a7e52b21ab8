//! What the tests share: a cluster with the Go program, kube clients, and an exec client that does not rely on kube's.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::{
    Client,
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use podcov_testbed::{Image, Testbed};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

pub(crate) const HELLO: &str = include_str!("hello.yaml");

/// The Go program, built once.
pub(crate) fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("testbed-program");
        fs_err::create_dir_all(&folder).unwrap();
        let path = folder.join("program");
        // Under a name of its own first: other test binaries build and run it at the same time.
        let fresh = tempfile::tempdir_in(&folder).unwrap();
        let built = Command::new("go")
            .args(["build", "-o"])
            .arg(fresh.path().join("program"))
            .arg(".")
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/program"))
            .status()
            .expect("the tests need Go");
        assert!(built.success());
        fs_err::rename(fresh.path().join("program"), &path).unwrap();
        path
    })
}

/// A cluster that knows the image `hello`.
pub(crate) async fn bed() -> Testbed {
    // It is installed already after the first test of a binary.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let bed = Testbed::start().await.unwrap();
    bed.image("hello", Image::new(program()));
    bed
}

/// A cluster in which hello.yaml has been rolled out.
pub(crate) async fn hello() -> (Testbed, Client, String) {
    let bed = bed().await;
    bed.apply(HELLO).unwrap();
    bed.rollout_done().await.unwrap();
    let pod = bed.pods()[0].metadata.name.clone().unwrap();
    let client = client(bed.kubeconfig()).await;
    (bed, client, pod)
}

pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    // Tests do not go through a proxy that happens to be set.
    config.proxy_url = None;
    Client::try_from(config).unwrap()
}

/// What a command brought.
#[derive(Debug, Default)]
pub(crate) struct Output {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    /// `None` if the connection was lost.
    pub(crate) status: Option<Status>,
}

impl Output {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        let status = self.status.as_ref()?;
        if status.status.as_deref() == Some("Success") {
            return Some(0);
        }
        let causes = status.details.as_ref()?.causes.as_ref()?;
        causes
            .iter()
            .find(|cause| cause.reason.as_deref() == Some("ExitCode"))?
            .message
            .as_ref()?
            .parse()
            .ok()
    }

    pub(crate) fn message(&self) -> String {
        self.status.as_ref().and_then(|status| status.message.clone()).unwrap_or_default()
    }
}

/// A running exec.
pub(crate) struct Exec {
    socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>,
    pub(crate) output: Output,
}

impl Exec {
    pub(crate) async fn start(
        client: &Client,
        path: &str,
        command: &[&str],
        protocol: &str,
    ) -> anyhow::Result<Self> {
        let query: String = command.iter().map(|part| format!("&command={}", encode(part))).collect();
        let (path, container) = path.split_once(':').unwrap_or((path, ""));
        let (namespace, pod) = path.split_once('/').unwrap_or(("default", path));
        let uri = format!(
            "/api/v1/namespaces/{namespace}/pods/{pod}/exec?container={container}&stdin=true&stdout=true&stderr=true{query}"
        );
        let socket = connect(client, &uri, protocol).await?;
        Ok(Self { socket, output: Output::default() })
    }

    pub(crate) async fn write(&mut self, data: &[u8]) {
        let message: Vec<u8> = std::iter::once(0).chain(data.iter().copied()).collect();
        self.socket.send(Message::binary(message)).await.unwrap();
    }

    pub(crate) async fn close_stdin(&mut self) {
        self.socket.send(Message::binary(vec![255, 0])).await.unwrap();
    }

    /// Reads until stdout contains this.
    pub(crate) async fn wait_for(&mut self, text: &str) {
        while !self.output.text().contains(text) {
            assert!(self.step().await, "{text} never came: {:?}", self.output);
        }
    }

    pub(crate) async fn finish(mut self) -> Output {
        while self.step().await {}
        self.output
    }

    async fn step(&mut self) -> bool {
        let next =
            tokio::time::timeout(Duration::from_secs(120), self.socket.next()).await.expect("no answer");
        match next {
            Some(Ok(Message::Binary(message))) => match message[0] {
                1 => self.output.stdout.extend(&message[1..]),
                2 => self.output.stderr.extend(&message[1..]),
                3 => self.output.status = Some(serde_json::from_slice(&message[1..]).unwrap()),
                other => panic!("channel {other}"),
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => return false,
            Some(Ok(_)) => {}
        }
        true
    }
}

/// Runs a command to its end, in `[NAMESPACE/]POD[:CONTAINER]`.
pub(crate) async fn run(client: &Client, path: &str, command: &[&str]) -> Output {
    let mut exec = Exec::start(client, path, command, "v5.channel.k8s.io").await.unwrap();
    exec.close_stdin().await;
    exec.finish().await
}

/// Opens a WebSocket with one subprotocol; kube's own client always offers two.
pub(crate) async fn connect(
    client: &Client,
    uri: &str,
    protocol: &str,
) -> anyhow::Result<WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>> {
    let request = axum::http::Request::get(uri)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-protocol", protocol)
        .body(kube::client::Body::empty())?;
    let response = client.send(request).await?;
    if response.status() != 101 {
        let status = response.status();
        let body = response.into_body().collect_bytes().await?;
        anyhow::bail!("{status}: {}", String::from_utf8_lossy(&body));
    }
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let upgraded = hyper::upgrade::on(response).await.context("upgrade")?;
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await)
}

fn encode(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(encode).collect()
}
