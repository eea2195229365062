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
