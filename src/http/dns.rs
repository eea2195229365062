//! Host names to addresses.
//!
//! In Kubernetes `ndots:5` and a search list make one look-up of a vault's name eight queries. So: /etc/hosts for the
//! name as it is, then DNS with a dot at the name's end, which searches nothing, then as written, for names that only
//! a search list completes. A and AAAA are asked one after the other, so that a name server that fails for AAAA does
//! not spoil the response for A, as it does where the C library asks for both at once.

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

/// So many addresses of one name are tried.
const MAX_ADDRESSES: usize = 16;
/// Connections that are opened together ask once; a later try asks again, for the response may have changed.
const REMEMBERED: Duration = Duration::from_secs(1);

type Response = Result<Vec<IpAddr>, LookupError>;

/// The resolver of one service, in as many hands as it takes. The lock is held during a look-up: whoever comes
/// meanwhile wants the same answer.
#[derive(Clone, Default)]
pub struct ServiceResolver {
    /// What is looked up in place of the URL's host.
    instead: Option<Arc<str>>,
    last: Arc<Mutex<Option<(Instant, String, Response)>>>,
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
            .map_err(|error| Error::Other(Box::new(NameError(error))))?;
        let mut resolved = ArrayVec::from_fn(|_| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0));
        for address in found.into_iter().take(MAX_ADDRESSES) {
            resolved.push(SocketAddr::new(address, port));
        }
        Ok(resolved)
    }
}

impl ServiceResolver {
    /// A resolver that leads every name to one host.
    pub fn leading_to(host: &str) -> Self {
        ServiceResolver {
            instead: Some(host.into()),
            ..ServiceResolver::default()
        }
    }

    fn addresses_of(&self, host: &str) -> Response {
        let host = self.instead.as_deref().unwrap_or(host);
        if let Ok(address) = without_brackets(host).parse() {
            return Ok(vec![address]);
        }
        let asked = Instant::now();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, name, response)) = &*last
            && name == host
            // A error only serves those who waited for it: a later try is made to ask again.
            && (*at >= asked || response.is_ok() && at.elapsed() < REMEMBERED)
        {
            return response.clone();
        }
        let (response, _) = look_up(host);
        *last = Some((Instant::now(), host.to_owned(), response.clone()));
        response
    }
}

impl fmt::Debug for ServiceResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceResolver")
    }
}

/// Why a name has no address, as ureq passes it on.
#[derive(Debug)]
pub struct NameError(pub LookupError);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            LookupError::NoSuchName => "the name does not exist in DNS",
            LookupError::NoAnswer => "the name servers do not answer",
        })
    }
}

impl std::error::Error for NameError {}

/// Who knows a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It is an address.
    Literal,
    /// /etc/hosts.
    HostsFile,
    /// DNS, by the name as it is.
    Dns,
    /// DNS, with one of the search list's domains behind it.
    SearchList,
}

/// Looks a name up, or takes it for the address that it is.
pub fn look_up(host: &str) -> (Response, Found) {
    if let Ok(address) = without_brackets(host).parse() {
        return (Ok(vec![address]), Found::Literal);
    }
    let listed = in_hosts_file(
        // Lossy: one odd byte in a comment must not hide the file.
        &String::from_utf8_lossy(&fs::read("/etc/hosts").unwrap_or_default()),
        host,
    );
    if !listed.is_empty() {
        return (Ok(listed), Found::HostsFile);
    }
    match ask_dns(&format!("{host}.")) {
        Err(LookupError::NoSuchName) => (ask_dns(host), Found::SearchList),
        response => (response, Found::Dns),
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

fn ask_dns(name: &str) -> Response {
    let v4 = addresses(name, Family::V4);
    if let Ok(found) = &v4
        && found.iter().any(|address| has_route(*address))
    {
        return v4;
    }
    match (v4, addresses(name, Family::V6)) {
        (Ok(v4), Ok(v6)) => Ok([v6, v4].concat()),
        (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found),
        (Err(LookupError::NoSuchName), Err(LookupError::NoSuchName)) => {
            Err(LookupError::NoSuchName)
        }
        (Err(_), Err(_)) => Err(LookupError::NoAnswer),
    }
}

/// Whether packets to an address could leave: connecting a UDP socket looks the route up and sends nothing.
fn has_route(address: IpAddr) -> bool {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .is_ok_and(|socket| socket.connect((address, 443)).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_is_read_as_the_c_library_reads_it() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 kv1.vault.azure.net\n10.0.0.4\tother KV1.vault.azure.net # x\n\
                    fd00::4 kv1.vault.azure.net\nnonsense kv1.vault.azure.net\n";
        let expected: Vec<IpAddr> = vec!["10.0.0.4".parse().unwrap(), "fd00::4".parse().unwrap()];
        assert_eq!(in_hosts_file(text, "kv1.vault.azure.net"), expected);
        assert_eq!(in_hosts_file(text, "vault.azure.net"), Vec::<IpAddr>::new());
    }
}
