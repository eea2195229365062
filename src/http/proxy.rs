//! `HTTPS_PROXY` and `NO_PROXY` with Go's rules, which other programs in a cluster follow too
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>). Upper case first, then lower.

use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use crate::error::Error;
use crate::request::environment::Environment;
use crate::request::host::{Host, without_brackets};

/// The proxy, and the hosts that are reached without it.
#[derive(Clone)]
pub struct ProxySettings {
    /// The proxy that `HTTPS_PROXY` names; `None` if it is not set.
    proxy: Option<Proxy>,
    /// The value of `NO_PROXY` in lower case.
    no_proxy: String,
}

impl ProxySettings {
    /// Reads `HTTPS_PROXY` and `NO_PROXY`. Errors never show the value of `HTTPS_PROXY`: it may contain a password.
    pub fn from_env(env: &Environment) -> Result<ProxySettings, Error> {
        let first_set = |upper: &'static str, lower: &'static str| match env.setting(upper)? {
            Some(value) => Ok(Some((upper, value))),
            None => Ok::<_, Error>(env.setting(lower)?.map(|value| (lower, value))),
        };
        let parse_proxy = |(name, url): (&str, &str)| {
            let config_error = |reason: &str| Error::config(format!("{name}: {reason}"));
            let proxy = Proxy::new(url).map_err(|_| config_error("expected the URL of a proxy"))?;
            match proxy.protocol() {
                ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
                _ => Err(config_error(
                    "only http:// and https:// proxies can be used",
                )),
            }
        };
        let proxy = first_set("HTTPS_PROXY", "https_proxy")?
            .map(parse_proxy)
            .transpose()?;
        let no_proxy = first_set("NO_PROXY", "no_proxy")?.map_or("", |(_, list)| list);
        Ok(ProxySettings {
            proxy,
            no_proxy: no_proxy.to_ascii_lowercase(),
        })
    }

    /// The proxy for connections to a host; `None` if they are direct.
    pub fn proxy_for(&self, host: &Host) -> Option<Proxy> {
        let address: Option<IpAddr> = without_brackets(&host.name).parse().ok();
        let is_direct = host.name == "localhost"
            || address.is_some_and(|address| address.is_loopback())
            || self
                .no_proxy
                .split(',')
                .any(|entry| covers(entry.trim(), host, address));
        self.proxy.clone().filter(|_| !is_direct)
    }
}

/// Whether an entry of `NO_PROXY` covers a host. `address` is the host as an IP address, `None` if it is a name. `*`
/// covers every host; `10.0.0.0/8` and `10.1.2.3[:PORT]` cover IP addresses; `example.com[:PORT]` covers the name and
/// its subdomains; `.example.com` and `*.example.com` cover only the subdomains.
fn covers(entry: &str, host: &Host, address: Option<IpAddr>) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((network, prefix_len)) = entry.split_once('/') {
        return match (address, network.parse(), prefix_len.parse()) {
            (Some(address), Ok(network), Ok(prefix_len)) => {
                is_in_network(address, network, prefix_len)
            }
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
    if let Ok(listed) = without_brackets(name).parse() {
        return address == Some(listed);
    }
    let parent_domain = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
    match host.name.strip_suffix(parent_domain.unwrap_or(name)) {
        Some("") => parent_domain.is_none(),
        Some(prefix) => prefix.ends_with('.'),
        None => false,
    }
}

/// Whether the first `prefix_len` bits of two addresses are the same.
fn is_in_network(address: IpAddr, network: IpAddr, prefix_len: u32) -> bool {
    let (differing_bits, address_len) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(u32::from(address) ^ u32::from(network)), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => {
            (u128::from(address) ^ u128::from(network), 128)
        }
        _ => return false,
    };
    prefix_len <= address_len
        && differing_bits
            .checked_shr(address_len - prefix_len)
            .unwrap_or(0)
            == 0
}
