//! A vault's challenge: the tenant and the resource of the token that it requires.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses>. The server chooses what it
//! says. Its resource must be a parent domain of its own host, or a typo in a vault's name could send a token for another
//! service to a stranger. Only the tenant is read of its authority, so that no credential goes to a host that a challenge
//! names.

use crate::azure::tenant::is_tenant;
use crate::request::host::Host;

/// What a challenge requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The first segment of the authority's path; `adfs` is not a tenant.
    pub tenant: Option<String>,
    /// The resource of the token, without `/.default`; empty where there is none.
    pub resource: String,
}

impl Challenge {
    /// Reads a `WWW-Authenticate` header: `Bearer`, then `key="value"` pairs between commas or spaces, values perhaps
    /// without quotes, in any order; unknown keys are ignored.
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
        let audience = find("scope").or_else(|| find("resource"));
        let audience = audience.unwrap_or_default();
        let resource = audience.strip_suffix("/.default").unwrap_or(audience);
        Some(Challenge {
            tenant: authority.and_then(tenant_of),
            resource: resource.to_owned(),
        })
    }

    /// Whether the resource's host is a parent domain of `host`, on the same port.
    pub fn is_for(&self, host: &Host) -> bool {
        let parent = self.resource.strip_prefix("https://").and_then(|rest| {
            let parent = rest.split('/').next()?;
            Host::parse(parent).ok()
        });
        parent.is_some_and(|parent| {
            let rest = host.name.strip_suffix(&parent.name);
            rest.is_some_and(|rest| rest.ends_with('.')) && parent.port == host.port
        })
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn is_for(header: &str, host: &str) -> bool {
        Challenge::parse(header)
            .unwrap()
            .is_for(&Host::parse(host).unwrap())
    }

    /// The vectors' ids: K1, K3, K4, K11, K12, K20.
    #[test]
    fn challenges_of_all_services_are_parsed() {
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
                resource: resource.to_owned(),
            };
            assert_eq!(Challenge::parse(&header), Some(expected), "{id}");
        }
        assert_eq!(Challenge::parse("PoP authorization=\"https://l/t\""), None);
        assert_eq!(Challenge::parse("Bearer realm=\"\"").unwrap().tenant, None);
    }

    /// The vectors' ids: K5, K7, K8; a port; the root dot (K9) is not a hostname here.
    #[test]
    fn resource_must_be_a_parent_domain() {
        let challenge = |resource: &str| {
            format!("Bearer authorization=\"https://l/t\", resource=\"{resource}\"")
        };
        let public = challenge("https://vault.azure.net");
        assert!(is_for(&public, "42.vault.azure.net"));
        for (header, host) in [
            (challenge("https://vault.azure.cn"), "42.vault.azure.net"),
            (challenge("https://myvault.azure.net"), "42.vault.azure.net"),
            (public.clone(), "hostvault.azure.net"),
            (public.clone(), "vault.evil.com"),
            (public.clone(), "vault.azure.net"),
            (public, "42.vault.azure.net:8443"),
            (challenge("http://vault.azure.net"), "42.vault.azure.net"),
            (challenge("https://management.azure.com"), "vault.evil.com"),
        ] {
            assert!(!is_for(&header, host), "{header} from {host}");
        }
        assert!(Host::parse("myvault.vault.azure.net.").is_err());
    }
}
