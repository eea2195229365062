//! Percent-encoding (RFC 3986, 2.1).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::error::Error;

/// The bytes to percent-encode: all except for the unreserved characters (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
/// The same for a path, whose separators stay as they are.
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/').remove(b':').remove(b'@');

/// Percent-encodes a value in a query or a form.
pub fn encode(value: impl AsRef<[u8]>) -> String {
    percent_encode(value.as_ref(), ENCODED).to_string()
}

/// Percent-encodes a path, except for `/`, `:` and `@`.
pub fn encode_path(path: &str) -> String {
    percent_encode(path.as_bytes(), ENCODED_IN_PATH).to_string()
}

/// Decodes a text. Fails for a `%` that encodes nothing, and for a result that is not UTF-8.
pub fn decode(text: &str) -> Result<String, Error> {
    let mut parts = text.split('%').skip(1);
    let is_encoded =
        |part: &str| part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
    if !parts.all(is_encoded) {
        return Err(
            Error::config("a `%` needs two hexadecimal digits").hint("write `%25` for a `%`")
        );
    }
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| Error::config("the percent-encoded text is not UTF-8"));
    Ok(decoded?.into_owned())
}
