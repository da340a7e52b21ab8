//! Reading the fields every object has, without decoding the whole object: a list of 1,000 pods is looked
//! through at every change.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::resource::Resource;

/// A text field by JSON pointer; empty where there is none.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number by JSON pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// A label's value.
pub(crate) fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get("metadata")?.get("labels")?.get(key)?.as_str()
}

/// A map of texts by JSON pointer, such as the labels.
pub(crate) fn map(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let entries = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// Whether its deletion has begun.
pub(crate) fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|at| !at.is_null())
}

/// The uid of the object's controller.
pub(crate) fn controller_uid(object: &Value) -> Option<&str> {
    let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
    owners.iter().find(|owner| owner["controller"] == true).and_then(|owner| owner["uid"].as_str())
}

/// An owner reference to the controller `object`.
pub(crate) fn owner_reference(resource: &Resource, object: &Value) -> Value {
    json!([{
        "apiVersion": resource.api_version(),
        "kind": resource.kind,
        "name": name(object),
        "uid": uid(object),
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// Whether a pod is ready to serve.
pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|one| one["type"] == "Ready" && one["status"] == "True")
}

/// The current time in whole seconds, as objects carry it.
pub(crate) fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// A time as objects carry it.
pub(crate) fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A random version 4 UUID.
pub(crate) fn new_uid() -> String {
    let (a, b) = (random(), random());
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 52,
        b & 0xffff_ffff_ffff
    )
}

/// 64 hexadecimal digits, as container ids and image digests have.
pub(crate) fn new_digest() -> String {
    (0..4).map(|_| format!("{:016x}", random())).collect()
}

/// Characters of generated names: no vowels, nothing that looks like another.
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Five random characters for a generated name.
pub(crate) fn name_suffix() -> String {
    encode(random(), 5)
}

/// A short name for `content`, equal for equal content.
pub(crate) fn content_name(content: &str) -> String {
    // FNV-1a: stable between runs, unlike the standard library's hashers.
    let hash = content.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    encode(hash, 9)
}

fn encode(mut number: u64, length: usize) -> String {
    let base = NAME_ALPHABET.len() as u64;
    let mut next = || {
        let at = usize::try_from(number % base).unwrap_or_default();
        number /= base;
        char::from(NAME_ALPHABET[at])
    };
    (0..length).map(|_| next()).collect()
}

/// The standard library gives each `RandomState` a new seed, which is randomness enough for names.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}
