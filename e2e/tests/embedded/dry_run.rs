//! `podcov-collect --dry-run`: it tells what a run does, and changes nothing.

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::World;
use podcov_testbed::{FixedPod, Tools};
use serde_json::{Value, json};

use crate::support::*;

async fn dry_run(world: &World, line: &str) -> Result<podcov_e2e::Ended> {
    world.run("podcov-collect", &format!("--dry-run --run-id {RUN} {line}")).await
}

fn with_folder(world: &World, name: &str, tools: Tools) -> Result<FixedPod> {
    let pod = fixed(running("default", name, &["app"])).tools("app", tools);
    Ok(pod.mount("app", "/coverage-data", one_run(world, name)?))
}

/// A dry run of each container ends as the run after it does, with the same way and the same files.
#[tokio::test(flavor = "multi_thread")]
async fn it_tells_what_the_run_does() -> Result<()> {
    let world = World::new().await?;
    for (name, tools) in [
        ("shell", Tools::all()),
        ("tar-alone", Tools::only(["tar"])),
        ("no-tar", Tools::only(["sh"])),
        ("nothing", Tools::none()),
    ] {
        world.bed.add_pod(with_folder(&world, name, tools)?)?;
    }
    let empty = world.dir().join("pods/empty");
    fs::create_dir_all(&empty)?;
    world.bed.add_pod(fixed(running("default", "empty", &["app"])).mount("app", "/coverage-data", empty))?;
    world.bed.add_pod(fixed(running("default", "no-folder", &["app"])))?;
    let mut completed = running("default", "completed", &["app"]);
    completed["status"]["phase"] = json!("Succeeded");
    world.bed.add_pod(fixed(completed))?;
    let mut without = running("default", "without", &["app"]);
    without["spec"]["containers"][0]["env"] = json!([]);
    world.bed.add_pod(fixed(without))?;

    for (name, way) in [
        ("shell", Some("exec-sh-tar")),
        ("tar-alone", Some("exec-tar")),
        ("no-tar", None),
        ("nothing", None),
        ("empty", None),
        ("no-folder", None),
        ("completed", None),
        ("without", None),
    ] {
        let before = world.files(".")?;
        let ended = dry_run(&world, &format!("--json --pod {name}")).await?;
        assert_eq!(world.files(".")?, before, "{name}: it wrote a file");
        let run = world.run("podcov-collect", &format!("--run-id {RUN} --tries 1 --pod {name}")).await?;
        assert_eq!(ended.code, run.code, "{name}: {ended:?}\n{run:?}");
        assert_eq!(run.code == 0, way.is_some(), "{name}: {run:?}");
        if let Some(way) = way {
            let plan: Value = serde_json::from_str(&ended.stdout)?;
            let files = json!({"way": way, "dir": "/coverage-data", "meta": 1, "counters": 1, "profiles": 0});
            assert_eq!(plan["containers"][0]["files"], files, "{plan}");
            let manifest = world.manifest()?;
            assert_eq!(manifest["containers"][0]["way"], way);
            assert_eq!(manifest["containers"][0]["folder"], plan["containers"][0]["folder"]);
            assert_eq!(manifest["containers"][0]["files"].as_array().map(Vec::len), Some(2));
        } else {
            // The same words, but for the line of the script that the shell names.
            let words = |text: &str| text.split(" (podcov: ").next().map(str::to_owned);
            assert_eq!(words(&ended.stderr), words(&run.stderr), "{name}");
        }
    }

    let all = dry_run(&world, "--pod {shell,nothing,without} --out report").await?;
    assert_eq!(all.code, 4, "{all:?}");
    assert_eq!(
        all.stdout,
        "pod default/shell container app: into report/default/shell/app\n    \
             files by exec-sh-tar: 1 meta-data file and 1 counter file in /coverage-data\n\
         pod default/without: skipped: no container sets GOCOVERDIR or runs podcov-agent; podcov-collect --live reads \
         counters from memory\n\
         dry run: 1 container would be collected into report, with 1 loss; nothing was changed\n"
    );
    let subject = "podcov-collect: error: pod default/nothing container app: the image has no shell;";
    assert!(all.stderr.starts_with(subject) && all.stderr.lines().count() == 1, "{all:?}");
    Ok(())
}

/// What is asked of the programs is told, and not asked.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_is_not_sent() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let pod = pods_of(&world, "writes").pop().context("a pod")?;
    let folder = world.bed.volume_dir("default", &pod, "cov").context("a volume")?;
    let names = || -> Result<Vec<_>> {
        Ok(fs::read_dir(&folder)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<Result<_, _>>()?)
    };
    let before = names()?;
    let ended = dry_run(&world, "--signal USR1").await?;
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let text = ended.stdout.lines().nth(1).context("a line")?;
    let start = "    files by exec-sh-tar: SIGUSR1 would be sent to process ";
    let end = " first; 1 meta-data file and 0 counter files now in /coverage-data";
    assert!(text.starts_with(start) && text.ends_with(end), "{text}");
    // A program that gets the signal writes a counter file; the run after this shows that it can.
    assert_eq!(names()?, before);
    assert!(!world.dir().join(".podcov").exists() && !world.dir().join("reports").exists());
    let run = world.run("podcov-collect", &format!("--run-id {RUN} --signal USR1")).await?;
    ensure!(run.code == 0 && run.stdout.contains("2 files of 1 container"), "{run:?}");
    Ok(())
}

/// A folder that is not podcov-collect's is refused before anything is looked at; a failure of the tests is left to the run.
#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_what_the_run_refuses() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    fs::create_dir_all(world.dir().join("mine"))?;
    fs::write(world.dir().join("mine/notes.txt"), "mine")?;
    let ended = dry_run(&world, "--out mine").await?;
    assert_eq!(ended.code, 2, "{ended:?}");

    let tests = world.run("podcov-test", &format!("--defer-failure --run-id {RUN} -- false")).await?;
    assert_eq!(tests.code, 0, "{tests:?}");
    let before = world.files(".podcov")?;
    let ended = dry_run(&world, "").await?;
    assert_eq!((ended.code, world.files(".podcov")?), (0, before), "{ended:?}");
    let run = world.run("podcov-collect", &format!("--run-id {RUN}")).await?;
    assert_eq!(run.code, 1, "{run:?}");
    Ok(())
}
