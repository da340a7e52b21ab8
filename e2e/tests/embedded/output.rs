//! What the programs print, also to a reader that has gone, and whatever names and messages come from a cluster.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::World;
use podcov_testbed::{Fault, Rule};

use crate::support::*;

/// The end of a pipe that nobody reads any more.
fn closed_pipe() -> Result<OwnedFd> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    Ok(writer.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_changes_no_exit_code() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    fs::create_dir_all(world.dir().join("pods"))?;
    add_pod_with_a_run(&world, "default", "one")?;
    let fixture = fixture();
    let fixture = fixture.to_str().context("a path")?;
    let of_pod = format!("-vvv --run-id {RUN} --pod one");
    let lines = [
        ("podcov-test", "-vvv svc/writes 70 -- sh -c exit${IFS}7".to_owned(), 7),
        ("podcov-test", "-vvv svc/none 70 -- true".to_owned(), 3),
        ("podcov-test", "--no-such-flag".to_owned(), 2),
        ("podcov-test", "-- no-such-command-here".to_owned(), 127),
        ("podcov-signal", format!("{of_pod} --timeout 0.1"), 4),
        ("podcov-collect", of_pod, 0),
        ("podcov-collect", format!("-vvv --run-id {RUN} --pod none"), 4),
        ("podcov-report", format!("-vvv percent {fixture}"), 0),
        ("podcov-report", "percent /no/such/folder".to_owned(), 4),
        ("podcov-agent", "run --control=off -- sh -c exit${IFS}7".to_owned(), 7),
    ];
    for (program, line, code) in lines {
        let read = world.run(program, &line).await?;
        assert_eq!(read.code, code, "{program} {line}: {read:?}");
        let unread = world.command(program, line.split_whitespace()).stderr(closed_pipe()?).spawn()?;
        let unread = unread.wait_with_output().await?;
        assert_eq!(unread.status.code(), Some(code), "{program} {line}");
    }
    for program in ["podcov-test", "podcov-signal", "podcov-collect", "podcov-report", "podcov-agent"] {
        let unread = world.command(program, ["--help"]).stdout(closed_pipe()?).spawn()?;
        let unread = unread.wait_with_output().await?;
        assert_eq!((unread.status.code(), unread.stderr), (Some(0), Vec::new()), "{program}");
    }
    Ok(())
}

/// Whether a text could turn, hide or control what a terminal shows.
fn is_safe(text: &str) -> bool {
    !text.contains(['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{2028}'])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_message_of_a_cluster_controls_the_terminal() -> Result<()> {
    const HOSTILE: &str = "a\u{1b}[2Jb\u{7}c\u{9b}1md\u{202e}e\u{2066}f\u{200b}g\u{2028}h\nEND-OF-IT";
    const SHOWN: &str = "a\u{fffd}[2Jb\u{fffd}c\u{fffd}1md\u{fffd}e\u{fffd}f\u{fffd}g\u{fffd}h; END-OF-IT";
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let refused = world.bed.fault(Rule::new(Fault::status_message(403, HOSTILE)).resource("pods"));
    for hook in ["podcov-signal", "podcov-collect"] {
        let ended = world.run(hook, &format!("-vvv --run-id {RUN}")).await?;
        assert!(ended.stderr.contains(SHOWN) && is_safe(&ended.stderr), "{hook}: {}", ended.stderr);
    }
    refused.remove();
    // What is only logged, too.
    let message = Fault::status_message(500, HOSTILE);
    let refused = world.bed.fault(Rule::new(message).resource("pods/portforward").upgrade("websocket"));
    let multiplexed = world.bed.fault(Rule::new(Fault::status(400)).upgrade("spdy/3.1"));
    let ended = world.run("podcov-test", "-v --timeout 0.5 svc/writes 70 -- true").await?;
    assert!(refused.hits() > 0 && multiplexed.hits() > 0);
    let logged = ended.stderr.lines().find(|line| line.contains("not ready")).context("the log")?;
    assert!(logged.contains("END-OF-IT") && is_safe(&ended.stderr), "{}", ended.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_in_coverage_controls_the_terminal() -> Result<()> {
    let world = World::new().await?;
    let profile = "mode: set\nexample.com/a\u{202e}\u{1b}[2Jb/x.go:1.1,2.2 1 1\n";
    fs::write(world.dir().join("hostile.txt"), profile)?;
    for command in ["", "percent", "func", "pkglist"] {
        let ended = world.run("podcov-report", &format!("{command} hostile.txt")).await?;
        assert!(ended.stdout.contains("example.com/a\u{fffd}\u{fffd}[2Jb"), "{command}: {ended:?}");
        assert!(is_safe(&ended.stdout) && is_safe(&ended.stderr), "{command}: {ended:?}");
    }
    // What a program reads is as it was.
    let ended = world.run("podcov-report", "textfmt hostile.txt").await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, profile), "{ended:?}");
    Ok(())
}
