//! Coverage read from the memory of running programs: what a snapshot of a large program takes, and takes from it; and what
//! a service gains when it need not be built in mode atomic for its counters to be read.
//!
//! The large program is a Kubernetes API server, `target/e2e/covered/kube`, with an etcd of its own, which answers
//! requests all the time. Through a shell, the memory of a scheduler of the same binary in a pod is read.

mod shared;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::http::Request;
use fs_err as fs;
use futures_util::future::try_join_all;
use kube::{Client, Config};
use podcov_e2e::{ReservedPort, Space, go_build, program, run, top};
use rustix::process::Signal;
use serde_json::json;
use shared::{CONNECTIONS, LOAD, first_line, load, millis, processor_time, quartiles, signal, spawn};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

const MODES: [&str; 4] = ["none", "set", "count", "atomic"];
const MODE_ROUNDS: usize = 24;

const SNAPSHOTS: usize = 20;
const CLIENTS: usize = 8;
const ROUNDS: usize = 10;
const ROUND: Duration = Duration::from_secs(4);

fn main() -> Result<()> {
    modes()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = ApiServer::start().await?;
        server.alone().await?;
        server.under_load().await?;
        drop(server);
        through_a_shell().await
    })
}

/// One service without counters and with those of each mode: a ratio is the median of the rounds' ratios to none.
fn modes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut programs = Vec::new();
    for mode in MODES {
        let covermode = format!("-covermode={mode}");
        // Go's own packages too, for the program's own code is small.
        let flags: &[&str] = if mode == "none" { &[] } else { &["-cover", "-coverpkg=all", &covermode] };
        programs.push(go_build("e2e/measured", &format!("measured-{mode}"), flags)?);
    }
    let mut rates: [Vec<f64>; 4] = Default::default();
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..MODE_ROUNDS {
        for place in 0..MODES.len() {
            let mode = (round + place) % MODES.len();
            let mut child = spawn(Command::new(&programs[mode]).arg("serve"), dir.path())?;
            let answered = load(&first_line(&mut child)?)?;
            signal(&child, Signal::TERM)?;
            ensure!(child.wait()?.success(), "the server has failed");
            rates[mode].push(answered.in_time as f64 / LOAD.as_secs_f64());

            let before = processor_time()?;
            let mut child = spawn(Command::new(&programs[mode]).arg("compute"), dir.path())?;
            ensure!(child.wait()?.success(), "the program has failed");
            times[mode].push(millis(processor_time()? - before));
        }
    }
    println!(
        "{:<46}{:>12}{:>12}{:>12}{:>12}",
        "e2e/measured, -cover in mode", "none", "set", "count", "atomic"
    );
    print_modes(&format!("requests a second, {CONNECTIONS} connections"), &rates);
    print_modes("ms of processor time of a computation", &times);
    Ok(())
}

fn print_modes(what: &str, figures: &[Vec<f64>; 4]) {
    print!("{what:<46}");
    figures.iter().for_each(|figures| print!("{:>12.1}", quartiles(figures.iter().copied())[1]));
    print!("\n{:<46}", "    times none");
    for mode in figures {
        let ratios = mode.iter().zip(&figures[0]).map(|(with, without)| with / without);
        print!("{:>12.3}", quartiles(ratios)[1]);
    }
    println!();
}

/// podcov-agent as it goes into images.
fn agent() -> PathBuf {
    top().join("target/agent/bin/podcov-agent")
}

/// A Kubernetes API server that was built with -cover, under podcov-agent.
struct ApiServer {
    client: Client,
    agent: Child,
    etcd: Child,
    /// The agent's port for requests.
    control: u16,
    /// The API server's process.
    pid: u32,
    dir: TempDir,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        // The agent passes it on to the API server.
        for child in [&mut self.agent, &mut self.etcd] {
            let _ = signal(child, Signal::TERM);
            let _ = child.wait();
        }
    }
}

impl ApiServer {
    async fn start() -> Result<Self> {
        let [api, control, clients, peers] =
            [ReservedPort::new()?, ReservedPort::new()?, ReservedPort::new()?, ReservedPort::new()?];
        let dir = tempfile::tempdir()?;
        let path = |name: &str| dir.path().join(name).display().to_string();
        let log = |name: &str| fs::File::create(path(name)).map(fs_err::File::into_parts);
        let url = |port: &ReservedPort| format!("http://127.0.0.1:{}", port.number);
        let etcd = Command::new(top().join("target/e2e/debian/usr/bin/etcd"))
            .arg(format!("--data-dir={}", path("etcd")))
            .args(["--listen-client-urls", &url(&clients), "--advertise-client-urls", &url(&clients)])
            .args(["--listen-peer-urls", &url(&peers), "--initial-advertise-peer-urls", &url(&peers)])
            .args(["--initial-cluster", &format!("default={}", url(&peers)), "--unsafe-no-fsync"])
            .stderr(log("etcd.log")?.0)
            .spawn()
            .context("etcd: `make e2e-tools` unpacks it")?;

        fs::write(path("tokens"), "token,admin,1,system:masters\n")?;
        let key = rcgen::KeyPair::generate()?;
        fs::write(path("key"), key.serialize_pem())?;
        fs::write(path("key.pub"), key.public_key_pem())?;
        fs::create_dir(path("coverage"))?;
        let agent = Command::new(agent())
            .args(["run", &format!("--control=127.0.0.1:{}", control.number), "--"])
            .args([kube()?.as_os_str(), "kube-apiserver".as_ref()])
            .args(["--bind-address=127.0.0.1", &format!("--secure-port={}", api.number)])
            .args([
                format!("--etcd-servers={}", url(&clients)),
                format!("--cert-dir={}", path("certificates")),
            ])
            .arg(format!("--token-auth-file={}", path("tokens")))
            .arg(format!("--service-account-key-file={}", path("key.pub")))
            .arg(format!("--service-account-signing-key-file={}", path("key")))
            .args([
                "--service-account-issuer=https://kubernetes.default.svc",
                "--endpoint-reconciler-type=none",
            ])
            .args(["--service-cluster-ip-range=198.18.0.0/24", "--authorization-mode=RBAC"])
            .env("GOCOVERDIR", path("coverage"))
            .stderr(log("apiserver.log")?.0)
            .spawn()
            .context("podcov-agent: `make agent` builds it")?;

        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = Config::new(format!("https://127.0.0.1:{}", api.number).parse()?);
        // It has made its certificate itself.
        config.accept_invalid_certs = true;
        config.auth_info.token = Some("token".to_owned().into());
        let client = Client::try_from(config)?;
        let mut server = Self { client, agent, etcd, control: control.number, pid: 0, dir };
        let ready = async {
            let mut again = interval(Duration::from_millis(100));
            loop {
                again.tick().await;
                if let Some(status) = server.agent.try_wait()? {
                    anyhow::bail!("it ended: {status}");
                }
                if server.ask("/readyz").await.is_ok() {
                    return Ok(());
                }
            }
        };
        if let Err(error) = timeout(Duration::from_secs(120), ready).await.context("it is not ready")? {
            let log = fs::read_to_string(server.dir.path().join("apiserver.log"))?;
            return Err(error.context(log));
        }
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", server.agent.id()))?;
        server.pid = children.trim().parse()?;
        Ok(server)
    }

    async fn ask(&self, path: &str) -> Result<()> {
        let request = Request::get(path).body(Vec::new())?;
        self.client.request_text(request).await?;
        Ok(())
    }

    /// Asks podcov-agent for a snapshot. Gives the number of bytes.
    async fn snapshot(&self) -> Result<usize> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.control)).await?;
        stream.write_all(b"GET /snapshot HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..200]));
        Ok(answer.len())
    }

    /// Snapshots while nobody asks the server.
    async fn alone(&self) -> Result<()> {
        let begun = Instant::now();
        let bytes = self.snapshot().await?;
        println!("\n{:<46}{:>12}{:>12}", "a large program, ms", "first", "after that");
        let first = millis(begun.elapsed());
        let mut times = Vec::new();
        for _ in 0..SNAPSHOTS {
            let begun = Instant::now();
            self.snapshot().await?;
            times.push(millis(begun.elapsed()));
        }
        let after = quartiles(times.into_iter())[1];
        println!("{:<46}{first:>12.1}{after:>12.1}", "podcov-agent, GET /snapshot");
        println!("{:<46}{:>12.2}", "    MB of its archive", bytes as f64 / 1e6);
        let pid = self.pid.to_string();
        self.command("podcov-agent snapshot", Command::new(agent()).args(["snapshot", "--pid", &pid]))?;
        let mut collect = Command::new(program("podcov-collect"));
        self.command("podcov-collect --local", collect.args(["--local", &pid]).current_dir(self.dir.path()))
    }

    /// Times a program that takes a snapshot.
    fn command(&self, what: &str, command: &mut Command) -> Result<()> {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut times = Vec::new();
        for _ in 0..=SNAPSHOTS {
            let begun = Instant::now();
            ensure!(command.status()?.success(), "{command:?}");
            times.push(millis(begun.elapsed()));
        }
        let (first, rest) = times.split_first().context("some")?;
        println!("{what:<46}{first:>12.1}{:>12.1}", quartiles(rest.iter().copied())[1]);
        Ok(())
    }

    /// What requests take without snapshots, with one a second, and with one after the other, in turn.
    async fn under_load(&self) -> Result<()> {
        let whens = [
            ("none", None),
            ("one a second", Some(Duration::from_secs(1))),
            ("one after the other", Some(Duration::ZERO)),
        ];
        let mut rounds: [Vec<Round>; 3] = Default::default();
        self.round(None).await?;
        for round in 0..ROUNDS {
            for place in 0..whens.len() {
                let when = (round + place) % whens.len();
                rounds[when].push(self.round(whens[when].1).await?);
            }
        }
        println!(
            "\n{:<34}{:>12}{:>12}{:>12}{:>12}{:>12}",
            "snapshots while 8 clients ask",
            "requests/s",
            "times none",
            "ms, median",
            "ms, 99 %",
            "a snapshot"
        );
        for ((name, _), of) in whens.iter().zip(&rounds) {
            let middle = |figure: fn(&Round) -> f64| quartiles(of.iter().map(figure))[1];
            let ratios = of.iter().zip(&rounds[0]).map(|(with, without)| with.rate / without.rate);
            println!(
                "{name:<34}{:>12.0}{:>12.3}{:>12.2}{:>12.2}{:>12.1}",
                middle(|round| round.rate),
                quartiles(ratios)[1],
                middle(|round| round.median),
                middle(|round| round.slow),
                middle(|round| round.snapshot),
            );
        }
        Ok(())
    }

    async fn round(&self, every: Option<Duration>) -> Result<Round> {
        let end = Instant::now() + ROUND;
        let clients = try_join_all((0..CLIENTS).map(|_| async {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                self.ask("/api/v1/namespaces").await?;
                latencies.push(millis(begun.elapsed()));
            }
            anyhow::Ok(latencies)
        }));
        let snapshots = async {
            let mut times = Vec::new();
            let Some(every) = every else { return anyhow::Ok(times) };
            let mut next = Instant::now();
            while next < end {
                let begun = Instant::now();
                self.snapshot().await?;
                times.push(millis(begun.elapsed()));
                next = Instant::now().max(next + every);
                tokio::time::sleep_until(next.into()).await;
            }
            Ok(times)
        };
        let (latencies, snapshots) = tokio::try_join!(clients, snapshots)?;
        let mut latencies = latencies.concat();
        latencies.sort_by(f64::total_cmp);
        let at = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize];
        Ok(Round {
            rate: latencies.len() as f64 / ROUND.as_secs_f64(),
            median: at(0.5),
            slow: at(0.99),
            snapshot: if snapshots.is_empty() { 0.0 } else { quartiles(snapshots.into_iter())[1] },
        })
    }
}

/// The load of some seconds: requests a second, and milliseconds.
struct Round {
    rate: f64,
    median: f64,
    slow: f64,
    snapshot: f64,
}

/// The same binary in a pod, as a scheduler, read by the shell of its container.
async fn through_a_shell() -> Result<()> {
    let space = Space::new().await?;
    let image = space.with_shell("kube", &kube()?)?;
    let pod = json!({
        "metadata": {"name": "large", "labels": {"skaffold.dev/run-id": space.name}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "large", "image": image, "args": [
                "kube-scheduler", "--leader-elect=false", "--authentication-skip-lookup"
            ], "readinessProbe": {"periodSeconds": 1, "httpGet": {"scheme": "HTTPS", "port": 10259, "path": "/livez"}}}]
        }
    });
    space.create::<k8s_openapi::api::core::v1::Pod>(pod).await?;
    space
        .until("large", "a scheduler that runs", |pod: Option<&_>| pod.is_some_and(podcov_e2e::is_ready))
        .await?;
    println!("\n{:<46}{:>12}", "through the shell of its container", "seconds");
    for which in ["first", "second", "third"] {
        let begun = Instant::now();
        let ended = run(space.command("podcov-collect", ["--live", "-v"])).await?;
        let took = begun.elapsed().as_secs_f64();
        ensure!(ended.code == 0, "{ended:?}");
        println!("{:<46}{took:>12.2}", format!("podcov-collect --live, the {which}"));
        ended.stderr.lines().filter(|line| line.contains("trips")).for_each(|line| println!("    {line}"));
    }
    Ok(())
}

/// The large program.
fn kube() -> Result<PathBuf> {
    let kube: &Path = &top().join("target/e2e/covered/kube");
    kube.canonicalize().context("target/e2e/covered/kube: `make bench-snapshot` builds it")
}
