//! Asking again when the API server is busy, as it asks for it and as long as a request may take.

use std::time::{Duration, Instant};

use hyper::header::RETRY_AFTER;
use hyper::{Request, Response, StatusCode};
use kube::client::Body;
use tower::BoxError;
use tower::retry::Policy;

use crate::Error;

/// The pause after the first busy answer that names none; doubled after each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How often a busy answer that names no time is tried again.
const TRIES: u32 = 4;

/// How often one that names a time is, as in client-go.
const ASKED_TRIES: u32 = 10;

/// Tries a request again after 429, 503 and 504.
#[derive(Clone)]
pub(crate) struct Busy {
    server: String,
    limit: Duration,
    begun: Option<Instant>,
    tries: u32,
}

impl Busy {
    /// For requests to `server` that may take as long as `limit`.
    pub(crate) fn new(server: &str, limit: Duration) -> Self {
        Self { server: server.to_owned(), limit, begun: None, tries: 0 }
    }

    /// How long to wait after an answer; `None` to take it as it is.
    fn pause(
        &mut self,
        status: StatusCode,
        retry_after: Option<Duration>,
    ) -> Result<Option<Duration>, Error> {
        let busy =
            [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
        if !busy.contains(&status) {
            return Ok(None);
        }
        let spent = self.begun.map_or(Duration::ZERO, |begun| begun.elapsed());
        let own_pause = FIRST_PAUSE * 2_u32.pow(self.tries.min(5));
        let (pause, tries) = match retry_after {
            Some(after) if spent + after >= self.limit => {
                return Err(Error::Busy {
                    server: self.server.clone(),
                    code: status.as_u16(),
                    after,
                    limit: self.limit,
                });
            }
            // Zero is asked for as well.
            Some(after) => (after.max(own_pause), ASKED_TRIES),
            None => (own_pause, TRIES),
        };
        self.tries += 1;
        Ok((self.tries <= tries && spent + pause < self.limit).then_some(pause))
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Busy {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        _request: &mut Request<Body>,
        result: &mut Result<Response<B>, BoxError>,
    ) -> Option<Self::Future> {
        let response = result.as_ref().ok()?;
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match self.pause(response.status(), retry_after.map(Duration::from_secs)) {
            Ok(pause) => {
                let pause = pause?;
                tracing::debug!(status = response.status().as_u16(), ?pause, "the API server is busy");
                Some(tokio::time::sleep(pause))
            }
            Err(error) => {
                *result = Err(error.into());
                None
            }
        }
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        self.begun.get_or_insert_with(Instant::now);
        // A body that streams cannot be sent twice.
        let mut copy = Request::new(request.body().try_clone()?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        *copy.extensions_mut() = request.extensions().clone();
        Some(copy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(15);

    fn policy() -> Busy {
        Busy::new("https://c", LIMIT)
    }

    #[test]
    fn what_the_server_asks_for_is_done_within_the_time() {
        let second = Duration::from_secs(1);
        assert_eq!(policy().pause(StatusCode::TOO_MANY_REQUESTS, Some(second)).unwrap(), Some(second));
        assert_eq!(policy().pause(StatusCode::OK, Some(second)).unwrap(), None);
        let error = policy().pause(StatusCode::SERVICE_UNAVAILABLE, Some(60 * second)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the cluster at https://c is busy (503): it asks to wait 60s, longer than the 15s that a request may take"
        );
        // Asked for again and again: the time is that of all tries.
        let begun = Instant::now().checked_sub(LIMIT).unwrap();
        let mut late = Busy { begun: Some(begun), ..policy() };
        assert!(matches!(late.pause(StatusCode::TOO_MANY_REQUESTS, Some(second)), Err(Error::Busy { .. })));
    }

    #[test]
    fn without_a_time_there_are_few_tries() {
        let mut policy = policy();
        let pauses: Vec<_> =
            std::iter::from_fn(|| policy.pause(StatusCode::SERVICE_UNAVAILABLE, None).unwrap()).collect();
        assert_eq!(pauses.iter().map(Duration::as_millis).collect::<Vec<_>>(), [50, 100, 200, 400]);
    }
}
