//! Signals, exit codes, orphans, and all that a program inherits.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result};
use fs_err as fs;
use podcov_e2e::as_go_says;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt;

use crate::support::{Agent, BASH, Bench, is_there, until, wrapped};

/// A program in bash that says the number of each signal that comes, and ends with the last. It runs a trap between two
/// commands; while it waits for input it would miss the signals that come just before it begins to.
const TRAPS: &str = r#"
for n in $(seq 1 64); do
  case $n in 9|17|19|32|33) ;; 64) trap "echo 64; exit" 64 ;; *) trap "echo $n" $n ;; esac
done
echo ready
while :; do sleep 0.01; done
"#;

/// Signals by number, real-time ones included, as `kill` sends them.
async fn kill(pid: &str, number: u32) -> Result<()> {
    let status = tokio::process::Command::new(BASH)
        .args(["-c", "kill -s $0 $1", &number.to_string(), pid])
        .status()
        .await?;
    anyhow::ensure!(status.success(), "kill -s {number}");
    Ok(())
}

#[tokio::test]
async fn every_signal_arrives_as_itself() -> Result<()> {
    let bench = Bench::new()?;
    // A shell cannot trap a signal that its parent ignores, and the parent of the tests may ignore some.
    let mut agent = bench.start("env", &["--default-signal", BASH, "-c", TRAPS])?;
    agent.hear("ready").await?;
    let pid = agent.pid()?.to_string();
    // Those that can be caught, but for the child's own and the two that the C library keeps to itself.
    let catchable = (1..=64).filter(|n| ![9, 17, 19, 32, 33].contains(n));
    let (mut sent, mut heard) = (Vec::new(), Vec::new());
    for number in catchable {
        kill(&pid, number).await?;
        sent.push(number);
        heard.push(agent.line().await.with_context(|| format!("signal {number}"))?.parse()?);
    }
    assert_eq!((sent.len(), &heard), (59, &sent));
    assert_eq!(agent.end().await?.code, 0);
    Ok(())
}

/// The agent writes to a stderr that nobody reads any more, and the kernel sends it SIGPIPE for that.
#[tokio::test]
async fn the_agents_own_sigpipe_is_not_the_programs() -> Result<()> {
    let storage = tempfile::tempdir()?;
    let bench = Bench::new()?
        .flag(format!("--storage=file://{}", storage.path().display()))
        .flag("--flush-every=0.02")
        .flag("--flush-timeout=0.02");
    // It writes nothing when it is told to, which the agent says each time.
    let program = "trap 'echo 13' PIPE; trap 'echo flush' USR1; trap 'echo 12; exit 3' USR2; echo ready; \
                   while :; do sleep 0.01; done";
    let mut agent = bench.start("env", &["--default-signal", BASH, "-c", program])?;
    agent.hear("ready").await?;
    agent.hear("flush").await?;
    let mut heard = Vec::new();
    agent.close_stderr();
    // The agent says it before it sends the next one, so this many times.
    for _ in 0..5 {
        heard.push(agent.line().await?);
    }
    agent.signal(Signal::USR2)?;
    while heard.last().context("a line")? != "12" {
        heard.push(agent.line().await?);
        anyhow::ensure!(heard.last().is_some_and(|line| !line.is_empty()), "{heard:?}");
    }
    assert!(heard.iter().all(|line| line == "flush" || line == "12"), "{heard:?}");
    // From somebody else it is the program's, as every signal is: every_signal_arrives_as_itself.
    assert_eq!(agent.end().await?.code, 3);
    Ok(())
}

#[tokio::test]
async fn a_program_ends_in_good_order_on_the_second_sigterm() -> Result<()> {
    let bench = Bench::new()?;
    let mut agent = bench.start(wrapped("set")?, &["terms", "2"])?;
    agent.hear("ready").await?;
    for _ in 0..2 {
        agent.signal(Signal::TERM)?;
        agent.hear("terminated").await?;
    }
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (7, ""));
    assert_eq!((bench.files("covmeta.").len(), bench.files("covcounters.").len()), (1, 1));
    let report =
        std::process::Command::new(podcov_e2e::program("podcov-report")).arg(bench.folder()).output()?;
    as_go_says(&String::from_utf8(report.stdout)?, &podcov_e2e::go_percent([bench.folder()])?)
}

#[tokio::test]
async fn a_program_that_is_killed() -> Result<()> {
    let bench = Bench::new()?;
    let mut agent = bench.start(BASH, &["-c", "echo $$; read line"])?;
    let program = agent.line().await?;
    kill(&program, 9).await?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 137);
    assert!(
        ended.stderr.contains("SIGKILL ended the program before it wrote its counters"),
        "{}",
        ended.stderr
    );
    Ok(())
}

#[tokio::test]
async fn a_program_is_told_when_its_agent_is_killed() -> Result<()> {
    let bench = Bench::new()?;
    let mut agent = bench.start(wrapped("set")?, &["terms", "1"])?;
    agent.hear("ready").await?;
    agent.signal(Signal::KILL)?;
    agent.hear("terminated").await?;
    until("it has written its counters", || bench.files("covcounters.").len() == 1).await
}

/// The agent starts itself as `exec`, which becomes the program. If the agent is killed in between, the kernel tells nobody.
#[test]
fn a_program_whose_agent_was_killed_before_it_started_does_not_run() -> Result<()> {
    let start = |agent: u32| {
        let mut exec = std::process::Command::new(podcov_e2e::program("podcov-agent"));
        exec.args(["exec", "--agent", &agent.to_string(), "--", BASH, "-c", "echo runs"]).output()
    };
    let own = start(std::process::id())?;
    assert_eq!((own.status.code(), own.stdout.as_slice()), (Some(0), &b"runs\n"[..]));
    // No process has this ID, as if another one had taken over.
    let orphan = start(u32::MAX >> 1)?;
    assert_eq!((orphan.status.signal(), orphan.stdout.as_slice()), (Some(Signal::TERM.as_raw()), &b""[..]));
    Ok(())
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_until_it_is_killed() -> Result<()> {
    let bench = Bench::new()?.flag("--kill-after=0.2");
    let mut agent = bench.start(wrapped("set")?, &["forever"])?;
    agent.hear("ready").await?;
    agent.signal(Signal::TERM)?;
    agent.hear("terminated").await?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 137);
    let killing = "podcov-agent: the program still runs 0.2s after the stop signal: killing it";
    assert!(ended.stderr.contains(killing), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn exit_codes_are_the_programs() -> Result<()> {
    let bench = Bench::new()?;
    for code in [0, 1, 3, 125, 255] {
        let ended = bench.run(wrapped("set")?, &["exit", &code.to_string()]).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (code, ""));
    }
    // What nobody handles ends the program as it would without an agent.
    for (signal, number) in [("HUP", 1), ("TERM", 15), ("SEGV", 11), ("RTMIN+3", 37)] {
        let ended =
            bench.run("env", &["--default-signal", BASH, "-c", &format!("kill -{signal} $$")]).await?;
        assert_eq!(ended.code, 128 + number, "{signal}: {}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_started_is_said_as_shells_do() -> Result<()> {
    let bench = Bench::new()?;
    let text = bench.dir.path().join("text");
    fs::write(&text, "no program")?;
    for (program, code, why) in [
        ("no-such-program", 127, "no-such-program cannot be started: No such file or directory"),
        ("/no/such/program", 127, "/no/such/program cannot be started: No such file or directory"),
        ("./text", 126, "./text cannot be started: Permission denied"),
        ("/", 126, "/ cannot be started: Permission denied"),
    ] {
        let ended = bench.run(program, &[]).await?;
        assert_eq!(ended.code, code, "{program}");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert!(ended.stderr.starts_with(&format!("podcov-agent: error: {why}")), "{}", ended.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn orphans_are_reaped() -> Result<()> {
    let bench = Bench::new()?;
    let orphans = "for i in 1 2 3; do (bash -c 'echo $$' &); done; echo all; read line";
    let mut agent = bench.start(BASH, &["-c", orphans])?;
    let mut pids = Vec::<u32>::new();
    while pids.len() < 3 {
        // They end when they like, also after the last word of their parent.
        let line = agent.line().await?;
        anyhow::ensure!(!line.is_empty());
        pids.extend(line.parse::<u32>());
    }
    // A zombie has its folder in /proc until it is reaped.
    until("the orphans are gone", || !pids.iter().any(|pid| is_there(*pid))).await?;
    assert_eq!(agent.end().await?.code, 1);
    Ok(())
}

#[tokio::test]
async fn the_environment_is_kept() -> Result<()> {
    let bench = Bench::new()?.with("A", "1").with("PODCOV_RUN", "x").with("EMPTY", "");
    let ended = bench.run("env", &[]).await?;
    let mut lines: Vec<_> = ended.stdout.lines().filter(|line| !line.starts_with("LLVM_")).collect();
    lines.sort_unstable();
    let (path, folder) = (std::env::var("PATH")?, bench.folder());
    let [path, folder] = [format!("PATH={path}"), format!("GOCOVERDIR={}", folder.display())];
    assert_eq!(lines, ["A=1", "EMPTY=", &folder, &path, "PODCOV_RUN=x"]);
    Ok(())
}

#[tokio::test]
async fn input_and_descriptors_are_passed_through_and_none_of_the_agents() -> Result<()> {
    let storage = tempfile::tempdir()?;
    let address = format!("--storage=file://{}", storage.path().display());
    let bench = Bench { flags: vec!["--control=127.0.0.1:0".to_owned(), address], ..Bench::new()? };
    fs::write(bench.dir.path().join("seven"), "of seven\n")?;
    let program = "cat; cat <&7; cd /proc/self/fd; echo *";
    let agent = bench.command(BASH, &["-c", program]);
    let alone = ["-c", program].map(OsStr::new);
    let mut outputs = Vec::new();
    for (program, args) in [
        (OsStr::new(BASH), alone.to_vec()),
        (agent.as_std().get_program(), agent.as_std().get_args().collect::<Vec<_>>()),
    ] {
        let mut command = tokio::process::Command::new(BASH);
        command.arg("-c").arg("exec 7<seven; exec \"$0\" \"$@\"").arg(program).args(args);
        command.current_dir(bench.dir.path()).env("GOCOVERDIR", bench.folder());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut agent = Agent::start(command)?;
        agent.child.stdin.as_mut().context("no input")?.write_all(b"of input\n").await?;
        outputs.push(agent.end().await?.stdout);
    }
    assert!(outputs[0].starts_with("of input\nof seven\n0 1"), "{}", outputs[0]);
    assert_eq!(outputs[0], outputs[1]);
    Ok(())
}

/// What `script` runs has a terminal of its own.
fn on_a_terminal(bench: &Bench, program: &Path, args: &[&str]) -> tokio::process::Command {
    let agent = bench.command(program, args);
    let agent = agent.as_std();
    let words = std::iter::once(agent.get_program()).chain(agent.get_args());
    let quoted: Vec<_> =
        words.map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
    let mut command = tokio::process::Command::new("env");
    command.args(["--default-signal", "script", "-qec", &format!("exec {}", quoted.join(" ")), "/dev/null"]);
    command.env("GOCOVERDIR", bench.folder()).env("SHELL", "/bin/sh");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn a_terminal_is_passed_through_and_ctrl_c_comes_once() -> Result<()> {
    let bench = Bench::new()?;
    let mut agent = Agent::start(on_a_terminal(&bench, &wrapped("set")?, &["input"]))?;
    agent.hear("terminal").await?;
    let parent = agent.line().await?.strip_prefix("parent ").context("its parent")?.to_owned();
    agent.hear("ready").await?;
    agent.child.stdin.as_mut().context("no input")?.write_all(b"\x03").await?;
    agent.hear("^Cinterrupt").await?;
    // What comes after it on the same way: a second SIGINT would have been said before.
    kill(&parent, 12).await?;
    agent.hear("user defined signal 2").await?;
    agent.child.stdin.as_mut().context("no input")?.write_all(b"end\n").await?;
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stdout.matches("interrupt").count()), (5, 1), "{}", ended.stdout);
    Ok(())
}

#[tokio::test]
async fn ctrl_c_is_a_stop_that_no_restart_follows() -> Result<()> {
    let bench = Bench::new()?.flag("--restart=always");
    let mut agent = Agent::start(on_a_terminal(&bench, &wrapped("set")?, &["input"]))?;
    agent.hear("ready").await?;
    agent.child.stdin.as_mut().context("no input")?.write_all(b"\x03").await?;
    agent.hear("^Cinterrupt").await?;
    agent.child.stdin.as_mut().context("no input")?.write_all(b"end\n").await?;
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stdout.matches("ready").count()), (5, 1), "{}", ended.stdout);
    Ok(())
}

/// Two signals of one kind come as one, and somebody's that the program's child has ended may be the first.
#[tokio::test]
async fn a_programs_end_is_seen_whoever_else_says_so() -> Result<()> {
    let bench = Bench::new()?;
    let mut agent = bench.start(BASH, &["-c", "echo $$; read -r line; exit 4"])?;
    let program: u32 = agent.line().await?.parse()?;
    agent.signal(Signal::STOP)?;
    agent.signal(Signal::CHILD)?;
    agent.child.stdin.as_mut().context("no input")?.write_all(b"end\n").await?;
    let ended = || {
        let stat = fs::read_to_string(format!("/proc/{program}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('Z'))
    };
    until("the program has ended", ended).await?;
    agent.signal(Signal::CONT)?;
    assert_eq!(agent.end().await?.code, 4);
    Ok(())
}

#[tokio::test]
async fn a_programs_end_is_seen_where_it_was_to_be_ignored() -> Result<()> {
    let bench = Bench::new()?;
    let agent = bench.command(BASH, &["-c", "exit 4"]);
    let agent = agent.as_std();
    let mut command = tokio::process::Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(agent.get_program()).args(agent.get_args());
    command.env("GOCOVERDIR", bench.folder()).current_dir(bench.dir.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    assert_eq!(Agent::start(command)?.end().await?.code, 4);
    Ok(())
}

#[tokio::test]
async fn an_empty_variable_is_none() -> Result<()> {
    let names =
        ["PODCOV_RESTART", "PODCOV_CONTROL", "PODCOV_KILL_AFTER", "PODCOV_TOKEN_FILE", "PODCOV_STORAGE"];
    let bench = names.into_iter().fold(Bench::new()?, |bench, name| bench.with(name, ""));
    let ended = bench.run(BASH, &["-c", "exit 3"]).await?;
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn several_are_installed_into_one_folder_at_once() -> Result<()> {
    let bench = Bench::new()?;
    let folder = bench.dir.path().join("shared");
    let install = async || {
        let mut command = tokio::process::Command::new(podcov_e2e::program("podcov-agent"));
        anyhow::Ok(command.arg("install").arg(&folder).output().await?)
    };
    for installed in futures_util::future::try_join_all((0..8).map(|_| install())).await? {
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }
    assert_eq!(crate::support::names(&folder, ""), ["podcov-agent"]);
    assert!(fs::read(folder.join("podcov-agent"))? == fs::read(podcov_e2e::program("podcov-agent"))?);
    Ok(())
}

#[tokio::test]
async fn it_stops_and_goes_on_with_its_program() -> Result<()> {
    let bench = Bench::new()?;
    let mut command = bench.command(BASH, &["-c", "echo $$; read -r line; echo $line"]);
    // Nothing in a group that no shell looks after can be stopped so; a group of its own has this process to do that.
    command.process_group(0);
    let mut agent = Agent::start(command)?;
    let program: u32 = agent.line().await?.parse()?;
    let agent_pid = agent.pid()?;
    agent.signal(Signal::TSTP)?;
    let stopped = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
    };
    let both = [program, agent_pid.as_raw_nonzero().get().cast_unsigned()];
    until("both are stopped", || both.iter().all(|pid| stopped(*pid))).await?;
    kill_process(agent_pid, Signal::CONT)?;
    // What is stopped does not answer.
    agent.child.stdin.as_mut().context("no input")?.write_all(b"on\n").await?;
    agent.hear("on").await?;
    assert_eq!(agent.end().await?.code, 0);
    Ok(())
}

/// The one child of a process.
pub(crate) fn child_of(pid: Pid) -> Result<Pid> {
    let pid = pid.as_raw_nonzero();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Pid::from_raw(children.trim().parse()?).context("no child")
}
