//! Watching pods: all that are there, then each change.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::Store;
use kube::runtime::reflector::store::Writer;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, ResourceExt};

use crate::{Cluster, Error, PodSet};

/// Pods that are kept up to date for as long as somebody calls [`PodWatch::next`].
pub(crate) struct PodWatch {
    cluster: Cluster,
    pods: Api<Pod>,
    config: watcher::Config,
    /// What is done, for messages.
    doing: String,
    events: BoxStream<'static, watcher::Result<Event<Pod>>>,
    known: Writer<Pod>,
    listed: bool,
}

impl PodWatch {
    /// Nothing is asked of the cluster yet. `doing` is for messages.
    pub(crate) fn new(cluster: &Cluster, set: &PodSet, doing: String) -> Self {
        let config = set.watch_config();
        let pods = match &set.namespace {
            Some(namespace) => cluster.api(namespace),
            None => Api::all(cluster.client().clone()),
        };
        let events = events(&pods, &config);
        let (_, known) = reflector::store();
        Self { cluster: cluster.clone(), pods, config, doing, events, known, listed: false }
    }

    /// The pods that are known.
    pub(crate) fn known(&self) -> Store<Pod> {
        self.known.as_reader()
    }

    /// Lists the pods. Nothing more is asked of the cluster until [`PodWatch::next`].
    ///
    /// # Errors
    /// The API server's refusal, or that it could not be reached in the time that a request may take.
    pub(crate) async fn list(&mut self) -> Result<(), Error> {
        tracing::debug!(doing = self.doing, "request");
        let cluster = self.cluster.clone();
        while !self.listed {
            // An event takes a request at most: a page is many events.
            cluster.within(&self.doing.clone(), self.step()).await?;
        }
        Ok(())
    }

    /// Waits until anything about the pods changes; the first time, until they have been listed. After an error this
    /// can be called again: it then pauses, and tries again. A call can be dropped.
    ///
    /// # Errors
    /// As [`PodWatch::list`], of the list and of the watch.
    pub(crate) async fn next(&mut self) -> Result<(), Error> {
        loop {
            let is_change = self.step().await.map_err(|error| self.cluster.error(error, &self.doing))?;
            if is_change {
                return Ok(());
            }
        }
    }

    /// Takes one event. Gives whether it has changed what is known.
    async fn step(&mut self) -> kube::Result<bool> {
        let event = match self.events.next().await.expect("a watch never ends") {
            Ok(event) => event,
            // The list took so long that its continue token ran out: start again, without paging.
            Err(watcher::Error::InitialListFailed(kube::Error::Api(status)))
                if status.code == 410 && self.config.page_size.take().is_some() =>
            {
                self.events = events(&self.pods, &self.config);
                return Ok(false);
            }
            Err(error) => return Err(cause(error)),
        };
        self.known.apply_watcher_event(&event);
        self.listed |= matches!(event, Event::InitDone);
        // What a list has is known when the list is complete.
        Ok(!matches!(event, Event::Init | Event::InitApply(_)))
    }
}

fn events(pods: &Api<Pod>, config: &watcher::Config) -> BoxStream<'static, watcher::Result<Event<Pod>>> {
    let events = watcher(pods.clone(), config.clone()).default_backoff();
    events.modify(|pod| pod.managed_fields_mut().clear()).boxed()
}

fn cause(error: watcher::Error) -> kube::Error {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(e) | WatchStartFailed(e) | WatchFailed(e) => e,
        WatchError(status) => kube::Error::Api(status),
        NoResourceVersion => kube::Error::Service(error.into()),
    }
}
