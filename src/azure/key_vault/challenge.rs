//! A vault's challenge: the tenant and the resource of the token that it requires.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>. The server chooses what it
//! says. Its resource must be a parent domain of its own host, or a typo in a vault's name could send a token for another
//! service to a stranger. Only the tenant is read of its authority, so that no credential goes to a host that a challenge
//! names.

use crate::azure::identity::TokenRequest;
use crate::azure::tenant::is_tenant;
use crate::request::host::Host;

/// Reads a `WWW-Authenticate` header: `Bearer`, then `key="value"` pairs between commas or spaces, values perhaps without
/// quotes, in any order; unknown keys are ignored. The resource is empty where there is none.
pub fn parse(header: &str) -> Option<TokenRequest> {
    let (scheme, rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let pairs = pairs(rest);
    let find = |name: &str| {
        let found = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found
            .map(|(_, value)| *value)
            .filter(|value| !value.is_empty())
    };
    let authority = find("authorization_uri").or_else(|| find("authorization"));
    let audience = find("scope").or_else(|| find("resource"));
    let audience = audience.unwrap_or_default();
    Some(TokenRequest {
        tenant: authority.and_then(tenant_of),
        ..TokenRequest::new(audience.strip_suffix("/.default").unwrap_or(audience))
    })
}

/// Whether a resource's host is a parent domain of `host`, on the same port.
pub fn is_parent_domain(resource: &str, host: &Host) -> bool {
    let parent = resource.strip_prefix("https://").and_then(|rest| {
        let parent = rest.split('/').next()?;
        Host::parse(parent).ok()
    });
    parent.is_some_and(|parent| {
        let rest = host.name.strip_suffix(&parent.name);
        rest.is_some_and(|rest| rest.ends_with('.')) && parent.port == host.port
    })
}

/// The first segment of the authority's path; `adfs` is not a tenant.
fn tenant_of(authority: &str) -> Option<String> {
    let (_, rest) = authority.split_once("://")?;
    let tenant = rest.split('/').nth(1)?;
    let usable = is_tenant(tenant) && !tenant.eq_ignore_ascii_case("adfs");
    usable.then(|| tenant.to_owned())
}

fn pairs(mut rest: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let Some((key, value)) = rest.split_once('=') else {
            return found;
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => {
                let end = value.find([' ', ',', '\t']).unwrap_or(value.len());
                value.split_at(end)
            }
        };
        found.push((key.trim(), value));
        rest = after;
    }
}
