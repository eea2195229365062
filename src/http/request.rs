//! A request and its timeouts.

use std::time::Duration;

/// A request to a [`Service`](super::Service).
pub struct Request<'a> {
    /// The path with the query, percent-encoded (the request target of RFC 9112).
    pub target: &'a str,
    /// Headers besides `User-Agent` and `Accept`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body of a POST, `application/x-www-form-urlencoded`; `None` makes the request a GET.
    pub form: Option<&'a str>,
    /// Apply to each attempt.
    pub timeouts: Timeouts,
}

/// The timeouts of one attempt.
#[derive(Clone, Copy)]
pub struct Timeouts {
    /// For connecting: TCP, a proxy's tunnel and TLS.
    pub connect: Duration,
    /// For the response: from the sent request to the end of the headers, and as long again to the end of the body.
    pub response: Duration,
}
