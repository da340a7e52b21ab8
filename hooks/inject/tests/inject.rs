//! Manifests as renderers write them.

use std::io::Write;
use std::process::{Command, Stdio};

use clap::Parser;
use podcov_exit::{Exit, Failure};
use podcov_inject::{Args, inject};
use serde_json::Value;

/// The stream after podcov-inject, and what was left as it is; or the error.
fn run(line: &str, stream: &str) -> Result<(String, Vec<String>), String> {
    let args = Args::parse_from(["podcov-inject"].into_iter().chain(line.split_whitespace()));
    inject(&args, stream).map_err(|error| {
        assert_eq!(error.downcast_ref::<Failure>().map(Failure::exit), Some(Exit::Usage));
        error.to_string()
    })
}

/// A stream whose lines are marked, without those that podcov-inject adds.
fn unmarked(marked: &str) -> String {
    marked.split_inclusive('\n').filter_map(|line| line.strip_prefix(' ')).collect()
}

/// That each `+` line of a marked stream is added, and nothing else is changed; and that a second run adds nothing.
#[track_caller]
fn adds(line: &str, marked: &str) {
    let before = unmarked(marked);
    let after: String = marked.split_inclusive('\n').map(|line| line.get(1..).unwrap_or_default()).collect();
    let (changed, notes) = run(line, &before).unwrap_or_else(|error| panic!("{error}\n{before}"));
    assert_eq!(changed, after);
    assert_eq!(notes, [""; 0]);
    assert_eq!(run(line, &changed), Ok((changed.clone(), Vec::new())), "a second run");
}

/// As `helm template` writes a chart.
const HELM: &str = r#" ---
 # Source: shop/templates/service.yaml
 apiVersion: v1
 kind: Service
 metadata: {name: cart,   labels: {app: cart}}   # as somebody wrote it
 ---
 # Source: shop/templates/deployment.yaml
 apiVersion: apps/v1
 kind: Deployment
 metadata:
   name: cart
 spec:
   replicas: 2
   template:
     metadata:
       labels:
         app: cart
     spec:
       # Who it runs as
       serviceAccountName: cart
+      volumes:
+        - name: podcov
+          emptyDir: {}
       initContainers:
         - name: migrate
           image: "example.com/migrate:1"
       containers:
         - name: cart
+          volumeMounts:
+            - name: podcov
+              mountPath: /coverage-data
+              subPath: cart
           image: "example.com/cart:1"
           command:
             - sh
             - -c
             - |
               # spec:
               exec /cart --mode 0644
 
           env:
+            - name: GOCOVERDIR
+              value: /coverage-data
             - name: MODE
               value: "0644"
           # The end
 
 ---
 # Source: shop/templates/crd.yaml
 apiVersion: example.com/v1
 kind: Deployment
 spec: {template: {spec: {containers: [{name: x}]}}}
"#;

#[test]
fn a_chart_of_helm() {
    adds("", HELM);
    adds("deployment/cart", HELM);
    adds("-l app=cart -c c*", HELM);
    let plain = unmarked(HELM);
    assert_eq!(run("-l app=web", &plain), Err("the manifests have no pods that --selector matches".into()));
    assert_eq!(run("deploy/web", &plain), Err("the manifests have no deployment/web".into()));
    assert_eq!(run("-c web", &plain), Err("no container has a name that --container matches".into()));
    assert_eq!(run("service/cart", &plain), Err("service/cart names no workload".into()));
}

/// Lists whose dashes are in their key's column, as `kubectl` and kustomize write them; several containers, of which one goes
/// on beside the others; and a volume that is there.
#[test]
fn what_kustomize_writes() {
    adds(
        "",
        " apiVersion: batch/v1
 kind: CronJob
 metadata:
   name: nightly
 spec:
   jobTemplate:
     spec:
       template:
         spec:
           containers:
           - image: ko://example.com/nightly
+            env:
+            - name: GOCOVERDIR
+              value: /coverage-data
             name: app
             volumeMounts:
+            - name: podcov
+              mountPath: /coverage-data
+              subPath: app
             - mountPath: /tmp
               name: tmp
           initContainers:
           - image: proxy
+            env:
+            - name: GOCOVERDIR
+              value: /coverage-data
+            volumeMounts:
+            - name: podcov
+              mountPath: /coverage-data
+              subPath: proxy
             name: proxy
             restartPolicy: Always
           - image: once
             name: once
           volumes:
+          - name: podcov
+            emptyDir: {}
           - emptyDir: {}
             name: tmp
",
    );
}

#[test]
fn lists_of_objects_and_ends_of_lines() {
    let marked = " apiVersion: v1
 kind: List
 items:
 - apiVersion: v1
   kind: ConfigMap
   data: {kind: Pod}
 - apiVersion: v1
   kind: Pod
   metadata: {name: one}
   spec:
+    volumes:
+    - name: podcov
+      emptyDir: {}
     containers:
     - name: app
+      env:
+      - name: GOCOVERDIR
+        value: /cov
+      volumeMounts:
+      - name: podcov
+        mountPath: /cov
+        subPath: app
       image: x
";
    adds("pod/one --coverdir /cov", marked);
    adds("pod/one --coverdir /cov", &marked.replace('\n', "\r\n"));
    // The last line has no end.
    let plain = "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  containers:\n  - name: app";
    let (changed, _) = run("", plain).unwrap();
    let value: Value = serde_saphyr::from_str(&changed).unwrap();
    assert_eq!(value["spec"]["containers"][0]["env"][0]["name"], "GOCOVERDIR");
    assert!(
        changed.starts_with("kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec:\n  volumes:\n"),
        "{changed}"
    );
}

/// Lists in flow style get one more item; objects in flow style are an error; JSON is written again.
#[test]
fn flow_style_and_json() {
    let head = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n";
    let text = format!(
        "{head}  volumes: []   # none\n  containers:\n  - name: app\n    env: [{{name: A, value: \"[x]\"}}]\n    volumeMounts: [\n    ]\n"
    );
    let (changed, _) = run("", &text).unwrap();
    let value: Value = serde_saphyr::from_str(&changed).unwrap();
    let container = &value["spec"]["containers"][0];
    assert_eq!(
        container["env"],
        serde_json::json!([{"name": "GOCOVERDIR", "value": "/coverage-data"}, {"name": "A", "value": "[x]"}])
    );
    assert_eq!(container["volumeMounts"][0]["subPath"], "app");
    assert_eq!(value["spec"]["volumes"], serde_json::json!([{"name": "podcov", "emptyDir": {}}]));

    let json = serde_json::to_string(&value).unwrap();
    let again = format!("---\n{json}\n---\na: 1\n");
    assert_eq!(run("", &again), Ok((again.clone(), Vec::new())));
    let without = r#"{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "app"}]}}"#;
    let (changed, _) = run("", &format!("---\n{without}\n---\na: 1\n")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&changed).unwrap();
    assert_eq!(documents[0]["spec"]["containers"][0]["volumeMounts"], container["volumeMounts"]);
    assert!(changed.ends_with("\n---\na: 1\n"), "{changed}");

    let error = run("", &format!("{head}  containers: [{{name: app}}]\n")).unwrap_err();
    assert!(error.starts_with("document 1: pod/a: it is not in block style"), "{error}");
}

/// What is set already stays, with a line; what cannot be added is an error that names the document and the container.
#[test]
fn conflicts_are_named() {
    let pod = |more: &str| {
        format!(
            "a: 1\n---\napiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n  containers:\n  - name: app\n{more}"
        )
    };
    for (more, note) in [
        (
            "    env:\n    - name: GOCOVERDIR\n      value: /cov\n",
            "GOCOVERDIR is set already to /cov; left as it is",
        ),
        (
            "    env:\n    - name: GOCOVERDIR\n      valueFrom: {configMapKeyRef: {name: a, key: b}}\n",
            "GOCOVERDIR is set already; left as it is",
        ),
        // Set to this folder, on no volume.
        (
            "    env:\n    - name: GOCOVERDIR\n      value: /coverage-data\n",
            "GOCOVERDIR is set already to /coverage-data; left as it is",
        ),
        (
            "    command: [/podcov-agent, run, --, /app]\n",
            "podcov-agent has a folder of its own; left as it is",
        ),
    ] {
        let text = pod(more);
        assert_eq!(
            run("", &text),
            Ok((text.clone(), vec![format!("pod/a container app: {note}")])),
            "{more}"
        );
    }
    for (more, error) in [
        (
            "    volumeMounts:\n    - {name: data, mountPath: /coverage-data/}\n",
            "document 2: pod/a container app: volume data is mounted at /coverage-data; name another folder with --coverdir",
        ),
        (
            "  volumes:\n  - {name: podcov, hostPath: {path: /x}}\n",
            "document 2: pod/a: it has a volume podcov already, which is no emptyDir",
        ),
    ] {
        assert_eq!(run("", &pod(more)), Err(error.into()), "{more}");
    }
    assert!(run("--coverdir cov", &pod("")).is_err());
    assert_eq!(
        run("", "a: 1\n---\n# nothing of kind Pod\n"),
        Ok(("a: 1\n---\n# nothing of kind Pod\n".into(), Vec::new()))
    );
    let error = run("", "a: 1\n---\nkind: Pod\na: [\n").unwrap_err();
    assert!(error.starts_with("document 2: it is no YAML: "), "{error}");
}

#[test]
fn a_sidecar() {
    let pod = |more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec:\n{more}  containers:\n  - name: app\n    image: x\n"
        )
    };
    let line = "--sidecar --image registry.example.com/podcov-agent --storage gs://bucket/folder";
    let (changed, notes) = run(line, &pod("")).unwrap();
    assert_eq!(notes, [""; 0]);
    let value: Value = serde_saphyr::from_str(&changed).unwrap();
    let spec = &value["spec"];
    assert_eq!(
        (&spec["shareProcessNamespace"], &spec["volumes"][0]["name"]),
        (&true.into(), &"podcov".into())
    );
    let sidecar = &spec["initContainers"][0];
    assert_eq!((&sidecar["name"], &sidecar["restartPolicy"]), (&"podcov".into(), &"Always".into()));
    assert_eq!(sidecar["image"], "registry.example.com/podcov-agent");
    assert_eq!(sidecar["env"][0]["value"], "gs://bucket/folder");
    assert!(changed.ends_with("  containers:\n  - name: app\n    image: x\n"), "{changed}");
    assert_eq!(run(line, &changed), Ok((changed.clone(), Vec::new())), "a second run");

    // What a program writes itself goes to the folder that the sidecar has for its container.
    let (both, _) = run("", &changed).unwrap();
    let value: Value = serde_saphyr::from_str(&both).unwrap();
    let mount = &value["spec"]["containers"][0]["volumeMounts"][0];
    assert_eq!((&mount["name"], &mount["subPath"]), (&"podcov".into(), &"app".into()));
    assert_eq!(value["spec"]["volumes"].as_array().map(Vec::len), Some(1));
    assert_eq!(value["spec"]["initContainers"][0]["volumeMounts"][0]["name"], "podcov");

    let (with_node, _) = run(line, &pod("  hostPID: true\n")).unwrap();
    assert!(!with_node.contains("shareProcessNamespace"), "Kubernetes refuses both: {with_node}");
    let error = run(line, &pod("  shareProcessNamespace: false\n")).unwrap_err();
    assert!(error.contains("shareProcessNamespace is false"), "{error}");
    let error = run(line, &pod("  initContainers:\n  - name: podcov\n    image: y\n")).unwrap_err();
    assert!(error.contains("it has a container podcov already"), "{error}");
}

/// As a render hook of Skaffold runs it, which reads both streams as manifests.
#[test]
fn what_is_said_is_a_comment() {
    let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: app\n    env: [{name: GOCOVERDIR, value: /x}]\n";
    let mut child = Command::new(env!("CARGO_BIN_EXE_podcov-inject"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("cargo has built it");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, text.as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        said,
        "# podcov-inject: pod/a container app: GOCOVERDIR is set already to /x; left as it is\n"
    );
    let both = serde_saphyr::from_str::<Value>(&format!("{said}{text}")).expect("YAML");
    assert_eq!(both["kind"], "Pod");
}
