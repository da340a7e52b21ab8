//! The command line's targets and ports, and the variables that tell the command where they are.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Result, anyhow};
use podcov_cluster::forward::{PortSpec, TargetRef};
use podcov_exit::{Exit, Failure};

/// One port of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target.
    pub target: TargetRef,
    /// The port.
    pub port: PortSpec,
    /// The path whose answer shows that the target is ready.
    pub http: Option<String>,
    /// The variable that holds its address.
    variable: String,
}

/// Reads `TARGET PORT… [TARGET PORT…]…`, and which path to ask of which target.
///
/// # Errors
/// A [`Failure`] with exit code 2 when a word is neither a target nor a port, a target has no port, or a path no target.
pub fn parse(words: &[String], http: &[String]) -> Result<Vec<Route>> {
    let mut targets: Vec<(TargetRef, Vec<PortSpec>)> = Vec::new();
    for word in words {
        match targets.last_mut() {
            // A port never has a slash; a target always has one.
            Some((_, ports)) if !word.contains('/') => ports.push(word.parse().map_err(usage)?),
            _ => targets.push((word.parse().map_err(usage)?, Vec::new())),
        }
    }
    let mut routes = Vec::new();
    for (target, ports) in targets {
        let several = ports.len() > 1;
        if ports.is_empty() {
            return Err(usage(format!(
                "no port for {}/{}: write it after the target, as in service/web 80",
                target.kind, target.name
            )));
        }
        for port in ports {
            let suffix = if several { format!("_{}", port.remote) } else { String::new() };
            let variable = format!("PODCOV_ADDR_{}", variable_name(&format!("{}{suffix}", target.label())));
            routes.push(Route { target: target.clone(), port, http: None, variable });
        }
    }
    for option in http {
        let (label, path) = match option.split_once('=') {
            Some((label, path)) if !label.starts_with('/') => (Some(label), path),
            _ => (None, option.as_str()),
        };
        if !path.starts_with('/') {
            return Err(usage(format!("--http {option}: the path must begin with /")));
        }
        let selected = routes.iter_mut().find(|r| label.is_none_or(|label| r.target.label() == label));
        let why = if label.is_some() { "no target has that name" } else { "there is no target" };
        let route = selected.ok_or_else(|| usage(format!("--http {option}: {why}")))?;
        route.http = Some(path.to_owned());
    }
    Ok(routes)
}

/// The variables for the command.
pub(crate) fn environment(routes: &[Route], addresses: &[SocketAddr]) -> Result<BTreeMap<String, String>> {
    let mut environment = BTreeMap::new();
    for (route, address) in routes.iter().zip(addresses) {
        if environment.insert(route.variable.clone(), address.to_string()).is_some() {
            let both = format!("two targets would both be {}", route.variable);
            return Err(Failure::new(Exit::Usage, both)
                .with_hint("name one of them: alias=service/web 80")
                .into());
        }
    }
    if let Some(first) = addresses.first() {
        environment.insert("PODCOV_ADDR".to_owned(), first.to_string());
    }
    Ok(environment)
}

/// The part of a variable's name that stands for a target: capitals, digits and underscores.
fn variable_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

fn usage(message: String) -> anyhow::Error {
    anyhow!(Failure::new(Exit::Usage, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn variables(line: &str) -> Result<Vec<String>, String> {
        let routes = parse(&words(line), &[]).map_err(|e| e.to_string())?;
        let addresses: Vec<SocketAddr> =
            (0..routes.len()).map(|n| format!("127.0.0.1:{}", 1000 + n).parse().unwrap()).collect();
        let environment = environment(&routes, &addresses).map_err(|e| e.to_string())?;
        Ok(environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
    }

    #[test]
    fn one_target() {
        let expected = ["PODCOV_ADDR=127.0.0.1:1000", "PODCOV_ADDR_MY_WEB=127.0.0.1:1000"];
        assert_eq!(variables("svc/my-web 8080:http").unwrap(), expected);
    }

    #[test]
    fn several_targets_and_ports() {
        let expected = [
            "PODCOV_ADDR=127.0.0.1:1000",
            "PODCOV_ADDR_CART_80=127.0.0.1:1000",
            "PODCOV_ADDR_CART_ADMIN=127.0.0.1:1001",
            "PODCOV_ADDR_DB=127.0.0.1:1002",
        ];
        assert_eq!(variables("shop/svc/cart 80 admin db=sts/postgres 5432").unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let both = "two targets would both be PODCOV_ADDR_WEB";
        assert_eq!(variables("a/svc/web 80 b/svc/web 80").unwrap_err(), both);
        assert!(variables("svc/web").unwrap_err().starts_with("no port for service/web"));
        assert!(variables("svc/web 80 deploy/x").unwrap_err().starts_with("no port for deployment/x"));
        assert!(variables("web 80").unwrap_err().contains("KIND/NAME"));
        assert!(variables("svc/web 99999").is_err());
    }

    #[test]
    fn paths_go_to_their_targets() {
        let paths = |http: &str| {
            let routes = parse(&words("svc/a 80 svc/b 80"), &words(http)).map_err(|e| e.to_string())?;
            Ok::<_, String>(routes.into_iter().map(|r| r.http.unwrap_or_default()).collect::<Vec<_>>())
        };
        assert_eq!(paths("/healthz").unwrap(), ["/healthz", ""]);
        assert_eq!(paths("b=/ok /x?a=b").unwrap(), ["/x?a=b", "/ok"]);
        assert!(paths("c=/ok").is_err());
        assert!(paths("healthz").is_err());
    }
}
