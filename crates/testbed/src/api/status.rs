//! The API server's error answers, with its own words.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{ListMeta, Status, StatusCause, StatusDetails},
};
use serde::Serialize;

use super::request::Info;
use crate::resource::Resource;

/// A request that failed.
#[derive(Debug)]
pub(crate) struct Failure(Box<Status>);

impl Failure {
    pub(crate) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(Status {
            code: Some(i32::from(code)),
            message: Some(message.into()),
            metadata: ListMeta::default(),
            reason: Some(reason.to_owned()),
            status: Some("Failure".to_owned()),
            ..Status::default()
        }))
    }

    fn with_details(mut self, details: StatusDetails) -> Self {
        self.0.details = Some(details);
        self
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.qualified());
        Self::new(404, "NotFound", message).with_details(StatusDetails {
            name: Some(name.to_owned()),
            group: Some(resource.group.to_owned()).filter(|group| !group.is_empty()),
            kind: Some(resource.plural.to_owned()),
            ..StatusDetails::default()
        })
    }

    /// A path nobody serves.
    pub(crate) fn no_such_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn forbidden(user: &str, info: &Info) -> Self {
        if info.resource.is_empty() {
            let message = format!("forbidden: User {user:?} cannot {} path {:?}", info.verb, info.path);
            return Self::new(403, "Forbidden", message);
        }
        let object = if info.name.is_empty() {
            info.resource.clone()
        } else {
            format!("{} {:?}", info.resource, info.name)
        };
        let scope = if info.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {:?}", info.namespace)
        };
        let message = format!(
            "{object} is forbidden: User {user:?} cannot {} resource {:?} in API group {:?} {scope}",
            info.verb,
            info.full_resource(),
            info.group,
        );
        Self::new(403, "Forbidden", message).with_details(StatusDetails {
            name: Some(info.name.clone()).filter(|name| !name.is_empty()),
            group: Some(info.group.clone()).filter(|group| !group.is_empty()),
            kind: Some(info.resource.clone()),
            ..StatusDetails::default()
        })
    }

    pub(crate) fn too_many_requests(seconds: u32) -> Self {
        let message = "the server has received too many requests and has asked us to try again later";
        Self::new(429, "TooManyRequests", message).with_details(StatusDetails {
            retry_after_seconds: i32::try_from(seconds).ok(),
            ..StatusDetails::default()
        })
    }

    /// A watch that starts before the history kept.
    pub(crate) fn too_old(version: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {version} ({oldest})"))
    }

    pub(crate) fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You can \
                       start a new list without the continue parameter, or use the continue token in this \
                       response to retrieve the remainder of the results. Continuing with the provided token \
                       results in an inconsistent list - objects that were created, modified, or deleted between \
                       the time the first chunk was returned and now may show up in the list.";
        Self::new(410, "Expired", message)
    }

    /// As Go's `NewInternalError`.
    pub(crate) fn internal(message: &str) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {message}")).with_details(
            StatusDetails {
                causes: Some(vec![StatusCause {
                    message: Some(message.to_owned()),
                    ..StatusCause::default()
                }]),
                ..StatusDetails::default()
            },
        )
    }

    /// A command that ended with another code than 0, as exec's error channel reports it.
    pub(crate) fn exit_code(code: i32) -> Self {
        let message = format!("command terminated with non-zero exit code: exit status {code}");
        let mut failure = Self::new(0, "NonZeroExitCode", message).with_details(StatusDetails {
            causes: Some(vec![StatusCause {
                reason: Some("ExitCode".to_owned()),
                message: Some(code.to_string()),
                ..StatusCause::default()
            }]),
            ..StatusDetails::default()
        });
        failure.0.code = None;
        failure
    }

    /// Any status code, with the message the server gives for it.
    pub(crate) fn of_code(code: u16, user: &str, info: &Info, resource: Option<&Resource>) -> Self {
        match code {
            400 => Self::bad_request("the server rejected our request for an unknown reason"),
            401 => Self::unauthorized(),
            403 => Self::forbidden(user, info),
            404 => match resource {
                Some(resource) if !info.name.is_empty() => Self::not_found(resource, &info.name),
                _ => Self::no_such_path(),
            },
            410 => Self::continue_expired(),
            429 => Self::too_many_requests(1),
            503 => {
                Self::new(503, "ServiceUnavailable", "the server is currently unable to handle the request")
            }
            504 => {
                Self::new(504, "Timeout", "the server was unable to return a response in the time allotted")
            }
            500 => Self::internal("etcdserver: request timed out"),
            other => {
                Self::new(other, "Unknown", format!("the server responded with the status code {other}"))
            }
        }
    }

    /// The `Status` object.
    pub(crate) fn status(&self) -> &Status {
        &self.0
    }

    pub(crate) fn code(&self) -> u16 {
        self.0.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    pub(crate) fn set_message(&mut self, message: String) {
        self.0.message = Some(message);
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(&self.0);
        *response.status_mut() = code;
        let retry_after = self.0.details.as_ref().and_then(|details| details.retry_after_seconds);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (headers, Body::from(body)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The container a request is for: the one it names or, for a pod with one container, that one.
pub(crate) fn container_of(pod: &Pod, requested: Option<&str>) -> Result<String, Failure> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let spec = pod.spec.clone().unwrap_or_default();
    let init = spec.init_containers.unwrap_or_default();
    let ephemeral = spec.ephemeral_containers.unwrap_or_default();
    let names: Vec<&str> = init
        .iter()
        .chain(&spec.containers)
        .map(|container| container.name.as_str())
        .chain(ephemeral.iter().map(|container| container.name.as_str()))
        .collect();
    match (requested.filter(|requested| !requested.is_empty()), spec.containers.as_slice()) {
        (Some(requested), _) if names.contains(&requested) => Ok(requested.to_owned()),
        (Some(requested), _) => {
            Err(Failure::bad_request(format!("container {requested} is not valid for pod {name}")))
        }
        (None, [only]) => Ok(only.name.clone()),
        (None, _) => Err(Failure::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names.join(" ")
        ))),
    }
}
