//! What a request asks for, read from its path and query as the API server does.

use axum::{
    extract::Query,
    http::{Method, Uri},
};

/// A request in the words of Kubernetes' authorization: verb, resource, namespace, name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Info {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, or the method for a path that is no resource.
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) path: String,
    /// What the connection is to be upgraded to, in lower case; empty if it is not.
    pub(crate) upgrade: String,
    query: Vec<(String, String)>,
}

impl Info {
    pub(crate) fn new(method: &Method, uri: &Uri) -> Self {
        let query =
            Query::<Vec<(String, String)>>::try_from_uri(uri).map(|query| query.0).unwrap_or_default();
        let mut info = Self { path: uri.path().to_owned(), query, ..Self::default() };
        let method_verb = method.as_str().to_ascii_lowercase();
        let segments: Vec<&str> = uri.path().split('/').filter(|segment| !segment.is_empty()).collect();
        let (group, rest) = match segments.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, "v1", rest @ ..] => (*group, rest),
            _ => ("", [].as_slice()),
        };
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            ["namespaces", name] => (*name, rest),
            _ => ("", rest),
        };
        let mut rest = rest.iter().copied();
        let Some(resource) = rest.next() else {
            info.verb = method_verb;
            return info;
        };
        info.group = group.to_owned();
        info.namespace = namespace.to_owned();
        info.resource = resource.to_owned();
        info.name = rest.next().unwrap_or_default().to_owned();
        info.subresource = rest.next().unwrap_or_default().to_owned();
        info.verb = match method_verb.as_str() {
            "get" | "head" if info.flag("watch") => "watch",
            "get" | "head" if info.name.is_empty() => "list",
            "get" | "head" => "get",
            "post" => "create",
            "put" => "update",
            "delete" if info.name.is_empty() => "deletecollection",
            other => other,
        }
        .to_owned();
        info
    }

    /// `pods`, or `pods/exec`; empty for a path that is no resource.
    pub(crate) fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// The first value of a query parameter.
    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a query parameter.
    pub(crate) fn query_all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A query parameter that is a boolean.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.query(key).is_some_and(|value| matches!(value, "true" | "1" | "True" | "TRUE" | "t" | "T"))
    }

    /// A query parameter that is a number.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.query(key)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(method: &Method, uri: &str) -> Info {
        Info::new(method, &uri.parse().unwrap())
    }

    #[test]
    fn paths() {
        let list = info(&Method::GET, "/api/v1/namespaces/shop/pods?limit=5&labelSelector=a%3Db%2Cc");
        assert_eq!(
            (list.verb.as_str(), list.namespace.as_str(), list.resource.as_str()),
            ("list", "shop", "pods")
        );
        assert_eq!((list.number("limit"), list.query("labelSelector")), (Some(5), Some("a=b,c")));

        let exec = info(&Method::GET, "/api/v1/namespaces/shop/pods/cart-0/exec?command=sh&command=-c");
        assert_eq!((exec.verb.as_str(), exec.full_resource().as_str()), ("get", "pods/exec"));
        assert_eq!(exec.query_all("command").collect::<Vec<_>>(), ["sh", "-c"]);

        let watch = info(&Method::GET, "/apis/apps/v1/deployments?watch=true");
        assert_eq!((watch.verb.as_str(), watch.group.as_str()), ("watch", "apps"));

        let namespace = info(&Method::GET, "/api/v1/namespaces/shop");
        assert_eq!((namespace.resource.as_str(), namespace.name.as_str()), ("namespaces", "shop"));
        assert_eq!(info(&Method::GET, "/api/v1/namespaces").verb, "list");
        assert_eq!(info(&Method::GET, "/version").resource, "");
    }
}
