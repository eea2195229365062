//! A response and its body.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};

use crate::date;
use crate::error::{Error, RequestFailure};

/// A response with its body. It has no `Debug`, since the body may be a secret.
pub struct Response {
    /// The HTTP status.
    pub status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// A response with this status, these headers and this body.
    pub fn new(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Response {
        Response {
            status,
            headers,
            body,
        }
    }

    /// The value of a header; `None` if there is no such header, or if its value is not visible ASCII.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; null if it is not JSON. The Content-Type is ignored, since not every service sets it.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text, with invalid UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The status as in `404 Not Found`.
    pub fn status_text(&self) -> String {
        match self.status.canonical_reason() {
            Some(reason) => format!("{} {reason}", self.status.as_u16()),
            None => self.status.as_u16().to_string(),
        }
    }

    /// An error about this response, as in `400 Bad Request (invalid_request): text`. `code` and `text` may be empty.
    pub fn error(&self, failure: RequestFailure, code: &str, text: &str) -> Error {
        let mut reason = self.status_text();
        // The code of a vault's 401 or 403 may only repeat the status.
        if !code.is_empty() && self.status.canonical_reason() != Some(code) {
            reason.push_str(&format!(" ({code})"));
        }
        if !text.is_empty() {
            reason.push_str(&format!(": {text}"));
        }
        let mut error = failure.error(reason);
        error.retry_after = self.retry_after();
        error
    }

    /// The id that the service gave the request; `None` if there is none. A header can contain anything, so a value
    /// that does not look like an id is ignored.
    pub fn request_id(&self) -> Option<&str> {
        self.header("x-ms-request-id")
            .filter(|id| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    }

    /// How long the service asks to wait before the next request; `None` if it does not ask. From the first of
    /// `retry-after-ms` and `x-ms-retry-after-ms`, in milliseconds, and `Retry-After`, in seconds or as a date. A
    /// malformed value is ignored.
    pub fn retry_after(&self) -> Option<Duration> {
        let number = |name| self.header(name)?.trim().parse::<u32>().ok();
        let millis = number("retry-after-ms").or_else(|| number("x-ms-retry-after-ms"));
        if let Some(millis) = millis {
            return Some(Duration::from_millis(millis.into()));
        }
        if let Some(seconds) = number("retry-after") {
            return Some(Duration::from_secs(seconds.into()));
        }
        let date = date::parse_http_date(self.header("retry-after")?.trim())?;
        let seconds = (date - date::unix_now()).max(0);
        Some(Duration::from_secs(seconds.unsigned_abs()))
    }
}
