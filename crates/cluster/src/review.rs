//! What can be known of a cluster before anything is asked of its pods: its API server's version and clock, and the user's
//! rights.

use hyper::header::DATE;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use kube::client::Body;

use crate::{Cluster, Error};

/// What the API server says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerInfo {
    /// The release of Kubernetes, as `v1.34.4`. `None` if the server does not tell it to this user.
    pub version: Option<String>,
    /// The number after `v1.`, if it is one.
    pub minor: Option<u32>,
    /// How far its clock is ahead of this machine's, to a second. `None` if its answer has no date.
    pub clock: Option<SignedDuration>,
}

/// A right to do something with the objects of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The kind's name in rules, with its subresource: `pods/exec`.
    pub resource: &'static str,
    /// What is done.
    pub verb: &'static str,
}

impl Cluster {
    /// Asks the API server for its version, and looks at its clock.
    ///
    /// # Errors
    /// That it could not be reached, or refused.
    pub async fn server_info(&self) -> Result<ServerInfo, Error> {
        let request = hyper::Request::get("/version").body(Body::empty());
        let request = request.map_err(|e| Error::Config(e.to_string()))?;
        let answer = self.ask("reading the server's version", self.client().send(request)).await?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok());
        let clock = date.and_then(|date| clock_ahead(date, Timestamp::now()));
        // The answer to a second request is checked as every other is.
        let info = match self.ask("reading the server's version", self.client().apiserver_version()).await {
            Ok(info) => Some(info),
            // Credentials that are not accepted have code 401.
            Err(Error::Refused { code: 403 | 404, .. }) => None,
            Err(error) => return Err(error),
        };
        // Some distributions write a plus after it.
        let minor = info.as_ref().and_then(|info| info.minor.trim_end_matches('+').parse().ok());
        Ok(ServerInfo { version: info.map(|info| info.git_version), minor, clock })
    }

    /// Whether the user has a right, in one namespace or in all of them.
    ///
    /// # Errors
    /// That the API server could not be reached, or does not tell.
    pub async fn may(&self, namespace: Option<&str>, right: Right) -> Result<bool, Error> {
        let (resource, subresource) = match right.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (right.resource, None),
        };
        let attributes = ResourceAttributes {
            group: Some(right.group.to_owned()),
            namespace: namespace.map(str::to_owned),
            resource: Some(resource.to_owned()),
            subresource,
            verb: Some(right.verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let params = PostParams::default();
        let reviews = Api::<SelfSubjectAccessReview>::all(self.client().clone());
        let answer = self.ask("asking for the user's rights", reviews.create(&params, &review));
        Ok(answer.await?.status.is_some_and(|status| status.allowed))
    }
}

/// How far a clock is ahead of this one, if its time is a date of HTTP.
fn clock_ahead(date: &str, now: Timestamp) -> Option<SignedDuration> {
    let there = rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    Some(SignedDuration::from_secs(there.as_second() - now.as_second()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_of_http_is_held_against_the_clock() {
        let now: Timestamp = "2026-11-26T14:55:46.7Z".parse().unwrap();
        let ahead = |date: &str| clock_ahead(date, now).map(|ahead| ahead.as_secs());
        assert_eq!(ahead("Thu, 26 Nov 2026 14:55:46 GMT"), Some(0));
        assert_eq!(ahead("Thu, 26 Nov 2026 15:55:46 GMT"), Some(3600));
        assert_eq!(ahead("Thu, 26 Nov 2026 14:54:46 GMT"), Some(-60));
        assert_eq!(ahead("yesterday"), None);
    }
}
