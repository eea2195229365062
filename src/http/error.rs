//! Errors of DNS, connections, TLS and HTTP as [`AttemptError`]s, in our own words: a library's text may be a debug
//! format, or quote what it received.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, OtherError};
use ureq::Timeout;

use super::request::Timeouts;
pub use super::retry::AttemptError;
use super::retry::{CHECK_PROXY, ErrorKind};
use super::verifier::Rejected;
use crate::date;
use crate::os::{self, LookupError};

/// An error of ureq, or of our connector or resolver in it. `proxy` is the proxy of the connection, as host and port.
pub(super) fn from_ureq(
    error: &ureq::Error,
    timeouts: Timeouts,
    proxy: Option<&str>,
) -> AttemptError {
    if let Some(rejected) = rejected(error) {
        return from_certificate(rejected);
    }
    if let Some(error) = tls_error(error) {
        return from_tls(error);
    }
    let mut error = match error {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => AttemptError::new(
            ErrorKind::ConnectTimeout,
            format!("no connection within {} s", timeouts.connect.as_secs()),
        ),
        ureq::Error::Timeout(Timeout::RecvResponse | Timeout::RecvBody) => AttemptError::new(
            ErrorKind::ResponseTimeout,
            format!("no response within {} s", timeouts.response.as_secs()),
        ),
        ureq::Error::Timeout(_) => AttemptError::new(
            ErrorKind::DeadlineExceeded,
            "no response before the deadline",
        ),
        ureq::Error::ConnectProxyFailed(reason) => from_proxy_connect(reason),
        ureq::Error::Io(error) => from_io(error),
        ureq::Error::Other(error) => match error.downcast_ref() {
            Some(error) => from_lookup(*error),
            None => unexpected_response("the request failed"),
        },
        ureq::Error::LargeResponseHeader(..) => {
            unexpected_response("the response's headers are too long")
        }
        ureq::Error::Protocol(_) => unexpected_response("the response is not HTTP"),
        // A variant of another feature, or a request that we built wrongly.
        _ => unexpected_response("the request failed"),
    };
    // Before the tunnel, an error is about the connection to the proxy.
    match (error.kind, proxy) {
        (
            ErrorKind::NameNotFound
            | ErrorKind::ConnectionRefused
            | ErrorKind::NoRoute
            | ErrorKind::NameServerTimeout,
            Some(proxy),
        ) => {
            error.error.reason = format!("the proxy {proxy}: {}", error.error.reason);
            error.error = error.error.fact("proxy", proxy);
            match error.kind {
                ErrorKind::NameServerTimeout => error,
                _ => error.hint(CHECK_PROXY),
            }
        }
        (ErrorKind::ProxyFailed | ErrorKind::ProxyRefused, Some(proxy)) => {
            error.error.reason = format!("the proxy {proxy} {}", error.error.reason);
            error.error = error.error.fact("proxy", proxy);
            error
        }
        _ => error,
    }
}

/// Why a name has no address.
pub(super) fn from_lookup(error: LookupError) -> AttemptError {
    let kind = match error {
        LookupError::NoAddress => ErrorKind::NameNotFound,
        LookupError::NoAnswer => ErrorKind::NameServerTimeout,
    };
    AttemptError::new(kind, error.to_string())
}

fn unexpected_response(reason: &str) -> AttemptError {
    AttemptError::new(ErrorKind::UnexpectedResponse, reason)
}

/// The TLS error in an error of ureq.
fn tls_error(error: &ureq::Error) -> Option<&TlsError> {
    match error {
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        ureq::Error::Other(error) => error.downcast_ref(),
        _ => None,
    }
}

/// The certificate that was rejected, if that is the error.
fn rejected(error: &ureq::Error) -> Option<&Rejected> {
    match tls_error(error)? {
        TlsError::InvalidCertificate(CertificateError::Other(other)) => other.0.downcast_ref(),
        _ => None,
    }
}

fn from_io(error: &io::Error) -> AttemptError {
    if matches!(error.raw_os_error(), Some(os::EMFILE | os::ENFILE)) {
        return AttemptError::new(ErrorKind::NoRoute, "too many open files")
            .hint("raise the limit on open files (ulimit -n)");
    }
    let (kind, reason) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (ErrorKind::ConnectionRefused, "connection refused"),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => (ErrorKind::NoRoute, "no route to the address"),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (ErrorKind::ResponseTimeout, "no response in time")
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => (ErrorKind::ConnectionLost, "the connection was reset"),
        io::ErrorKind::UnexpectedEof => (
            ErrorKind::ConnectionLost,
            "the connection was closed before the response was complete",
        ),
        _ => match error.raw_os_error() {
            // The kernel's own text.
            Some(_) => return AttemptError::new(ErrorKind::NoRoute, error.to_string()),
            None => (ErrorKind::NoRoute, "the connection failed"),
        },
    };
    AttemptError::new(kind, reason)
}

/// ureq's reason for a tunnel that the proxy did not open: a sentence that ends in the status.
fn from_proxy_connect(reason: &str) -> AttemptError {
    let status = reason.rsplit(' ').next().unwrap_or_default();
    let status: Option<u16> = status
        .split('/')
        .next()
        .and_then(|status| status.parse().ok());
    let (kind, reason, hint) = match status {
        Some(407) => (
            ErrorKind::ProxyRefused,
            "requires other credentials: 407".to_owned(),
            "put them into HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT",
        ),
        Some(status @ 300..500) => (
            ErrorKind::ProxyRefused,
            format!("refuses the tunnel: {status}"),
            "allow the host in the proxy, or name it in NO_PROXY",
        ),
        Some(status @ 500..) => (
            ErrorKind::ProxyFailed,
            format!("does not reach the host: {status}"),
            CHECK_PROXY,
        ),
        Some(status) => (
            ErrorKind::ProxyFailed,
            format!("answered CONNECT with {status} instead of 200"),
            "is it an HTTP proxy? Check HTTPS_PROXY",
        ),
        None => (
            ErrorKind::ProxyFailed,
            "does not respond".to_owned(),
            CHECK_PROXY,
        ),
    };
    AttemptError::new(kind, reason).hint(hint)
}

fn from_tls(error: &TlsError) -> AttemptError {
    match error {
        TlsError::InvalidCertificate(_) => {
            AttemptError::new(ErrorKind::Certificate, "the certificate is malformed")
        }
        TlsError::InvalidMessage(
            InvalidMessage::CertificatePayloadTooLarge | InvalidMessage::HandshakePayloadTooLarge,
        ) => unexpected_response("the server's certificate chain is too long")
            .hint("the server must present only its certificate and the intermediate ones"),
        TlsError::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::UnknownProtocolVersion,
        ) => unexpected_response("the server does not speak TLS on this port"),
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(
            AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion,
        ) => unexpected_response(
            "the server supports none of the TLS versions and cipher suites of akv-init",
        )
        .hint("it must support TLS 1.2 or 1.3 with AES-GCM and ECDHE"),
        TlsError::AlertReceived(
            AlertDescription::InternalError | AlertDescription::UserCanceled,
        ) => AttemptError::new(
            ErrorKind::ConnectionLost,
            "the server broke off the TLS handshake",
        ),
        TlsError::AlertReceived(alert) => {
            let alert = u8::from(*alert);
            unexpected_response(&format!(
                "the server refused the TLS connection with alert {alert}"
            ))
        }
        _ => unexpected_response("the server violated the TLS protocol"),
    }
}

/// Why a certificate is rejected; and its issuer, its names and its last day as facts.
fn from_certificate(rejected: &Rejected) -> AttemptError {
    let certificate = &rejected.certificate;
    let (issuer, names) = (&certificate.issuer, certificate.some_names());
    let clock = || {
        let now = date::format(date::now());
        format!("is this machine's clock right? It is set to {now}")
    };
    let is_ca = |other: &OtherError| {
        let error = other.0.downcast_ref();
        matches!(error, Some(webpki::Error::CaUsedAsEndEntity))
    };
    let (kind, reason, hint) = match &rejected.reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            ErrorKind::Certificate,
            format!("the certificate is not trusted: issued by {issuer}"),
            "behind a proxy that intercepts TLS, name its CA with SSL_CERT_FILE or --ca-file".to_owned(),
        ),
        CertificateError::NotValidForNameContext { expected, .. } => (
            ErrorKind::Certificate,
            // Where the host is an address that the certificate has as a DNS name, that one explains it.
            format!(
                "the certificate is for another name: {}; issued by {issuer}",
                certificate
                    .names
                    .iter()
                    .find(|name| name.starts_with(&format!("{} (", expected.to_str())))
                    .unwrap_or(&names)
            ),
            "another server answers at this address, or its certificate lacks the name: check DNS and proxies"
                .to_owned(),
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let expired = date::format(certificate.not_after);
            (
                ErrorKind::CertificateExpired,
                format!("the certificate expired at {expired}; issued by {issuer}"),
                format!("{}; if it is right, the certificate must be renewed", clock()),
            )
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            let begins = date::format(certificate.not_before);
            (
                ErrorKind::CertificateExpired,
                format!("the certificate is not valid before {begins}; issued by {issuer}"),
                clock(),
            )
        }
        CertificateError::Other(other) if is_ca(other) => (
            ErrorKind::Certificate,
            "the server presents a CA's certificate as its own (a self-signed one made with CA:TRUE?)".to_owned(),
            "issue one with CA:FALSE".to_owned(),
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => (
            ErrorKind::Certificate,
            format!("the certificate is not for servers; issued by {issuer}"),
            "issue one with the extended key usage serverAuth".to_owned(),
        ),
        _ => (
            ErrorKind::Certificate,
            format!("the certificate is not valid; issued by {issuer}"),
            "check its signature algorithm (RSA from 2048 bits, ECDSA, Ed25519), its extensions and its chain"
                .to_owned(),
        ),
    };
    AttemptError::new(kind, reason).hint(hint).map(|error| {
        error
            .fact("issuer", issuer)
            .fact("names", names)
            .fact("until", date::format(certificate.not_after))
    })
}
