//! A container has several lives: what it had counted when it crashed is lost, and podcov-collect says so.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use futures_util::StreamExt;
use futures_util::stream::{self, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use podcov_e2e::{Service, Space};
use serde_json::{Value, json};

/// Numbers that look random, the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's MMIX generator; its high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// How a replica ends once, if at all, and whether that is a crash.
const ENDS: [(&str, bool); 8] = [
    ("kill", true),
    ("panic", true),
    ("oom", true),
    ("kill", true),
    ("panic", true),
    ("oom", true),
    ("exit 1", false),
    ("", false),
];

/// Two replicas of a service, each of which may crash.
struct Pair {
    app: String,
    /// The pods' names, how each ends, and whether it crashes.
    pods: Vec<(String, &'static str, bool)>,
}

impl Pair {
    /// Makes the pods: each ends once, at some moment after its start, and has perhaps written counters before.
    async fn create(space: &Space, app: &str, random: &mut Random) -> Result<Self> {
        let mut pods = Vec::new();
        for replica in 0..2 {
            let (end, crash) = ENDS[random.below(ENDS.len() as u64) as usize];
            let name = format!("{app}-{replica}");
            let mut container = space.container(&Service::WRITES)?;
            let mut set = |name: &str, value: String| {
                container["env"].as_array_mut().unwrap().push(json!({"name": name, "value": value}));
            };
            set("END", end.to_owned());
            set("END_AFTER", format!("{}ms", random.below(4000)));
            if random.below(3) > 0 {
                set("FLUSH_AFTER", format!("{}ms", random.below(4000)));
            }
            container["resources"]["limits"] = json!({"memory": "48Mi"});
            space
                .create::<Pod>(json!({
                    "metadata": {"name": name, "labels": {"app": app, "skaffold.dev/run-id": space.name}},
                    "spec": {
                        "containers": [container],
                        "volumes": [{"name": "cov", "emptyDir": {}}],
                        "automountServiceAccountToken": false,
                        "terminationGracePeriodSeconds": 0,
                        // A container's process 1 cannot kill itself.
                        "shareProcessNamespace": end == "kill"
                    }
                }))
                .await?;
            pods.push((name, end, crash));
        }
        Ok(Self { app: app.to_owned(), pods })
    }

    /// Collects as soon as every replica that ends has ended, and checks that just the crashes are named.
    async fn check(&self, space: &Space) -> Result<usize> {
        for (pod, end, _) in &self.pods {
            let waited_for = |pod: Option<&Pod>| pod.is_some_and(|pod| has_run(pod, !end.is_empty()));
            space.until::<Pod>(pod, "its end", waited_for).await?;
        }
        let out = format!("out/{}", self.app);
        let line = format!(
            "-l app={} --out {out} --signal USR1 --process service --timeout 120 --request-timeout 120",
            self.app
        );
        let collected = space.run("podcov-collect", &line).await?;
        let crashed: BTreeSet<&str> =
            self.pods.iter().filter(|(.., crash)| *crash).map(|(pod, ..)| pod.as_str()).collect();
        let named: BTreeSet<&str> = collected.stderr.lines().filter_map(|line| named(space, line)).collect();
        ensure!(named == crashed, "{:?} but {collected:?}", self.pods);
        ensure!(collected.stderr.lines().count() == crashed.len(), "{:?} but {collected:?}", self.pods);
        ensure!(
            collected.code == if crashed.is_empty() { 0 } else { 4 },
            "{:?} but {collected:?}",
            self.pods
        );
        let manifest: Value =
            serde_json::from_slice(&std::fs::read(space.dir().join(&out).join("manifest.json"))?)?;
        for (container, (pod, end, crash)) in
            manifest["containers"].as_array().into_iter().flatten().zip(&self.pods)
        {
            ensure!(container["pod"] == **pod);
            // The one that runs may not be in the pod's status yet.
            let lives = container["lives"].as_array().into_iter().flatten();
            let ended = lives.filter(|life| life["counters"].is_string()).count();
            ensure!(ended == usize::from(!end.is_empty()), "{container}");
            ensure!(
                end.is_empty() || (container["lives"][0]["counters"] == "written") != *crash,
                "{container}"
            );
        }
        Ok(crashed.len())
    }
}

/// The pod of which a line says that it has lost a life.
fn named<'l>(space: &Space, line: &'l str) -> Option<&'l str> {
    let (pod, what) = line
        .strip_prefix(&format!("podcov-collect: error: pod {}/", space.name))?
        .split_once(" container app: it was restarted during the run (")?;
    (what.ends_with("is lost") || what.ends_with("may be lost")).then_some(pod)
}

/// Whether a pod's container has been started, and has ended once if it must.
fn has_run(pod: &Pod, must_end: bool) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.into_iter().any(|status| {
        let state = status.state.as_ref();
        let ended = status.restart_count > 0 || state.is_some_and(|state| state.terminated.is_some());
        if must_end { ended } else { state.is_some_and(|state| state.running.is_some()) }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn of_100_crashes_each_is_named_and_nothing_else_is() -> Result<()> {
    const CRASHES: usize = 100;
    const PAIRS: usize = 16;
    let mut random = Random(13);
    let mut crashes = 0;
    while crashes < CRASHES {
        // The pods of one wave end while the next one's start.
        let space = Space::new().await?;
        let mut pairs = Vec::new();
        for number in 0..PAIRS {
            pairs.push(Pair::create(&space, &format!("pair-{number}"), &mut random).await?);
        }
        let checked = stream::iter(&pairs).map(|pair| pair.check(&space)).buffer_unordered(4);
        crashes += checked.try_fold(0, async |sum, crashed| Ok(sum + crashed)).await?;
    }
    Ok(())
}
