//! Which proxy leads to the cluster: the kubeconfig's `proxy-url`, else the environment's, read as Go's
//! `golang.org/x/net/http/httpproxy` reads it, which kubectl uses.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use url::{Host, Url};

use crate::Error;

/// A proxy on the way to the cluster. Its user and password are never printed.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) protocol: Protocol,
    /// Its address, without user and password.
    pub(crate) address: Uri,
    credentials: Option<(String, String)>,
}

/// How the proxy is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// CONNECT over plain TCP.
    Http,
    /// CONNECT over TLS.
    Https,
    /// SOCKS version 5; the proxy resolves the cluster's name.
    Socks5,
}

impl Proxy {
    /// The user and password for SOCKS.
    pub(crate) fn credentials(&self) -> Option<(String, String)> {
        self.credentials.clone()
    }

    /// The value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.credentials.as_ref()?;
        let encoded = STANDARD.encode(format!("{user}:{password}"));
        let mut value = HeaderValue::try_from(format!("Basic {encoded}")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address.to_string().trim_end_matches('/'))
    }
}

/// The proxy for a cluster's address; `None` is a direct connection. `proxy_url` is the kubeconfig's, which no
/// `NO_PROXY` overrides; `variable` gives the environment's variables.
///
/// # Errors
/// [`Error::Proxy`] for an address that is none, or a protocol that is not known.
pub(crate) fn proxy_for(
    server: &Url,
    proxy_url: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, Error> {
    if let Some(proxy) = proxy_url.filter(|proxy| !proxy.is_empty()) {
        return parse(proxy, "proxy-url in the kubeconfig").map(Some);
    }
    let names = match server.scheme() {
        "https" => ["HTTPS_PROXY", "https_proxy"],
        _ => ["HTTP_PROXY", "http_proxy"],
    };
    let Some((name, proxy)) = first_set(names, variable) else { return Ok(None) };
    let exceptions = first_set(["NO_PROXY", "no_proxy"], variable).map(|(_, list)| list).unwrap_or_default();
    if goes_direct(server, &exceptions) { Ok(None) } else { parse(&proxy, name).map(Some) }
}

fn first_set(
    names: [&'static str; 2],
    variable: &dyn Fn(&str) -> Option<String>,
) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
}

fn parse(proxy: &str, source: &str) -> Result<Proxy, Error> {
    // Without a scheme, as `host:3128`, it is an HTTP proxy.
    let with_scheme = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    let url = Url::parse(&with_scheme).map_err(|_| {
        Error::Proxy(format!("{source} is not an address such as http://proxy.example.com:3128"))
    })?;
    let (protocol, scheme, port) = match url.scheme() {
        "http" => (Protocol::Http, "http", 80),
        "https" => (Protocol::Https, "https", 443),
        "socks5" | "socks5h" => (Protocol::Socks5, "socks5", 1080),
        other => {
            let why = format!("{source} has the scheme {other:?}, and must have http, https or socks5");
            return Err(Error::Proxy(why));
        }
    };
    let host = url.host_str().unwrap_or_default();
    let port = url.port().unwrap_or(port);
    let address = format!("{scheme}://{host}:{port}").parse::<Uri>();
    let address = address.map_err(|_| Error::Proxy(format!("{source} has no usable host")))?;
    let credentials = (!url.username().is_empty() || url.password().is_some())
        .then(|| (decode(url.username()), decode(url.password().unwrap_or_default())));
    Ok(Proxy { protocol, address, credentials })
}

/// Percent-decodes a user or a password; what is no escape stays.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                decoded.extend(u8::try_from(high * 16 + low));
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// Whether `NO_PROXY`, or that it is on this machine, excepts the cluster's address from the environment's proxy.
fn goes_direct(server: &Url, exceptions: &str) -> bool {
    let port = server.port_or_known_default().unwrap_or_default();
    let (host, ip) = match server.host() {
        Some(Host::Domain(name)) => (name.to_ascii_lowercase(), None),
        Some(Host::Ipv4(ip)) => (ip.to_string(), Some(IpAddr::V4(ip))),
        Some(Host::Ipv6(ip)) => (ip.to_string(), Some(IpAddr::V6(ip))),
        None => return true,
    };
    if host == "localhost" || ip.is_some_and(|ip| ip.to_canonical().is_loopback()) {
        return true;
    }
    exceptions.split(',').map(|entry| entry.trim().to_ascii_lowercase()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some((network, bits)) = cidr(&entry) {
            return ip.is_some_and(|ip| contains(network, bits, ip));
        }
        let (name, wanted_port) = split_port(&entry);
        if !(wanted_port.is_empty() || wanted_port == port.to_string()) {
            return false;
        }
        match (name.parse::<IpAddr>(), ip) {
            (Ok(excepted), Some(ip)) => excepted.to_canonical() == ip.to_canonical(),
            (Err(_), None) => is_domain(name, &host),
            _ => false,
        }
    })
}

/// Whether a host is one that an entry of `NO_PROXY` means: `foo.com` means itself and what ends in `.foo.com`,
/// `.foo.com` and `*.foo.com` mean the latter alone.
fn is_domain(entry: &str, host: &str) -> bool {
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    match entry.strip_prefix('.') {
        _ if entry.is_empty() => false,
        Some(_) => host.ends_with(entry),
        None => host.strip_suffix(entry).is_some_and(|before| before.is_empty() || before.ends_with('.')),
    }
}

/// `host:port`, `[IPv6]:port`, or a host alone.
fn split_port(entry: &str) -> (&str, &str) {
    if let Some((host, rest)) = entry.strip_prefix('[').and_then(|entry| entry.split_once(']')) {
        return (host, rest.strip_prefix(':').unwrap_or_default());
    }
    match entry.split_once(':') {
        // More than one colon is an IPv6 address.
        Some((host, port)) if !port.contains(':') => (host, port),
        _ => (entry, ""),
    }
}

fn cidr(entry: &str) -> Option<(IpAddr, u32)> {
    let (network, bits) = entry.split_once('/')?;
    let (network, bits): (IpAddr, u32) = (network.parse().ok()?, bits.parse().ok()?);
    (bits <= if network.is_ipv4() { 32 } else { 128 }).then_some((network, bits))
}

fn contains(network: IpAddr, bits: u32, ip: IpAddr) -> bool {
    // Both as IPv6; an IPv4 address is the last 32 bits there.
    let number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let ip = ip.to_canonical();
    let host_bits = if network.is_ipv4() { 32 - bits } else { 128 - bits };
    network.is_ipv4() == ip.is_ipv4()
        && number(network).checked_shr(host_bits) == number(ip).checked_shr(host_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(server: &str, exceptions: &str) -> bool {
        goes_direct(&Url::parse(server).unwrap(), exceptions)
    }

    #[test]
    fn no_proxy_as_gos_httpproxy_reads_it() {
        // The rows are those of golang.org/x/net/http/httpproxy's TestUseProxy, and kubectl's common ones.
        let list = "foobar.com, .barbaz.net, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                    2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, *.star.org,,";
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("127.0.0.2", true),
            ("[::1]", true),
            ("[::2]", false),
            ("192.168.1.1", true),
            ("192.168.1.2", false),
            ("192.168.1.3", true),
            ("192.168.1.4", false),
            ("10.0.0.2", true),
            ("10.0.0.8", false),
            ("[2001:db8::52:0:1]", true),
            ("[2001:db8::52:0:2]", false),
            ("[2001:db8::52:0:3]", true),
            ("[2002:db8:a::123]", true),
            ("[2002:db8:a:1::123]", false),
            ("www.barbaz.net", true),
            ("barbaz.net", false),
            ("foobar.com", true),
            ("www.foobar.com", true),
            ("foofoobar.com", false),
            ("baz.com", false),
            ("localhost.net", false),
            ("local.localhost", false),
            ("a.star.org", true),
            ("star.org", false),
        ] {
            assert_eq!(direct(&format!("http://{host}"), list), expected, "{host}");
        }
        for (exceptions, expected) in [
            ("", false),
            (",", false),
            ("*", true),
            ("x, *", true),
            ("0.0.0.0/0", false),
            ("cluster.example.com:6443", true),
            ("cluster.example.com:443", false),
            ("EXAMPLE.com", true),
            (":6443", false),
            ("10.0.0.0/33", false),
        ] {
            assert_eq!(direct("https://cluster.example.com:6443", exceptions), expected, "{exceptions}");
        }
        assert!(direct("https://10.1.2.3:6443", "10.0.0.0/8"));
        assert!(direct("https://10.1.2.3:6443", "0.0.0.0/0"));
        assert!(!direct("https://10.1.2.3:6443", "::/0"));
        assert!(direct("https://10.1.2.3:6443", "10.1.2.3:6443"));
    }

    fn found(
        server: &str,
        proxy_url: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<Proxy>, Error> {
        let get = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        proxy_for(&Url::parse(server).unwrap(), proxy_url, &get)
    }

    #[test]
    fn which_variable_counts() {
        let server = "https://c.example.com";
        let at = |url, variables: &[_]| found(server, url, variables).unwrap().map(|proxy| proxy.to_string());
        assert_eq!(at(None, &[("HTTP_PROXY", "http://p:1")]), None);
        assert_eq!(at(None, &[("ALL_PROXY", "http://p:1")]), None);
        assert_eq!(at(None, &[("HTTPS_PROXY", "p:3128")]).unwrap(), "http://p:3128");
        assert_eq!(at(None, &[("HTTPS_PROXY", "10.0.0.1:3128")]).unwrap(), "http://10.0.0.1:3128");
        assert_eq!(at(None, &[("HTTPS_PROXY", ""), ("https_proxy", "https://p")]).unwrap(), "https://p:443");
        assert_eq!(at(None, &[("HTTPS_PROXY", "socks5://p")]).unwrap(), "socks5://p:1080");
        assert_eq!(at(None, &[("HTTPS_PROXY", "http://p"), ("no_proxy", "example.com")]), None);
        assert_eq!(
            at(None, &[("HTTPS_PROXY", "http://c.example.com"), ("NO_PROXY", "p")]).unwrap(),
            "http://c.example.com:80"
        );
        // The kubeconfig's own proxy overrides the environment, exceptions and all.
        assert_eq!(
            at(Some("http://k:2"), &[("HTTPS_PROXY", "p:1"), ("NO_PROXY", "*")]).unwrap(),
            "http://k:2"
        );
        assert_eq!(at(Some(""), &[("HTTPS_PROXY", "p:1")]).unwrap(), "http://p:1");
        let local = found("https://127.0.0.1:6443", Some("http://k:2"), &[]).unwrap();
        assert_eq!(local.unwrap().to_string(), "http://k:2");
    }

    #[test]
    fn credentials_are_decoded_and_not_printed() {
        let proxy = parse("http://user:p%40ss%3Aword%@p:1", "x").unwrap();
        assert_eq!(proxy.to_string(), "http://p:1");
        assert_eq!(proxy.credentials().unwrap(), ("user".to_owned(), "p@ss:word%".to_owned()));
        let header = proxy.authorization().unwrap();
        assert_eq!(header, "Basic dXNlcjpwQHNzOndvcmQl");
        assert!(header.is_sensitive());
        assert!(parse("http://p:1", "x").unwrap().authorization().is_none());
    }

    #[test]
    fn what_is_no_proxy_is_named_without_its_secrets() {
        for proxy in
            ["ftp://user:hunter2@p:1", "http://user:hunter2@p:99999", "user:hunter2@p:99999", "http://"]
        {
            let error = parse(proxy, "HTTPS_PROXY").err().unwrap().to_string();
            assert!(error.contains("HTTPS_PROXY") && !error.contains("hunter2"), "{error}");
        }
    }
}
