//! Converts the libraries' errors of DNS, connections, TLS and HTTP. The texts are ours: a library's text may be a
//! debug format, or quote what it received.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, OtherError};
use ureq::Timeout;

use super::connection::OFFERED_SCHEMES;
use super::request::Timeouts;
use super::retry::CHECK_PROXY_HINT;
use super::verifier::RejectedCertificate;
use crate::date;
use crate::error::{Error, RequestFailure};
use crate::os::{self, LookupError};

/// Converts an error of ureq, which may contain one of our connector or resolver. `proxy` is the proxy as `HOST:PORT`;
/// `None` for a direct connection.
pub(super) fn from_ureq(error: &ureq::Error, timeouts: Timeouts, proxy: Option<&str>) -> Error {
    let inner = match error {
        ureq::Error::Io(error) => error.get_ref(),
        ureq::Error::Other(error) => Some(&**error),
        _ => None,
    };
    if let Some(error) = inner.and_then(|error| error.downcast_ref()) {
        return from_tls(error);
    }
    let mut error = match error {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => RequestFailure::ConnectTimeout
            .error(format!(
                "no connection within {} s",
                timeouts.connect.as_secs()
            )),
        ureq::Error::Timeout(Timeout::RecvResponse | Timeout::RecvBody) => {
            RequestFailure::ResponseTimeout.error(format!(
                "no response within {} s",
                timeouts.response.as_secs()
            ))
        }
        ureq::Error::Timeout(_) => {
            RequestFailure::DeadlineExceeded.error("no response before the deadline")
        }
        ureq::Error::ConnectProxyFailed(reason) => from_proxy_connect(reason),
        ureq::Error::Io(error) => from_io(error),
        ureq::Error::LargeResponseHeader(..) => {
            unexpected_response_error("the response's headers are too long")
        }
        ureq::Error::Protocol(_) => unexpected_response_error("the response is not HTTP"),
        _ => match inner.and_then(|error| error.downcast_ref()) {
            Some(error) => from_lookup(*error),
            // An error of a ureq feature that is not used, or a request that we built wrongly.
            None => unexpected_response_error("the request failed"),
        },
    };
    let Some(proxy) = proxy else {
        return error;
    };
    // These are errors of the connection to the proxy.
    let separator = match error.request_failure {
        Some(RequestFailure::ProxyFailed | RequestFailure::ProxyRefused) => "",
        Some(
            RequestFailure::NameNotFound
            | RequestFailure::ConnectionRefused
            | RequestFailure::NoRoute
            | RequestFailure::NameServerTimeout,
        ) => ":",
        _ => return error,
    };
    error.reason = format!("the proxy {proxy}{separator} {}", error.reason);
    error.fact("proxy", proxy).hint_if_none(|failure| {
        (failure != RequestFailure::NameServerTimeout).then(|| CHECK_PROXY_HINT.to_owned())
    })
}

/// Converts the error of a lookup.
pub(super) fn from_lookup(error: LookupError) -> Error {
    let failure = match error {
        LookupError::NoAddress => RequestFailure::NameNotFound,
        LookupError::NoAnswer => RequestFailure::NameServerTimeout,
    };
    failure.error(error.to_string())
}

/// The error for a server that does not respond as one of Azure's does.
fn unexpected_response_error(reason: &str) -> Error {
    RequestFailure::UnexpectedResponse.error(reason)
}

/// Converts an I/O error of a connection.
fn from_io(error: &io::Error) -> Error {
    match error.raw_os_error() {
        Some(os::EMFILE | os::ENFILE) => {
            return RequestFailure::NoRoute
                .error("too many open files")
                .hint("raise the limit on open files (ulimit -n)");
        }
        Some(os::EPERM | os::ENOSYS) => {
            return RequestFailure::NoRoute.error(error.to_string()).hint(
                "this node refuses the connection itself: does a sandbox (seccomp), a security module or a network \
                 policy (eBPF) forbid it?",
            );
        }
        _ => {}
    }
    let (failure, reason) = match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            (RequestFailure::ConnectionRefused, "connection refused")
        }
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => (RequestFailure::NoRoute, "no route to the address"),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (RequestFailure::ResponseTimeout, "no response in time")
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => (RequestFailure::ConnectionLost, "the connection was reset"),
        io::ErrorKind::UnexpectedEof => (
            RequestFailure::ConnectionLost,
            "the connection was closed before the response was complete",
        ),
        _ => match error.raw_os_error() {
            // The text of the errno.
            Some(_) => return RequestFailure::NoRoute.error(error.to_string()),
            None => (RequestFailure::NoRoute, "the connection failed"),
        },
    };
    failure.error(reason)
}

/// Converts ureq's text about a tunnel that the proxy did not open. The text ends in `/STATUS` if the proxy responded.
fn from_proxy_connect(reason: &str) -> Error {
    let (_, status) = reason.rsplit_once('/').unwrap_or_default();
    let refused_error = |reason: String| RequestFailure::ProxyRefused.error(reason);
    let failed_error = |reason: String| RequestFailure::ProxyFailed.error(reason);
    match status.parse::<u16>() {
        Ok(407) => {
            let schemes = OFFERED_SCHEMES.take();
            let offered = match schemes.is_empty() {
                true => String::new(),
                false => format!("; it offers {}", schemes.join(", ")),
            };
            let reason = "does not accept these credentials (407), or requires some";
            refused_error(format!("{reason}{offered}")).hint(
                match schemes.is_empty() || schemes.contains(&"Basic") {
                    true => "set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT",
                    false => {
                        "akv-init can only use Basic: allow the host in the proxy without authentication, add it to \
                         NO_PROXY, or set HTTPS_PROXY to a local proxy that authenticates for it"
                    }
                },
            )
        }
        Ok(status @ 300..500) => refused_error(format!("refuses the tunnel: {status}"))
            .hint("allow the host in the proxy, or add it to NO_PROXY"),
        Ok(status @ 500..) => failed_error(format!("cannot reach the host: {status}")),
        Ok(status) => failed_error(format!("answered CONNECT with {status} instead of 200"))
            .hint("is it an HTTP proxy? Check HTTPS_PROXY"),
        Err(_) => failed_error("does not respond".to_owned()),
    }
}

/// Converts an error of TLS.
fn from_tls(error: &TlsError) -> Error {
    use AlertDescription::{HandshakeFailure, InternalError, ProtocolVersion, UserCanceled};
    use InvalidMessage::{
        CertificatePayloadTooLarge, HandshakePayloadTooLarge, InvalidContentType, MessageTooLarge,
        UnknownProtocolVersion,
    };
    match error {
        // Not a [`RejectedCertificate`]: this is the signature of the handshake.
        TlsError::InvalidCertificate(CertificateError::BadSignature) => RequestFailure::Certificate
            .error("the server's signature does not match its certificate")
            .hint(
                "the server has a private key that is not that of its certificate: check both in its TLS settings, or \
                 in those of a proxy that intercepts TLS",
            ),
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::Other(other) => other.0.downcast_ref().map(from_rejected_certificate),
            _ => None,
        }
        // Another error than [`RejectedCertificate`]: the certificate could not be parsed.
        .unwrap_or_else(|| {
            RequestFailure::Certificate
                .error("the certificate is malformed")
                .hint(
                    "the server must present an X.509 certificate: check its TLS settings, or those of a proxy that \
                     intercepts TLS",
                )
        }),
        TlsError::InvalidMessage(CertificatePayloadTooLarge | HandshakePayloadTooLarge) => {
            unexpected_response_error("the server's certificate chain is too long")
                .hint("the server must present only its certificate and the intermediate ones")
        }
        TlsError::InvalidMessage(InvalidContentType | MessageTooLarge | UnknownProtocolVersion) => {
            unexpected_response_error("the server does not speak TLS on this port")
        }
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(HandshakeFailure | ProtocolVersion) => unexpected_response_error(
            "the server supports none of the TLS versions and cipher suites of akv-init",
        )
        .hint("it must support TLS 1.2 or 1.3 with AES-GCM and ECDHE"),
        TlsError::HandshakeNotComplete | TlsError::AlertReceived(InternalError | UserCanceled) => {
            RequestFailure::ConnectionLost
                .error("the connection was closed during the TLS handshake")
                .hint(
                    "a firewall or proxy on the way may close it: allow the host's name on port 443 there, or check \
                     HTTPS_PROXY and NO_PROXY",
                )
        }
        TlsError::AlertReceived(alert) => {
            let alert = u8::from(*alert);
            unexpected_response_error(&format!(
                "the server refused the TLS connection with alert {alert}"
            ))
        }
        _ => unexpected_response_error("the server violated the TLS protocol"),
    }
}

/// Converts the error about a rejected certificate. Its issuer, names and expiry become facts.
fn from_rejected_certificate(rejected: &RejectedCertificate) -> Error {
    let certificate = &rejected.certificate;
    let (issuer, names) = (&certificate.issuer, certificate.names_summary());
    let certificate_error =
        |reason: &str, hint: &str| RequestFailure::Certificate.error(reason).hint(hint);
    let time_error = |reason: &str, time: i64, renewal: &str| {
        let (time, now) = (date::format(time), date::format(date::unix_now()));
        RequestFailure::CertificateExpired
            .error(format!("{reason} {time}"))
            .hint(format!(
                "is this machine's clock right? It is set to {now}{renewal}"
            ))
    };
    let is_ca_as_server_certificate = |other: &OtherError| {
        let error = other.0.downcast_ref();
        matches!(error, Some(webpki::Error::CaUsedAsEndEntity))
    };
    let error = match &rejected.reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => certificate_error(
            "the certificate is not trusted",
            "if its issuer is a private CA, or that of a proxy that intercepts TLS, name the CA's file with SSL_CERT_FILE or \
             --ca-file",
        ),
        CertificateError::NotValidForNameContext { expected, .. } => {
            // If the host is an IP address that the certificate has as a DNS name, that name alone explains the error.
            let prefix = format!("{} (", expected.to_str());
            let host_as_dns_name = certificate
                .names
                .iter()
                .find(|name| name.starts_with(&prefix));
            let names = host_as_dns_name.unwrap_or(&names);
            certificate_error(
                &format!("the certificate is for another name: {names}"),
                "another server answers at this address, or its certificate lacks the name: check DNS and proxies",
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => time_error(
            "the certificate expired at",
            certificate.not_after,
            "; if it is right, the certificate must be renewed",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => time_error(
            "the certificate is not valid before",
            certificate.not_before,
            "",
        ),
        CertificateError::Other(other) if is_ca_as_server_certificate(other) => certificate_error(
            "the server presents a CA's certificate as its own (a self-signed one made with CA:TRUE?)",
            "issue one with CA:FALSE",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            certificate_error(
                "the certificate is not for servers",
                "issue one with the extended key usage serverAuth",
            )
        }
        _ => certificate_error(
            "the certificate is not valid",
            "check its signature algorithm (RSA from 2048 bits, ECDSA, Ed25519), its extensions and its chain",
        ),
    };
    error
        .note(format!("issued by {issuer}"))
        .fact("issuer", issuer)
        .fact("names", names)
        .fact("until", date::format(certificate.not_after))
}
