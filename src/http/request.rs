//! What is asked of a service, and how long it may take.

use std::time::Duration;

/// One request.
pub struct Request<'a> {
    /// Path and query, percent-encoded.
    pub target: &'a str,
    /// Headers besides `User-Agent` and `Accept`.
    pub headers: &'a [(&'a str, &'a str)],
    /// A form to POST, `application/x-www-form-urlencoded`; without one it is a GET.
    pub form: Option<&'a str>,
    /// How long a try may take.
    pub timeouts: Timeouts,
}

/// How long the parts of one try may take.
#[derive(Clone, Copy)]
pub struct Timeouts {
    /// TCP, a proxy's tunnel and TLS.
    pub connect: Duration,
    /// From the request sent to the response's head.
    pub response: Duration,
}
