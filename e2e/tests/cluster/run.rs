//! `podcov run`: tests, and the coverage of programs that nobody has changed, in one process.

use anyhow::{Context, Result, ensure};
use kube::ResourceExt;
use podcov_e2e::{Ended, Service, Space, run};

/// What asks nothing of a program: built with `-cover` alone, and nothing else in its image.
const STOCK: Service = Service {
    name: "stock",
    replicas: 2,
    build: &["-cover"],
    tools: &[],
    env: &[],
    user: "65532",
    ..Service::WRITES
};

/// Runs tests that ask nothing of a cluster but what a shell's command does, as a hook of Skaffold's or without it.
async fn run_tests(space: &Space, skaffold: bool, flags: &str, command: &str) -> Result<Ended> {
    let image = space.busybox()?;
    let words = ["run", "--namespace", &space.name, "--live-image", &image].into_iter();
    let words =
        words.chain(flags.split_whitespace()).chain(["service/stock", "70", "--", "sh", "-c", command]);
    let mut command = space.command("podcov", words);
    if !skaffold {
        command.env_remove("SKAFFOLD_RUN_ID").env_remove("SKAFFOLD_NAMESPACES");
    }
    run(command).await
}

/// How many containers are in the report, each read through an ephemeral container.
fn read_from_memory(space: &Space) -> Result<usize> {
    let manifest = space.manifest()?;
    let containers = manifest["containers"].as_array().context("containers")?;
    ensure!(containers.iter().all(|one| one["live_way"] == "ephemeral"), "{manifest}");
    Ok(containers.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_of_a_service_are_read_however_the_tests_end() -> Result<()> {
    let space = Space::new().await?;
    space.start(&STOCK, space.without_coverdir(&STOCK)?).await?;
    // A pod that no test asks for.
    let other = Service { name: "other", replicas: 1, ..STOCK };
    space.start(&other, space.without_coverdir(&other)?).await?;
    // Under Skaffold all pods of the run are read.
    for (skaffold, containers) in [(false, 2), (true, 3)] {
        for (flags, command, code) in [
            ("", r#"test -n "$PODCOV_ADDR""#, 0),
            ("", "exit 3", 3),
            ("", "kill -KILL $$", 137),
            ("--fail-under 100", "true", 1),
            ("--fail-under 100", "exit 3", 3),
        ] {
            let ended = run_tests(&space, skaffold, flags, command).await?;
            assert_eq!(ended.code, code, "{skaffold} {flags} {command}: {ended:?}");
            let files = format!("{} files of {containers} containers in reports/coverage", 2 * containers);
            assert!(ended.stdout.contains(&files), "{ended:?}");
            assert_eq!(read_from_memory(&space)?, containers);
            fs_err::remove_dir_all(space.dir().join("reports"))?;
        }
    }
    assert!(!space.dir().join(".podcov").exists(), "a file is left for other hooks");

    let kubectl = format!("kubectl --context {} --namespace {}", space.context, space.name);
    for (skaffold, containers) in [(false, 2), (true, 3)] {
        let pod = space.pods("stock").await?[0].name_any();
        let replace = format!("{kubectl} delete pod {pod} && {kubectl} rollout status deployment/stock");
        let ended = run_tests(&space, skaffold, "", &replace).await?;
        assert_eq!(ended.code, 4, "{ended:?}");
        let lost =
            format!("pod {}/{pod} was deleted during the run; what it had counted is lost", space.name);
        assert!(ended.stderr.contains(&lost), "{ended:?}");
        assert_eq!(read_from_memory(&space)?, containers);
    }
    Ok(())
}
