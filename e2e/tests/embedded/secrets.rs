//! Nothing secret is printed: marked secrets in everything that may have some, failures of every kind, all that can be
//! logged.

use std::collections::BTreeMap;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fs_err as fs;
use futures_util::future::try_join_all;
use podcov_e2e::{World, run};
use podcov_testbed::{Fault, Rule};
use serde_json::{Value, json};

use crate::support::{RUN, add_pod_with_a_run};
use crate::ways::{HttpProxy, SocksProxy};

/// No secret here is without it, in plain text, in base64 or percent-encoded.
const MARK: &str = "s3cr3t";

/// What a log must not have: the mark as it is, and as `Authorization: Basic` would have it.
fn leaks(text: &str) -> bool {
    let encoded = [0, 1, 2].map(|shift| {
        // The same bytes at each of the three places in base64's groups, without what depends on the neighbours.
        let padded = STANDARD.encode(format!("{}{MARK}", "x".repeat(shift)));
        padded[if shift == 0 { 0 } else { 4 }..8].to_owned()
    });
    text.contains(MARK) || encoded.iter().any(|part| text.contains(part.as_str()))
}

/// Users of a kubeconfig, each with secrets in another way.
fn users(world: &World) -> Result<Vec<(&'static str, Value)>> {
    use std::os::unix::fs::PermissionsExt;
    fs::write(world.dir().join("token"), format!("{MARK}-token-file\n"))?;
    let plugin = |name: &str, script: &str| -> Result<Value> {
        let path = world.dir().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        Ok(json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": format!("./{name}"), "args": ["login", "--password", format!("{MARK}-argument")],
            "env": [{"name": "CLIENT_SECRET", "value": format!("{MARK}-environment")}],
            "provideClusterInfo": true,
        }}))
    };
    let answer = |status: Value| {
        let version = "client.authentication.k8s.io/v1";
        let credential = json!({"apiVersion": version, "kind": "ExecCredential", "status": status});
        format!("cat <<'END'\n{credential}\nEND")
    };
    Ok(vec![
        ("a token", json!({"token": format!("{MARK}-token")})),
        ("a token that no header may have", json!({"token": format!("{MARK}\u{7}token")})),
        ("a token file", json!({"tokenFile": "token"})),
        ("basic auth", json!({"username": "user", "password": format!("{MARK}-password")})),
        (
            "two ways",
            json!({"token": format!("{MARK}-a"), "username": "user", "password": format!("{MARK}-b")}),
        ),
        (
            "a key that is none",
            json!({
                "client-certificate-data": STANDARD.encode(include_str!("keys/v1.crt")),
                "client-key-data": STANDARD.encode(format!("{MARK}-key")),
            }),
        ),
        (
            "a key that is not base64",
            json!({"client-certificate-data": "!", "client-key-data": format!("!{MARK}")}),
        ),
        (
            "an auth-provider",
            json!({"auth-provider": {"name": "gcp", "config": {
                "access-token": format!("{MARK}-provider"), "cmd-path": "false", "cmd-args": format!("{MARK}-arguments"),
            }}}),
        ),
        (
            "an identity provider",
            json!({"auth-provider": {"name": "oidc", "config": {
                "client-id": "id", "client-secret": format!("{MARK}-oidc"), "refresh-token": format!("{MARK}-refresh"),
                "id-token": format!("{MARK}.{}.x", STANDARD.encode(MARK)), "idp-issuer-url": "https://127.0.0.1:1",
            }}}),
        ),
        ("a plugin's token", plugin("token-plugin", &answer(json!({"token": format!("{MARK}-issued")})))?),
        (
            "a plugin that fails",
            plugin(
                "failing",
                &format!(
                    "echo {MARK}-on-stdout; echo {MARK}-first >&2; echo \"$* $CLIENT_SECRET $PODCOV_TOKEN\" >&2; exit 1"
                ),
            )?,
        ),
        ("a plugin that prints rubbish", plugin("rubbish", &format!("echo '{{\"{MARK}\": {MARK}'"))?),
        (
            "a plugin's odd answer",
            plugin(
                "odd",
                &answer(json!({
                    "token": format!("{MARK}\u{7}issued"), "expirationTimestamp": format!("{MARK}-time"),
                })),
            )?,
        ),
        (
            "a plugin's odd key",
            plugin(
                "odd-key",
                &answer(json!({
                    "clientCertificateData": format!("{MARK}-certificate"), "clientKeyData": format!("{MARK}-key"),
                })),
            )?,
        ),
        ("a plugin of a version that is gone", {
            let mut user = plugin("old", "true")?;
            user["exec"]["apiVersion"] = "client.authentication.k8s.io/v1alpha1".into();
            user
        }),
    ])
}

/// The variables that hold secrets.
fn environment() -> Vec<(&'static str, String)> {
    let key = STANDARD.encode(format!("{MARK}-azure-key"));
    vec![
        ("PODCOV_TOKEN", format!("{MARK}-agent")),
        ("AWS_ACCESS_KEY_ID", "id".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", format!("{MARK}-aws")),
        ("AWS_SESSION_TOKEN", format!("{MARK}-session")),
        ("AWS_REGION", "nowhere".to_owned()),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1".to_owned()),
        ("AZURE_ENDPOINT", "http://127.0.0.1:1".to_owned()),
        ("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1".to_owned()),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account".to_owned()),
        ("AZURE_STORAGE_ACCOUNT_KEY", key.clone()),
        ("AZURE_STORAGE_CONNECTION_STRING", format!("AccountName=account;AccountKey={key};{MARK}")),
        (
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            json!({"private_key": format!("{MARK}-google"), "client_email": "x"}).to_string(),
        ),
    ]
}

/// Runs a hook at each verbosity and looks through what it printed.
async fn keeps_secrets(
    world: &World,
    what: &str,
    hook: &str,
    args: &[&str],
    variables: &[(&str, String)],
) -> Result<()> {
    let levels = [(false, None), (true, None), (true, Some("trace"))].map(async |(verbose, log)| {
        let mut command = world.command(hook, args.iter().chain(verbose.then_some(&"-vvv")));
        // podcov-test's command comes last.
        if verbose && args.contains(&"--") {
            let mut before = vec!["-vvv"];
            before.extend(args);
            command = world.command(hook, before);
        }
        command.env("HOME", world.dir()).envs(environment()).envs(variables.iter().cloned());
        command.envs(log.map(|level| ("RUST_LOG", level)));
        let ended = run(command).await?;
        assert_ne!(ended.code, 0, "{hook}, {what}: it is to fail: {ended:?}");
        assert!(!ended.stderr.is_empty(), "{hook}, {what}");
        for (line, stream) in
            ended.stdout.lines().map(|l| (l, "stdout")).chain(ended.stderr.lines().map(|l| (l, "stderr")))
        {
            assert!(!leaks(line), "{hook} with {args:?}, {what}, {log:?}, prints on {stream}:\n{line}");
        }
        anyhow::Ok(())
    });
    try_join_all(levels).await.map(drop)
}

fn hooks() -> BTreeMap<&'static str, Vec<&'static str>> {
    let limits = ["--request-timeout", "20", "--run-id", RUN];
    BTreeMap::from([
        ("podcov-test", vec!["--request-timeout", "20", "--timeout", "1", "svc/none", "70", "--", "true"]),
        ("podcov-signal", [&limits[..], &["--timeout", "1"]].concat()),
        ("podcov-collect", [&limits[..], &["--tries", "1"]].concat()),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mark_is_found() {
    for text in [
        format!("a{MARK}b"),
        STANDARD.encode(format!("user:{MARK}-password")),
        STANDARD.encode(format!("ab{MARK}-")),
    ] {
        assert!(leaks(&text), "{text}");
    }
    assert!(leaks(&STANDARD.encode(format!("a{MARK}-"))));
    assert!(!leaks("error: the cluster is not reachable"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_user_has() -> Result<()> {
    let world = World::new().await?;
    let working: Value = serde_json::from_str(&fs::read_to_string(world.bed.kubeconfig())?)?;
    let file = world.dir().join("config");
    for (what, user) in users(&world)? {
        let mut config = working.clone();
        config["users"][0]["user"] = user;
        fs::write(&file, config.to_string())?;
        let variables = [("KUBECONFIG", file.display().to_string())];
        for (hook, args) in hooks() {
            keeps_secrets(&world, what, hook, &args, &variables).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn however_the_cluster_fails() -> Result<()> {
    let world = World::new().await?;
    add_pod_with_a_run(&world, "default", "one")?;
    let working: Value = serde_json::from_str(&fs::read_to_string(world.bed.kubeconfig())?)?;
    let file = world.dir().join("config");
    let token = working["users"][0]["user"]["token"].clone();
    let server = world.bed.server_url();
    let host = server.trim_start_matches("https://");
    let http = HttpProxy::start(&world, Some("Basic other"), None).await?.address();
    let socks = SocksProxy::start(&world, Some(("user", "other"))).await?.address();
    let with = |field: &str, value: Value| {
        let mut cluster = working["clusters"][0]["cluster"].clone();
        cluster[field] = value;
        cluster
    };
    let at = |address: String| with("server", address.into());
    let proxied = |proxy: String| with("proxy-url", proxy.into());
    let refused = "127.0.0.1:1";
    let rows = [
        ("refused", at(format!("https://user:{MARK}@{refused}"))),
        ("no such address", at(format!("https://user:{MARK}@{host}:x"))),
        ("no such scheme", at(format!("ftp://user:{MARK}@{host}"))),
        ("no TLS there", at(format!("http://user:{MARK}@{host}"))),
        (
            "another authority",
            with("certificate-authority-data", STANDARD.encode(include_str!("keys/v1.crt")).into()),
        ),
        ("another name", with("tls-server-name", "other.test".into())),
        ("a proxy that is not there", proxied(format!("http://user:{MARK}@{refused}"))),
        ("a proxy that refuses", proxied(format!("http://user:{MARK}@{http}"))),
        ("a SOCKS proxy that refuses", proxied(format!("socks5://user:{MARK}@{socks}"))),
        ("no such proxy", proxied(format!("ftp://user:{MARK}@{host}"))),
        ("no proxy's address", proxied(format!("http://user:{MARK}@{host}:x"))),
    ];
    for (what, cluster) in rows {
        let mut config = working.clone();
        config["clusters"][0]["cluster"] = cluster;
        config["users"][0]["user"] = json!({"token": format!("{MARK}-token")});
        fs::write(&file, config.to_string())?;
        let variables = [("KUBECONFIG", file.display().to_string())];
        for (hook, args) in hooks() {
            keeps_secrets(&world, what, hook, &args, &variables).await?;
        }
    }
    // The token is right, and the server fails.
    let mut config = working.clone();
    config["users"][0]["user"] = json!({"token": token});
    fs::write(&file, config.to_string())?;
    let proxy = ("HTTPS_PROXY", format!("http://user:{MARK}@{http}"));
    let variables = [("KUBECONFIG", file.display().to_string()), proxy];
    for fault in [
        Rule::new(Fault::status(401)),
        Rule::new(Fault::status(403)),
        Rule::new(Fault::status(500)),
        Rule::new(Fault::Close),
        Rule::new(Fault::status(403)).exec(),
    ] {
        let what = format!("{fault:?}");
        let handle = world.bed.fault(fault);
        for (hook, args) in hooks() {
            keeps_secrets(&world, &what, hook, &args, &variables).await?;
        }
        handle.remove();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_read() -> Result<()> {
    let world = World::new().await?;
    let file = world.dir().join("config");
    let variables = [("KUBECONFIG", file.display().to_string())];
    for text in [
        format!("users: [{{name: x, user: {{token: {MARK}}}}}\ncontexts: ["),
        format!("users: {MARK}"),
        format!("users: [{{name: x, user: {MARK}}}]"),
        format!("users: [{{name: x, user: {{token: [{MARK}]}}}}]"),
        format!("users: *{MARK}"),
        format!("users: [{{name: x, user: {{exec: {{env: {MARK}}}}}}}]"),
        format!("\t{MARK}: ["),
        MARK.to_owned(),
    ] {
        fs::write(&file, &text)?;
        for (hook, args) in hooks() {
            keeps_secrets(&world, &text.replace(MARK, "…"), hook, &args, &variables).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_that_cannot_be_read() -> Result<()> {
    let world = World::new().await?;
    let signature = format!("sv=1&sig={MARK}-signature");
    let addresses = [
        "s3://bucket/path".to_owned(),
        format!("s3://user:{MARK}@bucket/path"),
        format!("ftp://user:{MARK}@host/bucket"),
        format!("az://container/path?{signature}"),
        format!("https://account.blob.core.windows.net/container?{signature}"),
        format!("gs://user:{MARK}@bucket/x?key={MARK}"),
        "gs://bucket/x".to_owned(),
    ];
    // All at once: each tries for a minute, for the storage might come back.
    let tries = addresses.iter().flat_map(|address| {
        let collect = ["--from", address].to_vec();
        [("podcov-collect", collect), ("podcov-report", ["percent", "-i", address].to_vec())]
            .map(|(hook, args)| (address.replace(MARK, "…"), hook, args))
    });
    // clap repeats the user's own argument, which the shell's history has too. Nothing else may repeat a secret in it.
    let tries = tries.map(async |(what, hook, args)| keeps_secrets(&world, &what, hook, &args, &[]).await);
    try_join_all(tries).await.map(drop)
}
