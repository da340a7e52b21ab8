//! Uploads where the server fails, or the way to it does.

use std::time::{Duration, Instant};

use anyhow::Result;
use podcov_e2e::ReservedPort;
use rustix::process::Signal;

use crate::proxy::{Fault, Proxy, Seen};
use crate::servers::{Bucket, Kind, Server};
use crate::support::until;
use crate::{CODE, all_is_there, bench, nothing_arrived, on_each, program, run_and_stop};

/// Checks on each server that all arrives nevertheless, and calls `met` with the requests that the proxies have seen.
async fn all_arrives(fault: Fault, met: impl Fn(Seen) -> bool) -> Result<()> {
    on_each(async |bucket| {
        let proxy = Proxy::start(&bucket.server.url, fault).await?;
        let bench = bench(bucket, &proxy.url)?;
        let ended = run_and_stop(&bench).await?;
        let seen = proxy.seen();
        assert!(met(seen), "{fault:?}: {seen:?}");
        all_is_there(bucket, &bench, &ended).await
    })
    .await
}

#[tokio::test]
async fn a_slow_way() -> Result<()> {
    // The meta-data alone, there and back.
    let enough = 60_000;
    all_arrives(Fault::Slow { bytes_per_second: 50_000 }, |seen| seen.slow > enough).await
}

#[tokio::test]
async fn a_server_that_is_not_ready_at_first() -> Result<()> {
    let fault = Fault::Answer { first: 6, status: "503 Service Unavailable" };
    all_arrives(fault, |seen| seen.faults == 6 && seen.requests > 6).await
}

#[tokio::test]
async fn connections_that_end_within_a_request() -> Result<()> {
    all_arrives(Fault::CutRequest { first: 5 }, |seen| seen.faults == 5).await
}

#[tokio::test]
async fn connections_that_end_within_an_answer() -> Result<()> {
    all_arrives(Fault::CutAnswer { first: 3, method: "PUT" }, |seen| seen.faults == 3).await?;
    all_arrives(Fault::CutAnswer { first: 3, method: "GET" }, |seen| seen.faults == 3).await
}

#[tokio::test]
async fn a_connection_that_hangs() -> Result<()> {
    all_arrives(Fault::Hang { first: 1 }, |seen| seen.faults == 1 && seen.connections > 1).await
}

#[tokio::test]
async fn credentials_that_may_only_write() -> Result<()> {
    // Four files and the manifest.
    all_arrives(Fault::WriteOnly, |seen| seen.faults >= 5).await
}

/// How long uploading may take where it never succeeds.
const DEADLINE: Duration = Duration::from_secs(5);

/// Checks that the agent tries until the deadline, and then says why in vain.
async fn in_vain(bucket: &Bucket, url: &str, expected: impl Fn(&str) -> bool) -> Result<()> {
    let bench = bench(bucket, url)?.flag(format!("--deadline={}", DEADLINE.as_secs()));
    let begun = Instant::now();
    let ended = run_and_stop(&bench).await?;
    assert!(begun.elapsed() >= DEADLINE, "{}", ended.stderr);
    nothing_arrived(bucket, &bench, &ended, expected)
}

#[tokio::test]
async fn a_server_that_always_fails() -> Result<()> {
    on_each(async |bucket| {
        let fault = Fault::Answer { first: usize::MAX, status: "500 Internal Server Error" };
        let proxy = Proxy::start(&bucket.server.url, fault).await?;
        let cause = "the server failed (500 Internal Server Error)";
        in_vain(bucket, &proxy.url, |said| said == cause).await?;
        assert!(proxy.seen().requests > 4, "{:?}", proxy.seen());
        assert!(bucket.objects().await?.is_empty());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_server_that_is_not_there() -> Result<()> {
    on_each(async |bucket| {
        let port = ReservedPort::new()?;
        let address = format!("127.0.0.1:{}", port.number);
        let cause = format!("{address} cannot be reached: Connection refused (os error 111)");
        in_vain(bucket, &format!("http://{address}"), |said| said == cause).await
    })
    .await
}

#[tokio::test]
async fn a_server_that_never_answers() -> Result<()> {
    on_each(async |bucket| {
        let proxy = Proxy::start(&bucket.server.url, Fault::Hang { first: usize::MAX }).await?;
        in_vain(bucket, &proxy.url, |said| said.starts_with("no answer within ")).await?;
        assert!(proxy.seen().faults >= 5, "{:?}", proxy.seen());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_deadline_counts_from_the_stop_signal() -> Result<()> {
    let bucket = Server::shared(Kind::Google).await?.bucket().await?;
    let fault = Fault::Answer { first: usize::MAX, status: "500 Internal Server Error" };
    let proxy = Proxy::start(&bucket.server.url, fault).await?;
    let deadline = Duration::from_secs(10);
    let bench = bench(&bucket, &proxy.url)?.flag(format!("--deadline={}", deadline.as_secs()));
    let mut agent = bench.start(program()?, &["terms", "2"])?;
    agent.hear("ready").await?;
    let stopped = Instant::now();
    agent.signal(Signal::TERM)?;
    // The program takes its time to end. Eight pauses between tries of its meta-data are more than four seconds.
    until("it has been tried a few times", || proxy.seen().requests >= 9).await?;
    let ended = Instant::now();
    agent.signal(Signal::TERM)?;
    let code = agent.end().await?.code;
    assert_eq!(code, CODE);
    assert!(stopped.elapsed() >= deadline);
    // Had it counted from the program's end, it would be more than that.
    assert!(ended.elapsed() < deadline, "{:?} of {:?}", ended.elapsed(), stopped.elapsed());
    Ok(())
}
