//! podcov-collect: what is lost, comes twice or is stale is said, and shows in the exit code and the manifest.

use std::time::Duration;

use anyhow::Result;
use fs_err as fs;
use podcov_e2e::{Ended, World, run};
use podcov_testbed::{Fault, Rule};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

/// What takes longer hangs.
const HUNG: Duration = Duration::from_secs(120);

async fn collect(world: &World, more: &str) -> Result<Ended> {
    world.run("podcov-collect", &format!("--run-id {RUN} {more}")).await
}

/// A pod with one container that holds one run, whose object `edit` makes what it is.
fn add_pod(world: &World, name: &str, edit: impl FnOnce(&mut Value)) -> Result<()> {
    let mut object = running("default", name, &["app"]);
    edit(&mut object);
    world.bed.add_pod(fixed(object).mount("app", "/coverage-data", one_run(world, name)?))
}

/// Has a pod's container restarted so often; its last process ended in this way, at a time before all counter files.
fn restart(object: &mut Value, restarts: u32, reason: &str, code: i32) {
    object["spec"]["volumes"] = json!([{"name": "cov", "emptyDir": {}}]);
    object["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "cov", "mountPath": "/coverage-data"}]);
    let status = &mut object["status"]["containerStatuses"][0];
    status["restartCount"] = json!(restarts);
    status["lastState"]["terminated"] = json!({
        "exitCode": code, "reason": reason, "startedAt": "2025-12-31T00:00:00Z", "finishedAt": "2025-12-31T01:00:00Z"
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_life_that_was_lost_is_named() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "steady", |_| {})?;
    assert_eq!(collect(&world, "").await?.code, 0);
    add_pod(&world, "crashed", |pod| restart(pod, 1, "OOMKilled", 137))?;
    // What was written while its last process ran, at its own end.
    add_pod(&world, "clean", |pod| {
        restart(pod, 1, "Completed", 0);
        let last = &mut pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
        last["finishedAt"] = json!("2027-12-31T01:00:00Z");
    })?;
    let collected = collect(&world, "").await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    let loss = "pod default/crashed container app: it was restarted during the run (OOMKilled); \
                what it had counted until then is lost";
    assert_eq!(collected.stderr, format!("podcov-collect: error: {loss}\n"));
    // What it has counted since is there.
    assert!(collected.stdout.contains("6 files of 3 containers"), "{collected:?}");
    let manifest = world.manifest()?;
    assert_eq!(manifest["version"], 2);
    assert_eq!(
        manifest["losses"],
        json!([{"namespace": "default", "pod": "crashed", "container": "app", "message": loss}])
    );
    let lives = |number: usize| manifest["containers"][number]["lives"].clone();
    assert_eq!(lives(0)[0]["counters"], "written");
    assert_eq!(
        lives(1),
        json!([
            {"started": "2025-12-31T00:00:00Z", "ended": "2025-12-31T01:00:00Z", "exit_code": 137,
             "reason": "OOMKilled", "counters": "lost"},
            {"started": "2026-01-01T00:00:00Z"}
        ])
    );
    assert_eq!(lives(2), json!([{"started": "2026-01-01T00:00:00Z"}]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_container_in_a_crash_loop_the_last_life_is_named() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "good", |_| {})?;
    add_pod(&world, "looping", |pod| {
        restart(pod, 4, "Error", 2);
        pod["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    })?;
    let collected = collect(&world, "").await?;
    assert_eq!(collected.code, 4);
    assert_eq!(
        collected.stderr,
        "podcov-collect: error: skipped pod default/looping container app: it is not running \
         (CrashLoopBackOff after exit code 2, as after a panic); its files cannot be copied\n"
    );
    Ok(())
}

/// Its pod's status says a second later that its program runs again.
#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_started_again_is_waited_for() -> Result<()> {
    for may_watch in [true, false] {
        let world = World::new().await?;
        let no_right = Rule::new(Fault::status(403)).verb("watch");
        let _refusal = (!may_watch).then(|| world.bed.fault(no_right));
        let uid = |pod: &mut Value| pod["metadata"]["uid"] = json!("7f1c1d4e-0000-4000-8000-000000000001");
        add_pod(&world, "ended", |pod| {
            uid(pod);
            let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
            pod["status"]["containerStatuses"][0]["state"] = ended;
        })?;
        let starting = async {
            while world.bed.requests().count("watch", "pods") == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            add_pod(&world, "ended", uid)
        };
        let (collected, started) = tokio::join!(collect(&world, ""), starting);
        started?;
        let collected = collected?;
        assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
        // The targets, what became of them, and the pods of no run.
        let lists = world.bed.requests().count("list", "pods");
        assert_eq!(lists > 3, !may_watch, "{lists} lists: again only where there is no watch");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_several_pods_share_counts_once() -> Result<()> {
    let world = World::new().await?;
    let folder = one_run(&world, "shared")?;
    let name = |number: u32| format!("replica-{number}");
    for number in 0..3 {
        let pod = fixed(running("default", &name(number), &["app"]));
        world.bed.add_pod(pod.mount("app", "/coverage-data", &folder))?;
    }
    let collected = collect(&world, "").await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    assert_eq!(
        collected.stderr,
        "podcov-collect: the folder of pod default/replica-0 container app is shared by pod default/replica-1 \
         container app and pod default/replica-2 container app; each file in it counts once\n"
    );
    assert!(collected.stdout.contains("2 files of 3 containers"), "{collected:?}");
    let manifest = world.manifest()?;
    assert_eq!(
        manifest["containers"][2]["shared"],
        json!([{"with": "default/replica-0/app", "files": [counters_of("shared")]}])
    );
    // As Go prints for the one folder.
    as_go_says(&collected.stdout, &go_percent([folder])?)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_pod_does_not_count() -> Result<()> {
    let world = World::new().await?;
    let start = |pod: &mut Value, time: &str| pod["status"]["startTime"] = json!(time);
    // The counters are of November 2026.
    add_pod(&world, "new", |pod| start(pod, "2026-01-01T00:00:00Z"))?;
    add_pod(&world, "kept", |pod| start(pod, "2027-01-01T00:00:00Z"))?;
    let today = format!("{}.{}", COUNTERS.rsplit_once('.').unwrap().0, 1_830_000_000_000_000_000_u64);
    fs::copy(fixture().join(COUNTERS), world.dir().join("pods/kept").join(&today))?;

    let collected = collect(&world, "").await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    assert_eq!(
        collected.stderr,
        "podcov-collect: 1 counter file of pod default/kept container app is older than its pod and was left out; \
         --include-older counts them\n"
    );
    assert_eq!(world.files("reports/coverage/default/kept/app")?, [today, META.to_owned()]);
    assert_eq!(world.manifest()?["containers"][0]["older"], json!([counters_of("kept")]));

    let all = collect(&world, "--include-older").await?;
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    assert_eq!(world.files("reports/coverage/default/kept/app")?.len(), 3);

    // A program that has written nothing since its pod started.
    add_pod(&world, "silent", |pod| start(pod, "2027-01-01T00:00:00Z"))?;
    let collected = collect(&world, "--pod silent").await?;
    assert_eq!(collected.code, 4);
    let words = "pod default/silent container app: all its counter files are older than the pod, and it has written none";
    assert!(collected.stderr.contains(words), "{collected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_not_of_the_run_are_told() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "of-run", |_| {})?;
    let unlabelled = |pod: &mut Value| pod["metadata"]["labels"] = json!({"app": "created-by-an-operator"});
    add_pod(&world, "operated", unlabelled)?;
    // Neither has counters to be missed.
    add_pod(&world, "plain", |pod| {
        unlabelled(pod);
        pod["spec"]["containers"][0]["env"] = json!([]);
    })?;
    add_pod(&world, "other-run", |pod| {
        pod["metadata"]["labels"] = json!({"skaffold.dev/run-id": "another"});
    })?;
    for more in ["", "--coverdir /coverage-data"] {
        let collected = collect(&world, more).await?;
        assert_eq!(collected.code, 0, "{collected:?}");
        assert_eq!(
            collected.stderr,
            "podcov-collect: 1 pod with GOCOVERDIR or podcov-agent is not of this run: default/operated; \
             to collect from such pods too select them with --run-id '' and -l or --pod\n"
        );
    }
    assert_eq!(world.manifest()?["not_of_run"], json!([{"namespace": "default", "pod": "operated"}]));
    let mut command = world.command("podcov-collect", ["--run-id", "", "--pod", "operated"]);
    command.env("SKAFFOLD_RUN_ID", RUN);
    let collected = podcov_e2e::run(command).await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""), "{collected:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_to_a_report_keeps_what_it_was() -> Result<()> {
    let world = World::new().await?;
    let uid = |uid: &'static str| move |pod: &mut Value| pod["metadata"]["uid"] = json!(uid);
    add_pod(&world, "web-0", uid("first"))?;
    add_pod(&world, "broken", |_| {})?;
    let broken = world.bed.fault(Rule::new(Fault::status(403)).exec().name("broken"));
    assert_eq!(collect(&world, "--accumulate").await?.code, 4);
    broken.remove();
    world.bed.delete_pod("default", "broken", Some(0))?;

    // Another pod of the same name, as a StatefulSet makes it.
    world.bed.delete_pod("default", "web-0", Some(0))?;
    let folder = one_run(&world, "later")?;
    let mut later = running("default", "web-0", &["app"]);
    uid("second")(&mut later);
    later["status"]["containerStatuses"][0]["imageID"] = json!("later@sha256:01");
    world.bed.add_pod(fixed(later).mount("app", "/coverage-data", folder))?;
    for _ in 0..2 {
        // This run has lost nothing, and the earlier loss is not forgotten.
        let added = collect(&world, "--accumulate").await?;
        assert_eq!(added.code, 0, "{added:?}");
        assert_eq!(
            added.stderr,
            "podcov-collect: the report lacks what earlier runs have lost: 1 loss in manifest.json\n"
        );
        let manifest = world.manifest()?;
        assert_eq!(manifest["complete"], false);
        let losses = manifest["losses"].as_array().unwrap();
        assert_eq!(
            (losses.len(), &losses[0]["earlier"], &losses[0]["pod"]),
            (1, &json!(true), &json!("broken"))
        );
        let containers = manifest["containers"].as_array().unwrap();
        let of = |number: usize| {
            ["folder", "pod_uid", "image_id"].map(|field| containers[number][field].as_str().unwrap())
        };
        assert_eq!(of(1), ["default/web-0/app", "first", "example@sha256:00"]);
        assert_eq!(of(2), ["default/web-0/app.2", "second", "later@sha256:01"]);
        assert_eq!(world.files("reports/coverage/default/web-0/app")?, [&counters_of("web-0"), META]);
        assert_eq!(world.files("reports/coverage/default/web-0/app.2")?, [&counters_of("later"), META]);
    }

    // Another version's report cannot be added to; it can be replaced.
    let path = world.report("manifest.json");
    let mut manifest = world.manifest()?;
    manifest["version"] = json!(1);
    fs::write(&path, manifest.to_string())?;
    let refused = collect(&world, "--accumulate").await?;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("manifest.json has version 1, only 2 can be added to"), "{refused:?}");
    assert_eq!(collect(&world, "").await?.code, 0);
    Ok(())
}

/// What a container lost before a report that names it is no news to a report that is added to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_life_whose_loss_a_report_has_is_lost_once() -> Result<()> {
    let world = World::new().await?;
    let crashed = |world: &World, restarts: u32, month: u32| {
        add_pod(world, "crashed", |pod| {
            restart(pod, restarts, "OOMKilled", 137);
            pod["metadata"]["uid"] = json!("7f1c1d4e-0000-4000-8000-000000000001");
            let last = &mut pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
            last["startedAt"] = json!(format!("2025-{month}-01T00:00:00Z"));
            last["finishedAt"] = json!(format!("2025-{month}-01T01:00:00Z"));
        })
    };
    crashed(&world, 1, 11)?;
    assert_eq!(collect(&world, "--accumulate").await?.code, 4);
    for _ in 0..2 {
        let added = collect(&world, "--accumulate").await?;
        assert_eq!(added.code, 0, "{added:?}");
        assert_eq!(
            added.stderr,
            "podcov-collect: the report lacks what earlier runs have lost: 1 loss in manifest.json\n"
        );
        let manifest = world.manifest()?;
        let losses = manifest["losses"].as_array().unwrap();
        assert_eq!(
            (losses.len(), &losses[0]["earlier"], &manifest["complete"]),
            (1, &json!(true), &json!(false))
        );
    }
    // It crashes once more.
    crashed(&world, 2, 12)?;
    let added = collect(&world, "--accumulate").await?;
    assert_eq!(added.code, 4, "{added:?}");
    assert_eq!(added.stderr.matches("error: ").count(), 1, "{added:?}");
    assert_eq!(collect(&world, "--accumulate").await?.code, 0);
    // A new report lacks both.
    let replaced = collect(&world, "").await?;
    assert_eq!((replaced.code, replaced.stderr.matches("error: ").count()), (4, 2), "{replaced:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn that_the_tests_failed_is_told_though_there_is_no_report() -> Result<()> {
    let world = World::new().await?;
    let failed = world.run("podcov-test", &format!("--run-id {RUN} --defer-failure -- false")).await?;
    assert_eq!(failed.code, 0, "{failed:?}");
    let collected = collect(&world, "").await?;
    assert_eq!(collected.code, 1, "{collected:?}");
    for words in ["the tests failed: false ended with exit code 1", "no coverage found in pods with label"] {
        assert!(collected.stderr.contains(words), "{collected:?}");
    }
    // It is told once.
    assert_eq!(collect(&world, "").await?.code, 4);
    Ok(())
}

/// Runs podcov-test, which notes the pods that it sees, with a command that ends at once.
async fn test(world: &World) -> Result<()> {
    let tested = world.run("podcov-test", &format!("--run-id {RUN} -- true")).await?;
    assert_eq!((tested.code, tested.stderr.as_str()), (0, ""), "{tested:?}");
    Ok(())
}

fn notes(world: &World) -> Result<Vec<String>> {
    if !world.dir().join(".podcov").exists() {
        return Ok(Vec::new());
    }
    let mut files = world.files(".podcov")?;
    files.retain(|file| ![".gitignore", ".podcov-collect.lock"].contains(&file.as_str()));
    Ok(files)
}

/// Waits until podcov-test has noted the pods that it sees.
async fn until_noted(world: &World) -> Result<()> {
    tokio::time::timeout(HUNG, async {
        while notes(world)?.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    })
    .await?
}

fn deleted(pod: &str) -> String {
    format!(
        "podcov-collect: error: pod default/{pod} was deleted during the run; what it had counted is lost\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_deleted_during_the_run_is_a_loss() -> Result<()> {
    let world = World::new().await?;
    for pod in ["before", "stays", "goes", "left"] {
        add_pod(&world, pod, |_| {})?;
    }
    add_pod(&world, "plain", |pod| pod["spec"]["containers"][0]["env"] = json!([]))?;
    add_pod(&world, "other-run", |pod| {
        pod["metadata"]["labels"] = json!({"skaffold.dev/run-id": "another"});
    })?;
    add_pod(&world, "pending", |pod| {
        pod["status"] = json!({"phase": "Pending"});
    })?;
    world.bed.delete_pod("default", "before", Some(0))?;

    // It goes while the tests run: they end as soon as that is noted.
    let until_deleted = "until grep -q '\"deleted\":true' .podcov/pods-*; do sleep 0.02; done";
    let testing = run(world.command("podcov-test", ["--run-id", RUN, "--", "sh", "-c", until_deleted]));
    let deleting = async {
        until_noted(&world).await?;
        world.bed.delete_pod("default", "goes", Some(0))
    };
    let (tested, gone) = tokio::join!(testing, deleting);
    gone?;
    let tested = tested?;
    assert_eq!(tested.code, 0, "{tested:?}");
    // Further tests of the run do not know it any more, and say nothing of the others.
    test(&world).await?;
    for pod in ["left", "plain", "other-run", "pending"] {
        world.bed.delete_pod("default", pod, Some(0))?;
    }
    for _ in 0..2 {
        // A further report lacks it too.
        let collected = collect(&world, "").await?;
        assert_eq!((collected.code, collected.stderr), (4, deleted("goes") + &deleted("left")));
        let losses = &world.manifest()?["losses"];
        let message = "pod default/goes was deleted during the run; what it had counted is lost";
        assert_eq!(losses[0], json!({"namespace": "default", "pod": "goes", "message": message}));
        assert_eq!(world.manifest()?["complete"], false);
    }
    // To a report that has it there is only something to add.
    let added = collect(&world, "--accumulate").await?;
    assert_eq!(added.code, 0, "{added:?}");
    assert_eq!(
        added.stderr,
        "podcov-collect: the report lacks what earlier runs have lost: 2 losses in manifest.json\n"
    );
    // Others are not of this collect.
    for other in ["-n shop", "--pod stays", "-c side", "-l app=x"] {
        let collected = collect(&world, other).await?;
        assert!(!collected.stderr.contains("error: pod default/goes was"), "{other}: {collected:?}");
    }
    // When the tests run again, that is told.
    test(&world).await?;
    let collected = collect(&world, "").await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""));
    assert_eq!(notes(&world)?, [""; 0], "all is told, and nothing is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_collected_of_a_deleted_pod_is_not_lost() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "stays", |_| {})?;
    add_pod(&world, "old", |_| {})?;
    // Without a collect in between: the next iteration deploys again, and tests that.
    test(&world).await?;
    world.bed.delete_pod("default", "old", Some(0))?;
    add_pod(&world, "new", |_| {})?;
    test(&world).await?;
    let collected = collect(&world, "").await?;
    let replaced = "podcov-collect: pod default/old: it was deleted before the last tests of the run began\n";
    assert_eq!((collected.code, collected.stderr.as_str()), (0, replaced));
    assert_eq!(notes(&world)?, [""; 0]);

    test(&world).await?;
    assert_eq!(collect(&world, "").await?.code, 0);
    world.bed.delete_pod("default", "new", Some(0))?;
    let added = collect(&world, "--accumulate").await?;
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    Ok(())
}

/// As where the tests' command replaces pods: it collects before that, and podcov-test goes on noting.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_collected_while_the_tests_run_is_not_lost() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "stays", |_| {})?;
    add_pod(&world, "goes", |_| {})?;
    let until_deleted = "until grep -q '\"deleted\":true' .podcov/pods-*; do sleep 0.02; done";
    let testing = run(world.command("podcov-test", ["--run-id", RUN, "--", "sh", "-c", until_deleted]));
    let replacing = async {
        until_noted(&world).await?;
        let collected = collect(&world, "").await?;
        world.bed.delete_pod("default", "goes", Some(0))?;
        anyhow::Ok(collected)
    };
    let (tested, collected) = tokio::join!(testing, replacing);
    let (tested, collected) = (tested?, collected?);
    assert_eq!((tested.code, collected.code), (0, 0), "{tested:?} {collected:?}");
    let added = collect(&world, "--accumulate").await?;
    assert_eq!((added.code, added.stderr.as_str()), (0, ""));
    assert_eq!(world.manifest()?["containers"].as_array().map(Vec::len), Some(2));
    assert_eq!(notes(&world)?, [""; 0], "all is settled, and nothing is left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_pod_wrote_to_its_volume_may_be_there() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "stays", |_| {})?;
    add_pod(&world, "db-0", |pod| {
        pod["spec"]["volumes"] = json!([{"name": "cov", "persistentVolumeClaim": {"claimName": "c"}}]);
        let mounts = json!([{"name": "cov", "mountPath": "/coverage-data"}]);
        pod["spec"]["containers"][0]["volumeMounts"] = mounts;
    })?;
    test(&world).await?;
    world.bed.delete_pod("default", "db-0", Some(0))?;
    let collected = collect(&world, "").await?;
    let but = "what it had counted is lost, but for what it wrote to its volume (--include-older)\n";
    assert!(collected.code == 4 && collected.stderr.ends_with(but), "{collected:?}");
    let collected = collect(&world, "--include-older").await?;
    let there = "podcov-collect: pod default/db-0: it was deleted during the run; what it wrote may be in its volume\n";
    assert_eq!((collected.code, collected.stderr.as_str()), (0, there));
    Ok(())
}

/// Uploads one run of a pod's container `app` to a folder of storage, as its podcov-agent does, which takes `name` for the
/// pod's.
pub(crate) fn upload(world: &World, pod: &str, name: &str) -> Result<()> {
    let (run, start) = (one_run(world, pod)?, 1_795_224_300_594_803_693_u64);
    let folder = world.dir().join(format!("storage/{RUN}/default/{name}/app/{start}"));
    fs::create_dir_all(&folder)?;
    let mut files = Vec::new();
    for name in [counters_of(pod), META.to_owned()] {
        let bytes = fs::read(run.join(&name))?;
        fs::write(folder.join(&name), &bytes)?;
        let sha256 = format!("{:x}", Sha256::digest(&bytes));
        files.push(json!({"name": name, "size": bytes.len(), "sha256": sha256}));
    }
    let manifest = json!({"version": 1, "podcov": "0.1.0", "run": RUN, "namespace": "default", "pod": name,
        "container": "app", "start": start, "exit_code": 0, "files": files});
    Ok(fs::write(folder.join("manifest.json"), manifest.to_string())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_that_has_uploaded_nothing_is_a_loss() -> Result<()> {
    let world = World::new().await?;
    for pod in ["uploads", "killed", "stays"] {
        add_pod(&world, pod, |_| {})?;
    }
    add_pod(&world, "named", |pod| pod["spec"]["hostname"] = json!("front"))?;
    let until_deleted =
        "until [ \"$(grep -o '\"deleted\":true' .podcov/pods-* | wc -l)\" -eq 3 ]; do sleep 0.02; done";
    let testing = run(world.command("podcov-test", ["--run-id", RUN, "--", "sh", "-c", until_deleted]));
    let deleting = async {
        until_noted(&world).await?;
        upload(&world, "uploads", "uploads")?;
        upload(&world, "named", "front")?;
        for pod in ["uploads", "named"] {
            world.bed.delete_pod("default", pod, Some(0))?;
        }
        world.bed.delete_pod("default", "killed", Some(0))
    };
    let (tested, gone) = tokio::join!(testing, deleting);
    gone?;
    assert_eq!(tested?.code, 0);
    // One that podcov-test did not see go may upload later.
    let from = format!("--from file://{}", world.dir().join("storage").display());
    let collected = collect(&world, &from).await?;
    assert_eq!((collected.code, collected.stderr), (4, deleted("killed")));
    assert!(collected.stdout.contains("4 files of 2 containers"), "{}", collected.stdout);
    assert_eq!(world.manifest()?["losses"][0]["pod"], "killed");
    // Others are not of this collect.
    let other = collect(&world, &format!("{from} --pod uploads")).await?;
    assert_eq!((other.code, other.stderr.as_str()), (0, ""));
    Ok(())
}

/// The tests are run all the same.
#[tokio::test(flavor = "multi_thread")]
async fn podcov_test_without_a_right_or_a_run_notes_nothing() -> Result<()> {
    let world = World::new().await?;
    add_pod(&world, "one", |_| {})?;
    let without_run = world.run("podcov-test", "-- true").await?;
    assert_eq!((without_run.code, without_run.stderr.as_str()), (0, ""));
    assert_eq!(world.bed.requests().count("list", "pods"), 0);
    let _refusal = world.bed.fault(Rule::new(Fault::status(403)).resource("pods"));
    test(&world).await?;
    assert!(!world.dir().join(".podcov").exists());
    let verbose = world.run("podcov-test", &format!("--run-id {RUN} -v -- true")).await?;
    assert_eq!(verbose.code, 0);
    assert!(
        verbose.stderr.contains("pods that are deleted during the run are not noted: listing pods"),
        "{verbose:?}"
    );
    Ok(())
}
