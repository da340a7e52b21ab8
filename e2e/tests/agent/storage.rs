//! Uploading to a plain folder, and reading that back. Servers of object storage: tests/storage.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::{Desk, Ended, as_go_says, go_percent, run};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{BASH, Bench, names, until, wrapped};

/// A bench whose agents upload to a folder of it.
fn bench() -> Result<(Bench, PathBuf)> {
    let bench = Bench::new()?;
    let storage = bench.dir.path().join("storage");
    let address = format!("file://{}", storage.display());
    let bench =
        bench.with("PODCOV_STORAGE", address).with("PODCOV_RUN", "run-1").with("PODCOV_NAMESPACE", "shop");
    Ok((bench.with("PODCOV_POD", "cart-0").with("PODCOV_CONTAINER", "app"), storage))
}

/// The one folder in a folder.
fn only(folder: &Path) -> Result<PathBuf> {
    let names = names(folder, "");
    anyhow::ensure!(names.len() == 1, "{names:?} in {}", folder.display());
    Ok(folder.join(&names[0]))
}

fn manifest(start: &Path) -> Result<Value> {
    Ok(serde_json::from_slice(&fs::read(start.join("manifest.json"))?)?)
}

async fn hook(bench: &Bench, name: &str, line: &str) -> Result<Ended> {
    let desk = Desk::new(Path::new("/nonexistent"))?;
    let mut command = desk.command(name, line.split_whitespace());
    command.current_dir(bench.dir.path());
    run(command).await
}

#[tokio::test]
async fn sigterm_uploads_everything_and_hooks_read_it() -> Result<()> {
    let (bench, storage) = bench()?;
    let mut agent = bench.start(wrapped("set")?, &["terms", "1"])?;
    agent.hear("ready").await?;
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 7);
    let start = only(&storage.join("run-1/shop/cart-0/app"))?;
    let uploaded = format!("podcov-agent: uploaded 2 files to file://{}\n", start.display());
    assert_eq!(ended.stderr, uploaded);
    let mut expected = bench.files("cov");
    for name in &expected {
        assert_eq!(fs::read(start.join(name))?, fs::read(bench.folder().join(name))?);
    }
    expected.push("manifest.json".to_owned());
    assert_eq!(names(&start, ""), expected);
    let manifest = manifest(&start)?;
    assert_eq!((&manifest["version"], &manifest["exit_code"]), (&json!(1), &json!(7)));
    assert_eq!(manifest["files"].as_array().map(Vec::len), Some(2));

    let collected = hook(&bench, "podcov-collect", &format!("--from file://{}", storage.display())).await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{}", collected.stdout);
    let go = go_percent([bench.folder()])?;
    as_go_says(&collected.stdout, &go)?;
    let report = bench.dir.path().join("reports/coverage");
    assert_eq!(names(&report.join("shop/cart-0/app"), ""), bench.files("cov"));
    let manifest: Value = serde_json::from_slice(&fs::read(report.join("manifest.json"))?)?;
    let container = &manifest["containers"][0];
    assert_eq!((&container["way"], &container["restarts"]), (&json!("storage"), &json!(0)));
    assert_eq!(manifest["complete"], true);

    let reported = hook(&bench, "podcov-report", &format!("--from file://{}", storage.display())).await?;
    assert_eq!((reported.code, reported.stderr.as_str()), (0, ""), "{}", reported.stdout);
    as_go_says(&reported.stdout, &go)?;
    // As a suite it is the same.
    let suite = hook(&bench, "podcov-report", &format!("--suite e2e=file://{}", storage.display())).await?;
    let total = |stdout: &str| stdout.lines().last().map(str::to_owned);
    assert_eq!((suite.code, suite.stderr.as_str(), total(&suite.stdout)), (0, "", total(&reported.stdout)));
    Ok(())
}

#[tokio::test]
async fn runs_pods_containers_and_restarts_are_kept_apart() -> Result<()> {
    let (mut bench, storage) = bench()?;
    let coverdir = |folder: &str| format!("--coverdir={folder}");
    for (folder, run, pod, container) in [
        ("one", "run-1", "cart-0", "app"),
        // The container once more, on the same volume: what is still there is uploaded again and counts once.
        ("one", "run-1", "cart-0", "app"),
        ("two", "run-1", "cart-0", "worker"),
        ("three", "run-1", "cart-1", "app"),
        ("four", "run-2", "cart-0", "app"),
    ] {
        for (name, value) in [("PODCOV_RUN", run), ("PODCOV_POD", pod), ("PODCOV_CONTAINER", container)] {
            bench.environment.push((name.to_owned(), value.to_owned()));
        }
        bench.flags.push(coverdir(folder));
        let ended = bench.run(wrapped("count")?, &["exit", "0"]).await?;
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        bench.flags.pop();
    }
    let all = [
        "run-1/shop/cart-0/app",
        "run-1/shop/cart-0/worker",
        "run-1/shop/cart-1/app",
        "run-2/shop/cart-0/app",
    ];
    let starts: Vec<_> = all.iter().map(|place| names(&storage.join(place), "").len()).collect();
    assert_eq!(starts, [2, 1, 1, 1]);

    let from = format!("--from file://{}", storage.display());
    for (select, containers, files) in [
        ("", 3, 8),
        ("--run-id run-1", 3, 7),
        ("--run-id run-2", 1, 2),
        ("--run-id run-1 --container work*", 1, 2),
        ("--pod cart-1 -n shop", 1, 2),
    ] {
        let collected = hook(&bench, "podcov-collect", &format!("{from} {select} --json")).await?;
        assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{select}");
        let manifest: Value = serde_json::from_str(&collected.stdout)?;
        let of = manifest["containers"].as_array().context("containers")?;
        let count: usize = of.iter().map(|c| c["files"].as_array().map_or(0, Vec::len)).sum();
        assert_eq!((of.len(), count), (containers, files), "{select}");
    }
    // Five programs ran, and each counts once, however often it was uploaded.
    let text = hook(&bench, "podcov-report", &format!("textfmt -o /dev/stdout {from}")).await?;
    let counts = text.stdout.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok());
    assert_eq!(counts.max(), Some(5), "{}", text.stdout);

    for (select, message) in [
        ("--run-id run-3", format!("no coverage found at file://{} of run run-3", storage.display())),
        ("-n other", format!("no coverage found at file://{} in namespaces other", storage.display())),
    ] {
        let collected = hook(&bench, "podcov-collect", &format!("{from} {select}")).await?;
        assert_eq!(collected.code, 4, "{select}");
        assert!(
            collected.stderr.starts_with(&format!("podcov-collect: error: {message}\n")),
            "{}",
            collected.stderr
        );
    }
    Ok(())
}

#[tokio::test]
async fn what_came_to_harm_in_storage_is_named_and_the_rest_is_kept() -> Result<()> {
    let (bench, storage) = bench()?;
    for _ in 0..2 {
        assert_eq!(bench.run(wrapped("count")?, &["exit", "0"]).await?.code, 0);
    }
    let container = storage.join("run-1/shop/cart-0/app");
    let starts = names(&container, "");
    let counters = names(&container.join(&starts[1]), "covcounters.");
    assert_eq!(counters.len(), 2);
    // Of the second start one file is cut, and a third has no manifest.
    let cut = container.join(&starts[1]).join(&counters[1]);
    let bytes = fs::read(&cut)?;
    fs::write(&cut, &bytes[..bytes.len() - 1])?;
    let third = container.join("1");
    fs::create_dir(&third)?;
    fs::write(third.join("notes.txt"), "none of ours")?;
    let collected = hook(&bench, "podcov-collect", &format!("--from file://{}", storage.display())).await?;
    assert_eq!(collected.code, 4, "{}", collected.stderr);
    let lines: Vec<_> = collected.stderr.lines().collect();
    assert_eq!(lines.len(), 4, "{}", collected.stderr);
    assert!(lines[0].starts_with("podcov-collect: 1 of 3 programs had not ended"), "{}", lines[0]);
    assert!(lines[1].ends_with("has no manifest: its upload was cut short"), "{}", lines[1]);
    assert!(lines[2].ends_with("notes.txt is no name of a coverage file"), "{}", lines[2]);
    assert!(
        lines[3].contains(&counters[1]) && lines[3].contains("is not as the manifest says"),
        "{}",
        lines[3]
    );
    assert!(
        collected.stdout.ends_with("2 files of 1 container in reports/coverage\n"),
        "{}",
        collected.stdout
    );
    Ok(())
}

/// Sparse files, which take no room here and as much as they say where they are read.
#[tokio::test]
async fn only_coverage_files_within_the_limits_are_fetched() -> Result<()> {
    let (bench, storage) = bench()?;
    assert_eq!(bench.run(wrapped("count")?, &["exit", "0"]).await?.code, 0);
    let start = only(&storage.join("run-1/shop/cart-0/app"))?;
    let hash = bench.files("covmeta.")[0].strip_prefix("covmeta.").context("a hash")?.to_owned();
    let sparse =
        |name: &str, mib: u64| -> Result<()> { Ok(fs::File::create(start.join(name))?.set_len(mib << 20)?) };
    // Were it read, it would be 8 TiB.
    sparse("backup.sql", 8 << 20)?;
    let large = format!("covcounters.{hash}.1.9");
    sparse(&large, 257)?;
    // Each is within the limit of a file, all together are not within that of a container.
    for number in 2..7 {
        sparse(&format!("covcounters.{hash}.{number}.9"), 250)?;
    }
    let refused = [
        "not fetched: backup.sql is no name of a coverage file".to_owned(),
        format!("not fetched: {large} has {} bytes, over 256 MiB", 257 << 20),
        "not fetched: more than 1024 MiB of one container".to_owned(),
    ];
    for program in ["podcov-collect", "podcov-report"] {
        let read = hook(&bench, program, &format!("--from file://{}", storage.display())).await?;
        assert_eq!(read.code, 4, "{program}: {}", read.stderr);
        for why in &refused {
            assert!(read.stderr.contains(why), "{program}: {why}: {}", read.stderr);
        }
        // What is fetched of them is no counter file.
        assert_eq!(read.stderr.matches(" is not whole: ").count(), 4, "{program}: {}", read.stderr);
    }
    let collected =
        hook(&bench, "podcov-collect", &format!("--from file://{} --max-size 1", storage.display())).await?;
    assert!(
        collected.stderr.contains("not fetched: more than 1 MiB of one container"),
        "{}",
        collected.stderr
    );
    assert!(!collected.stderr.contains(" is not whole: "), "{}", collected.stderr);
    assert!(collected.stdout.contains("2 files of 1 container"), "{}", collected.stdout);
    Ok(())
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_not_made_by_who_reads() -> Result<()> {
    let bench = Bench::new()?;
    let typo = bench.dir.path().join("typo");
    for program in ["podcov-collect", "podcov-report"] {
        let read = hook(&bench, program, &format!("--from file://{}", typo.display())).await?;
        assert_eq!(read.code, 2, "{program}: {}", read.stderr);
        let why = format!("{program}: error: file://{}: no such folder\n", typo.display());
        assert_eq!(read.stderr, why);
        assert!(!typo.exists());
    }
    Ok(())
}

/// What the file system refuses it refuses again: nothing is gained by trying until the deadline.
#[tokio::test]
async fn a_folder_that_refuses_is_not_tried_until_the_deadline() -> Result<()> {
    let (bench, storage) = bench()?;
    // Nobody can make a folder where a file is.
    fs::create_dir(&storage)?;
    fs::write(storage.join("run-1"), "a file")?;
    let bench = bench.flag("--deadline=100000");
    let ended = bench.run(wrapped("set")?, &["exit", "3"]).await?;
    assert_eq!(ended.code, 3);
    assert!(
        ended.stderr.contains("Not a directory") && ended.stderr.contains("not uploaded"),
        "{}",
        ended.stderr
    );
    Ok(())
}

#[tokio::test]
async fn a_program_that_leaves_nothing_is_told_where_it_is_read() -> Result<()> {
    let (bench, storage) = bench()?;
    assert_eq!(bench.run("true", &[]).await?.code, 0);
    for program in ["podcov-collect", "podcov-report"] {
        let read = hook(&bench, program, &format!("--from file://{}", storage.display())).await?;
        assert_eq!(read.code, 4, "{program}: {}", read.stderr);
        let told = "the program has ended and left no coverage";
        assert!(read.stderr.contains(told), "{program}: {}", read.stderr);
    }
    Ok(())
}

/// A profile that is there and is none.
#[tokio::test]
async fn a_text_profile_that_cannot_be_taken_is_in_the_manifest() -> Result<()> {
    let (bench, storage) = bench()?;
    let script = "printf 'mode: set\\nm/a.go:1.' >cover.out";
    let ended = bench.run(BASH, &["-c", script, "x", "-test.coverprofile=cover.out"]).await?;
    assert!(ended.stderr.contains("the text profile cannot be taken"), "{}", ended.stderr);
    let manifest = manifest(&only(&storage.join("run-1/shop/cart-0/app"))?)?;
    let missing = manifest["missing"].as_array().context("missing")?;
    let [one] = &missing[..] else { anyhow::bail!("{manifest}") };
    assert!(one.as_str().is_some_and(|one| one.starts_with("the text profile: ")), "{one}");
    Ok(())
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_costs_neither_files_nor_exit_code() -> Result<()> {
    let (bench, storage) = bench()?;
    fs::write(&storage, "a file where the folder should be")?;
    let ended = bench.run(wrapped("set")?, &["exit", "3"]).await?;
    assert_eq!(ended.code, 3);
    let files = bench.files("cov");
    assert_eq!((files.len(), ended.stderr.lines().count()), (2, 2), "{}", ended.stderr);
    for (line, name) in ended.stderr.lines().zip(files) {
        let start =
            format!("podcov-agent: error: not uploaded, stays in {}: {name}: ", bench.folder().display());
        assert!(line.starts_with(&start) && line.contains("File exists"), "{line}");
    }
    Ok(())
}

#[tokio::test]
async fn a_killed_program_loses_nothing_that_was_flushed() -> Result<()> {
    let (bench, storage) = bench()?;
    let bench = bench.flag("--flush-every=0.1");
    let mut agent = bench.start(wrapped("atomic")?, &["terms", "1"])?;
    let place = storage.join("run-1/shop/cart-0/app");
    let uploaded = || only(&place).map(|start| names(&start, "covcounters.").len()).unwrap_or_default();
    agent.hear("ready").await?;
    until("the counters have been uploaded", || uploaded() == 1).await?;
    let program = crate::processes::child_of(agent.pid()?)?;
    rustix::process::kill_process(program, Signal::KILL)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 137);
    let start = only(&place)?;
    let manifest = manifest(&start)?;
    let listed = manifest["files"].as_array().context("files")?.len();
    assert_eq!((manifest["exit_code"].as_u64(), listed), (Some(137), names(&start, "cov").len()));
    // What has been uploaded need not fill the container's disk.
    assert_eq!((bench.files("covcounters.").len(), bench.files("covmeta.").len()), (0, 1));
    Ok(())
}

#[tokio::test]
async fn addresses_that_are_none() -> Result<()> {
    let bench = Bench::new()?;
    for (flag, message) in [
        ("--storage=ftp://x/y", "ftp://x/y: ftp:// is not known; gs://, s3://, az:// and file:// are"),
        ("--storage=gs://", "gs://: no bucket is named"),
    ] {
        let bench = Bench { flags: vec![flag.to_owned()], ..Bench::new()? };
        let ended = bench.run(BASH, &["-c", "echo started"]).await?;
        assert_eq!((ended.code, ended.stdout.as_str()), (2, ""), "{flag}");
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
    let bench = bench.with("INTEGCOV_STORAGE", "bucket/folder");
    let ended = bench.run(BASH, &["-c", "echo started"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (2, ""));
    let expected =
        "podcov-agent: error: INTEGCOV_STORAGE is no address: bucket/folder: relative URL without a base\n";
    assert_eq!(ended.stderr, expected);
    Ok(())
}
