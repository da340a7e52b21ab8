//! exec in both versions of its protocol, and that no command reaches a process outside its container.

use podcov_testbed::{Image, Tools};

use crate::common::{Exec, bed, client, connect, hello, program, run};
const V4: &str = "v4.channel.k8s.io";
const V5: &str = "v5.channel.k8s.io";

/// pid 1 is the container's process, whichever way `kill` is called. What would do harm should the guard fail is in
/// the unit tests, with nothing behind it.
#[tokio::test(flavor = "multi_thread")]
async fn kill_reaches_the_container_only() {
    let (bed, client, pod) = hello().await;
    let own = bed.pid("default", &pod, "app").unwrap();
    assert!(own > 1);
    let folder = bed.volume_dir("default", &pod, "coverage").unwrap();
    let guarded =
        run(&client, &pod, &["sh", "-c", "command -V kill; sh -c 'command -V kill'; command -v kill"]).await;
    assert_eq!(guarded.text().matches("function").count(), 2, "{guarded:?}");
    let ways: [&[&str]; 12] = [
        &["kill", "-USR1", "1"],
        &["/bin/kill", "-s", "USR1", "1"],
        &["/usr/bin/kill", "-USR1", "--", "01"],
        &["sh", "-c", "kill -USR1 1"],
        &["/bin/sh", "-c", "kill -s USR1 1"],
        &["sh", "-ec", "kill -USR1 -- 1"],
        &["sh", "-e", "-u", "-c", "/bin/kill -USR1 1"],
        &["sh", "-c", "sh -c 'kill -USR1 1'"],
        &["sh", "-c", "/bin/sh -c 'kill -USR1 1'"],
        &["env", "kill", "-USR1", "1"],
        &["timeout", "5", "sh", "-c", "kill -USR1 $0", "1"],
        &["sh", "-c", "echo 1 | xargs kill -USR1"],
    ];
    for (count, way) in (1..).zip(ways) {
        let output = run(&client, &pod, way).await;
        assert_eq!(output.code(), Some(0), "{way:?}: {output:?}");
        let file = folder.join(format!("covcounters.{count}"));
        let wait = format!("until [ -e {} ]; do sleep 0.01; done", file.display());
        assert_eq!(
            run(&client, &pod, &["timeout", "10", "sh", "-c", &wait]).await.code(),
            Some(0),
            "{way:?}"
        );
    }
    // A script from stdin.
    let mut exec = Exec::start(&client, &pod, &["sh"], V5).await.unwrap();
    exec.write(b"kill -0 1 && echo same\n").await;
    exec.close_stdin().await;
    assert_eq!(exec.finish().await.text(), "same\n");

    // Every other process of the host, this one too, is not there.
    let this = std::process::id().to_string();
    for script in [format!("kill -0 {this}"), format!("kill -0 -{this}"), "kill -0 2".to_owned()] {
        let output = run(&client, &pod, &["sh", "-c", &script]).await;
        assert_eq!(output.code(), Some(1), "{script}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("No such process"), "{output:?}");
    }
    for name in ["pkill", "killall"] {
        assert_eq!(run(&client, &pod, &[name, "nothing"]).await.code(), Some(127), "{name}");
        assert_eq!(run(&client, &pod, &["sh", "-c", &format!("{name} nothing")]).await.code(), Some(127));
    }
    // What a command started itself is.
    let output =
        run(&client, &pod, &["sh", "-c", "sleep 60 & kill $! && wait $!; echo $?; kill -0 $$"]).await;
    assert_eq!((output.text().as_str(), output.code()), ("143\n", Some(0)));
    let output = run(&client, &pod, &["sh", "-c", "tr '\\0' '\\n' < /proc/1/environ | grep HOSTNAME"]).await;
    assert_eq!(output.text(), format!("HOSTNAME={pod}\n"));
    // The container's end is the exec's too.
    let output = run(&client, &pod, &["sh", "-c", "kill -KILL 1; sleep 60"]).await;
    assert_eq!(output.code(), Some(137), "{output:?}");
    bed.wait_for("restart", |pods| {
        pods.iter().any(|pod| {
            pod.status.as_ref().unwrap().container_statuses.as_ref().unwrap()[0].restart_count == 1
        })
    })
    .await
    .unwrap();
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_exit_codes() {
    let (_bed, client, pod) = hello().await;
    for protocol in [V4, V5] {
        let command = ["sh", "-c", "echo out; echo err >&2; exit 3"];
        let exec = Exec::start(&client, &pod, &command, protocol).await.unwrap();
        let output = exec.finish().await;
        assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
        let status = output.status.as_ref().unwrap();
        assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));
        assert_eq!(output.code(), Some(3));
        assert_eq!(output.message(), "command terminated with non-zero exit code: exit status 3");
    }
    assert_eq!(run(&client, &pod, &["sh", "-c", "kill -KILL $$"]).await.code(), Some(137));
    let output = run(&client, &pod, &["head", "-c", "5000000", "/dev/zero"]).await;
    assert_eq!((output.stdout.len(), output.code()), (5_000_000, Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_is_interactive_and_closes() {
    let (bed, client, pod) = hello().await;
    let script = "while read -r line; do echo \"got $line\"; done; echo end";
    for protocol in [V4, V5] {
        let mut exec = Exec::start(&client, &pod, &["sh", "-c", script], protocol).await.unwrap();
        for line in ["one", "two"] {
            exec.write(format!("{line}\n").as_bytes()).await;
            exec.wait_for(&format!("got {line}\n")).await;
        }
        if protocol == V5 {
            exec.close_stdin().await;
            let output = exec.finish().await;
            assert_eq!((output.text().as_str(), output.code()), ("got one\ngot two\nend\n", Some(0)));
        }
    }
    let mut exec = Exec::start(&client, &pod, &["sha256sum"], V5).await.unwrap();
    for _ in 0..64 {
        exec.write(&[b'x'; 64 * 1024]).await;
    }
    exec.close_stdin().await;
    let output = exec.finish().await;
    assert_eq!(output.text().split_whitespace().next().unwrap().len(), 64);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_paths() {
    let (bed, client, pod) = hello().await;
    let folder = bed.volume_dir("default", &pod, "coverage").unwrap();
    fs_err::write(folder.join("covmeta.1"), "meta").unwrap();
    let output =
        run(&client, &pod, &["sh", "-c", "cat /coverage-data/covmeta.1 && cat $GOCOVERDIR/covmeta.1"]).await;
    assert_eq!(output.text(), "metameta");
    let output = run(&client, &pod, &["tar", "-C", "/coverage-data", "-cf", "-", "."]).await;
    assert!(output.stdout.len() >= 1024 && output.code() == Some(0));

    let output = run(&client, &pod, &["env"]).await;
    let mut names: Vec<String> =
        output.text().lines().filter_map(|line| Some(line.split_once('=')?.0.to_owned())).collect();
    names.sort();
    assert_eq!(names, ["GOCOVERDIR", "HOSTNAME", "PATH", "PORT", "PORT_HTTP", "TESTBED_PID"]);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_image_lacks() {
    let bed = bed().await;
    bed.image("bare", Image::new(program()).tools(Tools::none()));
    bed.image("tar-only", Image::new(program()).tools(Tools::only(["tar"])));
    bed.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: two}, spec: {containers: [
            {name: a, image: bare, ports: [{containerPort: 1}]},
            {name: b, image: tar-only, ports: [{containerPort: 2}]}]}}",
    )
    .unwrap();
    bed.rollout_done().await.unwrap();
    let client = client(bed.kubeconfig()).await;
    for (path, command, why) in [
        ("two:a", "sh", "exec: \"sh\": executable file not found in $PATH"),
        ("two:a", "tar", "exec: \"tar\": executable file not found in $PATH"),
        ("two:a", "/bin/sh", "exec: \"/bin/sh\": stat /bin/sh: no such file or directory"),
        ("two:b", "kill", "exec: \"kill\": executable file not found in $PATH"),
    ] {
        let output = run(&client, path, &[command, "-c", "true"]).await;
        assert_eq!(output.status.as_ref().unwrap().reason.as_deref(), Some("InternalError"));
        let message = output.message();
        assert!(
            message.starts_with(
                "Internal error occurred: error executing command in container: failed to exec in container"
            ) && message.ends_with(why),
            "{message}"
        );
    }
    let output = run(&client, "two:b", &["tar", "--version"]).await;
    assert_eq!(output.code(), Some(0), "{output:?}");
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals() {
    let (bed, client, pod) = hello().await;
    bed.apply("{apiVersion: v1, kind: Pod, metadata: {name: no-image}, spec: {containers: [{name: app, image: nowhere}, {name: b, image: nowhere}]}}")
        .unwrap();
    let start = |path: String, command: &'static [&'static str], protocol: &'static str| {
        let client = client.clone();
        async move { Exec::start(&client, &path, command, protocol).await.err().map(|error| error.to_string()) }
    };
    for (path, command, expected) in [
        ("gone".to_owned(), &["true"][..], "404 Not Found: .*pods \\\"gone\\\" not found"),
        ("nowhere/gone".to_owned(), &["true"], "404 Not Found: .*namespaces \\\"nowhere\\\" not found"),
        (format!("{pod}:other"), &["true"], "400 Bad Request: .*container other is not valid for pod"),
        (
            "no-image".to_owned(),
            &["true"],
            "400 Bad Request: .*a container name must be specified for pod no-image, choose one of: [app b]",
        ),
        (pod.clone(), &[], "400 Bad Request: .*you must specify at least 1 command for the container"),
    ] {
        let error = start(path, command, V5).await.unwrap();
        let (code, message) = expected.split_once(": .*").unwrap();
        assert!(error.starts_with(code) && error.contains(message), "{error}");
    }
    // Version 5 is upgraded by the API server before it asks the kubelet, version 4 is not.
    let output = run(&client, "no-image:app", &["true"]).await;
    let expected = "Internal error occurred: unable to upgrade connection: container not found (\"app\")";
    assert_eq!(output.message(), expected);
    let error = start("no-image:app".to_owned(), &["true"], V4).await.unwrap();
    assert!(error.starts_with("500") && error.contains("container not found"), "{error}");
    // No upgrade asked for, or none there is.
    let uri = format!("/api/v1/namespaces/default/pods/{pod}/exec?command=true");
    let error =
        client.request_text(axum::http::Request::get(&uri).body(Vec::new()).unwrap()).await.unwrap_err();
    assert!(error.to_string().contains("Upgrade request required"), "{error}");
    assert!(connect(&client, &uri, "v1.channel.k8s.io").await.is_err());
    bed.shutdown().await;
}
