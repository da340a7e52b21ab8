//! Reading the API: objects, lists, pages, selectors, watches, errors.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Namespace, Pod, Service},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, WatchEvent, WatchParams},
    runtime::{watcher, watcher::Event},
};
use podcov_testbed::{FixedPod, KubeconfigOptions, Testbed};
use serde_json::json;

use crate::common::{bed, client, hello};

fn add(bed: &Testbed, namespace: &str, name: &str, labels: &serde_json::Value) {
    let pod = json!({
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "image": "x"}]},
        "status": {"phase": "Running"},
    });
    bed.add_pod(FixedPod::new(serde_json::from_value(pod).unwrap())).unwrap();
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect()
}

fn code(error: &kube::Error) -> (u16, String, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_a_deployment() {
    let (bed, client, name) = hello().await;
    let version = client.apiserver_version().await.unwrap();
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "34"));
    let namespaces = Api::<Namespace>::all(client.clone()).list(&ListParams::default()).await.unwrap();
    assert_eq!(namespaces.items.len(), 2);

    let pod = Api::<Pod>::default_namespaced(client.clone()).get(&name).await.unwrap();
    let owner = &pod.metadata.owner_references.as_ref().unwrap()[0];
    let sets = Api::<ReplicaSet>::default_namespaced(client.clone());
    let set = sets.get(&owner.name).await.unwrap();
    assert_eq!((owner.kind.as_str(), Some(&owner.uid)), ("ReplicaSet", set.metadata.uid.as_ref()));
    let hash = &set.metadata.labels.as_ref().unwrap()["pod-template-hash"];
    assert_eq!(owner.name, format!("hello-{hash}"));
    assert!(name.starts_with(&format!("hello-{hash}-")) && name.len() == owner.name.len() + 6);
    assert_eq!(&pod.metadata.labels.as_ref().unwrap()["pod-template-hash"], hash);

    let status = pod.status.as_ref().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Running"));
    assert!(status.pod_ip.is_some() && status.start_time.is_some());
    for condition in ["Ready", "ContainersReady", "Initialized", "PodScheduled"] {
        let found = status.conditions.as_ref().unwrap().iter().find(|one| one.type_ == condition).unwrap();
        assert_eq!(found.status, "True", "{condition}");
    }
    let container = &status.container_statuses.as_ref().unwrap()[0];
    assert!(container.ready && container.started == Some(true) && container.restart_count == 0);
    assert!(container.container_id.as_ref().unwrap().starts_with("containerd://"));
    assert!(container.image_id.contains("@sha256:") && container.state.as_ref().unwrap().running.is_some());

    let service = Api::<Service>::default_namespaced(client.clone()).get("hello").await.unwrap();
    assert!(service.spec.unwrap().cluster_ip.unwrap().starts_with("10.96."));
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_selectors_and_pages() {
    let bed = bed().await;
    bed.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}").unwrap();
    for number in 0..25 {
        add(
            &bed,
            "shop",
            &format!("cart-{number:02}"),
            &json!({"app": "cart", "even": (number % 2 == 0).to_string()}),
        );
    }
    add(&bed, "default", "other", &json!({}));
    let client = client(bed.kubeconfig()).await;
    let all = Api::<Pod>::all(client.clone());
    let shop = Api::<Pod>::namespaced(client.clone(), "shop");
    for (labels, fields, expected) in [
        ("", "", 26),
        ("app=cart", "", 25),
        ("app=cart,even=true", "", 13),
        ("even notin (true),app in (cart, x)", "", 12),
        ("!app", "", 1),
        ("", "metadata.name=cart-03", 1),
        ("", "status.phase!=Running", 0),
    ] {
        let list = all.list(&ListParams::default().labels(labels).fields(fields)).await.unwrap();
        assert_eq!(list.items.len(), expected, "{labels} {fields}");
        assert_eq!(list.types.kind, "PodList");
    }
    assert_eq!(shop.list(&ListParams::default()).await.unwrap().items.len(), 25);
    assert_eq!(
        Api::<Pod>::default_namespaced(client.clone())
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
            .len(),
        1
    );

    // A list is of one moment, however many pages it is asked for in.
    let mut params = ListParams::default().limit(10);
    let mut found = Vec::new();
    let mut pages = Vec::new();
    loop {
        let page = shop.list(&params).await.unwrap();
        pages.push((page.items.len(), page.metadata.remaining_item_count));
        found.extend(names(&page.items));
        add(&bed, "shop", "cart-99", &json!({}));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(pages, [(10, Some(15)), (10, Some(5)), (5, None)]);
    assert!(found.is_sorted() && found.len() == 25);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_the_servers_own() {
    let bed = bed().await;
    let good = client(bed.kubeconfig()).await;
    let error = Api::<Pod>::default_namespaced(good.clone()).get("x").await.unwrap_err();
    assert_eq!(code(&error), (404, "NotFound".to_owned(), "pods \"x\" not found".to_owned()));
    let error = Api::<Deployment>::default_namespaced(good.clone()).get("x").await.unwrap_err();
    assert_eq!(code(&error).2, "deployments.apps \"x\" not found");
    let error = Api::<Namespace>::all(good.clone()).get("x").await.unwrap_err();
    assert_eq!(code(&error).2, "namespaces \"x\" not found");
    let wrong = ListParams::default().fields("spec.colour=red");
    let error = Api::<Pod>::all(good.clone()).list(&wrong).await.unwrap_err();
    assert_eq!(
        code(&error),
        (400, "BadRequest".to_owned(), "field label not supported: spec.colour".to_owned())
    );

    let expired = KubeconfigOptions { token: Some("expired".to_owned()), ..KubeconfigOptions::default() };
    let stranger = client(&bed.write_kubeconfig(&expired).unwrap()).await;
    let error = Api::<Pod>::all(stranger).list(&ListParams::default()).await.unwrap_err();
    assert_eq!(code(&error), (401, "Unauthorized".to_owned(), "Unauthorized".to_owned()));
    let nobody = KubeconfigOptions { token: None, ..KubeconfigOptions::default() };
    let anonymous = client(&bed.write_kubeconfig(&nobody).unwrap()).await;
    let error = Api::<Pod>::namespaced(anonymous, "shop").list(&ListParams::default()).await.unwrap_err();
    assert_eq!(code(&error).0, 403);
    assert_eq!(
        code(&error).2,
        "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the namespace \"shop\""
    );
    let silent = KubeconfigOptions { server: Some(bed.offline().unwrap()), ..KubeconfigOptions::default() };
    let silent = client(&bed.write_kubeconfig(&silent).unwrap()).await;
    let list = ListParams::default();
    let never = Api::<Pod>::all(silent);
    assert!(tokio::time::timeout(Duration::from_millis(300), never.list(&list)).await.is_err());
    bed.shutdown().await;
}

async fn pods_and_version(client: &Client) -> (Api<Pod>, String) {
    let pods = Api::<Pod>::all(client.clone());
    let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    (pods, version)
}

#[tokio::test(flavor = "multi_thread")]
async fn watches() {
    let bed = bed().await;
    let client = client(bed.kubeconfig()).await;
    add(&bed, "default", "before", &json!({"app": "a"}));
    let (pods, version) = pods_and_version(&client).await;
    add(&bed, "default", "a", &json!({"app": "a"}));
    add(&bed, "default", "a", &json!({"app": "b"}));
    add(&bed, "default", "b", &json!({"app": "b"}));
    bed.delete_pod("default", "b", None).unwrap();
    let watched = async |labels: &str| {
        // The server closes the watch after a second, with a bookmark.
        let params = WatchParams::default().labels(labels).timeout(1);
        let events: Vec<_> = pods.watch(&params, &version).await.unwrap().try_collect().await.unwrap();
        events.iter().map(shown).collect::<Vec<_>>()
    };
    assert_eq!(watched("app=a").await, ["ADDED a", "DELETED a", "BOOKMARK"]);
    assert_eq!(
        watched("").await,
        ["ADDED a", "MODIFIED a", "ADDED b", "MODIFIED b", "DELETED b", "BOOKMARK"]
    );
    bed.shutdown().await;
}

fn shown(event: &WatchEvent<Pod>) -> String {
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap();
    match event {
        WatchEvent::Added(pod) => format!("ADDED {}", name(pod)),
        WatchEvent::Modified(pod) => format!("MODIFIED {}", name(pod)),
        WatchEvent::Deleted(pod) => format!("DELETED {}", name(pod)),
        WatchEvent::Bookmark(_) => "BOOKMARK".to_owned(),
        WatchEvent::Error(error) => format!("ERROR {error:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_runtimes_watcher_in_both_modes() {
    for streaming in [false, true] {
        let bed = bed().await;
        for number in 0..3 {
            add(&bed, "default", &format!("first-{number}"), &json!({}));
        }
        let client = client(bed.kubeconfig()).await;
        let config = watcher::Config::default().page_size(2);
        let config = if streaming { config.streaming_lists() } else { config };
        let mut events = watcher(Api::<Pod>::all(client), config).boxed();
        let mut next = async || {
            let next = tokio::time::timeout(Duration::from_secs(120), events.next()).await.unwrap().unwrap();
            match next.unwrap() {
                Event::Init => "init".to_owned(),
                Event::InitApply(pod) => format!("init {}", pod.metadata.name.unwrap()),
                Event::InitDone => "done".to_owned(),
                Event::Apply(pod) => format!("apply {}", pod.metadata.name.unwrap()),
                Event::Delete(pod) => format!("delete {}", pod.metadata.name.unwrap()),
            }
        };
        for expected in ["init", "init first-0", "init first-1", "init first-2", "done"] {
            assert_eq!(next().await, expected, "streaming {streaming}");
        }
        add(&bed, "default", "later", &json!({}));
        assert_eq!(next().await, "apply later");
        bed.delete_pod("default", "first-1", None).unwrap();
        assert_eq!(next().await, "apply first-1");
        assert_eq!(next().await, "delete first-1");
        bed.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deletes_by_the_api() {
    let (bed, client, name) = hello().await;
    let pods = Api::<Pod>::default_namespaced(client.clone());
    let before = bed.pod("default", &name).unwrap();
    let marked = pods.delete(&name, &DeleteParams::default().grace_period(1)).await.unwrap().left().unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    assert_eq!(marked.metadata.deletion_grace_period_seconds, Some(1));
    bed.gone(&before).await.unwrap();
    bed.rollout_done().await.unwrap();
    assert_eq!(bed.pods().len(), 2);
    let deployments = Api::<Deployment>::default_namespaced(client.clone());
    deployments.delete("hello", &DeleteParams::default()).await.unwrap();
    // What it owned goes with it.
    bed.wait_for("garbage collection", <[Pod]>::is_empty).await.unwrap();
    let sets =
        Api::<ReplicaSet>::default_namespaced(client.clone()).list(&ListParams::default()).await.unwrap();
    assert!(sets.items.is_empty());
    bed.shutdown().await;
}
