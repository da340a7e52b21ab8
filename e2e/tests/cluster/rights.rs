//! The rules in docs/security.md are enough, and nothing more is asked for.

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::RoleBinding;
use podcov_e2e::{Ended, Service, Space, run, top};
use serde_json::json;

/// A kubeconfig of a user who has the rights of docs/security.md, with a change, in the space's namespace, and no other.
pub(crate) async fn restricted(
    space: &Space,
    change: impl Fn(String) -> String,
) -> Result<std::path::PathBuf> {
    let page = fs::read_to_string(top().join("docs/security.md"))?;
    let (_, section) = page.split_once("## RBAC\n").context("docs/security.md has no section RBAC")?;
    let (_, block) = section.split_once("```yaml\n").context("no rules")?;
    let (rules, _) = block.split_once("```").context("no end of the rules")?;
    let file = space.dir().join("role.yaml");
    fs::write(&file, change(rules.to_owned()))?;
    let applied = space.kubectl().arg("apply").arg("-f").arg(&file).output().await?;
    ensure!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));

    space.create::<ServiceAccount>(json!({"metadata": {"name": "tester"}})).await?;
    space
        .create::<RoleBinding>(json!({
            "metadata": {"name": "tester"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "podcov"},
            "subjects": [{"kind": "ServiceAccount", "name": "tester", "namespace": space.name}]
        }))
        .await?;
    let token = space.kubectl().args(["create", "token", "tester"]).output().await?;
    ensure!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    let view = ["config", "view", "--raw", "--minify", "--output=json"];
    let config = space.kubectl().args(view).output().await?;
    let mut config: serde_json::Value = serde_json::from_slice(&config.stdout)?;
    config["users"][0]["user"] = json!({"token": String::from_utf8(token.stdout)?.trim()});
    let file = space.dir().join("restricted.kubeconfig");
    fs::write(&file, serde_json::to_vec(&config)?)?;
    Ok(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rules_are_enough() -> Result<()> {
    let space = Space::new().await?;
    space.deploy(&Service::WRITES).await?;
    let kubeconfig = restricted(&space, |rules| rules).await?;
    let hook = async |hook: &str, line: &str| -> Result<Ended> {
        let mut command = space.command(hook, line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        run(command).await
    };
    for target in ["service/writes 70", "deployment/writes main"] {
        let tested = hook("podcov-test", &format!("{target} -- true")).await?;
        assert_eq!((tested.code, tested.stderr.as_str()), (0, ""), "{tested:?}");
    }
    for name in ["podcov-signal", "podcov-collect"] {
        let ended = hook(name, "").await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    }
    // These rights are of this namespace alone.
    let everywhere = hook("podcov-collect", "-A").await?;
    assert_eq!(everywhere.code, 3, "{everywhere:?}");
    assert!(everywhere.stderr.contains("forbidden"), "{}", everywhere.stderr);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_port_forward_is_forbidden_an_agents_program_is_asked_by_exec() -> Result<()> {
    let space = Space::new().await?;
    let service = Service { tools: Service::WRITES.tools, ..Service::UNDER_AGENT };
    let mut deployment = space.deployment(&service)?;
    let env = deployment["spec"]["template"]["spec"]["containers"][0]["env"].as_array_mut();
    env.context("env")?.push(json!({"name": "PODCOV_RUN", "value": "x"}));
    space.start(&service, deployment).await?;
    let kubeconfig = restricted(&space, |rules| rules.replace(", pods/portforward", "")).await?;
    for (name, line) in
        [("podcov-signal", "--json"), ("podcov-collect", ""), ("podcov-collect", "--signal USR1")]
    {
        let mut command = space.command(name, line.split_whitespace());
        command.env("KUBECONFIG", &kubeconfig);
        let ended = run(command).await?;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{name} {line}: {ended:?}");
        let way = match name {
            "podcov-signal" => serde_json::from_str::<serde_json::Value>(&ended.stdout)?[0]["way"].clone(),
            _ => space.manifest()?["containers"][0]["way"].clone(),
        };
        assert!(way.as_str().is_some_and(|way| way.starts_with("exec")), "{name} {line}: {way}");
    }
    Ok(())
}
