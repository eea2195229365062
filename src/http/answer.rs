//! One answer of a service, read to its end.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, StatusCode};

use super::retry;

/// One answer, read to its end. No `Debug`: the body may be a secret.
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
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

    /// What support asks for: the service's id of the request, and ours. Only what has the form of an id is shown: a
    /// header may hold anything.
    pub fn ids(&self, ours: &str) -> String {
        let is_id =
            |id: &&str| id.len() <= 64 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        let theirs = self.header("x-ms-request-id").filter(is_id);
        let theirs = theirs.map(|id| format!("; request id {id}"));
        format!("{}; client request id {ours}", theirs.unwrap_or_default())
    }

    /// How long the service asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        retry::retry_after(|name| self.header(name))
    }
}

/// `404 Not Found`.
pub(super) fn status_text(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_u16().to_string(),
    }
}
