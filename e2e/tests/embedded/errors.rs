//! What can be wrong before anything begins: one clear line, the right exit code, nothing left behind.

use anyhow::Result;
use podcov_e2e::{Ended, ReservedPort, World, run, start};
use podcov_testbed::{Fault, KubeconfigOptions, Rule};
use rustix::process::Signal;

use crate::support::*;

/// Each hook with arguments that would do, were the cluster as it should be.
fn hooks(cluster: &str) -> [(&'static str, String); 3] {
    [
        ("podcov-test", format!("{cluster} svc/writes 70 -- true")),
        ("podcov-signal", format!("{cluster} --run-id {RUN}")),
        ("podcov-collect", format!("{cluster} --run-id {RUN}")),
    ]
}

/// One line that says it, perhaps one with a hint, and that is all.
fn says(hook: &str, ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, code, "{hook}: {ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert!(lines[0].starts_with(&format!("{hook}: error: ")), "{hook}: {ended:?}");
    assert!(lines[0].contains(words), "{hook}: {ended:?}");
    assert!(lines.len() == 1 || lines.len() == 2 && lines[1].contains("hint: "), "{hook}: {ended:?}");
    assert_eq!(ended.stdout, "", "{hook}");
}

async fn all_say(world: &World, cluster: &str, code: i32, words: &str) -> Result<()> {
    for (hook, line) in hooks(cluster) {
        says(hook, &world.run(hook, &line).await?, code, words);
    }
    assert!(!world.dir().join("reports").exists());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_context() -> Result<()> {
    let world = World::new().await?;
    let words = "context \"nowhere\" is not in the kubeconfig (it has: testbed)";
    all_say(&world, "--context nowhere", 2, words).await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_kubeconfig() -> Result<()> {
    let world = World::new().await?;
    for (hook, line) in hooks("") {
        let mut command = world.command(hook, line.split_whitespace());
        command.env("KUBECONFIG", world.dir().join("nothing-here"));
        says(hook, &run(command).await?, 2, "nothing-here");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_namespace() -> Result<()> {
    let world = World::new().await?;
    for (hook, line) in hooks("-n nowhere") {
        let words = if hook == "podcov-test" {
            "service/writes in namespace nowhere not found"
        } else {
            "namespace \"nowhere\" not found"
        };
        says(hook, &world.run(hook, &line).await?, 3, words);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_pods() -> Result<()> {
    let world = World::new().await?;
    for hook in ["podcov-signal", "podcov-collect"] {
        let ended = world.run(hook, &format!("--run-id {RUN}")).await?;
        says(
            hook,
            &ended,
            4,
            &format!("no coverage found in pods with label skaffold.dev/run-id={RUN} in namespace default"),
        );
        says(hook, &world.run(hook, "").await?, 2, "no pods are selected");
    }
    let ended = world.run("podcov-test", "svc/none 80 -- true").await?;
    says("podcov-test", &ended, 3, "service/none in namespace default not found");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_live_pods() -> Result<()> {
    let world = World::new().await?;
    world.bed.apply("{apiVersion: v1, kind: Service, metadata: {name: s}, spec: {selector: {app: x}, ports: [{port: 80}]}}")?;
    let ended = world.run("podcov-test", "--timeout 2 svc/s 80 -- true").await?;
    says("podcov-test", &ended, 3, "no pod took a connection within 2s: there are no pods");
    let ended = world.run("podcov-test", "svc/s 81 -- true").await?;
    says("podcov-test", &ended, 3, "service/s in namespace default has no port 81; it has: 80");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_credentials() -> Result<()> {
    let world = World::new().await?;
    let options = KubeconfigOptions { token: Some("expired".into()), ..KubeconfigOptions::default() };
    let kubeconfig = world.bed.write_kubeconfig(&options)?;
    for (hook, line) in hooks("") {
        let mut command = world.command(hook, line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        says(hook, &run(command).await?, 3, "Unauthorized (401)");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_rights() -> Result<()> {
    let world = World::new().await?;
    world.bed.fault(Rule::new(Fault::status(403)));
    all_say(&world, "", 3, "(403)").await
}

#[tokio::test(flavor = "multi_thread")]
async fn one_namespace_that_forbids_listing() -> Result<()> {
    let world = World::new().await?;
    for namespace in ["open", "shut"] {
        world.bed.apply(&format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {namespace}}}}}"))?;
        add_pod_with_a_run(&world, namespace, "one")?;
    }
    world.bed.fault(Rule::new(Fault::status(403)).verb("list").resource("pods").namespace("shut"));
    let ended = world.run("podcov-collect", &format!("--run-id {RUN} -n open,shut,absent")).await?;
    assert_eq!(ended.code, 4, "{ended:?}");
    for words in ["error: namespace shut: ", "(403)", "error: namespace absent: "] {
        assert!(ended.stderr.contains(words), "{ended:?}");
    }
    assert!(world.files("reports/coverage")?.iter().any(|file| file.starts_with("open/one/app/")));
    let manifest = world.manifest()?;
    assert_eq!(manifest["complete"], false);
    assert!(manifest["losses"].to_string().contains("namespace shut"), "{manifest}");
    // podcov-signal: the others are signalled, and the loss shows.
    let ended = world.run("podcov-signal", &format!("--run-id {RUN} -n open,shut --timeout 1")).await?;
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.stderr.contains("error: namespace shut: "), "{ended:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers() -> Result<()> {
    let world = World::new().await?;
    // It takes connections and says nothing: not even TLS gets anywhere.
    let options = KubeconfigOptions { server: Some(world.bed.offline()?), ..KubeconfigOptions::default() };
    let kubeconfig = world.bed.write_kubeconfig(&options)?;
    for (hook, line) in hooks("--request-timeout 0.3") {
        let mut command = world.command(hook, line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        says(hook, &run(command).await?, 3, "did not answer within 0.3s");
    }
    // It takes requests and never answers.
    world.bed.fault(Rule::new(Fault::Hang));
    all_say(&world, "--request-timeout 0.3", 3, "did not answer within 0.3s").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there() -> Result<()> {
    let world = World::new().await?;
    let port = ReservedPort::new()?;
    let options = KubeconfigOptions {
        server: Some(format!("https://127.0.0.1:{}", port.number)),
        ..KubeconfigOptions::default()
    };
    let kubeconfig = world.bed.write_kubeconfig(&options)?;
    for (hook, line) in hooks("") {
        let mut command = world.command(hook, line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        says(hook, &run(command).await?, 3, "cannot reach the cluster at https://127.0.0.1:");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_port_in_use() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.port();
    let ended = world.run("podcov-test", &format!("svc/writes {port}:70 -- true")).await?;
    says("podcov-test", &ended, 2, &format!("cannot listen on 127.0.0.1:{port}: "));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_cannot_be_run() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    let ended = world.run("podcov-test", "svc/writes 70 -- no-such-command-here").await?;
    says("podcov-test", &ended, 127, "no-such-command-here: command not found");
    let ended = world.run("podcov-test", "svc/writes 70 -- /etc/hostname").await?;
    says("podcov-test", &ended, 126, "/etc/hostname: cannot be run: ");
    for (command, code) in
        [("true", 0), ("false", 1), ("sh -c exit${IFS}42", 42), ("sh -c kill${IFS}-9${IFS}$$", 137)]
    {
        assert_eq!(world.run("podcov-test", &format!("svc/writes 70 -- {command}")).await?.code, code);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_at_any_moment() -> Result<()> {
    let world = World::new().await?;
    deploy(&world, &WRITES).await?;
    add_pod_with_a_run(&world, "default", "one")?;
    // While connecting, while listing or looking up, while in the pod: each hangs until the signal comes.
    let moments = [
        Rule::new(Fault::Hang),
        Rule::new(Fault::Hang).resource("pods"),
        Rule::new(Fault::Hang).exec(),
        Rule::new(Fault::Hang).resource("pods/portforward"),
    ];
    for (moment, rule) in moments.into_iter().enumerate() {
        for (hook, line) in hooks("") {
            if (hook == "podcov-test") == (moment == 2) || (moment == 3 && hook != "podcov-test") {
                continue;
            }
            let hang = world.bed.fault(rule.clone());
            let running = start(world.command(hook, line.split_whitespace()))?;
            hang.hit().await;
            running.signal(Signal::INT)?;
            let ended = running.end().await?;
            assert_eq!(ended.code, 130, "{hook} at moment {moment}: {ended:?}");
            hang.remove();
        }
    }
    assert!(world.files("reports")?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_use() -> Result<()> {
    let world = World::new().await?;
    for (hook, line) in [
        ("podcov-test", ""),
        ("podcov-test", "svc/x -- true"),
        ("podcov-test", "x 80 -- true"),
        ("podcov-test", "svc/x 80"),
        ("podcov-test", "svc/x 80 --http nowhere -- true"),
        ("podcov-test", "--timeout 0 svc/x 80 -- true"),
        ("podcov-signal", "--signal ;reboot"),
        ("podcov-signal", "--parallel 0"),
        ("podcov-collect", "--tries x"),
    ] {
        let ended = world.run(hook, line).await?;
        assert_eq!(ended.code, 2, "{hook} {line}: {ended:?}");
        assert!(!ended.stderr.is_empty());
    }
    Ok(())
}
