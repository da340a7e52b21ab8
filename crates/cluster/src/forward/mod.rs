//! Forwarding local connections to a pod behind a service, a workload or a pod's name.
//!
//! Each new connection goes to a pod that is live then, so a pod that is replaced
//! costs its own connections alone; one that no pod accepts yet is held until one does.

mod address;
mod backend;
mod connection;
mod dial;
mod live;
mod probe;
mod pump;
mod ready;
mod tunnel;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinSet};

use crate::{Cluster, Error, PodSet};
use backend::Backend;
use live::LivePods;
use tunnel::Tunnels;
use upstream::Upstream;

pub use address::{Kind, PortSpec, RemotePort, TargetRef};
pub use dial::{DialFailure, Dialled};

/// As many connections may come at once. One that finds no room is only tried again a second later.
const BACKLOG: u32 = 1024;

/// A local port whose connections reach a pod. Dropping it closes the port and its connections.
pub struct Forward {
    upstream: Arc<Upstream>,
    address: SocketAddr,
    acceptor: AbortHandle,
}

impl Forward {
    /// Looks the target up, opens the local port and begins to accept.
    ///
    /// `patience` is how long [`Forward::accepts`] and [`Forward::answers_http`] wait, and how long a connection of a
    /// client is held while no pod takes it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the target or its port does not exist, [`Error::NoLocalPort`] when the local
    /// port is not available, else the API server's error.
    pub async fn start(
        cluster: &Cluster,
        target: &TargetRef,
        port: &PortSpec,
        default_namespace: &str,
        patience: Duration,
    ) -> Result<Self, Error> {
        let backend = Backend::look_up(cluster, target, default_namespace).await?;
        backend.check_port(&port.remote)?;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, port.local.unwrap_or(0)));
        let in_use = |e: io::Error| Error::NoLocalPort { address: local, cause: e.to_string() };
        let listener = listen(local).map_err(in_use)?;
        let address = listener.local_addr().map_err(in_use)?;
        let live = LivePods::watch(cluster, &backend);
        let remote = port.remote.clone();
        let (cluster, tunnels) = (cluster.clone(), Tunnels::default());
        let upstream = Arc::new(Upstream { cluster, backend, remote, live, tunnels, patience });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&upstream))).abort_handle();
        Ok(Self { upstream, address, acceptor })
    }

    /// The local address, always on the loopback interface.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pods that connections go to.
    #[must_use]
    pub fn pod_set(&self) -> PodSet {
        self.upstream.backend.pod_set()
    }

    /// Waits until the remote end takes a connection.
    ///
    /// A pod that is ready by a probe of that port does: its kubelet has tried. Elsewhere one connection is tried. A
    /// port-forward says only that a connection was refused, never that it was accepted. So one counts that the node has
    /// not refused a quarter of a second after it got the request; the time on the way there is not part of that.
    /// [`Forward::answers_http`] is proof.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the last cause when the time is over; at once what time cannot mend.
    pub async fn accepts(&self) -> Result<(), Error> {
        ready::accepts(&self.upstream).await
    }

    /// Waits until a GET of `path` is answered with a status from 200 to 399.
    ///
    /// # Errors
    /// As [`Forward::accepts`].
    pub async fn answers_http(&self, path: &str) -> Result<(), Error> {
        ready::answers_http(&self.upstream, self.address, path).await
    }
}

fn listen(local: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // As without this call; on Windows it would let others take the port over.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(local)?;
    socket.listen(BACKLOG)
}

impl Drop for Forward {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, upstream: Arc<Upstream>) {
    let listener = &listener;
    let accept = move || async move { Ok(listener.accept().await?.0) };
    let serve = |client| {
        let upstream = Arc::clone(&upstream);
        async move {
            if let Err(error) = connection::serve(client, &upstream).await {
                tracing::warn!("a connection to {}: {error}", upstream.backend);
            }
        }
    };
    let failed = |error| tracing::warn!("cannot accept a connection for {}: {error}", upstream.backend);
    accept_with(accept, serve, failed).await;
}

/// Serves each connection that `accept` gives. The first of several failures of `accept` goes to `failed`.
async fn accept_with<C, A, S>(accept: impl Fn() -> A, serve: impl Fn(C) -> S, failed: impl Fn(io::Error))
where
    A: Future<Output = io::Result<C>>,
    S: Future<Output = ()> + Send + 'static,
{
    // Connections live in the set, so they end with the acceptor.
    let mut connections = JoinSet::new();
    let mut pauses = None;
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok(client) => {
                pauses = None;
                connections.spawn(serve(client));
            }
            // The client went away, or no descriptor is free. The end of a connection frees some; nothing tells of those
            // that are freed elsewhere.
            Err(error) => {
                if pauses.is_none() {
                    failed(error);
                }
                let pause = pauses.get_or_insert(connection::RETRY).next_length();
                tokio::select! {
                    Some(_) = connections.join_next() => {}
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::mpsc;

    use super::*;

    fn no_descriptors() -> io::Error {
        io::Error::other("too many open files")
    }

    #[tokio::test]
    async fn an_acceptor_without_descriptors_does_not_spin() {
        let (tries, told) = (AtomicU32::new(0), AtomicU32::new(0));
        let accept = || async {
            // 10 + 20 + … ms: this many do not fit into a second.
            assert!(tries.fetch_add(1, Ordering::Relaxed) < 8, "it spins");
            Err::<(), _>(no_descriptors())
        };
        let failed = |_| _ = told.fetch_add(1, Ordering::Relaxed);
        let accepting = accept_with(accept, async |()| {}, failed);
        assert!(tokio::time::timeout(Duration::from_secs(1), accepting).await.is_err());
        assert_eq!(told.load(Ordering::Relaxed), 1, "it is said once");
        assert!(tries.load(Ordering::Relaxed) > 1, "it is tried again");
    }

    #[tokio::test]
    async fn connections_are_served_once_there_are_descriptors() {
        let (sender, mut served) = mpsc::unbounded_channel();
        let tries = AtomicU32::new(0);
        let accept = || async {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 2 | 3 => Err(no_descriptors()),
                number @ (1 | 4) => Ok(number),
                _ => std::future::pending().await,
            }
        };
        let serve = |number| {
            let sender = sender.clone();
            async move { sender.send(number).unwrap() }
        };
        let told = AtomicU32::new(0);
        let failed = |_| _ = told.fetch_add(1, Ordering::Relaxed);
        let two = async { [served.recv().await, served.recv().await] };
        tokio::select! {
            () = accept_with(accept, serve, failed) => unreachable!("it accepts for ever"),
            numbers = two => assert_eq!(numbers, [Some(1), Some(4)]),
        }
        assert_eq!(told.load(Ordering::Relaxed), 2, "each time that it begins to fail");
    }
}
