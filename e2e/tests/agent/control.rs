//! The control endpoint.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_control::{Nonce, Token};
use podcov_e2e::{as_go_says, go_percent, program};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::{Agent, BASH, Bench, HUNG, names, wrapped};

/// An answer of the endpoint.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// The value of a header, whose name is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn error(&self) -> Result<String> {
        Ok(self.json()?["error"].as_str().context("no error")?.to_owned())
    }
}

/// Sends bytes and reads to the end.
async fn raw(port: u16, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    // That it does not want to hear the end is an answer too.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    tokio::time::timeout(HUNG, stream.read_to_end(&mut answer)).await?.ok();
    Ok(answer)
}

pub(crate) async fn ask(port: u16, method: &str, path: &str, headers: &str) -> Result<Answer> {
    // HTTP/1.0: no chunks, and the connection's end is the answer's.
    let answer = raw(port, format!("{method} {path} HTTP/1.0\r\n{headers}\r\n").as_bytes()).await?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").context("no end of the headers")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(Answer { status, head, body: answer[end + 4..].to_vec() })
}

/// An agent with an endpoint, and its port.
pub(crate) async fn start(
    bench: &mut Bench,
    program: impl AsRef<Path>,
    args: &[&str],
) -> Result<(Agent, u16)> {
    bench.flags[0] = "--control=127.0.0.1:0".to_owned();
    let mut agent = bench.start(program, args)?;
    let port = agent.port().await?;
    agent.hear("ready").await?;
    Ok((agent, port))
}

#[tokio::test]
async fn health_says_what_runs() -> Result<()> {
    let mut bench = Bench::new()?.with("PODCOV_RUN", "run 1").with("PODCOV_CONTAINER", "app");
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let health = ask(port, "GET", "/health", "").await?;
    assert_eq!(health.status, 200);
    let health = health.json()?;
    let expected = [("state", "running"), ("run", "run_1"), ("container", "app")];
    for (field, value) in expected {
        assert_eq!(health[field], value);
    }
    assert_eq!((&health["starts"], &health["storage"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(health["pid"], crate::processes::child_of(agent.pid()?)?.as_raw_nonzero().get());
    assert_eq!(health["coverdir"], bench.folder().display().to_string());
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn flush_coverage_and_reset() -> Result<()> {
    let mut bench = Bench::new()?;
    let (agent, port) = start(&mut bench, wrapped("atomic")?, &["terms", "1"]).await?;
    let flushed = ask(port, "POST", "/flush", "").await?;
    assert_eq!(flushed.status, 200, "{}", String::from_utf8_lossy(&flushed.body));
    assert_eq!(flushed.json()?["files"], serde_json::json!(bench.files("covcounters.")));

    let coverage = ask(port, "GET", "/coverage", "").await?;
    assert_eq!(coverage.status, 200);
    let copy = bench.dir.path().join("copy");
    fs::create_dir(&copy)?;
    let mut archive = tar::Archive::new(&coverage.body[..]);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        fs::write(copy.join(entry.path()?), bytes)?;
    }
    assert!(coverage.body.ends_with(&[0; 1024]));
    assert_eq!(names(&copy, ""), names(&bench.folder(), ""));
    let summary = std::process::Command::new(program("podcov-report")).arg(&copy).output()?;
    as_go_says(&String::from_utf8(summary.stdout)?, &go_percent([bench.folder()])?)?;

    assert_eq!(ask(port, "POST", "/reset", "").await?.json()?["removed"], 1);
    assert_eq!((bench.files("covcounters.").len(), bench.files("covmeta.").len()), (0, 1));
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn a_flush_that_cannot_be_says_why() -> Result<()> {
    let mut bench = Bench::new()?.flag("--flush-timeout=0.3");
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let flushed = ask(port, "POST", "/flush", "").await?;
    assert_eq!(flushed.status, 409);
    let why = flushed.error()?;
    assert!(
        why.starts_with("no counter file appeared within 0.3s of SIGUSR1; the program is built with"),
        "{why}"
    );
    assert!(why.contains("-covermode=set"), "{why}");
    agent.signal(Signal::TERM)?;
    agent.end().await?;

    let (agent, port) = start(&mut bench, BASH, &["-c", "echo ready; read line"]).await?;
    let why = ask(port, "POST", "/flush", "").await?.error()?;
    assert_eq!(why, "the program does not handle SIGUSR1, which would end it; has it just started?");
    assert_eq!(agent.end().await?.code, 1, "it was left alone, and ends with its input");
    let trap = "trap 'exit 3' USR1; echo ready; while :; do sleep 0.01; done";
    let (agent, port) = start(&mut bench, BASH, &["-c", trap]).await?;
    let why = ask(port, "POST", "/flush", "").await?.error()?;
    assert_eq!(why, "the program ended after SIGUSR1 and wrote nothing; does it handle that signal?");
    assert_eq!(agent.end().await?.code, 3);
    Ok(())
}

/// Of a process that a signal ended, or a panic, what was counted since its last flush is lost.
#[tokio::test]
async fn the_lives_of_the_program_are_told() -> Result<()> {
    let mut bench = Bench::new()?.flag("--restart=always");
    let (mut agent, port) = start(&mut bench, wrapped("atomic")?, &["terms", "1"]).await?;
    assert_eq!(ask(port, "GET", "/health", "").await?.json()?["lives"]["ended"], 0);
    // It exits cleanly; then it is killed after it has written its counters once.
    assert_eq!(ask(port, "POST", "/stop", "").await?.json()?["counters_written"], true);
    agent.hear("ready").await?;
    assert_eq!(ask(port, "POST", "/flush", "").await?.status, 200);
    rustix::process::kill_process(crate::processes::child_of(agent.pid()?)?, Signal::KILL)?;
    agent.hear("ready").await?;
    // Go ends with 2 on SIGQUIT, as after a panic.
    assert_eq!(ask(port, "POST", "/flush", "").await?.status, 200);
    rustix::process::kill_process(crate::processes::child_of(agent.pid()?)?, Signal::QUIT)?;
    agent.hear("ready").await?;
    let lives = ask(port, "GET", "/health", "").await?.json()?["lives"].clone();
    assert_eq!((&lives["ended"], &lives["lost"]), (&3.into(), &2.into()), "{lives}");
    let last = lives["last"].as_array().context("last")?;
    let told: Vec<_> =
        last.iter().map(|life| (&life["exit_code"], &life["signal"], &life["counters_written"])).collect();
    let null = serde_json::Value::Null;
    let expected = [
        (&7.into(), &null, &true.into()),
        (&137.into(), &9.into(), &false.into()),
        (&2.into(), &null, &false.into()),
    ];
    assert_eq!(told, expected);
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn counters_of_a_program_that_a_shell_has_started_are_seen() -> Result<()> {
    let mut bench = Bench::new()?;
    let script = "trap 'kill -TERM $p' TERM; \"$0\" terms 1 & p=$!; wait; wait";
    let wrapped = wrapped("set")?;
    let program = wrapped.to_str().context("a path")?;
    let (agent, port) = start(&mut bench, Path::new("/bin/sh"), &["-c", script, program]).await?;
    assert_eq!(ask(port, "POST", "/stop", "").await?.json()?["counters_written"], true);
    agent.end().await?;
    Ok(())
}

#[tokio::test]
async fn a_program_that_ignores_a_stop_that_was_asked_for_is_killed_too() -> Result<()> {
    let mut bench = Bench::new()?.flag("--kill-after=0.2");
    let (agent, port) = start(&mut bench, wrapped("set")?, &["forever"]).await?;
    assert_eq!(
        ask(port, "POST", "/stop", "").await?.json()?,
        serde_json::json!({ "exit_code": 137, "counters_written": false })
    );
    assert_eq!(agent.end().await?.code, 137);
    Ok(())
}

#[tokio::test]
async fn stop_ends_the_program_and_then_it_is_started_again() -> Result<()> {
    let mut bench = Bench::new()?.flag("--restart=always");
    let (mut agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    for counters in 1..=3 {
        assert_eq!(
            ask(port, "POST", "/stop", "").await?.json()?,
            serde_json::json!({ "exit_code": 7, "counters_written": true })
        );
        assert_eq!(bench.files("covcounters.").len(), counters);
        agent.hear("ready").await?;
    }
    assert_eq!(ask(port, "GET", "/health", "").await?.json()?["starts"], 4);
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 7);
    // Asked for, so at once.
    assert!(!ended.stderr.contains("starting it again in"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn stop_gets_its_answer_though_the_agent_ends_with_the_program() -> Result<()> {
    let mut bench = Bench::new()?;
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    assert_eq!(
        ask(port, "POST", "/stop", "").await?.json()?,
        serde_json::json!({ "exit_code": 7, "counters_written": true })
    );
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn a_kill_switch_takes_a_bare_get() -> Result<()> {
    let bench = Bench::new()?.flag("--kill-switch=127.0.0.1:0");
    let mut agent = bench.start(wrapped("set")?, &["terms", "1"])?;
    let port = agent.port().await?;
    agent.hear("ready").await?;
    assert_eq!(ask(port, "POST", "/", "").await?.status, 405);
    assert_eq!(ask(port, "GET", "/whatever", "").await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn another_address_needs_a_token() -> Result<()> {
    let mut bench = Bench::new()?;
    bench.flags[0] = "--control=:0".to_owned();
    let ended = bench.run(wrapped("set")?, &["exit", "0"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    let expected = "podcov-agent: error: the control endpoint at 0.0.0.0:0 needs a token\npodcov-agent: hint: give \
                    --token-file or set PODCOV_TOKEN; without one only loopback addresses serve\n";
    assert_eq!(ended.stderr, expected);

    let file = bench.dir.path().join("token");
    fs::write(&file, "s3cret\n")?;
    bench.flags = vec!["--control=:0".to_owned(), format!("--token-file={}", file.display())];
    let mut agent = bench.start(wrapped("set")?, &["terms", "1"])?;
    let port = agent.port().await?;
    agent.hear("ready").await?;
    for wrong in ["", "Authorization: Bearer s3cre\r\n", "Authorization: Basic s3cret\r\n"] {
        for (method, path) in
            [("GET", "/health"), ("POST", "/stop"), ("GET", "/coverage"), ("GET", "/nothing")]
        {
            let answer = ask(port, method, path, wrong).await?;
            assert_eq!((answer.status, answer.error()?.as_str()), (401, "the token is missing or wrong"));
        }
    }
    assert_eq!(ask(port, "POST", "/stop", "Authorization: Bearer s3cret\r\n").await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

/// A request and its answer on a connection that stays open.
async fn ask_on(
    stream: &mut TcpStream,
    method: &str,
    path: &str,
    authorization: Option<&str>,
) -> Result<Answer> {
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    stream
        .write_all(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{authorization}\r\n").as_bytes())
        .await?;
    let mut answer = Vec::new();
    let answered = async {
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length =
                    head.to_lowercase().split_once("content-length: ").context("no length")?.1.to_owned();
                let length: usize = length.split("\r\n").next().unwrap_or_default().parse()?;
                if body.len() == length {
                    let status = head.split(' ').nth(1).context("no status")?.parse()?;
                    let (head, body) = (head.to_owned(), body.as_bytes().to_vec());
                    return anyhow::Ok(Answer { status, head, body });
                }
            }
            anyhow::ensure!(stream.read_buf(&mut answer).await? > 0, "it closed: {text}");
        }
    };
    tokio::time::timeout(HUNG, answered).await?
}

/// Who answers is told to everybody; the rest only to who signs the challenge that came with it, once.
#[tokio::test]
async fn a_proof_of_the_token_serves_one_request_on_one_connection() -> Result<()> {
    let mut bench = Bench::new()?
        .with("PODCOV_TOKEN", "s3cret")
        .with("PODCOV_NAMESPACE", "shop")
        .with("PODCOV_POD", "cart-1")
        .with("PODCOV_POD_UID", "u-1")
        .with("HOSTNAME", "an image's");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let token = Token::new("s3cret").context("a token")?;
    let connect = async || anyhow::Ok(TcpStream::connect(("127.0.0.1", port)).await?);
    let introduce = async |stream: &mut TcpStream| {
        let answer = ask_on(stream, "GET", &format!("/identity?nonce={}", Nonce::random()), None).await?;
        assert_eq!(answer.status, 200);
        anyhow::Ok(answer.json()?)
    };
    let challenge = |met: &serde_json::Value| -> Result<Nonce> {
        Ok(met["challenge"].as_str().context("no challenge")?.parse()?)
    };

    let mut stream = connect().await?;
    let met = introduce(&mut stream).await?;
    let known = [
        ("agent", "podcov-agent"),
        ("namespace", "shop"),
        ("pod", "cart-1"),
        ("pod_uid", "u-1"),
        ("hostname", &host),
        ("program", "wrapped-set"),
    ];
    for (field, value) in known {
        assert_eq!(met[field], value);
    }
    assert_eq!(met["container"], serde_json::Value::Null, "nobody has said it");
    let signed = token.sign(&challenge(&met)?, "GET", "/health");
    assert_eq!(ask_on(&mut stream, "GET", "/health", Some(&signed)).await?.status, 200);
    for (method, path) in [("GET", "/health"), ("POST", "/stop")] {
        assert_eq!(
            ask_on(&mut stream, method, path, Some(&signed)).await?.status,
            401,
            "it has served already"
        );
    }

    let met = introduce(&mut stream).await?;
    let signed = token.sign(&challenge(&met)?, "GET", "/health");
    let mut other = connect().await?;
    introduce(&mut other).await?;
    assert_eq!(
        ask_on(&mut other, "GET", "/health", Some(&signed)).await?.status,
        401,
        "another connection's"
    );
    assert_eq!(ask_on(&mut stream, "POST", "/stop", Some(&signed)).await?.status, 401, "another request's");
    assert_eq!(
        ask_on(&mut stream, "GET", "/health", Some(&signed)).await?.status,
        401,
        "a wrong one ends it too"
    );
    let met = introduce(&mut stream).await?;
    let wrong = Token::new("another").context("a token")?.sign(&challenge(&met)?, "GET", "/health");
    assert_eq!(ask_on(&mut stream, "GET", "/health", Some(&wrong)).await?.status, 401);

    for (method, path, status) in [
        ("POST", "/identity", 405),
        ("GET", "/identity", 400),
        ("GET", "/identity?nonce=0", 400),
        ("GET", "/identity/", 401),
        ("GET", "//identity", 401),
    ] {
        assert_eq!(ask_on(&mut stream, method, path, None).await?.status, status, "{method} {path}");
    }
    let met = introduce(&mut stream).await?;
    let signed = token.sign(&challenge(&met)?, "POST", "/stop");
    assert_eq!(ask_on(&mut stream, "POST", "/stop", Some(&signed)).await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn what_it_does_not_know_it_refuses_and_goes_on() -> Result<()> {
    let mut bench = Bench::new()?;
    let outside = bench.dir.path().join("covcounters.outside");
    fs::write(&outside, "")?;
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let before = names(bench.dir.path(), "");
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/coverage/../../etc/passwd", 404),
        ("GET", "/coverage/covmeta", 404),
        ("GET", "//coverage", 404),
        ("POST", "/reset/..", 404),
        ("PUT", "/coverage", 405),
        ("DELETE", "/coverage", 405),
        ("GET", "/stop", 405),
        ("GET", "/reset", 405),
        ("HEAD", "/flush", 405),
    ] {
        assert_eq!(ask(port, method, path, "").await?.status, status, "{method} {path}");
    }
    let body = |length: usize| {
        let mut request =
            format!("POST /reset HTTP/1.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
                .into_bytes();
        request.resize(request.len() + length, b'x');
        request
    };
    assert!(raw(port, &body(4096)).await?.starts_with(b"HTTP/1.1 200"));
    assert!(raw(port, &body(1 << 20)).await?.starts_with(b"HTTP/1.1 413"));
    let endless = [&b"GET /health HTTP/1.1\r\nX: "[..], &vec![b'x'; 1 << 20]].concat();
    assert!(raw(port, &endless).await?.starts_with(b"HTTP/1.1 431"));
    for garbage in [
        &b"\0\0\0\0"[..],
        b"GET",
        b"GET /health HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"\r\n\r\n\r\n",
    ] {
        let answer = raw_and_close(port, garbage).await?;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{garbage:?}");
    }
    assert_eq!(names(bench.dir.path(), ""), before);
    assert!(outside.exists());
    assert_eq!(ask(port, "POST", "/stop", "").await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

/// Sends bytes and the end of them.
async fn raw_and_close(port: u16, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    tokio::time::timeout(HUNG, stream.read_to_end(&mut answer)).await?.ok();
    Ok(answer)
}

#[tokio::test]
async fn callers_that_say_nothing_do_not_keep_others_out() -> Result<()> {
    let mut bench = Bench::new()?;
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(TcpStream::connect(("127.0.0.1", port)).await?);
    }
    // Once the time of the first ones is over.
    assert_eq!(ask(port, "GET", "/health", "").await?.status, 200);
    drop(silent);
    assert_eq!(ask(port, "POST", "/stop", "").await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn callers_that_do_not_read_do_not_keep_others_out() -> Result<()> {
    let mut bench = Bench::new()?;
    fs::create_dir(bench.folder())?;
    // More than the kernel keeps of what nobody reads.
    fs::write(bench.folder().join(format!("covmeta.{}", "0".repeat(32))), vec![0; 32 << 20])?;
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let mut deaf = Vec::new();
    for _ in 0..32 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(b"GET /coverage HTTP/1.1\r\n\r\n").await?;
        stream.readable().await?;
        deaf.push(stream);
    }
    assert_eq!(ask(port, "GET", "/health", "").await?.status, 200);
    drop(deaf);
    assert_eq!(ask(port, "POST", "/stop", "").await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

/// As of a probe or another helper: it runs the same program in the same folder, and ends.
#[tokio::test]
async fn another_processs_counters_are_no_evidence_of_the_programs() -> Result<()> {
    let mut bench = Bench::new()?.flag("--flush-timeout=2");
    let (agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    let flushed = ask(port, "POST", "/flush", "");
    let helpers = async {
        let mut helper = tokio::process::Command::new(wrapped("set")?);
        helper.args(["exit", "0"]).env("GOCOVERDIR", bench.folder()).stdout(std::process::Stdio::null());
        // Until the flush has its answer: one of them ends while it waits.
        while helper.status().await?.success() {}
        anyhow::Ok(())
    };
    let flushed = tokio::select! {
        flushed = flushed => flushed?,
        failed = helpers => return failed.and_then(|()| anyhow::bail!("a helper has failed")),
    };
    assert_eq!(flushed.status, 409);
    assert!(
        flushed.error()?.contains("only -covermode=atomic can write while it runs"),
        "{}",
        flushed.error()?
    );
    assert!(!bench.files("covcounters.").is_empty());
    assert_eq!(ask(port, "POST", "/stop", "").await?.status, 200);
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

/// However soon the program is started again.
#[tokio::test]
async fn all_who_ask_for_the_programs_end_are_told_how_it_ended() -> Result<()> {
    let mut bench = Bench::new()?.flag("--restart=always");
    let (mut agent, port) = start(&mut bench, wrapped("set")?, &["terms", "1"]).await?;
    for _ in 0..5 {
        let answers = (0..4).map(|_| ask(port, "POST", "/stop", ""));
        for answer in futures_util::future::try_join_all(answers).await? {
            // One that comes after the end and before the next start is told that nothing runs.
            if answer.status != 409 {
                assert!(answer.json()?["exit_code"].is_u64(), "{:?}", answer.json()?);
            }
        }
        agent.hear("ready").await?;
    }
    agent.signal(Signal::TERM)?;
    agent.end().await?;
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_said() -> Result<()> {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = taken.local_addr()?;
    let mut bench = Bench::new()?;
    bench.flags[0] = format!("--control={address}");
    let ended = bench.run(wrapped("set")?, &["exit", "0"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    assert!(ended.stderr.contains(&format!("cannot listen on {address}")), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("hint: each container of a pod needs an address of its own"),
        "{}",
        ended.stderr
    );
    Ok(())
}
