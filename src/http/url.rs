//! URLs: percent-encoding, checks and parts.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes a value of a query or a form.
pub fn encode(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

/// Whether a text is an `http://` or `https://` URL that a request can go to.
fn is_base_url(text: &str) -> bool {
    let scheme = text.starts_with("http://") || text.starts_with("https://");
    scheme
        && !text.contains(['@', '?', '#', '\\'])
        && text.parse::<Uri>().is_ok_and(|uri| uri.host().is_some())
}

/// Splits a URL into its origin, and its path and query.
pub fn split_url(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + "://".len();
    let at = url[authority..]
        .find(['/', '?'])
        .map_or(url.len(), |at| authority + at);
    let (base, path) = url.split_at(at);
    let usable = is_base_url(base) && !path.starts_with('?') && !path.contains(['#', '\\', ' ']);
    usable.then_some((base, if path.is_empty() { "/" } else { path }))
}

/// A path with a query, appended to the one that the path may have already.
pub fn with_query(path: &str, query: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{query}")
}
