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
mod ready;
mod tunnel;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{AbortHandle, JoinSet};

use crate::{Cluster, Error};
use backend::Backend;
use live::LivePods;
use tunnel::Tunnels;

pub use address::{Kind, PortSpec, RemotePort, TargetRef};
pub use dial::{Dialled, Failure};

/// As many connections may come at once. One that finds no room is only tried again a second later.
const BACKLOG: u32 = 1024;

/// A local port whose connections reach a pod. Dropping it closes the port and its connections.
pub struct Forward {
    route: Arc<Route>,
    address: SocketAddr,
    acceptor: AbortHandle,
}

/// Where connections go: shared by the acceptor and the checks.
struct Route {
    cluster: Cluster,
    backend: Backend,
    remote: RemotePort,
    live: LivePods,
    tunnels: Tunnels,
    patience: Duration,
}

impl Forward {
    /// Looks the target up, opens the local port and begins to accept.
    ///
    /// `patience` is how long a connection is held while no pod takes it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the target or its port does not exist, [`Error::Config`] when the local port
    /// cannot be had, else what the API server says.
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
        let in_use = |e: std::io::Error| Error::NoLocalPort { address: local, cause: e.to_string() };
        let listener = listen(local).map_err(in_use)?;
        let address = listener.local_addr().map_err(in_use)?;
        let live = LivePods::watch(cluster, &backend);
        let remote = port.remote.clone();
        let (cluster, tunnels) = (cluster.clone(), Tunnels::default());
        let route = Arc::new(Route { cluster, backend, remote, live, tunnels, patience });
        let acceptor = tokio::spawn(accept(listener, Arc::clone(&route))).abort_handle();
        Ok(Self { route, address, acceptor })
    }

    /// The local address, always on the loopback interface.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the remote end takes a connection.
    ///
    /// A pod that is ready by a probe of that port does: its kubelet has tried. Elsewhere one connection is tried,
    /// and as a port-forward never says that a connection was accepted, only that it was refused, one that is not
    /// refused within a quarter of a second counts. Where that is too weak, [`Forward::answers_http`] is proof.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the last cause when the time is over; at once what time cannot mend.
    pub async fn accepts(&self) -> Result<(), Error> {
        ready::accepts(&self.route).await
    }

    /// Waits until a GET of `path` is answered with a status from 200 to 399.
    ///
    /// # Errors
    /// As [`Forward::accepts`].
    pub async fn answers_http(&self, path: &str) -> Result<(), Error> {
        ready::answers_http(&self.route, self.address, path).await
    }
}

fn listen(local: SocketAddr) -> std::io::Result<TcpListener> {
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

async fn accept(listener: TcpListener, route: Arc<Route>) {
    // Connections live in the set, so they end with the acceptor.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    let route = Arc::clone(&route);
                    connections.spawn(async move {
                        if let Err(error) = connection::serve(client, &route).await {
                            tracing::warn!("a connection to {}: {error}", route.backend);
                        }
                    });
                }
                // The client went away, or there are no descriptors left until a connection ends.
                Err(error) => {
                    tracing::warn!("cannot accept a connection for {}: {error}", route.backend);
                    connections.join_next().await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}
