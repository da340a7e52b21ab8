//! podcov-signal: evidence that the counters were written, or why not.

use std::process::Stdio;

use anyhow::Result;
use podcov_e2e::{Ended, World};
use podcov_testbed::{Fault, Image, Rule, Tools};
use serde_json::json;

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
            "the container runs no Go program that is built with -cover, so none was signalled; its processes: ",
        ),
    ];
    deploy(&world, &WRITES).await?;
    for (service, words) in cases {
        deploy(&world, &service).await?;
        let name = service.name;
        let [pod] = &pods_of(&world, name)[..] else { anyhow::bail!("one pod") };
        let signalled = signal(&world, &format!("-l app={name} --timeout 0.5")).await?;
        assert_eq!(signalled.code, 4, "{name}: {signalled:?}");
        let line = format!("podcov-signal: error: pod default/{pod} container app: {words}");
        assert!(signalled.stderr.starts_with(&line), "{name}: {signalled:?}");
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

/// As with `podcov-signal | head -0`: the exit code tells all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_nobody_reads() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &Service { name: "ignores", env: &[], ..WRITES }).await?;
    for format in ["--", "--json"] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let args = ["--run-id", RUN, "--timeout", "0.5", format];
        let status =
            world.command("podcov-signal", args).stdout(writer).stderr(Stdio::null()).status().await?;
        assert_eq!(status.code(), Some(4), "{format}");
    }
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
    // The shell says the files' names, each listing's dot, the processes, and that the signal has been sent. Wherever
    // in that the connection breaks, no more than one signal is sent.
    // It is the same where the shell is killed, as with a container whose program ends on the signal.
    for fault in [Fault::CutStdout, Fault::KillCommand] {
        let mut wrote = 0;
        for more in (0..70).step_by(5) {
            let before = names()?;
            let listed = before.iter().map(|name| name.len() + 1).sum::<usize>() + 2 + 2;
            let cut = world.bed.fault(Rule::new(fault(listed + more + 1)).exec().first(1));
            let signalled = signal(&world, "").await?;
            assert_eq!(cut.hits(), 1);
            let new = names()?.len() - before.len();
            if new == 0 {
                let words =
                    "the connection broke as the signal was sent, so it may not have arrived: try again\n";
                assert!(signalled.code == 4 && signalled.stderr.ends_with(words), "{more}: {signalled:?}");
            } else {
                assert_eq!((signalled.code, new), (0, 1), "{more}: {signalled:?}");
                wrote += 1;
            }
        }
        assert!(wrote > 7, "a break before the signal, or after it, does no harm: {wrote}");
    }
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
    let words =
        "the container has no process with the name no-such-thing, so none was signalled; its processes: ";
    assert!(none.stderr.contains(words), "{none:?}");
    let none = signal(&world, "--pid 1").await?;
    assert_eq!(none.code, 4);
    assert!(none.stderr.contains("the container has no process 1, so none was signalled"), "{none:?}");
    // The file's name has more than the 15 bytes that the kernel keeps.
    let long = "writes--cover-covermode=atomic";
    let named = signal(&world, &format!("--process {long} --json")).await?;
    assert_eq!(named.code, 0, "{named:?}");
    let result: serde_json::Value = serde_json::from_str(&named.stdout)?;
    assert_eq!(result[0]["processes"][0]["name"], long[..15]);
    let other = signal(&world, "--process writes--cover-covermode=set").await?;
    assert_eq!(other.code, 4, "{other:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_signal_is_wrong_use() -> Result<()> {
    let world = World::new().await?;
    for wrong in ["0", "USR3", "65", "RTMIN+31"] {
        for hook in ["podcov-signal", "podcov-collect"] {
            let ended = world.run(hook, &format!("--run-id {RUN} --signal {wrong}")).await?;
            assert_eq!(ended.code, 2, "{hook} --signal {wrong}: {ended:?}");
        }
    }
    Ok(())
}

/// A shell starts the programs: each of them is signalled and must write, and the shell is not.
#[tokio::test(flavor = "multi_thread")]
async fn programs_behind_a_shell_are_found() -> Result<()> {
    let world = World::new().await?;
    let command = r#""$PROGRAM" & PORT=0 "$PROGRAM" & wait"#;
    deploy_with(&world, &WRITES, |container, program| {
        container["command"] = json!(["sh", "-c", command]);
        let program = program.to_string_lossy();
        container["env"].as_array_mut().unwrap().push(json!({"name": "PROGRAM", "value": program}));
    })
    .await?;
    let signalled = signal(&world, "--json").await?;
    assert_eq!(signalled.code, 0, "{signalled:?}");
    let result: serde_json::Value = serde_json::from_str(&signalled.stdout)?;
    let processes = result[0]["processes"].as_array().unwrap();
    assert_eq!((processes.len(), result[0]["files"].as_array().unwrap().len()), (2, 2), "{result}");
    assert!(processes.iter().all(|process| process["name"] == "writes--cover-c"), "{result}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_on_no_volume_is_named() -> Result<()> {
    let world = World::new().await?;
    let folder = world.dir().join("coverage");
    fs_err::create_dir(&folder)?;
    deploy_with(&world, &Service { env: &[("ON_USR1", "abort")], ..WRITES }, |container, _| {
        container["env"][0]["value"] = json!(folder);
        container["volumeMounts"] = json!([]);
    })
    .await?;
    let signalled = signal(&world, "--timeout 2").await?;
    assert_eq!(signalled.code, 4, "{signalled:?}");
    let words = format!(
        " after SIGUSR1, and GOCOVERDIR is on no volume: whatever the program wrote to {} at its end is gone; ",
        folder.display()
    );
    assert!(signalled.stderr.contains(&words), "{signalled:?}");
    Ok(())
}

/// The connection breaks while podcov-signal waits whether the program ends on the signal and takes its files with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_is_no_end_of_the_program() -> Result<()> {
    let world = World::new().await?;
    let folder = world.dir().join("coverage");
    fs_err::create_dir(&folder)?;
    deploy_with(&world, &Service { env: &[("ON_HUP", "write")], ..WRITES }, |container, _| {
        container["env"][0]["value"] = json!(folder);
        container["volumeMounts"] = json!([]);
    })
    .await?;
    // The names of files and processes come first, and then a short answer for each look.
    let cut = world.bed.fault(Rule::new(Fault::CutStdout(235)).exec().first(1));
    let signalled = signal(&world, "--signal HUP --timeout 6").await?;
    assert_eq!((signalled.code, cut.hits()), (0, 1), "{signalled:?}");
    assert_eq!(signalled.stdout, "1 of 1 containers wrote their counters: 1 new file\n");
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
    let collected = world.run("podcov-collect", &format!("--run-id {RUN} --signal USR1 --timeout 3")).await?;
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
