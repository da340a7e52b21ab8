//! The hooks one after the other, as a run has them.

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::{World, run, start};
use podcov_testbed::{Fault, Rule};
use rustix::process::Signal;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::*;

/// How often the service took a NAME command, by Go's own reading of the counters.
fn times_named(folder: &Path) -> Result<u64> {
    let mut go = Command::new("go");
    let go =
        go.args(["tool", "covdata", "textfmt", "-i"]).arg(folder).args(["-o", "/dev/stdout"]).output()?;
    anyhow::ensure!(go.status.success(), "{}", String::from_utf8_lossy(&go.stderr));
    let source = fs::read_to_string(podcov_e2e::top().join("e2e/program/main.go"))?;
    let line = source.lines().position(|l| l.contains("case \"NAME\"")).context("the case")? + 1;
    let profile = String::from_utf8(go.stdout)?;
    let block = profile.lines().find(|l| l.contains(&format!("main.go:{line}."))).context("its block")?;
    Ok(block.rsplit(' ').next().context("its count")?.parse()?)
}

/// The race of the shell scripts: they copy the files before the program has written them.
#[tokio::test(flavor = "multi_thread")]
async fn no_counter_is_lost_however_late_the_program_writes() -> Result<()> {
    const SERVICES: [&str; 10] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9"];
    const ROUNDS: u64 = 5;
    let world = World::new().await?;
    for name in SERVICES {
        deploy(&world, &Service { name, ..WRITES }).await?;
    }
    world.bed.fault(Rule::new(Fault::DelaySignals(Duration::from_secs(3))));
    let world = &world;
    let rounds = SERVICES.map(async |name| {
        for round in 1..=ROUNDS {
            let asked =
                run(world
                    .command("podcov-test", [&format!("svc/{name}"), "70", "--", "bash", "-c", ASK_NAME]))
                .await?;
            assert_eq!((asked.code, asked.stderr.as_str()), (0, ""), "{name}");
            let of_service = format!("--run-id {RUN} -l app={name}");
            let signalled = world.run("podcov-signal", &of_service).await?;
            assert_eq!(
                signalled.stdout, "1 of 1 containers wrote their counters: 1 new file\n",
                "{signalled:?}"
            );
            let collected = world.run("podcov-collect", &format!("{of_service} -o out/{name}")).await?;
            assert_eq!(collected.code, 0, "{collected:?}");
            let [pod] = &pods_of(world, name)[..] else { anyhow::bail!("pods") };
            let folder = world.dir().join(format!("out/{name}/default/{pod}/app"));
            // The program does not clear its counters, so every file holds all that came before.
            let expected = (1..=round).sum::<u64>();
            assert_eq!(times_named(&folder)?, expected, "round {round} of {name}");
        }
        Ok(())
    });
    let mut done = 0;
    for round in futures_util::future::join_all(rounds).await {
        round?;
        done += ROUNDS;
    }
    assert_eq!(done, 50);
    Ok(())
}

/// Asks the service its name; bash's own TCP serves.
const ASK_NAME: &str =
    r#"exec 3<>"/dev/tcp/${PODCOV_ADDR/://}"; echo NAME >&3; read -r name <&3; [ -n "$name" ]"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_report_is_what_go_says_of_the_same_folders() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { replicas: 2, ..WRITES }).await?;
    assert_eq!(world.run("podcov-signal", &format!("--run-id {RUN}")).await?.code, 0);
    let collected = world.run("podcov-collect", &format!("--run-id {RUN}")).await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    let folders =
        pods_of(&world, "writes").into_iter().map(|pod| world.report(&format!("default/{pod}/app")));
    let go = go_percent(folders)?;
    as_go_says(&collected.stdout, &go)?;
    // The program is one package, so the total is its own.
    let total = go.split("\t\t").nth(1).context("a percentage")?;
    assert!(
        collected.stdout.ends_with(&format!("\n{total}4 files of 2 containers in reports/coverage\n")),
        "{}",
        collected.stdout
    );
    // podcov-report says it again, of the folder that podcov-collect has left.
    let reported = world.run("podcov-report", "").await?;
    assert_eq!((reported.code, reported.stderr.as_str()), (0, ""), "{reported:?}");
    assert!(collected.stdout.starts_with(&reported.stdout), "{reported:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failing_tests_yield_their_coverage_and_the_run_fails() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let run_of = |hook: &str, line: &str| {
        let mut command = world.command(hook, line.split_whitespace());
        command.env("SKAFFOLD_RUN_ID", RUN).env("SKAFFOLD_NAMESPACES", "default");
        run(command)
    };
    let tested = run_of("podcov-test", "--defer-failure svc/writes 70 -- sh -c exit${IFS}3").await?;
    assert_eq!(tested.code, 0, "{tested:?}");
    assert_eq!(tested.stderr, "podcov-test: sh failed with exit code 3; a later hook will end with it\n");
    assert_eq!(run_of("podcov-signal", "").await?.code, 0);
    let collected = run_of("podcov-collect", "").await?;
    assert_eq!(collected.code, 1, "{collected:?}");
    assert_eq!(collected.stderr, "podcov-collect: error: the tests failed: sh ended with exit code 3\n");
    assert!(collected.stdout.contains("coverage: "), "{}", collected.stdout);
    assert_eq!(world.manifest()?["complete"], true);

    // It is told once; and what failed in one iteration of `skaffold dev` is no failure of the next.
    assert_eq!(run_of("podcov-collect", "").await?.code, 0);
    let test_once = "--defer-failure svc/writes 70 -- mkdir tested";
    fs::create_dir(world.dir().join("tested"))?;
    run_of("podcov-test", test_once).await?;
    fs::remove_dir(world.dir().join("tested"))?;
    assert_eq!(run_of("podcov-test", test_once).await?.stderr, "");
    assert_eq!(run_of("podcov-collect", "").await?.code, 0);

    // The tests of one hook that pass are not those of another.
    run_of("podcov-test", "--defer-failure svc/writes 70 -- sh -c exit${IFS}3").await?;
    run_of("podcov-test", "--defer-failure svc/writes 70 -- false").await?;
    run_of("podcov-test", "--defer-failure svc/writes 70 -- true").await?;
    let collected = run_of("podcov-collect", "").await?;
    assert_eq!(collected.code, 1, "{collected:?}");
    assert_eq!(
        collected.stderr,
        "podcov-collect: error: the tests failed: sh ended with exit code 3\n\
         podcov-collect: error: the tests failed: false ended with exit code 1\n"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deferred_failure_is_told_to_who_does_not_read_on() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let mut test = world.command("podcov-test", ["--defer-failure", "--", "false"]);
    test.env("SKAFFOLD_RUN_ID", RUN);
    assert_eq!(run(test).await?.code, 0);
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut collect = world.command("podcov-collect", ["--signal", "USR1"]);
    collect.env("SKAFFOLD_RUN_ID", RUN).env("SKAFFOLD_NAMESPACES", "default").stdout(writer);
    let ended = collect.spawn()?.wait_with_output().await?;
    let said = String::from_utf8(ended.stderr)?;
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert_eq!(said, "podcov-collect: error: the tests failed: false ended with exit code 1\n");
    Ok(())
}

/// What Skaffold does when it is cancelled: SIGKILL with no warning. It then waits for every process that holds the output.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_podcov_test_leaves_no_process() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    for signal in [Signal::KILL, Signal::INT, Signal::TERM] {
        // The grandchild ignores what it can, and holds the output open for as long as it lives.
        let script = "trap '' INT TERM; (trap '' INT TERM; echo ready; exec sleep 1000) & wait";
        let mut test = start(
            world.command("podcov-test", ["--grace", "1", "svc/writes", "70", "--", "sh", "-c", script]),
        )?;
        assert_eq!(test.first_line().await?, "ready");
        test.signal(signal)?;
        // This reads the output to its end, so it ends only when the last of them has.
        let ended = test.end().await?;
        assert_eq!(ended.code, 137, "{signal:?}: killed, as it did not end by itself: {ended:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_podcov_collect_leaves_the_last_report() -> Result<()> {
    let world = World::new().await?;
    fs::create_dir_all(world.dir().join("pods"))?;
    add_pod_with_a_run(&world, "default", "one")?;
    let line = format!("--run-id {RUN}");
    assert_eq!(world.run("podcov-collect", &line).await?.code, 0);
    let before = world.files("reports")?;
    for (signal, code) in [(Signal::KILL, 137), (Signal::INT, 130), (Signal::TERM, 143)] {
        let hang = world.bed.fault(Rule::new(Fault::Hang).exec());
        let collect = start(world.command("podcov-collect", line.split_whitespace()))?;
        hang.hit().await;
        collect.signal(signal)?;
        let ended = collect.end().await?;
        assert_eq!(ended.code, code, "{ended:?}");
        if signal != Signal::KILL {
            assert_eq!(ended.stderr, "podcov-collect: interrupted; reports/coverage is as it was\n");
            assert_eq!(world.files("reports")?, before);
        }
        hang.remove();
    }
    // What the killed one left behind is gone with the next.
    assert_eq!(world.run("podcov-collect", &line).await?.code, 0);
    assert_eq!(world.files("reports")?, before);
    assert_eq!(fs::read_dir(world.dir().join("reports"))?.count(), 1);
    Ok(())
}
