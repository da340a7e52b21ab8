//! Kubeconfig files.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

/// What a kubeconfig file says; the default is a working one.
#[derive(Clone, Debug)]
pub struct KubeconfigOptions {
    /// The bearer token; another than the testbed's own is answered with 401. `None` is no credentials at all.
    pub token: Option<String>,
    /// The name of the context, which is also the current one.
    pub context: String,
    /// The context's namespace.
    pub namespace: Option<String>,
    /// Another server than the testbed, such as [`Testbed::offline`](crate::Testbed::offline)'s.
    pub server: Option<String>,
}

/// The token that the testbed knows.
pub(crate) const TOKEN: &str = "testbed-token";
/// Who it is.
pub(crate) const USER: &str = "testbed-user";
/// The name of the context.
pub(crate) const CONTEXT: &str = "testbed";

impl Default for KubeconfigOptions {
    fn default() -> Self {
        Self { token: Some(TOKEN.to_owned()), context: CONTEXT.to_owned(), namespace: None, server: None }
    }
}

/// The file's content: JSON, which is YAML.
pub(crate) fn render(options: &KubeconfigOptions, server: &str, authority: &str) -> anyhow::Result<String> {
    let context = options.context.as_str();
    let user = options.token.as_ref().map_or_else(|| json!({}), |token| json!({"token": token}));
    let mut of_context = json!({"cluster": "testbed", "user": USER});
    if let Some(namespace) = &options.namespace {
        of_context["namespace"] = Value::from(namespace.as_str());
    }
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "testbed", "cluster": {
            "server": options.server.as_deref().unwrap_or(server),
            "certificate-authority-data": ByteString(authority.as_bytes().to_vec()),
        }}],
        "users": [{"name": USER, "user": user}],
        "contexts": [{"name": context, "context": of_context}],
        "current-context": context,
    });
    Ok(serde_json::to_string_pretty(&config)?)
}
