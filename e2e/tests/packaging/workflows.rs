//! The workflows and the GitLab component name only what there is.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::read;

/// The lines of all `run` steps of a job.
fn commands(job: &Value) -> Vec<String> {
    let steps = job["steps"].as_array().into_iter().flatten();
    let runs = steps.filter_map(|step| step["run"].as_str());
    runs.flat_map(str::lines).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_release_workflow_calls_make_targets_and_scripts_that_exist() -> Result<()> {
    let workflow: Value = serde_saphyr::from_str(&read(".github/workflows/release.yml")?)?;
    let makefile = read("Makefile")?;
    let jobs = workflow["jobs"].as_object().context("jobs")?;
    let mut called = BTreeSet::new();
    for (name, job) in jobs {
        for needed in job["needs"].as_array().into_iter().flatten() {
            ensure!(jobs.contains_key(needed.as_str().unwrap_or_default()), "{name} needs {needed}");
        }
        for command in commands(job) {
            let mut words = command.split_whitespace();
            if words.next() != Some("make") {
                continue;
            }
            for word in words.take_while(|word| !word.contains('=')) {
                ensure!(makefile.contains(&format!("\n{word}: ")), "{name}: there is no target {word}");
                called.insert(word.to_owned());
            }
            for (variable, _) in command.split_whitespace().filter_map(|word| word.split_once('=')) {
                ensure!(makefile.contains(&format!("\n{variable} ?= ")), "{name}: nothing reads {variable}");
            }
        }
    }
    let called: Vec<_> = called.iter().map(String::as_str).collect();
    assert_eq!(called, ["archives", "release", "reproduce", "tryout"]);
    Ok(())
}

#[test]
fn the_release_workflow_builds_every_platform_once() -> Result<()> {
    let workflow: Value = serde_saphyr::from_str(&read(".github/workflows/release.yml")?)?;
    let include = &workflow["jobs"]["archives"]["strategy"]["matrix"]["include"];
    let targets =
        include.as_array().context("a matrix")?.iter().filter_map(|entry| entry["targets"].as_str());
    let mut targets: Vec<_> = targets.flat_map(str::split_whitespace).collect();
    targets.sort_unstable();
    let known = read("packaging/src/platform.rs")?;
    let known = known.split("triple: \"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    assert_eq!(targets, known);
    Ok(())
}

#[test]
fn the_gitlab_component_uses_the_inputs_that_it_declares() -> Result<()> {
    let text = read("packaging/gitlab.yml")?;
    let (spec, jobs) = text.split_once("\n---\n").context("two documents")?;
    let spec: Value = serde_saphyr::from_str(spec)?;
    let jobs_read: Value = serde_saphyr::from_str(jobs)?;
    ensure!(jobs_read["coverage"]["script"].is_array(), "{jobs_read}");
    let declared: BTreeSet<_> =
        spec["spec"]["inputs"].as_object().context("inputs")?.keys().cloned().collect();
    let used = jobs.split("$[[ inputs.").skip(1).filter_map(|rest| rest.split(' ').next());
    let used: BTreeSet<_> = used.map(str::to_owned).collect();
    assert_eq!(declared, used);
    Ok(())
}

#[test]
fn cargo_binstall_finds_every_platform() -> Result<()> {
    let manifest: Value = toml::from_str(&read("hooks/podcov/Cargo.toml")?)?;
    let overrides = &manifest["package"]["metadata"]["binstall"]["overrides"];
    let mut names = BTreeSet::new();
    for (triple, place) in overrides.as_object().context("overrides")? {
        let (url, folder) = (place["pkg-url"].as_str(), place["bin-dir"].as_str());
        let name =
            url.and_then(|url| url.rsplit('/').next()?.strip_suffix(".tar.gz")).context("an archive")?;
        ensure!(
            folder.is_some_and(|folder| folder.starts_with(&format!("{name}/bin/"))),
            "{triple}: {place}"
        );
        names.insert(name.replace("podcov-{ version }-", ""));
    }
    let platforms = ["darwin-amd64", "darwin-arm64", "linux-amd64", "linux-arm64", "windows-amd64"];
    assert_eq!(names, platforms.map(str::to_owned).into());
    Ok(())
}

/// The inputs in a block of YAML of the page, below `key`.
fn inputs_in(page: &str, key: &str) -> Result<Vec<String>> {
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.into_iter().find(|block| block.contains(key)).context("an example")?;
    let lines = block.lines().skip_while(|line| line.trim() != key).skip(1);
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = lines.peekable();
    let own = lines.peek().map_or(0, |line| depth(line));
    let keys = lines.filter(|line| depth(line) == own).filter_map(|line| line.trim().split_once(':'));
    Ok(keys.map(|(name, _)| name.to_owned()).collect())
}

#[test]
fn the_page_names_inputs_that_exist() -> Result<()> {
    let page = read("docs/install.md")?;
    let action: Value = serde_saphyr::from_str(&read("action.yml")?)?;
    let gitlab = read("packaging/gitlab.yml")?;
    let component: Value = serde_saphyr::from_str(gitlab.split("\n---\n").next().unwrap_or_default())?;
    for (key, declared) in [("with:", &action["inputs"]), ("inputs:", &component["spec"]["inputs"])] {
        let named = inputs_in(&page, key)?;
        ensure!(named.len() > 2, "only {named:?}");
        for name in named {
            ensure!(declared.get(&name).is_some(), "docs/install.md: there is no input {name}");
        }
    }
    Ok(())
}
