//! Uploads while the program runs: who kills it, or the agent, takes nothing that was there before.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::go_percent;
use rustix::process::{Pid, Signal, kill_process};

use crate::servers::Bucket;
use crate::support::{Agent, Bench, HUNG, until};
use crate::{arrived, bench, on_each, only_start, program, through};

/// An agent that has flushed a few times, its program, and what the bucket had of that.
async fn flushed(bucket: &Bucket, bench: &Bench) -> Result<(Agent, Pid, BTreeMap<String, Vec<u8>>)> {
    // The first signal to flush may come before Go's runtime is up, and would be the program's end.
    let ignoring = ["env", "--ignore-signal=USR1"];
    let mut agent = Agent::start(through(&ignoring, &bench.command(program()?, &["terms", "1"])))?;
    agent.hear("ready").await?;
    let pid = agent.pid()?.as_raw_nonzero();
    let program = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let program = Pid::from_raw(program.trim().parse()?).context("no program")?;
    let flushes = async {
        loop {
            // A bucket gives no events. Nothing is there before the first flush.
            let objects = only_start(bucket).await.unwrap_or_default();
            let listed = objects.get("manifest.json").map_or(Ok(Vec::new()), |text| listed(text))?;
            if listed.iter().filter(|(name, _)| name.starts_with("covcounters.")).count() >= 3 {
                return anyhow::Ok(objects);
            }
        }
    };
    let objects = tokio::time::timeout(HUNG, flushes).await.context("it does not flush")??;
    Ok((agent, program, objects))
}

/// The names and sizes that a manifest lists.
fn listed(manifest: &[u8]) -> Result<Vec<(String, u64)>> {
    let manifest: serde_json::Value = serde_json::from_slice(manifest)?;
    let files = manifest["files"].as_array().context("no files")?.iter();
    files
        .map(|file| {
            Ok((
                file["name"].as_str().context("no name")?.to_owned(),
                file["size"].as_u64().context("no size")?,
            ))
        })
        .collect()
}

/// Checks that Go can read what there is.
fn can_be_read(files: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes)?;
    }
    let percent = go_percent([folder.path()])?;
    ensure!(percent.contains("coverage: "), "{percent}");
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_killed_loses_nothing_that_was_flushed() -> Result<()> {
    on_each(async |bucket| {
        let bench = bench(bucket, &bucket.server.url)?.flag("--flush-every=0.2");
        let (agent, program, before) = flushed(bucket, &bench).await?;
        let gone = || bench.files("covcounters.").iter().all(|name| !before.contains_key(name));
        until("what was uploaded goes from the folder", gone).await?;
        kill_process(program, Signal::KILL)?;
        let ended = agent.end().await?;
        assert_eq!(ended.code, 137, "{}", ended.stderr);

        let objects = only_start(bucket).await?;
        let mut files = objects.clone();
        files.remove("manifest.json");
        arrived(&objects, &files, Some(137))?;
        for (name, bytes) in before.iter().filter(|(name, _)| *name != "manifest.json") {
            assert!(files.get(name) == Some(bytes), "{name}");
        }
        can_be_read(&files)?;
        assert_eq!(bench.files("covcounters."), [""; 0], "{}", ended.stderr);
        assert_eq!(bench.files("covmeta.").len(), 1);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn an_agent_that_is_killed_leaves_a_manifest_of_what_is_there() -> Result<()> {
    on_each(async |bucket| {
        let bench = bench(bucket, &bucket.server.url)?.flag("--flush-every=0.2");
        let (agent, program, before) = flushed(bucket, &bench).await?;
        agent.signal(Signal::KILL)?;
        kill_process(program, Signal::KILL)?;
        assert_eq!(agent.end().await?.code, 137);

        let mut objects = only_start(bucket).await?;
        let manifest = objects.remove("manifest.json").context("no manifest")?;
        let listed = listed(&manifest)?;
        for (name, size) in &listed {
            assert_eq!(objects.get(name).map(|bytes| bytes.len() as u64), Some(*size), "{name}");
        }
        let all = |name: &String| name == "manifest.json" || objects.contains_key(name);
        assert!(before.keys().all(all), "what was there is there");
        let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
        assert_eq!(manifest["exit_code"], serde_json::Value::Null);
        can_be_read(&objects)
    })
    .await
}
