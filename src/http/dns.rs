//! Looks up the addresses of host names.
//!
//! In Kubernetes, `ndots:5` and a search list turn one lookup of a vault's name into eight queries. So the order is:
//! /etc/hosts; DNS with a dot at the end of the name, which bypasses the search list; DNS with the search list. A is
//! queried before AAAA, not together with it: the C library would fail if a name server fails for AAAA only.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::input;
use crate::os::{AddressFamily, LookupError, look_up_addresses};
use crate::request::host::without_brackets;

/// The maximum number of addresses of a name that are tried.
const MAX_ADDRESSES: usize = 16;
/// The maximum size of /etc/hosts, in bytes. It may contain a list of blocked names, which has megabytes.
const MAX_HOSTS_FILE_SIZE: u64 = 16 << 20;
/// How long the result of a lookup is reused: long enough for connections that are opened together, and not for a
/// later attempt.
const CACHE_LIFETIME: Duration = Duration::from_secs(1);

/// The addresses of a host name.
#[derive(Clone)]
pub struct ResolvedName {
    /// The addresses in the order in which they are tried.
    pub addresses: Vec<IpAddr>,
    /// The source of the addresses.
    pub source: NameSource,
}

/// Where the addresses of a host name come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameSource {
    /// The host name itself, which is an IP address.
    Literal,
    /// The file /etc/hosts.
    HostsFile,
    /// DNS, without the search list.
    Dns,
    /// DNS, with a domain of the search list appended.
    SearchList,
}

/// The time at which a lookup ended, the host name, and the result.
type FinishedLookup = (Instant, String, Result<ResolvedName, LookupError>);

/// The resolver of one service. A lookup holds the lock, so that other threads wait for its result.
#[derive(Clone, Default)]
pub struct ServiceResolver {
    /// The host to look up instead of the one in the URL; `None` if that is to be looked up.
    fixed_host: Option<Arc<str>>,
    latest: Arc<Mutex<Option<FinishedLookup>>>,
}

impl Resolver for ServiceResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or_else(|| Error::BadUri(uri.to_string()))?;
        let name = self
            .look_up_cached(self.fixed_host.as_deref().unwrap_or(host))
            .map_err(|error| Error::Other(Box::new(error)))?;
        let default_port = match uri.scheme_str() {
            Some("http") => 80,
            _ => 443,
        };
        let port = uri.port_u16().unwrap_or(default_port);
        let mut resolved = self.empty();
        for address in name.addresses.into_iter().take(MAX_ADDRESSES) {
            resolved.push(SocketAddr::new(address, port));
        }
        Ok(resolved)
    }
}

impl ServiceResolver {
    /// A resolver that looks up `host`, whatever the URL is.
    pub fn with_fixed_host(host: &str) -> Self {
        ServiceResolver {
            fixed_host: Some(host.into()),
            ..ServiceResolver::default()
        }
    }

    /// The first address that the last lookup found; `None` if there is none, or if another lookup is going on.
    pub fn latest_address(&self) -> Option<IpAddr> {
        let latest = self.latest.try_lock().ok()?;
        let (_, _, result) = latest.as_ref()?;
        result.as_ref().ok()?.addresses.first().copied()
    }

    /// Looks up a host, or returns its last result if that is less than [`CACHE_LIFETIME`] old. An error is returned
    /// again only to threads that waited for it.
    fn look_up_cached(&self, host: &str) -> Result<ResolvedName, LookupError> {
        let started = Instant::now();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((ended, name, result)) = &*latest
            && name == host
            // An error is only shared with the threads that waited for it.
            && (*ended >= started || result.is_ok() && ended.elapsed() < CACHE_LIFETIME)
        {
            return result.clone();
        }
        let result = look_up(host);
        *latest = Some((Instant::now(), host.to_owned(), result.clone()));
        result
    }
}

impl fmt::Debug for ServiceResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceResolver")
    }
}

/// The addresses of a host name; or, if it is an IP address itself, only that.
pub fn look_up(host: &str) -> Result<ResolvedName, LookupError> {
    let (addresses, source) = if let Ok(address) = without_brackets(host).parse() {
        (vec![address], NameSource::Literal)
    } else if let addresses = addresses_in_hosts_file(host)
        && !addresses.is_empty()
    {
        (addresses, NameSource::HostsFile)
    } else {
        match query_dns(&format!("{host}.")) {
            Err(LookupError::NoAddress) => (query_dns(host)?, NameSource::SearchList),
            addresses => (addresses?, NameSource::Dns),
        }
    };
    Ok(ResolvedName { addresses, source })
}

/// The addresses of a host name in /etc/hosts (hosts(5)); empty if the name is not there.
fn addresses_in_hosts_file(host: &str) -> Vec<IpAddr> {
    let text = input::read(Path::new("/etc/hosts"), MAX_HOSTS_FILE_SIZE).unwrap_or_default();
    // Lossy: a byte that is not UTF-8 in a comment must not hide the file.
    parse_hosts_file(&String::from_utf8_lossy(&text), host)
}

/// The addresses of a host name in the text of a hosts file.
pub fn parse_hosts_file(text: &str, host: &str) -> Vec<IpAddr> {
    let address_in = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words
            .any(|name| name.eq_ignore_ascii_case(host))
            .then_some(address)
    };
    text.lines().filter_map(address_in).collect()
}

/// Queries DNS. Returns the IPv4 addresses if this machine has a route to one of them; otherwise the IPv6 addresses,
/// then the IPv4 addresses.
fn query_dns(name: &str) -> Result<Vec<IpAddr>, LookupError> {
    let v4 = look_up_addresses(name, AddressFamily::V4);
    if let Ok(addresses) = &v4
        && addresses.iter().any(|address| has_route(*address))
    {
        return v4;
    }
    match (v4, look_up_addresses(name, AddressFamily::V6)) {
        (Ok(v4), Ok(v6)) => Ok([v6, v4].concat()),
        (Ok(addresses), Err(_)) | (Err(_), Ok(addresses)) => Ok(addresses),
        (Err(LookupError::NoAddress), Err(LookupError::NoAddress)) => Err(LookupError::NoAddress),
        (Err(_), Err(_)) => Err(LookupError::NoAnswer),
    }
}

/// Whether this machine has a route to an address. Connecting a UDP socket looks the route up and sends nothing.
fn has_route(address: IpAddr) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .is_ok_and(|socket| socket.connect((address, 443)).is_ok())
}
