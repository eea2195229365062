//! What `check` finds out about a service without a request: its addresses, a connection, its certificate.

use std::path::Path;
use std::sync::PoisonError;

use rustls::pki_types::{ServerName, UnixTime};

use super::certificate::Certificate;
use super::client::Service;
use super::dns;
pub use super::dns::{NameSource, ResolvedName};
use super::error::{from_lookup, from_ureq};
use super::request::Timeouts;
use super::{tls, verifier};
use crate::error::Error;
use crate::input;
use crate::request::host::without_brackets;

/// The server at the other end of a TLS connection.
#[derive(Debug)]
pub struct Peer {
    /// `TLS 1.2` or `TLS 1.3`.
    pub tls_version: &'static str,
    /// The server's certificate, without the intermediate ones.
    pub certificate: Certificate,
    /// Whether the built-in roots alone suffice to trust the certificate.
    pub is_publicly_trusted: bool,
}

impl Service {
    /// The service's host, with the port if the URL has one.
    pub fn authority(&self) -> &str {
        self.base_url.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// The service's host, without the port.
    pub fn host(&self) -> &str {
        self.connections.origin.host().unwrap_or_default()
    }

    /// The host that connections go to: the proxy's if there is a proxy, otherwise the service's.
    pub fn next_hop(&self) -> &str {
        let proxy = self.proxy().and_then(|proxy| proxy.rsplit_once(':'));
        proxy.map_or(self.host(), |(host, _port)| host)
    }

    /// The proxy as `HOST:PORT`; `None` for direct connections.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Opens a connection and keeps it for the first request. Returns the server if the connection has TLS, otherwise
    /// `None`.
    pub fn probe(&self, timeouts: Timeouts) -> Result<Option<Peer>, Error> {
        self.connections
            .open_early(&self.agent, timeouts.connect)
            .map_err(|error| from_ureq(&error, timeouts, self.proxy.as_deref()))?;
        Ok(self.peer())
    }

    /// The server of the last connection that was opened; `None` if that has no TLS.
    fn peer(&self) -> Option<Peer> {
        let handshake = &self.connections.latest_handshake;
        let handshake = handshake.lock().unwrap_or_else(PoisonError::into_inner);
        let handshake = handshake.as_ref()?;
        let (certificate, intermediates) = handshake.certificates.split_first()?;
        let name = ServerName::try_from(without_brackets(self.host())).ok()?;
        let verified = verifier::verify(
            &tls::built_in_roots(),
            certificate,
            intermediates,
            &name,
            UnixTime::now(),
        );
        Some(Peer {
            tls_version: handshake.tls_version,
            certificate: Certificate::parse(certificate)?,
            is_publicly_trusted: verified.is_ok(),
        })
    }
}

/// The addresses of the name servers in /etc/resolv.conf, separated by spaces.
pub fn name_servers() -> String {
    resolv_conf(&["nameserver"]).join(" ")
}

/// The search list in /etc/resolv.conf: the domains that are appended to a name, separated by spaces. Only the last
/// line with such domains counts.
pub fn search_list() -> String {
    let mut lists = resolv_conf(&["search", "domain"]);
    lists.pop().unwrap_or_default()
}

/// The values of the lines with one of these keywords in /etc/resolv.conf (resolv.conf(5)).
fn resolv_conf(keywords: &[&str]) -> Vec<String> {
    let text = input::read(Path::new("/etc/resolv.conf"), input::MAX_SIZE).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value_of = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let is_match = keywords.contains(&words.next()?);
        is_match.then(|| words.collect::<Vec<_>>().join(" "))
    };
    text.lines().filter_map(value_of).collect()
}

/// Looks up a host in the same way as a connection does.
pub fn resolve(host: &str) -> Result<ResolvedName, Error> {
    dns::look_up(host).map_err(from_lookup)
}
