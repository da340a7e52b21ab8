//! Servers of object storage, started on loopback and ended when no test needs them any more.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3Builder, AwsAuthorizer, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential, MicrosoftAzureBuilder};
use object_store::client::{HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt};
use podcov_e2e::program;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// What has not started by now never will. Azurite takes seconds on a machine that has other things to do.
const STARTS_WITHIN: Duration = Duration::from_secs(100);

/// MinIO's user.
const USER: &str = "storage-tests";
const PASSWORD: &str = "no-secret-at-all";

/// The account that Azurite has, with the key that its manual gives.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Whose storage a server stands in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// fake-gcs-server.
    Google,
    /// MinIO.
    Amazon,
    /// Azurite.
    Azure,
}

/// A server that runs.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    /// The bearer token that it wants.
    token: Option<String>,
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// The one that the tests of this process share. The last that uses it ends it.
    pub(crate) async fn shared(kind: Kind) -> Result<Arc<Self>> {
        static SHARED: [Mutex<Weak<Server>>; 3] = [const { Mutex::const_new(Weak::new()) }; 3];
        let mut shared = SHARED[kind as usize].lock().await;
        if let Some(server) = shared.upgrade() {
            return Ok(server);
        }
        let server = Arc::new(Self::start(kind).await?);
        *shared = Arc::downgrade(&server);
        Ok(server)
    }

    async fn start(kind: Kind) -> Result<Self> {
        Self::start_with(kind, tempfile::tempdir()?, &[]).await
    }

    /// Starts one with a folder for its data, by these words before its command.
    pub(crate) async fn start_with(kind: Kind, folder: TempDir, words: &[String]) -> Result<Self> {
        let (program, flags): (_, &[&str]) = match kind {
            Kind::Google => ("bin/gcs", &[]),
            // It looks for a free port and then takes it. At this address nobody else takes one meanwhile.
            Kind::Amazon => ("bin/minio", &["server", "--address=127.0.0.2:0", "data"]),
            // It would refuse a client that is newer than it.
            Kind::Azure => (
                "azure/node_modules/.bin/azurite-blob",
                &["--blobPort=0", "--inMemoryPersistence", "--disableTelemetry", "--skipApiVersionCheck"],
            ),
        };
        let program = built(program)?.display().to_string();
        let words: Vec<_> = words.iter().map(String::as_str).chain([program.as_str()]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).args(flags);
        Self::from_command(kind, command, folder).await
    }

    /// Starts Google's with a token that it asks for.
    pub(crate) async fn with_token(token: &str) -> Result<Self> {
        let mut command = Command::new(built("bin/gcs")?);
        command.args(["-token", token]);
        let mut server = Self::from_command(Kind::Google, command, tempfile::tempdir()?).await?;
        server.token = Some(token.to_owned());
        Ok(server)
    }

    /// Starts one by a command that prints its URL. The folder is kept as long as it runs.
    async fn from_command(kind: Kind, mut command: Command, folder: TempDir) -> Result<Self> {
        command.env("MINIO_ROOT_USER", USER).env("MINIO_ROOT_PASSWORD", PASSWORD);
        command.env("MINIO_BROWSER", "off").env("MINIO_UPDATE", "off");
        let (says, output) = std::io::pipe()?;
        command.current_dir(folder.path()).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut server = Self { kind, url: String::new(), token: None, child, _folder: folder };
        // It has the other end, which must not stay open when it ends.
        drop(command);
        let url = tokio::task::spawn_blocking(move || {
            let mut said = String::new();
            let mut lines = BufReader::new(says).lines().map_while(Result::ok);
            let url = lines.find_map(|line| {
                said = format!("{said}{line}\n");
                let (_, url) = line.split_once("http://")?;
                Some(format!("http://{}", url.trim_end()))
            });
            // Whatever else it says must not stop it.
            std::thread::spawn(move || lines.for_each(drop));
            url.context(said)
        });
        server.url =
            tokio::time::timeout(STARTS_WITHIN, url).await.context("the server does not start")???;
        Ok(server)
    }

    /// Where files are as it sees them.
    pub(crate) fn root(&self) -> PathBuf {
        format!("/proc/{}/root", self.child.id()).into()
    }

    /// What the agent needs to know of it, at `url` if another one leads to it.
    pub(crate) fn environment(&self, url: &str) -> Vec<(&'static str, String)> {
        match (self.kind, &self.token) {
            (Kind::Google, None) => {
                vec![("STORAGE_EMULATOR_HOST", url.trim_start_matches("http://").to_owned())]
            }
            (Kind::Google, Some(token)) => {
                vec![("GOOGLE_BASE_URL", url.to_owned()), ("GOOGLE_BEARER_TOKEN", token.clone())]
            }
            (Kind::Amazon, _) => vec![
                ("AWS_ENDPOINT_URL", url.to_owned()),
                ("AWS_ACCESS_KEY_ID", USER.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", PASSWORD.to_owned()),
            ],
            (Kind::Azure, _) => vec![
                ("AZURE_STORAGE_ENDPOINT", format!("{url}/{ACCOUNT}")),
                ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT.to_owned()),
                ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY.to_owned()),
            ],
        }
    }

    /// Makes a bucket that no other test uses.
    pub(crate) async fn bucket(self: &Arc<Self>) -> Result<Bucket> {
        static BUCKETS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("coverage-{}", BUCKETS.fetch_add(1, Ordering::Relaxed));
        let bucket = self.bucket_named(&name);
        bucket.make().await.with_context(|| format!("{name} cannot be made on {:?}", self.kind))?;
        Ok(bucket)
    }

    /// One that may not be there.
    pub(crate) fn bucket_named(self: &Arc<Self>, name: &str) -> Bucket {
        Bucket { server: Arc::clone(self), name: name.to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A bucket on a server, and what it has, as podcov's own crate does not tell.
pub(crate) struct Bucket {
    pub(crate) server: Arc<Server>,
    name: String,
}

impl Bucket {
    /// The address of a folder in it.
    pub(crate) fn address(&self) -> String {
        let scheme = match self.server.kind {
            Kind::Google => "gs",
            Kind::Amazon => "s3",
            Kind::Azure => "az",
        };
        format!("{scheme}://{}/builds/one", self.name)
    }

    /// All objects, by path.
    pub(crate) async fn objects(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let store = self.store()?;
        let listed: Vec<_> = store.list(None).map_ok(|object| object.location).try_collect().await?;
        let mut objects = BTreeMap::new();
        for path in listed {
            let bytes = store.get(&path).await?.bytes().await?;
            objects.insert(path.to_string(), bytes.to_vec());
        }
        Ok(objects)
    }

    fn store(&self) -> Result<Box<dyn ObjectStore>> {
        let (name, url, options) = (&self.name, &self.server.url, options());
        Ok(match self.server.kind {
            Kind::Google => {
                let builder = GoogleCloudStorageBuilder::new().with_bucket_name(name).with_base_url(url);
                let token = self.server.token.as_deref().unwrap_or("none");
                Box::new(builder.with_bearer_token(token).with_client_options(options).build()?)
            }
            Kind::Amazon => {
                let builder = AmazonS3Builder::new().with_bucket_name(name).with_endpoint(url);
                let builder = builder.with_access_key_id(USER).with_secret_access_key(PASSWORD);
                Box::new(builder.with_client_options(options).build()?)
            }
            Kind::Azure => {
                let builder = MicrosoftAzureBuilder::new().with_container_name(name);
                let builder = builder.with_account(ACCOUNT).with_access_key(ACCOUNT_KEY);
                let builder = builder.with_endpoint(format!("{url}/{ACCOUNT}"));
                Box::new(builder.with_client_options(options).build()?)
            }
        })
    }

    async fn make(&self) -> Result<()> {
        let (name, url) = (&self.name, &self.server.url);
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = "PUT".parse()?;
        match self.server.kind {
            Kind::Google => {
                *request.method_mut() = "POST".parse()?;
                *request.uri_mut() = format!("{url}/storage/v1/b?project=tests").parse()?;
                *request.body_mut() = serde_json::json!({ "name": name }).to_string().into();
                let token = self.server.token.as_deref().unwrap_or_default();
                request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
            }
            Kind::Amazon => {
                *request.uri_mut() = format!("{url}/{name}").parse()?;
                let credential =
                    AwsCredential { key_id: USER.to_owned(), secret_key: PASSWORD.to_owned(), token: None };
                AwsAuthorizer::new(&credential, "s3", "us-east-1").try_authorize(&mut request, None)?;
            }
            Kind::Azure => {
                *request.uri_mut() = format!("{url}/{ACCOUNT}/{name}?restype=container").parse()?;
                let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(ACCOUNT_KEY)?);
                AzureAuthorizer::new(&credential, ACCOUNT).try_authorize(&mut request)?;
            }
        }
        let answer = ReqwestConnector::default().connect(&options())?.execute(request).await?;
        ensure!(answer.status().is_success(), "{}", answer.status());
        Ok(())
    }
}

fn options() -> ClientOptions {
    // One for the process; another test may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientOptions::new().with_allow_http(true)
}

/// A program that `make storage` has built.
fn built(name: &str) -> Result<PathBuf> {
    let path = program("").join("../e2e/storage").join(name);
    ensure!(path.exists(), "{} is not there: run `make storage`", path.display());
    Ok(path)
}
