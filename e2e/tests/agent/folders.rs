//! What is in a folder and is not the agent's stays, whatever the agent does there.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::{Ended, copy_program, program, run, top};
use rustix::process::Signal;
use tokio::process::Command;

use crate::control::{ask, start};
use crate::support::{Bench, names, wrapped};

/// What a path leads to, links not followed: its mode, its inode and its bytes.
type Content = (u32, u64, Vec<u8>);

/// All that is below a folder.
fn contents(folder: &Path) -> Result<BTreeMap<PathBuf, Content>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Counters come and go while the agent works.
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        let bytes = match metadata.file_type() {
            kind if kind.is_file() => match fs::read(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                bytes => bytes?,
            },
            kind if kind.is_symlink() => fs::read_link(&path)?.into_os_string().into_encoded_bytes(),
            _ => Vec::new(),
        };
        if metadata.is_dir() {
            found.extend(contents(&path)?);
        }
        found.insert(path, (metadata.mode(), metadata.ino(), bytes));
    }
    Ok(found)
}

/// Puts somebody's things into a folder: coverage files of another program and of an earlier run, things with names like
/// theirs that are none, and all else that may lie there.
fn fill(folder: &Path, outside: &Path) -> Result<()> {
    let fixtures = top().join("crates/covdata/tests/fixtures");
    for fixture in ["atomic", "set", "count"] {
        for entry in fs::read_dir(fixtures.join(fixture))? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
    }
    let hash = "62ff98db792937fd37f18adced298d04";
    fs::write(outside.join("precious"), "precious")?;
    fs::create_dir(outside.join("folder"))?;
    fs::write(outside.join("folder/precious"), "precious")?;
    fs::write(folder.join("coverprofile.1.1795224885693041480"), "mode: set\n")?;
    fs::write(folder.join(format!("covcounters.{hash}.1.1795224885693041481")), "not one")?;
    fs::write(folder.join(format!("covcounters.{hash}.2.1795224885693041482")), "")?;
    fs::create_dir_all(folder.join(format!("covcounters.{hash}.3.1795224885693041483/in")))?;
    symlink(outside.join("precious"), folder.join(format!("covcounters.{hash}.4.1795224885693041484")))?;
    symlink(outside.join("folder"), folder.join(format!("covcounters.{hash}.5.1795224885693041485")))?;
    symlink("nowhere", folder.join(format!("covcounters.{hash}.6.1795224885693041486")))?;
    fs::hard_link(
        outside.join("precious"),
        folder.join(format!("covcounters.{hash}.7.1795224885693041487")),
    )?;
    fs::write(folder.join(format!("tmp.covcounters.{hash}.8.1795224885693041488")), "half")?;
    fs::write(folder.join("covcounters.read-only"), "x")?;
    fs::set_permissions(folder.join("covcounters.read-only"), PermissionsExt::from_mode(0o400))?;
    for (path, text) in [
        ("index.html", "<html>"),
        ("manifest.json", r#"{"version": 1}"#),
        ("notes.txt", "x"),
        (".gitkeep", ""),
        ("lost+found/a", "x"),
        (".git/HEAD", "ref: refs/heads/main"),
        ("default/default/pod/app/1795224300594803693/manifest.json", "{}"),
        ("podcov-agent", "x"),
    ] {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().context("a folder")?)?;
        fs::write(path, text)?;
    }
    Ok(())
}

/// A folder with somebody's things, and a program under an agent that does all there that removes files.
#[tokio::test]
async fn what_was_in_the_folder_before_the_agent_stays() -> Result<()> {
    let storage = tempfile::tempdir()?;
    // What it uploads to is somebody's folder too.
    fill(storage.path(), tempfile::tempdir()?.path())?;
    let stored_before = contents(storage.path())?;
    let outside = tempfile::tempdir()?;
    let address = format!("--storage=file://{}", storage.path().display());
    let mut bench = Bench::new()?.flag(address).flag("--flush-every=0.05").flag("--restart=always");
    bench.flags[0] = "--control=127.0.0.1:0".to_owned();
    fs::create_dir(bench.folder())?;
    fill(&bench.folder(), outside.path())?;
    let (before, outside_before) = (contents(&bench.folder())?, contents(outside.path())?);
    let all_there = || -> Result<()> {
        let now = contents(&bench.folder())?;
        for (path, what) in &before {
            anyhow::ensure!(now.get(path) == Some(what), "{} is gone, or another", path.display());
        }
        anyhow::ensure!(contents(outside.path())? == outside_before);
        let now = contents(storage.path())?;
        anyhow::ensure!(stored_before.iter().all(|(path, what)| now.get(path) == Some(what)));
        Ok(())
    };
    let earlier = bench.files("covcounters.").len();

    let mut agent = bench.start(wrapped("atomic")?, &["terms", "1"])?;
    let port = agent.port().await?;
    agent.hear("ready").await?;
    for _ in 0..3 {
        // Whether this one is uploaded and removed first, or by the reset.
        assert_eq!(ask(port, "POST", "/flush", "").await?.status, 200);
        assert_eq!(ask(port, "POST", "/reset", "").await?.status, 200);
        all_there()?;
        assert_eq!(ask(port, "POST", "/stop", "").await?.status, 200);
        agent.hear("ready").await?;
        all_there()?;
    }
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    all_there()?;
    assert_eq!(bench.files("covcounters.").len(), earlier, "its own are gone: {}", ended.stderr);
    Ok(())
}

/// Two containers with one folder on a volume: the counters of one are not the other's to remove.
#[tokio::test]
async fn counters_in_a_folder_that_another_agent_uses_stay() -> Result<()> {
    let mut bench = Bench::new()?;
    let (one, port) = start(&mut bench, wrapped("atomic")?, &["terms", "1"]).await?;
    let (other, others) = start(&mut bench, wrapped("atomic")?, &["terms", "1"]).await?;
    for port in [port, others] {
        assert_eq!(ask(port, "POST", "/flush", "").await?.status, 200);
    }
    for port in [port, others] {
        let refused = ask(port, "POST", "/reset", "").await?;
        let why = format!(
            "another podcov-agent uses {}, or may use it, so no counters are removed from it; give each container a \
             folder of its own",
            bench.folder().display()
        );
        assert_eq!((refused.status, refused.error()?), (409, why));
    }
    assert_eq!(bench.files("covcounters.").len(), 2);
    other.signal(Signal::TERM)?;
    assert_eq!(other.end().await?.code, 7);
    // It is alone now, and all three have come since it started.
    assert_eq!(ask(port, "POST", "/reset", "").await?.json()?["removed"], 3);
    one.signal(Signal::TERM)?;
    assert_eq!(one.end().await?.code, 7);
    Ok(())
}

async fn install(folder: &Path) -> Result<Ended> {
    let mut command = Command::new(program("podcov-agent"));
    command
        .arg("install")
        .arg(folder)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    run(command).await
}

#[tokio::test]
async fn only_a_podcov_agent_is_replaced_by_one() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let outside = dir.path().join("outside");
    copy_program(&program("podcov-agent"), &outside)?;
    type Put = fn(&Path, &Path) -> std::io::Result<()>;
    let things: [(&str, Put); 6] = [
        ("a text", |place, _| fs::write(place, "podcov-agent")),
        ("an empty file", |place, _| fs::write(place, "")),
        ("another program", |place, _| fs::copy("/proc/self/exe", place).map(drop)),
        ("a folder", |place, _| fs::create_dir_all(place.join("x"))),
        ("a link to one", |place, outside| symlink(outside, place)),
        ("a link to nothing", |place, _| symlink("nowhere", place)),
    ];
    for (what, put) in things {
        let folder = dir.path().join(what);
        fs::create_dir(&folder)?;
        put(&folder.join("podcov-agent"), &outside)?;
        let before = contents(&folder)?;
        let refused = install(&folder).await?;
        assert_eq!(refused.code, 2, "{what}: {refused:?}");
        let why = format!("{}/podcov-agent is there and is no podcov-agent", folder.display());
        assert!(refused.stderr.contains(&why), "{what}: {refused:?}");
        assert_eq!(contents(&folder)?, before, "{what}");
    }
    // Twice: the second time one is there.
    let folder = dir.path().join("new");
    for _ in 0..2 {
        let installed = install(&folder).await?;
        assert_eq!((installed.code, installed.stderr.as_str()), (0, ""));
        assert_eq!(names(&folder, ""), ["podcov-agent"]);
        assert!(fs::read(folder.join("podcov-agent"))? == fs::read(program("podcov-agent"))?);
    }
    Ok(())
}
