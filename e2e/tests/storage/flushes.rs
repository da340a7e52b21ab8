//! Uploads while the program runs: who kills it, or the agent, takes nothing that was there before.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::go_percent;
use rustix::process::{Pid, Signal, kill_process};

use crate::servers::Bucket;
use crate::support::{Agent, Bench, HUNG};
use crate::{arrived, bench, on_each, only_start, program};

/// An agent that has uploaded its program's counters, the program, and what the bucket had then.
async fn flushed(bucket: &Bucket, bench: &Bench) -> Result<(Agent, Pid, BTreeMap<String, Vec<u8>>)> {
    let mut agent = bench.start(program()?, &["terms", "1"])?;
    agent.hear("ready").await?;
    let pid = agent.pid()?.as_raw_nonzero();
    let program = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    let program = Pid::from_raw(program.trim().parse()?).context("no program")?;
    let flushes = async {
        loop {
            // A bucket gives no events. Nothing is there before the first upload.
            let objects = only_start(bucket).await.unwrap_or_default();
            if objects.contains_key("manifest.json")
                && objects.keys().any(|name| name.starts_with("covcounters."))
            {
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
        kill_process(program, Signal::KILL)?;
        let ended = agent.end().await?;
        assert_eq!(ended.code, 137, "{}", ended.stderr);

        let mut objects = only_start(bucket).await?;
        let mut files = objects.clone();
        let mut manifest: serde_json::Value =
            serde_json::from_slice(&files.remove("manifest.json").context("no manifest")?)?;
        let missing = manifest.as_object_mut().and_then(|manifest| manifest.remove("missing"));
        let missing = missing.as_ref().and_then(|missing| missing[0].as_str()).unwrap_or_default();
        assert!(missing.ends_with("s is lost"), "{missing}");
        objects.insert("manifest.json".to_owned(), serde_json::to_vec(&manifest)?);
        arrived(&objects, &files, Some(137))?;
        assert!(before.keys().all(|name| objects.contains_key(name)), "what was there is there");
        // What is uploaded and will not change goes from the folder.
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
