//! From an address to a client, with the cloud's usual credentials.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
#[cfg(feature = "cloud")]
use std::time::Duration;

use fs_err as fs;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
#[cfg(feature = "cloud")]
use object_store::{Certificate, ClientOptions, RetryConfig};
use url::Url;

use crate::Error;

/// Where coverage files are stored: a folder in a bucket, or on disk.
///
/// - `gs://BUCKET/FOLDER`: Google's application default credentials, workload identity included.
///   `STORAGE_EMULATOR_HOST` names another server, which gets no credentials but those that a `GOOGLE_` variable gives.
/// - `s3://BUCKET/FOLDER`: `AWS_ACCESS_KEY_ID` and so on, web identity, pod identity, instance profile.
///   `AWS_ENDPOINT_URL` names another server, `AWS_REGION` the region.
/// - `az://CONTAINER/FOLDER`: `AZURE_STORAGE_ACCOUNT_NAME`, and `AZURE_STORAGE_ACCOUNT_KEY` and so on, or workload
///   identity, or the managed identity. `AZURE_STORAGE_ENDPOINT` names another server.
/// - `file:///FOLDER`: a folder, which is made when something is put there.
///
/// Each cloud is a cargo feature: `gcp`, `aws` and `azure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    kind: Kind,
    /// The folder in the bucket.
    folder: Path,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    #[cfg(feature = "gcp")]
    Google,
    #[cfg(feature = "aws")]
    Amazon,
    #[cfg(feature = "azure")]
    Azure,
    Folder(PathBuf),
}

/// A client for an [`Address`].
#[derive(Clone)]
pub struct Storage {
    /// The address as the user wrote it, for errors.
    pub(crate) address: String,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// The folder in the bucket.
    pub(crate) folder: Path,
}

/// The clouds' schemes, built in or not.
const CLOUDS: [&str; 3] = ["gs", "s3", "az"];

/// The variable that names another server than Google's; Google's client libraries read it too.
#[cfg(feature = "gcp")]
const GOOGLE_EMULATOR: &str = "STORAGE_EMULATOR_HOST";

/// How long a request may take. Retries have their own limits; this one is for requests outside of them.
#[cfg(feature = "cloud")]
const REQUEST: Duration = Duration::from_secs(300);

impl Address {
    /// Makes the client, which reads the environment and the certificates. Nothing is sent yet.
    ///
    /// # Errors
    /// [`Error::Address`] when a variable is missing in the environment, or the folder does not exist.
    pub fn open(&self) -> Result<Storage, Error> {
        let store = match &self.kind {
            #[cfg(feature = "gcp")]
            Kind::Google => google(&self.text),
            #[cfg(feature = "aws")]
            Kind::Amazon => amazon(&self.text),
            #[cfg(feature = "azure")]
            Kind::Azure => azure(&self.text),
            Kind::Folder(path) if !path.is_dir() => {
                return Err(Error::Address(format!("{self}: no such folder")));
            }
            Kind::Folder(path) => LocalFileSystem::new_with_prefix(path).map(|store| Arc::new(store) as _),
        };
        let store = store.map_err(|e| Error::Address(format!("{self}: {e}")))?;
        Ok(Storage { address: self.text.clone(), store, folder: self.folder.clone() })
    }

    /// [`Address::open`] for writing: makes the folder of a `file://` address.
    ///
    /// # Errors
    /// As [`Address::open`], and when the folder cannot be made.
    pub fn open_to_write(&self) -> Result<Storage, Error> {
        if let Kind::Folder(path) = &self.kind {
            fs::create_dir_all(path).map_err(|e| Error::Address(format!("{self}: {e}")))?;
        }
        self.open()
    }
}

impl FromStr for Address {
    type Err = Error;

    /// # Errors
    /// [`Error::Address`] for a text that is not an address, and for a cloud that is not built in.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &dyn fmt::Display| Error::Address(format!("{text}: {why}"));
        let url = Url::parse(text).map_err(|e| wrong(&e))?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong(&"`?` and `#` have no meaning in an address of storage"));
        }
        let kind = match (url.scheme(), url.host_str().is_some_and(|host| !host.is_empty())) {
            #[cfg(feature = "gcp")]
            ("gs", true) => Kind::Google,
            #[cfg(feature = "aws")]
            ("s3", true) => Kind::Amazon,
            #[cfg(feature = "azure")]
            ("az", true) => Kind::Azure,
            (cloud, false) if CLOUDS.contains(&cloud) => return Err(wrong(&"no bucket is named")),
            (cloud, true) if CLOUDS.contains(&cloud) => {
                return Err(wrong(&format!("{cloud}:// is not built into this program")));
            }
            ("file", true) => return Err(wrong(&"a folder has three slashes before it: file:///folder")),
            ("file", false) => Kind::Folder(url.to_file_path().map_err(|()| wrong(&"not a folder"))?),
            (other, _) => {
                return Err(wrong(&format!("{other}:// is not known; gs://, s3://, az:// and file:// are")));
            }
        };
        let folder = match url.scheme() {
            "file" => Path::default(),
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

#[cfg(feature = "gcp")]
fn google(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

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

#[cfg(feature = "aws")]
fn amazon(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let plain = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"].iter().any(|name| is_plain(name));
    let builder = object_store::aws::AmazonS3Builder::from_env().with_url(address);
    Ok(Arc::new(builder.with_retry(once()).with_client_options(options(plain)).build()?))
}

#[cfg(feature = "azure")]
fn azure(address: &str) -> object_store::Result<Arc<dyn ObjectStore>> {
    let plain = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"].iter().any(|name| is_plain(name));
    let builder = object_store::azure::MicrosoftAzureBuilder::from_env().with_url(address);
    Ok(Arc::new(builder.with_retry(once()).with_client_options(options(plain)).build()?))
}

/// A server that is named with http:// is used without TLS: that is explicit.
#[cfg(feature = "cloud")]
fn is_plain(name: &str) -> bool {
    variable(name).is_some_and(|url| url.starts_with("http://"))
}

#[cfg(feature = "cloud")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// object_store must not retry: this crate does, because it knows the deadline.
#[cfg(feature = "cloud")]
fn once() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

#[cfg(feature = "cloud")]
fn options(plain: bool) -> ClientOptions {
    // It can be set once in a process; another caller may have set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut options = ClientOptions::new().with_allow_http(plain).with_timeout(REQUEST);
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        // An image with nothing but a program has no certificates, and without any reqwest makes no client, not even for HTTP.
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

    #[test]
    fn a_cloud_that_is_not_built_in() {
        for (scheme, built_in) in
            [("gs", cfg!(feature = "gcp")), ("s3", cfg!(feature = "aws")), ("az", cfg!(feature = "azure"))]
        {
            let address = format!("{scheme}://bucket/folder");
            let why = format!("{address}: {scheme}:// is not built into this program");
            let expected = if built_in { Ok(()) } else { Err(Error::Address(why)) };
            assert_eq!(address.parse::<Address>().map(drop), expected);
        }
    }
}
