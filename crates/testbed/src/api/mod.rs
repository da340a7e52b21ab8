//! The API server: every request is authenticated, recorded, met by the faults set for it, and answered.

mod discovery;
pub(crate) mod list;
pub(crate) mod request;
pub(crate) mod status;
mod watch;

use std::{future, sync::Arc};

use axum::{
    Extension, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::{request::Info, status::Failure};
use crate::{
    cluster::Cluster,
    exec,
    faults::Fault,
    kubelet, object, portforward,
    resource::{self, PODS, Resource},
};

/// Ends the connection a request came by, once cancelled.
#[derive(Clone, Debug)]
pub(crate) struct Hangup(pub(crate) CancellationToken);

/// The API as a service; each request carries its connection's `Hangup` as an extension.
pub(crate) fn router(cluster: Arc<Cluster>) -> Router {
    Router::new().fallback(handle).with_state(cluster)
}

async fn handle(
    State(cluster): State<Arc<Cluster>>,
    Extension(hangup): Extension<Hangup>,
    request: Request,
) -> Response {
    let mut info = Info::new(request.method(), request.uri());
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    info.upgrade = upgrade.unwrap_or_default().to_ascii_lowercase();
    cluster.requests.record(&info);
    answer(&cluster, &hangup, info, request).await.unwrap_or_else(Failure::into_response)
}

async fn answer(
    cluster: &Arc<Cluster>,
    hangup: &Hangup,
    info: Info,
    request: Request,
) -> Result<Response, Failure> {
    let user = authenticate(cluster, request.headers(), &info)?;
    let known = resource::by_plural(&info.group, &info.resource);
    let faults = cluster.faults.take(&info);
    for fault in &faults {
        match fault {
            Fault::Status { code, message, retry_after } => {
                let mut failure = match retry_after {
                    Some(seconds) => Failure::too_many_requests(*seconds),
                    None => Failure::of_code(*code, &user, &info, known),
                };
                if let Some(message) = message {
                    failure.set_message(message.clone());
                }
                return Err(failure);
            }
            Fault::Hang => future::pending::<()>().await,
            Fault::Close => {
                hangup.0.cancel();
                future::pending::<()>().await;
            }
            _ => {}
        }
    }
    if info.resource.is_empty() {
        return discovery::answer_path(&info.path);
    }
    let Some(known) = known else { return Err(Failure::no_such_path()) };
    match (known.plural, info.subresource.as_str(), info.verb.as_str()) {
        ("pods", "exec", "get" | "create") => exec::handle(cluster, info, request, faults).await,
        ("pods", "portforward", "get" | "create") => portforward::handle(cluster, &info, request).await,
        (_, "" | "status", "get") => list::get(cluster, &info, known),
        (_, "", "list") => list::list(cluster, &info, known),
        (_, "", "watch") => watch::watch(cluster, info, known),
        (_, "", "delete") => delete(cluster, &info, known, request.into_body()).await,
        (_, "" | "status", _) => Err(Failure::method_not_allowed()),
        _ => Err(Failure::no_such_path()),
    }
}

/// The user of the request's bearer token. Without a token only discovery is open, as on a real cluster.
fn authenticate(cluster: &Cluster, headers: &HeaderMap, info: &Info) -> Result<String, Failure> {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        let open = info.resource.is_empty();
        return if open { Ok(String::new()) } else { Err(Failure::forbidden("system:anonymous", info)) };
    };
    let token = given.to_str().ok().and_then(|value| value.strip_prefix("Bearer "));
    token.and_then(|token| cluster.user_of(token)).ok_or_else(Failure::unauthorized)
}

async fn delete(
    cluster: &Arc<Cluster>,
    info: &Info,
    resource: &'static Resource,
    body: Body,
) -> Result<Response, Failure> {
    let body = to_bytes(body, 1 << 20).await.map_err(|error| Failure::bad_request(error.to_string()))?;
    // Without a body, or with one in another encoding, the query decides.
    let options: Value = serde_json::from_slice(&body).unwrap_or_default();
    let query = info.query("gracePeriodSeconds").and_then(|seconds| seconds.parse().ok());
    let grace = options["gracePeriodSeconds"].as_i64().or(query);
    let namespace = if resource.namespaced { info.namespace.as_str() } else { "" };
    if *resource == PODS {
        return match kubelet::delete_pod(cluster, namespace, &info.name, grace) {
            Some(pod) => Ok(status::json(&*pod)),
            None => Err(Failure::not_found(resource, &info.name)),
        };
    }
    let Some(gone) = cluster.store.delete(resource, namespace, &info.name) else {
        return Err(Failure::not_found(resource, &info.name));
    };
    Ok(status::json(&json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
        "details": {"name": info.name, "kind": resource.plural, "uid": object::uid(&gone)},
    })))
}
