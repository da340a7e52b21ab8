//! Uploads where all goes well.

use std::sync::Arc;

use anyhow::{Context, Result};
use podcov_e2e::Ended;
use rustix::process::Signal;

use crate::servers::Server;
use crate::support::Bench;
use crate::{CODE, all_is_there, arrived, bench, contents, on_each, program, run_and_stop, starts};

#[tokio::test]
async fn all_files_and_a_manifest_are_there_when_the_agent_ends() -> Result<()> {
    on_each(async |bucket| {
        let bench = bench(bucket, &bucket.server.url)?;
        let ended = run_and_stop(&bench).await?;
        all_is_there(bucket, &bench, &ended).await
    })
    .await
}

#[tokio::test]
async fn googles_server_may_ask_for_a_token() -> Result<()> {
    let bucket = Arc::new(Server::with_token("t0ken").await?).bucket().await?;
    let with_base_url = bench(&bucket, &bucket.server.url)?;
    let ended = run_and_stop(&with_base_url).await?;
    all_is_there(&bucket, &with_base_url, &ended).await?;

    // One that is given goes to an emulator too.
    let bucket = bucket.server.bucket().await?;
    let mut emulated = bench(&bucket, &bucket.server.url)?;
    emulated.environment.iter_mut().filter(|(name, _)| name == "GOOGLE_BASE_URL").for_each(|(name, _)| {
        "STORAGE_EMULATOR_HOST".clone_into(name);
    });
    let ended = run_and_stop(&emulated).await?;
    all_is_there(&bucket, &emulated, &ended).await
}

#[tokio::test]
async fn containers_restarts_and_runs_are_kept_apart() -> Result<()> {
    on_each(async |bucket| {
        let of = |run: &str, container: &str, variable: &str| -> Result<Bench> {
            let mut bench = bench(bucket, &bucket.server.url)?;
            let mine =
                |flag: &String| !["--storage=", "--run=", "--container="].iter().any(|f| flag.starts_with(f));
            bench.flags.retain(mine);
            Ok(bench
                .with(variable, bucket.address())
                .with("PODCOV_RUN", run)
                .with("PODCOV_CONTAINER", container))
        };
        let (app, sidecar) = (of("r1", "app", "PODCOV_STORAGE")?, of("r1", "sidecar", "INTEGCOV_STORAGE")?);
        let (again, other) = (of("r1", "app", "INTEGCOV_STORAGE")?, of("r2", "app", "PODCOV_STORAGE")?);
        let end = async |bench: &Bench| -> Result<Ended> {
            let mut agent = bench.start(program()?, &["terms", "1"])?;
            agent.hear("ready").await?;
            agent.signal(Signal::TERM)?;
            agent.end().await
        };
        let (first, beside) = tokio::try_join!(end(&app), end(&sidecar))?;
        let later = [end(&again).await?, end(&other).await?];
        for ended in [first, beside].into_iter().chain(later) {
            assert_eq!(ended.code, CODE, "{}", ended.stderr);
        }

        let starts = starts(bucket.objects().await?)?;
        let folders: Vec<_> = starts.keys().filter_map(|start| Some(start.rsplit_once('/')?.0)).collect();
        let folder = |of: &str| format!("builds/one/{}", of.replace(' ', "/shop/cart-0/"));
        assert_eq!(folders, ["r1 app", "r1 app", "r1 sidecar", "r2 app"].map(folder));
        // Those of one container are ordered by time.
        for (objects, bench) in starts.values().zip([&app, &again, &sidecar, &other]) {
            arrived(objects, &contents(&bench.folder())?, Some(CODE)).context("a start")?;
        }
        Ok(())
    })
    .await
}
