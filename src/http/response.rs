//! A response, with its body.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};

use crate::date;

/// A response, with its body. No `Debug`: the body may be a secret.
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// A header's value, if it is there and plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, whatever the Content-Type says: not every service labels it.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `404 Not Found`.
    pub fn status_text(&self) -> String {
        status_text(self.status)
    }

    /// The service's id of the request. A header may hold anything, so a value that is not formed like an id is ignored.
    pub fn request_id(&self) -> Option<&str> {
        self.header("x-ms-request-id")
            .filter(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    }

    /// How long the service asks to wait before the next request.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(|name| self.header(name))
    }
}

/// `404 Not Found`.
pub(super) fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}

/// `retry-after-ms` and `x-ms-retry-after-ms` in milliseconds, then `Retry-After` in seconds or as a date. A value
/// that cannot be read is ignored.
fn retry_after<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Option<Duration> {
    for name in ["retry-after-ms", "x-ms-retry-after-ms"] {
        if let Some(millis) = header(name).and_then(|value| value.trim().parse::<u32>().ok()) {
            return Some(Duration::from_millis(millis.into()));
        }
    }
    let value = header("retry-after")?.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let seconds = date::parse_http(value)?.saturating_sub(date::now());
    Some(Duration::from_secs(seconds.max(0).unsigned_abs()))
}
