//! A request, and its timeouts.

use std::time::Duration;

/// One request.
pub struct Request<'a> {
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// Headers besides `User-Agent` and `Accept`.
    pub headers: &'a [(&'a str, &'a str)],
    /// A form to POST, `application/x-www-form-urlencoded`; without one it is a GET.
    pub form: Option<&'a str>,
    /// Timeouts of one attempt.
    pub timeouts: Timeouts,
}

/// The timeouts of one attempt.
#[derive(Clone, Copy)]
pub struct Timeouts {
    /// TCP, a proxy's tunnel and TLS.
    pub connect: Duration,
    /// From the sent request to the response's headers, and again to the end of its body.
    pub response: Duration,
}
