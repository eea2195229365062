//! What `check` finds out about a service without a request: addresses, connections, certificates.

use std::fs;
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
use crate::request::host::without_brackets;

/// The server of a TLS connection.
#[derive(Debug)]
pub struct Peer {
    /// As in `TLS 1.3`.
    pub tls_version: &'static str,
    /// Its own certificate.
    pub certificate: Certificate,
    /// Whether the built-in roots alone trust it.
    pub is_publicly_trusted: bool,
}

impl Service {
    /// Its host, and its port where the URL has one.
    pub fn authority(&self) -> &str {
        self.base.split_once("://").map_or("", |(_, rest)| rest)
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.connections.origin.host().unwrap_or_default()
    }

    /// The host of the next connection: the proxy, where there is one.
    pub fn next_hop(&self) -> &str {
        let proxy = self.proxy().and_then(|proxy| proxy.rsplit_once(':'));
        proxy.map_or(self.host(), |(host, _port)| host)
    }

    /// The proxy, as host and port.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Opens a connection and keeps it for the first request. Returns the server, if the connection has TLS.
    pub fn probe(&self, timeouts: Timeouts) -> Result<Option<Peer>, Error> {
        self.connections
            .open_early(&self.agent, timeouts.connect)
            .map_err(|error| from_ureq(&error, timeouts, self.proxy.as_deref()))?;
        Ok(self.peer())
    }

    fn peer(&self) -> Option<Peer> {
        let handshake = &self.connections.handshake;
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

/// The addresses of the name servers, separated by spaces.
pub fn name_servers() -> String {
    resolv_conf(&["nameserver"]).join(" ")
}

/// The domains that are appended to a name, separated by spaces: of several lines the last one counts.
pub fn search_list() -> String {
    let mut lists = resolv_conf(&["search", "domain"]);
    lists.pop().unwrap_or_default()
}

/// The values of these keywords in /etc/resolv.conf (resolv.conf(5)).
fn resolv_conf(keywords: &[&str]) -> Vec<String> {
    let text = fs::read("/etc/resolv.conf").unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let value_of = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let is_one = keywords.contains(&words.next()?);
        is_one.then(|| words.collect::<Vec<_>>().join(" "))
    };
    text.lines().filter_map(value_of).collect()
}

/// Looks a host up as a connection would.
pub fn resolve(host: &str) -> Result<ResolvedName, Error> {
    dns::look_up(host).map_err(from_lookup)
}
