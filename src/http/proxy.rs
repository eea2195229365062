//! `HTTPS_PROXY` and `NO_PROXY` with Go's rules, which other programs in a cluster follow too
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>). Upper case first, then lower.

use std::net::IpAddr;

use ureq::{Proxy, ProxyProtocol};

use crate::error::{Cause, Error};
use crate::request::environment::Environment;
use crate::request::host::{Host, without_brackets};

/// The proxy, and the hosts that are reached without it.
#[derive(Clone)]
pub struct Proxies {
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

/// One entry of `NO_PROXY`.
#[derive(Clone)]
enum Exception {
    /// `*`
    All,
    /// `10.0.0.0/8`, or `10.1.2.3[:PORT]`: only compared with hosts that are addresses, as in Go.
    Network {
        address: IpAddr,
        bits: u32,
        port: Option<u16>,
    },
    /// `example.com[:PORT]`: the name and its subdomains; `.example.com` and `*.example.com`: only its subdomains.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads the environment. The value is never printed: it may contain a password.
    pub fn from(env: &Environment) -> Result<Proxies, Error> {
        let either = |names: [&'static str; 2]| {
            for name in names {
                if let Some(value) = env.setting(name)? {
                    return Ok(Some((name, value)));
                }
            }
            Ok::<_, Error>(None)
        };
        let https = either(["HTTPS_PROXY", "https_proxy"])?
            .map(|(name, url)| {
                let refuse = |reason: &str| Error::new(Cause::Config, format!("{name}: {reason}"));
                let proxy =
                    Proxy::new(url.trim()).map_err(|_| refuse("this is not a proxy's URL"))?;
                match proxy.protocol() {
                    ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
                    _ => Err(refuse("only http:// and https:// proxies can be used")),
                }
            })
            .transpose()?;
        let exceptions = either(["NO_PROXY", "no_proxy"])?.map_or("", |(_, list)| list);
        Ok(Proxies {
            https,
            exceptions: exceptions
                .split(',')
                .filter_map(|entry| Exception::parse(entry.trim()))
                .collect(),
        })
    }

    /// The proxy for a host, if it is reached through one.
    pub fn for_host(&self, host: &Host) -> Option<Proxy> {
        let name = without_brackets(&host.name);
        let address: Option<IpAddr> = name.parse().ok();
        let loopback = name == "localhost" || address.is_some_and(|address| address.is_loopback());
        let mut exceptions = self.exceptions.iter();
        let direct = loopback || exceptions.any(|entry| entry.covers(name, address, host.port));
        self.https.clone().filter(|_| !direct)
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Exception> {
        let entry = entry.to_ascii_lowercase();
        let network = |address, bits, port| Exception::Network {
            address,
            bits,
            port,
        };
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Exception::All);
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address: IpAddr = address.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(network(address, bits, None));
        }
        if let Ok(address) = entry.parse() {
            return Some(network(address, width(address), None));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name, Some(port.parse().ok()?)),
            None => (entry.as_str(), None),
        };
        if let Ok(address) = without_brackets(name).parse() {
            return Some(network(address, width(address), port));
        }
        let parent = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
        Some(Exception::Domain {
            itself: parent.is_none(),
            name: parent.unwrap_or(name).to_owned(),
            port,
        })
    }

    fn covers(&self, host: &str, host_address: Option<IpAddr>, host_port: u16) -> bool {
        let (is_covered, port) = match self {
            Exception::All => (true, &None),
            Exception::Network {
                address,
                bits,
                port,
            } => {
                let shift = width(*address) - bits;
                let prefix = |address| bits_of(address).checked_shr(shift).unwrap_or(0);
                let is_covered = host_address.is_some_and(|host| {
                    host.is_ipv4() == address.is_ipv4() && prefix(host) == prefix(*address)
                });
                (is_covered, port)
            }
            Exception::Domain { name, itself, port } => {
                let rest = host.strip_suffix(name.as_str());
                let is_covered = |rest: &str| rest.ends_with('.') || *itself && rest.is_empty();
                (rest.is_some_and(is_covered), port)
            }
        };
        is_covered && port.is_none_or(|port| port == host_port)
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits_of(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}
