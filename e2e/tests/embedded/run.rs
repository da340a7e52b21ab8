//! podcov-run: tests, coverage and gates in one process.

use anyhow::Result;
use fs_err as fs;
use podcov_e2e::{Ended, World, run, start};
use rustix::process::Signal;
use serde_json::Value;
use std::time::Duration;

use crate::losses::upload;
use crate::support::*;

/// What has not happened by now never will.
const HUNG: Duration = Duration::from_secs(120);

/// Asks the service its name, then runs what `$0` is.
const ASK: &str =
    r#"exec 3<>"/dev/tcp/${PODCOV_ADDR/://}"; echo NAME >&3; read -r name <&3; [ -n "$name" ] && eval "$0""#;

/// A world with two services.
async fn world() -> Result<World> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    deploy(&world, &Service { name: "other", ..WRITES }).await?;
    Ok(world)
}

/// Runs podcov-run with tests of the first service that end with a shell's command.
async fn run_tests(world: &World, flags: &str, last: &str) -> Result<Ended> {
    let flags = flags.split_whitespace();
    let words = flags.chain(["--signal", "USR1", "svc/writes", "70", "--", "bash", "-c", ASK, last]);
    run(world.command("podcov-run", words)).await
}

/// The names of the pods whose containers are in the report.
fn collected(world: &World) -> Result<Vec<Value>> {
    let manifest = world.manifest()?;
    let containers = manifest["containers"].as_array().cloned().unwrap_or_default();
    Ok(containers.into_iter().map(|container| container["pod"].clone()).collect())
}

/// Waits until the tests have made a file.
async fn until_there(world: &World, name: &str) -> Result<()> {
    let there = async {
        while !world.dir().join(name).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(tokio::time::timeout(HUNG, there).await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_the_targets_are_collected_from() -> Result<()> {
    let world = world().await?;
    let ended = run_tests(&world, "", "true").await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let pods = pods_of(&world, "writes");
    assert_eq!(collected(&world)?, pods);
    let folder = world.dir().join(format!("reports/coverage/default/{}/app", pods[0]));
    as_go_says(&ended.stdout, &go_percent([folder])?)?;
    // Nothing is left for other hooks.
    assert!(!world.dir().join(".podcov").exists());

    // Those of Skaffold's run.
    let ended = run_tests(&world, &format!("--run-id {RUN}"), "true").await?;
    assert_eq!((ended.code, collected(&world)?.len()), (0, 2), "{ended:?}");
    let ended = run_tests(&world, "-l app=other", "true").await?;
    assert_eq!(
        (ended.code, collected(&world)?),
        (0, pods_of(&world, "other").into_iter().map(Value::from).collect())
    );
    Ok(())
}

/// Each target's namespace is looked in, also that of one that names none.
#[tokio::test(flavor = "multi_thread")]
async fn targets_of_two_namespaces() -> Result<()> {
    let world = world().await?;
    world.bed.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")?;
    deploy(&world, &Service { name: "cart", namespace: "shop", ..WRITES }).await?;
    for select in ["-l app", "--run-id 9b2f7a6e-0001-4c5d-8e9f-000000000001"] {
        let ended = run_tests(&world, &format!("{select} shop/svc/cart 70"), "true").await?;
        assert_eq!((ended.code, collected(&world)?.len()), (0, 3), "{select}: {ended:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_exit_code_comes_first_then_what_is_lost_then_gates() -> Result<()> {
    let world = world().await?;
    for (flags, last, code) in [
        ("", "exit 3", 3),
        // As a shell reports it.
        ("", "kill -KILL $$", 137),
        ("--fail-under 1", "true", 0),
        ("--fail-under 100", "true", 1),
        ("--fail-under 100", "exit 3", 3),
    ] {
        let ended = run_tests(&world, flags, last).await?;
        assert_eq!(ended.code, code, "{flags} {last}: {ended:?}");
        assert_eq!(collected(&world)?, pods_of(&world, "writes"), "{flags} {last}");
        fs::remove_dir_all(world.dir().join("reports"))?;
    }
    // No file is written, which is worse than a gate.
    let deploying = deploy(&world, &Service { name: "silent", env: &[("ON_USR1", "ignore")], ..WRITES });
    deploying.await?;
    let words = ["--signal", "USR1", "-l", "app in (writes,silent)", "--fail-under", "100", "--", "true"];
    let ended = run(world.command("podcov-run", words)).await?;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stdout.contains("1 coverage gate failed"), "{ended:?}");
    Ok(())
}

/// Templates of hooks leave variables that are set to nothing, and a folder may have any name.
#[tokio::test(flavor = "multi_thread")]
async fn variables_without_a_value_and_a_folder_that_looks_like_a_flag() -> Result<()> {
    let world = world().await?;
    let words = ["--signal", "USR1", "--fail-under", "1", "--out=-out", "svc/writes", "70", "--", "true"];
    let mut command = world.command("podcov-run", words);
    command.env("PODCOV_STATE_DIR", "").env("SKAFFOLD_WORK_DIR", "");
    let ended = run(command).await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(ended.stdout.ends_with("all coverage gates passed\n"), "{ended:?}");
    assert!(world.dir().join("-out/manifest.json").exists());
    Ok(())
}

/// The gates of a project are checked without a flag.
#[tokio::test(flavor = "multi_thread")]
async fn gates_are_those_of_the_projects_file_too() -> Result<()> {
    let world = world().await?;
    let file = world.dir().join("podcov.toml");
    for (text, code, said) in [
        ("[gates]\nfail_under = 1\n", 0, "all coverage gates passed"),
        ("[gates]\nfail_under = 100\n", 1, "1 coverage gate failed"),
        ("[suites]\ne2e = \"reports/coverage\"\n[gates.fail_under_suite]\ne2e = 100\n", 1, "suite e2e"),
        ("[suites]\ne2e = \"reports/coverage\"\n", 0, ""),
    ] {
        fs::write(&file, text)?;
        let ended = run_tests(&world, "", "true").await?;
        assert_eq!((ended.code, ended.stdout.contains(said)), (code, true), "{text}: {ended:?}");
        assert_eq!(ended.stdout.contains("gate"), text.contains("gate"), "{text}: {ended:?}");
    }
    // Before tests that take minutes.
    for (text, flags, said) in [
        ("[gates]\nfail_below = 1\n", "", "podcov.toml:2: unknown field `fail_below`"),
        ("[suites]\nunit = \"unit.out\"\n[gates]\nfail_under = 1\n", "", "the suites' inputs are unit.out\n"),
        (
            "[suites]\ne2e = \"reports/coverage\"\n[gates]\nfail_under = 1\n",
            "--out other",
            "no suite of podcov.toml reads ",
        ),
        ("[gates]\nbaseline = \"none.json\"\n", "", "there is no baseline none.json"),
        ("", "--baseline none.json", "there is no baseline none.json"),
        ("", "--baseline .", "cannot read the baseline"),
    ] {
        fs::write(&file, text)?;
        let ended = run_tests(&world, flags, "touch tested").await?;
        assert_eq!((ended.code, ended.stderr.contains(said)), (2, true), "{text}: {ended:?}");
        assert!(!world.dir().join("tested").exists(), "{text}");
    }
    Ok(())
}

/// The gates have an input of their own, beside what is collected.
#[tokio::test(flavor = "multi_thread")]
async fn gates_read_storage_and_their_errors_are_no_end_of_the_rest() -> Result<()> {
    let world = world().await?;
    upload(&world, "nightly", "nightly")?;
    let suites = format!(
        "[suites]\ne2e = \"reports/coverage\"\nnightly = \"file://{}\"\n",
        world.dir().join("storage").display()
    );
    fs::write(world.dir().join("podcov.toml"), format!("{suites}[gates]\nfail_under = 1\n"))?;
    let ended = run_tests(&world, "", "true").await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    assert!(ended.stdout.ends_with("all coverage gates passed\n"), "{ended:?}");

    // A gate that cannot be checked does not hide what is lost.
    fs::write(world.dir().join("podcov.toml"), "")?;
    fs::write(world.dir().join("none.json"), "{}")?;
    let ended = run_tests(&world, "--baseline none.json", "true").await?;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("cannot use none.json as the baseline"), "{ended:?}");
    let deploying = deploy(&world, &Service { name: "silent", env: &[("ON_USR1", "ignore")], ..WRITES });
    deploying.await?;
    let ended = run_tests(&world, "--baseline none.json -l app", "true").await?;
    assert_eq!(ended.code, 4, "{ended:?}");
    Ok(())
}

/// Nothing has been tested, so the last report stays.
#[tokio::test(flavor = "multi_thread")]
async fn without_tests_there_is_no_report() -> Result<()> {
    let world = world().await?;
    let ended = run(world.command("podcov-run", ["svc/writes", "70", "--", "no-such-command"])).await?;
    assert_eq!(ended.code, 127, "{ended:?}");
    let ended = run(world.command("podcov-run", ["svc/nowhere", "70", "--", "true"])).await?;
    assert_eq!(ended.code, 3, "{ended:?}");
    let ended =
        run(world.command("podcov-run", ["--fail-under", "101", "svc/writes", "70", "--", "true"])).await?;
    assert_eq!(ended.code, 2, "{ended:?}");
    let ended = run(world.command("podcov-run", ["--", "true"])).await?;
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(ended.stderr.contains("no pods are selected"), "{ended:?}");
    assert!(!world.dir().join("reports").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_while_the_tests_run_is_a_loss() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { replicas: 2, ..WRITES }).await?;
    let old = pods_of(&world, "writes").remove(0);
    let wait = "touch started; until [ -e deleted ]; do sleep 0.02; done";
    let testing = run_tests(&world, "", wait);
    let deleting = async {
        until_there(&world, "started").await?;
        world.bed.delete_pod("default", &old, Some(0))?;
        replaced(&world, "writes", &old).await?;
        fs::write(world.dir().join("deleted"), "")?;
        anyhow::Ok(())
    };
    let (ended, done) = tokio::join!(testing, deleting);
    done?;
    let ended = ended?;
    assert_eq!(ended.code, 4, "{ended:?}");
    let lost = format!("error: pod default/{old} was deleted during the run; what it had counted is lost");
    assert!(ended.stderr.contains(&lost), "{ended:?}");
    assert_eq!(collected(&world)?.len(), 2);
    Ok(())
}

/// A signal ends the tests, and there is no report.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_collects_nothing() -> Result<()> {
    let world = world().await?;
    let words = ["svc/writes", "70", "--", "sh", "-c", "touch started; exec sleep 300"];
    let running = start(world.command("podcov-run", words))?;
    until_there(&world, "started").await?;
    running.signal(Signal::INT)?;
    let ended = running.end().await?;
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(!world.dir().join("reports").exists());

    // Even if the tests call that a success.
    fs::remove_file(world.dir().join("started"))?;
    let trap = "trap 'exit 0' TERM; touch started; while :; do sleep 0.02; done";
    let running = start(world.command("podcov-run", ["svc/writes", "70", "--", "sh", "-c", trap]))?;
    until_there(&world, "started").await?;
    running.signal(Signal::TERM)?;
    let ended = running.end().await?;
    assert_eq!(ended.code, 143, "{ended:?}");
    assert!(ended.stderr.ends_with("interrupted, so nothing is collected\n"), "{ended:?}");
    assert!(!world.dir().join("reports").exists());
    Ok(())
}
