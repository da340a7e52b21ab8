//! How podcov-test's command ends, and what it has started: by itself, by signals, and when podcov-test is killed.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::{Desk, Running, World, copy_program, program, start};
use podcov_testbed::{Fault, Rule};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::support::*;

/// A folder to run podcov-test in. Without a target it asks no cluster.
fn desk() -> Result<Desk> {
    Desk::new(Path::new("/no/such/kubeconfig"))
}

/// podcov-test with a shell's script.
fn script(desk: &Desk, grace: &str, script: &str) -> Result<Running> {
    start(desk.command("podcov-test", ["--grace", grace, "--", "sh", "-c", script]))
}

/// What a command does that takes a while to shut down.
const GRACEFUL: &str =
    "trap 'echo stopping; sleep 0.5; echo stopped; exit 17' INT; echo ready; while :; do sleep 0.01; done";

/// What cannot be run has tested nothing: that is wrong use, and no later hook is to tell of failing tests.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_run_is_not_deferred() -> Result<()> {
    let desk = desk()?;
    fs::write(desk.dir().join("not-executable"), "")?;
    for (command, code) in [
        ("no-such-program", 127),
        ("./not-executable", 126),
        ("sh -c no-such-program", 127),
        ("sh -c ./not-executable", 126),
    ] {
        let ended = desk.run("podcov-test", &format!("--defer-failure -- {command}")).await?;
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(!desk.dir().join(".podcov").exists(), "{command}");
    }
    assert_eq!(desk.run("podcov-test", "--defer-failure -- false").await?.code, 0);
    assert_eq!(desk.files(".podcov")?, [".gitignore", "failure-local.json"]);
    Ok(())
}

/// Skaffold kills a hook at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_podcov_test_leaves_its_command_the_grace() -> Result<()> {
    let desk = desk()?;
    let mut test = script(&desk, "60", GRACEFUL)?;
    assert_eq!(test.first_line().await?, "ready");
    test.signal(Signal::KILL)?;
    let ended = test.end().await?;
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("stopping\nstopped\n", ""));
    Ok(())
}

/// Ctrl-C at Skaffold's terminal: the hook gets SIGINT from there, and SIGKILL from Skaffold.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_a_signal_shortens_no_grace() -> Result<()> {
    let desk = desk()?;
    let mut test = script(&desk, "60", GRACEFUL)?;
    assert_eq!(test.first_line().await?, "ready");
    test.signal(Signal::INT)?;
    assert_eq!(test.first_line().await?, "stopping");
    test.signal(Signal::KILL)?;
    assert_eq!(test.end().await?.stdout, "stopped\n");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_goes_on_is_killed_after_the_grace_or_at_a_second_signal() -> Result<()> {
    const DEAF: &str = "trap '' INT TERM; echo ready; while :; do sleep 0.01; done";
    let desk = desk()?;
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut test = script(&desk, "0.2", DEAF)?;
        assert_eq!(test.first_line().await?, "ready");
        test.signal(signal)?;
        let ended = test.end().await?;
        assert_eq!(ended.code, 137, "{signal:?}: {ended:?}");
        assert!(ended.stderr.starts_with("podcov-test: killed "), "{signal:?}: {ended:?}");
        assert!(ended.stderr.contains(" sh ("), "{signal:?}: {ended:?}");
        assert!(ended.stderr.contains("which still ran 0.2s after"), "{signal:?}: {ended:?}");
    }
    let mut test = script(&desk, "1000", DEAF)?;
    assert_eq!(test.first_line().await?, "ready");
    test.signal(Signal::INT)?;
    test.signal(Signal::TERM)?;
    assert_eq!(test.end().await?.code, 137);
    Ok(())
}

/// Skaffold would wait for it, as it holds the hook's output open.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_leaves_running_is_told_to_end() -> Result<()> {
    let desk = desk()?;
    let ended = script(&desk, "0.2", "sleep 1000 & exit 3")?.end().await?;
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.stderr.starts_with("podcov-test: sh has ended and left sleep ("), "{ended:?}");
    assert!(ended.stderr.contains(") running; sending SIGTERM"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");

    // And killed if it does not.
    let deaf = "(trap '' TERM; sleep 1000; sleep 1000) & exit 0";
    let ended = script(&desk, "0.2", deaf)?.end().await?;
    assert_eq!((ended.code, ended.stderr.lines().count()), (0, 2), "{ended:?}");
    assert!(ended.stderr.contains("\npodcov-test: killed "), "{ended:?}");
    Ok(())
}

/// As the `tee` of a script that writes a log.
#[tokio::test(flavor = "multi_thread")]
async fn what_ends_soon_after_the_command_is_left_alone() -> Result<()> {
    let desk = desk()?;
    let late = "(trap 'echo terminated; exit' TERM; sleep 0.5; echo late) & exit 0";
    let ended = script(&desk, "60", late)?.end().await?;
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "late\n", ""));
    Ok(())
}

/// What a shell starts in the background ignores SIGINT.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_interrupted_command_leaves_running_ends_with_it() -> Result<()> {
    let desk = desk()?;
    let server = "sleep 1000 & trap 'exit 17' INT; echo ready; while :; do sleep 0.01; done";
    for signal in [Signal::INT, Signal::KILL] {
        let mut test = script(&desk, "1000", server)?;
        assert_eq!(test.first_line().await?, "ready");
        test.signal(signal)?;
        let ended = test.end().await?;
        assert_eq!(ended.stderr, "", "{signal:?}");
        assert_eq!(ended.code, if signal == Signal::KILL { 137 } else { 17 });
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_podcov_test_whose_file_is_replaced() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    for replace in [true, false] {
        let copy = world.dir().join("podcov-test");
        copy_program(&program("podcov-test"), &copy)?;
        let hang = world.bed.fault(Rule::new(Fault::Hang).resource("pods/portforward").first(1));
        let line = "--request-timeout 1 svc/writes 70 -- echo it runs";
        let mut command = Command::new(&copy);
        command.args(line.split(' ')).env("KUBECONFIG", world.bed.kubeconfig());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let test = start(command)?;
        hang.hit().await;
        fs::remove_file(&copy)?;
        if replace {
            fs::write(&copy, "another program")?;
        }
        let ended = test.end().await?;
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "it runs\n", ""));
    }
    Ok(())
}

/// Runs a program of bash's at a terminal of its own, by util-linux's `script`.
fn at_a_terminal(desk: &Desk, bash: &str) -> Result<(tokio::process::ChildStdin, Running)> {
    fs::write(desk.dir().join("program"), bash)?;
    let mut command = Command::new("script");
    // Without the exec a shell that `script` has started gets what the terminal sends too, and ends of it.
    command.args(["-qefc", "exec bash program", "/dev/null"]).current_dir(desk.dir());
    command.env("TEST", program("podcov-test"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut running = start(command)?;
    Ok((running.stdin().context("its input")?, running))
}

/// The terminal sends SIGINT to podcov-test and to the program that has started it, which passes it on.
#[tokio::test(flavor = "multi_thread")]
async fn a_ctrl_c_that_comes_twice_is_one() -> Result<()> {
    let desk = desk()?;
    // The command ends well after the second signal, which would kill it.
    let (mut keys, mut parent) = at_a_terminal(
        &desk,
        r#""$TEST" --grace 1000 -- sh -c '
            trap "until [ -e passed-on ]; do sleep 0.01; done; sleep 1; exit 17" INT
            until [ -e listens ]; do sleep 0.01; done
            echo ready
            while :; do sleep 0.01; done' < /dev/null &
        test=$!
        trap 'kill -INT $test; : > passed-on' INT
        : > listens
        while kill -0 $test; do wait $test; code=$?; done 2> /dev/null
        exit $code"#,
    )?;
    assert_eq!(parent.first_line().await?, "ready");
    keys.write_all(b"\x03").await?;
    assert_eq!(parent.end().await?.code, 17);
    Ok(())
}

/// The terminal sends Ctrl-C to all processes, but no other signal.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_from_elsewhere_reaches_a_command_at_a_terminal() -> Result<()> {
    let desk = desk()?;
    let bash = r#"exec "$TEST" --grace 1000 -- sh -c '
        trap "exit 17" INT
        kill -INT $PPID
        while :; do sleep 0.01; done'"#;
    let (_keys, test) = at_a_terminal(&desk, bash)?;
    let ended = test.end().await?;
    assert_eq!(ended.code, 17, "{ended:?}");
    Ok(())
}
