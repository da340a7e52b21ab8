//! The objects, their versions, and the history that watches read.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    object,
    resource::{NAMESPACES, Resource},
};

/// How many changes are kept for watches that start in the past.
const HISTORY: usize = 20_000;
/// How many paged lists are kept for their next page.
const PAGED_LISTS: usize = 64;

/// All objects of the cluster.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
    version: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    version: u64,
    objects: BTreeMap<Key, Arc<Value>>,
    history: VecDeque<Change>,
    /// Changes up to this version are no longer in the history.
    forgotten: u64,
    lists: HashMap<u64, (u64, Vec<Arc<Value>>)>,
    next_list: u64,
}

type Key = (&'static str, String, String);

/// One change of one object.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) resource: &'static Resource,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// The history asked for is no longer there.
#[derive(Debug)]
pub(crate) struct Forgotten;

impl Store {
    pub(crate) fn new() -> Self {
        let inner = Inner {
            version: 1,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten: 0,
            lists: HashMap::new(),
            next_list: 1,
        };
        Self { inner: Mutex::new(inner), version: watch::Sender::new(1) }
    }

    /// Adds an object, giving it uid, creation time and version where it has none. An object of that name is
    /// replaced.
    pub(crate) fn put(&self, resource: &'static Resource, mut object: Value) -> Arc<Value> {
        object["apiVersion"] = resource.api_version().into();
        object["kind"] = resource.kind.into();
        let meta = &mut object["metadata"];
        if meta["uid"].is_null() {
            meta["uid"] = object::new_uid().into();
        }
        if meta["creationTimestamp"].is_null() {
            meta["creationTimestamp"] = object::rfc3339(object::now()).into();
        }
        let mut inner = self.lock();
        let key = (resource.plural, object::namespace(&object).to_owned(), object::name(&object).to_owned());
        self.change(&mut inner, resource, key, Some(object)).unwrap_or_default()
    }

    /// Changes an object in place; `None` where there is none. An edit that changes nothing makes no version.
    pub(crate) fn update(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        edit: impl FnOnce(&mut Value),
    ) -> Option<Arc<Value>> {
        let mut inner = self.lock();
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        let before = inner.objects.get(&key)?.clone();
        let mut object = Value::clone(&before);
        edit(&mut object);
        if object == *before {
            return Some(before);
        }
        self.change(&mut inner, resource, key, Some(object))
    }

    /// Takes an object away; the object as it was, with the version of its deletion.
    pub(crate) fn delete(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Value>> {
        let mut inner = self.lock();
        let key = (resource.plural, namespace.to_owned(), name.to_owned());
        self.change(&mut inner, resource, key, None)
    }

    /// One object.
    pub(crate) fn get(&self, resource: &Resource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.lock().objects.get(&(resource.plural, namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The objects of a kind, of one namespace or of all, by namespace and name; and the version they are from.
    pub(crate) fn list(&self, resource: &Resource, namespace: Option<&str>) -> (Vec<Arc<Value>>, u64) {
        let inner = self.lock();
        let from = (resource.plural, namespace.unwrap_or_default().to_owned(), String::new());
        let objects = inner
            .objects
            .range(from..)
            .take_while(|((plural, at, _), _)| {
                *plural == resource.plural && namespace.is_none_or(|namespace| namespace == at)
            })
            .map(|(_, object)| object.clone())
            .collect();
        (objects, inner.version)
    }

    /// As `list`, decoded. What does not decode is left out: manifests are checked when they are applied.
    pub(crate) fn list_as<T: DeserializeOwned>(&self, resource: &Resource) -> Vec<T> {
        let (objects, _) = self.list(resource, None);
        objects.iter().filter_map(|object| T::deserialize(object.as_ref()).ok()).collect()
    }

    /// Whether there is such a namespace.
    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.get(&NAMESPACES, "", name).is_some()
    }

    /// The current version.
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// The current version and those to come.
    pub(crate) fn versions(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// The changes of a kind after `version`, and the version they lead up to.
    pub(crate) fn changes_since(
        &self,
        resource: &Resource,
        version: u64,
    ) -> Result<(Vec<Change>, u64), Forgotten> {
        let inner = self.lock();
        if version < inner.forgotten {
            return Err(Forgotten);
        }
        let start = inner.history.partition_point(|change| change.version <= version);
        let changes = inner.history.range(start..).filter(|change| change.resource == resource);
        Ok((changes.cloned().collect(), inner.version))
    }

    /// The rest of a list, kept for the next page; the token to ask for it with.
    pub(crate) fn keep_list(&self, version: u64, rest: Vec<Arc<Value>>) -> u64 {
        let mut inner = self.lock();
        let token = inner.next_list;
        inner.next_list += 1;
        inner.lists.insert(token, (version, rest));
        inner.lists.retain(|kept, _| kept + PAGED_LISTS as u64 > token);
        token
    }

    /// The rest of a list, if it is still there. It stays, as a page may be asked for again.
    pub(crate) fn kept_list(&self, token: u64) -> Option<(u64, Vec<Arc<Value>>)> {
        self.lock().lists.get(&token).cloned()
    }

    fn change(
        &self,
        inner: &mut Inner,
        resource: &'static Resource,
        key: Key,
        object: Option<Value>,
    ) -> Option<Arc<Value>> {
        if object.is_none() && !inner.objects.contains_key(&key) {
            return None;
        }
        inner.version += 1;
        let version = inner.version;
        let after = object.map(|object| Arc::new(with_version(object, version)));
        let before = match &after {
            Some(after) => inner.objects.insert(key, after.clone()),
            None => {
                let gone = inner.objects.remove(&key)?;
                Some(Arc::new(with_version(Value::clone(&gone), version)))
            }
        };
        let object = after.clone().or_else(|| before.clone());
        inner.history.push_back(Change { version, resource, before, after });
        if inner.history.len() > HISTORY {
            inner.forgotten = inner.history.pop_front().map_or(inner.forgotten, |change| change.version);
        }
        self.version.send_replace(version);
        object
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves whole objects here: every change is one insertion.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn with_version(mut object: Value, version: u64) -> Value {
    object["metadata"]["resourceVersion"] = json!(version.to_string());
    object
}
