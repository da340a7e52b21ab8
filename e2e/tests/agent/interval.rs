//! `--flush-every`: a program that is killed loses its last interval alone, and nothing counts twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use covdata::{CounterFile, FileName, MetaFile};
use fs_err as fs;
use futures_util::future::try_join_all;
use podcov_e2e::{Desk, copy_program, go_build, run};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::control::{ask, start};
use crate::processes::child_of;
use crate::support::{BASH, Bench, names, until, wrapped};

/// How often each kind of death is tried.
const LIVES: usize = 20;

/// The program of e2e/plain, which handles no signal, in a counter mode.
pub(crate) fn plain(mode: &str) -> Result<PathBuf> {
    go_build("e2e/plain", &format!("plain-{mode}"), &["-cover", &format!("-covermode={mode}")])
}

/// How often each function was called, by the counters of all files in a folder together; in mode set how many files say
/// that it was.
pub(crate) fn calls(folder: &Path) -> Result<BTreeMap<String, u32>> {
    let mut calls = BTreeMap::new();
    for name in names(folder, "covcounters.") {
        let FileName::Counters { hash, .. } = name.parse::<FileName>()? else { continue };
        let meta = fs::read(folder.join(FileName::Meta { hash }.to_string()))?;
        let meta = MetaFile::parse(&meta)?;
        let bytes = fs::read(folder.join(&name))?;
        for function in CounterFile::parse(&bytes)?.functions() {
            let package = meta.packages.get(function.package as usize).context("no such package")?;
            let known = package.functions().nth(function.function as usize).context("no such function")?;
            let first = function.counters().next().unwrap_or_default();
            *calls.entry(package.string(known.name).to_owned()).or_default() += first;
        }
    }
    Ok(calls)
}

/// Whether a function was called so often, as far as the files tell.
pub(crate) fn has_called(folder: &Path, function: &str, times: u32) -> bool {
    // A file may be replaced just then.
    calls(folder).is_ok_and(|calls| calls.get(function) == Some(&times))
}

/// How much memory a program has that is to run out of it, in bytes.
const LITTLE: &str = "67108864";

/// A control group with little memory, which this machine may let a test make.
struct LittleMemory(PathBuf);

impl LittleMemory {
    /// `None` where no control group can be made.
    fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("podcov-test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        for (parent, limit, swap) in [
            // Here memory and swap together: no more than the memory, which is limited first.
            ("memory", "memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", LITTLE)),
            ("", "memory.max", ("memory.swap.max", "0")),
        ] {
            let group = Path::new("/sys/fs/cgroup").join(parent).join(&name);
            if fs::create_dir(&group).is_err() {
                continue;
            }
            let group = Self(group);
            let swap = (group.0.join(swap.0), swap.1);
            // A kernel that does not count swap has no such file.
            let is_limited = fs::write(group.0.join(limit), LITTLE).is_ok()
                && (!swap.0.exists() || fs::write(swap.0, swap.1).is_ok());
            if is_limited {
                return Some(group);
            }
        }
        None
    }
}

impl LittleMemory {
    /// Removes it, once the kernel has taken what was killed out of it.
    async fn remove(self) -> Result<()> {
        until("the control group is empty", || fs::remove_dir(&self.0).is_ok()).await
    }
}

impl Drop for LittleMemory {
    fn drop(&mut self) {
        // After `remove` it is not there any more.
        let _ = fs::remove_dir(&self.0);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    Killed,
    Panic,
    OutOfMemory,
}

/// Lets a program run over two intervals, and then die.
async fn live_and_die(mode: &str, death: Death) -> Result<()> {
    let program = plain(mode)?.display().to_string();
    let bench = Bench::new()?.flag("--flush-every=1");
    let folder = bench.folder();
    let memory = match death {
        // Without it, the program would take all memory of this machine.
        Death::OutOfMemory => Some(LittleMemory::new().context("no further control group can be made")?),
        Death::Killed | Death::Panic => None,
    };
    let mut agent = match &memory {
        Some(memory) => {
            let group = memory.0.join("cgroup.procs").display().to_string();
            bench.start(BASH, &["-c", r#"echo $$ >"$0" && exec "$1""#, &group, &program])?
        }
        None => bench.start(&program, &[])?,
    };
    agent.hear("ready").await?;
    agent.tell("one").await?;
    until("one is in the folder", || has_called(&folder, "one", 1)).await?;
    agent.tell("two").await?;
    until("two is in the folder", || has_called(&folder, "two", 1)).await?;
    ensure!(names(&folder, "covcounters.").len() == 1);
    let code = match death {
        Death::Killed => {
            agent.tell("three").await?;
            kill_process(child_of(agent.pid()?)?, Signal::KILL)?;
            137
        }
        Death::Panic => {
            agent.say("panic").await?;
            2
        }
        Death::OutOfMemory => {
            agent.say("grow").await?;
            137
        }
    };
    let ended = agent.end().await?;
    if let Some(memory) = memory {
        memory.remove().await?;
    }
    ensure!(ended.code == code, "{} {}", ended.code, ended.stderr);
    let left = calls(&folder)?;
    ensure!(left.get("one") == Some(&1) && left.get("two") == Some(&1), "{left:?}");
    ensure!(names(&folder, "").len() == 2, "{:?}", names(&folder, ""));
    let how = if code == 2 { "ended with exit code 2" } else { "was ended by SIGKILL" };
    let said = format!(
        "warning: the program {how} without writing its counters; at most what it counted in its last "
    );
    ensure!(ended.stderr.contains(&said) && ended.stderr.ends_with("s is lost\n"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn a_program_that_dies_loses_its_last_interval_alone() -> Result<()> {
    let deaths = match LittleMemory::new() {
        Some(memory) => {
            memory.remove().await?;
            &[Death::Killed, Death::Panic, Death::OutOfMemory][..]
        }
        None => {
            eprintln!("skipped: a program that is out of memory: no control group can be made here");
            &[Death::Killed, Death::Panic]
        }
    };
    for mode in ["set", "atomic"] {
        for death in deaths {
            let lives = (0..LIVES).map(|_| live_and_die(mode, *death));
            try_join_all(lives).await.with_context(|| format!("{mode} {death:?}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_a_program_writes_itself_counts_once() -> Result<()> {
    let bench = Bench::new()?.flag("--flush-every=0.05");
    let folder = bench.folder();
    let mut agent = bench.start(plain("count")?, &[])?;
    agent.hear("ready").await?;
    for _ in 0..3 {
        agent.tell("one").await?;
    }
    until("one is in the folder", || has_called(&folder, "one", 3)).await?;
    let snapshot = bench.files("covcounters.");
    agent.tell("two").await?;
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let calls = calls(&folder)?;
    assert_eq!((calls.get("one"), calls.get("two")), (Some(&3), Some(&1)), "{calls:?}");
    let left = bench.files("covcounters.");
    assert_eq!(left.len(), 1);
    assert!(left != snapshot, "the program's own file is there");
    Ok(())
}

/// The agent may be short of what it needs to read a process, as of open files. Then the process has not ended.
#[tokio::test]
async fn a_process_that_cannot_be_read_for_a_while_counts_once() -> Result<()> {
    let bench = Bench::new()?.flag("--flush-every=0.05");
    let folder = bench.folder();
    let mut agent = bench.start(plain("atomic")?, &[])?;
    agent.hear("ready").await?;
    agent.tell("one").await?;
    until("one is in the folder", || has_called(&folder, "one", 1)).await?;
    let usual = getrlimit(Resource::Nofile);
    let none = Rlimit { current: Some(3), ..usual };
    prlimit(Some(agent.pid()?), Resource::Nofile, none)?;
    while !agent.error().await?.contains("no snapshot was taken") {}
    prlimit(Some(agent.pid()?), Resource::Nofile, usual)?;
    agent.tell("one").await?;
    until("one is in the folder twice", || has_called(&folder, "one", 2)).await?;
    assert_eq!(bench.files("covcounters.").len(), 1);
    assert_eq!(agent.end().await?.code, 0);
    Ok(())
}

/// What a process had counted until it cleared its counters is in no file of its own.
#[tokio::test]
async fn what_a_program_clears_is_not_lost() -> Result<()> {
    let mut bench = Bench::new()?.flag("--flush-every=0.05");
    let folder = bench.folder();
    let (mut agent, port) = start(&mut bench, plain("atomic")?, &[]).await?;
    for _ in 0..3 {
        agent.tell("one").await?;
    }
    until("one is in the folder", || has_called(&folder, "one", 3)).await?;
    agent.tell("clear").await?;
    agent.tell("one").await?;
    until("it has been called once more", || has_called(&folder, "one", 4)).await?;
    assert_eq!(bench.files("covcounters.").len(), 2);
    // It writes and clears its counters, as a handler does.
    for _ in 0..2 {
        agent.tell("two").await?;
        agent.tell("write").await?;
        agent.tell("clear").await?;
    }
    assert_eq!(ask(port, "GET", "/coverage", "").await?.status, 200);
    agent.tell("three").await?;
    assert_eq!(agent.end().await?.code, 0);
    let calls = calls(&folder)?;
    let of = |name: &str| calls.get(name).copied().unwrap_or_default();
    assert_eq!((of("one"), of("two"), of("three")), (4, 2, 1), "{calls:?}");
    Ok(())
}

#[tokio::test]
async fn a_process_that_the_program_has_started_is_read_too() -> Result<()> {
    let program = wrapped("set")?.display().to_string();
    let bench = Bench::new()?.flag("--flush-every=0.05");
    let folder = bench.folder();
    let script = r#"GOCOVERDIR= "$0" forever & p=$!; read -r; kill -KILL $p; wait; exit 3"#;
    let mut agent = bench.start(BASH, &["-c", script, &program])?;
    agent.hear("ready").await?;
    until("main is in the folder", || has_called(&folder, "main", 1)).await?;
    agent.say("").await?;
    assert_eq!(agent.end().await?.code, 3);
    assert!(has_called(&folder, "main", 1));
    Ok(())
}

/// A copy of a program whose file does not say where its counters are.
pub(crate) fn without_sections(program: &Path, copy: &Path) -> Result<()> {
    let mut bytes = fs::read(program)?;
    // ELF64: e_shoff, e_shnum and e_shstrndx.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let changed = copy.with_extension("changed");
    fs::copy(program, &changed)?;
    fs::write(&changed, bytes)?;
    copy_program(&changed, copy)?;
    Ok(fs::remove_file(changed)?)
}

#[tokio::test]
async fn a_program_that_cannot_be_read_is_signalled_if_there_is_a_storage() -> Result<()> {
    let bench = Bench::new()?.flag("--flush-every=0.05");
    let storage = bench.dir.path().join("storage");
    let program = bench.dir.path().join("program");
    without_sections(&wrapped("atomic")?, &program)?;
    let with = bench.flag(format!("--storage=file://{}", storage.display()));
    let mut agent = with.start(&program, &["terms", "1"])?;
    agent.hear("ready").await?;
    for _ in 0..3 {
        agent.hear("user defined signal 1").await?;
    }
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!(ended.code, 7);
    let why = "its file has no section headers, so its counters cannot be found; was it packed?";
    let warning = format!("({}): {why}; the program is signalled instead\n", program.display());
    assert_eq!(ended.stderr.matches("warning: ").count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains(&warning), "{}", ended.stderr);

    // Else each signal would leave a file in the folder. It says why before it has looked again.
    let without = Bench { flags: with.flags[..2].to_vec(), ..Bench::new()? };
    let mut agent =
        without.start(BASH, &["-c", "trap 'echo signalled' USR1; echo ready; read -r; exit 3"])?;
    agent.hear("ready").await?;
    let warning = "warning: --flush-every: no snapshot could be taken: no process here is a Go program built with \
                   -cover; without --storage nothing else is done before the program ends";
    assert!(agent.error().await?.ends_with(warning));
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stdout.as_str()), (3, "ready\n"));
    assert!(!ended.stderr.contains("--flush-every"), "{}", ended.stderr);
    Ok(())
}

#[tokio::test]
async fn what_a_script_becomes_has_a_reason_of_its_own() -> Result<()> {
    let bench = Bench::new()?.flag("--flush-every=0.05");
    let program = bench.dir.path().join("program");
    without_sections(&wrapped("atomic")?, &program)?;
    let program = program.display().to_string();
    let mut agent = bench.start(BASH, &["-c", r#"echo script; read -r; exec "$0" terms 1"#, &program])?;
    agent.hear("script").await?;
    assert!(agent.error().await?.contains(": no process here is a Go program built with -cover; "));
    agent.say("").await?;
    agent.hear("ready").await?;
    let warning = agent.error().await?;
    assert!(warning.contains(": its file has no section headers, "), "{warning}");
    agent.signal(Signal::TERM)?;
    assert_eq!(agent.end().await?.code, 7);
    Ok(())
}

/// The one start that was uploaded.
fn only_start(storage: &Path) -> Option<PathBuf> {
    let mut folder = storage.to_owned();
    while !folder.join("manifest.json").exists() {
        let [name] = &names(&folder, "")[..] else { return None };
        folder.push(name);
    }
    Some(folder)
}

#[tokio::test]
async fn storage_has_what_the_folder_had() -> Result<()> {
    for is_killed in [true, false] {
        let bench = Bench::new()?.flag("--flush-every=0.05");
        let storage = bench.dir.path().join("storage");
        let bench = bench.flag(format!("--storage=file://{}", storage.display()));
        let stored = |function: &str, times: u32| {
            only_start(&storage).is_some_and(|start| has_called(&start, function, times))
        };
        let mut agent = bench.start(plain("count")?, &[])?;
        agent.hear("ready").await?;
        for times in 1..=3 {
            agent.tell("one").await?;
            until("the call is in the storage", || stored("one", times)).await?;
        }
        if is_killed {
            kill_process(child_of(agent.pid()?)?, Signal::KILL)?;
        } else {
            agent.tell("two").await?;
        }
        let ended = agent.end().await?;
        assert_eq!(ended.code, if is_killed { 137 } else { 0 });
        let start = only_start(&storage).context("nothing is there")?;
        assert!(has_called(&start, "one", 3), "{:?}", calls(&start));
        // What is uploaded need not fill the container's disk.
        assert_eq!(bench.files("covcounters."), [""; 0]);

        let desk = Desk::new(Path::new("/nonexistent"))?;
        let mut report = desk.command("podcov-report", ["--from", &format!("file://{}", storage.display())]);
        report.current_dir(bench.dir.path());
        let report = run(report).await?;
        if is_killed {
            let said = "not uploaded: its program ended without writing its counters 1 of 1 times, the last time by \
                        SIGKILL; at most what it had counted in its last ";
            assert!(report.stderr.contains(said), "{}", report.stderr);
            assert_eq!(report.code, 4);
        } else {
            assert!(has_called(&start, "two", 1));
            assert_eq!((report.code, report.stderr.as_str()), (0, ""));
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_life_says_how_long_it_was_not_read() -> Result<()> {
    let mut bench = Bench::new()?.flag("--flush-every=0.05").flag("--restart=on-failure");
    let folder = bench.folder();
    let (mut agent, port) = start(&mut bench, plain("set")?, &[]).await?;
    until("main is in the folder", || has_called(&folder, "main", 1)).await?;
    kill_process(child_of(agent.pid()?)?, Signal::KILL)?;
    agent.hear("ready").await?;
    let lives = ask(port, "GET", "/health", "").await?.json()?["lives"].clone();
    assert_eq!((&lives["ended"], &lives["lost"]), (&1.into(), &1.into()), "{lives}");
    assert!(lives["last"][0]["unread"].as_u64().is_some(), "{lives}");
    until("both are in the folder", || has_called(&folder, "main", 2)).await?;
    // Its input ends, and so does it.
    assert_eq!(agent.end().await?.code, 0);
    assert!(has_called(&folder, "main", 2));
    Ok(())
}

/// Its profile has all that it has counted.
#[tokio::test]
async fn a_test_binarys_profile_counts_once() -> Result<()> {
    let bench = Bench::new()?.flag("--flush-every=0.05").with("TMPDIR", "/tmp");
    let folder = bench.folder();
    let program = crate::restart::test_binary()?;
    let mut agent = bench.start(program, &["-test.coverprofile=cover.out", "terms", "1"])?;
    agent.hear("ready").await?;
    until("a snapshot is in the folder", || names(&folder, "covcounters.").len() == 1).await?;
    agent.signal(Signal::TERM)?;
    let ended = agent.end().await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{}", ended.stdout);
    assert_eq!((bench.files("covcounters.").len(), bench.files("coverprofile.").len()), (0, 1));
    Ok(())
}

fn missing(storage: &Path) -> Result<serde_json::Value> {
    let start = only_start(storage).context("nothing is there")?;
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(start.join("manifest.json"))?)?;
    Ok(manifest["missing"].clone())
}

#[tokio::test]
async fn what_dies_before_its_first_snapshot_is_in_the_manifest() -> Result<()> {
    let bench = Bench::new()?.flag("--flush-every=3600");
    let storage = bench.dir.path().join("storage");
    let bench = bench.flag(format!("--storage=file://{}", storage.display()));
    let mut agent = bench.start(plain("set")?, &[])?;
    agent.hear("ready").await?;
    kill_process(child_of(agent.pid()?)?, Signal::KILL)?;
    assert_eq!(agent.end().await?.code, 137);
    let expected = "its program ended without writing its counters 1 of 1 times, the last time by SIGKILL; what it had \
                    counted since it last wrote them is lost";
    assert_eq!(missing(&storage)?, serde_json::json!([expected]));
    Ok(())
}

/// The folder is empty when the shell ends.
#[tokio::test]
async fn what_was_uploaded_and_removed_was_written() -> Result<()> {
    let program = wrapped("set")?.display().to_string();
    let bench = Bench::new()?.flag("--flush-every=0.05");
    let storage = bench.dir.path().join("storage");
    let bench = bench.flag(format!("--storage=file://{}", storage.display()));
    let mut agent = bench.start(BASH, &["-c", r#""$0" exit 0; echo ended; read -r; exit 3"#, &program])?;
    agent.hear("ended").await?;
    let are_stored = || only_start(&storage).is_some_and(|start| has_called(&start, "main", 1));
    until("the counters are in the storage alone", || are_stored() && bench.files("covcounters.").is_empty())
        .await?;
    agent.say("").await?;
    assert_eq!(agent.end().await?.code, 3);
    assert_eq!(missing(&storage)?, serde_json::Value::Null);
    Ok(())
}
