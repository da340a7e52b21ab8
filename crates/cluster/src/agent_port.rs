//! Where a container's podcov-agent would answer, by the pod's spec.

use k8s_openapi::api::core::v1::{Container as ContainerSpec, PodSpec};
use podcov_control::{CONTROL, ControlAddress, DEFAULT_PORT};

use crate::pod::long_running;

/// A container whose podcov-agent reads the programs of the pod's other containers from their memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Its name.
    pub container: String,
    /// The port of its podcov-agent, on the pod's loopback interface.
    pub port: u16,
}

/// The control endpoint of a podcov-agent in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentPort {
    /// On the pod's loopback interface.
    pub port: u16,
    /// The container's spec mentions it. It may be there without that, as an image's entrypoint.
    pub expected: bool,
    /// What answers there cannot be another container's.
    pub sure: bool,
}

/// The pod's sidecar, if it has one that can see the processes of other containers.
pub(crate) fn sidecar(spec: &PodSpec) -> Option<Sidecar> {
    let container = long_running(spec).find(|container| is_sidecar(container))?;
    let port = agent_port(container)?.port;
    let sees_others = spec.share_process_namespace == Some(true) || spec.host_pid == Some(true);
    sees_others.then(|| Sidecar { container: container.name.clone(), port })
}

/// Whether a container runs `podcov-agent watch`, where the image's entrypoint may be podcov-agent.
pub(crate) fn is_sidecar(container: &ContainerSpec) -> bool {
    let words = words(container);
    match words.iter().position(|word| is_agent(word)) {
        Some(agent) => words.get(agent + 1) == Some(&"watch"),
        None => container.command.is_none() && words.first() == Some(&"watch") && has_variable(container),
    }
}

fn words(container: &ContainerSpec) -> Vec<&str> {
    container.command.iter().chain(&container.args).flatten().map(String::as_str).collect()
}

fn is_agent(word: &str) -> bool {
    word.rsplit('/').next() == Some("podcov-agent")
}

/// Whether a variable tells that podcov-agent is in a container.
fn has_variable(container: &ContainerSpec) -> bool {
    let mut variables = container.env.iter().flatten();
    variables.any(|v| v.name.starts_with("PODCOV_") || v.name == "INTEGCOV_STORAGE")
}

/// Where podcov-agent would answer for a container: it takes the same variable and flag.
pub(crate) fn agent_port(container: &ContainerSpec) -> Option<AgentPort> {
    let variables = || container.env.iter().flatten();
    let words = words(container);
    let named = words.iter().position(|word| is_agent(word));
    // The agent's own flags end at the dashes; after them are the program and its arguments. Where the image's entrypoint
    // is the agent, the container's arguments may begin with flags of it.
    let dashes = words.iter().position(|word| *word == "--");
    let flags = match (named, dashes) {
        (Some(named), Some(dashes)) if named < dashes => &words[named..dashes],
        (Some(named), None) => &words[named..],
        (None, Some(dashes)) => &words[..dashes],
        (None, None) if is_sidecar(container) => &words[..],
        _ => &[],
    };
    let after =
        |flag: &str| flags.iter().position(|word| *word == flag).and_then(|at| flags.get(at + 1).copied());
    let control = flags
        .iter()
        .find_map(|word| word.strip_prefix("--control="))
        .or_else(|| after("--control"))
        .or_else(|| variables().rfind(|v| v.name == CONTROL)?.value.as_deref())
        // What is set and empty is not set, as for the agent.
        .filter(|address| !address.is_empty());
    let port = match control.map(str::parse) {
        Some(Ok(ControlAddress::At(address))) => address.port(),
        // The agent refuses what is no address, and does not start.
        Some(Ok(ControlAddress::Off) | Err(_)) => return None,
        None => DEFAULT_PORT,
    };
    let expected = named.is_some() || has_variable(container);
    Some(AgentPort { port, expected, sure: false })
}

/// Whether one container alone can be what answers on a port: containers of a pod share its addresses.
pub(crate) fn is_sure(spec: &PodSpec, agent: AgentPort) -> bool {
    let same = |other: &AgentPort| other.port == agent.port && (other.expected || !agent.expected);
    long_running(spec).filter_map(agent_port).filter(same).count() == 1
}
