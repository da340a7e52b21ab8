//! `podcov-collect --local`: processes of this machine, without a cluster.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use crate::interval::{calls, plain};
use crate::support::{BASH, HUNG, wrapped};

/// Starts a program without GOCOVERDIR, and becomes podcov-collect when told to: as the program's parent it may read its
/// memory on every machine.
const PARENT: &str = r#"
unset GOCOVERDIR
"$0" forever >&2 &
read -r
exec "$1" --local "$(basename "$0")" --out "$2"
"#;

#[tokio::test]
async fn a_process_of_this_machine_is_found_by_its_name() -> Result<()> {
    // A name that no other process has.
    let dir = tempfile::tempdir()?;
    let name = format!("local{}", std::process::id());
    let program = dir.path().join(&name);
    fs_err::copy(wrapped("set")?, &program)?;
    let mut command = Command::new(BASH);
    let out = dir.path().join("out");
    command.args(["-c", PARENT]).arg(&program).arg(podcov_e2e::program("podcov-collect")).arg(&out);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("no input")?;
    let mut errors = BufReader::new(child.stderr.take().context("no stderr")?).lines();
    let run = async {
        while errors.next_line().await?.context("it is never ready")? != "ready" {}
        input.write_all(b"\n").await?;
        anyhow::Ok(child.wait_with_output().await?)
    };
    let output = tokio::time::timeout(HUNG, run).await.context("it hangs")??;
    let manifest: serde_json::Value = serde_json::from_slice(&fs_err::read(out.join("manifest.json"))?)?;
    let processes = manifest["containers"].as_array().context("containers")?;
    let [process] = &processes[..] else { anyhow::bail!("{manifest:#}") };
    let pid = process["live"][0]["pid"].as_i64().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    kill_process(pid.context("no number")?, Signal::KILL)?;

    ensure!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    assert!(text.contains("2 files of 1 process in "), "{text}");
    let ran = text.lines().find(|line| line.contains("example.com/"));
    assert!(ran.is_some_and(|line| !line.trim_start().starts_with("0.0%")), "{text}");
    assert_eq!((&process["pod"], &process["live_way"]), (&name.into(), &"local".into()));
    Ok(())
}

/// Starts a program, passes lines on to it, and collects when told to: with the arguments that follow.
const MARKS: &str = r#"
unset GOCOVERDIR
coproc PROGRAM { exec "$0"; }
while read -r what rest; do
    case $what in
        collect) "$1" --local "$(basename "$0")" $rest >&2; echo "collected $?" ;;
        kill) kill -KILL "$PROGRAM_PID"; wait "$PROGRAM_PID"; echo killed ;;
        *) echo "$what" >&"${PROGRAM[1]}"
            while read -r line <&"${PROGRAM[0]}"; do [ "$line" != "$what" ] || break; done; echo "$what" ;;
    esac
done
"#;

#[tokio::test]
async fn what_ran_between_two_reports() -> Result<()> {
    for mode in ["count", "atomic", "set"] {
        let dir = tempfile::tempdir()?;
        let program = dir.path().join(format!("mark{mode}{}", std::process::id()));
        fs_err::copy(plain(mode)?, &program)?;
        let mut command = Command::new(BASH);
        command.args(["-c", MARKS]).arg(&program).arg(podcov_e2e::program("podcov-collect"));
        command.current_dir(&dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?).lines();
        let mut tell = async |line: &str| -> Result<String> {
            input.write_all(format!("{line}\n").as_bytes()).await?;
            tokio::time::timeout(HUNG, output.next_line()).await??.context("it has ended")
        };
        for line in ["one", "one", "one", "two"] {
            tell(line).await?;
        }
        assert_eq!(tell("collect --out before").await?, "collected 0");
        for line in ["one", "one", "three"] {
            tell(line).await?;
        }
        assert_eq!(tell("collect --out between --since before").await?, "collected 0");
        assert_eq!(tell("collect --out nothing --since between").await?, "collected 2", "it is a difference");
        assert_eq!(tell("collect --out before --since before").await?, "collected 2", "it would be replaced");
        assert_eq!(tell("collect --out between --accumulate").await?, "collected 2", "it is a difference");
        assert_eq!(tell("kill").await?, "killed");
        drop(input);
        let output = tokio::time::timeout(HUNG, child.wait_with_output()).await.context("it hangs")??;
        let said = String::from_utf8(output.stderr)?;
        let is_set = mode == "set";
        assert_eq!(said.contains("only what ran for the first time since"), is_set, "{said}");

        let manifest: serde_json::Value =
            serde_json::from_slice(&fs_err::read(dir.path().join("between/manifest.json"))?)?;
        assert_eq!(manifest["since"]["folder"], "before");
        let folder = manifest["containers"][0]["folder"].as_str().context("a folder")?;
        let ran = calls(&dir.path().join("between").join(folder))?;
        let of = |name: &str| ran.get(name).copied().unwrap_or_default();
        let expected = if is_set { (0, 0, 1, 0) } else { (2, 0, 1, 0) };
        assert_eq!((of("one"), of("two"), of("three"), of("main")), expected, "{mode}: {ran:?}");
    }
    Ok(())
}

#[test]
fn what_has_no_coverage_is_an_error() -> Result<()> {
    let dir = tempfile::tempdir()?;
    for (local, error) in [
        ("no-such-program", "no process has the name \"no-such-program\""),
        (&std::process::id().to_string(), "it is no Go program"),
    ] {
        let mut command = std::process::Command::new(podcov_e2e::program("podcov-collect"));
        let output = command.args(["--local", local]).current_dir(&dir).output()?;
        let text = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(4), "{text}");
        // Where only a parent may read, it is refused before that is known.
        assert!(text.contains(error) || text.contains("Permission denied"), "{text}");
    }
    assert_eq!(fs_err::read_dir(dir.path())?.count(), 0);
    Ok(())
}
