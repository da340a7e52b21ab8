//! What a user writes to name a target and its ports.

use std::fmt;
use std::str::FromStr;

/// The kinds of object that a connection can be forwarded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `service`, `svc`
    Service,
    /// `deployment`, `deploy`
    Deployment,
    /// `statefulset`, `sts`
    StatefulSet,
    /// `replicaset`, `rs`
    ReplicaSet,
    /// `pod`, `po`
    Pod,
}

/// `[ALIAS=][NAMESPACE/]KIND/NAME`, the last two as kubectl takes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetRef {
    /// What the user calls it; else its name serves.
    pub alias: Option<String>,
    /// Its namespace, where it is not the command's.
    pub namespace: Option<String>,
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// A port at the remote end: of the service where the target is one, else of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemotePort {
    /// By number.
    Number(u16),
    /// By the name that the service or the container gives it.
    Name(String),
}

/// `[LOCAL:]REMOTE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortSpec {
    /// The local port; a free one where it is not given.
    pub local: Option<u16>,
    /// The remote port.
    pub remote: RemotePort,
}

impl TargetRef {
    /// What the user calls it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // kubectl also takes `deployment.apps` and `deployments.v1.apps`: the group adds nothing here.
        let plain = text.split('.').next().unwrap_or(text).to_ascii_lowercase();
        match plain.as_str() {
            "service" | "services" | "svc" => Ok(Self::Service),
            "deployment" | "deployments" | "deploy" => Ok(Self::Deployment),
            "statefulset" | "statefulsets" | "sts" => Ok(Self::StatefulSet),
            "replicaset" | "replicasets" | "rs" => Ok(Self::ReplicaSet),
            "pod" | "pods" | "po" => Ok(Self::Pod),
            _ => Err(format!(
                "{text:?} is no kind of target: service, deployment, statefulset, replicaset or pod"
            )),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "service",
            Self::Deployment => "deployment",
            Self::StatefulSet => "statefulset",
            Self::ReplicaSet => "replicaset",
            Self::Pod => "pod",
        })
    }
}

impl FromStr for TargetRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (alias, rest) = match text.split_once('=') {
            Some((alias, rest)) => (Some(alias.to_owned()), rest),
            None => (None, text),
        };
        let parts: Vec<&str> = rest.split('/').collect();
        let (namespace, kind, name) = match parts[..] {
            [kind, name] => (None, kind, name),
            [namespace, kind, name] => (Some(namespace.to_owned()), kind, name),
            _ => return Err(format!("{text:?} is no target: write KIND/NAME, for example service/web")),
        };
        let empty = |part: &Option<String>| part.as_deref() == Some("");
        if name.is_empty() || empty(&alias) || empty(&namespace) {
            return Err(format!("{text:?} is no target: a part of [ALIAS=][NAMESPACE/]KIND/NAME is empty"));
        }
        Ok(Self { alias, namespace, kind: kind.parse()?, name: name.to_owned() })
    }
}

impl FromStr for RemotePort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_name = |t: &str| t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        match text.parse::<u16>() {
            Ok(0) => Err("port 0 cannot be forwarded to".to_owned()),
            Ok(number) => Ok(Self::Number(number)),
            Err(_) if text.bytes().any(|b| b.is_ascii_alphabetic()) && is_name(text) => {
                Ok(Self::Name(text.to_owned()))
            }
            Err(_) => Err(format!("{text:?} is neither a port's number nor its name")),
        }
    }
}

impl fmt::Display for RemotePort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl FromStr for PortSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((local, remote)) = text.split_once(':') else {
            return Ok(Self { local: None, remote: text.parse()? });
        };
        // `:80` means a free port, as in kubectl.
        let local = match local {
            "" | "0" => None,
            _ => {
                Some(local.parse().map_err(|_| format!("{local:?} is no local port: a number up to 65535"))?)
            }
        };
        Ok(Self { local, remote: remote.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> (Option<String>, Option<String>, Kind, String) {
        let t: TargetRef = text.parse().unwrap();
        (t.alias, t.namespace, t.kind, t.name)
    }

    #[test]
    fn targets() {
        let some = |t: &str| Some(t.to_owned());
        assert_eq!(target("svc/web"), (None, None, Kind::Service, "web".into()));
        assert_eq!(target("deployment.apps/web"), (None, None, Kind::Deployment, "web".into()));
        assert_eq!(target("shop/sts/db"), (None, some("shop"), Kind::StatefulSet, "db".into()));
        assert_eq!(target("cart=shop/po/c-1"), (some("cart"), some("shop"), Kind::Pod, "c-1".into()));
        for wrong in ["web", "svc/", "=svc/web", "/svc/web", "job/x", "a/b/c/d", ""] {
            assert!(wrong.parse::<TargetRef>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports() {
        let port = |text: &str| text.parse::<PortSpec>().map(|p| (p.local, p.remote));
        assert_eq!(port("80"), Ok((None, RemotePort::Number(80))));
        assert_eq!(port("8080:http"), Ok((Some(8080), RemotePort::Name("http".into()))));
        assert_eq!(port(":80"), Ok((None, RemotePort::Number(80))));
        for wrong in ["0", "", "70000", "1:2:3", "x y", "99999:80", "a:80", "-1"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }
}
