//! Faults that tests set, and the record of requests they assert on.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use crate::api::request::Info;

/// What goes wrong.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The request is answered with a status code, and the message the real server has for it unless one is given.
    Status {
        /// The HTTP status code.
        code: u16,
        /// The `Status` object's message.
        message: Option<String>,
        /// Seconds for `Retry-After`; the code is then 429.
        retry_after: Option<u32>,
    },
    /// The request is taken and never answered.
    Hang,
    /// The connection is closed without an answer.
    Close,
    /// exec: the connection drops after this many bytes of stdout, without a status.
    CutStdout(usize),
    /// exec: stdout ends after this many bytes, and yet success is reported (kubernetes issue 124571).
    TruncateStdout(usize),
    /// exec: the command is killed after this many bytes of stdout, and its exit code reported, as where the container's
    /// first process ends.
    KillCommand(usize),
    /// exec: the command does not run; stdout is these bytes, and success is reported.
    ReplaceStdout(Bytes),
    /// exec: signals that the command sends to pid 1 arrive this much later; the command itself does not wait.
    DelaySignals(Duration),
    /// exec: signals that the command sends to pid 1 never arrive.
    DropSignals,
    /// exec: the pod is killed and gone after this many bytes of stdout; 0 is before the command starts.
    DeletePod {
        /// Bytes of stdout that still get through.
        after: usize,
    },
}

impl Fault {
    /// An answer with this status code.
    pub fn status(code: u16) -> Self {
        Self::Status { code, message: None, retry_after: None }
    }

    /// An answer with this status code and message.
    pub fn status_message(code: u16, message: impl Into<String>) -> Self {
        Self::Status { code, message: Some(message.into()), retry_after: None }
    }

    /// 429 Too Many Requests, to be tried again after some seconds.
    pub fn too_many_requests(retry_after: u32) -> Self {
        Self::Status { code: 429, message: None, retry_after: Some(retry_after) }
    }
}

/// A fault and the requests it meets. A rule without conditions meets every request.
#[derive(Clone, Debug)]
pub struct Rule {
    fault: Fault,
    verb: Option<String>,
    resource: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    path: Option<String>,
    command: Option<String>,
    upgrade: Option<String>,
    skip: usize,
    first: usize,
}

impl Rule {
    /// A rule that meets every request, always.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            verb: None,
            resource: None,
            namespace: None,
            name: None,
            path: None,
            command: None,
            upgrade: None,
            skip: 0,
            first: usize::MAX,
        }
    }

    /// Only requests with this verb: `get`, `list`, `watch`, `delete`.
    #[must_use]
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.to_owned());
        self
    }

    /// Only requests for this resource, with its subresource: `pods`, `pods/exec`, `pods/portforward`.
    #[must_use]
    pub fn resource(mut self, resource: &str) -> Self {
        self.resource = Some(resource.to_owned());
        self
    }

    /// Only exec requests.
    #[must_use]
    pub fn exec(self) -> Self {
        self.resource("pods/exec")
    }

    /// Only requests in this namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Only requests for the object of this name.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only requests whose path contains this.
    #[must_use]
    pub fn path(mut self, part: &str) -> Self {
        self.path = Some(part.to_owned());
        self
    }

    /// Only exec requests whose command, joined by spaces, contains this.
    #[must_use]
    pub fn command(mut self, part: &str) -> Self {
        self.command = Some(part.to_owned());
        self
    }

    /// Only requests that ask for this upgrade of the connection: `websocket`, `spdy/3.1`.
    #[must_use]
    pub fn upgrade(mut self, protocol: &str) -> Self {
        self.upgrade = Some(protocol.to_owned());
        self
    }

    /// Not the first `n` requests that match.
    #[must_use]
    pub fn skip(mut self, n: usize) -> Self {
        self.skip = n;
        self
    }

    /// Only the first `n` requests that match, after those skipped.
    #[must_use]
    pub fn first(mut self, n: usize) -> Self {
        self.first = n;
        self
    }

    fn matches(&self, info: &Info) -> bool {
        let equal = |expected: &Option<String>, value: &str| {
            expected.as_ref().is_none_or(|expected| expected == value)
        };
        equal(&self.verb, &info.verb)
            && equal(&self.resource, &info.full_resource())
            && equal(&self.namespace, &info.namespace)
            && equal(&self.name, &info.name)
            && equal(&self.upgrade, &info.upgrade)
            && self.path.as_ref().is_none_or(|part| info.path.contains(part))
            && self.command.as_ref().is_none_or(|part| command_of(info).join(" ").contains(part))
    }
}

/// A rule in force.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    entry: Arc<Entry>,
    all: Arc<Mutex<Vec<Arc<Entry>>>>,
}

impl FaultHandle {
    /// How many requests met the fault.
    pub fn hits(&self) -> usize {
        self.entry.hits(*self.entry.matched.borrow())
    }

    /// Returns once a request has met the fault.
    pub async fn hit(&self) {
        // The sender is held here, so the wait cannot fail.
        let _ = self.entry.matched.subscribe().wait_for(|matched| self.entry.hits(*matched) > 0).await;
    }

    /// Takes the rule out of force.
    pub fn remove(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|entry| !Arc::ptr_eq(entry, &self.entry));
    }
}

#[derive(Debug)]
struct Entry {
    rule: Rule,
    /// How many requests the rule's conditions fit.
    matched: watch::Sender<usize>,
}

impl Entry {
    fn hits(&self, matched: usize) -> usize {
        matched.saturating_sub(self.rule.skip).min(self.rule.first)
    }
}

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Vec<Arc<Entry>>>>);

impl Faults {
    pub(crate) fn add(&self, rule: Rule) -> FaultHandle {
        let entry = Arc::new(Entry { rule, matched: watch::Sender::new(0) });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(entry.clone());
        FaultHandle { entry, all: self.0.clone() }
    }

    /// The faults that meet this request; counts it for each of their rules.
    pub(crate) fn take(&self, info: &Info) -> Vec<Fault> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let met = entries.iter().filter(|entry| {
            entry.rule.matches(info) && {
                let before = *entry.matched.borrow();
                entry.matched.send_replace(before + 1);
                before >= entry.rule.skip && before - entry.rule.skip < entry.rule.first
            }
        });
        met.map(|entry| entry.rule.fault.clone()).collect()
    }
}

/// A request the API server got.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestRecord {
    /// `get`, `list`, `watch`, `delete`; an exec or port-forward is a `get`.
    pub verb: String,
    /// The resource with its subresource: `pods`, `pods/exec`; empty for discovery.
    pub resource: String,
    /// The namespace; empty across all.
    pub namespace: String,
    /// The object's name; empty for lists.
    pub name: String,
    /// The container, for exec.
    pub container: String,
    /// The command, for exec.
    pub command: Vec<String>,
    /// The path.
    pub path: String,
}

/// The requests the API server got, in order.
#[derive(Clone, Debug, Default)]
pub struct Requests(Vec<RequestRecord>);

impl Requests {
    /// How many were of this verb and resource, such as `("list", "pods")` or `("get", "pods/exec")`.
    pub fn count(&self, verb: &str, resource: &str) -> usize {
        self.0.iter().filter(|one| one.verb == verb && one.resource == resource).count()
    }

    /// How many were execs.
    pub fn execs(&self) -> usize {
        self.count("get", "pods/exec")
    }

    /// Each request.
    pub fn iter(&self) -> impl Iterator<Item = &RequestRecord> {
        self.0.iter()
    }
}

#[derive(Debug, Default)]
pub(crate) struct RequestLog(Mutex<Requests>);

impl RequestLog {
    pub(crate) fn record(&self, info: &Info) {
        let record = RequestRecord {
            verb: info.verb.clone(),
            resource: info.full_resource(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            container: info.query("container").unwrap_or_default().to_owned(),
            command: command_of(info),
            path: info.path.clone(),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.push(record);
    }

    pub(crate) fn snapshot(&self) -> Requests {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).0.clear();
    }
}

fn command_of(info: &Info) -> Vec<String> {
    info.query_all("command").map(str::to_owned).collect()
}
