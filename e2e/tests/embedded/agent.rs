//! Who answers on an agent's port: the agent that is meant, another one, or somebody else.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use podcov_e2e::{Ended, ReservedPort, World, go_build, program, run};
use podcov_testbed::{Image, Tools};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::support::*;

/// What has not happened by now never will. No test expects it.
const HUNG: Duration = Duration::from_secs(120);

const TOKEN: &str = "marked-s3cret";

/// All ways in which the hooks ask an agent.
const HOOKS: [&str; 5] = [
    "podcov-signal --timeout 0.5",
    "podcov-signal --timeout 0.5 --stop",
    "podcov-collect --tries 1",
    "podcov-collect --tries 1 --timeout 0.5 --signal USR1",
    "podcov-collect --tries 1 --timeout 0.5 --stop",
];

/// Runs a hook, maybe with a token.
async fn hook(world: &World, line: &str, token: Option<&str>) -> Result<Ended> {
    let (hook, args) = line.split_once(' ').unwrap_or((line, ""));
    let mut command = world.command(hook, format!("{args} --run-id {RUN}").split_whitespace());
    command.envs(token.map(|token| ("PODCOV_TOKEN", token)));
    run(command).await
}

/// Adds a pod whose spec mentions an agent, which a port of this machine stands for. Its image has no other program.
fn add_pod(world: &World, pod: Value, port: u16) -> Result<()> {
    let names: Vec<String> = pod["spec"]["containers"]
        .as_array()
        .context("containers")?
        .iter()
        .map(|container| container["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    let pod = fixed(pod).port(19998, port);
    world.bed.add_pod(names.iter().fold(pod, |pod, name| pod.tools(name, Tools::none())))
}

/// A pod of one container, `app`, whose spec mentions an agent.
fn with_agent(name: &str) -> Value {
    let mut pod = running("default", name, &["app"]);
    let env = pod["spec"]["containers"][0]["env"].as_array_mut().expect("the container's variables");
    env.push(json!({"name": "PODCOV_RUN", "value": "x"}));
    pod
}

/// The kernel's name of this machine.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A podcov-agent with a program that ends on SIGTERM, and writes its counters on SIGUSR1.
struct Agent {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Agent {
    async fn start(variables: &[(&str, &str)]) -> Result<Self> {
        Self::start_at(0, variables).await
    }

    /// On a port; 0 is any that is free.
    async fn start_at(port: u16, variables: &[(&str, &str)]) -> Result<Self> {
        let wrapped = go_build("e2e/wrapped", "wrapped-atomic", &["-cover", "-covermode=atomic"])?;
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program("podcov-agent"));
        command
            .args(["run", &format!("--control=127.0.0.1:{port}"), "--restart=always", "--"])
            .arg(wrapped)
            .args(["terms", "1"]);
        command.env_clear().envs(variables.iter().copied()).env("GOCOVERDIR", folder.path().join("coverage"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("podcov-agent: `make test` builds it")?;
        let (mut out, mut err) =
            (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let port = match port {
            0 => {
                let mut line = String::new();
                let mut err = BufReader::with_capacity(1, &mut err);
                tokio::time::timeout(HUNG, err.read_line(&mut line)).await??;
                line.trim_end().rsplit_once(':').context(line.clone())?.1.parse().context(line.clone())?
            }
            port => port,
        };
        let ready = async {
            let mut lines = BufReader::with_capacity(1, &mut out).lines();
            while lines.next_line().await?.context("it has ended")? != "ready" {}
            anyhow::Ok(())
        };
        tokio::time::timeout(HUNG, ready).await??;
        // Whatever it says later goes nowhere.
        tokio::spawn(async move {
            let (mut nowhere, mut void) = (tokio::io::sink(), tokio::io::sink());
            let _ =
                tokio::join!(tokio::io::copy(&mut out, &mut nowhere), tokio::io::copy(&mut err, &mut void));
        });
        Ok(Self { child, port, _folder: folder })
    }

    /// How often its program was started.
    async fn starts(&self, token: &str) -> Result<u64> {
        let request = format!("GET /health HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n");
        let answer = ask(self.port, &request).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context(answer.clone())?;
        serde_json::from_str::<Value>(body)?["starts"].as_u64().context(answer)
    }
}

/// Sends a request and reads the whole answer.
async fn ask(port: u16, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(HUNG, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// Somebody who listens on a port, answers everything in the same way, and notes what comes.
struct Stranger {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Stranger {
    async fn start(answer: Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (port, heard) = (listener.local_addr()?.port(), Arc::new(Mutex::new(Vec::new())));
        let notes = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (notes, answer) = (Arc::clone(&notes), answer.clone());
                tokio::spawn(async move {
                    let mut piece = vec![0; 4096];
                    let mut request = Vec::new();
                    while let Ok(n @ 1..) = stream.read(&mut piece).await {
                        notes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..n]);
                        request.extend_from_slice(&piece[..n]);
                        if request.ends_with(b"\r\n\r\n") {
                            request.clear();
                            if answer.is_empty() || stream.write_all(&answer).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Ok(Self { port, heard })
    }

    /// All that it was told, over all connections.
    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

/// An answer of HTTP that leaves the connection open.
fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn introduction(pod: &str, challenge: &Value, proof: &Value) -> Vec<u8> {
    let body = json!({
        "agent": "podcov-agent", "version": env!("CARGO_PKG_VERSION"), "namespace": "default", "pod": pod,
        "pod_uid": null, "hostname": pod, "container": "app", "program": "x", "challenge": challenge, "proof": proof,
    });
    http("200 OK", "Content-Type: application/json\r\n", &body.to_string())
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_on_the_agents_port_gets_neither_the_token_nor_a_request_to_do_anything() -> Result<()> {
    // What the right agent has proved to another caller.
    let agent =
        Agent::start(&[("PODCOV_TOKEN", TOKEN), ("PODCOV_POD", "shop"), ("PODCOV_NAMESPACE", "default")])
            .await?;
    let recorded =
        ask(agent.port, &format!("GET /identity?nonce={} HTTP/1.0\r\n\r\n", "0".repeat(64))).await?;
    let (head, recorded) = recorded.split_once("\r\n\r\n").context("no body")?;
    anyhow::ensure!(head.starts_with("HTTP/1.0 200"), "{head}");
    let proved: Value = serde_json::from_str(recorded)?;
    anyhow::ensure!(proved["proof"].is_string(), "{recorded}");
    let (zeros, null) = (json!("0".repeat(64)), Value::Null);
    // With the token, and whether it is to be told nothing without one too.
    let strangers = [
        ("closes", Vec::new(), true),
        ("no HTTP", b"220 mail.example.com ESMTP\r\n\r\n".to_vec(), true),
        ("a web page", http("200 OK", "Content-Type: text/html\r\n", "<html>"), true),
        ("any JSON", http("200 OK", JSON, "{}"), true),
        (
            "wants a token",
            http("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", r#"{"error": "token"}"#),
            true,
        ),
        ("leads elsewhere", http("307 Temporary Redirect", "Location: /stop\r\n", ""), true),
        ("an older agent", http("404 Not Found", JSON, r#"{"error": "there are /health, /flush"}"#), true),
        ("is long", http("200 OK", JSON, &" ".repeat(1 << 20)), true),
        ("another pod's", introduction("web", &null, &null), true),
        ("has no token", introduction("shop", &null, &null), false),
        ("has no proof", introduction("shop", &zeros, &null), false),
        ("guesses", introduction("shop", &zeros, &zeros), false),
        ("replays", http("200 OK", JSON, recorded), false),
    ];
    for (what, answer, also_without) in strangers {
        let world = World::new().await?;
        let stranger = Stranger::start(answer).await?;
        add_pod(&world, with_agent("shop"), stranger.port)?;
        for token in [Some(TOKEN), None].into_iter().take(if also_without { 2 } else { 1 }) {
            for line in HOOKS {
                let ended = hook(&world, line, token).await?;
                assert_eq!(ended.code, 4, "{what}: {line}: {ended:?}");
                assert!(!ended.stderr.contains(TOKEN), "{what}: {line}: {ended:?}");
            }
        }
        let heard = stranger.heard();
        assert!(!heard.contains(TOKEN), "{what}: {heard}");
        assert!(!heard.to_ascii_lowercase().contains("authorization"), "{what}: {heard}");
        for request in heard.split_terminator("\r\n\r\n") {
            assert!(request.starts_with("GET /identity?nonce="), "{what}: {request}");
        }
        assert!(heard.matches("GET /identity").count() >= HOOKS.len(), "{what}: {heard}");
    }
    Ok(())
}

/// An agent that its container's spec does not mention is tried last, and its answer is reported beside the rest.
#[tokio::test(flavor = "multi_thread")]
async fn why_each_way_failed_is_named() -> Result<()> {
    let null = Value::Null;
    let zeros = json!("0".repeat(64));
    for (answer, why) in [
        (
            introduction("web", &null, &null),
            "the podcov-agent on port 19998 is that of pod default/web container app",
        ),
        (
            introduction("shop", &zeros, &zeros),
            "its podcov-agent wants a token; set PODCOV_TOKEN to that token",
        ),
    ] {
        let world = World::new().await?;
        let stranger = Stranger::start(answer).await?;
        add_pod(&world, running("default", "shop", &["app"]), stranger.port)?;
        for line in [HOOKS[0], HOOKS[2]] {
            let ended = hook(&world, line, None).await?;
            assert_eq!(ended.code, 4, "{line}: {ended:?}");
            for words in ["the image has no shell", why] {
                assert!(ended.stderr.contains(words), "{line}: {words}: {ended:?}");
            }
            assert_eq!(ended.stderr.lines().count(), 1, "{line}: {ended:?}");
        }
    }
    Ok(())
}

/// An agent that answers `replies` to one connection after the other, the last one again and again, each as pairs of the
/// start of a request and the answer. What is asked of it without an answer closes the connection. Gives its port and the
/// first lines of all requests.
async fn scripted_agent(
    replies: Vec<Vec<(&'static str, Vec<u8>)>>,
) -> Result<(u16, Arc<Mutex<Vec<String>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (port, asked) = (listener.local_addr()?.port(), Arc::new(Mutex::new(Vec::new())));
    let notes = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut connections = 0;
        while let Ok((stream, _)) = listener.accept().await {
            let (notes, mine) = (Arc::clone(&notes), replies[connections.min(replies.len() - 1)].clone());
            connections += 1;
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                loop {
                    let mut head = String::new();
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).await? == 0 {
                            return anyhow::Ok(());
                        }
                    }
                    let first = head.lines().next().unwrap_or_default().to_owned();
                    let answer = mine.iter().find(|(start, _)| first.starts_with(start));
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push(first);
                    let Some((_, answer)) = answer else { return Ok(()) };
                    stream.write_all(answer).await?;
                }
            });
        }
    });
    Ok((port, asked))
}

/// Nobody knows whether it has done what it was asked to.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_whose_answer_is_lost_is_not_asked_again() -> Result<()> {
    let null = Value::Null;
    let (port, asked) =
        scripted_agent(vec![vec![("GET /identity", introduction("shop", &null, &null))]]).await?;
    let world = World::new().await?;
    add_pod(&world, with_agent("shop"), port)?;
    for line in ["podcov-signal --timeout 5", "podcov-signal --timeout 5 --stop", HOOKS[3], HOOKS[4]] {
        let ended = hook(&world, line, None).await?;
        assert_eq!(ended.code, 4, "{line}: {ended:?}");
        assert!(ended.stderr.contains("its answer did not come"), "{line}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{line}: {ended:?}");
    }
    let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let posts: Vec<_> = asked.iter().filter(|line| line.starts_with("POST ")).collect();
    assert_eq!(posts.len(), 4, "{asked:?}");
    Ok(())
}

/// Its agent's connection was closed before the request could be sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_sent_is_sent_again() -> Result<()> {
    let null = Value::Null;
    let introduction = introduction("shop", &null, &null);
    let text = String::from_utf8(introduction.clone())?;
    let closing = text.replacen("\r\n", "\r\nConnection: close\r\n", 1).into_bytes();
    let flushed = http("200 OK", JSON, r#"{"files": ["one"]}"#);
    let stopped = http("200 OK", JSON, r#"{"exit_code": 0, "counters_written": true}"#);
    for (line, request, answer) in
        [("podcov-signal", "POST /flush", flushed), ("podcov-signal --stop", "POST /stop", stopped)]
    {
        let refuses = vec![("GET /identity", closing.clone())];
        let serves = vec![("GET /identity", introduction.clone()), (request, answer)];
        let (port, asked) = scripted_agent(vec![refuses.clone(), refuses, serves]).await?;
        let world = World::new().await?;
        add_pod(&world, with_agent("shop"), port)?;
        let ended = hook(&world, line, None).await?;
        assert_eq!(ended.code, 0, "{line}: {ended:?}");
        let asked = asked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // A connection may fail for other reasons too, and then it is asked once more who it is.
        let (last, before) = asked.split_last().context("nothing was asked")?;
        assert!(last.starts_with(request), "{asked:?}");
        assert!(before.len() >= 3 && before.iter().all(|one| one.starts_with("GET /identity")), "{asked:?}");
    }
    Ok(())
}

/// podcov-doctor asks as the hooks do, and nothing of the program.
#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_knows_agents() -> Result<()> {
    let world = World::new().await?;
    let agent = Agent::start(&[("PODCOV_POD", "shop"), ("PODCOV_CONTAINER", "app")]).await?;
    add_pod(&world, with_agent("shop"), agent.port)?;
    let version = env!("CARGO_PKG_VERSION");
    let subject = "pod default/shop container app";
    let process = "is built with -cover, go1.";
    for (line, expected) in [
        ("--stop", format!("ok       {subject}: podcov-agent {version} answers\n")),
        ("--signal USR1", format!("ok       {subject}: podcov-agent {version} answers\n")),
        ("--live", format!("ok       {subject}: process ")),
    ] {
        let ended = hook(&world, &format!("podcov-doctor --all {line}"), None).await?;
        assert!(ended.code == 0 && ended.stdout.contains(&expected), "{line}: {ended:?}");
        assert!(line != "--live" || ended.stdout.contains(process), "{ended:?}");
    }
    assert_eq!(agent.starts(TOKEN).await?, 1, "the program was not stopped");

    let stranger = World::new().await?;
    add_pod(&stranger, with_agent("bank"), agent.port)?;
    let ended = hook(&stranger, "podcov-doctor --stop", None).await?;
    let error = "error    pod default/bank container app: it takes podcov-agent to stop a program gracefully; no podcov-agent: the \
                 podcov-agent on port 19998 is that of pod ";
    assert!(ended.code == 1 && ended.stdout.contains(error), "{ended:?}");
    Ok(())
}

/// What is between hook and agent sees all that passes.
#[tokio::test(flavor = "multi_thread")]
async fn the_right_agent_proves_the_token_and_never_sees_it() -> Result<()> {
    let variables = [("PODCOV_TOKEN", TOKEN), ("PODCOV_POD", "shop"), ("PODCOV_CONTAINER", "app")];
    let agent = Agent::start(&variables).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (port, heard) = (listener.local_addr()?.port(), Arc::new(Mutex::new(Vec::new())));
    let (notes, agents) = (Arc::clone(&heard), agent.port);
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            let notes = Arc::clone(&notes);
            tokio::spawn(async move {
                let (mut from_agent, mut to_agent) =
                    TcpStream::connect(("127.0.0.1", agents)).await?.into_split();
                let (mut from_caller, mut to_caller) = caller.into_split();
                let requests = async {
                    let mut piece = vec![0; 4096];
                    while let n @ 1.. = from_caller.read(&mut piece).await? {
                        notes.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&piece[..n]);
                        to_agent.write_all(&piece[..n]).await?;
                    }
                    to_agent.shutdown().await
                };
                let answers = async {
                    tokio::io::copy(&mut from_agent, &mut to_caller).await?;
                    to_caller.shutdown().await
                };
                tokio::try_join!(requests, answers)
            });
        }
    });
    let world = World::new().await?;
    add_pod(&world, with_agent("shop"), port)?;
    for line in HOOKS.map(|line| line.replace("0.5", "60")) {
        let ended = hook(&world, &line, Some(TOKEN)).await?;
        assert_eq!(ended.code, 0, "{line}: {ended:?}");
    }
    assert_eq!(agent.starts(TOKEN).await?, 3, "two of the hooks stop the program");
    let sent = String::from_utf8_lossy(&heard.lock().unwrap_or_else(PoisonError::into_inner)).into_owned();
    assert!(sent.contains("POST /stop") && !sent.contains(TOKEN), "{sent}");
    // Without the token, and with another, the agent refuses.
    let ended = hook(&world, HOOKS[2], None).await?;
    assert_eq!(ended.code, 4);
    assert!(
        ended.stderr.contains("its podcov-agent wants a token; set PODCOV_TOKEN to that token"),
        "{ended:?}"
    );
    let ended = hook(&world, HOOKS[1], Some("another")).await?;
    assert_eq!(ended.code, 4);
    assert!(ended.stderr.contains("does not prove that it has the token in PODCOV_TOKEN"), "{ended:?}");
    assert_eq!(agent.starts(TOKEN).await?, 3);
    drop(agent.child);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_pods_or_containers_agent_is_refused_by_name() -> Result<()> {
    let agent = Agent::start(&[
        ("PODCOV_TOKEN", TOKEN),
        ("HOSTNAME", "node-7"),
        ("PODCOV_POD", "cart"),
        ("PODCOV_NAMESPACE", "default"),
        ("PODCOV_CONTAINER", "app"),
    ])
    .await?;
    // The image's variable is not the pod's name; the kernel's host name is.
    let unnamed = Agent::start(&[("HOSTNAME", "web")]).await?;
    let host = host_name();
    let of_host = format!("is that of pod {host} program wrapped-atomic; ");
    let on_host = |name: &str| {
        let mut pod = with_agent(name);
        pod["spec"]["hostNetwork"] = json!(true);
        pod
    };
    let mut two = with_agent("cart");
    let mut side = two["spec"]["containers"][0].clone();
    side["name"] = json!("side");
    two["spec"]["containers"] = json!([side]);
    two["status"]["containerStatuses"][0]["name"] = json!("side");
    for (pod, port, token, why) in [
        (with_agent("web"), agent.port, Some(TOKEN), "is that of pod default/cart container app; "),
        (on_host("web"), agent.port, Some(TOKEN), "is that of pod default/cart container app; "),
        (
            two,
            agent.port,
            Some(TOKEN),
            "is that of container app; podcov-agents of one pod each need PODCOV_CONTAINER",
        ),
        (with_agent("web"), unnamed.port, None, &of_host),
        (
            on_host("cart"),
            unnamed.port,
            None,
            "does not know its pod, and pods on the host's network share their ports; ",
        ),
    ] {
        let world = World::new().await?;
        add_pod(&world, pod, port)?;
        for line in HOOKS {
            let ended = hook(&world, line, token).await?;
            assert_eq!(ended.code, 4, "{line}: {ended:?}");
            assert!(
                ended.stderr.contains(&format!("the podcov-agent on port 19998 {why}")),
                "{line}: {ended:?}"
            );
        }
    }
    assert_eq!((agent.starts(TOKEN).await?, unnamed.starts("").await?), (1, 1), "nobody was stopped");
    // The same two where they belong.
    for (pod, port, token) in
        [(on_host("cart"), agent.port, Some(TOKEN)), (with_agent(&host), unnamed.port, None)]
    {
        let world = World::new().await?;
        add_pod(&world, pod, port)?;
        let ended = hook(&world, "podcov-signal --stop", token).await?;
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    Ok(())
}

/// What `podcov-signal --stop` leaves behind: a container that is being started again, of which the status tells later.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_about_to_start_is_waited_for() -> Result<()> {
    let world = World::new().await?;
    // Another test's agent on it would answer for this one: they all say that they are of the pod shop.
    let reserved = ReservedPort::new()?;
    let port = reserved.number;
    let pod = |restarts: u32| {
        let mut pod = with_agent("shop");
        pod["metadata"]["uid"] = json!("7f1c1d4e-0000-4000-8000-000000000001");
        pod["status"]["containerStatuses"][0]["restartCount"] = json!(restarts);
        pod
    };
    add_pod(&world, pod(0), port)?;
    let starting = async {
        while world.bed.requests().count("list", "pods") == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        add_pod(&world, pod(1), port)?;
        while world.bed.requests().iter().filter(|one| one.resource == "pods/portforward").count() < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Agent::start_at(port, &[("PODCOV_POD", "shop")]).await
    };
    let (ended, agent) = tokio::join!(hook(&world, "podcov-signal --stop --timeout 100", None), starting);
    let ended = ended?;
    // The program may not handle the stop signal yet, which its agent tells.
    assert!(ended.code == 0 || ended.stderr.contains("and wrote no counters then"), "{ended:?}");
    drop(agent?);
    Ok(())
}

/// The image's shell signals the program and cannot send the files; the agent can, which the container's spec does not
/// mention.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_for_a_shell_without_tar_the_agent_sends() -> Result<()> {
    let world = World::new().await?;
    deploy_with(&world, &WRITES, |container, binary| {
        let agent = program("podcov-agent");
        let script = format!(
            "control=127.0.0.1:$PORT; export PORT=0; exec '{}' run --control=$control -- '{}'",
            agent.display(),
            binary.display()
        );
        let image = Image::new("sh").args(["-c", &script]);
        world.bed.image("writes", image.tools(Tools::only(["sh", "grep"])));
        container["ports"] = json!([{"name": "main", "containerPort": 19998}]);
    })
    .await?;
    let [pod] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
    for files in [2, 3] {
        let collected = hook(&world, "podcov-collect --signal USR1", None).await?;
        assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
        assert_eq!(world.manifest()?["containers"][0]["way"], "agent");
        let folder = format!("reports/coverage/default/{pod}/app");
        assert_eq!(world.files(&folder)?.len(), files, "one signal, one file");
    }
    Ok(())
}

/// The pod's status says nothing of it: the container was not restarted.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_was_killed_and_started_again_by_its_agent_is_a_loss() -> Result<()> {
    let agent = Agent::start(&[("PODCOV_POD", "shop")]).await?;
    let world = World::new().await?;
    add_pod(&world, with_agent("shop"), agent.port)?;
    let collected = hook(&world, "podcov-collect --signal USR1", None).await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");

    let pid = agent.child.id().context("it has ended")?;
    let children = fs_err::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let program = Pid::from_raw(children.trim().parse()?).context("its program")?;
    kill_process(program, Signal::KILL)?;
    tokio::time::timeout(HUNG, async {
        while agent.starts("").await? < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    })
    .await??;
    let collected = hook(&world, "podcov-collect", None).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    let why = "pod default/shop container app: its program ended without writing its counters 1 of 1 times, the last \
               time by SIGKILL; what it had counted since it last wrote them is lost";
    assert!(collected.stderr.contains(why), "{collected:?}");
    let lives = world.manifest()?["containers"][0]["agent_lives"].clone();
    assert_eq!((&lives["ended"], &lives["last"][0]["signal"]), (&1.into(), &9.into()), "{lives}");
    Ok(())
}
