//! Storage that is full: a small file system in memory, in a mount namespace of its own.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::Ended;

use crate::servers::{Kind, Server};
use crate::support::{Agent, Bench};
use crate::{CODE, bench, contents, listed, program, starts, through};

/// Mounts a file system of a size onto a folder, and becomes a program.
const MOUNTED: &str = r#"mount -t tmpfs -o "size=$1" none "$2" && shift 2 && exec "$@""#;

/// The words that run a program with a file system of this size in a folder.
fn with_mount(size: &str, folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", MOUNTED, "sh", size, &folder]
        .map(str::to_owned)
        .to_vec()
}

/// Whether this machine lets the tests mount, and a word about it if not.
fn can_mount() -> Result<bool> {
    let folder = tempfile::tempdir()?;
    let words = with_mount("64k", folder.path());
    let tried = Command::new(&words[0]).args(&words[1..]).arg("true").output();
    let why = match tried {
        Ok(tried) if tried.status.success() => return Ok(true),
        Ok(tried) => String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
        Err(error) => error.to_string(),
    };
    // Of tests that pass, what is printed is not shown.
    writeln!(std::io::stderr(), "skipped: storage that is full: nothing can be mounted here: {why}")?;
    Ok(false)
}

/// A file that does not fit, as a program before this one may have left it.
fn too_large(bench: &Bench) -> Result<String> {
    let name = "coverprofile.1.1";
    let lines = "example.com/e2e/wrapped/main.go:24.13,27.2 2 1\n".repeat(40_000);
    fs::create_dir_all(bench.folder())?;
    fs::write(bench.folder().join(name), format!("mode: atomic\n{lines}"))?;
    Ok(name.to_owned())
}

/// Checks that just the one file is missing, and that this is said.
fn the_rest_is_there(
    bench: &Bench,
    ended: &Ended,
    objects: BTreeMap<String, Vec<u8>>,
    missing: &str,
    why: &str,
) -> Result<()> {
    assert_eq!(ended.code, CODE, "{}", ended.stderr);
    let line = format!("podcov-agent: error: not uploaded, stays in {}: {why}\n", bench.folder().display());
    assert!(ended.stderr.contains(&line), "{line}{}", ended.stderr);

    let mut objects = starts(objects)?.into_values().next().context("nothing is there")?;
    let manifest = objects.remove("manifest.json").with_context(|| ended.stderr.clone())?;
    let mut files = contents(&bench.folder())?;
    assert!(files.remove(missing).is_some(), "it stays");
    assert_eq!(objects.keys().collect::<Vec<_>>(), files.keys().collect::<Vec<_>>(), "{}", ended.stderr);
    ensure!(objects == files, "the bytes of a file differ");
    assert_eq!(files.len(), 2, "meta-data and counters");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest)?;
    assert_eq!(manifest["files"], listed(&files));
    assert_eq!((&manifest["exit_code"], &manifest["missing"]), (&CODE.into(), &serde_json::json!([why])));
    Ok(())
}

#[tokio::test]
async fn a_folder_without_room_for_all() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let bench = Bench::new()?.flag("--deadline=5");
    let missing = too_large(&bench)?;
    let (mounted, copy) = (bench.dir.path().join("mounted"), bench.dir.path().join("copy"));
    fs::create_dir(&mounted)?;
    let address = format!("file://{}", mounted.display());
    let bench = bench.flag(format!("--storage={address}"));
    // The file system goes with the last process that has it.
    let copying = ["sh", "-c", r#""$@"; code=$?; cp -r mounted copy; exit $code"#, "sh"];
    let words = with_mount("1m", &mounted);
    let words: Vec<_> = words.iter().map(String::as_str).chain(copying).collect();
    let command = through(&words, &bench.command(program()?, &["exit", "7"]));
    let ended = Agent::start(command)?.end().await?;

    let why = format!("{missing}: {address}: No space left on device (os error 28)");
    the_rest_is_there(&bench, &ended, all_below(&copy)?, &missing, &why)
}

#[tokio::test]
async fn a_server_without_room_for_all() -> Result<()> {
    if !can_mount()? {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    fs::create_dir(&data)?;
    let server = Server::start_with(Kind::Amazon, folder, &with_mount("4m", &data)).await?;
    let bucket = Arc::new(server).bucket().await?;
    let bench = bench(&bucket, &bucket.server.url)?.flag("--deadline=8");
    let missing = too_large(&bench)?;
    fs::write(bucket.server.root().join(data.strip_prefix("/")?).join("filler"), vec![0; 3 << 20])?;
    let mut agent = bench.start(program()?, &["exit", "7"])?;
    agent.hear("ready").await?;
    let ended = agent.end().await?;

    let why = format!("{missing}: {}: the server has no room (507 XMinioStorageFull)", bucket.address());
    the_rest_is_there(&bench, &ended, bucket.objects().await?, &missing, &why)
}

/// All files in a folder and its folders, by path.
fn all_below(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(inner)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(folder)?.display().to_string(), fs::read(&path)?);
            }
        }
    }
    Ok(files)
}
