//! Which files of a container podcov-collect takes by exec.

use anyhow::Result;
use fs_err as fs;
use podcov_e2e::World;

use crate::support::*;

/// A test binary's text profile counts, and what others have left in the folder does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn text_profiles_are_taken_and_other_files_are_not() -> Result<()> {
    let world = World::new().await?;
    let folder = one_run(&world, "one")?;
    let profile = "coverprofile.7.1795224885693041480";
    fs::write(folder.join(profile), "mode: atomic\nexample.com/other/a.go:3.10,5.2 1 4\n")?;
    for other in ["coverprofile.out", ".gitkeep", "notes.txt"] {
        fs::write(folder.join(other), "")?;
    }
    fs::create_dir(folder.join("lost+found"))?;
    world.bed.add_pod(fixed(running("default", "one", &["app"])).mount("app", "/coverage-data", &folder))?;
    let collected = world.run("podcov-collect", &format!("--run-id {RUN}")).await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
    assert_eq!(world.files("reports/coverage/default/one/app")?, [&counters_of("one"), profile, META]);
    assert!(collected.stdout.contains("example.com/other"), "{}", collected.stdout);
    Ok(())
}

/// More files than the names of which a command line holds.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_files_and_more() -> Result<()> {
    const FILES: usize = 10_050;
    let world = World::new().await?;
    let folder = one_run(&world, "many")?;
    let (hash, time) = COUNTERS.split_once(".19644.").expect("the fixture's process");
    for pid in 1..FILES {
        fs::copy(fixture().join(COUNTERS), folder.join(format!("{hash}.{}.{time}", pid + 100_000)))?;
    }
    for other in [".gitkeep", "notes.txt"] {
        fs::write(folder.join(other), "")?;
    }
    fs::create_dir(folder.join("lost+found"))?;
    world.bed.add_pod(fixed(running("default", "many", &["app"])).mount("app", "/coverage-data", &folder))?;
    let collected = world.run("podcov-collect", &format!("--run-id {RUN}")).await?;
    let said = collected.stderr.lines().next();
    assert_eq!((collected.code, said), (0, None), "{} lines", collected.stderr.lines().count());
    assert_eq!(world.files("reports/coverage/default/many/app")?.len(), FILES + 1);
    Ok(())
}
