//! port-forward: both ways, in bulk, many at once, refused.

use futures_util::future;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use podcov_testbed::Testbed;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::{bed, client};

const ECHO: u16 = 7;
const SIZE: usize = 20_000_000;

async fn echo() -> (Testbed, Client) {
    let bed = bed().await;
    bed.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: echo}, spec: {terminationGracePeriodSeconds: 1, containers: [
            {name: app, image: hello, ports: [{containerPort: 8080}, {name: echo, containerPort: 7}],
             readinessProbe: {tcpSocket: {port: echo}}}]}}",
    )
    .unwrap();
    bed.rollout_done().await.unwrap();
    let client = client(bed.kubeconfig()).await;
    (bed, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_both_ways() {
    let (bed, client) = echo().await;
    let pods = Api::<Pod>::default_namespaced(client);

    // From the pod, to the end of the connection.
    let mut forward = pods.portforward("echo", &[ECHO]).await.unwrap();
    let mut stream = forward.take_stream(ECHO).unwrap();
    stream.write_all(format!("send {SIZE}\n").as_bytes()).await.unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), SIZE);

    // Both ways at once.
    let mut forward = pods.portforward("echo", &[ECHO]).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(forward.take_stream(ECHO).unwrap());
    let data: Vec<u8> = (0..SIZE).map(|i| (i / 251) as u8).collect();
    let mut back = vec![0; SIZE];
    let (sent, got) = tokio::join!(writer.write_all(&data), reader.read_exact(&mut back));
    sent.unwrap();
    got.unwrap();
    assert!(back == data);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_waits_holds_the_pod_up() {
    let (bed, client) = echo().await;
    let pods = Api::<Pod>::default_namespaced(client);
    let mut forward = pods.portforward("echo", &[ECHO]).await.unwrap();
    let mut stream = forward.take_stream(ECHO).unwrap();
    stream.write_all(b"send 100000000\n").await.unwrap();
    // What is on its way when nobody reads is bounded by the buffers; what comes afterwards is whole.
    let mut first = vec![0; 1000];
    stream.read_exact(&mut first).await.unwrap();
    let mut rest = tokio::io::sink();
    assert_eq!(tokio::io::copy(&mut stream, &mut rest).await.unwrap(), 100_000_000 - 1000);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once() {
    let (bed, client) = echo().await;
    let one = async |number: usize| {
        let mut forward =
            Api::<Pod>::default_namespaced(client.clone()).portforward("echo", &[ECHO]).await.unwrap();
        let mut stream = forward.take_stream(ECHO).unwrap();
        let text = format!("connection {number}").repeat(1000);
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = vec![0; text.len()];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    };
    future::join_all((0..50).map(one)).await;
    assert_eq!(bed.requests().count("get", "pods/portforward"), 50);
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_ports_and_a_refused_one() {
    let (bed, client) = echo().await;
    let pods = Api::<Pod>::default_namespaced(client);
    let mut forward = pods.portforward("echo", &[ECHO, 9999]).await.unwrap();
    let error = forward.take_error(9999).unwrap().await.unwrap();
    assert!(error.starts_with("error forwarding port 9999 to pod echo, uid : "), "{error}");
    assert!(error.contains("dial tcp4 127.0.0.1:9999: connect: connection refused"), "{error}");
    let mut stream = forward.take_stream(ECHO).unwrap();
    stream.write_all(b"still").await.unwrap();
    let mut back = [0; 5];
    stream.read_exact(&mut back).await.unwrap();
    assert_eq!(&back, b"still");
    let error = pods.portforward("gone", &[ECHO]).await.err().unwrap();
    assert!(error.to_string().contains("pods \"gone\" not found"), "{error}");
    bed.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_pod_ends_its_connections() {
    let (bed, client) = echo().await;
    let pods = Api::<Pod>::default_namespaced(client);
    let mut forward = pods.portforward("echo", &[ECHO]).await.unwrap();
    let mut stream = forward.take_stream(ECHO).unwrap();
    stream.write_all(b"hello").await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    bed.delete_pod("default", "echo", Some(0)).unwrap();
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    bed.shutdown().await;
}
