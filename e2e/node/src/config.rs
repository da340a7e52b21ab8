//! What the cluster's programs read: certificates, configurations and their command lines.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use fs_err as fs;
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Folder;
use crate::authority::{Authority, Signed, token_keys};
use crate::folder::INSIDE;
use crate::host::{BRIDGE, CGROUP, FIRST_POD, NETWORK, NODE};
use crate::names::DOMAIN;

/// The file with what [`crate::init`] starts.
pub(crate) const PROGRAMS: &str = "programs.json";
pub(crate) const NODE_NAME: &str = "node";
/// The context in the kubeconfig.
pub(crate) const CONTEXT: &str = "podcov-e2e";
/// Services' addresses, which nothing routes: there is no kube-proxy. A port-forward does not need one, and names stand
/// for pods' addresses, see [`crate::names`].
const SERVICES: &str = "198.19.0.0/16";
/// The first of [`SERVICES`], which the API server gives itself.
const API_SERVICE: &str = "198.19.0.1";

/// The ports that the cluster listens on and that may be any, all of loopback but for the kubelet's.
#[derive(Debug)]
pub(crate) struct Ports {
    etcd: u16,
    etcd_peers: u16,
    pub(crate) registry: u16,
    api: u16,
    kubelet: u16,
    controllers: u16,
    scheduler: u16,
}

/// A program of the cluster.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// What to wait for before the next one is started.
    pub(crate) until: Option<Until>,
}

/// What shows that a program is there for those who need it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Until {
    /// A port of loopback accepts.
    Port(u16),
    /// A socket accepts.
    Socket(PathBuf),
    /// The API server says that it is ready.
    ApiServer,
}

impl Ports {
    /// Ports that are free now. They are below those that systems give to outgoing connections, one of which
    /// could take them before the cluster does.
    fn free() -> Result<Self> {
        let mut free =
            (21_000..32_000).filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok());
        let mut next = || free.next().context("no port from 21000 to 31999 is free");
        Ok(Self {
            etcd: next()?,
            etcd_peers: next()?,
            registry: next()?,
            api: next()?,
            kubelet: next()?,
            controllers: next()?,
            scheduler: next()?,
        })
    }
}

/// Writes everything into the folder's state.
pub(crate) fn write(folder: &Folder) -> Result<Ports> {
    let ports = Ports::free()?;
    let state = folder.state();
    fs::create_dir_all(state.join("cni"))?;
    fs::create_dir_all(state.join("registry"))?;
    fs::create_dir_all(folder.static_pods())?;
    let authority = Authority::new()?;
    fs::write(state.join("authority.crt"), &authority.pem)?;
    let (private, public) = token_keys()?;
    fs::write(state.join("tokens.key"), private)?;
    fs::write(state.join("tokens.pub"), public)?;
    let api_names = ["127.0.0.1", "localhost", API_SERVICE, "kubernetes.default.svc"];
    let admin = authority.sign("system:masters", "admin", &[])?;
    let kubelet = authority.sign("system:nodes", &format!("system:node:{NODE_NAME}"), &[NODE, NODE_NAME])?;
    for (name, signed) in [
        ("apiserver", &authority.sign("podcov", "kube-apiserver", &api_names)?),
        ("admin", &admin),
        ("kubelet", &kubelet),
    ] {
        fs::write(state.join(format!("{name}.crt")), &signed.certificate)?;
        fs::write(state.join(format!("{name}.key")), &signed.key)?;
    }
    let server = format!("https://127.0.0.1:{}", ports.api);
    write_json(folder, "kubeconfig", &kubeconfig(&server, &authority, &admin))?;
    write_json(folder, "kubelet.kubeconfig", &kubeconfig(&server, &authority, &kubelet))?;
    write_json(folder, "kubelet.json", &kubelet_config(&ports))?;
    write_json(folder, "cni/podcov.conflist", &network())?;
    fs::write(state.join("containerd.toml"), containerd(&ports))?;
    write_json(folder, PROGRAMS, &serde_json::to_value(programs(&ports))?)?;
    Ok(ports)
}

fn write_json(folder: &Folder, name: &str, value: &Value) -> Result<()> {
    Ok(fs::write(folder.state().join(name), serde_json::to_vec_pretty(value)?)?)
}

/// JSON, which is YAML. It holds its certificates, so it can be copied and read from anywhere.
fn kubeconfig(server: &str, authority: &Authority, user: &Signed) -> Value {
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {
            "server": server,
            "certificate-authority-data": bytes(&authority.pem),
        }}],
        "users": [{"name": CONTEXT, "user": {
            "client-certificate-data": bytes(&user.certificate),
            "client-key-data": bytes(&user.key),
        }}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "current-context": CONTEXT,
    })
}

fn network() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "podcov",
        "plugins": [{
            "type": "bridge",
            "bridge": BRIDGE,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": NETWORK, "rangeStart": FIRST_POD}]],
                "dataDir": format!("{INSIDE}/state/addresses"),
            },
        }],
    })
}

fn kubelet_config(ports: &Ports) -> Value {
    let state = format!("{INSIDE}/state");
    let runtime = format!("unix://{state}/containerd.sock");
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE,
        "port": ports.kubelet,
        "healthzPort": 0,
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": format!("{state}/authority.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "tlsCertFile": format!("{state}/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{state}/kubelet.key"),
        "containerRuntimeEndpoint": runtime,
        "imageServiceEndpoint": runtime,
        "podLogsDir": format!("{state}/pods"),
        "staticPodPath": Folder::inside().static_pods(),
        // No systemd is needed, and no controller has to be delegated.
        "cgroupDriver": "cgroupfs",
        "cgroupsPerQOS": false,
        // Without those cgroups the kubelet panics when it restarts a container that has limits (doPodResizeAction).
        "featureGates": {"InPlacePodVerticalScaling": false},
        "cgroupRoot": format!("/{CGROUP}"),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // A developer's disk is often nearly full.
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "resolvConf": "",
        "clusterDNS": [NODE],
        "clusterDomain": DOMAIN,
        // Skaffold's images are pulled again for every pod, and 20 of them at once are no error.
        "registryPullQPS": 0,
        "maxPods": 200,
    })
}

/// `restrict_oom_score_adj`: in a container, as CI mostly is, even root may not lower the score.
fn containerd(ports: &Ports) -> String {
    let registry = format!("localhost:{}", ports.registry);
    format!(
        r#"version = 2
root = "{INSIDE}/state/containerd"
state = "/run/containerd"
[grpc]
  address = "{INSIDE}/state/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{registry}/pause"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{INSIDE}/debian/usr/lib/cni"
    conf_dir = "{INSIDE}/state/cni"
  [plugins."io.containerd.grpc.v1.cri".registry.mirrors."{registry}"]
    endpoint = ["http://{registry}"]
"#
    )
}

/// In the order in which they are started.
fn programs(ports: &Ports) -> Vec<Program> {
    let state = format!("{INSIDE}/state");
    let etcd = format!("http://127.0.0.1:{}", ports.etcd);
    let etcd_peers = format!("http://127.0.0.1:{}", ports.etcd_peers);
    let program = |name: &str, until: Option<Until>, args: &[String]| Program {
        name: name.to_owned(),
        args: args.to_vec(),
        until,
    };
    vec![
        program(
            "etcd",
            Some(Until::Port(ports.etcd)),
            &[
                format!("--data-dir={state}/etcd"),
                format!("--listen-client-urls={etcd}"),
                format!("--advertise-client-urls={etcd}"),
                format!("--listen-peer-urls={etcd_peers}"),
                format!("--initial-advertise-peer-urls={etcd_peers}"),
                format!("--initial-cluster=default={etcd_peers}"),
                // What it holds need not outlive it.
                "--unsafe-no-fsync".to_owned(),
            ],
        ),
        program(
            "crane",
            Some(Until::Port(ports.registry)),
            &[
                "registry".to_owned(),
                "serve".to_owned(),
                format!("--address=127.0.0.1:{}", ports.registry),
                format!("--disk={state}/registry"),
            ],
        ),
        program(
            "containerd",
            Some(Until::Socket(format!("{state}/containerd.sock").into())),
            &[format!("--config={state}/containerd.toml")],
        ),
        program(
            "kube-apiserver",
            Some(Until::ApiServer),
            &[
                format!("--etcd-servers={etcd}"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", ports.api),
                format!("--advertise-address={NODE}"),
                format!("--service-cluster-ip-range={SERVICES}"),
                format!("--client-ca-file={state}/authority.crt"),
                format!("--tls-cert-file={state}/apiserver.crt"),
                format!("--tls-private-key-file={state}/apiserver.key"),
                format!("--kubelet-certificate-authority={state}/authority.crt"),
                format!("--kubelet-client-certificate={state}/admin.crt"),
                format!("--kubelet-client-key={state}/admin.key"),
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                format!("--service-account-key-file={state}/tokens.pub"),
                format!("--service-account-signing-key-file={state}/tokens.key"),
                "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
            ],
        ),
        program(
            "kube-controller-manager",
            None,
            &[
                format!("--kubeconfig={state}/kubeconfig"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", ports.controllers),
                format!("--service-account-private-key-file={state}/tokens.key"),
                format!("--root-ca-file={state}/authority.crt"),
                "--leader-elect=false".to_owned(),
            ],
        ),
        program(
            "kube-scheduler",
            None,
            &[
                format!("--kubeconfig={state}/kubeconfig"),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", ports.scheduler),
                "--leader-elect=false".to_owned(),
            ],
        ),
        program(
            "kubelet",
            None,
            &[
                format!("--config={state}/kubelet.json"),
                format!("--kubeconfig={state}/kubelet.kubeconfig"),
                format!("--hostname-override={NODE_NAME}"),
                format!("--node-ip={NODE}"),
                format!("--root-dir={state}/kubelet"),
                format!("--cert-dir={state}/kubelet-certificates"),
                // Once a minute the kubelet removes old containers, and takes one that is made and not yet started for
                // an old one. With 1, the default, it then forgets how the last process ended.
                "--maximum-dead-containers-per-container=2".to_owned(),
            ],
        ),
    ]
}
