//! `HTTPS_PROXY` and `NO_PROXY` with Go's rules, since that is what everything else in a cluster follows
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>). Upper case first, then lower.

use std::net::IpAddr;

use ureq::Proxy;

use crate::error::{Cause, Error};
use crate::request::environment::Environment;
use crate::request::host::{Host, without_brackets};

/// Which hosts are reached through which proxy.
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
    /// `10.0.0.0/8`: only hosts that are addresses are compared with it, as in Go.
    Network(IpAddr, u32),
    /// `10.1.2.3[:PORT]`
    Address(IpAddr, Option<u16>),
    /// `example.com[:PORT]`: the name and what is below it; `.example.com` and `*.example.com`: only what is below.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl Proxies {
    /// Reads the environment. The value is never printed: it may hold a password.
    pub fn from(env: &Environment) -> Result<Proxies, Error> {
        let either = |upper: &'static str,
                      lower: &'static str|
         -> Result<Option<(&str, &'static str)>, Error> {
            Ok(match env.setting(upper)? {
                Some(value) => Some((value, upper)),
                None => env.setting(lower)?.map(|value| (value, lower)),
            })
        };
        let https = match either("HTTPS_PROXY", "https_proxy")? {
            None => None,
            Some((url, name)) => {
                let refuse = |why: &str| Error::new(Cause::Config, format!("{name}: {why}"));
                let proxy =
                    Proxy::new(url.trim()).map_err(|_| refuse("this is not a proxy's URL"))?;
                if !matches!(
                    proxy.protocol(),
                    ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https
                ) {
                    return Err(refuse("only http:// and https:// proxies can be used"));
                }
                Some(proxy)
            }
        };
        let exceptions = either("NO_PROXY", "no_proxy")?.map(|(list, _)| {
            list.split(',')
                .filter_map(|entry| Exception::parse(entry.trim()))
                .collect()
        });
        Ok(Proxies {
            https,
            exceptions: exceptions.unwrap_or_default(),
        })
    }

    /// The proxy for a host, if it is to be reached through one.
    pub fn for_host(&self, host: &Host) -> Option<Proxy> {
        let bare = without_brackets(&host.name);
        let address: Option<IpAddr> = bare.parse().ok();
        let loopback = bare == "localhost" || address.is_some_and(|address| address.is_loopback());
        let excepted = || {
            self.exceptions
                .iter()
                .any(|exception| exception.covers(bare, address, host.port))
        };
        self.https.clone().filter(|_| !loopback && !excepted())
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Exception> {
        let entry = entry.to_ascii_lowercase();
        if entry.is_empty() {
            return None;
        }
        if entry == "*" {
            return Some(Exception::All);
        }
        if let Some((network, bits)) = entry.split_once('/') {
            let network: IpAddr = network.parse().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(network))?;
            return Some(Exception::Network(network, bits));
        }
        if let Ok(address) = entry.parse() {
            return Some(Exception::Address(address, None));
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) => (name.to_owned(), Some(port.parse().ok()?)),
            None => (entry, None),
        };
        if let Ok(address) = without_brackets(&name).parse() {
            return Some(Exception::Address(address, port));
        }
        let below = name.strip_prefix("*.").or_else(|| name.strip_prefix('.'));
        Some(Exception::Domain {
            itself: below.is_none(),
            name: below.unwrap_or(&name).to_owned(),
            port,
        })
    }

    fn covers(&self, host: &str, address: Option<IpAddr>, port: u16) -> bool {
        match self {
            Exception::All => true,
            Exception::Network(network, bits) => address.is_some_and(|address| {
                let shift = width(*network) - bits;
                let prefix = |address| bits_of(address).checked_shr(shift).unwrap_or(0);
                address.is_ipv4() == network.is_ipv4() && prefix(address) == prefix(*network)
            }),
            Exception::Address(other, only) => {
                address == Some(*other) && only.is_none_or(|only| only == port)
            }
            Exception::Domain {
                name,
                itself,
                port: only,
            } => {
                let below = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.ends_with('.'));
                (below || *itself && host == name) && only.is_none_or(|only| only == port)
            }
        }
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

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    /// Go's own cases: golang.org/x/net/http/httpproxy, proxy_test.go, `UseProxyTests`.
    #[test]
    fn no_proxy_means_what_it_means_in_go() {
        let env = Environment::new(vec![
            OsString::from("https_proxy=http://proxy.example:3128"),
            OsString::from(
                "NO_PROXY=foo.com, .barbaz.net, *.wild.net, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                 2001:db8::52:0:1, [2001:db8::52:0:2]:443, 2002:db8:a::45/64, ports.net:444",
            ),
        ]);
        let proxies = Proxies::from(&env).unwrap();
        for (host, proxied) in [
            ("localhost", false),
            ("127.0.0.1", false),
            ("127.0.0.2", false),
            ("[::1]", false),
            ("[::2]", true),
            ("192.168.1.1", false),
            ("192.168.1.2", true),
            ("192.168.1.2:81", false),
            ("192.168.1.3", true),
            ("10.0.0.2", false),
            ("10.0.0.4", true),
            ("[2001:db8::52:0:1]", false),
            ("[2001:db8::52:0:2]", false),
            ("[2001:db8::52:0:3]", true),
            ("[2002:db8:a::123]", false),
            ("[fe80::424b:c8be:1643:a1b6]", true),
            ("barbaz.net", true),
            ("www.barbaz.net", false),
            ("wild.net", true),
            ("a.wild.net", false),
            ("foobarbaz.net", true),
            ("foo.com", false),
            ("www.foo.com", false),
            ("foofoo.com", true),
            ("ports.net", true),
            ("ports.net:444", false),
        ] {
            let host = Host::parse(host).unwrap();
            assert_eq!(proxies.for_host(&host).is_some(), proxied, "{host}");
        }
    }

    #[test]
    fn a_star_excepts_every_host_and_no_variable_is_no_proxy() {
        let host = Host::parse("kv1.vault.azure.net").unwrap();
        let star = Environment::new(vec!["HTTPS_PROXY=p:1".into(), "no_proxy=*".into()]);
        assert!(Proxies::from(&star).unwrap().for_host(&host).is_none());
        assert!(
            Proxies::from(&Environment::new(vec![]))
                .unwrap()
                .for_host(&host)
                .is_none()
        );
    }
}
