//! A vault's challenge: the tenant and the resource of the token that it requires.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>. Any server can send one, so
//! its resource must be a parent domain of the server's host: else a typo in a vault's name could send a token for another
//! service to a stranger. Of its authority only the tenant is used, so that no credential goes to a host that a challenge
//! names.

use crate::azure::identity::TokenRequest;
use crate::request::host::Host;
use crate::request::reference::check_resource;
use crate::request::settings::is_tenant;

/// Parses a `WWW-Authenticate` header: `Bearer`, then `key="value"` pairs, separated by commas or spaces, in any
/// order. The quotes may be missing; unknown keys are ignored. `None` for any other scheme. If the header names no
/// resource, the resource of the result is empty.
pub fn parse(header: &str) -> Option<TokenRequest> {
    let header = header.trim();
    let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let pairs = parse_pairs(rest);
    let find = |name: &str| {
        let pair = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        pair.map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    };
    let authority = find("authorization_uri").or_else(|| find("authorization"));
    let audience = find("scope").or_else(|| find("resource"));
    let audience = audience.unwrap_or_default();
    Some(TokenRequest {
        tenant: authority.and_then(parse_tenant),
        is_known_resource: true,
        ..TokenRequest::new(audience.strip_suffix("/.default").unwrap_or(audience))
    })
}

/// Parses the challenge of `host`. Fails, with the reason as text, if no token for the challenge may be sent to
/// `host`: the resource must be a parent domain of `host`, on the same port.
pub fn parse_for(host: &Host, header: &str) -> Result<TokenRequest, &'static str> {
    let challenge = parse(header).ok_or("its scheme is not Bearer")?;
    if challenge.resource.is_empty() {
        return Err("it names no resource");
    }
    check_resource(&challenge.resource).map_err(|_| "its resource is malformed")?;
    let parent = challenge
        .resource
        .strip_prefix("https://")
        .and_then(|rest| {
            let parent = rest.split('/').next()?;
            Host::parse(parent).ok()
        });
    let parent = parent.filter(|parent| {
        let rest = host.name.strip_suffix(&parent.name);
        rest.is_some_and(|rest| rest.ends_with('.'))
    });
    match parent {
        None => Err(
            "its resource is not a parent domain of the host, and may be that of another service",
        ),
        Some(parent) if parent.port != host.port => Err("its resource has another port"),
        Some(_) => Ok(challenge),
    }
}

/// The tenant in the URL of an authority, as in `https://login.microsoftonline.com/TENANT`; `None` if there is none,
/// or `adfs` in its place.
fn parse_tenant(authority: &str) -> Option<String> {
    let (_, rest) = authority.split_once("://")?;
    let tenant = rest.split('/').nth(1)?;
    let is_usable = is_tenant(tenant) && !tenant.eq_ignore_ascii_case("adfs");
    is_usable.then(|| tenant.to_owned())
}

/// The keys and values of a challenge, without quotes.
fn parse_pairs(mut rest: &str) -> Vec<(&str, &str)> {
    let mut pairs = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let Some((key, value)) = rest.split_once('=') else {
            return pairs;
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                let end = value.find([' ', ',', '\t']).unwrap_or(value.len());
                value.split_at(end)
            }
        };
        pairs.push((key.trim(), value));
        rest = after;
    }
}
