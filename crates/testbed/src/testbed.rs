//! The handle tests hold.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::time;

use crate::{
    api,
    cluster::Cluster,
    controllers,
    faults::{FaultHandle, Requests, Rule},
    image::Image,
    kubeconfig::{self, KubeconfigOptions},
    kubelet::{self, FixedPod},
    manifest,
    resource::{NAMESPACES, PODS},
    rollout, server,
};

/// How long anything awaited may take.
const LIMIT: Duration = Duration::from_secs(60);

/// An embedded cluster. Dropping it ends everything it started.
#[derive(Debug)]
pub struct Testbed {
    cluster: Arc<Cluster>,
    root: TempDir,
    address: SocketAddr,
    authority: String,
    kubeconfig: PathBuf,
    files: Mutex<usize>,
    silent: Mutex<Vec<TcpListener>>,
}

impl Testbed {
    /// Starts a cluster with the namespaces `default` and `kube-system` and nothing else.
    ///
    /// # Errors
    /// If its folder cannot be made or no local port is free.
    pub async fn start() -> anyhow::Result<Self> {
        let root = tempfile::Builder::new().prefix("podcov-testbed-").tempdir()?;
        // Without links on the way, as programs report their own folder.
        let folder = fs_err::canonicalize(root.path())?;
        let cluster = Arc::new(Cluster::new(&folder)?);
        cluster.add_user(kubeconfig::TOKEN, kubeconfig::USER);
        for name in ["default", "kube-system"] {
            let mut namespace = json!({"metadata": {"name": name}});
            manifest::namespace_defaults(&mut namespace);
            cluster.store.put(&NAMESPACES, namespace);
        }

        let identity = server::identity()?;
        let listener = server::bind().await?;
        let address = listener.local_addr()?;
        let bed = Self {
            kubeconfig: folder.join("kubeconfig"),
            cluster: cluster.clone(),
            root,
            address,
            authority: identity.authority,
            files: Mutex::new(0),
            silent: Mutex::default(),
        };
        let working = kubeconfig::render(&KubeconfigOptions::default(), &bed.server_url(), &bed.authority)?;
        fs_err::write(&bed.kubeconfig, working)?;
        let router = api::router(cluster.clone());
        cluster.spawn(server::serve(cluster.clone(), listener, identity.config, router));
        cluster.spawn(controllers::run(cluster.clone()));
        let of = cluster.clone();
        cluster.spawn(async move {
            let deliver = |route, after, signal| {
                let cluster = of.clone();
                of.spawn(async move {
                    time::sleep(after).await;
                    cluster.kubelet.deliver(&route, signal);
                });
            };
            of.signals.run(deliver).await
        });
        Ok(bed)
    }

    /// A kubeconfig file that works, for as long as the testbed does.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The name of its context.
    pub fn context(&self) -> &'static str {
        kubeconfig::CONTEXT
    }

    /// The server's address, `https://127.0.0.1:PORT`.
    pub fn server_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Writes another kubeconfig file, for instance with a token that the server does not know.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write_kubeconfig(&self, options: &KubeconfigOptions) -> anyhow::Result<PathBuf> {
        let number = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            *files += 1;
            *files
        };
        let path = self.cluster.root.join(format!("kubeconfig-{number}"));
        fs_err::write(&path, kubeconfig::render(options, &self.server_url(), &self.authority)?)?;
        Ok(path)
    }

    /// A server address where connections are accepted and nothing ever answers.
    ///
    /// # Errors
    /// If no local port is free.
    pub fn offline(&self) -> anyhow::Result<String> {
        // The kernel accepts for it, as long as the listener is held.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
        Ok(format!("https://{address}"))
    }

    /// Registers the program that containers of an image run. Those that wait for the image start. Under a name
    /// without tag it serves every tag.
    pub fn image(&self, name: &str, image: Image) {
        self.cluster.images.put(name, image);
    }

    /// Applies a manifest of any number of YAML documents, as `kubectl apply` does. Gives the objects as kubectl names
    /// them: `deployment.apps/hello`, `service/hello`.
    ///
    /// # Errors
    /// If it is not YAML, an object is not valid or of no kind that the testbed has, or its namespace does not exist.
    pub fn apply(&self, yaml: &str) -> anyhow::Result<Vec<String>> {
        manifest::apply(&self.cluster, yaml, &[])
    }

    /// As [`apply`](Self::apply), with labels put on every object and pod template, as Skaffold does with its run id.
    ///
    /// # Errors
    /// As for `apply`.
    pub fn apply_labelled(&self, yaml: &str, labels: &[(&str, &str)]) -> anyhow::Result<Vec<String>> {
        manifest::apply(&self.cluster, yaml, labels)
    }

    /// Returns when every deployment has its replicas up to date and ready. Pods of an earlier
    /// template may still be terminating then, as with `kubectl rollout status`.
    ///
    /// # Errors
    /// Names the pod, the container and the reason when a container keeps crashing or its image is not known, or
    /// when it takes over a minute.
    pub async fn rollout_done(&self) -> anyhow::Result<()> {
        rollout::wait(&self.cluster, "rollout", LIMIT, || rollout::is_done(&self.cluster)).await
    }

    /// Returns the pods once they fulfil a condition, asked again at each change.
    ///
    /// # Errors
    /// After a minute; `what` says in the error what was awaited.
    pub async fn wait_for(
        &self,
        what: &str,
        mut condition: impl FnMut(&[Pod]) -> bool,
    ) -> anyhow::Result<Vec<Pod>> {
        let check = || {
            let pods = self.pods();
            Ok(condition(&pods).then_some(pods))
        };
        rollout::wait(&self.cluster, what, LIMIT, check).await
    }

    /// Every pod, by namespace and name.
    pub fn pods(&self) -> Vec<Pod> {
        self.cluster.store.list_as(&PODS)
    }

    /// A pod.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<Pod> {
        Pod::deserialize(self.cluster.store.get(&PODS, namespace, name)?.as_ref()).ok()
    }

    /// Puts a pod in the cluster with exactly the object given, and no process behind it. One of the same name is
    /// replaced.
    ///
    /// # Errors
    /// If its namespace does not exist.
    pub fn add_pod(&self, pod: FixedPod) -> anyhow::Result<()> {
        kubelet::add_fixed(&self.cluster, pod)
    }

    /// Begins a pod's deletion with a grace period in seconds, by default its own; 0 kills it. A pod of a controller
    /// is replaced.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn delete_pod(&self, namespace: &str, name: &str, grace: Option<i64>) -> anyhow::Result<()> {
        match kubelet::delete_pod(&self.cluster, namespace, name, grace) {
            Some(_) => Ok(()),
            None => bail!("pods {name:?} not found"),
        }
    }

    /// Returns when there is no such pod, or another of its name.
    ///
    /// # Errors
    /// After a minute.
    pub async fn gone(&self, pod: &Pod) -> anyhow::Result<()> {
        let same = |other: &Pod| other.metadata.uid == pod.metadata.uid;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        self.wait_for(&format!("end of pod {name}"), |pods| !pods.iter().any(same)).await.map(|_| ())
    }

    /// The folder a container runs in.
    pub fn container_dir(&self, namespace: &str, pod: &str, container: &str) -> Option<PathBuf> {
        self.cluster.kubelet.folder(namespace, pod, container)
    }

    /// The folder of a pod's volume.
    pub fn volume_dir(&self, namespace: &str, pod: &str, volume: &str) -> Option<PathBuf> {
        self.cluster.kubelet.volume(namespace, pod, volume)
    }

    /// The id on this machine of a running container's process.
    pub fn pid(&self, namespace: &str, pod: &str, container: &str) -> Option<i32> {
        self.cluster.kubelet.target(namespace, pod, container)?.pid
    }

    /// The local port that stands for a container port.
    pub fn local_port(&self, namespace: &str, pod: &str, port: u16) -> Option<u16> {
        self.cluster.kubelet.local_port(namespace, pod, port)
    }

    /// Sets a fault.
    pub fn fault(&self, rule: Rule) -> FaultHandle {
        self.cluster.faults.add(rule)
    }

    /// The requests the API server got so far.
    pub fn requests(&self) -> Requests {
        self.cluster.requests.snapshot()
    }

    /// Forgets them.
    pub fn clear_requests(&self) {
        self.cluster.requests.clear();
    }

    /// Ends everything.
    pub async fn shutdown(self) {
        self.end();
        self.cluster.tasks.close();
        // Each ends at its next await; dropping the runtime would end one that does not.
        let _ = time::timeout(Duration::from_secs(5), self.cluster.tasks.wait()).await;
    }

    fn end(&self) {
        self.cluster.closing.cancel();
        self.cluster.processes.close();
    }

    fn remove_folder(&self) -> anyhow::Result<()> {
        // A task or a process on its way out may still write a file.
        let mut removed = Ok(());
        for _ in 0..10 {
            removed = fs_err::remove_dir_all(self.root.path());
            if !self.root.path().exists() {
                return Ok(());
            }
            std::thread::yield_now();
        }
        removed.context("cannot remove the testbed's folder")
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        self.end();
        if let Err(error) = self.remove_folder() {
            tracing::warn!("{error:#}");
        }
    }
}
