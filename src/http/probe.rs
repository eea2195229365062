//! Probes of names and connections, for `check`. No connection that is opened here carries a request.

use std::fs;
use std::net::IpAddr;

use rustls::ProtocolVersion;
use rustls::pki_types::{ServerName, UnixTime};
use ureq::http::uri::Scheme;

use super::certificate::Certificate;
use super::client::Service;
use super::connection::{self, Handshake};
use super::dns;
pub use super::dns::Found;
use super::error::{AttemptError, from_lookup, from_ureq, rejected};
use super::request::Timeouts;
use super::tls::built_in;
use super::verifier::verify;
use crate::request::host::{Host, without_brackets};

/// Where a name leads.
pub struct Resolved {
    /// Its addresses, in the order in which they are tried.
    pub addresses: Vec<IpAddr>,
    /// Who said so.
    pub found: Found,
}

/// Who answered in a TLS handshake.
#[derive(Debug)]
pub struct Peer {
    /// As in `TLS 1.3`; none where the handshake did not come that far.
    pub version: Option<&'static str>,
    /// What its certificate says.
    pub certificate: Certificate,
    /// Whether the built-in roots alone would trust it.
    pub is_public: bool,
}

impl Service {
    /// The host and the port that connections are made to; a proxy's, where there is one on the way.
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

    /// Whether it is spoken to over TLS.
    pub fn is_tls(&self) -> bool {
        self.connections.origin.scheme() == Some(&Scheme::HTTPS)
    }

    /// The proxy on the way, as host and port.
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// Opens a connection that is not used: how that went, and who answered.
    pub fn probe(&self, timeouts: Timeouts) -> (Result<(), AttemptError>, Option<Peer>) {
        connection::take_handshake();
        let opened = self.connections.open(&self.agent, timeouts.connect);
        let peer = match &opened {
            Ok(_) => connection::take_handshake().and_then(|handshake| self.peer(&handshake)),
            Err(error) => rejected(error).map(|rejected| Peer {
                version: None,
                certificate: rejected.certificate.clone(),
                is_public: false,
            }),
        };
        let opened = opened.map(drop);
        let opened = opened.map_err(|error| from_ureq(&error, timeouts, self.proxy.as_deref()));
        (opened, peer)
    }

    fn peer(&self, handshake: &Handshake) -> Option<Peer> {
        let (certificate, chain) = handshake.certificates.split_first()?;
        let host = self.host()?;
        let name = ServerName::try_from(without_brackets(&host.name)).ok()?;
        Some(Peer {
            version: match handshake.version? {
                ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
                ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
                _ => None,
            },
            certificate: Certificate::parse(certificate)?,
            is_public: verify(&built_in(), certificate, chain, &name, UnixTime::now()).is_ok(),
        })
    }
}

/// Whom /etc/resolv.conf asks (resolv.conf(5)).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NameServers {
    /// Addresses of name servers.
    pub servers: Vec<String>,
    /// Domains that are put behind a name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_names_servers_and_domains() {
        let text = "# nameserver 10.0.0.9\nnameserver 10.0.0.10\nsearch a.example\nnameserver fd00::10\n\
                    search default.svc.cluster.local cluster.local\noptions ndots:5\n";
        let expected = NameServers {
            servers: vec!["10.0.0.10".to_owned(), "fd00::10".to_owned()],
            search: vec![
                "default.svc.cluster.local".to_owned(),
                "cluster.local".to_owned(),
            ],
        };
        assert_eq!(NameServers::parse(text), expected);
        assert_eq!(NameServers::parse(""), NameServers::default());
    }
}
