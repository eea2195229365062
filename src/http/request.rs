//! A request and its timeouts.

use std::time::Duration;

use ureq::http::HeaderValue;

use crate::secret::Secret;

/// A request to a [`Service`](super::Service).
pub struct Request<'a> {
    /// The path with the query, percent-encoded (the request target of RFC 9112).
    pub target: &'a str,
    /// Headers besides `User-Agent` and `Accept`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The header `Authorization`.
    pub authorization: Option<&'a Authorization>,
    /// The body of a POST, `application/x-www-form-urlencoded`; `None` makes the request a GET.
    pub form: Option<&'a str>,
    /// The timeouts of each attempt.
    pub timeouts: Timeouts,
}

/// The value of a header `Authorization`. A token is long: it is checked once, and not for each request.
pub struct Authorization(pub(super) HeaderValue);

impl Authorization {
    /// `Bearer` and this token, which must be printable ASCII.
    pub fn bearer(token: &Secret) -> Authorization {
        let value = HeaderValue::try_from(format!("Bearer {}", token.expose()));
        let mut value = value.expect("a token was checked when it was received");
        value.set_sensitive(true);
        Authorization(value)
    }
}

/// The timeouts of one attempt.
#[derive(Clone, Copy)]
pub struct Timeouts {
    /// The time to connect: for TCP, the tunnel of a proxy, and TLS.
    pub connect: Duration,
    /// The time from the sent request to the end of the response's headers; the body may then take as long again.
    pub response: Duration,
}
