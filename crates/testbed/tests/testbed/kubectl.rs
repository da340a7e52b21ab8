//! The real kubectl against the testbed, where it is installed.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
};

use crate::common::hello;

fn kubectl(kubeconfig: &Path, args: &[&str]) -> Option<(String, String, Option<i32>)> {
    let output = Command::new("kubectl").arg("--kubeconfig").arg(kubeconfig).args(args).output().ok()?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Some((text(output.stdout), text(output.stderr), output.status.code()))
}

#[tokio::test(flavor = "multi_thread")]
async fn gets_and_execs() {
    let (bed, _client, name) = hello().await;
    let config = bed.kubeconfig().to_owned();
    let cache = bed.kubeconfig().parent().unwrap().join("kubectl-cache");
    let cache = format!("--cache-dir={}", cache.display());
    let checked = tokio::task::spawn_blocking(move || {
        let run = |args: &[&str]| kubectl(&config, &[&[cache.as_str()], args].concat());
        // Not installed: nothing to check.
        let Some((out, err, _)) = run(&["get", "pods", "-l", "app=hello"]) else { return };
        assert!(out.contains(&name), "{out}{err}");
        let (out, err, _) = run(&["get", "deploy/hello", "-o", "jsonpath={.status.readyReplicas}"]).unwrap();
        assert_eq!(out, "2", "{err}");
        let (_, err, code) = run(&["get", "pod", "nope"]).unwrap();
        assert_eq!(
            (err.as_str(), code),
            ("Error from server (NotFound): pods \"nope\" not found\n", Some(1))
        );
        let (out, err, code) =
            run(&["exec", &name, "--", "sh", "-c", "echo out; echo err >&2; exit 3"]).unwrap();
        assert_eq!((out.as_str(), code), ("out\n", Some(3)), "{err}");
        assert!(err.starts_with("err\n"), "{err}");
        let (out, err, _) =
            run(&["exec", "deploy/hello", "--", "tar", "-C", "/coverage-data", "-cf", "-", "."]).unwrap();
        assert!(out.starts_with("./"), "{err}");
        let (out, ..) = run(&["logs", &name]).unwrap();
        assert_eq!(out, "starting\n");
        let (out, err, code) = run(&["delete", "pod", &name]).unwrap();
        assert_eq!(code, Some(0), "{out}{err}");
    });
    checked.await.unwrap();
    bed.shutdown().await;
}

/// kubectl asks for a WebSocket that carries SPDY's streams, and when it gets none for the streams themselves.
#[tokio::test(flavor = "multi_thread")]
async fn forwards_ports() {
    let (bed, _client, name) = hello().await;
    let config = bed.kubeconfig().to_owned();
    let checked = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("kubectl");
        command.arg("--kubeconfig").arg(&config).args(["port-forward", &format!("pod/{name}"), ":8080"]);
        // Not installed: nothing to check.
        let Ok(mut kubectl) = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() else { return };
        let mut line = String::new();
        // Kept open: kubectl ends when nobody reads what it prints about each connection.
        let mut said = BufReader::new(kubectl.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let address = line.split(' ').find(|word| word.starts_with("127.0.0.1:")).unwrap();
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
        }
        kubectl.kill().unwrap();
        kubectl.wait().unwrap();
    });
    checked.await.unwrap();
    bed.shutdown().await;
}
