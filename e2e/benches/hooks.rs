//! The three hooks beside the shell scripts of `e2e/baseline`, on the same pods of a real cluster; and podcov-test's
//! port-forward beside kubectl's.
//!
//! Each is run in turn with its rival, several times, and the median counts.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use podcov_e2e::{Open, Service, Space, run, top};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

const ROUNDS: usize = 5;
const BYTES: usize = 100_000_000;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("{:<46}{:>10}{:>10}{:>9}", "hook, pods; seconds", "podcov", "scripts", "ratio");
        let space = measure(&Service::WRITES).await?;
        // The same pods for both: what the scripts need is in the image too.
        println!("\n{:<46}{:>10}{:>10}{:>9}", "with podcov-agent in the pods", "podcov", "scripts", "ratio");
        let env = &[("ON_USR1", "write"), ("PODCOV_RUN", "bench")];
        drop(measure(&Service { agent: true, env, ..Service::WRITES }).await?);
        println!("\n{:<46}{:>10}{:>10}{:>9}", "without a shell in the image", "podcov", "scripts", "ratio");
        live_beside().await?;
        println!("\n{:<46}{:>10}{:>10}{:>9}", "port-forward", "podcov", "kubectl", "ratio");
        port_forward(&space).await
    })
}

/// Times all hooks at several numbers of a service's pods.
async fn measure(service: &Service) -> Result<Space> {
    let space = Space::new().await?;
    space.deploy(service).await?;
    for pods in [1, 5, 20] {
        scale(&space, pods).await?;
        hooks(&space, pods).await?;
    }
    // Twenty idle pods would be beside what is measured next.
    scale(&space, 1).await?;
    Ok(space)
}

async fn scale(space: &Space, pods: usize) -> Result<()> {
    let replicas = Patch::Merge(json!({"spec": {"replicas": pods}}));
    space.api::<Deployment>().patch("writes", &PatchParams::default(), &replicas).await?;
    space.rolled_out("writes").await?;
    // What the last size had more is not to be ended beside the measuring.
    while space.pods("writes").await?.len() != pods {
        for pod in space.pods("writes").await? {
            if pod.metadata.deletion_timestamp.is_some() {
                let name = pod.metadata.name.context("a pod without a name")?;
                space.until::<Pod>(&name, "its end", |pod: Option<&Pod>| pod.is_none()).await?;
            }
        }
    }
    Ok(())
}

/// Times all three hooks at the present number of pods.
async fn hooks(space: &Space, pods: usize) -> Result<()> {
    let label = format!("skaffold.dev/run-id={}", space.name);
    let curls = r#"for _ in 1 2 3 4 5 6 7; do curl --silent --fail --output /dev/null "http://$PODCOV_ADDR/" || exit; done"#;
    let mut times: [[Vec<Duration>; 2]; 3] = Default::default();
    let (mut at_once, mut live, mut one) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let ours = [
            space.command("podcov-test", ["service/writes", "70", "--", "sh", "-c", curls]),
            space.command("podcov-signal", [""; 0]),
            space.command("podcov-collect", [""; 0]),
        ];
        let folder = tempfile::tempdir()?;
        let folder = folder.path().display().to_string();
        let scripts = [
            script(space, "test.sh", &["service/writes", &space.name, &free_port()?.to_string(), "70"]),
            script(space, "signal.sh", &[&label]),
            script(space, "collect.sh", &[&label, &folder]),
        ];
        for (hook, (ours, script)) in ours.into_iter().zip(scripts).enumerate() {
            times[hook][0].push(timed(ours).await?);
            times[hook][1].push(timed(script).await?);
        }
        at_once.push(timed(space.command("podcov-collect", ["--signal", "USR1"])).await?);
        live.push(timed(space.command("podcov-collect", ["--live"])).await?);
        let tests = ["--signal", "USR1", "service/writes", "70", "--", "sh", "-c", curls];
        one.push(timed(space.command("podcov-run", tests)).await?);
    }
    let seconds = |times: Vec<Duration>| median(times).as_secs_f64();
    let [test, signal, collect] = times.map(|both| both.map(seconds));
    let scripts = test[1] + signal[1] + collect[1];
    print(&format!("podcov-test, {pods}"), test, true);
    print(&format!("podcov-signal, {pods}"), signal, true);
    print(&format!("podcov-collect, {pods}"), collect, true);
    print(&format!("all three, {pods}"), [test[0] + signal[0] + collect[0], scripts], true);
    // Two hooks instead of three, one exec a container instead of two; the scripts' times are those above.
    let both = seconds(at_once);
    print(&format!("podcov-collect --signal, for both, {pods}"), [both, signal[1] + collect[1]], true);
    print(&format!("podcov-test, podcov-collect --signal, {pods}"), [test[0] + both, scripts], true);
    print(&format!("podcov run --signal, for all three, {pods}"), [seconds(one), scripts], true);
    print(&format!("podcov-collect --live, for both, {pods}"), [seconds(live), signal[1] + collect[1]], true);
    Ok(())
}

/// Times the reading of memory by ephemeral containers: with their start, and when they are there. No script can do that.
async fn live_beside() -> Result<()> {
    let space = Space::new().await?;
    let env = &[("ON_USR1", "write")];
    let build = &["-cover", "-ldflags=-s -w"];
    let service = Service { replicas: 20, tools: &[], user: "65532", build, env, ..Service::WRITES };
    space.start(&service, space.without_coverdir(&service)?).await?;
    let image = space.busybox()?;
    let live = || space.command("podcov-collect", ["--live", "--live-image", &image]);
    let first = timed(live()).await?.as_secs_f64();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        times.push(timed(live()).await?);
    }
    println!("{:<46}{first:>10.3}", "podcov-collect --live, 20, the first time");
    println!("{:<46}{:>10.3}", "podcov-collect --live, 20, after that", median(times).as_secs_f64());
    Ok(())
}

/// A script of the baseline, in the environment of the hooks.
fn script(space: &Space, name: &str, args: &[&str]) -> Command {
    space.command(&top().join("e2e/baseline").join(name).display().to_string(), args)
}

async fn timed(command: Command) -> Result<Duration> {
    let begun = Instant::now();
    let ended = run(command).await?;
    let took = begun.elapsed();
    ensure!(ended.code == 0, "{ended:?}");
    Ok(took)
}

/// Both forwards stand side by side and are asked in turn.
async fn port_forward(space: &Space) -> Result<()> {
    let open = Open::new(space, "service/writes 70").await?;
    let ours = open.addresses[0].clone();
    let mut kubectl = space.kubectl();
    kubectl.args(["port-forward", "service/writes", ":70"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut kubectl = kubectl.spawn().context("kubectl")?;
    let mut said = BufReader::new(kubectl.stdout.take().context("no output")?).lines();
    let line = said.next_line().await?.context("kubectl said nothing")?;
    let port = line.split([':', ' ']).find(|word| word.parse::<u16>().is_ok()).context("no port")?;
    let rivals = [ours, format!("127.0.0.1:{port}")];

    let mut latencies: [Vec<Duration>; 2] = Default::default();
    let mut at_once: [Vec<Duration>; 2] = Default::default();
    let mut down: [Vec<Duration>; 2] = Default::default();
    let mut up: [Vec<Duration>; 2] = Default::default();
    for round in 0..ROUNDS {
        for (rival, address) in rivals.iter().enumerate() {
            for _ in 0..20 {
                latencies[rival].push(first_answer(address).await?);
            }
            let begun = Instant::now();
            try_join_all((0..200).map(|_| first_answer(address))).await?;
            at_once[rival].push(begun.elapsed());
            // Some seconds each: three of them will do.
            if round < 3 {
                down[rival].push(download(address).await?);
                up[rival].push(upload(address).await?);
            }
        }
    }
    let milliseconds = |times: [Vec<Duration>; 2]| times.map(|times| median(times).as_secs_f64() * 1000.0);
    let megabytes =
        |times: [Vec<Duration>; 2]| times.map(|times| BYTES as f64 / 1e6 / median(times).as_secs_f64());
    print("first answer on a new connection, ms", milliseconds(latencies), true);
    print("first answers of 200 at once, ms", milliseconds(at_once), true);
    print("100 MB down, MB/s", megabytes(down), false);
    print("100 MB up, MB/s", megabytes(up), false);
    open.close().await?;
    Ok(kubectl.kill().await?)
}

/// From the connection to the first byte of an answer.
async fn first_answer(address: &str) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"NAME\n").await?;
    stream.read_u8().await?;
    Ok(begun.elapsed())
}

async fn download(address: &str) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("SEND {BYTES}\n").as_bytes()).await?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = BYTES;
    while left > 0 {
        let count = stream.read(&mut buffer).await?;
        ensure!(count > 0, "it ended {left} bytes too early");
        left -= count;
    }
    Ok(begun.elapsed())
}

async fn upload(address: &str) -> Result<Duration> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("TAKE {BYTES}\n").as_bytes()).await?;
    stream.write_all(&vec![7; BYTES]).await?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await?;
    ensure!(&answer == b"taken", "it answered something else");
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// A line; the ratio says how many times as good the first is.
fn print(what: &str, [ours, theirs]: [f64; 2], less_is_better: bool) {
    let ratio = if less_is_better { theirs / ours } else { ours / theirs };
    println!("{what:<46}{ours:>10.3}{theirs:>10.3}{ratio:>8.1}x");
}

/// A port for a script to listen on.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
