//! Host names to addresses.
//!
//! In Kubernetes, `ndots:5` and a search list make eight queries of one lookup of a vault's name. So the order is:
//! /etc/hosts; DNS with a dot at the name's end, which uses no search list; DNS with the search list. A is queried before
//! AAAA, and not together, since then the C library fails if a name server fails for AAAA only.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::Error;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ArrayVec, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::os::{Family, LookupError, addresses};
use crate::request::host::without_brackets;

/// The number of a name's addresses that are tried.
const MAX_ADDRESSES: usize = 16;
/// Connections that are opened together share one lookup; a later attempt repeats it.
const CACHED: Duration = Duration::from_secs(1);

type Lookup = Result<Vec<IpAddr>, LookupError>;

/// The resolver of one service. The lock is held during a lookup, so that other threads wait for its result.
#[derive(Clone, Default)]
pub struct ServiceResolver {
    /// The host that is looked up instead of the URL's.
    instead: Option<Arc<str>>,
    last: Arc<Mutex<Option<(Instant, String, Lookup)>>>,
}

impl Resolver for ServiceResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or_else(|| Error::BadUri(uri.to_string()))?;
        let port = uri
            .port_u16()
            .unwrap_or(if uri.scheme_str() == Some("http") {
                80
            } else {
                443
            });
        let found = self
            .addresses_of(host)
            .map_err(|error| Error::Other(Box::new(error)))?;
        let mut resolved = ArrayVec::from_fn(|_| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        for address in found.into_iter().take(MAX_ADDRESSES) {
            resolved.push(SocketAddr::new(address, port));
        }
        Ok(resolved)
    }
}

impl ServiceResolver {
    /// A resolver that looks every name up as this host.
    pub fn leading_to(host: &str) -> Self {
        ServiceResolver {
            instead: Some(host.into()),
            ..ServiceResolver::default()
        }
    }

    fn addresses_of(&self, host: &str) -> Lookup {
        let host = self.instead.as_deref().unwrap_or(host);
        if let Ok(address) = without_brackets(host).parse() {
            return Ok(vec![address]);
        }
        let started = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, name, found)) = &*last
            && name == host
            // An error is only shared with the threads that waited for it.
            && (*at >= started || found.is_ok() && at.elapsed() < CACHED)
        {
            return found.clone();
        }
        let (found, _) = look_up(host);
        *last = Some((Instant::now(), host.to_owned(), found.clone()));
        found
    }
}

impl fmt::Debug for ServiceResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceResolver")
    }
}

/// Where a name was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is an address itself.
    Literal,
    /// /etc/hosts.
    HostsFile,
    /// DNS, without the search list.
    Dns,
    /// DNS, with a domain of the search list appended.
    SearchList,
}

/// Looks a name up, or parses it where it is an address.
pub fn look_up(host: &str) -> (Lookup, Found) {
    if let Ok(address) = without_brackets(host).parse() {
        return (Ok(vec![address]), Found::Literal);
    }
    let listed = in_hosts_file(
        // Lossy: a byte that is not UTF-8 in a comment must not hide the file.
        &String::from_utf8_lossy(&fs::read("/etc/hosts").unwrap_or_default()),
        host,
    );
    if !listed.is_empty() {
        return (Ok(listed), Found::HostsFile);
    }
    match query(&format!("{host}.")) {
        Err(LookupError::NoAddress) => (query(host), Found::SearchList),
        found => (found, Found::Dns),
    }
}

/// The addresses that a hosts file (hosts(5)) gives a name.
fn in_hosts_file(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for line in text.lines() {
        let mut words = line
            .split('#')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let address = words.next().and_then(|word| word.parse().ok());
        if let Some(address) = address
            && words.any(|name| name.eq_ignore_ascii_case(host))
        {
            found.push(address);
        }
    }
    found
}

fn query(name: &str) -> Lookup {
    let v4 = addresses(name, Family::V4);
    if let Ok(found) = &v4
        && found.iter().any(|address| has_route(*address))
    {
        return v4;
    }
    match (v4, addresses(name, Family::V6)) {
        (Ok(v4), Ok(v6)) => Ok([v6, v4].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(LookupError::NoAddress), Err(LookupError::NoAddress)) => Err(LookupError::NoAddress),
        (Err(_), Err(_)) => Err(LookupError::NoAnswer),
    }
}

/// Whether there is a route to an address: connecting a UDP socket looks it up and sends nothing.
fn has_route(address: IpAddr) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .is_ok_and(|socket| socket.connect((address, 443)).is_ok())
}
