//! Faults, one by one, and pods without processes.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use podcov_testbed::{Bytes, Fault, FixedPod, Rule, Tools};
use serde_json::json;

use crate::common::{Exec, bed, client, hello, run};

#[tokio::test(flavor = "multi_thread")]
async fn status_codes_and_how_often() {
    let (bed, client, name) = hello().await;
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let forbidden = bed.fault(Rule::new(Fault::status(403)).verb("list").resource("pods").skip(1).first(2));
    let list = ListParams::default();
    let outcomes = [
        pods.list(&list).await.is_ok(),
        pods.list(&list).await.is_ok(),
        pods.list(&list).await.is_ok(),
        pods.list(&list).await.is_ok(),
    ];
    assert_eq!(outcomes, [true, false, false, true]);
    assert_eq!((forbidden.hits(), bed.requests().count("list", "pods")), (2, 4));

    for (fault, code, reason, message) in [
        (
            Fault::status(403),
            403,
            "Forbidden",
            "pods is forbidden: User \"testbed-user\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"",
        ),
        (Fault::status(410), 410, "Expired", "The provided continue parameter is too old"),
        (Fault::status(404), 404, "NotFound", "the server could not find the requested resource"),
        (Fault::status_message(500, "out of order"), 500, "InternalError", "out of order"),
    ] {
        let fault = bed.fault(Rule::new(fault).resource("pods").namespace("default"));
        let kube::Error::Api(error) = pods.list(&list).await.unwrap_err() else { panic!() };
        assert_eq!((error.code, error.reason.as_str()), (code, reason));
        assert!(error.message.starts_with(message), "{}", error.message);
        fault.remove();
    }
    // kube itself retries what says to be tried again.
    let busy = bed.fault(Rule::new(Fault::too_many_requests(1)).resource("pods").first(1));
    let request = axum::http::Request::get("/api/v1/pods").body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    busy.hit().await;
    if response.status() == 429 {
        assert_eq!(response.headers()["retry-after"], "1");
    }
    let refused = bed.fault(Rule::new(Fault::status(403)).exec().name(&name).command("tar"));
    let error =
        Exec::start(&client, &name, &["tar", "c"], "v5.channel.k8s.io").await.err().unwrap().to_string();
    let expected = format!(
        "pods \\\"{name}\\\" is forbidden: User \\\"testbed-user\\\" cannot get resource \\\"pods/exec\\\""
    );
    assert!(error.contains(&expected), "{error}");
    assert_eq!(run(&client, &name, &["true"]).await.code(), Some(0));
    assert_eq!((refused.hits(), bed.requests().execs()), (1, 2));
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_connection() {
    let bed = bed().await;
    let client = client(bed.kubeconfig()).await;
    let pods = Api::<Pod>::all(client);
    let hang = bed.fault(Rule::new(Fault::Hang).verb("list"));
    let list = ListParams::default();
    assert!(tokio::time::timeout(Duration::from_millis(200), pods.list(&list)).await.is_err());
    hang.remove();
    bed.fault(Rule::new(Fault::Close).path("/api/v1/pods"));
    let error = pods.list(&list).await.unwrap_err();
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_cut_truncated_and_replaced() {
    let (bed, client, name) = hello().await;
    let command = ["head", "-c", "1000000", "/dev/zero"];
    for limit in [0, 1, 100_000] {
        let fault = bed.fault(Rule::new(Fault::CutStdout(limit)).exec());
        let output = run(&client, &name, &command).await;
        assert_eq!((output.stdout.len(), output.status), (limit, None));
        fault.remove();
        let fault = bed.fault(Rule::new(Fault::TruncateStdout(limit)).exec());
        let output = run(&client, &name, &command).await;
        assert_eq!((output.stdout.len(), output.code()), (limit, Some(0)));
        fault.remove();
    }
    let replaced = Bytes::from(vec![7; 200_000]);
    bed.fault(Rule::new(Fault::ReplaceStdout(replaced.clone())).exec());
    let output = run(&client, &name, &["does", "not", "run"]).await;
    assert!(output.stdout == replaced && output.code() == Some(0));
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_late_and_lost() {
    let (bed, client, name) = hello().await;
    let file = bed.volume_dir("default", &name, "coverage").unwrap().join("covcounters.1");
    let lost = bed.fault(Rule::new(Fault::DropSignals).exec());
    assert_eq!(run(&client, &name, &["kill", "-USR1", "1"]).await.code(), Some(0));
    lost.remove();
    bed.fault(Rule::new(Fault::DelaySignals(Duration::from_millis(300))).exec().command("kill"));
    let begun = Instant::now();
    assert_eq!(run(&client, &name, &["sh", "-c", "kill -s USR1 1"]).await.code(), Some(0));
    assert!(!file.exists(), "the signal came before its time");
    let wait = format!("until [ -e {} ]; do sleep 0.01; done", file.display());
    assert_eq!(run(&client, &name, &["timeout", "10", "sh", "-c", &wait]).await.code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // The program counts its signals: the first has not reached it.
    assert!(!file.with_extension("2").exists());
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_deleted_under_a_command() {
    let (bed, client, name) = hello().await;
    let pod = bed.pod("default", &name).unwrap();
    let fault = bed.fault(Rule::new(Fault::DeletePod { after: 0 }).exec().name(&name));
    let output = run(&client, &name, &["true"]).await;
    assert!(output.message().contains("container not found"), "{output:?}");
    bed.gone(&pod).await.unwrap();
    fault.remove();
    bed.rollout_done().await.unwrap();

    let name = bed.pods()[0].metadata.name.clone().unwrap();
    bed.fault(Rule::new(Fault::DeletePod { after: 5000 }).exec().name(&name));
    let output = run(&client, &name, &["sh", "-c", "yes; sleep 60"]).await;
    assert_eq!((output.stdout.len(), output.code()), (5000, Some(137)));
    assert!(bed.pod("default", &name).is_none());
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_without_processes() {
    let bed = bed().await;
    let folder = tempfile::tempdir().unwrap();
    fs_err::write(folder.path().join("covmeta.x"), "meta").unwrap();
    let object = json!({
        "metadata": {"name": "fixed", "namespace": "default", "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 30},
        "spec": {"nodeName": "n", "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]},
        "status": {"phase": "Running", "containerStatuses": [
            {"name": "a", "image": "x", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}},
            {"name": "b", "image": "x", "imageID": "", "ready": false, "restartCount": 3, "state": {"terminated": {"exitCode": 0}}}]},
    });
    let fixed = FixedPod::new(serde_json::from_value(object.clone()).unwrap())
        .mount("a", "/coverage-data", folder.path())
        .tools("a", Tools::only(["sh", "cat"]));
    bed.add_pod(fixed).unwrap();
    let client = client(bed.kubeconfig()).await;
    let pod = Api::<Pod>::default_namespaced(client.clone()).get("fixed").await.unwrap();
    assert_eq!(serde_json::to_value(&pod.status).unwrap()["containerStatuses"][1]["restartCount"], 3);
    assert!(pod.metadata.deletion_timestamp.is_some());
    let script = "cat /coverage-data/covmeta.x; kill -USR1 1";
    let output = run(&client, "fixed:a", &["sh", "-c", script]).await;
    assert_eq!((output.text().as_str(), output.code()), ("meta", Some(0)));
    assert!(run(&client, "fixed:b", &["true"]).await.message().contains("container not found (\"b\")"));
    assert!(
        run(&client, "fixed:a", &["tar"]).await.message().ends_with("executable file not found in $PATH")
    );
    bed.delete_pod("default", "fixed", None).unwrap();
    assert!(bed.pods().is_empty() && folder.path().exists());
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pods_without_containers() {
    let bed = bed().await;
    for number in 0..1000 {
        let object = json!({
            "metadata": {"name": format!("pod-{number:04}"), "labels": {"run": "1"}},
            "spec": {"nodeName": "n", "containers": [{"name": "app", "image": "x"}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        bed.add_pod(FixedPod::new(serde_json::from_value(object).unwrap())).unwrap();
    }
    let client = client(bed.kubeconfig()).await;
    let list = Api::<Pod>::all(client).list(&ListParams::default().labels("run=1")).await.unwrap();
    assert_eq!(list.items.len(), 1000);
    bed.shutdown().await;
}
