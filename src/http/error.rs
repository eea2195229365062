//! The libraries' errors of DNS, connections, TLS and HTTP in our own words: a library's text may be a debug format, or
//! quote what it received.

use std::io;

use rustls::{AlertDescription, CertificateError, Error as TlsError, InvalidMessage, OtherError};
use ureq::Timeout;

use super::request::Timeouts;
use super::retry::CHECK_PROXY_HINT;
use super::verifier::RejectedCertificate;
use crate::date;
use crate::error::{Error, RequestFailure};
use crate::os::{self, LookupError};

/// An error of ureq, or of our connector or resolver in it. `proxy` is the proxy of the connection, as host and port.
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
            unexpected_response("the response's headers are too long")
        }
        ureq::Error::Protocol(_) => unexpected_response("the response is not HTTP"),
        _ => match inner.and_then(|error| error.downcast_ref()) {
            Some(error) => from_lookup(*error),
            // A variant of another feature, or a request that we built wrongly.
            None => unexpected_response("the request failed"),
        },
    };
    let Some(proxy) = proxy else {
        return error;
    };
    // Before the tunnel, an error is about the connection to the proxy.
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
    error.fact("proxy", proxy).hint_if_none(|kind| {
        (kind != RequestFailure::NameServerTimeout).then(|| CHECK_PROXY_HINT.to_owned())
    })
}

/// Why a name has no address.
pub(super) fn from_lookup(error: LookupError) -> Error {
    let kind = match error {
        LookupError::NoAddress => RequestFailure::NameNotFound,
        LookupError::NoAnswer => RequestFailure::NameServerTimeout,
    };
    kind.error(error.to_string())
}

fn unexpected_response(reason: &str) -> Error {
    RequestFailure::UnexpectedResponse.error(reason)
}

fn from_io(error: &io::Error) -> Error {
    if matches!(error.raw_os_error(), Some(os::EMFILE | os::ENFILE)) {
        return RequestFailure::NoRoute
            .error("too many open files")
            .hint("raise the limit on open files (ulimit -n)");
    }
    let (kind, reason) = match error.kind() {
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
    kind.error(reason)
}

/// ureq's reason for a tunnel that the proxy did not open ends in `/STATUS`, if there is one.
fn from_proxy_connect(reason: &str) -> Error {
    let (_, status) = reason.rsplit_once('/').unwrap_or_default();
    let refused = |reason: String| RequestFailure::ProxyRefused.error(reason);
    let failed = |reason: String| RequestFailure::ProxyFailed.error(reason);
    match status.parse::<u16>() {
        Ok(407) => refused("does not accept these credentials (407), or requires some".to_owned())
            .hint("set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT"),
        Ok(status @ 300..500) => refused(format!("refuses the tunnel: {status}"))
            .hint("allow the host in the proxy, or name it in NO_PROXY"),
        Ok(status @ 500..) => failed(format!("cannot reach the host: {status}")),
        Ok(status) => failed(format!("answered CONNECT with {status} instead of 200"))
            .hint("is it an HTTP proxy? Check HTTPS_PROXY"),
        Err(_) => failed("does not respond".to_owned()),
    }
}

fn from_tls(error: &TlsError) -> Error {
    use AlertDescription::{HandshakeFailure, InternalError, ProtocolVersion, UserCanceled};
    use InvalidMessage::{
        CertificatePayloadTooLarge, HandshakePayloadTooLarge, InvalidContentType, MessageTooLarge,
        UnknownProtocolVersion,
    };
    match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::Other(other) => other.0.downcast_ref().map(from_certificate),
            _ => None,
        }
        // Where it could not even be parsed.
        .unwrap_or_else(|| RequestFailure::Certificate.error("the certificate is malformed")),
        TlsError::InvalidMessage(CertificatePayloadTooLarge | HandshakePayloadTooLarge) => {
            unexpected_response("the server's certificate chain is too long")
                .hint("the server must present only its certificate and the intermediate ones")
        }
        TlsError::InvalidMessage(InvalidContentType | MessageTooLarge | UnknownProtocolVersion) => {
            unexpected_response("the server does not speak TLS on this port")
        }
        TlsError::PeerIncompatible(_)
        | TlsError::AlertReceived(HandshakeFailure | ProtocolVersion) => unexpected_response(
            "the server supports none of the TLS versions and cipher suites of akv-init",
        )
        .hint("it must support TLS 1.2 or 1.3 with AES-GCM and ECDHE"),
        TlsError::AlertReceived(InternalError | UserCanceled) => RequestFailure::ConnectionLost
            .error("the server closed the connection during the TLS handshake"),
        TlsError::AlertReceived(alert) => {
            let alert = u8::from(*alert);
            unexpected_response(&format!(
                "the server refused the TLS connection with alert {alert}"
            ))
        }
        _ => unexpected_response("the server violated the TLS protocol"),
    }
}

/// The error for a rejected certificate, with its issuer, its names and its expiry as facts.
fn from_certificate(rejected: &RejectedCertificate) -> Error {
    let certificate = &rejected.certificate;
    let (issuer, names) = (&certificate.issuer, certificate.names_summary());
    let error = |reason: &str, hint: &str| RequestFailure::Certificate.error(reason).hint(hint);
    let time_error = |reason: &str, time: i64, renewal: &str| {
        let (time, now) = (date::format(time), date::format(date::unix_now()));
        RequestFailure::CertificateExpired
            .error(format!("{reason} {time}"))
            .hint(format!(
                "is this machine's clock right? It is set to {now}{renewal}"
            ))
    };
    let is_ca = |other: &OtherError| {
        let error = other.0.downcast_ref();
        matches!(error, Some(webpki::Error::CaUsedAsEndEntity))
    };
    let error = match &rejected.reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => error(
            "the certificate is not trusted",
            "behind a proxy that intercepts TLS, name its CA with SSL_CERT_FILE or --ca-file",
        ),
        CertificateError::NotValidForNameContext { expected, .. } => {
            // Where the host is an address and the certificate has it as a DNS name, that name alone explains the error.
            let start = format!("{} (", expected.to_str());
            let same = certificate
                .names
                .iter()
                .find(|name| name.starts_with(&start));
            let names = same.unwrap_or(&names);
            error(
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
        CertificateError::Other(other) if is_ca(other) => error(
            "the server presents a CA's certificate as its own (a self-signed one made with CA:TRUE?)",
            "issue one with CA:FALSE",
        ),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => error(
            "the certificate is not for servers",
            "issue one with the extended key usage serverAuth",
        ),
        _ => error(
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
