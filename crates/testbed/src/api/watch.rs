//! Watches: a stream of JSON lines, one a change.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time};

use super::{list, request::Info, status::Failure};
use crate::{cluster::Cluster, resource::Resource, selector::Selector, store::Change};

/// How often an idle watch gets a bookmark, if it asked for them.
const BOOKMARK_PERIOD: Duration = Duration::from_secs(60);
/// How long a watch lasts that does not say; the real server picks 30 to 60 minutes.
const DEFAULT_TIMEOUT: u64 = 30 * 60;

pub(crate) fn watch(
    cluster: &Arc<Cluster>,
    info: Info,
    resource: &'static Resource,
) -> Result<Response, Failure> {
    let selector = list::selector(&info)?;
    let (lines, mut body) = mpsc::channel::<Result<Bytes, std::convert::Infallible>>(64);
    let watch = Watch { cluster: cluster.clone(), info, resource, selector, lines };
    cluster.spawn(watch.run());
    let body = Body::from_stream(stream::poll_fn(move |context| body.poll_recv(context)));
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((headers, body).into_response())
}

struct Watch {
    cluster: Arc<Cluster>,
    info: Info,
    resource: &'static Resource,
    selector: Selector,
    lines: mpsc::Sender<Result<Bytes, std::convert::Infallible>>,
}

/// The watch is over: its client has gone.
struct Gone;

impl Watch {
    async fn run(self) {
        let seconds = self.info.number("timeoutSeconds").unwrap_or(DEFAULT_TIMEOUT);
        let mut at = 0;
        let client_gone = self.lines.clone();
        tokio::select! {
            _ = self.follow(&mut at) => return,
            () = client_gone.closed() => return,
            () = time::sleep(Duration::from_secs(seconds)) => {}
        }
        // Best effort: the client may be gone by now.
        let _ = self.bookmark(at, false).await;
    }

    /// Sends changes until the client goes; `at` is the version sent so far.
    async fn follow(&self, at: &mut u64) -> Result<(), Gone> {
        let mut versions = self.cluster.store.versions();
        *at = self.start().await?;
        let mut bookmarks = time::interval(BOOKMARK_PERIOD);
        bookmarks.reset();
        loop {
            let Ok((changes, version)) = self.cluster.store.changes_since(self.resource, *at) else {
                let expired = Failure::too_old(*at, self.cluster.store.version());
                let mut status = json!(expired.status());
                status["kind"] = "Status".into();
                status["apiVersion"] = "v1".into();
                return self.send("ERROR", &status).await;
            };
            for change in &changes {
                if let Some((kind, object)) = self.event(change) {
                    self.send(kind, object).await?;
                }
            }
            *at = version;
            let mut changed = pin!(versions.changed());
            tokio::select! {
                result = &mut changed => result.map_err(|_| Gone)?,
                _ = bookmarks.tick() => self.bookmark(*at, false).await?,
            }
        }
    }

    /// Sends what is there already, if the client wants that; the version to go on from.
    async fn start(&self) -> Result<u64, Gone> {
        let from = self.info.number("resourceVersion").unwrap_or(0);
        let initial = self.info.flag("sendInitialEvents");
        if from > 0 && !initial {
            return Ok(from);
        }
        let (objects, version) = list::select(&self.cluster, &self.info, self.resource, &self.selector);
        for object in &objects {
            self.send("ADDED", object).await?;
        }
        if initial {
            self.bookmark(version, true).await?;
        }
        Ok(version)
    }

    /// A change as this watch sees it: an object that no longer matches is deleted to it.
    fn event<'a>(&self, change: &'a Change) -> Option<(&'static str, &'a Value)> {
        let seen = |object: &&Arc<Value>| {
            let elsewhere = self.resource.namespaced
                && !self.info.namespace.is_empty()
                && crate::object::namespace(object) != self.info.namespace;
            !elsewhere && self.selector.matches(object)
        };
        match (change.before.as_ref().filter(seen), change.after.as_ref().filter(seen)) {
            (None, Some(after)) => Some(("ADDED", after)),
            (Some(_), Some(after)) => Some(("MODIFIED", after)),
            (Some(before), None) => Some(("DELETED", before)),
            (None, None) => None,
        }
    }

    async fn bookmark(&self, version: u64, end_of_initial: bool) -> Result<(), Gone> {
        if !self.info.flag("allowWatchBookmarks") {
            return Ok(());
        }
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if end_of_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = json!({"kind": self.resource.kind, "metadata": metadata});
        object["apiVersion"] = self.resource.api_version().into();
        self.send("BOOKMARK", &object).await
    }

    async fn send(&self, kind: &str, object: &Value) -> Result<(), Gone> {
        let Ok(mut line) = serde_json::to_vec(&json!({"type": kind, "object": object})) else {
            return Err(Gone);
        };
        line.push(b'\n');
        self.lines.send(Ok(line.into())).await.map_err(|_| Gone)
    }
}
