//! A container's environment and arguments.

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};
use serde_json::Value;

use super::paths::Paths;
use crate::image::Image;

/// The node's name.
pub(crate) const NODE: &str = "testbed-node";

/// The environment: what the manifest says, `PATH`, `HOSTNAME`, and the local ports, which win.
///
/// `PORT` is the local port of the first port declared; `PORT_<NAME>` is that of each named port of the pod.
pub(crate) fn environment(
    pod: &Pod,
    container: &Container,
    paths: &Paths,
    path: &str,
    local_port: impl Fn(u16) -> Option<u16>,
) -> Vec<(String, String)> {
    let mut env = vec![
        ("PATH".to_owned(), path.to_owned()),
        ("HOSTNAME".to_owned(), pod.metadata.name.clone().unwrap_or_default()),
    ];
    for variable in container.env.iter().flatten() {
        if let Some(value) = value_of(variable, pod) {
            // The image's PATH is folders of the host; a manifest's would not lead there.
            if variable.name != "PATH" {
                env.push((variable.name.clone(), paths.apply(&value)));
            }
        }
    }
    let containers =
        pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    for port in containers.flat_map(|container| container.ports.iter().flatten()) {
        let local = u16::try_from(port.container_port).ok().and_then(&local_port);
        if let (Some(name), Some(local)) = (&port.name, local) {
            let name = name.to_ascii_uppercase().replace('-', "_");
            env.push((format!("PORT_{name}"), local.to_string()));
        }
    }
    let first = container.ports.iter().flatten().next().map(|port| port.container_port);
    if let Some(local) = first.and_then(|port| u16::try_from(port).ok()).and_then(local_port) {
        env.push(("PORT".to_owned(), local.to_string()));
    }
    env
}

/// The program and its arguments: the manifest's `command` and `args` over the image's.
pub(crate) fn command(container: &Container, image: &Image, paths: &Paths) -> (String, Vec<String>) {
    let of_manifest = |list: &Option<Vec<String>>| {
        list.as_ref().map(|list| list.iter().map(|one| paths.apply(one)).collect::<Vec<_>>())
    };
    let args = of_manifest(&container.args);
    match of_manifest(&container.command) {
        Some(mut command) if !command.is_empty() => {
            let program = command.remove(0);
            command.extend(args.unwrap_or_default());
            (program, command)
        }
        _ => (
            image.program.to_string_lossy().into_owned(),
            args.unwrap_or_else(|| image.args.iter().map(|one| paths.apply(one)).collect()),
        ),
    }
}

fn value_of(variable: &EnvVar, pod: &Pod) -> Option<String> {
    if variable.value.is_some() {
        return variable.value.clone();
    }
    let Some(source) = &variable.value_from else { return Some(String::new()) };
    let path = source.field_ref.as_ref()?.field_path.as_str();
    match path {
        "spec.nodeName" => return Some(NODE.to_owned()),
        // Where the processes can really be reached.
        "status.podIP" | "status.hostIP" => return Some("127.0.0.1".to_owned()),
        _ => {}
    }
    let pod = serde_json::to_value(pod).ok()?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    match path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        Some((map, key)) => {
            Some(text(pod.pointer(&format!("/{}", map.replace('.', "/"))).and_then(|map| map.get(key))))
        }
        None => Some(text(pod.pointer(&format!("/{}", path.replace('.', "/"))))),
    }
}
