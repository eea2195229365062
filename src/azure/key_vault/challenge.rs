//! A vault's challenge: which tenant and which resource it wants a token from and for.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>. A challenge is what a
//! server says of itself. Its resource is only believed where that is a parent domain of the server's own host, or a
//! typo in a vault's name could harvest a token for something else; of its authority only the tenant is taken, so that
//! no credential goes to a host that a challenge names.

use crate::request::host::Host;

/// What a challenge asks for. Neither part is verified yet.
#[derive(Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The first segment of the authority's path; `adfs` is not a tenant.
    pub tenant: Option<String>,
    /// The resource of the token, without `/.default`.
    pub resource: Option<String>,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header: `Bearer`, then `key="value"` pairs between commas or spaces, values perhaps
    /// without quotes, in any order; unknown keys are passed over.
    pub fn parse(header: &str) -> Option<Challenge> {
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
        // A scope says more than a resource, where both are there.
        let audience = find("scope").or_else(|| find("resource"));
        Some(Challenge {
            tenant: authority.and_then(tenant_of),
            resource: audience.map(|audience| {
                audience
                    .strip_suffix("/.default")
                    .unwrap_or(audience)
                    .to_owned()
            }),
        })
    }

    /// The resource, if its host is a parent domain of `host`, on the same port.
    pub fn resource_for(&self, host: &Host) -> Option<&str> {
        let resource = self.resource.as_deref()?;
        let rest = resource.strip_prefix("https://")?;
        let claimed = Host::parse(rest.split('/').next()?).ok()?;
        let below = host.name.strip_suffix(&claimed.name)?.ends_with('.');
        (below && claimed.port == host.port).then_some(resource)
    }
}

fn tenant_of(authority: &str) -> Option<String> {
    let (_, rest) = authority.split_once("://")?;
    let tenant = rest.split('/').nth(1)?;
    let usable = is_tenant(tenant) && !tenant.eq_ignore_ascii_case("adfs");
    usable.then(|| tenant.to_owned())
}

/// Whether a text can stand in the path of Entra's token endpoint as a tenant.
pub fn is_tenant(text: &str) -> bool {
    // Letters or digits at both ends: `..` would be another path.
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    end(text.bytes().next())
        && end(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-')
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

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(header: &str, host: &str) -> Option<String> {
        let challenge = Challenge::parse(header)?;
        challenge
            .resource_for(&Host::parse(host).unwrap())
            .map(str::to_owned)
    }

    /// The vectors' ids: K1, K3, K4, K11, K12, K20.
    #[test]
    fn every_shape_of_a_challenge_is_read() {
        let guid = "72f988bf-86f1-41af-91ab-2d7cd011db47";
        for (id, header, tenant, resource) in [
            (
                "K1",
                format!("Bearer authorization=\"https://login.microsoftonline.com/{guid}\", resource=\"https://vault.azure.net\""),
                guid,
                "https://vault.azure.net",
            ),
            (
                "K3",
                "bearer authorization=\"https://l/t\", resource=\"https://r\", scope=\"https://s/.default\"".to_owned(),
                "t",
                "https://s",
            ),
            (
                "K4",
                "Bearer authorization=\"https://l/t\" scope=\"https://vault.azure.net/.default\" resource=\"ignore me\"".to_owned(),
                "t",
                "https://vault.azure.net",
            ),
            (
                "K11",
                "Bearer resource=\"https://vault.azure.net\", authorization=\"https://l/t\"".to_owned(),
                "t",
                "https://vault.azure.net",
            ),
            (
                "K12",
                "Bearer authorization=https://login.authority.net/tenant, resource=https://challenge.resource".to_owned(),
                "tenant",
                "https://challenge.resource",
            ),
            (
                "K20",
                format!("Bearer authorization=\"https://login.windows.net/{guid}\", resource=\"https://vault.azure.net\""),
                guid,
                "https://vault.azure.net",
            ),
        ] {
            let expected = Challenge {
                tenant: Some(tenant.to_owned()),
                resource: Some(resource.to_owned()),
            };
            assert_eq!(Challenge::parse(&header), Some(expected), "{id}");
        }
        assert_eq!(Challenge::parse("PoP authorization=\"https://l/t\""), None);
        assert_eq!(Challenge::parse("Bearer realm=\"\"").unwrap().tenant, None);
    }

    /// The vectors' ids: K5, K7, K8; a port; the root dot (K9) is no host name here at all.
    #[test]
    fn a_resource_is_believed_only_from_a_host_below_it() {
        let asks = |resource: &str| {
            format!("Bearer authorization=\"https://l/t\", resource=\"{resource}\"")
        };
        let public = asks("https://vault.azure.net");
        assert_eq!(
            resource(&public, "42.vault.azure.net").as_deref(),
            Some("https://vault.azure.net")
        );
        for (challenge, host) in [
            (asks("https://vault.azure.cn"), "42.vault.azure.net"),
            (asks("https://myvault.azure.net"), "42.vault.azure.net"),
            (public.clone(), "hostvault.azure.net"),
            (public.clone(), "vault.evil.com"),
            (public.clone(), "vault.azure.net"),
            (public, "42.vault.azure.net:8443"),
            (asks("http://vault.azure.net"), "42.vault.azure.net"),
            (asks("https://management.azure.com"), "vault.evil.com"),
        ] {
            assert_eq!(resource(&challenge, host), None, "{challenge} from {host}");
        }
        assert!(Host::parse("myvault.vault.azure.net.").is_err());
    }
}
