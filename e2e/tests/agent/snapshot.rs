//! `podcov-agent snapshot`: coverage out of the memory of a program that never writes it.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use covdata::FileName;
use podcov_control::LiveProcess;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};

use crate::control::{ask, start};
use crate::interval::without_sections;
use crate::support::{BASH, Bench, HUNG, wrapped};

/// Starts a program without GOCOVERDIR, says its number, and becomes podcov-agent when told to: as the program's parent
/// it may read its memory on every node. The agent reads all processes of this container if it is told nothing.
const PARENT: &str = r#"
unset GOCOVERDIR
{ echo $BASHPID; exec "$0" "${@:2}"; } >&2 &
read -r named
exec "$1" snapshot ${named:+--pid $!}
"#;

/// A program whose parent is to become podcov-agent.
struct Parent {
    child: Child,
    program: Program,
    lines: Lines<BufReader<ChildStderr>>,
}

impl Parent {
    async fn start(program: &Path, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(BASH);
        command.args(["-c", PARENT]).arg(program).arg(podcov_e2e::program("podcov-agent")).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("no stderr")?).lines();
        let number = lines.next_line().await?.context("no number")?.parse()?;
        let program = Program(Pid::from_raw(number).context("no process has this number")?);
        Ok(Self { child, program, lines })
    }

    /// Reads lines of the program up to this one.
    async fn hear(&mut self, expected: &str) -> Result<()> {
        while self.lines.next_line().await?.with_context(|| format!("it never said {expected:?}"))?
            != expected
        {}
        Ok(())
    }

    /// Becomes podcov-agent, which reads the program. Gives its exit code, what it writes, and what it says.
    async fn snapshot(self) -> Result<(Option<i32>, Vec<u8>, String)> {
        self.snapshot_of(b"named\n").await
    }

    async fn snapshot_of(mut self, line: &[u8]) -> Result<(Option<i32>, Vec<u8>, String)> {
        self.child.stdin.take().context("no input")?.write_all(line).await?;
        let mut archive = Vec::new();
        let all = async {
            self.child.stdout.take().context("no output")?.read_to_end(&mut archive).await?;
            anyhow::Ok(self.child.wait().await?)
        };
        let status = tokio::time::timeout(HUNG, all).await.context("it hangs")??;
        drop(self.program);
        let mut said = String::new();
        while let Some(line) = self.lines.next_line().await? {
            said += &format!("{line}\n");
        }
        Ok((status.code(), archive, said))
    }
}

/// A process that is killed when it is no longer needed.
struct Program(Pid);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// Unpacks an archive into a folder.
fn unpack(archive: &[u8], dir: &Path) -> Result<Vec<FileName>> {
    let mut names = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_str().context("a name")?.to_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let parsed: FileName = name.parse().ok().with_context(|| name.clone())?;
        covdata::check(&parsed, &bytes)?;
        fs_err::write(dir.join(&name), bytes)?;
        names.push(parsed);
    }
    Ok(names)
}

#[tokio::test]
async fn a_program_that_never_writes_has_coverage() -> Result<()> {
    for mode in ["set", "atomic"] {
        let mut parent = Parent::start(&wrapped(mode)?, &["forever"]).await?;
        parent.hear("ready").await?;
        // When it has said that, all that it does until the next signal has run before.
        kill_process(parent.program.0, Signal::USR2)?;
        parent.hear("user defined signal 2").await?;
        let number = parent.program.0.as_raw_nonzero().get().unsigned_abs();
        let (code, archive, said) = parent.snapshot().await?;
        assert_eq!((code, said.as_str()), (Some(0), ""), "{mode}");
        let dir = tempfile::tempdir()?;
        let names = unpack(&archive, dir.path())?;
        assert!(
            matches!(names[..], [FileName::Counters { pid, .. }, FileName::Meta { .. }] if pid == number),
            "{mode}: {names:?}"
        );
        let functions = std::process::Command::new(podcov_e2e::program("podcov-report"))
            .args(["func", "-i"])
            .arg(dir.path())
            .output()?;
        let functions = String::from_utf8(functions.stdout)?;
        let of = |name: &str| {
            let line = functions.lines().find(|line| line.split_whitespace().nth(1) == Some(name));
            line.and_then(|line| line.split_whitespace().last())
        };
        assert_eq!(of("main"), Some("100.0%"), "{mode}: {functions}");
        // 14 of 23 statements: one is for `exit`, four are for `input`, two for SIGUSR1, two for SIGTERM.
        assert_eq!(of("run"), Some("60.9%"), "{mode}: {functions}");
    }
    Ok(())
}

#[tokio::test]
async fn what_has_no_coverage_is_named() -> Result<()> {
    // It says `ready` when it is no fork of the shell any more.
    let parent = async |program: &str, args: &[&str]| -> Result<Parent> {
        let mut parent = Parent::start(Path::new(program), args).await?;
        parent.hear("ready").await?;
        Ok(parent)
    };
    let waiting = parent(BASH, &["-c", "echo ready; exec sleep infinity"]).await?;
    let number = waiting.program.0.as_raw_nonzero();
    let (code, archive, said) = waiting.snapshot().await?;
    let expected =
        format!("podcov-agent: error: no snapshot could be taken: process {number}: it is no Go program\n");
    assert_eq!((code, archive.as_slice(), said.as_str()), (Some(4), &b""[..], expected.as_str()));
    Ok(())
}

/// The agent is the parent of what it has started, and of what that has started.
#[tokio::test]
async fn the_control_endpoint_gives_what_is_in_memory() -> Result<()> {
    let mut bench = Bench::new()?;
    let program = wrapped("set")?.display().to_string();
    let before = SystemTime::now();
    // bash has no coverage, and its child writes none.
    let (agent, port) = start(&mut bench, BASH, &["-c", r#""$0" forever; exit 3"#, &program]).await?;
    let answer = ask(port, "GET", "/snapshot", "").await?;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let dir = tempfile::tempdir()?;
    let names = unpack(&answer.body, dir.path())?;
    let [FileName::Counters { pid, .. }, FileName::Meta { .. }] = names[..] else { panic!("{names:?}") };
    let summary =
        std::process::Command::new(podcov_e2e::program("podcov-report")).arg(dir.path()).output()?;
    assert!(String::from_utf8(summary.stdout)?.contains("example.com/podcov/e2e/wrapped"));
    let told = answer.header("podcov-processes").context("no header")?;
    let [process] = &serde_json::from_str::<Vec<LiveProcess>>(told)?[..] else { panic!("{told}") };
    let counters = names[0].to_string();
    assert_eq!((process.pid, process.counters.as_str()), (pid, counters.as_str()));
    assert_eq!(process.name.as_deref(), Some("wrapped-set"));
    assert_eq!(process.module.as_deref(), Some("example.com/podcov/e2e/wrapped"));
    let build = std::process::Command::new("go").args(["version", "-m"]).arg(&program).output()?;
    let build = String::from_utf8(build.stdout)?;
    let go = build.lines().next().and_then(|line| line.strip_prefix(&format!("{program}: ")));
    assert_eq!(process.go.as_deref(), go, "{build}");
    let revision = build.lines().find_map(|line| line.trim().strip_prefix("build\tvcs.revision="));
    assert_eq!(process.revision.as_deref(), revision, "{build}");
    // The kernel tells the boot's time in whole seconds, and the start in hundredths of one.
    let started = UNIX_EPOCH + Duration::from_nanos(process.started.context("no start")?);
    let earliest = before - Duration::from_millis(1010);
    assert!(earliest <= started && started <= SystemTime::now(), "{earliest:?} {started:?}");
    drop(Program(Pid::from_raw(pid.cast_signed()).context("no process has this number")?));
    assert_eq!(agent.end().await?.code, 3);
    Ok(())
}

#[tokio::test]
async fn a_process_may_have_any_name() -> Result<()> {
    let mut bench = Bench::new()?;
    let name = "\u{7f}\u{e9}\n\"\\) (";
    let program = bench.dir.path().join(name);
    fs_err::copy(wrapped("set")?, &program)?;
    let (agent, port) = start(&mut bench, &program, &["terms", "1"]).await?;
    let answer = ask(port, "GET", "/snapshot", "").await?;
    assert_eq!((answer.status, answer.header("podcov-missing")), (200, None));
    let told = answer.header("podcov-processes").context("no header")?;
    let processes: Vec<LiveProcess> = serde_json::from_str(told)?;
    assert_eq!(processes.iter().map(|process| process.name.as_deref()).collect::<Vec<_>>(), [Some(name)]);
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

#[tokio::test]
async fn without_a_covered_program_the_control_endpoint_gives_nothing() -> Result<()> {
    let mut bench = Bench::new()?;
    let (agent, port) = start(&mut bench, BASH, &["-c", "echo ready; read -r; exit 3"]).await?;
    let answer = ask(port, "GET", "/snapshot", "").await?;
    assert_eq!(
        (answer.status, answer.header("podcov-processes"), answer.header("podcov-missing")),
        (200, Some("[]"), None)
    );
    // The end of an archive is two blocks of zeros.
    assert_eq!(answer.body, [0; 1024]);
    assert_eq!(agent.end().await?.code, 3);
    Ok(())
}

#[tokio::test]
async fn the_control_endpoint_says_why_there_is_nothing() -> Result<()> {
    let mut bench = Bench::new()?;
    let program = bench.dir.path().join("program");
    without_sections(&wrapped("set")?, &program)?;
    let (agent, port) = start(&mut bench, &program, &["terms", "1"]).await?;
    let answer = ask(port, "GET", "/snapshot", "").await?;
    assert_eq!(
        (answer.status, answer.error()?),
        (409, "no process here is a Go program built with -cover".to_owned())
    );
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

/// Containers that share their processes have roots of their own.
#[tokio::test]
async fn programs_with_another_root_are_read_only_when_they_are_named() -> Result<()> {
    let root = tempfile::tempdir()?;
    fs_err::copy(wrapped("set")?, root.path().join("program"))?;
    let root = root.path().to_str().context("a name")?;
    for (line, is_read) in [("named\n", true), ("\n", false)] {
        let mut parent = Parent::start(Path::new("chroot"), &[root, "/program", "forever"]).await?;
        loop {
            let said = parent.lines.next_line().await?.context("it never said that it is ready")?;
            if said == "ready" {
                break;
            }
            if said.starts_with("chroot: ") {
                let skipped = format!("skipped: a program with another root: {said}");
                writeln!(std::io::stderr(), "{skipped}")?;
                return Ok(());
            }
        }
        let number = parent.program.0.as_raw_nonzero().get().unsigned_abs();
        let (_, archive, said) = parent.snapshot_of(line.as_bytes()).await?;
        let dir = tempfile::tempdir()?;
        let names = unpack(&archive, dir.path())?;
        let is_it = |name: &FileName| matches!(name, FileName::Counters { pid, .. } if *pid == number);
        assert_eq!(names.iter().any(is_it), is_read, "{names:?} {said}");
    }
    Ok(())
}

/// A process may end, or become another program, whenever it is read.
#[tokio::test]
async fn what_ends_meanwhile_is_not_missed() -> Result<()> {
    let mut bench = Bench::new()?;
    let program = wrapped("set")?.display().to_string();
    let forever = r#"trap 'exit 3' TERM; echo ready; while :; do "$0" exit 0 >/dev/null; done"#;
    let (agent, port) = start(&mut bench, BASH, &["-c", forever, &program]).await?;
    let (mut found, dir) = (0, tempfile::tempdir()?);
    // Until some were read; the others were being started, or had just ended.
    while found < 10 {
        let answer = ask(port, "GET", "/snapshot", "").await?;
        match answer.status {
            200 => found += usize::from(!unpack(&answer.body, dir.path())?.is_empty()),
            status => {
                let error = answer.error()?;
                let is_true = error.ends_with(": its packages are not initialized yet");
                assert!(status == 409 && is_true, "{status} {error}");
            }
        }
    }
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 3);
    assert!(!ended.stderr.contains("snapshot"), "{}", ended.stderr);
    Ok(())
}
