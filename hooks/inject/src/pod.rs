//! What a pod lacks for coverage.

use serde_json::Value;

use crate::edit::{Addition, Step, What, Yaml};
use crate::selection::Selection;

/// The name of the volume with the counters, and of the sidecar.
const PODCOV: &str = "podcov";

/// What is added.
#[derive(Debug)]
pub(crate) enum Mode {
    /// GOCOVERDIR, and a folder for it.
    Folder(String),
    /// podcov-agent as a sidecar.
    Sidecar {
        /// Its image.
        image: String,
        /// Where it uploads to.
        storage: Option<String>,
    },
}

/// What was found of a pod.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    /// What it gets.
    pub(crate) additions: Vec<Addition>,
    /// What is left as it is: each the end of a sentence about the workload.
    pub(crate) notes: Vec<String>,
    /// What keeps it from being changed, likewise.
    pub(crate) errors: Vec<String>,
}

/// Tells what a pod's spec lacks. `path` leads to it.
pub(crate) fn lacking(spec: &Value, path: &[Step], mode: &Mode, selection: &mut Selection) -> Lacking {
    let mut lacking = Lacking::default();
    match mode {
        Mode::Folder(dir) => add_folders(spec, path, dir, selection, &mut lacking),
        Mode::Sidecar { image, storage } => {
            add_sidecar(spec, path, image, storage.as_deref(), &mut lacking);
        }
    }
    lacking
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

fn in_spec(path: &[Step], key: &'static str, what: What) -> Addition {
    Addition { path: path.to_vec(), key, what }
}

/// A text as a scalar that is read as this text.
fn scalar(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-:@".contains(c);
    let is_read = || serde_saphyr::from_str::<Value>(text).is_ok_and(|value| value == text);
    if text.chars().all(is_plain) && is_read() { text.to_owned() } else { Value::from(text).to_string() }
}

/// The words of a container's command.
fn words(container: &Value) -> impl Iterator<Item = &str> {
    list(container, "command").iter().chain(list(container, "args")).filter_map(Value::as_str)
}

/// Whether podcov-agent runs in a container, which has a folder of its own.
fn has_agent(container: &Value) -> bool {
    words(container).any(|word| word.rsplit('/').next() == Some("podcov-agent"))
        || list(container, "env").iter().any(|variable| name(variable).starts_with("PODCOV_"))
}

fn is_sidecar(container: &Value) -> bool {
    has_agent(container) && words(container).any(|word| word == "watch")
}

/// The containers that go on as long as the pod, with the steps to each.
fn containers<'a>(spec: &'a Value, path: &[Step]) -> Vec<(&'a Value, Vec<Step>)> {
    let mut all = Vec::new();
    for key in ["initContainers", "containers"] {
        for (number, container) in list(spec, key).iter().enumerate() {
            if key == "containers" || container["restartPolicy"] == "Always" {
                let steps = [Step::Key(key), Step::Item(number)];
                all.push((container, path.iter().copied().chain(steps).collect()));
            }
        }
    }
    all
}

fn add_folders(spec: &Value, path: &[Step], dir: &str, selection: &mut Selection, lacking: &mut Lacking) {
    let mut needs_volume = false;
    for (container, path) in containers(spec, path) {
        let container_name = name(container);
        if is_sidecar(container) || !selection.selects_container(container_name) {
            continue;
        }
        let subject = format!(" container {container_name}");
        if has_agent(container) {
            lacking.notes.push(format!("{subject}: podcov-agent has a folder of its own; left as it is"));
            continue;
        }
        let is_dir = |mount: &&Value| {
            mount["mountPath"].as_str().map(|path| path.trim_end_matches('/'))
                == Some(dir.trim_end_matches('/'))
        };
        let mount = list(container, "volumeMounts").iter().find(is_dir);
        let variable = list(container, "env").iter().rfind(|variable| name(variable) == "GOCOVERDIR");
        let is_ours = mount.is_some_and(|mount| name(mount) == PODCOV);
        match (variable, mount) {
            (Some(variable), _) if variable["value"] == dir && is_ours => continue,
            (Some(variable), _) => {
                let value = variable["value"].as_str();
                let value = value.map_or_else(String::new, |value| format!(" to {value}"));
                lacking.notes.push(format!("{subject}: GOCOVERDIR is set already{value}; left as it is"));
                continue;
            }
            (None, Some(other)) if !is_ours => {
                let other = name(other);
                lacking.errors.push(format!(
                    "{subject}: volume {other} is mounted at {dir}; name another folder with --coverdir"
                ));
                continue;
            }
            (None, _) => {}
        }
        let variable = Yaml::new(format!("name: GOCOVERDIR\nvalue: {}", scalar(dir)));
        lacking.additions.push(Addition { path: path.clone(), key: "env", what: What::Item(variable) });
        if mount.is_none() {
            // Two programs with the same process ID write files of the same names.
            let (dir, sub) = (scalar(dir), scalar(container_name));
            let mount = Yaml::new(format!("name: {PODCOV}\nmountPath: {dir}\nsubPath: {sub}"));
            lacking.additions.push(Addition { path, key: "volumeMounts", what: What::Item(mount) });
        }
        needs_volume = true;
    }
    if needs_volume {
        add_volume(spec, path, lacking);
    }
}

/// An emptyDir can be written by every user, so it takes no fsGroup.
fn add_volume(spec: &Value, path: &[Step], lacking: &mut Lacking) {
    match list(spec, "volumes").iter().find(|volume| name(volume) == PODCOV) {
        None => {
            let volume = Yaml::new(format!("name: {PODCOV}\nemptyDir: {{}}"));
            lacking.additions.push(in_spec(path, "volumes", What::Item(volume)));
        }
        Some(volume) if volume.get("emptyDir").is_some() => {}
        Some(_) => lacking.errors.push(format!(": it has a volume {PODCOV} already, which is no emptyDir")),
    }
}

fn add_sidecar(spec: &Value, path: &[Step], image: &str, storage: Option<&str>, lacking: &mut Lacking) {
    let all = ["initContainers", "containers"].into_iter().flat_map(|key| list(spec, key));
    let mut all = all.collect::<Vec<_>>().into_iter();
    if all.clone().any(is_sidecar) {
        return;
    }
    if all.any(|container| name(container) == PODCOV) {
        lacking
            .errors
            .push(format!(": it has a container {PODCOV} already, which is no sidecar of podcov-agent"));
        return;
    }
    // With the node's processes it sees those of the pod too.
    if spec["hostPID"] != true {
        match &spec["shareProcessNamespace"] {
            Value::Bool(true) => {}
            Value::Null => {
                lacking.additions.push(in_spec(
                    path,
                    "shareProcessNamespace",
                    What::Value(Yaml::new("true")),
                ));
            }
            _ => {
                lacking.errors.push(
                    ": shareProcessNamespace is false, so a sidecar does not see the programs of other containers"
                        .to_owned(),
                );
                return;
            }
        }
    }
    add_volume(spec, path, lacking);
    let sidecar = Yaml::new(sidecar(image, storage));
    lacking.additions.push(in_spec(path, "initContainers", What::Item(sidecar)));
}

/// podcov-agent as a native sidecar, as in examples/sidecar.
fn sidecar(image: &str, storage: Option<&str>) -> String {
    let image = scalar(image);
    let storage = storage
        .map(|address| format!("\n  - name: PODCOV_STORAGE\n    value: {}", scalar(address)))
        .unwrap_or_default();
    format!(
        "name: {PODCOV}
image: {image}
restartPolicy: Always
command: [/podcov-agent, watch, --coverdir=/coverage]
envFrom:
  - configMapRef:
      name: podcov
      optional: true
  - secretRef:
      name: podcov
      optional: true
env:{storage}
  - name: PODCOV_RUN
    valueFrom:
      fieldRef:
        fieldPath: metadata.labels['skaffold.dev/run-id']
  - name: PODCOV_NAMESPACE
    valueFrom:
      fieldRef:
        fieldPath: metadata.namespace
  - name: PODCOV_POD
    valueFrom:
      fieldRef:
        fieldPath: metadata.name
securityContext:
  runAsUser: 0
  runAsNonRoot: false
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
    add: [SYS_PTRACE, DAC_READ_SEARCH]
resources:
  requests:
    cpu: 10m
    memory: 32Mi
volumeMounts:
  - name: {PODCOV}
    mountPath: /coverage"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One form of the sidecar, in the component and here.
    #[test]
    fn the_sidecar_is_that_of_the_example() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/sidecar/component/sidecar.yaml");
        let component: Value = serde_saphyr::from_str(&fs_err::read_to_string(file).unwrap()).unwrap();
        let spec = &component["spec"]["template"]["spec"];
        let own = Yaml::new(sidecar("podcov-agent", None)).value;
        assert_eq!(spec["initContainers"][0], own);
        assert!(is_sidecar(&own));
        let with = Yaml::new(sidecar("podcov-agent", Some("s3://bucket/a b"))).value;
        assert_eq!(with["env"][0]["value"], "s3://bucket/a b");
    }

    #[test]
    fn scalars_are_read_as_they_are() {
        for text in
            ["/cov", "reg:5000/x:tag", "80", "true", "a b", "a: b", "x:", "~", "-", "'x", "1.5", "0x1f"]
        {
            let value: Value = serde_saphyr::from_str(&format!("a: {}", scalar(text))).unwrap();
            assert_eq!(value["a"], *text, "{}", scalar(text));
        }
    }
}
