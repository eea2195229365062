//! Tenants of Entra.

/// Whether a text has the shape of a tenant (an id or a domain name), so that it fits the URL of Entra's token endpoint.
pub fn is_tenant(text: &str) -> bool {
    // With a letter or digit at both ends it is not `..`, which would change the path.
    let is_valid_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_valid_end(text.bytes().next())
        && is_valid_end(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}
