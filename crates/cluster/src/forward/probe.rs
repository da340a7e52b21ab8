//! What a kubelet has already found out: that a port takes connections.

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::live::is_ready;

/// Whether the pod is ready and one of its readiness probes asks at this very port.
pub(super) fn shows(pod: &Pod, port: u16) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    is_ready(pod)
        && containers.into_iter().any(|container| {
            container.readiness_probe.as_ref().and_then(|probe| asked_at(probe, container))
                == Some(port.into())
        })
}

fn asked_at(probe: &Probe, container: &Container) -> Option<i32> {
    let port = match (&probe.http_get, &probe.tcp_socket, &probe.grpc) {
        (Some(http), _, _) => &http.port,
        (_, Some(tcp), _) => &tcp.port,
        (_, _, Some(grpc)) => return Some(grpc.port),
        _ => return None,
    };
    match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            ports.into_iter().find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(ready: &str, probe: &Value) -> Pod {
        serde_json::from_value(json!({
            "spec": {"containers": [
                {"name": "other"},
                {"name": "app", "ports": [{"name": "main", "containerPort": 70}], "readinessProbe": probe}
            ]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_ready_pod_is_asked_at_its_probes_port() {
        let probes = [
            json!({"httpGet": {"port": "main"}}),
            json!({"tcpSocket": {"port": 70}}),
            json!({"grpc": {"port": 70}}),
        ];
        for probe in &probes {
            assert!(shows(&pod("True", probe), 70), "{probe}");
            assert!(!shows(&pod("True", probe), 71), "{probe}");
            assert!(!shows(&pod("False", probe), 70), "{probe}");
        }
        assert!(!shows(&pod("True", &json!({"exec": {"command": ["true"]}})), 70));
        assert!(!shows(&pod("True", &Value::Null), 70));
    }
}
