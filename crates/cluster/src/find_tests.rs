use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{CoverVolume, SelectArgs};

fn from<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn scope(args: SelectArgs) -> Scope {
    SelectArgs { run_id: Some("run".into()), ..args }.scope("default").unwrap()
}

fn running(name: &str) -> Value {
    json!({"name": name, "image": "i", "imageID": "i@sha256:1", "ready": true, "restartCount": 2,
           "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
}

fn pod(spec: &Value, status: &Value) -> Pod {
    from(
        json!({"metadata": {"namespace": "shop", "name": "cart-1", "uid": "u"}, "spec": spec, "status": status}),
    )
}

fn covered(name: &str) -> Value {
    json!({"name": name, "image": "i", "env": [{"name": "GOCOVERDIR", "value": "/cov"}]})
}

fn find(pod: &Pod, scope: &Scope) -> Found {
    let mut found = Found::default();
    found.add(pod, scope);
    found
}

fn names(found: &Found) -> Vec<&str> {
    found.targets.iter().map(|t| t.container.container.as_str()).collect()
}

#[test]
fn every_container_with_gocoverdir_is_a_target_and_so_are_sidecars() {
    let mut sidecar = covered("proxy");
    sidecar["restartPolicy"] = json!("Always");
    let spec = json!({
        "initContainers": [covered("migrate"), sidecar],
        "containers": [covered("app"), {"name": "plain"}, covered("worker")],
    });
    let status = json!({"phase": "Running", "containerStatuses": [running("app"), running("plain"), running("worker")],
        "initContainerStatuses": [running("proxy")]});
    let found = find(&pod(&spec, &status), &scope(SelectArgs::default()));
    assert_eq!(names(&found), ["proxy", "app", "worker"]);
    assert_eq!(found.skipped, []);
    let app = &found.targets[1];
    assert_eq!(app.dir, CoverDir::Path("/cov".into()));
    assert_eq!((app.container.image_id.as_str(), app.container.restarts), ("i@sha256:1", 2));

    let only = scope(SelectArgs { container: Some("w*".into()), ..SelectArgs::default() });
    assert_eq!(names(&find(&pod(&spec, &status), &only)), ["worker"]);
}

#[test]
fn where_the_folder_comes_from() {
    let dir = |env: Value, args: SelectArgs| {
        let spec = json!({"containers": [{"name": "app", "env": env}]});
        let status = json!({"phase": "Running", "containerStatuses": [running("app")]});
        find(&pod(&spec, &status), &scope(args)).targets.first().map(|t| t.dir.clone())
    };
    let path = |p: &str| Some(CoverDir::Path(p.into()));
    let plain = SelectArgs::default;
    assert_eq!(dir(json!([{"name": "GOCOVERDIR", "value": "/a"}]), plain()), path("/a"));
    assert_eq!(dir(json!([{"name": "GOCOVERDIR", "value": ""}]), plain()), None);
    assert_eq!(dir(json!([]), plain()), None);
    assert_eq!(dir(json!([{"name": "GOCOVERDIR", "value": "$(BASE)/c"}]), plain()), Some(CoverDir::Env));
    assert_eq!(dir(json!([{"name": "GOCOVERDIR", "value": "/a$$b"}]), plain()), Some(CoverDir::Env));
    let from_map =
        json!([{"name": "GOCOVERDIR", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}}]);
    assert_eq!(dir(from_map, plain()), Some(CoverDir::Env));
    let flag = || SelectArgs { coverdir: Some("/b".into()), ..SelectArgs::default() };
    assert_eq!(dir(json!([{"name": "GOCOVERDIR", "value": "/a"}]), flag()), path("/b"));
    assert_eq!(dir(json!([]), flag()), path("/b"));
}

#[test]
fn pods_passed_over() {
    let spec = json!({"containers": [covered("app")]});
    let why = |spec: &Value, status: Value, deleted: bool| {
        let mut pod = pod(spec, &status);
        if deleted {
            pod.metadata.deletion_timestamp = Some(from(json!("2026-01-01T00:00:00Z")));
        }
        let found = find(&pod, &scope(SelectArgs::default()));
        assert_eq!(found.targets, []);
        let [skipped] = found.skipped.try_into().unwrap();
        (skipped.why.is_loss(), skipped.to_string())
    };
    let said = |words: &str| format!("skipped pod shop/cart-1: {words}");
    let up = || json!({"phase": "Running", "containerStatuses": [running("app")]});
    assert_eq!(why(&spec, up(), true), (false, said("it is terminating")));
    assert_eq!(why(&spec, json!({"phase": "Pending"}), false), (false, said("it has not started")));
    assert_eq!(
        why(&spec, json!({"phase": "Succeeded"}), false),
        (
            true,
            said(
                "it has completed; its files can no longer be copied. podcov-agent can upload them before it ends"
            )
        )
    );
    let plain = json!({"containers": [{"name": "app"}]});
    let no_dir =
        "no container sets GOCOVERDIR or runs podcov-agent; podcov-collect --live reads counters from memory";
    assert_eq!(why(&plain, up(), false), (false, said(no_dir)));

    let mut waiting = running("app");
    waiting["state"] = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (loss, words) = why(&spec, json!({"phase": "Running", "containerStatuses": [waiting]}), false);
    assert!(loss);
    assert_eq!(
        words,
        "skipped pod shop/cart-1 container app: it is not running (CrashLoopBackOff); its files cannot be copied"
    );
}

/// Kubernetes calls a pod pending until the last of its containers has been started.
#[test]
fn what_runs_in_a_pending_pod_is_served() {
    let spec = json!({"containers": [covered("app"), covered("side")]});
    let mut side = running("side");
    side["state"] = json!({"waiting": {"reason": "ImagePullBackOff"}});
    let pod = pod(&spec, &json!({"phase": "Pending", "containerStatuses": [running("app"), side]}));
    let found = find(&pod, &scope(SelectArgs::default()));
    assert_eq!(names(&found), ["app"]);
    let said: Vec<String> = found.skipped.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["skipped pod shop/cart-1 container side: it has not started"]);
}

/// A program that was signalled to its end: seen on a real kubelet for a second or more.
#[test]
fn a_container_about_to_be_restarted_is_told_from_one_that_is_not() {
    let why = |policy: &str, code: i32| {
        let mut ended = running("app");
        ended["state"] = json!({"terminated": {"exitCode": code, "reason": "Completed"}});
        let spec = json!({"restartPolicy": policy, "containers": [covered("app")]});
        let pod = pod(&spec, &json!({"phase": "Running", "containerStatuses": [ended]}));
        find(&pod, &scope(SelectArgs::default())).skipped.remove(0).why
    };
    let reason = |code: i32| format!("Completed, exit code {code}");
    assert_eq!(why("Always", 0), Why::Restarting(reason(0)));
    assert_eq!(why("OnFailure", 1), Why::Restarting(reason(1)));
    assert_eq!(why("OnFailure", 0), Why::NotRunning(reason(0)));
    assert_eq!(why("Never", 1), Why::NotRunning(reason(1)));
}

#[test]
fn other_pods_are_not_even_mentioned() {
    let spec = json!({"containers": [covered("app")]});
    let only = scope(SelectArgs { pod: Some("web-*".into()), ..SelectArgs::default() });
    assert_eq!(find(&pod(&spec, &json!({"phase": "Running"})), &only), Found::default());
}

#[test]
fn where_an_agent_would_answer() {
    let agent = |port, expected, sure| Some(AgentPort { port, expected, sure });
    let control = |value: &str| json!([{"name": "GOCOVERDIR", "value": "/c"}, {"name": "PODCOV_CONTROL", "value": value}]);
    let covered = covered("app");
    for (containers, expected) in [
        (json!([covered]), agent(19998, false, true)),
        (json!([covered, {"name": "proxy"}]), agent(19998, false, false)),
        (json!([{"name": "app", "env": control("127.0.0.1:7000")}]), agent(7000, true, true)),
        (json!([{"name": "app", "env": control(":7000")}]), agent(7000, true, true)),
        (json!([{"name": "app", "env": control("off")}]), None),
        (
            json!([{"name": "app", "command": ["/podcov-agent", "run", "--", "/app"]}]),
            agent(19998, true, true),
        ),
        (
            json!([{"name": "app", "args": ["/x/podcov-agent", "run", "--control=127.0.0.1:5", "--"]}]),
            agent(5, true, true),
        ),
        (
            json!([{"name": "app", "command": ["/podcov-agent", "run", "--control", "127.0.0.1:5", "--", "/app"]}]),
            agent(5, true, true),
        ),
        (
            json!([{"name": "app", "command": ["/podcov-agent", "run", "--control", "off", "--", "/app"]}]),
            None,
        ),
        // Where the image's entrypoint is the agent.
        (
            json!([{"name": "app", "env": control(""), "args": ["--control", "127.0.0.1:5", "--", "/app"]}]),
            agent(5, true, true),
        ),
        // Flags of the program.
        (
            json!([{"name": "app", "command": ["/podcov-agent", "run", "--", "/app", "--control=127.0.0.1:5"]}]),
            agent(19998, true, true),
        ),
        (
            json!([{"name": "app", "env": control(""), "args": ["--control", "0.0.0.0:8080"]}]),
            agent(19998, true, true),
        ),
        // Set and empty is not set, for the agent too.
        (json!([{"name": "app", "env": control("")}]), agent(19998, true, true)),
        // A proxy may have an agent in its image; it is not as likely as one that is spoken of.
        (
            json!([{"name": "app", "env": [{"name": "PODCOV_RUN", "value": "1"}]}, {"name": "proxy"}]),
            agent(19998, true, true),
        ),
        (
            json!([{"name": "app", "env": control("127.0.0.1:7")}, {"name": "b", "env": control("127.0.0.1:8")}]),
            agent(7, true, true),
        ),
        (
            json!([{"name": "app", "env": control("127.0.0.1:7")}, {"name": "b", "env": control("127.0.0.1:7")}]),
            agent(7, true, false),
        ),
    ] {
        let spec = json!({ "containers": containers });
        let status = json!({"phase": "Running", "containerStatuses": [running("app"), running("b"), running("proxy")]});
        let found = find(
            &pod(&spec, &status),
            &scope(SelectArgs { container: Some("app".into()), ..SelectArgs::default() }),
        );
        if expected.is_none() {
            assert_eq!(found.targets.iter().find_map(|target| target.agent), None);
        } else {
            assert_eq!(found.targets.first().and_then(|target| target.agent), expected, "{containers}");
        }
    }
}

#[test]
fn what_the_folder_of_counter_files_lies_on() {
    let volume = |path: &str, mounts: Value| {
        let mut container = covered("app");
        container["env"][0]["value"] = json!(path);
        container["volumeMounts"] = mounts;
        let volumes = json!([
            {"name": "scratch", "emptyDir": {}}, {"name": "node", "hostPath": {"path": "/var/cov"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}}, {"name": "config", "configMap": {}}
        ]);
        let spec = json!({"containers": [container], "volumes": volumes});
        let status = json!({"phase": "Running", "containerStatuses": [running("app")]});
        find(&pod(&spec, &status), &scope(SelectArgs::default())).targets[0].volume
    };
    let mount = |name: &str, path: &str| json!({"name": name, "mountPath": path});
    for (path, mounts, expected) in [
        ("/cov", json!([]), CoverVolume::None),
        ("/cov", json!([mount("scratch", "/cov")]), CoverVolume::EmptyDir),
        ("/cov/", json!([mount("scratch", "/cov")]), CoverVolume::EmptyDir),
        ("/cov", json!([mount("scratch", "/cov/")]), CoverVolume::EmptyDir),
        ("/cov/deep", json!([mount("node", "/cov")]), CoverVolume::HostPath),
        ("/cov", json!([mount("scratch", "/cov/deep"), mount("claim", "/coverage")]), CoverVolume::None),
        ("/a/b/c", json!([mount("scratch", "/a"), mount("claim", "/a/b")]), CoverVolume::Claim),
        ("/a/b/c", json!([mount("claim", "/a/b"), mount("scratch", "/a")]), CoverVolume::Claim),
        ("/cov", json!([mount("config", "/")]), CoverVolume::Other),
        ("cov", json!([mount("scratch", "/")]), CoverVolume::Unknown),
        ("/cov/../x", json!([mount("scratch", "/cov")]), CoverVolume::Unknown),
        ("/$(NAME)", json!([mount("scratch", "/")]), CoverVolume::Unknown),
    ] {
        assert_eq!(volume(path, mounts), expected, "{path}");
    }
}

#[test]
fn pods_whose_process_ids_are_shared() {
    for (field, shared) in [("hostPID", true), ("shareProcessNamespace", true), ("hostNetwork", false)] {
        let spec = json!({"containers": [covered("app")], field: true});
        let status = json!({"phase": "Running", "containerStatuses": [running("app")]});
        let found = find(&pod(&spec, &status), &scope(SelectArgs::default()));
        assert_eq!(found.targets[0].shares_process_ids, shared, "{field}");
    }
}

/// What a sidecar reads need not be mentioned by the containers that it is of.
#[test]
fn the_containers_beside_a_sidecar_are_targets() {
    let sidecar = json!({"name": "podcov", "restartPolicy": "Always", "command": ["/podcov-agent", "watch", "--control=127.0.0.1:19990"]});
    let agent = json!({"name": "agent", "command": ["/podcov-agent", "run", "--", "/app"]});
    let spec = |shares: bool| {
        json!({"shareProcessNamespace": shares, "initContainers": [sidecar],
            "containers": [{"name": "plain"}, covered("app"), agent, {"name": "over"}, covered("ended")]})
    };
    let over = |name| {
        let mut over = running(name);
        over["state"] = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
        over
    };
    let mut up = json!({"phase": "Running", "initContainerStatuses": [running("podcov")],
        "containerStatuses": [running("plain"), running("app"), running("agent"), over("over"), over("ended")]});
    let scope = |by_sidecar| {
        let mut scope = scope(SelectArgs::default());
        scope.by_sidecar = by_sidecar;
        scope
    };
    let never = |spec: Value| {
        let mut pod = pod(&spec, &up);
        pod.spec.as_mut().unwrap().restart_policy = Some("Never".to_owned());
        pod
    };
    let found = find(&never(spec(true)), &scope(true));
    let seen: Vec<_> = found
        .targets
        .iter()
        .map(|one| {
            (one.container.container.as_str(), &one.dir, one.sidecar.as_ref().map(|s| s.port), one.runs)
        })
        .collect();
    let path = CoverDir::Path("/cov".into());
    let expected = [
        ("plain", &CoverDir::Unset, Some(19990), true),
        ("app", &path, Some(19990), true),
        ("agent", &CoverDir::Env, None, true),
        ("over", &CoverDir::Unset, Some(19990), false),
        ("ended", &path, Some(19990), false),
    ];
    assert_eq!(seen, expected);
    assert_eq!(found.targets[0].sidecar.as_ref().map(|one| one.container.as_str()), Some("podcov"));
    // podcov-signal has nothing to do there, and without shared processes the sidecar sees none.
    assert_eq!(names(&find(&never(spec(true)), &scope(false))), ["app", "agent"]);
    assert_eq!(names(&find(&never(spec(false)), &scope(true))), ["app", "agent"]);
    up["phase"] = json!("Succeeded");
    let found = find(&pod(&spec(true), &up), &scope(true));
    assert!(matches!(found.skipped[..], [Skipped { why: Why::Completed, .. }]), "{found:?}");
}

#[test]
fn which_container_is_a_sidecar() {
    for (container, is) in [
        (json!({"name": "a", "command": ["/podcov/podcov-agent", "watch"]}), true),
        (json!({"name": "a", "command": ["/podcov-agent"], "args": ["watch", "--every", "5"]}), true),
        (json!({"name": "a", "args": ["watch"], "env": [{"name": "PODCOV_RUN", "value": "x"}]}), true),
        (json!({"name": "a", "args": ["watch"]}), false),
        (json!({"name": "a", "command": ["watch"], "env": [{"name": "PODCOV_RUN", "value": "x"}]}), false),
        (json!({"name": "a", "command": ["/podcov-agent", "run", "--", "watch"]}), false),
    ] {
        assert_eq!(crate::agent_port::is_sidecar(&from(container.clone())), is, "{container}");
    }
}

#[test]
fn a_static_pod_has_another_uid_inside() {
    let spec = json!({"containers": [covered("app")]});
    let status = json!({"phase": "Running", "containerStatuses": [running("app")]});
    let mut pod = pod(&spec, &status);
    let hash = ("kubernetes.io/config.hash".to_owned(), "of-the-file".to_owned());
    for (mirror, uid) in [(None, "u"), (Some("kubernetes.io/config.mirror"), "of-the-file")] {
        let mirror = mirror.map(|name: &str| (name.to_owned(), "hash".to_owned()));
        pod.metadata.annotations = Some([hash.clone()].into_iter().chain(mirror).collect());
        let target = find(&pod, &scope(SelectArgs::default())).targets.remove(0);
        assert_eq!((target.uid_inside.as_str(), target.container.uid.as_str()), (uid, "u"));
    }
}
