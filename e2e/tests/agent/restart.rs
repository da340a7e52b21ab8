//! Starting the program again, and the text profiles of test binaries.

use std::sync::{Mutex, PoisonError};

use anyhow::Result;
use fs_err as fs;
use podcov_e2e::{program, top};
use rustix::process::Signal;

use crate::support::{BASH, Bench, until, wrapped};

/// The test binary of e2e/wrapped: it writes a text profile.
pub(crate) fn test_binary() -> Result<std::path::PathBuf> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let out = program("tmp").join("podcov-e2e").join("wrapped.test");
    let mut go = std::process::Command::new("go");
    go.args(["test", "-c", "-cover", "-covermode=count", "-coverpkg=./...", "-o"]).arg(&out).arg(".");
    let built = go.current_dir(top().join("e2e/wrapped")).env("CGO_ENABLED", "0").output()?;
    anyhow::ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(out)
}

#[tokio::test]
async fn never_is_the_default() -> Result<()> {
    let bench = Bench::new()?;
    let ended = bench.run(wrapped("set")?, &["exit", "1"]).await?;
    assert_eq!((ended.code, ended.stdout.matches("ready").count()), (1, 1));
    Ok(())
}

#[tokio::test]
async fn on_failure_ends_with_success() -> Result<()> {
    let bench = Bench::new()?.flag("--restart=on-failure");
    let ended = bench.run(BASH, &["-c", "echo start; echo x >> tries; [ $(wc -l < tries) -gt 2 ]"]).await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "start\nstart\nstart\n"));
    let pauses: Vec<_> = ended.stderr.lines().filter(|line| line.contains("starting it again")).collect();
    let line =
        |pause| format!("podcov-agent: the program ended with exit code 1; starting it again in {pause}s");
    assert_eq!(pauses, [line("0.1"), line("0.2")]);
    Ok(())
}

#[tokio::test]
async fn a_stop_signal_ends_it_for_good() -> Result<()> {
    let bench = Bench::new()?.flag("--restart=always");
    let mut agent = bench.start(wrapped("set")?, &["terms", "1"])?;
    agent.hear("ready").await?;
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stdout.matches("ready").count()), (7, 1));
    Ok(())
}

#[tokio::test]
async fn a_stop_signal_ends_it_between_two_starts() -> Result<()> {
    let bench = Bench::new()?.flag("--restart=always");
    // The third pause is long enough to be met; whenever the signal comes, it must be the end.
    let mut agent = bench.start(BASH, &["-c", "echo start; exit 9"])?;
    for _ in 0..3 {
        agent.hear("start").await?;
    }
    agent.signal(Signal::TERM)?;
    let code = agent.end().await?.code;
    assert!([9, 143].contains(&code), "{code}");
    Ok(())
}

#[tokio::test]
async fn each_profile_of_a_test_binary_gets_a_name_of_its_own() -> Result<()> {
    let bench = Bench::new()?.flag("--restart=always");
    let flags = ["-test.run=^TestRun$", "-test.coverprofile=cover.out", "terms", "1"];
    let mut agent = bench.start(test_binary()?, &flags)?;
    for start in 1..=3 {
        agent.hear("ready").await?;
        let program = crate::processes::child_of(agent.pid()?)?;
        rustix::process::kill_process(program, Signal::TERM)?;
        until("its profile is there", || bench.files("coverprofile.").len() == start).await?;
    }
    agent.hear("ready").await?;
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(!bench.dir.path().join("cover.out").exists());
    let profiles = bench.files("coverprofile.");
    assert_eq!(profiles.len(), 4);
    for name in &profiles {
        assert!(fs::read_to_string(bench.folder().join(name))?.starts_with("mode: count\n"));
    }
    // The count of run's first block is the sum over all profiles.
    let report = |args: &[&str]| std::process::Command::new(program("podcov-report")).args(args).output();
    let folder = bench.folder().display().to_string();
    let text = String::from_utf8(report(&["textfmt", "-o", "/dev/stdout", &folder])?.stdout)?;
    let counts = text.lines().filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok());
    assert_eq!(counts.max(), Some(4), "one in each of four runs: {text}");
    Ok(())
}
