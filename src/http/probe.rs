//! What `check` learns of a service without sending it a request: addresses, connections, certificates.

use std::fs;
use std::net::IpAddr;
use std::sync::PoisonError;

use rustls::pki_types::{ServerName, UnixTime};
use ureq::http::uri::Scheme;

use super::certificate::Certificate;
use super::client::Service;
use super::dns;
pub use super::dns::Found;
use super::error::{AttemptError, from_lookup, from_ureq};
use super::request::Timeouts;
use super::{tls, verifier};
use crate::request::host::{Host, without_brackets};

/// The addresses of a name.
pub struct Resolved {
    /// In the order in which they are tried.
    pub addresses: Vec<IpAddr>,
    /// Where they were found.
    pub found: Found,
}

/// The server of a TLS connection.
#[derive(Debug)]
pub struct Peer {
    /// As in `TLS 1.3`.
    pub version: &'static str,
    /// Its own certificate.
    pub certificate: Certificate,
    /// Whether the built-in roots alone trust it.
    pub is_public: bool,
}

impl Service {
    /// The host and the port of the next connection: the proxy's, where there is one.
    pub fn next_hop(&self) -> Option<Host> {
        match &self.proxy {
            Some(proxy) => Host::parse(proxy).ok(),
            None => self.host(),
        }
    }

    /// The service's own host and port.
    pub fn host(&self) -> Option<Host> {
        let origin = &self.connections.origin;
        let port = origin.port_u16().unwrap_or(match self.is_tls() {
            true => 443,
            false => 80,
        });
        Host::parse(&format!("{}:{port}", origin.host()?)).ok()
    }

    /// Whether its URL is https.
    pub fn is_tls(&self) -> bool {
        self.connections.origin.scheme() == Some(&Scheme::HTTPS)
    }

    /// The proxy, as host and port.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Opens a connection and keeps it for the first request. With TLS: the server.
    pub fn probe(&self, timeouts: Timeouts) -> Result<Option<Peer>, AttemptError> {
        self.connections
            .open_early(&self.agent, timeouts.connect)
            .map_err(|error| from_ureq(&error, timeouts, self.proxy.as_deref()))?;
        Ok(self.peer())
    }

    fn peer(&self) -> Option<Peer> {
        let handshake = &self.connections.handshake;
        let handshake = handshake.lock().unwrap_or_else(PoisonError::into_inner);
        let handshake = handshake.as_ref()?;
        let (own, chain) = handshake.certificates.split_first()?;
        let host = self.connections.origin.host()?;
        let name = ServerName::try_from(without_brackets(host)).ok()?;
        let verified = verifier::verify(&tls::built_in(), own, chain, &name, UnixTime::now());
        Some(Peer {
            version: handshake.version,
            certificate: Certificate::parse(own)?,
            is_public: verified.is_ok(),
        })
    }
}

/// What /etc/resolv.conf (resolv.conf(5)) says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NameServers {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Domains that are appended to a name.
    pub search: Vec<String>,
}

impl NameServers {
    /// As the file names them now.
    pub fn read() -> NameServers {
        NameServers::parse(&String::from_utf8_lossy(
            &fs::read("/etc/resolv.conf").unwrap_or_default(),
        ))
    }

    /// Of several lines with domains the last one counts, of those with servers each.
    fn parse(text: &str) -> NameServers {
        let mut found = NameServers::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => found.servers.extend(words.next().map(str::to_owned)),
                Some("search" | "domain") => found.search = words.map(str::to_owned).collect(),
                _ => {}
            }
        }
        found
    }
}

/// Looks a host up as a connection would.
pub fn resolve(host: &Host) -> Result<Resolved, AttemptError> {
    let (response, found) = dns::look_up(&host.name);
    match response {
        Ok(addresses) => Ok(Resolved { addresses, found }),
        Err(error) => Err(from_lookup(error)),
    }
}
