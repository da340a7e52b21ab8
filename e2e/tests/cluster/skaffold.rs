//! The example, as its users run it: `skaffold run --profile coverage`, or the project's own runner where there is
//! no Skaffold.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{Space, go_percent, on_path, program, run, top};

/// The examples as in a clone, and the programs that are built.
pub(crate) fn copy_examples(space: &Space) -> Result<()> {
    let copied = Command::new("cp").arg("-r").arg(top().join("examples")).arg(space.dir()).status()?;
    ensure!(copied.success(), "cp: {copied}");
    let built = fs::canonicalize(program(""))?;
    fs::create_dir(space.dir().join("target"))?;
    fs::os::unix::fs::symlink(built, space.dir().join("target/debug"))?;
    Ok(())
}

/// `skaffold run --profile coverage` in a folder, or the same by what runs its files where Skaffold is not installed; under a
/// wrapper command if one is given.
pub(crate) fn skaffold_command(space: &Space, folder: &Path, wrapper: &[&str]) -> tokio::process::Command {
    let runner = if on_path("skaffold") { "skaffold".into() } else { program("examples/skaffold") };
    let words: Vec<PathBuf> = wrapper.iter().map(PathBuf::from).chain([runner]).collect();
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]).args(["run", "--profile", "coverage", "--namespace", &space.name]);
    command.args(["--kube-context", &space.context, "--default-repo", &space.registry]);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    command
}

/// A folder as a clone's, but for three things: the base image comes from the test's registry, the programs are built
/// already, so that no hook has to build them, and there are as many replicas as asked for.
fn clone(space: &Space, replicas: u32) -> Result<()> {
    copy_examples(space)?;
    let config = fs::read_to_string(top().join("skaffold.yaml"))?;
    let (head, rest) = config.split_once("          before:\n").context("no hook before")?;
    let (_, tail) = rest.split_once("          after:\n").context("no hooks after")?;
    let base = "fromImage: busybox:stable\n";
    ensure!(head.contains(base), "no {base}");
    let head = head.replace(base, &format!("fromImage: {}\n", space.busybox()?));
    fs::write(space.dir().join("skaffold.yaml"), format!("{head}          after:\n{tail}"))?;

    let overlay = space.dir().join("examples/hello/k8s/coverage/kustomization.yaml");
    let text = fs::read_to_string(&overlay)?;
    ensure!(text.contains("count: 2\n"), "no count");
    Ok(fs::write(overlay, text.replace("count: 2\n", &format!("count: {replicas}\n")))?)
}

/// Runs it and compares the coverage of each package with what Go's tools print for the files it leaves.
async fn skaffold_run(replicas: u32) -> Result<()> {
    let space = Space::new().await?;
    clone(&space, replicas)?;
    let ended = run(skaffold_command(&space, space.dir(), &[])).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);

    let manifest = space.manifest()?;
    assert_eq!(manifest["complete"], true);
    let pods = fs::read_dir(space.report(&space.name))?.collect::<Result<Vec<_>, _>>()?;
    assert_eq!(pods.len(), replicas as usize);
    let percent = go_percent(pods.iter().map(|pod| pod.path().join("app")))?;
    assert!(percent.lines().count() > 1, "{percent}");
    podcov_e2e::as_go_says(&ended.stdout, &percent)
}

/// README's own profile, in a project whose program and image have nothing for coverage but the flag; then README's
/// commands, which show both suites.
#[tokio::test(flavor = "multi_thread")]
async fn the_profile_in_the_readme() -> Result<()> {
    let space = Space::new().await?;
    copy_examples(&space)?;
    let folder = space.dir().join("examples/hello");
    let readme = fs::read_to_string(top().join("README.md"))?;
    let (_, recipe) = readme.split_once("```yaml\n").context("README has no profile")?;
    let (profile, after) = recipe.split_once("```").context("no end of the profile")?;
    let mut config = format!(
        "apiVersion: skaffold/v4beta13\nkind: Config\nmetadata: {{name: hello}}\n\
         build: {{artifacts: [{{image: hello, ko: {{}}}}]}}\nmanifests: {{kustomize: {{paths: [k8s/base]}}}}\n{profile}"
    );
    // The images come from the test's registry.
    for (what, with) in [
        ("flags: [-cover]", format!("flags: [-cover]\n            fromImage: {}", space.empty()?)),
        ("[podcov, run, ", format!("[podcov, run, --live-image, \"{}\", ", space.busybox()?)),
    ] {
        ensure!(config.contains(what), "no {what} in {config}");
        config = config.replace(what, &with);
    }
    fs::write(folder.join("skaffold.yaml"), config)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths([program("")].into_iter().chain(std::env::split_paths(&path)))?;
    let mut command = skaffold_command(&space, &folder, &[]);
    // The example's integration tests have a build tag, so that `go test ./...` needs no cluster.
    command.env("PATH", &path).env("GOFLAGS", "-tags=integration");
    let ended = run(command).await?;
    assert_eq!(ended.code, 0, "{}\n{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("2 files of 1 container in reports/coverage"), "{}", ended.stdout);
    let reports = folder.join("reports/coverage").join(&space.name);
    let pods = fs::read_dir(reports)?.collect::<Result<Vec<_>, _>>()?;
    podcov_e2e::as_go_says(&ended.stdout, &go_percent(pods.iter().map(|pod| pod.path().join("app")))?)?;

    let (_, suites) = after.split_once("```toml\n").context("README has no podcov.toml")?;
    let (suites, after) = suites.split_once("```").context("no end of podcov.toml")?;
    fs::write(folder.join("podcov.toml"), suites)?;
    let (_, commands) = after.split_once("```sh\n").context("README has no commands")?;
    let (commands, _) = commands.split_once("```").context("no end of the commands")?;
    let mut shown = String::new();
    for line in commands.lines() {
        let mut command = tokio::process::Command::new("sh");
        command.args(["-ec", line]).current_dir(&folder).env("PATH", &path);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let ended = run(command).await?;
        assert_eq!(ended.code, 0, "{line}\n{}\n{}", ended.stdout, ended.stderr);
        shown += &ended.stdout;
    }
    for expected in [" total    unit  integration\n", " 75.3%   57.0%        66.7%  70 of 93  all packages\n"]
    {
        ensure!(shown.contains(expected), "no {expected:?} in {shown}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_with_1_replica() -> Result<()> {
    skaffold_run(1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_with_20_replicas() -> Result<()> {
    skaffold_run(20).await
}
