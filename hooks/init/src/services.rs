//! The services in a project's manifests.

use std::path::{Path, PathBuf};

use fs_err as fs;
use globset::Glob;
use serde_json::Value;

/// The names of kustomize's own files.
const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// What tests can be run against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// As podcov takes it: `service/web`.
    pub(crate) name: String,
    pub(crate) port: String,
}

/// The services of a project's manifests, with each of their ports.
///
/// # Errors
/// Why they are not known.
pub(crate) fn find(config: &Value, folder: &Path) -> Result<Vec<Target>, String> {
    let manifests = &config["manifests"];
    // Up to Skaffold's v2beta29 they are the deployers'.
    let deploy = &config["deploy"];
    if !manifests["helm"].is_null() || !deploy["helm"].is_null() {
        return Err("a Helm chart makes them".to_owned());
    }
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let mut files = Vec::new();
    for path in
        texts(&manifests["kustomize"]["paths"]).into_iter().chain(texts(&deploy["kustomize"]["paths"]))
    {
        kustomize(&folder.join(path), &mut files)?;
    }
    let mut raw = texts(&manifests["rawYaml"]);
    raw.extend(texts(&deploy["kubectl"]["manifests"]));
    if manifests.is_null() && files.is_empty() && raw.is_empty() {
        // As Skaffold has it.
        raw.push("k8s/*.yaml".to_owned());
    }
    for pattern in raw {
        matching(folder, &pattern, &mut files)?;
    }
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let objects: Vec<Value> = serde_saphyr::from_multiple(&text)
            .map_err(|error| format!("{} is no YAML: {error}", file.display()))?;
        found.extend(objects.iter().filter(|object| object["kind"] == "Service").flat_map(targets));
    }
    found.dedup();
    Ok(found)
}

/// A service with each of its ports.
fn targets(service: &Value) -> Vec<Target> {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let ports = service["spec"]["ports"].as_array().into_iter().flatten();
    let ports = ports.filter_map(|port| port["port"].as_u64());
    ports.map(|port| Target { name: format!("service/{name}"), port: port.to_string() }).collect()
}

/// The files of a folder that kustomize renders.
fn kustomize(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let own = KUSTOMIZATIONS.iter().map(|name| folder.join(name)).find(|file| file.is_file());
    let own = own.ok_or_else(|| format!("{} has no kustomization.yaml", folder.display()))?;
    let text = fs::read_to_string(&own).map_err(|error| error.to_string())?;
    let own: Value =
        serde_saphyr::from_str(&text).map_err(|error| format!("{} is no YAML: {error}", own.display()))?;
    for list in ["resources", "bases"] {
        for name in own[list].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let path = folder.join(name);
            if path.is_dir() {
                kustomize(&path, files)?;
            } else if path.is_file() {
                files.push(path);
            } else {
                return Err(format!("{} names {name}, which is no file here", folder.display()));
            }
        }
    }
    if own["namePrefix"].is_string() || own["nameSuffix"].is_string() {
        return Err(format!("kustomize changes their names in {}", folder.display()));
    }
    Ok(())
}

/// The files that a pattern selects, whose folder is named.
fn matching(folder: &Path, pattern: &str, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let (parent, name) = pattern.rsplit_once('/').unwrap_or((".", pattern));
    if parent.contains(['*', '?', '[', '{']) {
        return Err(format!("rawYaml has a pattern of folders: {pattern}"));
    }
    let name = Glob::new(name).map_err(|error| error.to_string())?.compile_matcher();
    let parent = folder.join(parent);
    if !parent.is_dir() {
        return Err(format!("there is no folder {}", parent.display()));
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(&parent).map_err(|error| error.to_string())? {
        let entry = entry.map_err(|error| error.to_string())?;
        if name.is_match(entry.file_name()) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    files.extend(found);
    Ok(())
}
