//! From a target's name to the pods behind it and the port on them, as kubectl resolves it
//! (`kubectl/pkg/polymorphichelpers`, `kubectl/pkg/util/service_port.go`).

use std::fmt;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;
use kube::core::Selector;
use serde::de::DeserializeOwned;

use super::{Kind, RemotePort, TargetRef};
use crate::{Cluster, Error, PodSet, Pods};

/// The pods behind a target.
pub(super) struct Backend {
    /// The target as messages name it: `service/web in namespace shop`.
    name: String,
    pub(super) namespace: String,
    /// A live one is ready too, unless the user asked for it by name.
    pub(super) pods: Pods,
    /// A service's ports; the pod's own count where the target is no service.
    service: Option<ServiceSpec>,
}

impl Backend {
    pub(super) async fn look_up(
        cluster: &Cluster,
        target: &TargetRef,
        default_namespace: &str,
    ) -> Result<Self, Error> {
        let namespace = target.namespace.clone().unwrap_or_else(|| default_namespace.to_owned());
        let name = format!("{}/{} in namespace {namespace}", target.kind, target.name);
        let none = || Error::NotFound(format!("{name} selects no pods: it has no selector"));
        let mut service = None;
        let by_labels = |selector: LabelSelector| {
            let selector = Selector::try_from(selector)
                .map_err(|e| Error::NotFound(format!("{name} has a selector that is not valid: {e}")))?;
            Ok::<_, Error>(Pods::Labelled(selector.to_string()))
        };
        let pods = match target.kind {
            Kind::Service => {
                let spec = get::<Service>(cluster, &namespace, target, &name).await?.spec.unwrap_or_default();
                let labels = spec.selector.clone().filter(|s| !s.is_empty()).ok_or_else(none)?;
                service = Some(spec);
                Pods::Labelled(labels.into_iter().collect::<Selector>().to_string())
            }
            Kind::Deployment => {
                let spec = get::<Deployment>(cluster, &namespace, target, &name).await?.spec;
                by_labels(spec.ok_or_else(none)?.selector)?
            }
            Kind::StatefulSet => {
                let spec = get::<StatefulSet>(cluster, &namespace, target, &name).await?.spec;
                by_labels(spec.ok_or_else(none)?.selector)?
            }
            Kind::ReplicaSet => {
                let spec = get::<ReplicaSet>(cluster, &namespace, target, &name).await?.spec;
                by_labels(spec.ok_or_else(none)?.selector)?
            }
            Kind::Pod => {
                get::<Pod>(cluster, &namespace, target, &name).await?;
                Pods::Named(target.name.clone())
            }
        };
        Ok(Self { name, namespace, pods, service })
    }

    /// Its pods.
    pub(super) fn pod_set(&self) -> PodSet {
        PodSet { namespace: Some(self.namespace.clone()), pods: self.pods.clone() }
    }

    /// Checks what can be known of the port before there is a pod.
    pub(super) fn check_port(&self, remote: &RemotePort) -> Result<(), Error> {
        self.service.as_ref().map_or(Ok(()), |service| self.service_port(service, remote).map(drop))
    }

    /// The port on this pod.
    pub(super) fn port_on(&self, pod: &Pod, remote: &RemotePort) -> Result<u16, Error> {
        let Some(service) = &self.service else {
            return match remote {
                RemotePort::Number(number) => Ok(*number),
                RemotePort::Name(name) => self.container_port(pod, name),
            };
        };
        let port = self.service_port(service, remote)?;
        let own = |number: i32| {
            u16::try_from(number).map_err(|_| Error::NotFound(format!("{} has a port {number}", self.name)))
        };
        // A headless service maps nothing: its clients talk to the pods themselves.
        if service.cluster_ip.as_deref() == Some("None") {
            return own(port.port);
        }
        match &port.target_port {
            None | Some(IntOrString::Int(0)) => own(port.port),
            Some(IntOrString::Int(number)) => own(*number),
            Some(IntOrString::String(name)) => self.container_port(pod, name),
        }
    }

    fn service_port<'a>(
        &self,
        service: &'a ServiceSpec,
        remote: &RemotePort,
    ) -> Result<&'a ServicePort, Error> {
        let ports = service.ports.as_deref().unwrap_or_default();
        let is_remote = |port: &&ServicePort| match remote {
            RemotePort::Number(number) => port.port == i32::from(*number),
            RemotePort::Name(name) => port.name.as_ref() == Some(name),
        };
        ports.iter().find(is_remote).ok_or_else(|| {
            let known = ports.iter().map(|p| match &p.name {
                Some(name) => format!("{} ({name})", p.port),
                None => p.port.to_string(),
            });
            let known: Vec<_> = known.collect();
            Error::NotFound(format!("{} has no port {remote}; it has: {}", self.name, known.join(", ")))
        })
    }

    fn container_port(&self, pod: &Pod, name: &str) -> Result<u16, Error> {
        let containers =
            pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
        let port = containers
            .flat_map(|c| c.ports.iter().flatten())
            .find(|p| p.name.as_deref() == Some(name))
            .and_then(|p| u16::try_from(p.container_port).ok());
        port.ok_or_else(|| {
            Error::NotFound(format!(
                "pod {}/{} has no container port named {name}",
                self.namespace,
                pod.name_any()
            ))
        })
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

async fn get<K>(cluster: &Cluster, namespace: &str, target: &TargetRef, name: &str) -> Result<K, Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let found =
        cluster.ask(&format!("reading {name}"), cluster.api::<K>(namespace).get_opt(&target.name)).await?;
    found.ok_or_else(|| Error::NotFound(format!("{name} not found in context {}", cluster.context())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn backend(service: serde_json::Value) -> Backend {
        Backend {
            name: "service/web in namespace shop".into(),
            namespace: "shop".into(),
            pods: Pods::Named("x".into()),
            service: serde_json::from_value(service).unwrap(),
        }
    }

    fn pod() -> Pod {
        let ports =
            json!([{"containerPort": 9000, "name": "admin"}, {"containerPort": 8080, "name": "http"}]);
        let spec = json!({"containers": [{"name": "a"}, {"name": "b", "ports": ports}]});
        serde_json::from_value(json!({"metadata": {"name": "web-1"}, "spec": spec})).unwrap()
    }

    fn port(backend: &Backend, remote: &str) -> Result<u16, String> {
        backend.port_on(&pod(), &remote.parse().unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_service_maps_its_ports() {
        let web = backend(json!({"ports": [
            {"port": 80, "name": "web", "targetPort": "http"},
            {"port": 81, "name": "other", "targetPort": 9000},
            {"port": 82, "name": "same"},
            {"port": 83, "name": "gone", "targetPort": "nowhere"}]}));
        assert_eq!(port(&web, "80"), Ok(8080));
        assert_eq!(port(&web, "web"), Ok(8080));
        assert_eq!(port(&web, "81"), Ok(9000));
        assert_eq!(port(&web, "same"), Ok(82));
        assert_eq!(port(&web, "83"), Err("pod shop/web-1 has no container port named nowhere".into()));
        let known = "80 (web), 81 (other), 82 (same), 83 (gone)";
        assert_eq!(
            port(&web, "8080"),
            Err(format!("service/web in namespace shop has no port 8080; it has: {known}"))
        );
    }

    #[test]
    fn a_headless_service_maps_nothing() {
        let web = backend(json!({"clusterIP": "None", "ports": [{"port": 80, "targetPort": 8080}]}));
        assert_eq!(port(&web, "80"), Ok(80));
    }

    #[test]
    fn a_pods_ports_by_number_and_name() {
        let web = backend(json!(null));
        assert_eq!(port(&web, "1234"), Ok(1234));
        assert_eq!(port(&web, "admin"), Ok(9000));
        assert!(port(&web, "nowhere").is_err());
    }
}
