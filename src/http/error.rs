//! Why one try failed: what ureq, the connector, the resolver or TLS reported, as a [`ErrorKind`] and a sentence.

use std::io;
use std::time::Duration;

use rustls::{AlertDescription, CertificateError, Error as TlsError};
use ureq::Timeout;

use super::Timeouts;
use super::dns::NameError;
use super::retry::ErrorKind;
use crate::date;
use crate::error::Error;
use crate::os::{self, LookupError};

/// What to do where no name server answers.
pub const NAME_SERVERS: &str = "look at the name servers of /etc/resolv.conf: does a network policy let DNS through \
                                (port 53)? In a cluster: is CoreDNS up?";
/// What to do about a proxy that is not there, or does not get through.
const PROXY: &str = "look at HTTPS_PROXY, or name the host in NO_PROXY";

/// Why one attempt failed.
#[derive(Debug)]
pub struct AttemptError {
    /// Its row in the retry table.
    pub kind: ErrorKind,
    /// What it means if it is the last one.
    pub error: Error,
    /// How long the service asks not to be called.
    pub retry_after: Option<Duration>,
}

impl AttemptError {
    /// An error of this kind, with nothing but a reason.
    pub fn new(kind: ErrorKind, reason: impl Into<String>) -> Self {
        AttemptError {
            kind,
            error: Error::new(kind.cause(), reason),
            retry_after: None,
        }
    }

    /// Sets the hint.
    pub fn hint(self, hint: impl Into<String>) -> Self {
        self.map(|error| error.hint(hint))
    }

    /// Sets the hint by the kind of error, where there is none yet.
    pub fn hint_for(self, hint: impl Fn(ErrorKind) -> Option<String>) -> Self {
        let kind = self.kind;
        self.map(|error| match error.hint {
            None => error.maybe_hint(hint(kind)),
            Some(_) => error,
        })
    }

    /// Sets how long the service asks not to be called.
    pub fn retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Changes the error in it.
    pub fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        AttemptError {
            error: change(self.error),
            ..self
        }
    }

    /// What keeps one from a service behind a proxy is, before the tunnel, about the way to the proxy.
    pub(super) fn on_the_way_through(mut self, proxy: Option<&str>) -> Self {
        let Some(proxy) = proxy else {
            return self;
        };
        match self.kind {
            ErrorKind::NameNotFound
            | ErrorKind::NameServerTimeout
            | ErrorKind::ConnectionRefused
            | ErrorKind::NoRoute => {
                self.error = self.error.context(format!("the proxy {proxy}"));
                self.error.hint = Some(match self.kind {
                    ErrorKind::NameServerTimeout => NAME_SERVERS.to_owned(),
                    _ => PROXY.to_owned(),
                });
            }
            ErrorKind::ProxyFailed | ErrorKind::ProxyRefused => {
                self.error.reason = format!("the proxy {proxy} {}", self.error.reason);
            }
            _ => {}
        }
        self
    }

    /// The same with what to do about name servers, where it is about those.
    pub fn hint_of_names(self) -> Self {
        self.hint_for(|kind| {
            (kind == ErrorKind::NameServerTimeout).then(|| NAME_SERVERS.to_owned())
        })
    }

    /// Why a name has no address.
    pub(super) fn from_name_error(error: LookupError) -> AttemptError {
        let kind = match error {
            LookupError::NoSuchName => ErrorKind::NameNotFound,
            LookupError::NoAnswer => ErrorKind::NameServerTimeout,
        };
        AttemptError::new(kind, NameError(error).to_string())
    }

    /// What ureq, our connector or our resolver could not do.
    pub(super) fn from_ureq(error: &ureq::Error, timeouts: Timeouts) -> Self {
        match error {
            ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => AttemptError::new(
                ErrorKind::ConnectTimeout,
                format!("no connection within {} s", timeouts.connect.as_secs()),
            ),
            ureq::Error::Timeout(Timeout::RecvResponse | Timeout::RecvBody) => AttemptError::new(
                ErrorKind::ResponseTimeout,
                format!("no answer within {} s", timeouts.response.as_secs()),
            ),
            ureq::Error::Timeout(_) => {
                AttemptError::new(ErrorKind::DeadlineExceeded, "no answer before the deadline")
            }
            ureq::Error::ConnectProxyFailed(reason) => from_proxy(reason),
            ureq::Error::Io(error) => from_io(error),
            ureq::Error::Other(error) => {
                if let Some(NameError(error)) = error.downcast_ref() {
                    AttemptError::from_name_error(*error)
                } else if let Some(error) = error.downcast_ref() {
                    from_tls(error)
                } else {
                    AttemptError::new(ErrorKind::UnexpectedResponse, error.to_string())
                }
            }
            ureq::Error::LargeResponseHeader(..) => AttemptError::new(
                ErrorKind::UnexpectedResponse,
                "the answer's head is too long",
            ),
            ureq::Error::Protocol(_) => {
                AttemptError::new(ErrorKind::UnexpectedResponse, "the answer is not HTTP")
            }
            // A variant of another feature, or a request that we built wrongly: no retry makes it better.
            other => AttemptError::new(ErrorKind::UnexpectedResponse, other.to_string()),
        }
    }
}

fn from_io(error: &io::Error) -> AttemptError {
    if let Some(error) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<TlsError>())
    {
        return from_tls(error);
    }
    if matches!(error.raw_os_error(), Some(os::EMFILE | os::ENFILE)) {
        return AttemptError::new(ErrorKind::NoRoute, "too many open files")
            .hint("raise the limit of open files (ulimit -n)");
    }
    let (kind, what) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            ErrorKind::ConnectionRefused,
            "connection refused".to_owned(),
        ),
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::AddrNotAvailable => {
            (ErrorKind::NoRoute, "no route to the address".to_owned())
        }
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
            (ErrorKind::ResponseTimeout, "no answer in time".to_owned())
        }
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => (
            ErrorKind::ConnectionLost,
            "the connection was reset".to_owned(),
        ),
        io::ErrorKind::UnexpectedEof => (
            ErrorKind::ConnectionLost,
            "the connection was closed before the answer was whole".to_owned(),
        ),
        _ => (ErrorKind::NoRoute, error.to_string()),
    };
    AttemptError::new(kind, what)
}

fn from_proxy(reason: &str) -> AttemptError {
    let status: Option<u16> = reason
        .split(' ')
        .next_back()
        .and_then(|last| last.split('/').next()?.parse().ok());
    match status {
        Some(407) => AttemptError::new(ErrorKind::ProxyRefused, "wants other credentials: 407")
            .hint("put them into HTTPS_PROXY as http://USER:PASSWORD@HOST:PORT"),
        Some(status) if status < 500 => AttemptError::new(
            ErrorKind::ProxyRefused,
            format!("refuses the tunnel: {status}"),
        )
        .hint("allow the host in the proxy, or name it in NO_PROXY"),
        Some(status) => AttemptError::new(
            ErrorKind::ProxyFailed,
            format!("does not reach the host: {status}"),
        )
        .hint(PROXY),
        None => AttemptError::new(ErrorKind::ProxyFailed, "does not answer").hint(PROXY),
    }
}

fn from_tls(error: &TlsError) -> AttemptError {
    let trust = "behind a proxy that intercepts TLS, give its CA with SSL_CERT_FILE or --ca-file";
    let (what, hint) = match error {
        TlsError::InvalidCertificate(error) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => (
                "the certificate is signed by nobody who is trusted here".to_owned(),
                trust.to_owned(),
            ),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                (
                    "the certificate is for another name".to_owned(),
                    "something else answers at this address: look at DNS and at proxies on the way"
                        .to_owned(),
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => (
                "the certificate has expired".to_owned(),
                format!(
                    "{}; if it is, whoever runs that host, or what intercepts TLS on the way, must renew it",
                    clock_hint()
                ),
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                ("the certificate is not valid yet".to_owned(), clock_hint())
            }
            other => (
                format!("the certificate is refused: {other}"),
                "whoever runs that host, or what intercepts TLS on the way, must present another certificate"
                    .to_owned(),
            ),
        },
        TlsError::InvalidMessage(_) => {
            return AttemptError::new(ErrorKind::UnexpectedResponse, "what answers there does not speak TLS");
        }
        TlsError::AlertReceived(
            AlertDescription::InternalError | AlertDescription::UserCanceled,
        ) => {
            return AttemptError::new(ErrorKind::ConnectionLost, "the TLS handshake was broken off");
        }
        other => return AttemptError::new(ErrorKind::UnexpectedResponse, format!("TLS: {other}")),
    };
    AttemptError::new(ErrorKind::Certificate, what).hint(hint)
}

fn clock_hint() -> String {
    format!(
        "is this machine's clock right? It says {}",
        date::format(date::now())
    )
}
