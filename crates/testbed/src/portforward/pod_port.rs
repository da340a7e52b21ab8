//! A connection to a port of a pod.

use std::net::Ipv4Addr;

use tokio::net::TcpStream;

use crate::object;

/// As much is copied in one go, in bytes.
pub(super) const CHUNK: usize = 32 * 1024;

/// Connects to the local port that stands for the pod's.
pub(super) async fn connect(local: Option<u16>) -> Result<TcpStream, String> {
    // A port the pod does not declare belongs to no program here, even if something listens on it on the host.
    let local = local.ok_or_else(|| "connection refused".to_owned())?;
    let stream =
        TcpStream::connect((Ipv4Addr::LOCALHOST, local)).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            _ => error.to_string(),
        })?;
    // Small answers must not wait for more to come.
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// containerd's message for a port on which nothing listens.
pub(super) fn refusal(pod: &str, port: u16, why: &str) -> String {
    format!(
        "error forwarding port {port} to pod {pod}, uid : failed to execute portforward in network namespace \
         \"/var/run/netns/cni-{}\": failed to connect to localhost:{port} inside namespace {:?}, IPv4: dial tcp4 \
         127.0.0.1:{port}: connect: {why} IPv6 dial tcp6 [::1]:{port}: connect: {why} ",
        object::new_uid(),
        object::new_digest(),
    )
}
