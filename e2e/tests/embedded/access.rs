//! The way to the cluster, as kubectl has it: kubeconfig files, proxies, certificates, credential plugins. Each row is
//! tried with a hook, and with kubectl where it is installed: both get through or both do not.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use podcov_e2e::{Ended, World, on_path, run, start};
use podcov_testbed::{Fault, Rule};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::RUN;
use crate::ways::{Front, HttpProxy, SelfSigned, SocksProxy};

/// A kubeconfig that a test puts together, and what else leads to the cluster.
struct Row<'a> {
    name: String,
    world: &'a World,
    cluster: Value,
    user: Value,
    environment: Vec<(&'static str, String)>,
}

impl<'a> Row<'a> {
    /// One that works.
    #[expect(clippy::unwrap_used, reason = "the testbed's kubeconfig is JSON")]
    fn new(world: &'a World, name: &str) -> Self {
        let config: Value =
            serde_json::from_str(&fs::read_to_string(world.bed.kubeconfig()).unwrap()).unwrap();
        let (cluster, user) = (config["clusters"][0]["cluster"].clone(), config["users"][0]["user"].clone());
        Self { name: name.to_owned(), world, cluster, user, environment: Vec::new() }
    }

    fn cluster(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.cluster[field] = value.into();
        self
    }

    fn user(mut self, user: Value) -> Self {
        self.user = user;
        self
    }

    fn set(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    fn config(&self) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "row",
            "clusters": [{"name": "row", "cluster": self.cluster}],
            "users": [{"name": "row", "user": self.user}],
            "contexts": [{"name": "row", "context": {"cluster": "row", "user": "row"}}],
        })
    }

    /// The hook and kubectl get through to the cluster.
    async fn works(self) -> Result<()> {
        let ended = self.ends(true).await?;
        assert_eq!(ended.code, 4, "{}: {ended:?}", self.name);
        assert!(ended.stderr.contains("no coverage found in"), "{}: {ended:?}", self.name);
        Ok(())
    }

    /// Neither does, and the hook says why.
    async fn fails(self, code: i32, words: &str) -> Result<()> {
        let ended = self.ends(false).await?;
        assert_eq!(ended.code, code, "{}: {ended:?}", self.name);
        assert!(ended.stderr.contains(words), "{}: {ended:?}", self.name);
        Ok(())
    }

    async fn ends(&self, works: bool) -> Result<Ended> {
        let file = self.world.dir().join("config");
        fs::write(&file, self.config().to_string())?;
        let mut environment = vec![("KUBECONFIG", file.display().to_string())];
        environment.extend(self.environment.iter().cloned());
        ends(self.world, &self.name, &environment, works).await
    }
}

/// Runs a hook, and kubectl, which is to get through or not.
async fn ends(world: &World, name: &str, environment: &[(&str, String)], works: bool) -> Result<Ended> {
    if on_path("kubectl") {
        let mut kubectl = tokio::process::Command::new("kubectl");
        kubectl.args(["get", "pods", "--request-timeout=60s"]).env_clear();
        kubectl.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", world.dir());
        kubectl.envs(environment.iter().cloned()).current_dir(world.dir());
        kubectl.stdin(std::process::Stdio::null()).kill_on_drop(true);
        kubectl.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let ended = run(kubectl).await?;
        assert_eq!(ended.code == 0, works, "{name}: kubectl: {ended:?}");
    }
    let mut command = world.command("podcov-signal", ["--run-id", RUN, "--request-timeout", "60"]);
    command.env("HOME", world.dir()).env("RUN_BY", "hook").envs(environment.iter().cloned());
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn kubeconfig_files() -> Result<()> {
    let world = World::new().await?;
    let folder = world.dir().join("elsewhere");
    fs::create_dir(&folder)?;
    let good = Row::new(&world, "").config();
    let write = |name: &str, config: &Value| -> Result<PathBuf> {
        let path = folder.join(name);
        fs::write(&path, config.to_string())?;
        Ok(path)
    };
    let working = write("working", &good)?;
    let absent = folder.join("absent");
    let broken = folder.join("broken");
    fs::write(&broken, "users: [{name: x, user: {token: hunter2}}\ncontexts")?;
    let empty = write("empty", &json!({"apiVersion": "v1", "kind": "Config", "current-context": ""}))?;

    // An entry of the first file is taken whole, and relative paths are relative to the file that has them.
    let mut other = good.clone();
    other["clusters"][0]["cluster"] = json!({"server": "https://127.0.0.1:1"});
    let other = write("other", &other)?;
    let authority = good["clusters"][0]["cluster"]["certificate-authority-data"].as_str().context("data")?;
    fs::write(folder.join("ca.crt"), STANDARD.decode(authority)?)?;
    fs::write(
        folder.join("token"),
        format!("{}\n", good["users"][0]["user"]["token"].as_str().context("token")?),
    )?;
    let mut relative = good.clone();
    relative["clusters"][0]["cluster"] =
        json!({"server": world.bed.server_url(), "certificate-authority": "ca.crt"});
    relative["users"][0]["user"] = json!({"tokenFile": "token"});
    let relative = write("relative", &relative)?;

    let list = |paths: &[&PathBuf]| -> Result<Vec<(&str, String)>> {
        let joined = std::env::join_paths(paths)?;
        Ok(vec![("KUBECONFIG", joined.to_string_lossy().into_owned())])
    };
    for (paths, works, words) in [
        (vec![&absent, &working], true, ""),
        (vec![&working, &absent], true, ""),
        (vec![&empty, &working], true, ""),
        (vec![&working, &other], true, ""),
        (vec![&other, &working], false, "127.0.0.1:1"),
        (vec![&relative], true, ""),
        (vec![&working, &broken], false, "broken"),
        (vec![&broken], false, "broken"),
        (vec![&absent], false, "absent"),
        (vec![&empty], false, "no current-context"),
    ] {
        let ended = ends(&world, &format!("{paths:?}"), &list(&paths)?, works).await?;
        assert_eq!(ended.stderr.contains("no coverage found in"), works, "{paths:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{paths:?}: {ended:?}");
        assert!(!ended.stderr.contains("hunter2"), "{ended:?}");
        if !works && words != "127.0.0.1:1" {
            assert_eq!(ended.code, 2, "{paths:?}: {ended:?}");
        }
    }
    Ok(())
}

/// In a pod, a kubeconfig that cannot be read must not lead to the pod's own cluster. There is no service account here:
/// the message tells which way was taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_of_the_pod_is_for_those_who_name_none() -> Result<()> {
    let world = World::new().await?;
    let in_pod = [("KUBERNETES_SERVICE_HOST", "127.0.0.1"), ("KUBERNETES_SERVICE_PORT", "1")];
    let broken = world.dir().join("broken");
    fs::write(&broken, "contexts: [")?;
    let kube = world.dir().join(".kube");
    let ended = async |kubeconfig: Option<&Path>, context: Option<&str>| {
        let mut command = world.command("podcov-signal", ["--run-id", RUN]);
        command.env("HOME", world.dir()).envs(in_pod).env_remove("KUBECONFIG");
        command.envs(kubeconfig.map(|file| ("KUBECONFIG", file)));
        command.envs(context.map(|context| ("SKAFFOLD_KUBE_CONTEXT", context)));
        run(command).await
    };
    let says = |ended: &Ended, words: &str| {
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains(words), "{ended:?}");
        assert_eq!(ended.stderr.contains("service account"), words == "service account", "{ended:?}");
    };
    says(&ended(None, None).await?, "service account");
    says(&ended(Some(Path::new("")), None).await?, "service account");
    says(&ended(None, Some("prod")).await?, "context \"prod\"");
    says(&ended(Some(&broken), None).await?, "broken: it is not YAML, or not a kubeconfig, line 1");
    says(&ended(Some(&world.dir().join("absent")), None).await?, "absent");
    fs::create_dir(&kube)?;
    fs::write(kube.join("config"), "contexts: 7")?;
    says(&ended(None, None).await?, ".kube/config");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates() -> Result<()> {
    let world = World::new().await?;
    let row = |name: &str| Row::new(&world, name);
    // A server that vouches for itself, may it sign others or not; one whose issuer nobody knows; by its certificate.
    for certificate in [
        SelfSigned::new(&["127.0.0.1"], true)?,
        SelfSigned::new(&["127.0.0.1"], false)?,
        SelfSigned::issued_by_nobody(&["127.0.0.1"])?,
    ] {
        let front = Front::start(&world, certificate).await?;
        row("its own certificate as the authority")
            .cluster("server", front.url())
            .cluster("certificate-authority-data", front.authority())
            .works()
            .await?;
        row("another authority").cluster("server", front.url()).fails(3, "certificate").await?;
        row("anybody")
            .cluster("server", front.url())
            .cluster("insecure-skip-tls-verify", true)
            .cluster("certificate-authority-data", Value::Null)
            .works()
            .await?;
    }

    let front = Front::start(&world, SelfSigned::new(&["cluster.test"], true)?).await?;
    let named = |name: &str| {
        row(name).cluster("server", front.url()).cluster("certificate-authority-data", front.authority())
    };
    named("another name").fails(3, "not accepted").await?;
    named("the right tls-server-name").cluster("tls-server-name", "cluster.test").works().await?;
    named("a wrong tls-server-name")
        .cluster("tls-server-name", "other.test")
        .fails(3, "not accepted")
        .await?;
    named("an authority for anybody")
        .cluster("insecure-skip-tls-verify", true)
        .fails(2, "insecure-skip-tls-verify")
        .await?;

    let expired = Front::start(&world, SelfSigned::expired(&["127.0.0.1"])?).await?;
    row("expired")
        .cluster("server", expired.url())
        .cluster("certificate-authority-data", expired.authority())
        .fails(3, "not accepted")
        .await?;
    row("no authority at all")
        .cluster("certificate-authority-data", STANDARD.encode("x"))
        .fails(2, "certificate-authority")
        .await?;

    // A client certificate of X.509 version 1, which only the server has to understand.
    let front = Front::start(&world, SelfSigned::new(&["127.0.0.1"], true)?).await?;
    let token = Row::new(&world, "").user["token"].clone();
    let of_client = |name: &str, key: &str| {
        let user = json!({
            "token": token,
            "client-certificate-data": STANDARD.encode(include_str!("keys/v1.crt")),
            "client-key-data": STANDARD.encode(key),
        });
        row(name)
            .cluster("server", front.url())
            .cluster("certificate-authority-data", front.authority())
            .user(user)
    };
    of_client("version 1", include_str!("keys/v1.key")).works().await?;
    assert!(front.client_certificates() > 0, "the server was shown the certificate");
    of_client("no key", "x").fails(2, "client-key").await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies() -> Result<()> {
    let world = World::new().await?;
    // Neither Go nor podcov asks a proxy for what is on loopback, unless the kubeconfig names one. 0.0.0.0 is loopback
    // and does not look it.
    let port = world.bed.server_url().rsplit_once(':').context("a port")?.1.to_owned();
    let row = |name: &str| {
        Row::new(&world, name)
            .cluster("server", format!("https://0.0.0.0:{port}"))
            .cluster("tls-server-name", "localhost")
    };
    let proxy = HttpProxy::start(&world, None, None).await?;
    let at = proxy.address();
    let proxied = async |by_proxy: bool, row: Row<'_>| -> Result<()> {
        let (before, name) = (proxy.tunnels(), row.name.clone());
        row.works().await?;
        assert_eq!(proxy.tunnels() > before, by_proxy, "{name}");
        Ok(())
    };
    proxied(false, row("no proxy")).await?;
    proxied(true, row("HTTPS_PROXY").set("HTTPS_PROXY", format!("http://{at}"))).await?;
    proxied(true, row("without a scheme").set("HTTPS_PROXY", &at)).await?;
    proxied(true, row("lower case").set("https_proxy", format!("http://{at}"))).await?;
    proxied(false, row("of another scheme").set("HTTP_PROXY", format!("http://{at}"))).await?;
    for (by_proxy, exceptions) in [
        (true, "127.0.0.1,".to_owned()),
        (true, "127.0.0.0/8, localhost".to_owned()),
        (true, "0.0.0.0:1".to_owned()),
        (true, "example.com".to_owned()),
        (false, " , 0.0.0.0 ,".to_owned()),
        (false, "10.0.0.0/8,0.0.0.0/8".to_owned()),
        (false, format!("0.0.0.0:{port}")),
        (false, "*".to_owned()),
    ] {
        let name = format!("NO_PROXY={exceptions}");
        let both = row(&name).set("HTTPS_PROXY", &at).set("NO_PROXY", &exceptions);
        proxied(by_proxy, both).await?;
    }
    proxied(true, row("proxy-url").cluster("proxy-url", format!("http://{at}")).set("NO_PROXY", "*")).await?;
    let local = Row::new(&world, "loopback by the environment").set("HTTPS_PROXY", &at);
    proxied(false, local).await?;
    let local = Row::new(&world, "loopback by proxy-url").cluster("proxy-url", format!("http://{at}"));
    proxied(true, local).await?;
    proxied(
        true,
        row("a name that only the proxy knows")
            .cluster("server", "https://cluster.invalid")
            .set("HTTPS_PROXY", &at),
    )
    .await?;
    row("no such scheme").cluster("proxy-url", format!("ftp://{at}")).fails(2, "proxy-url").await?;

    let strict = HttpProxy::start(&world, Some("Basic dXNlcjpwQHNz"), None).await?;
    let at = strict.address();
    row("user and password").set("HTTPS_PROXY", format!("http://user:p%40ss@{at}")).works().await?;
    row("a wrong password").set("HTTPS_PROXY", format!("http://user:hunter2@{at}")).fails(3, &at).await?;
    row("no password").cluster("proxy-url", format!("http://{at}")).fails(3, &at).await?;

    let certificate = SelfSigned::new(&["127.0.0.1", "localhost"], true)?;
    let authority = certificate.pem();
    let secure = HttpProxy::start(&world, None, Some(certificate)).await?;
    let of_cluster = row("").cluster["certificate-authority-data"].as_str().map(|data| STANDARD.decode(data));
    let mut authorities = of_cluster.context("data")??;
    authorities.extend(authority.as_bytes());
    row("a proxy with TLS")
        .cluster("certificate-authority-data", STANDARD.encode(authorities))
        .set("HTTPS_PROXY", format!("https://{}", secure.address()))
        .works()
        .await?;
    assert!(secure.tunnels() > 0);

    let socks = SocksProxy::start(&world, None).await?;
    row("socks5").set("HTTPS_PROXY", format!("socks5://{}", socks.address())).works().await?;
    row("socks5 by proxy-url").cluster("proxy-url", format!("socks5://{}", socks.address())).works().await?;
    assert!(socks.tunnels() >= 2);
    let strict = SocksProxy::start(&world, Some(("user", "p@ss"))).await?;
    row("socks5 with a password")
        .set("HTTPS_PROXY", format!("socks5://user:p%40ss@{}", strict.address()))
        .works()
        .await?;
    row("socks5 without")
        .set("HTTPS_PROXY", format!("socks5://{}", strict.address()))
        .fails(3, &strict.address())
        .await?;
    Ok(())
}

/// A credential plugin: a shell script.
fn plugin(world: &World, name: &str, script: &str) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let path = world.dir().join(name);
    fs::write(&path, format!("#!/bin/sh\necho run >>{name}.runs.$RUN_BY\n{script}\n"))?;
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(format!("./{name}"))
}

/// How often a hook has run it; kubectl's runs are not counted.
fn runs(world: &World, name: &str) -> usize {
    fs::read_to_string(world.dir().join(format!("{name}.runs.hook"))).unwrap_or_default().lines().count()
}

fn credential(status: &Value) -> String {
    let credential =
        json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
    format!("cat <<'END'\n{credential}\nEND")
}

fn exec(command: &str) -> Value {
    json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": command, "interactiveMode": "IfAvailable",
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn credential_plugins() -> Result<()> {
    let world = World::new().await?;
    let row = |name: &str, command: &str| Row::new(&world, name).user(exec(command));
    let token = Row::new(&world, "").user["token"].clone();
    let issues_token = credential(&json!({"token": token}));

    let command = plugin(&world, "token", &issues_token)?;
    row("a token", &command).works().await?;
    assert_eq!(runs(&world, "token"), 1, "once a run");

    let told = "echo \"$KUBERNETES_EXEC_INFO\" | grep -q '\"server\":\"https://127' || exit 1";
    let command =
        plugin(&world, "told", &format!("{told}\n[ \"$1 $X\" = 'a b c' ] || exit 1\n{issues_token}"))?;
    let mut user = exec(&command);
    user["exec"]["provideClusterInfo"] = true.into();
    user["exec"]["args"] = json!(["a b"]);
    user["exec"]["env"] = json!([{"name": "X", "value": "c"}]);
    Row::new(&world, "what a plugin is given").user(user).works().await?;

    // Its credential expires at once: it is asked again for each request, as kubectl does it.
    let expired = json!({"token": token, "expirationTimestamp": "2020-01-01T00:00:00Z"});
    let command = plugin(&world, "short", &credential(&expired))?;
    row("an expired token", &command).works().await?;
    assert!(runs(&world, "short") > 1);

    let front = Front::start(&world, SelfSigned::new(&["127.0.0.1"], true)?).await?;
    let certificate = json!({
        "token": token,
        "clientCertificateData": include_str!("keys/v1.crt"), "clientKeyData": include_str!("keys/v1.key"),
    });
    let command = plugin(&world, "certificate", &credential(&certificate))?;
    row("a certificate", &command)
        .cluster("server", front.url())
        .cluster("certificate-authority-data", front.authority())
        .works()
        .await?;
    assert!(front.client_certificates() > 0);

    for (script, words) in [
        (
            "echo one >&2; echo 'log in first' >&2; exit 7",
            "credential plugin failing: it ended with exit code 7: log in first",
        ),
        ("echo '{}'", "it printed no ExecCredential"),
        ("kill -KILL $$", "a signal ended it"),
    ] {
        let command = plugin(&world, "failing", script)?;
        let before = runs(&world, "failing");
        row(script, &command).fails(3, words).await?;
        assert_eq!(runs(&world, "failing") - before, 1, "once a run");
    }
    for (status, words) in [
        (json!({}), "neither a token nor a client certificate"),
        (json!({"clientKeyData": "x"}), "without the other"),
    ] {
        let command = plugin(&world, "incomplete", &credential(&status))?;
        row(words, &command).fails(3, words).await?;
    }
    row("no such program", "./absent").fails(2, "there is no such program").await?;
    let mut user = exec(&plugin(&world, "old", &issues_token)?);
    user["exec"]["apiVersion"] = "client.authentication.k8s.io/v1alpha1".into();
    Row::new(&world, "an old version").user(user).fails(2, "v1alpha1").await?;
    let mut user = exec(&plugin(&world, "asking", &issues_token)?);
    user["exec"]["interactiveMode"] = "Always".into();
    Row::new(&world, "a terminal is needed").user(user).fails(3, "no terminal").await?;
    Ok(())
}

/// Ctrl-C ends a hook whose plugin hangs, and the plugin with all it has started.
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_while_a_plugin_runs() -> Result<()> {
    let world = World::new().await?;
    // As long as the reader of `alive` does not see its end, somebody who has it open for writing lives.
    let command =
        plugin(&world, "hanging", "mkfifo never; exec 3>alive; cat never & echo begun >begun; cat never")?;
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.dir().join("alive"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )?;
    let row = Row::new(&world, "hanging").user(exec(&command));
    let file = world.dir().join("config");
    fs::write(&file, row.config().to_string())?;
    for signal in [Signal::INT, Signal::TERM] {
        let mut hook = world.command("podcov-signal", ["--run-id", RUN]);
        hook.env("KUBECONFIG", &file);
        let running = start(hook)?;
        let path = world.dir().join("alive");
        let alive = tokio::task::spawn_blocking(move || fs_err::read_to_string(path));
        let opened = async {
            while !world.dir().join("begun").exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(120), opened).await?;
        running.signal(signal)?;
        let ended = running.end().await?;
        assert_eq!(ended.code, if signal == Signal::INT { 130 } else { 143 }, "{ended:?}");
        let all_ended = tokio::time::timeout(std::time::Duration::from_secs(120), alive).await;
        all_ended.context("the plugin lives on")???;
        fs::remove_file(world.dir().join("begun"))?;
        fs::remove_file(world.dir().join("never"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server() -> Result<()> {
    let world = World::new().await?;
    let busy = Rule::new(Fault::too_many_requests(1)).verb("list").resource("pods");
    let handle = world.bed.fault(busy.first(1));
    let ended = world.run("podcov-signal", &format!("--run-id {RUN} --request-timeout 60")).await?;
    assert!(ended.stderr.contains("no coverage found in"), "{ended:?}");
    assert_eq!(handle.hits(), 1);

    world.bed.fault(Rule::new(Fault::too_many_requests(3600)).verb("list").resource("pods"));
    let ended = world.run("podcov-signal", &format!("--run-id {RUN} --request-timeout 60")).await?;
    assert_eq!(ended.code, 3, "{ended:?}");
    let words = "is busy (429): it asks to wait 3600s, longer than the 60s that a request may take";
    assert!(ended.stderr.contains(words), "{ended:?}");
    Ok(())
}
