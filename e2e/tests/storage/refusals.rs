//! Servers that refuse for good: the agent does not try again and again, for no try would help.

use std::sync::Arc;

use anyhow::Result;

use crate::servers::{Bucket, Kind, Server};
use crate::support::Bench;
use crate::{bench, nothing_arrived, on_each, run_and_stop};

/// Checks that the agent does not wait for its deadline, and says why.
async fn refused(bucket: &Bucket, bench: Bench, cause: &str) -> Result<()> {
    let bench = bench.flag("--deadline=600");
    let ended = run_and_stop(&bench).await?;
    nothing_arrived(bucket, &bench, &ended, |said| said == cause)
}

/// An agent with another value of one of its variables.
fn with(bucket: &Bucket, variable: &str, value: &str) -> Result<Bench> {
    let mut bench = bench(bucket, &bucket.server.url)?;
    bench.environment.retain(|(name, _)| name != variable);
    Ok(bench.with(variable, value))
}

#[tokio::test]
async fn wrong_credentials() -> Result<()> {
    let bucket = Arc::new(Server::with_token("t0ken").await?).bucket().await?;
    let cause = "the credentials are not accepted (401 AuthenticationRequired)";
    refused(&bucket, with(&bucket, "GOOGLE_BEARER_TOKEN", "another")?, cause).await?;

    on_each(async |bucket| match bucket.server.kind {
        Kind::Google => Ok(()),
        Kind::Amazon => {
            let cause = "the credentials are not accepted (403 SignatureDoesNotMatch)";
            refused(bucket, with(bucket, "AWS_SECRET_ACCESS_KEY", "another")?, cause).await?;
            let cause = "the credentials are not accepted (403 InvalidAccessKeyId)";
            refused(bucket, with(bucket, "AWS_ACCESS_KEY_ID", "another")?, cause).await
        }
        Kind::Azure => {
            // Azure itself says AuthenticationFailed.
            let cause = "the credentials do not suffice (403 AuthorizationFailure)";
            refused(bucket, with(bucket, "AZURE_STORAGE_ACCOUNT_KEY", "YW5vdGhlcg==")?, cause).await
        }
    })
    .await
}

#[tokio::test]
async fn a_bucket_that_is_missing() -> Result<()> {
    on_each(async |bucket| {
        let missing = bucket.server.bucket_named("missing");
        let cause = match bucket.server.kind {
            Kind::Google | Kind::Amazon => "there is no such bucket (404 NoSuchBucket)",
            Kind::Azure => "there is no such container (404 ContainerNotFound)",
        };
        refused(&missing, bench(&missing, &bucket.server.url)?, cause).await
    })
    .await
}
