//! Tenants of Entra.

/// Whether a text can be the tenant in the path of Entra's token endpoint: an id or a domain.
pub fn is_tenant(text: &str) -> bool {
    // Letters or digits at both ends: `..` would be another path.
    let is_end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    is_end(text.bytes().next())
        && is_end(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
}
