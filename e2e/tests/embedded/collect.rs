//! podcov-collect: what it finds, what it takes, what it makes of faults.

use anyhow::Result;
use fs_err as fs;
use k8s_openapi::api::core::v1::Pod;
use podcov_e2e::World;
use podcov_testbed::{Fault, Rule, Tools};
use serde_json::{Value, json};

use crate::support::*;

const COLLECT: &str = "podcov-collect";

fn of_run() -> String {
    format!("--run-id {RUN}")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_pod_is_handled_as_the_readme_says() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "plain")?;

    let both = fixed(running("default", "two-containers", &["app", "sidecar"]));
    let both = both.mount("app", "/coverage-data", one_run(&world, "app")?);
    world.bed.add_pod(both.mount("sidecar", "/coverage-data", one_run(&world, "sidecar")?))?;

    let mut terminating = running("default", "terminating", &["app"]);
    terminating["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    world.bed.add_pod(fixed(terminating))?;

    let mut pending = running("default", "pending", &["app"]);
    pending["status"] = json!({"phase": "Pending"});
    world.bed.add_pod(fixed(pending))?;

    let mut without = running("default", "without-gocoverdir", &["app"]);
    without["spec"]["containers"][0]["env"] = json!([]);
    world.bed.add_pod(fixed(without))?;

    let harmless = world.run(COLLECT, &of_run()).await?;
    assert_eq!(harmless.code, 0, "{harmless:?}");
    assert_eq!(
        harmless.stderr,
        "podcov-collect: skipped pod default/pending: it has not started\n\
         podcov-collect: skipped pod default/terminating: it is terminating\n\
         podcov-collect: skipped pod default/without-gocoverdir: no container sets GOCOVERDIR or runs podcov-agent; \
         podcov-collect --live reads counters from memory\n"
    );
    let expected = [
        ("plain/app", "default-plain"),
        ("two-containers/app", "app"),
        ("two-containers/sidecar", "sidecar"),
    ];
    let expected = expected
        .map(|(folder, run)| [&counters_of(run), META].map(|file| format!("default/{folder}/{file}")));
    let mut expected: Vec<String> = expected.into_iter().flatten().collect();
    expected.push("manifest.json".into());
    assert_eq!(world.files("reports/coverage")?, expected);

    let mut completed = running("default", "completed", &["app"]);
    completed["status"]["phase"] = json!("Succeeded");
    world.bed.add_pod(fixed(completed))?;
    let mut crashing = running("default", "crashing", &["app"]);
    crashing["status"]["containerStatuses"][0]["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    world.bed.add_pod(fixed(crashing))?;
    let losing = world.run(COLLECT, &of_run()).await?;
    assert_eq!(losing.code, 4, "{losing:?}");
    assert!(losing.stderr.starts_with(
        "podcov-collect: error: skipped pod default/completed: it has completed; its files can no longer be copied. \
         podcov-agent can upload them before it ends\n\
         podcov-collect: error: skipped pod default/crashing container app: it is not running \
         (CrashLoopBackOff); its files cannot be copied\n"
    ), "{}", losing.stderr);
    // The good data beside it is there all the same.
    assert_eq!(world.files("reports/coverage")?, expected);
    let manifest = world.manifest()?;
    assert_eq!(manifest["complete"], false);
    let lost = manifest["losses"].as_array().unwrap();
    let pods: Vec<_> = lost.iter().map(|loss| loss["pod"].as_str().unwrap()).collect();
    assert_eq!(pods, ["completed", "crashing"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_pods_in_three_namespaces_come_in_pages() -> Result<()> {
    let world = World::new().await?;
    for namespace in ["a", "b", "c"] {
        world.bed.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
        for n in 0..100 {
            add_pod_with_a_run(&world, namespace, &format!("pod-{n:03}"))?;
        }
    }
    // Not of this run, and not of these namespaces.
    let mut other = running("a", "other-run", &["app"]);
    other["metadata"]["labels"] = json!({"skaffold.dev/run-id": "another"});
    world.bed.add_pod(fixed(other))?;
    add_pod_with_a_run(&world, "default", "elsewhere")?;

    let collected = world.run(COLLECT, &format!("{} -n a,b -n c", of_run())).await?;
    assert_eq!((collected.code, collected.stderr.as_str()), (0, ""));
    assert!(
        collected.stdout.ends_with("600 files of 300 containers in reports/coverage\n"),
        "{}",
        collected.stdout
    );
    assert_eq!(world.manifest()?["containers"].as_array().unwrap().len(), 300);

    world.bed.clear_requests();
    let all = world.run(COLLECT, &format!("{} -A --parallel 64", of_run())).await?;
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    assert!(all.stdout.contains("602 files of 301 containers"), "{}", all.stdout);
    assert_eq!(world.bed.requests().execs(), 301, "one exec a container");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_pages_run_out_is_begun_anew() -> Result<()> {
    let world = World::new().await?;
    for n in 0..501 {
        add_pod_with_a_run(&world, "default", &format!("p{n}"))?;
    }
    // The second page is refused, as when its continue token is too old.
    let gone = world.bed.fault(Rule::new(Fault::status(410)).verb("list").resource("pods").skip(1).first(1));
    let collected = world.run(COLLECT, &format!("{} --parallel 64", of_run())).await?;
    assert_eq!((collected.code, gone.hits()), (0, 1), "{collected:?}");
    assert!(collected.stdout.contains(" of 501 containers"), "{}", collected.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn yesterdays_pods_are_gone_unless_asked_for() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "yesterday")?;
    world.run(COLLECT, &of_run()).await?;
    world.bed.delete_pod("default", "yesterday", Some(0))?;
    add_pod_with_a_run(&world, "default", "today")?;
    world.run(COLLECT, &format!("{} --accumulate", of_run())).await?;
    assert!(world.report("default/yesterday/app").exists() && world.report("default/today/app").exists());
    assert_eq!(world.manifest()?["containers"].as_array().unwrap().len(), 2);
    world.run(COLLECT, &of_run()).await?;
    assert!(!world.report("default/yesterday").exists() && world.report("default/today/app").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manifest_tells_where_all_came_from() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    let collected = world.run(COLLECT, &format!("{} --json", of_run())).await?;
    let manifest = world.manifest()?;
    assert_eq!(serde_json::from_str::<Value>(&collected.stdout)?, manifest);
    assert_eq!((&manifest["run_id"], &manifest["context"]), (&json!(RUN), &json!("testbed")));
    let one = &manifest["containers"][0];
    assert_eq!(one["image_id"], "example@sha256:00");
    assert_eq!(one["folder"], "default/one/app");
    assert_eq!((&one["way"], &one["attempts"]), (&json!("exec-sh-tar"), &json!(1)));
    let files = one["files"].as_array().unwrap();
    for file in files {
        let path = world.report("default/one/app").join(file["name"].as_str().unwrap());
        let sum = std::process::Command::new("sha256sum").arg(&path).output()?.stdout;
        assert!(String::from_utf8(sum)?.starts_with(file["sha256"].as_str().unwrap()));
        assert_eq!(json!(fs::metadata(path)?.len()), file["size"]);
    }
    assert_eq!(files.len(), 2);
    // Just as Go prints it for the same folder.
    let go = go_percent([world.report("default/one/app")])?;
    for (package, statements) in manifest["packages"].as_object().unwrap() {
        let (covered, total) =
            (statements["covered"].as_f64().unwrap(), statements["total"].as_f64().unwrap());
        let line = format!("\t{package}\t\tcoverage: {:.1}% of statements\n", 100.0 * covered / total);
        assert!(total == 0.0 || go.contains(&line), "{line} in {go}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stream_is_asked_for_again_or_told() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    for bytes in [0, 1, 100, 400] {
        for fault in [Fault::CutStdout(bytes), Fault::TruncateStdout(bytes)] {
            let once = world.bed.fault(Rule::new(fault.clone()).exec().first(1));
            let collected = world.run(COLLECT, &of_run()).await?;
            assert_eq!((collected.code, once.hits()), (0, 1), "{fault:?}: {collected:?}");
            assert_eq!(world.manifest()?["containers"][0]["attempts"], 2);
            once.remove();

            let always = world.bed.fault(Rule::new(fault.clone()).exec());
            let collected = world.run(COLLECT, &format!("{} --tries 2", of_run())).await?;
            assert_eq!((collected.code, always.hits()), (4, 2), "{fault:?}: {collected:?}");
            assert!(
                collected
                    .stderr
                    .starts_with("podcov-collect: error: pod default/one container app: the stream was cut"),
                "{collected:?}"
            );
            always.remove();
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_and_failing_servers_are_asked_again() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    for fault in [Fault::too_many_requests(0), Fault::status(500), Fault::status(503), Fault::Close] {
        let once = world.bed.fault(Rule::new(fault.clone()).exec().first(1));
        let collected = world.run(COLLECT, &of_run()).await?;
        assert_eq!((collected.code, once.hits()), (0, 1), "{fault:?}: {collected:?}");
    }
    let busy = world.bed.fault(Rule::new(Fault::too_many_requests(0)).verb("list").resource("pods").first(2));
    assert_eq!(world.run(COLLECT, &of_run()).await?.code, 0);
    assert_eq!(busy.hits(), 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_failing_pod_costs_no_other() -> Result<()> {
    let world = World::new().await?;
    for name in ["good-1", "bad", "good-2"] {
        add_pod_with_a_run(&world, "default", name)?;
    }
    world.bed.fault(Rule::new(Fault::status(403)).exec().name("bad"));
    let collected = world.run(COLLECT, &of_run()).await?;
    assert_eq!(collected.code, 4);
    assert!(
        collected.stderr.starts_with("podcov-collect: error: pod default/bad container app: exec: "),
        "{}",
        collected.stderr
    );
    assert!(collected.stderr.contains("(403)") && collected.stderr.contains("RBAC"), "{}", collected.stderr);
    assert!(collected.stdout.contains("4 files of 3 containers"), "{}", collected.stdout);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_deleted_midway_is_told() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    world.bed.fault(Rule::new(Fault::DeletePod { after: 100 }).exec());
    let collected = world.run(COLLECT, &of_run()).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    assert!(
        collected.stderr.contains("pod default/one container app: the pod is gone"),
        "{}",
        collected.stderr
    );
    // One event, one loss.
    assert_eq!(collected.stderr.lines().count(), 1, "{}", collected.stderr);
    assert_eq!(world.manifest()?["losses"].as_array().map(Vec::len), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_archive_lands_nowhere_and_is_told() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "honest")?;
    add_pod_with_a_run(&world, "default", "hostile")?;
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..12].copy_from_slice(b"../../escape");
    header.set_size(4);
    header.set_cksum();
    archive.append(&header, &b"evil"[..])?;
    world.bed.fault(Rule::new(Fault::ReplaceStdout(archive.into_inner()?.into())).exec().name("hostile"));
    let collected = world.run(COLLECT, &of_run()).await?;
    assert_eq!(collected.code, 4, "{collected:?}");
    assert_eq!(
        collected.stderr,
        "podcov-collect: error: pod default/hostile container app: refused: ../../escape is no name of a coverage file\n"
    );
    let files = world.files("reports")?;
    assert_eq!(
        files,
        [&counters_of("default-honest"), META]
            .map(|f| format!("coverage/default/honest/app/{f}"))
            .into_iter()
            .chain(["coverage/manifest.json".to_owned()])
            .collect::<Vec<_>>()
    );
    assert!(!world.dir().join("escape").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn images_with_few_programs() -> Result<()> {
    let world = World::new().await?;
    let cases = [
        ("everything", Tools::all(), 0, ""),
        ("no-gzip", Tools::only(["sh", "tar"]), 0, ""),
        ("no-shell", Tools::only(["tar"]), 0, ""),
        ("no-tar", Tools::only(["sh"]), 4, "the image has no tar"),
        (
            "nothing",
            Tools::none(),
            4,
            "the image has no shell; the image has no tar; no podcov-agent: nothing listens there",
        ),
    ];
    for (name, tools, code, words) in cases {
        let pod = fixed(running("default", name, &["app"]));
        let pod = pod.mount("app", "/coverage-data", one_run(&world, name)?).tools("app", tools);
        world.bed.add_pod(pod)?;
        let collected = world.run(COLLECT, &format!("{} --pod {name}", of_run())).await?;
        assert_eq!(collected.code, code, "{name}: {collected:?}");
        assert!(collected.stderr.contains(words), "{name}: {collected:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_that_say_nothing() -> Result<()> {
    let world = World::new().await?;
    let add = |name: &str, files: &[&str]| -> Result<()> {
        let folder = world.dir().join("pods").join(name);
        fs::create_dir_all(&folder)?;
        for file in files {
            fs::copy(fixture().join(file), folder.join(file))?;
        }
        world.bed.add_pod(fixed(running("default", name, &["app"])).mount("app", "/coverage-data", folder))
    };
    add("empty", &[])?;
    add("never-wrote", &[META])?;
    add("orphan", &[COUNTERS])?;
    fs::write(world.dir().join("pods/never-wrote/notes.txt"), "not ours")?;
    for (name, words) in [
        (
            "empty",
            "/coverage-data holds no coverage files; is the program built with -cover, and may it write there?",
        ),
        (
            "never-wrote",
            "no counters were written; signal the program first (podcov-signal), or was it killed?",
        ),
        ("orphan", "no meta-data file covmeta.62ff98db792937fd37f18adced298d04 for these counters"),
    ] {
        let collected = world.run(COLLECT, &format!("{} --pod {name}", of_run())).await?;
        assert_eq!(collected.code, 4, "{name}: {collected:?}");
        assert!(collected.stderr.contains(words), "{name}: {collected:?}");
        assert_eq!(collected.stderr.lines().count(), 1, "{name}: {collected:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_can_come_from_the_containers_own_environment() -> Result<()> {
    let world = World::new().await?;
    let mut pod = running("default", "expanded", &["app"]);
    pod["spec"]["containers"][0]["env"] = json!([
        {"name": "BASE", "value": "/coverage"}, {"name": "GOCOVERDIR", "value": "$(BASE)-data"}]);
    let folder = one_run(&world, "expanded")?;
    world.bed.add_pod(fixed(pod).mount("app", "/coverage-data", folder))?;
    let named = world.run(COLLECT, &format!("{} --coverdir /coverage-data", of_run())).await?;
    assert_eq!(named.code, 0, "{named:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_elses_folder_is_replaced() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    let refused = async |out: &str, why: &str| -> Result<()> {
        let before = world.files(out)?;
        for more in ["", "--accumulate"] {
            let refused = world.run(COLLECT, &format!("{} --out {out} {more}", of_run())).await?;
            assert_eq!(refused.code, 2, "{refused:?}");
            assert!(
                refused.stderr.contains(&format!("{out} is not a reports' folder of podcov-collect")),
                "{refused:?}"
            );
            assert!(refused.stderr.contains(why), "{refused:?}");
            assert_eq!(world.files(out)?, before);
        }
        Ok(())
    };
    fs::create_dir_all(world.dir().join("src"))?;
    fs::write(world.dir().join("src/main.go"), "package main")?;
    refused("src", "it has no manifest.json").await?;
    // A web app has a file of that name too.
    fs::create_dir_all(world.dir().join("public"))?;
    fs::write(world.dir().join("public/manifest.json"), r#"{"name": "App", "icons": []}"#)?;
    fs::write(world.dir().join("public/index.html"), "<html>")?;
    refused("public", "its manifest.json is not a manifest of podcov-collect").await?;
    // And a report of ours may have got something of the user's.
    assert_eq!(world.run(COLLECT, &of_run()).await?.code, 0);
    fs::write(world.report("notes.txt"), "mine")?;
    refused("reports/coverage", "notes.txt in it was not made by podcov-collect").await?;
    assert_eq!(fs::read_to_string(world.report("notes.txt"))?, "mine");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sanitized_files_name_no_arguments() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    assert_eq!(world.run(COLLECT, &format!("{} --sanitize", of_run())).await?.code, 0);
    let folder = world.report("default/one/app");
    let bytes = fs::read(folder.join(counters_of("default-one")))?;
    assert!(covdata::CounterFile::parse(&bytes)?.segments()[0].command_line().is_empty());
    assert_eq!(go_percent([&folder])?, go_percent([one_run(&world, "same")?])?);
    Ok(())
}

/// The testbed's pods are JSON here, so a wrong field would go unnoticed.
#[test]
fn the_pods_of_these_tests_are_pods() {
    let pod: Pod = serde_json::from_value(running("n", "p", &["a", "b"])).unwrap();
    assert_eq!(pod.spec.unwrap().containers.len(), 2);
}

/// Half of a rollout, say: two pods whose programs were built before and after a change.
#[tokio::test(flavor = "multi_thread")]
async fn programs_of_different_versions_are_told() -> Result<()> {
    let world = World::new().await?;
    let module = world.dir().join("module");
    fs::create_dir_all(&module)?;
    fs::write(module.join("go.mod"), "module example.com/m\n\ngo 1.24\n")?;
    for (pod, lines) in [("before", ""), ("after", "\tprintln(\"new\")\n")] {
        let source = format!(
            "package main\n\nfunc main() {{\n{lines}\tif len(\"x\") > 0 {{\n\t\tprintln()\n\t}}\n}}\n"
        );
        fs::write(module.join("main.go"), source)?;
        let mut go = std::process::Command::new("go");
        go.args(["build", "-buildvcs=false", "-cover", "-o", pod, "."])
            .env("GOWORK", "off")
            .current_dir(&module);
        assert!(go.status()?.success());
        let folder = world.dir().join("pods").join(pod);
        fs::create_dir_all(&folder)?;
        assert!(std::process::Command::new(module.join(pod)).env("GOCOVERDIR", &folder).status()?.success());
        let object = running("default", pod, &["app"]);
        world.bed.add_pod(fixed(object).mount("app", "/coverage-data", folder))?;
    }
    let collected = world.run(COLLECT, &of_run()).await?;
    assert_eq!(collected.code, 0, "{collected:?}");
    assert_eq!(
        collected.stderr,
        "podcov-collect: warning: the inputs were built from different versions of \
         example.com/m/main.go: the statements of all versions count\n"
    );
    Ok(())
}
