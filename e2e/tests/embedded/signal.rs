//! podcov-signal: evidence that the counters were written, or why not.

use anyhow::Result;
use podcov_e2e::{Ended, World};
use podcov_testbed::{Fault, Image, Rule, Tools};

use crate::support::*;

async fn signal(world: &World, more: &str) -> Result<Ended> {
    world.run("podcov-signal", &format!("--run-id {RUN} {more}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pod_writes_and_the_files_are_verified() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { replicas: 3, ..WRITES }).await?;
    for round in 1..=2 {
        let signalled = signal(&world, "--json").await?;
        assert_eq!((signalled.code, signalled.stderr.as_str()), (0, ""), "{signalled:?}");
        let result: serde_json::Value = serde_json::from_str(&signalled.stdout)?;
        let result = result.as_array().unwrap();
        assert_eq!(result.len(), 3);
        for one in result {
            assert_eq!((&one["verified"], one["files"].as_array().unwrap().len()), (&true.into(), 1));
            let folder = world.bed.volume_dir("default", one["pod"].as_str().unwrap(), "cov").unwrap();
            let files = std::process::Command::new("sh")
                .arg("-c")
                .arg("ls covcounters.*")
                .current_dir(folder)
                .output()?;
            assert_eq!(String::from_utf8(files.stdout)?.lines().count(), round);
        }
    }
    assert_eq!(world.bed.requests().execs(), 6, "one exec a container and signal");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_why_nothing_came() -> Result<()> {
    let world = World::new().await?;
    let cases = [
        (
            Service { name: "ignores", env: &[], ..WRITES },
            "no counter file appeared within 0.5s of SIGUSR1; is the program built with -covermode=atomic and does it handle SIGUSR1?",
        ),
        (
            Service { name: "set-mode", build: &["-cover", "-covermode=set"], ..WRITES },
            "no counter file appeared within 0.5s of SIGUSR1; the program is built with -covermode=set, and only -covermode=atomic can write while it runs",
        ),
        (
            Service { name: "uncovered", build: &[], ..WRITES },
            "no counter file appeared within 0.5s of SIGUSR1, and /coverage-data holds no meta-data file; is the program built with -cover, and may it write there?",
        ),
    ];
    deploy(&world, &WRITES).await?;
    for (service, words) in cases {
        deploy(&world, &service).await?;
        let name = service.name;
        let [pod] = &pods_of(&world, name)[..] else { anyhow::bail!("one pod") };
        let signalled = signal(&world, &format!("-l app={name} --timeout 0.5")).await?;
        assert_eq!(signalled.code, 4, "{name}: {signalled:?}");
        let line = format!("podcov-signal: error: pod default/{pod} container app: {words}\n");
        assert_eq!(signalled.stderr, line, "{name}");
        assert_eq!(signalled.stdout, "0 of 1 containers wrote their counters: 0 new files\n");
    }
    Ok(())
}

/// A Go program writes its counters as it ends by itself, in any mode, and the next one finds the same folder.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_ends_on_the_signal_and_writes_then_has_written() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { env: &[("ON_USR1", "end")], build: &["-cover", "-covermode=set"], ..WRITES })
        .await?;
    let signalled = signal(&world, "").await?;
    assert_eq!(signalled.code, 0, "{signalled:?}");
    assert_eq!(signalled.stdout, "1 of 1 containers wrote their counters: 1 new file\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_the_signal_kills_is_told() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { env: &[("ON_USR1", "abort")], ..WRITES }).await?;
    let signalled = signal(&world, "--timeout 2").await?;
    assert_eq!(signalled.code, 4, "{signalled:?}");
    let words = " after SIGUSR1; does the program handle that signal? ";
    assert!(
        signalled.stderr.contains(": the container ") && signalled.stderr.contains(words),
        "{signalled:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_costs_no_other() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    deploy(&world, &Service { name: "ignores", env: &[], ..WRITES }).await?;
    let signalled = signal(&world, "--timeout 3").await?;
    assert_eq!(signalled.code, 4);
    assert_eq!(signalled.stdout, "1 of 2 containers wrote their counters: 1 new file\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_alone_is_enough() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let binary = podcov_e2e::go_build("e2e/program", "writes-tools", WRITES.build)?;
    for (tools, code) in [(Tools::only(["sh"]), 0), (Tools::only(["sh", "tar"]), 0), (Tools::none(), 4)] {
        world.bed.image("writes", Image::new(&binary).tools(tools));
        let [pod] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
        world.bed.delete_pod("default", pod, Some(0))?;
        replaced(&world, "writes", pod).await?;
        let signalled = signal(&world, "").await?;
        assert_eq!(signalled.code, code, "{signalled:?}");
        let says_so = signalled.stderr.contains("the image has no shell, which is needed");
        assert_eq!(says_so, code == 4, "{signalled:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_made_anew_without_a_second_signal() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let [pod] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
    let folder = world.bed.volume_dir("default", pod, "cov").unwrap();
    let names = || -> Result<Vec<String>> {
        let names = fs_err::read_dir(&folder)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
        names.collect()
    };
    assert_eq!(signal(&world, "").await?.code, 0);
    let before = names()?;
    // What the shell says up to the word that the signal has been sent: the names, each listing's dot, the word.
    let said = before.iter().map(|name| name.len() + 1).sum::<usize>() + 2 + 2 + "signalled 1\n".len();
    let cut = world.bed.fault(Rule::new(Fault::CutStdout(said + 1)).exec().first(1));
    let signalled = signal(&world, "").await?;
    assert_eq!((signalled.code, cut.hits()), (0, 1), "{signalled:?}");
    assert_eq!(names()?.len(), before.len() + 1, "one signal, one file");
    for fault in [Fault::status(500), Fault::too_many_requests(0), Fault::Close] {
        let once = world.bed.fault(Rule::new(fault).exec().first(1));
        assert_eq!(signal(&world, "").await?.code, 0);
        assert_eq!(once.hits(), 1);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_pods_and_containers() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    deploy(&world, &Service { name: "other", ..WRITES }).await?;
    let all = signal(&world, "").await?;
    assert_eq!(all.stdout, "2 of 2 containers wrote their counters: 2 new files\n");
    for filter in ["--pod other-*", "-l app=other", "-c app --pod o*"] {
        let one = signal(&world, filter).await?;
        assert_eq!(one.stdout, "1 of 1 containers wrote their counters: 1 new file\n", "{filter}");
    }
    let none = signal(&world, "-c nobody").await?;
    assert_eq!(none.code, 4, "{none:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_can_be_named() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let none = signal(&world, "--process no-such-thing").await?;
    assert_eq!(none.code, 4);
    assert!(none.stderr.contains("no process has that name"), "{none:?}");
    Ok(())
}

/// podcov-collect can do both in one exec.
#[tokio::test(flavor = "multi_thread")]
async fn signal_and_collect_at_once() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { replicas: 3, ..WRITES }).await?;
    for round in 1..=2 {
        let collected = world.run("podcov-collect", &format!("--run-id {RUN} --signal USR1")).await?;
        assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
        let folders: Vec<_> =
            pods_of(&world, "writes").iter().map(|pod| world.report(&format!("default/{pod}/app"))).collect();
        as_go_says(&collected.stdout, &go_percent(&folders)?)?;
        let counters = |folder: &std::path::PathBuf| {
            let names = fs_err::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_string_lossy().starts_with("covcounters.")).count()
        };
        assert!(folders.iter().all(|folder| counters(folder) == round));
    }
    assert_eq!(world.bed.requests().execs(), 6, "one exec a container and round");
    Ok(())
}

/// What one container does not write costs neither what it had written nor any other's.
#[tokio::test(flavor = "multi_thread")]
async fn collecting_where_one_does_not_write() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    deploy(&world, &Service { name: "ignores", env: &[], ..WRITES }).await?;
    let collected =
        world.run("podcov-collect", &format!("--run-id {RUN} --signal USR1 --flush-timeout 3")).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    let [ignores] = &pods_of(&world, "ignores")[..] else { anyhow::bail!("one pod") };
    let words = format!(
        "podcov-collect: error: pod default/{ignores} container app: no counter file appeared within 3s of SIGUSR1; "
    );
    assert!(collected.stderr.contains(&words), "{}", collected.stderr);
    let [writes] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
    let both = [writes, ignores].map(|pod| format!("reports/coverage/default/{pod}/app"));
    assert_eq!(both.map(|folder| world.files(&folder).unwrap().len()), [2, 1], "the meta-data is there");
    Ok(())
}

/// The stream breaks after the program has written: the next try does not signal again.
#[tokio::test(flavor = "multi_thread")]
async fn collecting_when_the_connection_breaks_after_the_signal() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let cut = world.bed.fault(Rule::new(Fault::CutStdout(400)).exec().first(1));
    let collected = world.run("podcov-collect", &format!("--run-id {RUN} --signal USR1")).await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
    assert_eq!(cut.hits(), 1);
    let [pod] = &pods_of(&world, "writes")[..] else { anyhow::bail!("one pod") };
    assert_eq!(world.files(&format!("reports/coverage/default/{pod}/app"))?.len(), 2, "one signal, one file");
    Ok(())
}
