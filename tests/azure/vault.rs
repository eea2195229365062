//! Reading and listing of Key Vault's secrets: the token's audience decides on access, the `Host` header names the vault, and refusals
//! have the codes and texts of the real ones.
//!
//! <https://learn.microsoft.com/azure/key-vault/general/rest-error-codes>

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::shared::Shared;
use super::token;
use super::{Request, Response};

/// A secret, one version of it.
#[derive(Clone, Debug)]
pub struct Stored {
    pub name: String,
    /// 32 hex digits; from the name and the value when made by `new`.
    pub version: String,
    pub value: String,
    pub content_type: Option<String>,
    pub enabled: bool,
    /// Unix seconds.
    pub not_before: Option<u64>,
    /// Unix seconds.
    pub expires: Option<u64>,
    /// The short name of its vault; none: every vault.
    pub vault: Option<String>,
    /// Optional members of the response (`kid`, `managed`, `tags`).
    pub extra: Value,
}

impl Stored {
    pub fn new(name: &str, value: &str) -> Stored {
        let part = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (name, value, salt).hash(&mut hasher);
            format!("{:016x}", hasher.finish())
        };
        Stored {
            name: name.to_owned(),
            version: part(0) + &part(1),
            value: value.to_owned(),
            content_type: None,
            enabled: true,
            not_before: None,
            expires: None,
            vault: None,
            extra: json!({}),
        }
    }

    fn is_in(&self, vault: &str) -> bool {
        self.vault
            .as_deref()
            .is_none_or(|held_by| held_by.eq_ignore_ascii_case(vault))
    }

    fn bundle(&self, host: &str) -> Value {
        let Stored { name, version, .. } = self;
        let created = 1_700_000_000;
        let mut bundle = json!({
            "value": self.value,
            "id": format!("https://{host}/secrets/{name}/{version}"),
            "attributes": {
                "enabled": self.enabled, "created": created, "updated": created,
                "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
            },
            "tags": {},
        });
        let optional = [("nbf", self.not_before), ("exp", self.expires)];
        for (name, value) in optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
        {
            bundle["attributes"][name] = json!(value);
        }
        if let Some(kind) = &self.content_type {
            bundle["contentType"] = json!(kind);
        }
        for (name, value) in self.extra.as_object().into_iter().flatten() {
            bundle[name] = value.clone();
        }
        bundle
    }
}

pub fn respond(shared: &Shared, request: &Request) -> Response {
    if let Err(refusal) = check_token(shared, request) {
        return refusal;
    }
    if request.method != "GET" {
        return Response::vault_error(
            405,
            "BadParameter",
            None,
            "The request method is not allowed.",
        );
    }
    let version = request.query("api-version").unwrap_or_default();
    let known = shared.lock().api_versions.clone();
    if !known.contains(&version) {
        let latest = known.last().map_or("", String::as_str);
        return Response::api_version(&version, latest);
    }
    let path = percent_decode_str(request.path())
        .decode_utf8_lossy()
        .into_owned();
    let words: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    let (name, version) = match words[..] {
        ["secrets"] => return list(shared, request),
        ["secrets", name] => (name, None),
        ["secrets", name, version] => (name, Some(version)),
        _ => return Response::status(404),
    };
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if name.is_empty() || name.len() > 127 || !name.chars().all(good) {
        let text = format!("The request URI contains an invalid name: {name}");
        return Response::vault_error(400, "BadParameter", None, &text);
    }
    let inner = shared.lock();
    // Names are case-insensitive; the last one is the latest version.
    let found = inner.secrets.iter().rev().find(|secret| {
        secret.is_in(vault_name(&request.host))
            && secret.name.eq_ignore_ascii_case(name)
            && version.is_none_or(|version| secret.version == version)
    });
    match (found, version) {
        (Some(secret), _) if secret.enabled => Response::json(200, &secret.bundle(&request.host)),
        (Some(_), _) => Response::disabled(),
        (None, Some(version)) => Response::not_found(&format!("{name}/{version}")),
        (None, None) => Response::not_found(name),
    }
}

/// A page of the list: at most `maxresults` secrets, and the link to the next page, which has an explicit port.
/// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets>
fn list(shared: &Shared, request: &Request) -> Response {
    let number = |name: &str| request.query(name).map(|text| text.parse::<usize>().ok());
    let size = number("maxresults").unwrap_or(Some(25));
    let Some(size) = size.filter(|size| (1..=25).contains(size)) else {
        let text = "Maxresults must be a number between 1 and 25.";
        return Response::vault_error(400, "BadParameter", None, text);
    };
    let start = number("$skiptoken").flatten().unwrap_or(0);
    let inner = shared.lock();
    let mut latest: BTreeMap<String, &Stored> = BTreeMap::new();
    for secret in &inner.secrets {
        if secret.is_in(vault_name(&request.host)) {
            latest.insert(secret.name.to_ascii_lowercase(), secret);
        }
    }
    let host = match request.host.contains(':') {
        true => request.host.clone(),
        false => format!("{}:443", request.host),
    };
    let items = latest.values().skip(start).take(size).map(|secret| {
        let mut item = secret.bundle(&request.host);
        item["id"] = json!(format!("https://{}/secrets/{}", request.host, secret.name));
        item.as_object_mut().expect("a bundle").remove("value");
        item
    });
    let items: Vec<Value> = items.collect();
    let version = request.query("api-version").unwrap_or_default();
    let next = start + size;
    let link = (next < latest.len()).then(|| {
        format!("https://{host}/secrets?api-version={version}&$skiptoken={next}&maxresults={size}")
    });
    Response::json(200, &json!({"value": items, "nextLink": link}))
}

fn check_token(shared: &Shared, request: &Request) -> Result<(), Response> {
    let expected = resource_of(shared, &request.host);
    let inner = shared.lock();
    let challenge = inner.challenge.clone().unwrap_or_else(|| {
        format!(
            "Bearer authorization=\"https://{}/{}\", resource=\"{expected}\"",
            authority_of(expected),
            inner.trusted
        )
    });
    let refuse = |response: Response| {
        Err(match challenge.as_str() {
            "" => response,
            challenge => response.header("WWW-Authenticate", challenge),
        })
    };
    let Some(token) = request.bearer() else {
        return refuse(Response::akv10000());
    };
    match inner.tokens.get(token) {
        None => refuse(Response::akv10046()),
        Some(issued) if issued.audience != expected => {
            refuse(Response::akv10022(expected, &issued.audience))
        }
        Some(issued) if issued.tenant != inner.trusted => {
            refuse(Response::invalid_issuer(&inner.trusted, &issued.tenant))
        }
        Some(_) => Ok(()),
    }
}

/// The resource that a vault of this host expects in a token.
pub fn resource_of<'a>(shared: &'a Shared, host: &str) -> &'a str {
    let host = host.split(':').next().unwrap_or("").to_ascii_lowercase();
    let known = RESOURCES
        .iter()
        .find(|(suffix, _, _)| host.ends_with(suffix));
    known.map_or(&shared.vault_resource, |(_, resource, _)| resource)
}

/// The short name of a vault, from the `Host` header.
pub fn vault_name(host: &str) -> &str {
    host.split([':', '.']).next().unwrap_or("")
}

/// The secret of a request.
pub fn secret_name(request: &Request) -> &str {
    request.path().split('/').nth(2).unwrap_or("")
}

/// The caller in the vault's texts.
pub fn caller(shared: &Shared, request: &Request) -> String {
    let inner = shared.lock();
    let issued = request.bearer().and_then(|token| inner.tokens.get(token));
    issued.map_or_else(|| "(unknown)".to_owned(), token::Issued::caller)
}

fn authority_of(resource: &str) -> &'static str {
    let known = RESOURCES.iter().find(|(_, of, _)| *of == resource);
    known.map_or("login.microsoftonline.com", |(_, _, authority)| authority)
}

/// Suffix, resource and authority of each cloud.
const RESOURCES: [(&str, &str, &str); 3] = [
    (
        ".vault.azure.net",
        "https://vault.azure.net",
        "login.microsoftonline.com",
    ),
    (
        ".vault.usgovcloudapi.net",
        "https://vault.usgovcloudapi.net",
        "login.microsoftonline.us",
    ),
    (
        ".vault.azure.cn",
        "https://vault.azure.cn",
        "login.chinacloudapi.cn",
    ),
];

/// <https://github.com/Azure/azure-rest-api-specs/tree/main/specification/keyvault>
pub const API_VERSIONS: [&str; 10] = [
    "2016-10-01",
    "7.0",
    "7.1",
    "7.2",
    "7.3",
    "7.4",
    "7.5",
    "7.6",
    "2025-07-01",
    "2026-04-01",
];
