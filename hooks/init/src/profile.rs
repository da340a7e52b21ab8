//! The profile: what is built otherwise, and the hook.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use serde_json::{Map, Value, json};

use crate::args::{Args, usage};
use crate::change::Change;
use crate::dockerfile::{self, ARGUMENT};
use crate::services::Target;

/// The keys of an artifact that are no builder.
const NO_BUILDERS: [&str; 8] =
    ["image", "context", "sync", "requires", "hooks", "platforms", "runtimeType", "docker"];

/// What is to be changed.
pub(crate) struct Plan {
    /// The profile.
    pub(crate) profile: Value,
    /// Changes of Dockerfiles.
    pub(crate) changes: Vec<Change>,
    /// What was left as it is, for a person.
    pub(crate) notes: Vec<String>,
}

/// Plans a profile for a configuration in a folder.
///
/// # Errors
/// A [`podcov_exit::Failure`] that names what is missing.
pub(crate) fn plan(args: &Args, config: &Value, folder: &Path, target: Option<&Target>) -> Result<Plan> {
    let profiles = config["profiles"].as_array().into_iter().flatten();
    if profiles.into_iter().any(|one| one["name"] == args.profile.as_str()) {
        let failure = usage(format!("{} has a profile {} already", args.filename.display(), args.profile));
        return Err(failure.with_hint("name another with --profile").into());
    }
    let (artifacts, changes, notes) = artifacts(args, config, folder)?;
    let deployer = deployer(args, config)?;
    let mut command = vec!["podcov", "run"];
    command.extend(target.iter().flat_map(|target| [target.name.as_str(), target.port.as_str()]));
    command.push("--");
    command.extend(args.command.iter().map(String::as_str));
    let mut deploy = config["deploy"][&deployer].clone();
    if !deploy.is_object() {
        deploy = Value::Object(Map::new());
    }
    let hook = json!({"host": {"command": command}});
    match deploy["hooks"]["after"].as_array_mut() {
        Some(after) => after.push(hook),
        None => deploy["hooks"]["after"] = json!([hook]),
    }
    let profile = json!({
        "name": args.profile,
        "build": {"artifacts": artifacts},
        "deploy": {deployer: deploy},
    });
    Ok(Plan { profile, changes, notes })
}

/// The artifacts, built with `-cover` where that is known to be possible: a profile's list replaces the whole list.
fn artifacts(args: &Args, config: &Value, folder: &Path) -> Result<(Vec<Value>, Vec<Change>, Vec<String>)> {
    let mut artifacts = config["build"]["artifacts"].as_array().cloned().unwrap_or_default();
    let name = |artifact: &Value| artifact["image"].as_str().unwrap_or_default().to_owned();
    let names: Vec<String> = artifacts.iter().map(name).collect();
    if let Some(unknown) = args.artifact.iter().find(|one| !names.contains(one)) {
        return Err(usage(format!("--artifact {unknown}: the artifacts are {}", names.join(", "))).into());
    }
    let (mut changes, mut notes, mut count) = (Vec::new(), Vec::new(), 0);
    for (artifact, image) in artifacts.iter_mut().zip(&names) {
        if !args.artifact.is_empty() && !args.artifact.contains(image) {
            continue;
        }
        match cover(artifact, folder, &mut changes)? {
            None => count += 1,
            Some(why) if args.artifact.is_empty() => {
                notes.push(format!("artifact {image} is left as it is: {why}"));
            }
            Some(why) => {
                return Err(usage(format!("artifact {image} cannot be built with -cover: {why}")).into());
            }
        }
    }
    if count == 0 {
        let notes = if notes.is_empty() { "there is none".to_owned() } else { notes.join("; ") };
        let failure = usage(format!("no artifact can be built with -cover: {notes}"));
        return Err(failure
            .with_hint("add -cover to its `go build` by hand, and a profile as README.md shows")
            .into());
    }
    Ok((artifacts, changes, notes))
}

/// Has an artifact built with `-cover`. Gives why not, if that is not possible.
fn cover(artifact: &mut Value, folder: &Path, changes: &mut Vec<Change>) -> Result<Option<String>> {
    let fields = artifact.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let builder = fields.into_iter().find(|name| !NO_BUILDERS.contains(name)).map(str::to_owned);
    match builder.as_deref() {
        Some("ko") => {
            let mut flags = artifact["ko"]["flags"].as_array().cloned().unwrap_or_default();
            let is_cover =
                |flag: &Value| flag.as_str().is_some_and(|flag| flag == "-cover" || flag == "-cover=true");
            if !flags.iter().any(is_cover) {
                flags.push("-cover".into());
            }
            if !artifact["ko"].is_object() {
                artifact["ko"] = json!({});
            }
            artifact["ko"]["flags"] = flags.into();
            Ok(None)
        }
        Some(other) => Ok(Some(format!("its builder is {other}"))),
        None => {
            let context = artifact["context"].as_str().unwrap_or(".");
            let name = artifact["docker"]["dockerfile"].as_str().unwrap_or("Dockerfile");
            let file = match context {
                "." => folder.join(name),
                context => folder.join(context).join(name),
            };
            let file = file.strip_prefix(".").map(Path::to_owned).unwrap_or(file);
            let before = match fs::read_to_string(&file) {
                Ok(text) => text,
                Err(error) => return Ok(Some(error.to_string())),
            };
            let after = match dockerfile::with_argument(&before) {
                Ok(Some(after)) => after,
                Ok(None) => return Ok(Some(format!("{} runs no `go build`", file.display()))),
                Err(why) => return Ok(Some(format!("{}: {why}", file.display()))),
            };
            if !artifact["docker"].is_object() {
                artifact["docker"] = json!({});
            }
            artifact["docker"]["buildArgs"][ARGUMENT] = "-cover".into();
            // Two artifacts may have one Dockerfile.
            if changes.iter().all(|change: &Change| change.file != file) {
                changes.push(Change { file, before, after });
            }
            Ok(None)
        }
    }
}

/// The deployer whose hooks run the tests.
fn deployer(args: &Args, config: &Value) -> Result<String> {
    let known = ["kubectl", "helm", "kpt"];
    let fields = config["deploy"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    let there: Vec<&str> = fields.into_iter().filter(|name| known.contains(name)).collect();
    match (&args.deployer, &there[..]) {
        (Some(named), _) if known.contains(&named.as_str()) => Ok(named.clone()),
        (Some(named), _) => {
            Err(usage(format!("--deployer {named}: the deployers with hooks are {}", known.join(", ")))
                .into())
        }
        (None, []) => Ok("kubectl".to_owned()),
        (None, [only]) => Ok((*only).to_owned()),
        (None, several) => Err(usage(format!(
            "which deployer's hooks are to run the tests is not known: {}",
            several.join(", ")
        ))
        .with_hint("name one with --deployer")
        .into()),
    }
}
