//! `HTTPS_PROXY` and `NO_PROXY` with Go's rules, which other programs in a cluster follow too
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>). Upper case first, then lower.

use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use crate::error::Error;
use crate::request::environment::Environment;
use crate::request::host::{Host, without_brackets};

/// The proxy, and the hosts that are reached without it.
#[derive(Clone)]
pub struct Proxies {
    https: Option<Proxy>,
    no_proxy: String,
}

impl Proxies {
    /// Reads the environment. The value is never printed: it may contain a password.
    pub fn from(env: &Environment) -> Result<Proxies, Error> {
        let either = |upper: &'static str, lower: &'static str| match env.setting(upper)? {
            Some(value) => Ok(Some((upper, value))),
            None => Ok::<_, Error>(env.setting(lower)?.map(|value| (lower, value))),
        };
        let proxy = |(name, url): (&str, &str)| {
            let refuse = |reason: &str| Error::config(format!("{name}: {reason}"));
            let proxy =
                Proxy::new(url.trim()).map_err(|_| refuse("expected the URL of a proxy"))?;
            match proxy.protocol() {
                ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
                _ => Err(refuse("only http:// and https:// proxies can be used")),
            }
        };
        let https = either("HTTPS_PROXY", "https_proxy")?
            .map(proxy)
            .transpose()?;
        let no_proxy = either("NO_PROXY", "no_proxy")?.map_or("", |(_, list)| list);
        Ok(Proxies {
            https,
            no_proxy: no_proxy.to_ascii_lowercase(),
        })
    }

    /// The proxy for a host, if it is reached through one.
    pub fn for_host(&self, host: &Host) -> Option<Proxy> {
        let address: Option<IpAddr> = without_brackets(&host.name).parse().ok();
        let is_direct = host.name == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self
                .no_proxy
                .split(',')
                .any(|entry| covers(entry.trim(), host, address));
        self.https.clone().filter(|_| !is_direct)
    }
}

/// Whether an entry of `NO_PROXY` covers a host. `*` covers every host; `10.0.0.0/8` and `10.1.2.3[:PORT]` cover hosts
/// that are addresses; `example.com[:PORT]` covers the name and its subdomains, `.example.com` and `*.example.com` only
/// the subdomains.
fn covers(entry: &str, host: &Host, address: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, bits)) = entry.split_once('/') {
        return match (address, network.parse(), bits.parse()) {
            (Some(address), Ok(network), Ok(bits)) => is_in_network(address, network, bits),
            _ => false,
        };
    }
    let (name, port) = match entry.rsplit_once(':') {
        Some((name, port)) if entry.parse::<IpAddr>().is_err() => (name, port.parse().ok()),
        _ => (entry, Some(host.port)),
    };
    if port != Some(host.port) {
        return false;
    }
    if let Ok(other) = without_brackets(name).parse() {
        return address == Some(other);
    }
    let parent = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
    match host.name.strip_suffix(parent.unwrap_or(name)) {
        Some("") => parent.is_none(),
        Some(rest) => rest.ends_with('.'),
        None => false,
    }
}

/// Whether the first bits of two addresses are the same.
fn is_in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (different, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(u32::from(address) ^ u32::from(network)), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (u128::from(address) ^ u128::from(network), 128)
        }
        _ => return false,
    };
    bits <= width && different.checked_shr(width - bits).unwrap_or(0) == 0
}
