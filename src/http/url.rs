//! URLs: what goes into one, and what is one.

use ureq::http::Uri;

/// Percent-encodes a value of a query or a form: everything but unreserved characters (RFC 3986, 2.3).
pub fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into())
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                encoded.extend([
                    '%',
                    HEX[usize::from(byte >> 4)].into(),
                    HEX[usize::from(byte & 15)].into(),
                ]);
            }
        }
    }
    encoded
}

/// Whether a text is an `http://` or `https://` URL that a request can go to.
pub fn is_base_url(text: &str) -> bool {
    let scheme = text.starts_with("http://") || text.starts_with("https://");
    scheme
        && !text.contains(['@', '?', '#', '\\'])
        && text.parse::<Uri>().is_ok_and(|uri| uri.host().is_some())
}

/// Splits a URL into its origin and its path with what follows that.
pub fn split_url(url: &str) -> Option<(&str, &str)> {
    let authority = url.find("://")? + "://".len();
    let at = url[authority..]
        .find(['/', '?'])
        .map_or(url.len(), |at| authority + at);
    let (base, path) = url.split_at(at);
    let usable = is_base_url(base) && !path.starts_with('?') && !path.contains(['#', '\\', ' ']);
    usable.then_some((base, if path.is_empty() { "/" } else { path }))
}

/// A path with one more query: an endpoint's URL may bring one of its own.
pub fn with_query(path: &str, query: &str) -> String {
    let joint = if path.contains('?') { '&' } else { '?' };
    format!("{path}{joint}{query}")
}
