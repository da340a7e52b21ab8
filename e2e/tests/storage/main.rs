//! podcov-agent's uploads to real servers of object storage, also where those fail, or the way to them does.
//! `make storage` builds the servers and runs this.

mod faults;
mod flushes;
mod proxy;
mod refusals;
mod servers;
mod space;
#[expect(dead_code, reason = "shared with the tests of the agent alone, which use all of it")]
#[path = "../agent/support.rs"]
mod support;
mod uploads;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{Ended, go_build};
use rustix::process::Signal;
use servers::{Bucket, Kind, Server};
use sha2::{Digest, Sha256};
use support::{Bench, names, until};
use tokio::process::Command;

/// What the program under the agent ends with after SIGTERM.
const CODE: i32 = 7;

/// The program of e2e/wrapped that writes its counters at any time. With packages of Go's it has a meta-data file that
/// takes more than one packet.
fn program() -> Result<PathBuf> {
    let flags = ["-cover", "-covermode=atomic", "-coverpkg=./...,flag,fmt,os,strconv"];
    go_build("e2e/wrapped", "wrapped-storage", &flags)
}

/// Runs a test on each of the three servers at once. Each has a bucket of its own.
async fn on_each(test: impl AsyncFn(&Bucket) -> Result<()>) -> Result<()> {
    let on = async |kind: Kind| {
        let bucket = Server::shared(kind).await?.bucket().await?;
        test(&bucket).await.with_context(|| format!("on {kind:?}"))
    };
    tokio::try_join!(on(Kind::Google), on(Kind::Amazon), on(Kind::Azure))?;
    Ok(())
}

/// An agent that uploads to a bucket, through `url` if that is another than the server's. It has time enough on any
/// machine; a flag can give it less.
fn bench(bucket: &Bucket, url: &str) -> Result<Bench> {
    let bench = Bench::new()?.flag(format!("--storage={}", bucket.address())).with("PODCOV_DEADLINE", "120");
    let whose = ["--run=r1", "--namespace=shop", "--pod=cart-0", "--container=app"];
    let bench = whose.into_iter().fold(bench, Bench::flag);
    Ok(bucket.server.environment(url).into_iter().fold(bench, |bench, (name, value)| bench.with(name, value)))
}

/// An agent's command as these words run it.
fn through(words: &[&str], agent: &Command) -> Command {
    let agent = agent.as_std();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(agent.get_program()).args(agent.get_args());
    command.env_clear().envs(agent.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.current_dir(agent.get_current_dir().unwrap_or(Path::new(".")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts the program, has it write counters twice besides, and stops it.
async fn run_and_stop(bench: &Bench) -> Result<Ended> {
    let mut agent = bench.start(program()?, &["terms", "1"])?;
    agent.hear("ready").await?;
    for files in 1..=2 {
        agent.signal(Signal::USR1)?;
        until("its counters are there", || bench.files("covcounters.").len() == files).await?;
    }
    agent.signal(Signal::TERM)?;
    agent.end().await
}

/// A folder's files.
fn contents(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let names = names(folder, "").into_iter();
    names.map(|name| Ok((name.clone(), fs::read(folder.join(&name))?))).collect()
}

/// The objects of each start: by their path without the file's name.
fn starts(objects: BTreeMap<String, Vec<u8>>) -> Result<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
    let mut starts = BTreeMap::<_, BTreeMap<_, _>>::new();
    for (path, bytes) in objects {
        let (start, name) = path.rsplit_once('/').context("an object at the top")?;
        starts.entry(start.to_owned()).or_default().insert(name.to_owned(), bytes);
    }
    Ok(starts)
}

/// The objects of the one start in a bucket, once it is certain that there is no other and what it is called.
async fn only_start(bucket: &Bucket) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut starts = starts(bucket.objects().await?)?.into_iter();
    let (start, objects) = starts.next().context("nothing is there")?;
    let nanos = start.strip_prefix("builds/one/r1/shop/cart-0/app/").with_context(|| start.clone())?;
    nanos.parse::<u64>()?;
    assert!(starts.next().is_none());
    Ok(objects)
}

/// Checks that the objects of a start are these files and a manifest that lists them.
fn arrived(
    objects: &BTreeMap<String, Vec<u8>>,
    files: &BTreeMap<String, Vec<u8>>,
    code: Option<i32>,
) -> Result<()> {
    let mut objects = objects.clone();
    let manifest = objects.remove("manifest.json").context("no manifest")?;
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&objects), names(files));
    ensure!(objects == *files, "the bytes of a file differ");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    assert_eq!(manifest["files"], listed(files));
    assert_eq!(manifest["exit_code"], serde_json::json!(code));
    assert_eq!(manifest.get("missing"), None);
    Ok(())
}

/// Files as a manifest lists them.
fn listed(files: &BTreeMap<String, Vec<u8>>) -> serde_json::Value {
    let listed = files.iter().map(|(name, bytes)| {
        let sha256 = format!("{:x}", Sha256::digest(bytes));
        serde_json::json!({ "name": name, "size": bytes.len(), "sha256": sha256 })
    });
    listed.collect()
}

/// Checks that a program was stopped, and all that it left is in the bucket and still in the folder.
async fn all_is_there(bucket: &Bucket, bench: &Bench, ended: &Ended) -> Result<()> {
    assert_eq!(ended.code, CODE, "{}", ended.stderr);
    let files = contents(&bench.folder())?;
    assert_eq!(files.len(), 4, "meta-data, and counters three times");
    let uploaded = format!("podcov-agent: uploaded 4 files to {}/r1/shop/cart-0/app/", bucket.address());
    assert!(ended.stderr.starts_with(&uploaded), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    arrived(&only_start(bucket).await?, &files, Some(CODE))
}

/// The manifest of a start of which nothing has arrived.
const NO_FILES: &str = "the manifest of 0 files";

/// Checks that the agent has named all that the program left, each in a line with the address and the cause; that it
/// has ended as the program did; and that all is still in the folder.
fn nothing_arrived(
    bucket: &Bucket,
    bench: &Bench,
    ended: &Ended,
    expected: impl Fn(&str) -> bool,
) -> Result<()> {
    assert_eq!(ended.code, CODE, "{}", ended.stderr);
    let prefix = format!("podcov-agent: error: not uploaded, stays in {}: ", bench.folder().display());
    let mut named = BTreeSet::new();
    for line in ended.stderr.lines() {
        let (name, cause) = line
            .strip_prefix(&prefix)
            .and_then(|line| line.split_once(&format!(": {}: ", bucket.address())))
            .with_context(|| line.to_owned())?;
        // A tenth of the time is left for the manifest, in which there may be no answer at all.
        let late = name == NO_FILES && cause.starts_with("no answer within ");
        assert!(late || expected(cause), "{line}");
        named.insert(name.to_owned());
    }
    let files = bench.files("");
    assert_eq!(files.len(), 4, "meta-data, and counters three times");
    let all = files.into_iter().chain([NO_FILES.to_owned()]);
    assert_eq!(named, all.collect(), "{}", ended.stderr);
    Ok(())
}
