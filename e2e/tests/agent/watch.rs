//! `podcov-agent watch`: a sidecar that reads the programs of the pod's other containers.
//!
//! A container is here what the agent takes for one: a process with a mount as the kubelet makes it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_control::LiveProcess;
use podcov_e2e::program;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::control::ask;
use crate::interval::{calls, has_called, plain};
use crate::support::{Agent, BASH, names, until};

/// Mounts a file over itself, and becomes what is to run.
const CONTAINER: &str = r#"mount --bind "$1" "$1" && exec "${@:2}""#;

/// A pod, whose containers this machine may run.
struct Pod {
    dir: TempDir,
}

impl Pod {
    /// `None` where containers cannot be made.
    fn new() -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let pod = Self { dir };
        let mut probe = pod.command("u-1", "probe", Path::new("true"), &[])?.into_std();
        if probe.stdin(Stdio::null()).output().is_ok_and(|output| output.status.success()) {
            return Ok(Some(pod));
        }
        eprintln!("skipped: a sidecar: no mounts can be made here");
        Ok(None)
    }

    /// A program in a container of a pod.
    fn command(&self, uid: &str, container: &str, program: &Path, args: &[&str]) -> Result<Command> {
        // Other tests have other pods.
        let unique = self.dir.path().file_name().context("a name")?.display();
        let folder = self.dir.path().join(format!("pods/{uid}-{unique}/containers/{container}"));
        fs::create_dir_all(&folder)?;
        let log = folder.join("1f2e3d4c");
        fs::write(&log, "")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", BASH, "-c", CONTAINER, "container"]);
        command.arg(log).arg(program).args(args).env_remove("GOCOVERDIR").current_dir(self.dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Ok(command)
    }

    /// Starts the program of e2e/plain.
    async fn plain(&self, uid: &str, container: &str) -> Result<Agent> {
        let mut plain = Agent::start(self.command(uid, container, &plain("count")?, &[])?)?;
        plain.hear("ready").await?;
        Ok(plain)
    }

    /// Starts the sidecar, and gives its port.
    async fn watch(&self, every: &str, flags: &[&str]) -> Result<(Agent, u16)> {
        let every = format!("--every={every}");
        let coverdir = format!("--coverdir={}", self.folder().display());
        let common =
            ["watch", &every, &coverdir, "--control=127.0.0.1:0", "--run=r", "--namespace=n", "--pod=p"];
        let args = [&common[..], flags].concat();
        let mut agent = Agent::start(self.command("u-1", "podcov", &program("podcov-agent"), &args)?)?;
        let port = agent.port().await?;
        Ok((agent, port))
    }

    fn folder(&self) -> PathBuf {
        self.dir.path().join("coverage")
    }

    fn of(&self, container: &str) -> PathBuf {
        self.folder().join(container)
    }
}

/// The processes of which the sidecar has counters.
async fn processes(port: u16, query: &str) -> Result<Vec<LiveProcess>> {
    let answer = ask(port, "GET", &format!("/snapshot{query}"), "").await?;
    ensure!(answer.status == 200, "{}", String::from_utf8_lossy(&answer.body));
    ensure!(answer.header("podcov-missing").is_none());
    Ok(serde_json::from_str(answer.header("podcov-processes").context("no header")?)?)
}

#[tokio::test]
async fn programs_of_other_containers_lose_their_last_interval_alone() -> Result<()> {
    let Some(pod) = Pod::new()? else { return Ok(()) };
    let stored = pod.dir.path().join("stored");
    let storage = format!("--storage=file://{}", stored.display());
    let mut app = pod.plain("u-1", "app").await?;
    let other = pod.plain("u-1", "other").await?;
    let (sidecar, port) = pod.watch("0.05", &[&storage]).await?;
    for _ in 0..3 {
        app.tell("one").await?;
    }
    until("one is in the folder", || has_called(&pod.of("app"), "one", 3)).await?;
    let [process] = &processes(port, "?container=app").await?[..] else { panic!("one process") };
    assert_eq!((process.unread, process.name.as_deref()), (None, Some("plain-count")));
    assert_eq!(processes(port, "").await?.len(), 2);

    // The container is restarted.
    app.signal(Signal::KILL)?;
    app.end().await?;
    let mut app = pod.plain("u-1", "app").await?;
    app.tell("two").await?;
    until("two is in the folder", || has_called(&pod.of("app"), "two", 1)).await?;
    let mut both = processes(port, "?container=app").await?;
    both.sort_by_key(|process| process.unread);
    assert!(both.len() == 2 && both[0].unread.is_none() && both[1].unread.is_some(), "{both:?}");

    // While programs run, it goes on after its stop signal.
    sidecar.signal(Signal::TERM)?;
    app.tell("three").await?;
    until("three is in the folder", || has_called(&pod.of("app"), "three", 1)).await?;
    for program in [app, other] {
        program.signal(Signal::KILL)?;
        program.end().await?;
    }
    let ended = sidecar.end().await?;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let lost = format!(
        "container app: 2 processes ended without writing counters to {}; at most",
        pod.of("app").display()
    );
    assert!(ended.stderr.contains(&lost), "{}", ended.stderr);

    let start = names(&stored.join("r/n/p/app"), "");
    let [start] = &start[..] else { panic!("{start:?}") };
    let uploaded = stored.join("r/n/p/app").join(start);
    for folder in [pod.of("app"), uploaded.clone()] {
        let calls = calls(&folder)?;
        let of = |name: &str| calls.get(name).copied();
        assert_eq!((of("one"), of("two"), of("three")), (Some(3), Some(1), Some(1)), "{calls:?}");
    }
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(uploaded.join("manifest.json"))?)?;
    assert_eq!((&manifest["container"], &manifest["exit_code"]), (&"app".into(), &0.into()));
    assert_eq!(manifest["files"].as_array().map(Vec::len), Some(3), "{manifest:#}");
    let missing = manifest["missing"][0].as_str().unwrap_or_default();
    assert!(missing.starts_with("2 processes ended without writing counters"), "{manifest:#}");
    assert_eq!(names(&stored.join("r/n/p"), ""), ["app", "other"]);
    Ok(())
}

/// Of its own container, and of another pod on the node, it reads nothing.
#[tokio::test]
async fn what_is_not_of_the_other_containers_is_left_alone() -> Result<()> {
    let Some(pod) = Pod::new()? else { return Ok(()) };
    let mut programs = Vec::new();
    for (uid, container) in [("u-1", "podcov"), ("u-2", "app"), ("u-1", "app")] {
        programs.push(pod.plain(uid, container).await?);
    }
    let (sidecar, port) = pod.watch("1000", &[]).await?;
    let [process] = &processes(port, "").await?[..] else { panic!("one process") };
    let pid = programs[2].pid()?.as_raw_nonzero().get();
    assert_eq!(process.pid, pid.unsigned_abs());
    for (method, path) in
        [("POST", "/flush"), ("POST", "/stop"), ("POST", "/reset"), ("POST", "/coverage?after=stop")]
    {
        let answer = ask(port, method, path, "").await?;
        assert_eq!(answer.status, 409);
        assert!(answer.error()?.contains("it is a sidecar"), "{}", answer.error()?);
    }
    let health = ask(port, "GET", "/health", "").await?.json()?;
    assert_eq!((&health["state"], &health["container"]), (&"watching".into(), &"podcov".into()));
    drop(programs);
    sidecar.signal(Signal::TERM)?;
    assert_eq!(sidecar.end().await?.code, 0);
    Ok(())
}

/// A sidecar that is started again goes on with the files of the one before.
#[tokio::test]
async fn what_an_earlier_sidecar_has_read_counts_once() -> Result<()> {
    let Some(pod) = Pod::new()? else { return Ok(()) };
    let mut app = pod.plain("u-1", "app").await?;
    let (first, _) = pod.watch("0.05", &[]).await?;
    app.tell("one").await?;
    until("one is in the folder", || has_called(&pod.of("app"), "one", 1)).await?;
    first.signal(Signal::KILL)?;
    first.end().await?;
    app.tell("one").await?;
    let (second, _) = pod.watch("0.05", &[]).await?;
    until("one is there twice", || has_called(&pod.of("app"), "one", 2)).await?;
    assert_eq!(names(&pod.of("app"), "covcounters.").len(), 1);
    app.signal(Signal::KILL)?;
    second.signal(Signal::TERM)?;
    assert_eq!(second.end().await?.code, 0);
    Ok(())
}

/// With GOCOVERDIR on a volume that the sidecar has too, a clean end loses nothing.
#[tokio::test]
async fn what_a_program_writes_to_the_sidecars_folder_is_the_last_of_it() -> Result<()> {
    let Some(pod) = Pod::new()? else { return Ok(()) };
    fs::create_dir_all(pod.of("app"))?;
    let mut command = pod.command("u-1", "app", &plain("count")?, &[])?;
    command.env("GOCOVERDIR", pod.of("app"));
    let mut app = Agent::start(command)?;
    app.hear("ready").await?;
    let (sidecar, port) = pod.watch("0.05", &[]).await?;
    app.tell("one").await?;
    until("one is in the folder", || has_called(&pod.of("app"), "one", 1)).await?;
    app.tell("two").await?;
    assert_eq!(app.end().await?.code, 0);
    assert_eq!(processes(port, "?container=app").await?, []);
    sidecar.signal(Signal::TERM)?;
    let ended = sidecar.end().await?;
    assert_eq!((ended.code, ended.stderr.contains("is lost")), (0, false), "{}", ended.stderr);
    let calls = calls(&pod.of("app"))?;
    assert_eq!((calls.get("one"), calls.get("two")), (Some(&1), Some(&1)), "{calls:?}");
    assert_eq!(names(&pod.of("app"), "covcounters.").len(), 1);
    Ok(())
}

/// What else is in the sidecar's folder is no container's, and one container's trouble is not another's.
#[tokio::test]
async fn a_folder_that_cannot_be_used_costs_its_own_container_alone() -> Result<()> {
    let Some(pod) = Pod::new()? else { return Ok(()) };
    fs::create_dir_all(pod.of("lost+found"))?;
    fs::write(pod.of("lost+found").join("#12"), "")?;
    // Where its folder should be.
    fs::write(pod.of("other"), "")?;
    let programs = [pod.plain("u-1", "app").await?, pod.plain("u-1", "other").await?];
    let (sidecar, port) = pod.watch("0.01", &[]).await?;
    for _ in 0..3 {
        assert_eq!(processes(port, "?container=app").await?.len(), 1);
        let failed = ask(port, "GET", "/snapshot?container=other", "").await?;
        assert_eq!(failed.status, 500);
        assert!(failed.error()?.contains("container other: "), "{}", failed.error()?);
    }
    drop(programs);
    sidecar.signal(Signal::TERM)?;
    let ended = sidecar.end().await?;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(
        ended.stderr.matches("no snapshot was taken: container other: ").count(),
        1,
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("lost+found"), "{}", ended.stderr);
    Ok(())
}

#[test]
fn outside_of_a_pod_there_is_nothing_to_watch() -> Result<()> {
    let output =
        std::process::Command::new(program("podcov-agent")).args(["watch", "--control=off"]).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("this is no container of a Kubernetes pod"), "{said}");
    Ok(())
}
