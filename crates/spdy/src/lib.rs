//! SPDY/3.1 as Kubernetes speaks it: many streams over one connection.
//!
//! Nobody else speaks it any more, but kubelets, container runtimes and API servers do, for port-forwards, by the
//! Go package `github.com/moby/spdystream`. This is as much of the protocol (draft-mbelshe-httpbis-spdy-00) as that
//! package uses. Above all there is no flow control: a reader that is too slow on one stream stops all of them. So a
//! [`Session`] buffers up to a limit, and tells ([`Session::is_held_up`]) when it comes near.
//!
//! [`client`] and [`server`] start a session over a connection that has been upgraded.

mod frame;
mod headers;
mod queue;
mod registry;
mod session;
mod stream;

pub use headers::Headers;
pub use queue::Session;
pub use session::{Accepted, client, server};
pub use stream::{Incoming, Outgoing};

/// A session or one of its streams has ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Broken(pub String);
