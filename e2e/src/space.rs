//! A namespace of a real cluster to test in.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Service as PodService, ServiceAccount};
use kube::api::{ListParams, PostParams};
use kube::config::KubeConfigOptions;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Api, Client, Config, ResourceExt};
use podcov_node::{Folder, Image};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Desk, HUNG, go_build, top};

/// How often what no watch of one object shows is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A namespace of its own, a folder to run hooks in, and the environment that Skaffold would give them.
pub struct Space {
    /// The namespace's name.
    pub name: String,
    /// As the administrator.
    pub client: Client,
    /// The kubeconfig's context.
    pub context: String,
    /// The registry that the cluster pulls from.
    pub registry: String,
    /// The run that everything here belongs to.
    run: String,
    kubeconfig: PathBuf,
    desk: Desk,
}

/// A service of `e2e/program`, as the pods of a deployment.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// The deployment's and the service's name, and the pods' label `app`.
    pub name: &'static str,
    /// How many pods.
    pub replicas: u32,
    /// What the program is to do; see there.
    pub env: &'static [(&'static str, &'static str)],
    /// Flags of `go build`.
    pub build: &'static [&'static str],
    /// Which of busybox's programs the image has.
    pub tools: &'static [&'static str],
    /// Whether it runs under podcov-agent, as a container's first process.
    pub agent: bool,
    /// The user that the image names; empty for root.
    pub user: &'static str,
}

impl Service {
    /// A service of one pod, which writes its counters on SIGUSR1.
    pub const WRITES: Self = Self {
        name: "writes",
        replicas: 1,
        env: &[("ON_USR1", "write")],
        build: &["-cover", "-covermode=atomic"],
        tools: &["sh", "tar", "gzip", "kill", "ls", "cat", "sleep", "rm", "dd"],
        agent: false,
        user: "",
    };

    /// The same under podcov-agent, and nothing but the two in the image.
    pub const UNDER_AGENT: Self = Self { name: "wrapped", tools: &[], agent: true, ..Self::WRITES };
}

impl Space {
    /// A new namespace in the cluster that `PODCOV_E2E_CONTEXT` names.
    ///
    /// # Errors
    /// When there is no such cluster, or it refuses.
    pub async fn new() -> Result<Self> {
        let variable = |name: &str| {
            std::env::var(name)
                .with_context(|| format!("{name} is not set; `make e2e` starts a cluster and sets it"))
        };
        let (context, registry) = (variable("PODCOV_E2E_CONTEXT")?, variable("PODCOV_E2E_REGISTRY")?);
        let home = std::env::var("HOME").unwrap_or_default();
        let kubeconfig: PathBuf =
            std::env::var_os("KUBECONFIG").map_or_else(|| format!("{home}/.kube/config").into(), Into::into);

        let _ = rustls::crypto::ring::default_provider().install_default();
        let options = KubeConfigOptions { context: Some(context.clone()), ..KubeConfigOptions::default() };
        let client = Client::try_from(Config::from_kubeconfig(&options).await?)?;

        let name = unique();
        let object = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        let desk = Desk::new(&kubeconfig)?
            .with("SKAFFOLD_KUBE_CONTEXT", &context)
            .with("SKAFFOLD_NAMESPACES", &name)
            .with("SKAFFOLD_RUN_ID", &name);
        let run = name.clone();
        let space = Self { name, client, context, registry, run, kubeconfig, desk };
        // No pod is admitted before.
        let there = |account: Option<&ServiceAccount>| account.is_some();
        space.until::<ServiceAccount>("default", "the default service account", there).await?;
        Ok(space)
    }

    /// Another namespace with the same run.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn another(&self) -> Result<Self> {
        let mut other = Self::new().await?;
        other.run = self.run.clone();
        other.desk = Desk::new(&other.kubeconfig)?.with("SKAFFOLD_RUN_ID", &self.run);
        Ok(other)
    }

    /// The objects of a kind in the namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.name)
    }

    /// Makes an object.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn create<K>(&self, object: Value) -> Result<K>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        Ok(self.api().create(&PostParams::default(), &serde_json::from_value(object)?).await?)
    }

    /// Waits until an object is as it should be.
    ///
    /// # Errors
    /// When it is not in minutes.
    pub async fn until<K>(&self, name: &str, what: &str, condition: impl Condition<K>) -> Result<()>
    where
        K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let waiting = tokio::time::timeout(HUNG, await_condition(self.api::<K>(), name, condition)).await;
        waiting.with_context(|| format!("waited in vain for {what}"))??;
        Ok(())
    }

    /// Deploys a service and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn deploy(&self, service: &Service) -> Result<()> {
        self.start(service, self.deployment(service)?).await
    }

    /// Makes a deployment, that of [`Self::deployment`] or what a test made of it, with its service, and waits until
    /// it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start(&self, service: &Service, deployment: Value) -> Result<()> {
        let name = service.name;
        self.create::<Deployment>(deployment).await?;
        let object = json!({
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"port": 70, "name": "tcp", "targetPort": "main"}]}
        });
        self.create::<PodService>(object).await?;
        self.rolled_out(name).await
    }

    /// A deployment that is not made yet. Its image is in the registry.
    ///
    /// # Errors
    /// When the program cannot be built, or its image not be pushed.
    pub fn deployment(&self, service: &Service) -> Result<Value> {
        let Service { name, replicas, .. } = service;
        Ok(json!({
            "metadata": {"name": name},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": {
                "metadata": {"labels": {"app": name, "skaffold.dev/run-id": self.run}},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "automountServiceAccountToken": false,
                    "containers": [self.container(service)?],
                    "volumes": [{"name": "cov", "emptyDir": {}}]
                }
            }}
        }))
    }

    /// A container of a service.
    ///
    /// # Errors
    /// As [`Self::deployment`].
    pub fn container(&self, service: &Service) -> Result<Value> {
        let mut env = vec![
            json!({"name": "GOCOVERDIR", "value": "/coverage-data"}),
            json!({"name": "HOST", "value": "0.0.0.0"}),
            json!({"name": "PORT", "value": "7000"}),
            json!({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
        ];
        env.extend(service.env.iter().map(|(name, value)| json!({"name": name, "value": value})));
        Ok(json!({
            "name": "app", "image": self.image(service)?, "env": env,
            "ports": [{"name": "main", "containerPort": 7000}],
            "readinessProbe": {"tcpSocket": {"port": 7000}, "periodSeconds": 1},
            "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}},
            "volumeMounts": [{"name": "cov", "mountPath": "/coverage-data"}]
        }))
    }

    /// The same without GOCOVERDIR and the volume for it.
    ///
    /// # Errors
    /// As [`Self::deployment`].
    pub fn without_coverdir(&self, service: &Service) -> Result<Value> {
        let mut deployment = self.deployment(service)?;
        let spec = &mut deployment["spec"]["template"]["spec"];
        spec["volumes"] = json!([]);
        let container = &mut spec["containers"][0];
        container["volumeMounts"] = json!([]);
        let env = container["env"].as_array_mut().context("variables")?;
        env.retain(|variable| variable["name"] != "GOCOVERDIR");
        Ok(deployment)
    }

    /// Waits until all pods of a deployment are of its last revision and ready.
    ///
    /// # Errors
    /// When they are not in minutes.
    pub async fn rolled_out(&self, name: &str) -> Result<()> {
        let done = |deployment: Option<&Deployment>| deployment.is_some_and(is_rolled_out);
        self.until::<Deployment>(name, &format!("the rollout of {name}"), done).await
    }

    /// The pods of a service, by name.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub async fn pods(&self, app: &str) -> Result<Vec<Pod>> {
        let mut pods =
            self.api::<Pod>().list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// The one pod of a service.
    ///
    /// # Errors
    /// When there are several or none.
    pub async fn pod(&self, app: &str) -> Result<String> {
        let pods = self.pods(app).await?;
        let [pod] = &pods[..] else { anyhow::bail!("{app} has {} pods", pods.len()) };
        Ok(pod.name_any())
    }

    /// Waits until a service has a ready pod that is not `old`, and gives its name.
    ///
    /// # Errors
    /// When there is none in minutes.
    pub async fn another_pod(&self, app: &str, old: &str) -> Result<String> {
        let there = async {
            loop {
                let pods = self.pods(app).await?;
                if let Some(pod) = pods.iter().find(|pod| pod.name_any() != old && is_ready(pod)) {
                    return Ok(pod.name_any());
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::time::timeout(HUNG, there).await.context("waited in vain for another pod")?
    }

    /// The name of the cluster's one node.
    ///
    /// # Errors
    /// When it has another number of nodes.
    pub async fn node(&self) -> Result<String> {
        let nodes = Api::<Node>::all(self.client.clone()).list(&ListParams::default()).await?.items;
        let [node] = &nodes[..] else { anyhow::bail!("the cluster has {} nodes", nodes.len()) };
        Ok(node.name_any())
    }

    /// kubectl, for this namespace.
    pub fn kubectl(&self) -> tokio::process::Command {
        let mut kubectl = tokio::process::Command::new("kubectl");
        kubectl
            .args(["--context", &self.context, "--namespace", &self.name])
            .env("KUBECONFIG", &self.kubeconfig);
        kubectl.kill_on_drop(true);
        kubectl
    }

    /// Where the report has a pod's files.
    pub fn collected(&self, pod: &str, container: &str) -> PathBuf {
        self.report(&format!("{}/{pod}/{container}", self.name))
    }

    /// A service's image, pushed once by each process.
    fn image(&self, service: &Service) -> Result<String> {
        let flags: String = service.build.concat().chars().filter(char::is_ascii_alphanumeric).collect();
        let mut name = format!("service-{}-{}", flags, service.tools.join("")).trim_matches('-').to_owned();
        let program = go_build("e2e/program", &name, service.build)?;
        let mut image = if service.tools.is_empty() { Image::new() } else { busybox(service.tools)? };
        image = image.file("app/service", program).entrypoint(&["/app/service"]).user(service.user);
        if !service.user.is_empty() {
            name = format!("{name}-{}", service.user);
        }
        if service.agent {
            name.push_str("-agent");
            let command = ["/podcov-agent", "run", "--", "/app/service"];
            image = image.file("podcov-agent", agent()).entrypoint(&command);
        }
        self.push(&image, &name)
    }

    /// The stand-in for `busybox:stable`, as a base for ko.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn busybox(&self) -> Result<String> {
        self.push(&busybox(Service::WRITES.tools)?.entrypoint(&["/bin/sh"]), "busybox:stable")
    }

    /// A program beside a shell, as an image that runs it.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn with_shell(&self, name: &str, program: &Path) -> Result<String> {
        let inside = format!("app/{name}");
        let image = busybox(Service::WRITES.tools)?.file(&inside, program);
        self.push(&image.entrypoint(&[&format!("/{inside}")]), name)
    }

    /// The stand-in for ko's default base: nothing in it, and a user of its own.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn empty(&self) -> Result<String> {
        self.push(&Image::new().user("65532"), "static:nonroot")
    }

    /// The server of object storage that is `e2e/storage/gcs`, as an image.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn gcs(&self) -> Result<String> {
        let program = top().join("target/e2e/storage/bin/gcs");
        self.push(&Image::new().file("gcs", program).entrypoint(&["/gcs"]), "gcs")
    }

    /// podcov-agent's image, as `make image` makes it.
    ///
    /// # Errors
    /// When it cannot be pushed.
    pub fn agent_image(&self) -> Result<String> {
        let reference = format!("{}/podcov-agent", self.registry);
        let mut crane = Command::new(tools()?.bin().join("crane"));
        let pushed =
            crane.args(["push", "--insecure"]).arg(top().join("target/image")).arg(&reference).output()?;
        ensure!(pushed.status.success(), "crane push: {}", String::from_utf8_lossy(&pushed.stderr));
        Ok(reference)
    }

    fn push(&self, image: &Image, name: &str) -> Result<String> {
        static PUSHED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let reference = format!("{}/{name}", self.registry);
        let mut pushed = PUSHED.lock().unwrap_or_else(PoisonError::into_inner);
        if !pushed.contains(&reference) {
            image.push(&reference, &tools()?.bin())?;
            pushed.insert(reference.clone());
        }
        Ok(reference)
    }
}

impl std::ops::Deref for Space {
    type Target = Desk;

    fn deref(&self) -> &Desk {
        &self.desk
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // Not waited for: the pods of many tests end side by side.
        let mut kubectl = Command::new("kubectl");
        kubectl.args(["--context", &self.context, "delete", "namespace", "--wait=false", &self.name]);
        let deleted = kubectl.env("KUBECONFIG", &self.kubeconfig).output();
        if !deleted.is_ok_and(|output| output.status.success()) {
            eprintln!("namespace {} is left behind", self.name);
        }
    }
}

/// What `make` has built and unpacked.
fn tools() -> Result<Folder> {
    Folder::at(&top().join("target/e2e"))
}

/// podcov-agent as images have it.
fn agent() -> PathBuf {
    top().join("target/agent/bin/podcov-agent")
}

/// An image with some of busybox's programs.
fn busybox(programs: &[&str]) -> Result<Image> {
    let image = Image::new().file("bin/busybox", tools()?.debian().join("bin/busybox"));
    Ok(programs.iter().fold(image, |image, program| image.link(&format!("bin/{program}"), "busybox")))
}

/// Whether a pod has the condition Ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn is_rolled_out(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let desired = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    status.observed_generation == deployment.metadata.generation
        && status.updated_replicas == desired
        && status.ready_replicas == desired
        && status.replicas == desired
}

/// A name that no other namespace has.
fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    format!("podcov-{now:x}-{:x}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
