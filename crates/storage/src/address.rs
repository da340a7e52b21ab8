//! From an address to a client, with the cloud's usual credentials.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use fs_err as fs;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use crate::Error;

/// Where coverage files are stored: a folder in a bucket, or on disk.
///
/// - `gs://BUCKET/FOLDER`: Google's application default credentials, workload identity included.
///   `STORAGE_EMULATOR_HOST` names another server, which gets no credentials but those that a `GOOGLE_` variable gives.
/// - `s3://BUCKET/FOLDER`: `AWS_ACCESS_KEY_ID` and so on, web identity, pod identity, instance profile.
///   `AWS_ENDPOINT_URL` names another server, `AWS_REGION` the region.
/// - `az://CONTAINER/FOLDER`: `AZURE_STORAGE_ACCOUNT_NAME`, and `AZURE_STORAGE_ACCOUNT_KEY` and so on, or workload
///   identity, or the managed identity. `AZURE_ENDPOINT` names another server.
/// - `file:///FOLDER`: a folder, which is made when something is put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    kind: Kind,
    /// Within the bucket.
    folder: Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Google,
    Amazon,
    Azure,
    Folder(PathBuf),
}

/// A client for an [`Address`].
#[derive(Clone)]
pub struct Storage {
    /// As it was given, for errors.
    pub(crate) address: String,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Within the bucket.
    pub(crate) folder: Path,
}

/// Google's own variable for a server in its place; its client libraries read it too.
const GOOGLE_EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// How long a request may take. What tries again has its own limits, so this one only ends what they forgot.
const REQUEST: Duration = Duration::from_secs(300);

impl Address {
    /// Whether a text is an address, right or wrong, and not a path.
    #[must_use]
    pub fn looks_like_one(text: &str) -> bool {
        text.contains("://")
    }

    /// Makes the client, which reads the environment and the certificates. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`] when the environment does not have what it takes.
    pub fn open(&self) -> Result<Storage, Error> {
        let store = match &self.kind {
            Kind::Google => google(&self.text),
            Kind::Amazon => amazon(&self.text),
            Kind::Azure => azure(&self.text),
            Kind::Folder(path) => folder(path),
        };
        let store = store.map_err(|e| Error::Address(format!("{self}: {e}")))?;
        Ok(Storage { address: self.text.clone(), store, folder: self.folder.clone() })
    }
}

impl FromStr for Address {
    type Err = Error;

    /// # Errors
    /// [`Error::Address`] for what is none.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &dyn fmt::Display| Error::Address(format!("{text}: {why}"));
        let url = Url::parse(text).map_err(|e| wrong(&e))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(&"`?` and `#` have no meaning in an address of storage"));
        }
        let kind = match (url.scheme(), url.host_str().is_some_and(|host| !host.is_empty())) {
            ("gs", true) => Kind::Google,
            ("s3", true) => Kind::Amazon,
            ("az", true) => Kind::Azure,
            ("gs" | "s3" | "az", false) => return Err(wrong(&"no bucket is named")),
            ("file", true) => return Err(wrong(&"a folder has three slashes before it: file:///folder")),
            ("file", false) => Kind::Folder(url.to_file_path().map_err(|()| wrong(&"not a folder"))?),
            (other, _) => {
                return Err(wrong(&format!("{other}:// is not known; gs://, s3://, az:// and file:// are")));
            }
        };
        let folder = match kind {
            Kind::Folder(_) => Path::default(),
            _ => Path::from_url_path(url.path()).map_err(|e| wrong(&e))?,
        };
        Ok(Self { text: text.trim_end_matches('/').to_owned(), kind, folder })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").field("address", &self.address).finish_non_exhaustive()
    }
}

fn folder(path: &std::path::Path) -> object_store::Result<Arc<dyn ObjectStore>> {
    let failed =
        |source: std::io::Error| object_store::Error::Generic { store: "folder", source: source.into() };
    fs::create_dir_all(path).map_err(failed)?;
    Ok(Arc::new(LocalFileSystem::new_with_prefix(path)?))
}

fn google(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let mut builder = GoogleCloudStorageBuilder::from_env().with_url(address);
    let mut plain = is_plain("GOOGLE_BASE_URL");
    if let Some(host) = variable(GOOGLE_EMULATOR) {
        let base = if host.contains("://") { host } else { format!("http://{host}") };
        plain = base.starts_with("http://");
        builder = builder.with_base_url(base.trim_end_matches('/'));
        let credentials = [
            GoogleConfigKey::ServiceAccount,
            GoogleConfigKey::ServiceAccountKey,
            GoogleConfigKey::ApplicationCredentials,
            GoogleConfigKey::BearerToken,
        ];
        if credentials.iter().all(|key| builder.get_config_value(key).is_none()) {
            // Without one, a put would ask Google for it, even where signatures are to be skipped.
            builder = builder.with_bearer_token("emulator");
        }
    }
    let store = builder.with_retry(once()).with_client_options(options(plain)).build()?;
    Ok(Arc::new(store))
}

fn amazon(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let plain = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().any(|name| is_plain(name));
    let builder = AmazonS3Builder::from_env().with_url(address);
    Ok(Arc::new(builder.with_retry(once()).with_client_options(options(plain)).build()?))
}

fn azure(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let plain = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"].iter().any(|name| is_plain(name));
    let builder = MicrosoftAzureBuilder::from_env().with_url(address);
    Ok(Arc::new(builder.with_retry(once()).with_client_options(options(plain)).build()?))
}

/// Whoever names a server without TLS in so many words means it.
fn is_plain(name: &str) -> bool {
    variable(name).is_some_and(|url| url.starts_with("http://"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Trying again is this crate's, which knows the deadline.
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

fn options(plain: bool) -> ClientOptions {
    // One for the process; another caller may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut options = ClientOptions::new().with_allow_http(plain).with_timeout(REQUEST);
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        // An image of nothing but a program has none, and without any there is no client, also for plain HTTP.
        for root in webpki_root_certs::TLS_SERVER_ROOT_CERTS {
            if let Ok(certificate) = Certificate::from_der(root) {
                options = options.with_root_certificate(certificate);
            }
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address() {
        for (address, why) in [
            ("reports", "relative URL without a base"),
            ("ftp://host/folder", "ftp:// is not known; gs://, s3://, az:// and file:// are"),
            ("gs://", "no bucket is named"),
            ("s3:///folder", "no bucket is named"),
            ("file://folder", "a folder has three slashes before it: file:///folder"),
            ("gs://bucket/folder?x=1", "`?` and `#` have no meaning in an address of storage"),
        ] {
            let error = address.parse::<Address>().unwrap_err();
            assert_eq!(error, Error::Address(format!("{address}: {why}")));
        }
    }
}
